"""The table of formats: what a module lacks is derived from what it has, and names decide which module it is."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from types import ModuleType

import pyarrow as pa
import pytest

from tracekit import Header, Op, Trace, Trailer, formats
from tracekit.errors import UnknownNameError, UsageError
from tracekit.formats import frames, registry
from tracekit.formats.frames import FrameSink
from tracekit.formats.writer import Collector
from tracekit.testing import training_trace


@pytest.fixture
def made(monkeypatch):
    """Put a format with a module of these functions into the table, under the suffix .made."""

    def put(**functions):
        module = ModuleType("tracekit_made_format")
        for name, function in functions.items():
            setattr(module, name, function)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        ways = {"reads": {"load", "chunks"} & set(functions), "writes": {"save", "writing"} & set(functions)}
        row = registry.Format(
            "made", (".made",), module.__name__, "", **{way: bool(any_) for way, any_ in ways.items()}
        )
        monkeypatch.setattr(registry, "FORMATS", (*registry.FORMATS, row))
        monkeypatch.setitem(registry._BY_NAME, "made", row)

    return put


TRACE = training_trace()


def _file(tmp_path):
    (tmp_path / "t.made").write_bytes(b"x")
    return tmp_path / "t.made"


def test_chunks_are_derived_from_load(made, tmp_path):
    """A module that only loads is read piece by piece all the same: marks first, trailer last."""
    made(load=lambda path, *, time_unit, skip_bad: TRACE)
    pieces = list(formats.chunks(_file(tmp_path), ops=100))
    assert [len(piece) for piece in pieces] == [100, 100, 88]
    assert [op for piece in pieces for op in piece] == list(TRACE)
    assert [len(piece.marks) for piece in pieces] == [len(TRACE.marks), 0, 0]
    assert [piece.trailer for piece in pieces] == [None, None, TRACE.trailer]


def test_load_is_derived_from_chunks(made, tmp_path):
    """A module that only reads piece by piece gives whole traces too."""
    made(chunks=lambda path, *, ops, time_unit, skip_bad: registry.pieces_of(TRACE, 50))
    whole = formats.load(_file(tmp_path))
    assert list(whole) == list(TRACE)
    assert (whole.header, whole.trailer, whole.marks) == (TRACE.header, TRACE.trailer, TRACE.marks)
    with pytest.raises(UsageError, match="made is only read, not written"):
        formats.save(TRACE, tmp_path / "out.made")


def test_save_is_derived_from_writing(made, tmp_path):
    """A module that only writes piece by piece saves whole traces too."""
    collector = Collector()

    @contextmanager
    def writing(path, *, force):
        yield collector

    made(writing=writing)
    formats.save(TRACE, tmp_path / "out.made")
    assert list(collector.trace()) == list(TRACE)
    with pytest.raises(UsageError, match=r"made \(.*\) is only written, not read"):
        formats.load(_file(tmp_path))


def test_writing_is_derived_from_save(made, tmp_path):
    """A module that only saves gets the pieces as one trace, and nothing when the block raises."""
    saved = []
    made(save=lambda trace, path, *, force: saved.append(trace))
    with formats.writing(tmp_path / "out.made") as writer:
        done = writer.pieces(registry.pieces_of(TRACE, 7))
    assert (done.ops, list(saved[0]), saved[0].header, saved[0].trailer) == (
        288,
        list(TRACE),
        TRACE.header,
        TRACE.trailer,
    )
    with pytest.raises(RuntimeError), formats.writing(tmp_path / "out.made"):
        raise RuntimeError
    assert len(saved) == 1


def test_the_longest_suffix_decides(tmp_path):
    """`.jsonl.zst` is not `.jsonl`, and a name may be overruled by the name of a format."""
    assert registry.by_suffix("a.jsonl.zst").name == "jsonl.zst"
    assert registry.by_suffix("a.jsonl").name == "jsonl"
    assert registry.by_suffix("jsonl") is None
    formats.save(TRACE, tmp_path / "a.data", form="parquet")
    formats.save(TRACE, tmp_path / "b.data", form="jsonl.zst")
    assert list(formats.load(tmp_path / "a.data")) == list(formats.load(tmp_path / "b.data")) == list(TRACE)
    with pytest.raises(UnknownNameError, match="there is no format 'parquett'; did you mean 'parquet'"):
        formats.load(tmp_path / "a.data", form="parquett")


def test_every_format_of_the_table_has_a_way_in_or_out():
    """Each row's module has the functions that the row says it has."""
    for row in registry.FORMATS:
        names = set(dir(row._module))
        assert row.reads == bool(names & {"load", "chunks"} or row.importer in names)
        assert row.writes == bool(names & {"save", "writing"})


def test_what_cannot_be_streamed_is_refused_on_standard_streams():
    """Parquet needs a file to seek in."""
    with pytest.raises(UsageError, match="parquet cannot go to standard output"):
        formats.save(TRACE, "-", form="parquet")
    with pytest.raises(UsageError, match="parquet cannot be read from standard input"):
        formats.load("-", form="parquet")


def test_frames_are_one_zstd_stream(tmp_path, monkeypatch):
    """Any writes come back in order from a file of many frames; a failed block leaves no thread behind."""
    monkeypatch.setattr(frames, "FRAME_BYTES", 1000)
    pieces = [os.urandom(number % 300) + b"\n" * (number % 7) for number in range(500)]
    with open(tmp_path / "x.zst", "wb") as file, FrameSink(file) as sink:
        for piece in pieces:
            assert sink.write(piece) == len(piece)
    with pa.CompressedInputStream(pa.OSFile(str(tmp_path / "x.zst")), "zstd") as stream:
        assert stream.read() == b"".join(pieces)
    with pytest.raises(RuntimeError), open(tmp_path / "y.zst", "wb") as file, FrameSink(file) as sink:
        sink.write(b"x" * 5000)
        raise RuntimeError
    assert sink._pool._shutdown


def test_written_pieces_are_counted_and_warnings_passed_on(tmp_path):
    """Copying piece by piece keeps header, trailer and marks, and says what the source said."""
    source = tmp_path / "a.jsonl"
    formats.save(Trace.of([Op("/a", 0, 1, 2)], header=Header(created="now"), trailer=Trailer(ops=1)), source)
    source.write_bytes(source.read_bytes()[:-9])
    with formats.writing(tmp_path / "b.parquet") as writer:
        done = writer.pieces(formats.chunks(source))
    assert done.ops == 1
    assert any("cut short" in text for text in done.warnings)
    assert formats.load(tmp_path / "b.parquet").trailer is None
