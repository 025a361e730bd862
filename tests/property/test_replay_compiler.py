"""The compiler in C makes exactly what the readable one makes, of any trace."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.replay import compile as compiler
from tracekit.replay import core, ops
from tracekit.replay.options import Options
from tracekit.replay.ordering import in_order
from tracekit.replay.plan import Plan, make_plan
from tracekit.replay.records import BLOCK, Records
from tracekit.storage import MemoryStorage
from tracekit.trace import Op, Trace

native = pytest.importorskip("tracekit._core", reason="the native core is not built here")

maybe = st.none() | st.integers(0, 3)
NAMES = ["read", "read", "read", "open", "close", "stat", "list", "mmap", "fsync", "fdatasync", "write", "delete"]
OPS = st.builds(
    lambda uri, offset, length, begin, kind, lasts, ret, err, who, sample: Op(
        f"file:///m/{uri}", offset, length, begin, op=kind, t_complete=None if lasts is None else begin + lasts, ret=ret,
        err=err, pid=who[0], tid=who[1], rank=who[2], worker=who[3], sample_id=sample, step=begin % 7,
    ),
    st.integers(0, 4), st.none() | st.integers(0, 2**40), st.integers(0, 2**33), st.integers(0, 500), st.sampled_from(NAMES),
    st.none() | st.integers(0, 90), st.none() | st.integers(0, 2**33), st.sampled_from([None, None, None, "EIO"]),
    st.tuples(maybe, maybe, maybe, maybe), st.sampled_from([None, 1, "cat.jpg"]),
)  # fmt: skip
CHOSEN = st.fixed_dictionaries(
    {
        "pace": st.sampled_from(["recorded", "think", "asap", "auto"]),
        "speed": st.sampled_from([1.0, 3.0, 0.7]),
        "null_offset": st.sampled_from(["refuse", "zero", "sequential"]),
    }
)


def planned(pieces: list[Trace], chosen: dict[str, Any], *, by_core: bool) -> Plan:
    """The plan, made by the core or by its twin."""
    with pytest.MonkeyPatch.context() as patch:
        if not by_core:
            patch.setattr(compiler, "native_core", lambda: None)
            patch.setattr(ops, "native_core", lambda: None)
        return make_plan(pieces, Options(**chosen), storage_of=lambda _: MemoryStorage({}))


def cut(trace: Trace, places: list[int]) -> list[Trace]:
    """A trace as pieces that share their tables."""
    edges = [0, *sorted(place % (len(trace) + 1) for place in places), len(trace)]
    return [trace.select(np.arange(a, b)) for a, b in pairwise(edges)]


def known(records: np.ndarray) -> list[Any]:
    """The fields of records but those that only fill up."""
    return records[[name for name in records.dtype.names or () if name != "unused"]].tolist()


def taken_apart(plan: Plan) -> dict[str, Any]:
    """All that a plan says. Numbers of people are each compiler's own."""
    program, uses = plan.program, plan.program.uses
    rows = program.rows.read(0, len(program))
    identities = program.who[rows["who"]].tolist()
    rows["who"] = 0
    return {
        "rows": known(rows),
        "who": identities,
        "streams": program.streams,
        "stream of": program.streams_of(program.rows.read(0, len(program))).tolist(),
        "ops": known(plan.ops_file.records.read(0, len(program))),
        "uses": {name: np.asarray(value).tolist() for name, value in vars(uses).items()},
        "rest": (program.origin, program.period, program.overlaps, program.depth, program.mapped, program.held,
                 program.kinds, program.notes, plan.pace, plan.pace_reason, plan.files and [vars(f) for f in plan.files],
                 [str(problem) for problem in plan.problems]),
    }  # fmt: skip


def without_storage(found: dict[str, Any]) -> dict[str, Any]:
    """The same without the storage objects, which are different ones."""
    for file in found["rest"][10]:
        file.pop("storage")
    return found


@settings(max_examples=300)
@given(rows=st.lists(OPS, max_size=40), chosen=CHOSEN, places=st.lists(st.integers(0, 40), max_size=3))
def test_core_and_twin_compile_the_same(rows: list[Op], chosen: dict[str, Any], places: list[int]) -> None:
    """Rows, streams, ops, demands on files, depth, notes and problems, whatever the trace and however it is cut."""
    pieces = cut(Trace.of(rows), places)
    ours, theirs = (without_storage(taken_apart(planned(pieces, chosen, by_core=by_core))) for by_core in (True, False))
    assert ours == theirs


def test_the_layouts_are_those_of_the_core() -> None:
    """What Python writes into memory is what C reads there."""
    assert native.compile_layouts() == {name: layout.itemsize for name, layout in core.LAYOUTS.items()}


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32), sorted_share=st.sampled_from([0.0, 0.5, 1.0]), chosen=CHOSEN)
def test_long_traces_are_compiled_the_same(seed: int, sorted_share: float, chosen: dict[str, Any]) -> None:
    """Over many blocks too: streams that come and go, order that is lost, offsets that are made up."""
    rng = np.random.default_rng(seed)
    count = 3 * BLOCK + 17
    times = rng.integers(0, 10**7, count)
    times[: int(sorted_share * count)].sort()
    columns = {
        "uri": rng.integers(0, 5, count), "offset": rng.integers(-1, 10**6, count), "len": rng.integers(0, 10**6, count),
        "t_submit": times, "op": rng.integers(0, 4, count), "t_complete": times + rng.integers(0, 2000, count),
        "ret": rng.integers(-1, 10**6, count), "pid": rng.integers(0, 3, count),
        "tid": (times // 2_000_000 * 10 + rng.integers(0, 40, count)),
    }  # fmt: skip
    base = Trace.of(
        [Op(f"/m/{i}", 0, 1, 0, op=name) for i, name in enumerate(("read", "open", "write", "close", "read"))]
    )
    trace = Trace({name: base.col(name).dtype.type(0) + column.astype(base.col(name).dtype) for name, column in columns.items()}, base.tables)  # fmt: skip
    ours, theirs = (
        without_storage(taken_apart(planned([trace], chosen, by_core=by_core))) for by_core in (True, False)
    )
    for key in ours:
        assert ours[key] == theirs[key], key


PAIR = np.dtype([("key", "i8"), ("number", "i8")])


@settings(max_examples=200)
@given(keys=st.lists(st.integers(0, 12) | st.integers(0, 1000), max_size=120), run=st.integers(1, 9))
def test_records_are_brought_into_order(keys: list[int], run: int) -> None:
    """However short the runs, all records come once, by their key, and equal ones as they stood."""
    records = Records(PAIR)
    block = np.zeros(len(keys), PAIR)
    block["key"], block["number"] = keys, np.arange(len(keys))
    records.append(block)
    found = [tuple(pair) for part in in_order(records, "key", run=run) for pair in part.tolist()]
    assert found == sorted(zip(keys, range(len(keys)), strict=True))


@given(count=st.integers(1, 500), places=st.lists(st.integers(0, 10**6), max_size=60))
def test_records_are_taken_from_anywhere(count: int, places: list[int]) -> None:
    """Whatever the positions, in whatever order and how often: those records."""
    records = Records(PAIR)
    block = np.zeros(count, PAIR)
    block["number"] = np.arange(count)
    records.append(block)
    wanted = [place % count for place in places]
    assert records.take(np.array(wanted, np.int64))["number"].tolist() == wanted
