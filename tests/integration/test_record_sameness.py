"""The same program gives the same output recorded and unrecorded: types, values, errors, representations."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from record_programs import TRACEKIT, run_recorded  # beside this file, which is no package

from tracekit.trace import Trace

FILES = r"""
import io, os, pickle, copy, inspect, shutil, tempfile, warnings, abc, pathlib, codecs, fileinput
def show(label, call):
    try:
        value = call()
        print(label, type(value).__name__, repr(value)[:200])
    except BaseException as error:
        print(label, "raises", type(error).__name__, str(error)[:200], getattr(error, "errno", None), getattr(error, "filename", None))
open("f.bin", "wb").write(bytes(range(256)) * 100)
open("f.txt", "w", encoding="utf-8").write("ä line\r\nnext\n")
for mode in ("r", "rb", "w+", "wb", "ab", "a+", "r+b", "x", "xb", "rt", "br", "rU", "rw", "", "b", "q", "rbb", "rtb", "r++", "+r", "b+r"):
    def attempt():
        with open("m-" + mode.replace("x", "ex") if "x" in mode else "f.bin" if "r" in mode else "w.bin", mode) as f:
            return type(f).__name__, f.mode, f.name, f.readable(), f.writable(), f.seekable(), f.fileno() > 2, repr(f), getattr(f, "encoding", None), getattr(f, "raw", None) and type(f.raw).__name__
    show(f"mode {mode!r}", attempt)
for kwargs in ({"buffering": 0}, {"mode": "rb", "buffering": 0}, {"mode": "rb", "buffering": 1}, {"mode": "rb", "buffering": 5}, {"mode": "rb", "encoding": "utf-8"},
               {"mode": "rb", "newline": ""}, {"errors": "strict", "mode": "rb"}, {"encoding": "nonsense"}, {"errors": "nonsense"}, {"newline": "q"}, {"buffering": -5}, {"buffering": "x"}, {"mode": 5}, {"closefd": False}, {"opener": lambda a, b: -1}, {"bogus": 1}):
    def attempt():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with open("f.txt", **kwargs) as f:
                data = f.read()
            return data[:10], [str(w.message) for w in caught], [os.path.basename(w.filename) for w in caught]
    show(f"open {sorted(kwargs)}", attempt)
for path in ("missing", "no/such/dir", ".", b"f.bin", pathlib.Path("f.bin"), 99, -1, None, 1.5, "nul\0", [], object):
    show(f"path {path!r}", lambda: open(path, "rb").read(3))
show("no args", lambda: open())
show("fileio", lambda: repr(io.FileIO("f.bin")))
show("fileio mode", lambda: io.FileIO("f.bin", "w+").mode)
open("f.bin", "wb").write(bytes(range(256)) * 100)
raw = io.FileIO("f.bin")
for call in (lambda: raw.read(3), lambda: raw.read(None) and 1, lambda: raw.read(), lambda: raw.seek(0), lambda: raw.readall()[:2], lambda: raw.readinto(bytearray(2)), lambda: raw.write(b"x"),
             lambda: raw.truncate(), lambda: raw.read("x"), lambda: raw.read(-5), lambda: raw.readinto(b"x"), lambda: raw.tell(), lambda: raw.close(), lambda: raw.read(), lambda: raw.readall(), lambda: raw.fileno(), lambda: raw.close(), lambda: repr(raw)):
    show("raw", call)
out = io.FileIO("o.bin", "w")
for call in (lambda: out.write(b"abc"), lambda: out.write(memoryview(b"de")), lambda: out.write("s"), lambda: out.read(1), lambda: out.read(), lambda: out.readall(), lambda: out.truncate(2), lambda: out.tell(), lambda: out.close()):
    show("out", call)
class Mine(io.FileIO):
    def readinto(self, b): return super().readinto(b)
class Abstract(io.FileIO, abc.ABC):
    pass
show("mine", lambda: (Mine("f.bin").read(2), type(Mine("f.bin")).__mro__[0].__name__, isinstance(Mine("f.bin"), io.RawIOBase), io.BufferedReader(Mine("f.bin")).read(4)))
show("abstract", lambda: Abstract("f.bin").read(1))
f = open("f.bin", "rb")
show("kinds", lambda: (isinstance(f.raw, io.FileIO), type(f.raw) is io.FileIO, isinstance(f, io.BufferedReader), isinstance(f.raw, io.RawIOBase), isinstance(f.raw, io.IOBase), isinstance(__import__("sys").stdin.buffer.raw, io.FileIO), issubclass(io.FileIO, io.RawIOBase), isinstance(3, io.FileIO)))
show("names", lambda: (open.__name__, open.__qualname__, repr(open), inspect.isbuiltin(open), callable(open), open is io.open, str(inspect.signature(open)), open.__doc__[:30], repr(io.FileIO), io.FileIO.__name__))
class Holder:
    opener = open
    reader = os.read
show("not bound", lambda: Holder().opener("f.bin", "rb").read(2))
show("equal", lambda: (os.open in os.supports_dir_fd, os.stat in os.supports_follow_symlinks, os.unlink in os.supports_dir_fd, os.scandir in os.supports_fd, os.listdir in os.supports_fd, shutil.rmtree.avoids_symlink_attacks))
show("pickle", lambda: (pickle.loads(pickle.dumps(open)) is open, pickle.loads(pickle.dumps(os.read)) == os.read, copy.deepcopy(os.open) is os.open, copy.copy(open) is open))
show("reprs", lambda: (repr(os.read), repr(os.stat), os.read.__name__, str(inspect.signature(os.open))))
fd = os.open("f.bin", os.O_RDONLY)
for call in (lambda: os.read(fd, 4), lambda: os.read(fd), lambda: os.read(fd, -1), lambda: os.read("x", 1), lambda: os.read(fd, length=3), lambda: os.pread(fd, 3, 10), lambda: os.pread(fd, 3, -1), lambda: os.readv(fd, []), lambda: os.readv(fd, [bytearray(2)]), lambda: os.readv(fd, [b"ro"]), lambda: os.write(fd, b"x"), lambda: os.write(fd, "x"), lambda: os.close(fd), lambda: os.read(fd, 1), lambda: os.close(fd), lambda: os.dup(fd), lambda: os.fsync(fd)):
    show("os", call)
for call in (lambda: os.stat("missing"), lambda: os.stat(b"f.bin").st_size, lambda: os.stat(None), lambda: os.listdir("missing"), lambda: sorted(os.listdir(b"."))[:2], lambda: os.unlink("missing"), lambda: os.truncate("missing", 1), lambda: os.open("missing", os.O_RDONLY), lambda: os.open("f.bin"), lambda: next(os.scandir(".")).name != "", lambda: os.remove("o.bin"), lambda: os.open("d", os.O_RDONLY, dir_fd=99), lambda: os.stat("f.bin", dir_fd="x")):
    show("path", call)
import mmap
with open("f.bin", "rb") as f:
    m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    show("mmap", lambda: (m[:4], len(m), isinstance(m, mmap.mmap), repr(m)[:20], type(m) == mmap.mmap, mmap.mmap.__name__))
class MyMap(mmap.mmap): pass
show("mmap anonymous", lambda: (isinstance(MyMap(-1, 10), mmap.mmap), type(MyMap(-1, 10)).__name__, isinstance(mmap.mmap(-1, 10), MyMap)))
show("mmap bad", lambda: mmap.mmap(-5, 0))
os.makedirs("tree/a/b"); open("tree/a/b/c", "w").close(); shutil.rmtree("tree")
show("gone", lambda: os.path.exists("tree"))
with tempfile.NamedTemporaryFile() as t, tempfile.TemporaryFile() as u:
    show("temporary", lambda: (t.write(b"x"), u.write(b"y"), t.seek(0), t.read()))
show("copy", lambda: shutil.copyfile("f.bin", "g.bin"))
show("same", lambda: open("g.bin", "rb").read() == open("f.bin", "rb").read())
r, w = os.pipe(); os.write(w, b"piped")
show("pipe", lambda: (os.read(r, 10), os.fdopen(r, "rb", 0).fileno() == r))
show("codecs", lambda: codecs.open("f.txt", encoding="utf-8").read()[:3])
show("devices", lambda: (open("/dev/null").read(), open("/proc/self/comm").read() != "", len(open("/dev/zero", "rb").read(10))))
show("sendfile", lambda: os.sendfile(os.open("s.bin", os.O_WRONLY | os.O_CREAT), os.open("f.bin", os.O_RDONLY), 0, 100))
import asyncio
async def work():
    return await asyncio.get_running_loop().run_in_executor(None, lambda: open("f.bin", "rb").read(5))
show("asyncio", lambda: asyncio.run(work()))
import importlib, json
show("reload", lambda: importlib.reload(json).__name__)
show("source", lambda: inspect.getsource(json.dumps)[:20])
"""


@pytest.mark.parametrize("flags", [(), ("-W", "error::RuntimeWarning"), ("-X", "warn_default_encoding")])
def test_file_interface_is_the_same(tmp_path, flags):
    """Nothing that a program can ask of files and os functions answers differently in a recording."""
    outputs = []
    for name, before in (("ours", [*TRACEKIT, "record", "--include", "*", "-o", "../t.jsonl", "--"]), ("theirs", [])):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "program.py").write_text(FILES)
        command = [*before, sys.executable, *flags, "program.py"]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        outputs.append(_neutral(done.stdout, directory))
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 120
    assert Trace.read(tmp_path / "t.jsonl").trailer.lost == 0


def _neutral(text: str, directory: Path) -> list[str]:
    return text.replace(str(directory), "DIR").splitlines()


def test_other_pythons_are_recorded_alike(tmp_path):
    """Whatever Python of 3.10 or newer is at hand records the same ops for the same program."""
    (tmp_path / "data").write_bytes(b"x" * 100_000)
    program = "import os; f = open('data', 'rb'); f.read(10); f.seek(9000); f.read(); f.close(); os.read(os.open('data', 0), 7)"
    others = map(_interpreter, ("python3.10", "python3.11", "python3.12", "python3.13", "python3.14"))
    for found in [sys.executable, *filter(None, others)]:
        done, trace = run_recorded(tmp_path, program, python=found)
        assert done.returncode == 0, done.stderr
        ops = [(op.op, op.offset, op.ret) for op in trace if op.op == "read"]
        assert ops[-1] == ("read", 0, 7)
        assert sum(ret for _, offset, ret in ops[:-1] if offset >= 8192) + 0 >= 100_000 - 9000 - 8192


def _interpreter(name: str) -> str | None:
    import shutil

    found = shutil.which(name)
    if found is None:
        return None
    works = subprocess.run([found, "-c", "pass"], capture_output=True, timeout=600).returncode == 0
    return found if works else None


def test_warnings_and_tracebacks_name_the_programs_lines(tmp_path):
    """An unclosed file is reported at the program's line; in a traceback we are at most two lines without source."""
    program = """
        import traceback
        def forget():
            open("program.py", "rb", buffering=0)
        forget()
        try:
            open("missing")
        except OSError:
            traceback.print_exc()
    """
    done, _ = run_recorded(tmp_path, program, options=("-q",), env={**os.environ, "PYTHONWARNINGS": "always"})
    lines = [line for line in done.stderr.splitlines() if "^" not in line]
    assert any("program.py" in line and "ResourceWarning: unclosed file <_io.FileIO" in line for line in lines)
    assert sum("tracekit" in line for line in lines) <= 2
    assert all(line.lstrip().startswith('File "<tracekit record>"') for line in lines if "tracekit" in line)


def test_streams_have_nothing_of_ours_over_them(tmp_path):
    """A pipe that is opened by its descriptor gets Python's own raw file, so nothing of it can be lost or slowed down."""
    program = """
        import _io, os
        r, w = os.pipe()
        print(type(open(r, "rb").raw) is _io.FileIO, isinstance(open(w, "wb", 0), _io.FileIO))
    """
    done, _ = run_recorded(tmp_path, program)
    assert done.stdout == "True True\n"
