"""Traces as hypothesis makes them: what is written is what is read, what is merged is what was there."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import jsonlines
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit import Header, Mark, Op, Trace, Trailer, formats, merge
from tracekit.errors import TracekitError
from tracekit.trace import COLUMNS

TEXT = st.one_of(
    st.sampled_from(["/a", "s3://b/k", "read", "EIO"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
)
BIG = st.one_of(st.integers(0, 300), st.integers(0, 2**63 - 1))
SMALL = st.one_of(st.none(), st.integers(0, 3), st.integers(0, 2**31 - 1))
TIME = st.one_of(st.none(), BIG)
OPS = st.builds(
    Op,
    uri=TEXT,
    offset=st.one_of(st.none(), BIG),
    len=BIG,
    t_submit=BIG,
    op=TEXT,
    t_complete=TIME,
    ret=TIME,
    err=st.one_of(st.none(), TEXT),
    t_due=TIME,
    t_first_byte=TIME,
    pid=SMALL,
    tid=SMALL,
    rank=SMALL,
    worker=SMALL,
    epoch=SMALL,
    step=SMALL,
    sample_id=st.one_of(st.none(), BIG, TEXT),
    layer=st.one_of(st.none(), TEXT),
    level=st.one_of(st.none(), TEXT),
    attempts=SMALL,
    flags=st.one_of(st.none(), TEXT),
)
MARKS = st.builds(Mark, mark=TEXT, t=BIG, t_end=TIME, step=SMALL, epoch=SMALL, pid=SMALL)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXT, JSON, max_size=3)
HEADERS = st.builds(
    Header,
    created=TEXT,
    producer=OBJECTS,
    clock=OBJECTS,
    command=st.lists(TEXT, min_size=1, max_size=3),
    host=OBJECTS,
    frameworks=st.dictionaries(TEXT, TEXT, max_size=2),
    filters=OBJECTS,
    redacted=st.booleans(),
)
TRAILERS = st.builds(
    Trailer,
    ops=BIG,
    bytes=BIG,
    lost=BIG,
    processes=st.lists(OBJECTS, min_size=1, max_size=2),
    coverage=OBJECTS,
    residency=OBJECTS,
    run=OBJECTS,
    extra=st.dictionaries(st.sampled_from(["mood", "weather"]), JSON, max_size=2),
)


NAMES = st.sampled_from(["t.jsonl", "t.jsonl.zst", "t.parquet", "t.tkc"])


def _through_a_file(trace: Trace, name: str, size: int | None = None) -> list[Trace]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        formats.save(trace, path)
        return [formats.load(path)] if size is None else list(formats.chunks(path, ops=size))


@settings(max_examples=120)
@given(st.lists(OPS, max_size=12), st.lists(MARKS, max_size=3), HEADERS, st.one_of(st.none(), TRAILERS), NAMES)
def test_written_and_read_is_the_same_trace(ops, marks, header, trailer, name):
    """Any ops, marks, header and trailer come back from a file exactly, NULLs and names included."""
    trace = Trace.of(ops, marks=marks, header=header, trailer=trailer)
    (again,) = _through_a_file(trace, name)

    assert list(again) == ops
    assert again.marks == marks
    assert again.header == header
    assert again.trailer == trailer
    assert again.columns.keys() == trace.columns.keys()
    assert all(again.columns[name].dtype == COLUMNS[name].dtype for name in again.columns)


@given(st.lists(OPS, min_size=1, max_size=12), st.integers(1, 14), NAMES)
def test_chunks_of_any_size_are_the_whole(ops, size, name):
    """Reading in pieces gives the ops of reading at once, for any size of piece."""
    pieces = _through_a_file(Trace.of(ops, header=Header()), name, size)

    assert [op for piece in pieces for op in piece] == ops
    assert max(map(len, pieces)) <= size


@given(st.lists(OPS, min_size=1, max_size=8))
def test_any_written_trace_is_readable_with_jsonlines(ops):
    """The jsonlines package reads any trace to the same keys and values."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.jsonl")
        formats.save(Trace.of(ops), path)
        with jsonlines.open(path) as reader:
            rows = list(reader)

    assert [row["uri"] for row in rows] == [op.uri for op in ops]
    assert [row["offset"] for row in rows] == [op.offset for op in ops]
    assert [row.get("sample_id") for row in rows] == [op.sample_id for op in ops]


@given(st.lists(st.lists(OPS, max_size=6), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_merging_loses_nothing_and_does_not_care_for_order(parts, chance):
    """A merged trace holds every op once, in order of time, whatever the order of the parts."""
    traces = [Trace.of(ops) for ops in parts]
    shuffled = list(traces)
    chance.shuffle(shuffled)
    whole, other = merge(traces), merge(shuffled)

    assert Counter(whole) == Counter(op for ops in parts for op in ops) == Counter(other)
    assert (np.diff(whole.columns["t_submit"]) >= 0).all()


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.lists(st.integers(0, 10**6), min_size=1, max_size=5)),
        min_size=1,
        max_size=4,
    )
)
def test_merging_brings_clocks_together(parts):
    """Ops are ordered by wall-clock time of their submission when every part says when its t0 was."""
    traces = [
        Trace.of(
            [Op("/a", 0, 1, time, t_complete=time + 5, t_due=None) for time in times],
            marks=[Mark("step", times[0], times[0] + 1)],
            header=Header(clock={"t0_unix_ns": origin}),
        )
        for origin, times in parts
    ]
    whole = merge(traces)
    first = min(origin for origin, _ in parts)
    expected = sorted(origin - first + time for origin, times in parts for time in times)

    assert whole.header.clock["t0_unix_ns"] == first
    assert whole.columns["t_submit"].tolist() == expected
    assert (whole.columns["t_complete"] - whole.columns["t_submit"] == 5).all()
    assert sorted(mark.t for mark in whole.marks) == sorted(origin - first + times[0] for origin, times in parts)
    assert whole.warnings == []


@given(st.lists(OPS, max_size=12))
def test_sorting_is_stable(ops):
    """Sorted traces are in order of t_submit and keep the order of ties."""
    assert list(Trace.of(ops).sorted()) == sorted(ops, key=lambda op: op.t_submit)


@given(st.lists(OPS, max_size=10), st.data())
def test_selecting_is_picking(ops, data):
    """A mask keeps those ops, an index array gives them in its order."""
    trace = Trace.of(ops)
    mask = data.draw(st.lists(st.booleans(), min_size=len(ops), max_size=len(ops)))
    index = data.draw(st.lists(st.integers(0, len(ops) - 1), max_size=5)) if ops else []

    assert list(trace.select(np.array(mask, np.bool_))) == [op for op, kept in zip(ops, mask, strict=True) if kept]
    assert list(trace.select(np.array(index, np.intp))) == [ops[i] for i in index]


@given(st.lists(OPS, min_size=1, max_size=8))
def test_pandas_sees_the_same_values(ops):
    """Every value of the DataFrame is that of the op; missing is NA."""
    frame = Trace.of(ops).to_pandas()

    for name in frame.columns:
        series = frame[name]
        column = [None if missing else value for value, missing in zip(series, series.isna(), strict=True)]
        assert column == [getattr(op, name) for op in ops]


def _attempt(data: bytes, unit: str, *, skip_bad: bool) -> Trace | str:
    """The trace these bytes are, or the text of the error of ours."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.jsonl")
        path.write_bytes(data)
        try:
            return formats.load(path, time_unit=unit, skip_bad=skip_bad)
        except TracekitError as error:
            return str(error)


@given(st.binary(max_size=300), st.booleans())
def test_no_input_gives_a_traceback(data, skip_bad):
    """Any bytes are a trace or an error of ours in one line."""
    found = _attempt(data, "ns", skip_bad=skip_bad)

    assert isinstance(found, Trace) or "\n" not in found


PIECES = st.sampled_from([b"", b"\n", b"}", b'"', b"0", b"\xff", b"{", b",", b"\\"])


@given(st.lists(st.tuples(st.integers(0, 60), PIECES), max_size=3), st.booleans(), st.sampled_from(["ns", "ms"]))
def test_damaged_lines_give_no_traceback(edits, skip_bad, unit):
    """A good line with bytes changed is a trace or an error of ours that names the file and line."""
    line = bytearray(b'{"uri":"/a","offset":0,"len":10,"t_submit":1,"sample_id":5}')
    for place, text in edits:
        line[place : place + 1] = text
    found = _attempt(b'{"uri":"/a","len":1,"t_submit":0}\n' + bytes(line) + b"\n", unit, skip_bad=skip_bad)

    assert len(found) >= 1 if isinstance(found, Trace) else "t.jsonl:" in found
