"""What the core leaves in its spool, looked at before anything is merged."""

import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import needs_native  # see there

from tracekit.record import chunkfile, chunks
from tracekit.record.engine import time_stamp_counter

pytestmark = needs_native
READ, FILE = 1, 32
HEAD = "import os, sys\nfrom tracekit import _core\n_core.record_start({spool!r}, {tsc}, True, True)\n"


def _spooled(directory: Path, program: str, **rest) -> tuple[str, list[Path]]:
    """Run `program` after the core has begun to spool: (what it printed, its chunks in order)."""
    spool = directory / "spool"
    spool.mkdir()
    head = HEAD.format(spool=str(spool), tsc=time_stamp_counter()[0])
    command = [sys.executable, "-c", head + textwrap.dedent(program)]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=600, **rest)
    assert done.returncode == 0, done.stderr
    return done.stdout, sorted(spool.glob("*.ops"), key=lambda path: int(path.name.split(".")[2]))


def _kinds(paths: list[Path]) -> Counter:
    return Counter(kind for path in paths for kind in chunkfile.Chunk.read(path).kinds.tolist())


def test_a_name_is_looked_at_once(tmp_path):
    """However often a file is opened by one name, its identity is noted once; every read is there."""
    (tmp_path / "data").write_bytes(bytes(100))
    program = """
        for _ in range(50):
            fd = os.open("data", os.O_RDONLY); os.read(fd, 10); os.close(fd)
    """
    kinds = _kinds(_spooled(tmp_path, program)[1])
    assert (kinds[READ], kinds[FILE]) == (50, 1)


def test_a_name_is_looked_at_again_where_it_may_mean_another_file(tmp_path):
    """A relative name after a change of directory, a name in a forked child, and /dev/stdin are looked at anew."""
    for directory in ("a", "b"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "data").write_bytes(directory.encode() * 10)
    program = """
        def look(name):
            fd = os.open(name, os.O_RDONLY); os.read(fd, 10); os.close(fd)
        os.chdir("a"); look("data"); look("data"); os.chdir("../b"); look("data"); look("data")
        if os.fork() == 0:
            look("data"); look("data"); os._exit(0)
        os.wait(); look("/dev/stdin"); look("/dev/stdin")
    """
    with open(tmp_path / "a" / "data", "rb") as stdin:
        kinds = _kinds(_spooled(tmp_path, program, stdin=stdin)[1])
    assert (kinds[READ], kinds[FILE]) == (8, 5)


def test_a_copy_of_a_descriptor_vouches_only_for_its_own_name(tmp_path):
    """A look at a copied descriptor says nothing about the name that was opened at the copy's number before."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "data").write_bytes(bytes(100))
    program = """
        held = os.open("pipe", os.O_RDWR)
        fd = os.open("data", os.O_RDONLY); os.dup2(fd, held); os.read(held, 10)
        pipe = os.open("pipe", os.O_RDWR); os.write(pipe, b"x"); os.read(pipe, 1)
    """
    paths = _spooled(tmp_path, program)[1]
    kinds = _kinds(paths)
    modes = [
        chunks._IDENTITY.unpack_from(chunk.text(index))[3] & 0o170000
        for chunk in map(chunkfile.Chunk.read, paths)
        for index in chunk.indices(FILE).tolist()
    ]
    assert sorted(modes) == [0o010000, 0o100000]
    assert kinds[READ] == 1


def test_records_find_their_pages_there(tmp_path):
    """A hundred thousand ops take three chunks and few page faults, not one for every 128 ops."""
    program = """
        import resource
        fd = os.open(sys.executable, os.O_RDONLY)
        for _ in range(10_000): os.pread(fd, 1, 0)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(90_000): os.pread(fd, 1, 0)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """
    printed, paths = _spooled(tmp_path, program)
    sizes = [path.stat().st_size for path in paths]
    head = 4096  # stands behind the first chunk
    assert sizes == [(1 << 16) + head, 1 << 18, 1 << 21, 1 << 21][: len(sizes)]
    assert _kinds(paths)[READ] >= 100_000
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 16):
        pytest.skip("this kernel's file systems cache page by page")
    assert int(printed) < 200


def test_a_process_makes_one_file(tmp_path):
    """Head, first chunk and lines of a process are one file, and one of its own for a forked child; all is read from it."""
    (tmp_path / "data").write_bytes(bytes(100))
    program = """
        line = lambda: _core.record_line("", '\\n{"mark":"step","t":%d}\\n' % os.getpid())
        assert line()
        fd = os.open("data", os.O_RDONLY); os.read(fd, 10)
        if os.fork() == 0:
            os._exit(not line())
        assert os.wait()[1] == 0
        assert line() and len(os.listdir("spool")) == 2
        print(os.getpid())
    """
    printed, paths = _spooled(tmp_path, program)
    paths.sort(key=lambda path: path.name.split(".")[0] != printed.strip())
    parent, child = chunkfile.heads(tmp_path / "spool")
    assert [parent.pid, child.parent] == [int(printed), parent.pid]
    assert [len(native.lines.split()) for native in (parent, child)] == [2, 1]
    assert [path.name for path in paths] == [f"{native.pid}.{native.start}.0.ops" for native in (parent, child)]
    assert _kinds(paths[:1])[READ] == 1


def test_a_process_that_may_not_write_a_chunk(tmp_path):
    """Where files may not grow that far, the head stands alone, what finds no place is counted, and nothing is hurt."""
    spool = tmp_path / "spool"
    spool.mkdir()
    program = f"""
        import os, resource
        from tracekit import _core
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
        assert _core.record_start({str(spool)!r}, False, True, True)[0] == "detour"
        fd = os.open({__file__!r}, os.O_RDONLY)
        for place in range(50): assert len(os.pread(fd, 5, place)) == 5
        assert _core.record_line("", "x" * 4000) and not _core.record_line("", "x" * 200) and _core.record_line("", "y")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (native,) = chunkfile.heads(spool)
    assert [path.suffix for path in spool.iterdir()] == [".head"]
    assert native.lines == b"x" * 4000 + b"y"
    assert native.lost >= 50
