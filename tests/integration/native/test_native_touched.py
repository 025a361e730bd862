"""Which pages of mapped files were touched, against what the program knows that it touched."""

import ctypes
import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import FILTER, TRACEKIT, command_for, needs_native, record

from tracekit.trace import Trace
from tracekit.uri import local_path

PAGE = 4096


def _why_not() -> str:
    script = "from tracekit import _core; print(_core.record_touches(2) or '')"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600).stdout.strip()


pytestmark = [needs_native]
WHY_NOT = _why_not()
needs_exact = pytest.mark.skipif(bool(WHY_NOT), reason=f"touched pages cannot be seen here: {WHY_NOT}")

# Every program says on its standard output, by process and file name, which pages it touched. Reading one byte of a page
# through `at` touches it and says so.
PRELUDE = """
import json, mmap, os, random, sys
import numpy as np
PAGE = 4096
said = {}
def say(name, pages): said.setdefault(name, set()).update(int(p) for p in pages)
def at(m, name, pages):
    for p in pages: m[p * PAGE + 11]
    say(name, pages)
def tell(): os.write(1, (json.dumps({"pid": os.getpid(), "touched": {n: sorted(p) for n, p in said.items()}}) + "\\n").encode())
def mapped(name, **how):
    with open(name, "rb") as f: return mmap.mmap(f.fileno(), 0, **(how or {"access": mmap.ACCESS_READ}))
def cool(name):
    fd = os.open(name, os.O_RDONLY); os.fsync(fd); os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED); os.close(fd)
"""


def truth(done) -> dict[tuple[int, str], set[int]]:
    """(pid, file name): pages, as the program said."""
    found: dict[tuple[int, str], set[int]] = {}
    for line in done.stdout.splitlines():
        told = json.loads(line)
        for name, pages in told["touched"].items():
            found.setdefault((told["pid"], name), set()).update(pages)
    return {key: pages for key, pages in found.items() if pages}


def seen(trace: Trace) -> dict[tuple[int, str], Counter]:
    """(pid, file name): pages, as the trace has them, each with how often."""
    found: dict[tuple[int, str], Counter] = {}
    for op in trace:
        if op.op == "touch":
            pages = range(op.offset // PAGE, -(-(op.offset + op.len) // PAGE))
            found.setdefault((op.pid, os.path.basename(local_path(op.uri))), Counter()).update(pages)
    return found


def counted(done) -> dict[tuple[int, str], Counter]:
    """What the program said it touched, each page once: recall and precision of 1.000 is to have seen just that."""
    assert done.returncode == 0, done.stderr
    return {key: Counter(pages) for key, pages in truth(done).items()}


def run(directory: Path, program: str, *, mode="exact", pages=2048, name="data.bin", **rest):
    """Record a program beside a file of `pages` pages."""
    if pages:
        (directory / name).write_bytes(os.urandom(pages * PAGE))
    return record(directory, PRELUDE + program, options=("--mmap", mode), **rest)


@needs_exact
@pytest.mark.parametrize("start", ["hot", "cold"])
@pytest.mark.parametrize(
    ("how", "chosen"),
    [
        ("sequential", "range(100, 900)"),
        ("random", "random.Random(5).sample(range(2048), 300)"),
        ("strided", "range(3, 2048, 17)"),
    ],
)
def test_every_touched_page_and_no_other(tmp_path, start, how, chosen):
    """Sequential, random and strided touches of a cached and an uncached file: recall and precision 1.000."""
    cool = "cool('data.bin')" if start == "cold" else "open('data.bin', 'rb').read()"
    done, trace = run(tmp_path, f"{cool}\nm = mapped('data.bin')\nat(m, 'data.bin', list({chosen}))\ntell()\n")
    assert seen(trace) == counted(done)
    coverage = trace.trailer.coverage
    assert coverage["mapped_touched_bytes"] == PAGE * len(next(iter(truth(done).values())))
    assert (coverage["mmap"], coverage["watched_maps"], coverage["private_maps"]) == ("exact", 1, 1)
    assert how


@needs_exact
def test_the_ways_python_and_numpy_map(tmp_path):
    """np.memmap read only, writable, copied on write and with an offset, and np.load(mmap_mode): each its own pages."""
    program = """
for name, mode in (("r.bin", "r"), ("rw.bin", "r+"), ("c.bin", "c")):
    with open(name, "wb") as f: f.write(os.urandom(512 * PAGE))
    a = np.memmap(name, np.uint8, mode)
    at(a, name, range(5, 500, 9))
    if mode != "r":
        a[200 * PAGE] = 1; a[300 * PAGE : 301 * PAGE] = 2
        say(name, [200, 300])
np.save("x.npy", np.arange(512 * 512, dtype=np.float64))
a = np.load("x.npy", mmap_mode="r")
assert a[512 * 100] == 512 * 100 and a.offset == 128
say("x.npy", [(128 + 8 * 512 * 100) // PAGE])
a = np.memmap("r.bin", np.uint8, "r", offset=100 * PAGE, shape=(60 * PAGE,))
a[0]; a[50 * PAGE + 5]
tell()
"""
    done, trace = run(tmp_path, program, pages=0)
    assert done.returncode == 0, done.stderr
    known, found = truth(done), seen(trace)
    pid = next(iter(known))[0]
    assert found[pid, "r.bin"].pop(100) == found[pid, "r.bin"].pop(150) == 1, "of the second map of the file"
    assert {key: set(pages) for key, pages in found.items()} == known


@needs_exact
def test_the_readers_that_map(tmp_path):
    """safetensors, torch.load(mmap=True) and pyarrow.memory_map: the pages of what was taken, and of the format's own header."""
    for module in ("safetensors", "torch", "pyarrow"):
        pytest.importorskip(module)
    program = """
import struct
from safetensors.numpy import save_file
from safetensors import safe_open
import torch, pyarrow as pa
def span(first, last): return range(first // PAGE, (last - 1) // PAGE + 1)
save_file({n: np.full(300_000, i, np.float32) for i, n in enumerate("abcd")}, "a.safetensors")
with open("a.safetensors", "rb") as f:
    size = struct.unpack("<Q", f.read(8))[0]; header = json.loads(f.read(size))
with safe_open("a.safetensors", "numpy") as f: assert f.get_tensor("c")[7] == 2
first, last = header["c"]["data_offsets"]
say("a.safetensors", span(0, 8 + size)); say("a.safetensors", span(8 + size + first, 8 + size + last))
weights = {"w": torch.full((200_000,), 3.0), "v": torch.full((200_000,), 4.0)}
torch.save(weights, "w.pt")
at = open("w.pt", "rb").read().find(weights["v"].numpy().tobytes())
assert float(torch.load("w.pt", mmap=True)["v"].sum()) == 800_000
say("w.pt", span(at, at + 800_000))
with open("flat.arrow", "wb") as f: f.write(os.urandom(1000 * PAGE))
with pa.memory_map("flat.arrow") as source:
    buffer = source.read_buffer()
    np.frombuffer(buffer, np.uint8)[100 * PAGE : 150 * PAGE].sum()
say("flat.arrow", range(100, 150))
tell()
"""
    done, trace = run(tmp_path, program, pages=0)
    assert seen(trace) == counted(done)


@needs_exact
def test_a_forked_process_has_its_own_pages(tmp_path):
    """What parent and child touch in a map made before the fork is each one's own, also after pages were written."""
    program = """
m = mapped("data.bin"); at(m, "data.bin", range(0, 50))
if os.fork() == 0:
    said.clear(); at(m, "data.bin", range(40, 90)); tell(); os._exit(0)
os.wait(); at(m, "data.bin", range(300, 310)); tell()
said.clear()
with open("w.bin", "wb") as f: f.write(bytes(64 * PAGE))
w = np.memmap("w.bin", np.uint8, "c"); w[3 * PAGE] = 1; say("w.bin", [3])
if os.fork() == 0:
    said.clear(); at(w, "w.bin", [9, 10]); tell(); os._exit(0)
os.wait(); tell()
"""
    done, trace = run(tmp_path, program)
    assert seen(trace) == counted(done)


@needs_exact
def test_workers_that_are_terminated(tmp_path):
    """Pool workers are killed when the pool goes; what they touched before they gave back their results is there."""
    program = """
import multiprocessing, time
def work(part):
    m = mapped("data.bin"); pages = range(part * 100, part * 100 + 40)
    at(m, "data.bin", pages); time.sleep(0.01)
    return os.getpid(), list(pages)
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        results = pool.map(work, range(8), chunksize=1)
    for pid, pages in results:
        os.write(1, (json.dumps({"pid": pid, "touched": {"data.bin": pages}}) + "\\n").encode())
"""
    done, trace = run(tmp_path, program)
    assert done.returncode == 0, done.stderr
    assert {key: set(pages) for key, pages in seen(trace).items()} == truth(done)


@needs_exact
def test_threads_and_maps_that_come_and_go(tmp_path):
    """Four threads that map, touch and unmap 200 times each: every page of every map once."""
    program = """
import threading
def work(number):
    for turn in range(200):
        m = mapped("data.bin"); at(m, "data.bin", [number * 200 + turn]); m.close()
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
tell()
"""
    done, trace = run(tmp_path, program)
    assert seen(trace) == counted(done)
    assert trace.trailer.coverage["watched_maps"] == 800


@needs_exact
def test_maps_that_move_are_let_go_and_are_covered(tmp_path):
    """mremap, madvise(DONTNEED), a part unmapped and a part mapped over: nothing missed, nothing of what came after."""
    program = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p; libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]; libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.mremap.restype = ctypes.c_void_p; libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
def touch(base, name, pages):
    for p in pages: ctypes.string_at(base + p * PAGE, 1)
    say(name, pages)
for name in ("moved", "again", "holed", "over", "ro"):
    with open(name, "wb") as f: f.write(os.urandom(256 * PAGE))
def fresh(name, pages=256):
    fd = os.open(name, os.O_RDONLY); base = libc.mmap(None, pages * PAGE, 1, 1, fd, 0); os.close(fd); return base
b = fresh("moved", 64); touch(b, "moved", [1, 5])
b = libc.mremap(b, 64 * PAGE, 256 * PAGE, 1, None); assert b and b != 2**64 - 1
touch(b, "moved", [6, 200])
b = fresh("again"); touch(b, "again", [3]); libc.madvise(b, 256 * PAGE, 4); touch(b, "again", [3, 4])
b = fresh("holed"); touch(b, "holed", [10, 100, 250]); libc.munmap(b + 50 * PAGE, 100 * PAGE); touch(b, "holed", [11, 251])
b = fresh("over"); touch(b, "over", [20, 120]); fd = os.open("ro", os.O_RDONLY)
assert libc.mmap(b + 100 * PAGE, 50 * PAGE, 1, 0x11, fd, 0) == b + 100 * PAGE
touch(b + 100 * PAGE, "ro", [30]); touch(b, "over", [21, 180])
assert libc.mprotect(b, PAGE, 3) == -1 and ctypes.get_errno() == 13
tell()
"""
    done, trace = run(tmp_path, program, pages=0)
    assert done.returncode == 0, done.stderr
    known, found = truth(done), seen(trace)
    assert {key: set(pages) for key, pages in found.items()} == known
    again = next(pages for key, pages in found.items() if key[1] == "again")
    assert again == {3: 2, 4: 1}, "what was let go and touched anew is there twice"


@needs_exact
def test_a_huge_map_with_few_touches(tmp_path):
    """64 GiB mapped, 30 pages touched: found at once, and the table of pages stays small."""
    program = """
with open("huge", "wb") as f: f.truncate(64 << 30)
m = mapped("huge"); pages = [random.Random(2).randrange(16 << 20) for _ in range(30)]
at(m, "huge", pages); tell()
"""
    done, trace = run(tmp_path, program, pages=0)
    assert seen(trace) == counted(done)
    assert trace.trailer.coverage["touched_look_ns"] < 200_000_000


@needs_exact
def test_nothing_else_changes_for_the_program(tmp_path):
    """What others write shows, what was cut off faults, shared memory stays shared, all descriptors may be closed."""
    program = """
import subprocess, signal
m = mapped("data.bin"); m[0]
with open("data.bin", "r+b") as f: f.write(b"changed"); f.seek(77 * PAGE); f.write(b"later")
assert m[:7] == b"changed" and m[77 * PAGE : 77 * PAGE + 5] == b"later"
os.closerange(3, 3000)
for fd in range(3, 1200):
    try: os.close(fd); raise SystemExit(f"descriptor {fd} was open")
    except OSError as error: assert error.errno == 9
at(m, "data.bin", [5]); say("data.bin", [0, 77])
k = mapped("data.bin"); at(k, "data.bin", [400])
spare = os.dup(0); [os.dup2(spare, fd) for fd in range(880, 920)]
at(k, "data.bin", [410])
from multiprocessing import shared_memory
s = shared_memory.SharedMemory(create=True, size=8 * PAGE); s.buf[0] = 1
done = subprocess.run([sys.executable, "-c", f"from multiprocessing import resource_tracker as r, shared_memory as s; m = s.SharedMemory({s.name!r}); m.buf[1] = 5; r.unregister('/' + m.name, 'shared_memory'); m.close()"])
assert done.returncode == 0 and bytes(s.buf[:2]) == b"\\1\\5"
s.close(); s.unlink()
p = mapped("data.bin", flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ); p[3]
with open("cut.bin", "wb") as f: f.write(bytes(2048 * PAGE))  # pages before the cut are let go, too, where it splits a large folio
c = mapped("cut.bin"); c[0]
if os.fork() == 0:
    os.truncate("cut.bin", 100 * PAGE); signal.signal(signal.SIGBUS, signal.SIG_DFL); c[1000 * PAGE]; os._exit(0)
assert os.WTERMSIG(os.wait()[1]) == signal.SIGBUS
tell()
"""
    done, trace = run(tmp_path, program)
    assert done.returncode == 0, done.stderr
    known = truth(done)
    assert {key: set(pages) for key, pages in seen(trace).items() if key in known} == known
    assert trace.trailer.coverage["unwatched_maps"] == {"populated by the kernel as a whole": 1}
    assert "closed" not in trace.trailer.coverage.get("mmap_why", "")


@needs_exact
def test_touches_know_their_sample(tmp_path):
    """Touches of one sample carry it; their times embrace the moment; none is counted as a read.

    A look that takes too long, as on a busy machine, is not taken at every sample, and then the touches say that theirs is not known:
    never another's. A few attempts show all ten known.
    """
    program = """
import tracekit, time
m = mapped("data.bin")
with tracekit.step():
    for index in range(10):
        with tracekit.sample(index):
            at(m, "data.bin", range(index * 100, index * 100 + 30))
            time.sleep(0.003)
tell()
"""
    wanted = {(index, index) for index in range(10)}
    for _attempt in range(8):
        done, trace = run(tmp_path, program)
        assert seen(trace) == counted(done)
        touches = [op for op in trace if op.op == "touch"]
        found = {(op.sample_id, op.offset // PAGE // 100) for op in touches}
        assert {pair for pair in found if pair[0] is not None} <= wanted
        if found == wanted:
            break
    assert found == wanted
    assert all(op.ret == op.len and op.t_complete > op.t_submit and op.flags == "bracket" for op in touches)
    assert trace.trailer.coverage["traced_read_bytes"] == 0
    starts = sorted({(op.t_submit, op.t_complete) for op in touches})
    assert all(before[1] <= after[0] for before, after in pairwise(starts)), "brackets in a row"


@needs_exact
def test_looks_that_take_long_become_rare_and_do_not_end(tmp_path):
    """After a look of more than may ever be saved up, as over very many maps, others follow when their time has come."""
    program = """
import ctypes, time, tracekit
libc = ctypes.CDLL(None); libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
fd = os.open("data.bin", os.O_RDONLY)
for page in range(25_000): libc.mmap(None, PAGE, 1, 1, fd, page % 2048 * PAGE)
os.close(fd)
for round in range(20):
    with tracekit.step(): time.sleep(0.1)
os._exit(0)
"""
    done, trace = run(tmp_path, program, mode="pagemap")
    assert done.returncode == 0, done.stderr
    coverage = trace.trailer.coverage
    assert coverage["watched_maps"] == 25_000
    assert coverage["touched_looks"] > 3, "the first, the last, and more than one between"


@needs_exact
def test_pagemap_finds_all_and_neighbours(tmp_path):
    """Snapshots alone miss no page, take in what the kernel maps around each, and change no map."""
    program = """
open("data.bin", "rb").read(); m = mapped("data.bin")
at(m, "data.bin", range(10, 2048, 200)); tell()
"""
    done, trace = run(tmp_path, program, mode="pagemap")
    assert done.returncode == 0, done.stderr
    (key, known), (_, found) = next(iter(truth(done).items())), next(iter(seen(trace).items()))
    assert known < set(found), key
    assert trace.trailer.coverage["private_maps"] == 0
    assert "neighbours" in done.stderr


@needs_exact
def test_a_killed_process_is_said_to_be_cut_short(tmp_path):
    """A process killed after touching: the summary says that its last touches are missing."""
    program = "import signal\nm = mapped('data.bin'); at(m, 'data.bin', [1]); os.kill(os.getpid(), signal.SIGKILL)\n"
    done, trace = run(tmp_path, program)
    assert done.returncode == 137
    assert trace.trailer.coverage["touches_cut_short"] == 1
    assert "did not end by themselves" in done.stderr


# userfaultfd (323) fails with EPERM.
REFUSE = FILTER + "forbid(323, 0x00050001)\nos.execv(sys.argv[1], sys.argv[1:])\n"


@needs_exact
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the filter is written for x86-64")
def test_where_it_is_refused_the_reason_is_said(tmp_path):
    """Under a real seccomp filter the maps are recorded as by default; header, trailer, summary and doctor say why."""
    (tmp_path / "data.bin").write_bytes(bytes(64 * PAGE))
    command = command_for(
        tmp_path, PRELUDE + "m = mapped('data.bin'); at(m, 'data.bin', [1])", options=("--mmap", "exact")
    )
    done = subprocess.run(
        [sys.executable, "-c", REFUSE, *command], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    trace = Trace.read(tmp_path / "trace.jsonl")
    assert {op.op for op in trace if op.uri.endswith("data.bin")} == {"open", "mmap", "close"}
    assert trace.trailer.coverage["mmap"] == trace.header.producer["mmap"] == "map"
    for said in (trace.trailer.coverage["mmap_why"], trace.header.producer["mmap_reason"], done.stderr):
        assert "userfaultfd is not permitted" in said
    doctor = subprocess.run(
        [sys.executable, "-c", REFUSE, *TRACEKIT, "doctor"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert "userfaultfd is not permitted" in doctor.stdout + doctor.stderr


def test_the_python_engine_says_that_it_cannot(tmp_path):
    """--mmap exact with the Python engine: the program is recorded, and the reason is said."""
    command = [
        *TRACEKIT,
        "record",
        "-o",
        "t.jsonl",
        "--engine",
        "python",
        "--mmap",
        "exact",
        "--",
        sys.executable,
        "-c",
        "1",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0
    assert "the Python engine records maps of files" in done.stderr


@pytest.mark.skipif(ctypes.CDLL(None).syscall(ctypes.c_long(425), 1, bytes(120)) < 0, reason="io_uring is refused here")
@pytest.mark.parametrize("end", ["", "os._exit(0)"])
def test_rings_are_named(tmp_path, end):
    """A process that sets up io_urings is named with their number, however they were made."""
    program = f"""
import ctypes, os
libc = ctypes.CDLL(None)
made = [libc.syscall(ctypes.c_long(425), 4, bytes(120)) for _ in range(3)]
assert min(made) > 0; os.close(made[0])
{end}
"""
    done, trace = record(tmp_path, program)
    assert done.returncode == 0, done.stderr
    assert trace.trailer.coverage["io_uring"] == 3
