"""Chunks that the launcher makes ahead, and what happens where it does not."""

import errno
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import needs_native, reads_of, record  # see there

from tracekit.record import chunkfile, spares
from tracekit.record.engine import time_stamp_counter

pytestmark = needs_native
READS = 150_000  # some 16,000 of them fill the chunks that are not taken from spares
PROGRAM = """
import os
fd = os.open("data", os.O_RDONLY)
for number in range({reads}): os.pread(fd, 10, number % 100)
"""
SPOOL = "from tracekit import _core\n_core.record_start({spool!r}, {tsc}, True, True)\n"


def _has_watches() -> bool:
    watch = spares._watch(os.path.dirname(__file__))
    if watch is not None:
        os.close(watch)
    return watch is not None


needs_watches = pytest.mark.skipif(not _has_watches(), reason="the kernel gives no inotify instance")


@pytest.fixture
def spool(tmp_path):
    """An empty directory for chunks, beside a file to read."""
    (tmp_path / "data").write_bytes(bytes(1000))
    (tmp_path / "spool").mkdir()
    return tmp_path / "spool"


def _read_all(spool: Path) -> tuple[int, set[int]]:
    """Read in a process of its own that spools there: how many reads are in its chunks, and their inodes."""
    head = SPOOL.format(spool=str(spool), tsc=time_stamp_counter()[0])
    subprocess.run(
        [sys.executable, "-c", head + PROGRAM.format(reads=READS)], cwd=spool.parent, check=True, timeout=600
    )
    paths = list(spool.glob("*.ops"))
    reads = sum(chunkfile.Chunk.read(path).kinds.tolist().count(1) for path in paths)
    return reads, {path.stat().st_ino for path in paths}


def _asked_for(place: Path) -> set[int]:
    """Ask for spares as a process does, and wait until all are there: their inodes."""
    os.utime(place)
    until = time.monotonic() + 600
    while len(list(place.iterdir())) < spares.COUNT:
        assert time.monotonic() < until, "no spares were made"
        time.sleep(0.01)
    return {path.stat().st_ino for path in place.iterdir()}


@needs_watches
def test_chunks_that_lie_ready_are_taken(spool):
    """A process that fills its chunks goes on in spare ones, of which nothing is left at the end, and loses no read."""
    with spares.kept(str(spool)):
        ready = _asked_for(spool / "spares")
        reads, used = _read_all(spool)
    assert reads == READS
    assert ready & used
    assert sorted({path.suffix for path in spool.iterdir()}) == [".ops"]


@needs_watches
def test_spares_that_were_taken_are_made_again(spool):
    """There are as many as before when one was renamed away."""
    with spares.kept(str(spool)):
        before = _asked_for(spool / "spares")
        os.rename(spool / "spares" / "0", spool / "taken")
        assert len(_asked_for(spool / "spares") - before) == 1


def test_nothing_is_made_before_it_is_asked_for(spool):
    """A run that fills no chunk finds the directory empty."""
    with spares.kept(str(spool)):
        assert list((spool / "spares").iterdir()) == []


@pytest.mark.parametrize("ready", [b"", b"short"])
def test_without_a_spare_of_the_right_size_a_process_makes_its_own(spool, ready):
    """Nothing there, or something else: no read is lost."""
    (spool / "spares").mkdir()
    for number in range(spares.COUNT if ready else 0):
        (spool / "spares" / str(number)).write_bytes(ready)
    assert _read_all(spool)[0] == READS


def test_a_kernel_without_watches_keeps_none(spool, monkeypatch):
    """Where there is no inotify instance to be had, the body runs without spares."""
    monkeypatch.setattr(spares, "_watch", lambda _place: None)
    with spares.kept(str(spool)):
        assert _read_all(spool)[0] == READS
    assert not list(spool.glob("spares/*"))


def test_a_full_disk_makes_no_spare(spool, monkeypatch):
    """What could not be made whole leaves nothing behind, and is not offered."""

    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    (spool / "spares").mkdir()
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert not spares._made(str(spool / "spares" / "0"))
    monkeypatch.undo()
    monkeypatch.setattr(os, "pwrite", lambda *_arguments: 4096)
    assert not spares._made(str(spool / "spares" / "0"))
    assert [path.name for path in spool.iterdir()] == ["spares"]
    assert list((spool / "spares").iterdir()) == []


@needs_watches
def test_the_watch_says_when_spares_are_wanted_or_taken(spool):
    """A touch of the directory and a rename out of it are seen; making one is not."""
    place = spool / "spares"
    place.mkdir()
    watch = spares._watch(str(place))
    assert watch is not None
    waiting = select.poll()
    waiting.register(watch, select.POLLIN)
    seen = []
    for act in (
        lambda: os.utime(place),
        lambda: spares._made(str(place / "0")),
        lambda: os.rename(place / "0", spool / "x"),
    ):
        act()
        seen.append(bool(waiting.poll(0)))
        if seen[-1]:
            os.read(watch, 4096)
    os.close(watch)
    assert seen == [True, False, True]


def test_a_recorded_program_has_every_read_and_leaves_no_spares(tmp_path):
    """Under `record`, where spares are kept, the trace is whole and no parts directory stays."""
    (tmp_path / "data").write_bytes(bytes(1000))
    trace = record(tmp_path, PROGRAM.format(reads=READS))[1]
    assert len(reads_of(trace, tmp_path / "data")) == READS
    assert not list(tmp_path.glob(".tracekit-*"))
