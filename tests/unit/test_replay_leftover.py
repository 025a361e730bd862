"""What a killed replay left: every stream is whole up to its end, whatever records are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tracekit import formats
from tracekit.errors import InputError
from tracekit.replay.engines import RESULT, RESULTS
from tracekit.replay.leftover import describe, recover
from tracekit.replay.options import Options
from tracekit.replay.plan import make_plan
from tracekit.replay.records import BLOCK
from tracekit.trace import Header, Op, Trace
from tracekit.uri import file_uri


def left(folder: Path, streams: list[int], done: np.ndarray, turns: int = 1) -> None:
    """The working files of a replay of one op a microsecond, op i of `streams[i]`, which has done the ops of these numbers."""
    name = file_uri(folder / "data")
    ops = [Op(name, i, 1, 1000 * i, t_complete=1000 * i + 500, ret=1, pid=1, tid=s) for i, s in enumerate(streams)]
    plan = make_plan(Trace.of(ops), Options(pace="recorded", loop=turns), folder=str(folder))
    describe(str(folder), plan, Header())
    records = np.zeros(len(done), RESULT)
    records["row"] = done
    records["due"] = records["free"] = records["submit"] = 5_000_000 + 1000 * done
    records["complete"], records["result"] = records["submit"] + 700, 1
    records.tofile(folder / RESULTS)


def recovered(folder: Path) -> tuple[Trace, int, int]:
    """The trace that is made of them, and the two counts."""
    out = folder / "back.jsonl"
    with formats.writing(str(out)) as writer:
        kept, behind = recover(str(folder), writer)
    return Trace.read(out), kept, behind


@pytest.mark.parametrize("seed", range(12))
def test_each_stream_is_whole_up_to_its_end(tmp_path: Path, seed: int) -> None:
    """Of every stream the ops before the first missing one are kept, and no others; both are counted."""
    rng = np.random.default_rng(seed)
    streams = rng.integers(0, 1 + seed % 5, 200).tolist()
    end = int(rng.integers(1, 201))
    done = rng.permutation(end)[: max(1, end - int(rng.integers(0, 4)))]
    left(tmp_path, streams, done)
    result, kept, behind = recovered(tmp_path)
    assert (kept, behind) == (len(result), len(done) - len(result))
    for stream in set(streams):
        mine = [number for number, whose in enumerate(streams) if whose == stream]
        first = next((place for place, number in enumerate(mine) if number not in done), len(mine))
        assert sorted(result.col("offset")[result.col("tid") == stream].tolist()) == mine[:first]


def test_a_gap_may_lie_in_any_block(tmp_path: Path) -> None:
    """One record of a stream is missing, far from the ends: the rest of that stream goes, the other stays."""
    count = 3 * BLOCK
    done = np.delete(np.arange(count), 2 * BLOCK + 1)
    left(tmp_path, [i % 2 for i in range(count)], done)
    result, kept, behind = recovered(tmp_path)
    assert (kept, behind) == (len(done) - BLOCK // 2 + 1, BLOCK // 2 - 1)
    assert np.bincount(result.col("tid")).tolist() == [count // 2, BLOCK]


def test_repetitions_are_one_stream(tmp_path: Path) -> None:
    """A gap in the first repetition of a stream cuts the second one too."""
    left(tmp_path, [0, 1] * 10, np.delete(np.arange(40), 4), turns=2)
    result, kept, behind = recovered(tmp_path)
    assert (kept, behind) == (22, 17)
    assert np.bincount(result.col("tid")).tolist() == [2, 20]


def test_nothing_done_is_an_error(tmp_path: Path) -> None:
    """Working files without a record are refused in one sentence."""
    left(tmp_path, [0], np.zeros(0, np.int64))
    with pytest.raises(InputError, match="holds no results"):
        recovered(tmp_path)
