"""Reading what the core's spool left behind, and choosing the engine: facts about single functions."""

import os
import struct

import numpy as np
import pytest

from tracekit.errors import RecorderError
from tracekit.record import chunkfile, chunks, engine, looks, native, spool
from tracekit.record.coverage import WHY_UNCOUNTED, coverage_of
from tracekit.record.files import Filter
from tracekit.record.gather import gather
from tracekit.record.parts import NO_OPS, Part
from tracekit.record.tally import Tally
from tracekit.record.ticks import Clock
from tracekit.trace import Op, Trace

READ, OPEN, STAT, CLOSE, FILE, CWD, THREAD, CONTEXT, EXEC = 1, 3, 5, 4, 32, 33, 34, 35, 36


class Chunk:
    """A chunk as the core would write it: records from the front, texts from the back."""

    def __init__(self, size=4096, tid=7):
        self.data = bytearray(size)
        self.slots = 0
        self.used = 0
        header = struct.pack(
            "<8sIIQiiiiQQqqIIII", b"tkops\0\0\0", 2, 256, 55, 42, tid, 0, 0, size, 1, 1, -1, *[2**32 - 1] * 3, 0
        )
        self.data[: len(header)] = header

    def record(self, kind, *, file=0, t=1000, offset=0, size=0, ret=0, duration=10, text=None):
        """Append one record."""
        if text is not None:
            self.used += (len(text) + 7) & ~7
            place = len(self.data) - self.used
            self.data[place : place + len(text)] = text
            offset = place << 32 | len(text)
        at = 256 + self.slots * 32
        self.data[at : at + 32] = struct.pack("<QqIiII", t, offset, size, ret, duration, kind | file << 7)
        self.slots += 1
        return self

    def save(self, path, *, beyond=0):
        """Write it; `beyond` is added to the slots taken, as a reservation that did not fit does."""
        self.data[128:136] = struct.pack("<II", self.slots + beyond, self.used)
        path.write_bytes(self.data)


def _native(tmp_path, *written, clock=None, chosen=None, beyond=0):
    process = chunkfile.Native(42, 1, 55, 0, 0, 0, 0, 0)
    paths = []
    for number, chunk in enumerate(written):
        paths.append(tmp_path / f"42.55.{number}.ops")
        chunk.save(paths[-1], beyond=beyond)
    return _read(process, paths, clock, chosen)


def _read(process, paths, clock=None, chosen=None):
    """The process with the ops of all its chunks."""
    found = [source.read() for source in chunks.sources(process, paths, clock, chosen or Filter())] or [NO_OPS]
    process.slots, process.contexts, process.tids = map(np.concatenate, zip(*found, strict=True))
    return process


def _identity(size=9, mode=0o100644):
    return struct.pack("<QQQII", 3, 4, size, mode, 0)


def test_an_open_names_what_is_read(tmp_path):
    """The name given to open belongs to every later record with its file number, made absolute by the directory noted."""
    chunk = Chunk().record(CWD, text=b"/somewhere").record(OPEN, file=1, ret=3, text=b"data.bin")
    chunk.record(FILE, file=1, text=_identity()).record(READ, file=1, offset=5, size=10, ret=4)
    process = _native(tmp_path, chunk)
    assert [(process.paths[slot["file"]], slot["offset"], slot["len"], slot["ret"]) for slot in process.slots] == [
        ("/somewhere/data.bin", 0, 0, 0), ("/somewhere/data.bin", 5, 10, 4)
    ]  # fmt: skip
    assert process.identities[1] == looks.Identity(3, 4, 9, 0o100644)


def test_a_name_in_one_thread_serves_reads_in_another(tmp_path):
    """File numbers belong to the process: the chunk that names a file may come after the one that reads it."""
    reader = Chunk(tid=8).record(READ, file=1, size=10, ret=10)
    opener = Chunk(tid=9).record(OPEN, file=1, text=b"/a/b")
    process = _native(tmp_path, reader, opener)
    assert process.paths[process.slots[0]["file"]] == "/a/b"
    assert process.tids.tolist() == [8, 9]


def test_unfinished_records_do_not_count(tmp_path):
    """A slot whose time was never written is passed over; those behind it count."""
    chunk = Chunk().record(OPEN, file=1, text=b"/x").record(READ, file=1, t=0, ret=5).record(READ, file=1, ret=6)
    assert _native(tmp_path, chunk).slots["ret"].tolist() == [0, 6]


def test_a_reservation_that_did_not_fit_is_no_record(tmp_path):
    """In a full chunk the last reservation went elsewhere: its slot, which may lie under a text, is not read."""
    chunk = Chunk(size=256 + 32 * 3 + 64).record(OPEN, file=1, text=b"/x" + b"y" * 60).record(READ, file=1, ret=6)
    chunk.record(READ, file=1, ret=7)
    path = tmp_path / "42.55.0.ops"
    chunk.save(path, beyond=1)
    process = chunkfile.Native(42, 1, 55, 0, 0, 0, 0, 0)
    _read(process, [path])
    assert process.slots["ret"].tolist() == [0, 6, 7]


def test_nothing_stands_behind_the_first_refusal(tmp_path):
    """A thread that found no next chunk goes on counting in its full one: what it did not write there is no record."""
    chunk = Chunk(256 + 64 + 16)
    chunk.record(OPEN, file=1, ret=3, text=b"/a/data").record(READ, file=1, offset=5, size=10, ret=4)
    chunk.data[88:96] = struct.pack("<II", chunk.slots, chunk.used)
    process = _native(tmp_path, chunk, beyond=40_000)
    assert [(slot["offset"], slot["ret"]) for slot in process.slots if slot["len"]] == [(5, 4)]
    assert process.damaged == []


def test_a_kind_without_a_name_is_counted_and_no_op(tmp_path):
    """Records of a kind that is not known are left out by number, whether they would be ops or say something about them."""
    chunk = Chunk().record(OPEN, file=1, text=b"/x").record(20, file=1, size=9, ret=9).record(62).record(READ, file=1)
    process = _native(tmp_path, chunk)
    assert process.slots["op"].tolist() == [spool.CODE["open"], spool.CODE["read"]]
    assert process.unknown_records == 2


def test_failed_calls_have_their_errno(tmp_path):
    """A negative result is an errno; nothing was moved."""
    chunk = (
        Chunk()
        .record(OPEN, ret=-2, text=b"/none")
        .record(OPEN, file=1, text=b"/x")
        .record(READ, file=1, size=9, ret=-5)
    )
    slots = _native(tmp_path, chunk).slots
    assert slots["err"].tolist() == [2, 0, 5]
    assert slots["ret"].tolist() == [0, 0, 0]


def test_context_and_thread_hold_from_their_record_on(tmp_path):
    """A change of context or thread is about what follows it."""
    chunk = Chunk(tid=5).record(OPEN, file=1, text=b"/x").record(READ, file=1)
    chunk.record(CONTEXT, file=3, offset=77, size=2, ret=1, duration=4).record(READ, file=1).record(
        THREAD, ret=6
    ).record(READ, file=1)
    process = _native(tmp_path, chunk)
    assert process.contexts.tolist() == [[-1, -1, -1, -1, 0]] * 2 + [[4, 1, 2, 77, 3]] * 2
    assert process.tids.tolist() == [5, 5, 5, 6]


def test_what_is_not_wanted_is_counted(tmp_path):
    """Reads of files that the filter leaves out are no ops, but their bytes are known."""
    chunk = Chunk().record(OPEN, file=1, text=b"/lib/a.py").record(READ, file=1, size=100, ret=80)
    chunk.record(OPEN, file=2, text=b"/pipe").record(FILE, file=2, text=_identity(mode=0o010644)).record(
        READ, file=2, ret=3
    )
    process = _native(tmp_path, chunk)
    assert len(process.slots) == 0
    assert process.ignored_read == 83


def test_multiprocessings_own_directories_are_left_out():
    """What multiprocessing makes for its own sockets is no data of the program, unless it is asked for."""
    assert not Filter().wants("/tmp/pymp-a1b2/listener-x")
    assert Filter(["/tmp/pymp-*"]).wants("/tmp/pymp-a1b2/listener-x")


def test_a_chunk_without_records_counts(tmp_path):
    """A thread that read nothing but pipes noted no op; the bytes it left out are known all the same."""
    chunk = Chunk()
    chunk.data[136:144] = struct.pack("<Q", 777)
    assert _native(tmp_path, chunk).ignored_read == 777


@pytest.mark.parametrize("ticks", [0, 1, 2**29 - 1, 2**29, 10**10, 2**60])
def test_durations_keep_their_size(ticks):
    """A packed duration comes back within 2^-24 of what it was (spool.h, tk_pack_duration)."""
    mantissa, exponent = ticks, 0
    while mantissa >> 29 and exponent < 7:
        mantissa >>= 5
        exponent += 1
    packed = np.array([mantissa | exponent << 29], np.uint32)
    assert abs(int(chunks._duration(packed)[0]) - ticks) <= ticks >> 24


def test_the_clock_goes_through_its_anchors():
    """At an anchor the time is the anchor's; between two it is proportional; outside it goes on at the same pace."""
    clock = Clock([(0, 1000), (2_000_000_000, 5_000_001_000), (4_000_000_000, 11_000_001_000)])
    ticks = np.array([1000, 2_500_001_000, 5_000_001_000, 8_000_001_000, 14_000_001_000], np.uint64)
    assert clock.ns(ticks).tolist() == [0, 1_000_000_000, 2_000_000_000, 3_000_000_000, 5_000_000_000]


def test_anchors_too_close_are_left_out():
    """Two anchors within a second are mostly noise: only the ends of a short run count."""
    clock = Clock([(0, 1000), (500_000_000, 1_700_000_000), (900_000_000, 1_800_001_000)])
    assert clock.ns(np.array([900_001_000], np.uint64)).tolist() == [450_000_000]
    assert not Clock([(5, 5)]).usable


def test_garbage_is_no_chunk(tmp_path):
    """Files that are no chunks, cut short or of another layout are passed over, and named where they hold anything."""
    for number, data in enumerate((b"", b"tkops", os.urandom(3000), bytes(Chunk().data[:200]))):
        (tmp_path / f"1.2.{number}.ops").write_bytes(data)
    process = chunkfile.Native(1, 0, 2, 0, 0, 0, 0, 0)
    _read(process, sorted(tmp_path.glob("*.ops")))
    assert len(process.slots) == 0
    assert process.damaged == ["1.2.1.ops", "1.2.2.ops", "1.2.3.ops"]
    assert chunkfile.heads(tmp_path) == []
    assert gather(tmp_path, [], {}).parts == []


def _part(reads, **facts):
    part = Part("9-5", **facts)
    trace = Trace.of([Op("file:///x", 0, size, 0, ret=size) for size in reads])
    return trace, part


def test_the_certificate_says_complete_or_what_is_missing():
    """Within half a percent of the kernel's count a native recording is complete; beyond it names who was not followed."""
    trace, part = _part([990_000], layer="libc", ignored_bytes=8_000)
    assert coverage_of(trace, [part], 1_000_000)["complete"]
    uncounted = coverage_of(trace, [part], None)
    assert (uncounted["known"], uncounted["why"]) == (False, WHY_UNCOUNTED)
    part.execs = [(10, 77, ["/usr/bin/md5sum", "md5sum", "x"])]
    found = coverage_of(trace, [part], 3_000_000)
    assert not found["complete"]
    assert found["missing_bytes"] == 2_002_000
    assert "md5sum" in found["missing"]
    assert found["not_followed"] == [{"argv": ["md5sum", "x"], "why": "it is no Python program", "times": 1}]


def test_readers_of_their_own_are_named_however_little_is_missing():
    """Where the Python engine recorded, an imported pyarrow is said to read unseen; torch is not, nor is the native engine."""
    trace, part = _part([1000], layer="python", frameworks={"torch": "2", "pyarrow": "20"})
    assert coverage_of(trace, [part], 1000)["unseen_readers"] == ["pyarrow"]
    part.layer = "libc"
    assert "unseen_readers" not in coverage_of(trace, [part], 1000)


def test_failed_ops_move_nothing():
    """The bytes of a recording are those of the ops that succeeded; a missing result is not minus one."""
    trace = Trace.of([Op("file:///x", 0, 10, 0, ret=10), Op("file:///x", 0, 10, 1, err="EIO")])
    assert Tally.of(trace).moved("read") == 10


def test_an_exec_that_was_followed_is_not_missing():
    """A started program whose process left a part after the start was followed."""
    trace, part = _part([100], layer="libc", execs=[(4, 9, ["/usr/bin/python3", "python3", "x.py"])])
    assert coverage_of(trace, [part], 100)["not_followed"] == []


def test_a_library_that_keeps_programs_from_starting_is_refused(tmp_path):
    """A broken library, and one that is none, are found out before the user's program is started with them."""
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"not a library")

    assert "does not start with its library" in engine._refusal(str(broken))
    assert engine._refusal("") == ""


def test_the_engine_asked_for_is_used_or_refused(monkeypatch):
    """Python is always there; auto takes native where a trial succeeds, or says why not; native is an error where it cannot be."""
    assert engine.choose("python").options is None
    if engine.try_native().way != "none":
        assert engine.choose("auto").name == "native"
    monkeypatch.setattr(engine, "_TRY", "import os; os.abort()")
    if engine._core()[0] is not None:
        assert engine.choose("auto").name == "python"
        assert "trial" in engine.choose("auto").reason
    monkeypatch.setattr(engine, "_core", lambda: (None, "no compiler was there"))
    assert engine.choose("auto") == engine.Choice("python", "no compiler was there")
    with pytest.raises(RecorderError, match="no compiler was there"):
        engine.choose("native")


def test_unfit_interpreters_get_the_python_engine(monkeypatch, tmp_path):
    """Another Python than CPython, or a core that does not load, is an outcome with a reason, never an error."""
    settings = {"directory": str(tmp_path), "home": "", "variable": "X"}
    options = {"core": str(tmp_path / "none.so"), "tsc": False, "detour": True, "got": True}
    started = native.start(options, settings)
    assert (started.name, started.core) == ("python", None)
    assert "cannot be loaded" in started.reason
    monkeypatch.setattr(native.sys, "abiflags", "t", raising=False)
    assert "free-threaded" in native.start(options, settings).reason
