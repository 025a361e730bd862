"""A trace folded piece by piece is the trace that was loaded whole, however its lines stand in the file."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit import formats
from tracekit.analysis.reading import Reading
from tracekit.analysis.snapshot import Analysis
from tracekit.formats import ordered
from tracekit.metrics import Metrics, Stream
from tracekit.testing import training_trace
from tracekit.trace import Mark, Op, Trace


class Kept:
    """A sink that keeps everything."""

    def __init__(self, marks):
        self.marks = list(marks)
        self.ops = []
        self.last = None

    def update(self, piece):
        """Keep the ops."""
        self.ops += list(piece)
        self.last = piece


OPS = st.builds(
    Op, uri=st.sampled_from("abc"), offset=st.integers(0, 9), len=st.integers(0, 9), t_submit=st.integers(0, 30)
)
PLACES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=4)


def _lines(rows, places):
    """Op lines in their order, with mark lines somewhere among them."""
    lines = [json.dumps({"uri": op.uri, "offset": op.offset, "len": op.len, "t_submit": op.t_submit}) for op in rows]
    for number, (place, time) in enumerate(places):
        lines.insert(place, json.dumps({"mark": "step", "t": time, "t_end": time + 5, "step": number}))
    return "\n".join(lines) + "\n"


@settings(max_examples=60)
@given(st.lists(OPS, min_size=1, max_size=25), PLACES, st.integers(1, 8), st.booleans())
def test_pieces_come_in_order_with_all_marks(tmp_path_factory, rows, places, ops, parquet):
    """Whatever the order of lines and wherever marks stand: the sink sees ops by time, ties as in the file, and knows all marks."""
    path = tmp_path_factory.mktemp("fold") / "t.jsonl"
    path.write_text(_lines(rows, places))
    whole = formats.load(path)
    if parquet:
        path = path.with_suffix(".parquet")
        formats.save(whole, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordered, "PIECE_OPS", ops)
        kept = formats.fold(path, Kept)
        once = formats.fold(path, Stream).result()

    assert kept.ops == list(whole.sorted())
    assert sorted(kept.marks, key=repr) == sorted(whole.marks, key=repr)
    assert once.to_json() == Metrics.of(whole).to_json()


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst", ".parquet", ".tkc"])
def test_header_trailer_and_warnings_reach_the_sink(tmp_path, monkeypatch, suffix):
    """The last piece has header, trailer and warnings, of every format of ours, in order or not."""
    monkeypatch.setattr(ordered, "PIECE_OPS", 100)
    trace = training_trace()
    backwards = trace.select(slice(None, None, -1))
    backwards.trailer = trace.trailer
    for number, source in enumerate((trace, backwards)):
        path = tmp_path / f"{number}{suffix}"
        formats.save(source, path)
        last = formats.fold(path, Kept).last
        assert (last.header, last.trailer, last.warnings) == (trace.header, trace.trailer, [])


def test_metrics_and_analysis_of_one_pass_are_those_of_the_whole(tmp_path, monkeypatch):
    """Reading a file once gives what loading it gives."""
    monkeypatch.setattr(ordered, "PIECE_OPS", 50)
    trace = training_trace()
    path = tmp_path / "t.jsonl"
    formats.save(trace, path)
    read = formats.fold(path, Reading)

    assert read.metrics().to_json() == Metrics.of(trace).to_json()
    assert read.analysis().to_json() == Analysis.of(trace).to_json()


def test_many_hosts_are_folded_as_one(tmp_path, monkeypatch):
    """A directory of traces gives the metrics of the merged trace."""
    monkeypatch.setattr(ordered, "PIECE_OPS", 64)
    for rank in range(3):
        formats.save(training_trace(seed=rank, workers=1 + rank), tmp_path / f"rank{rank}.parquet")
    folded = formats.fold(tmp_path, Stream).result()

    assert folded.to_json() == Metrics.of(formats.load(tmp_path)).to_json()


def test_standard_input_is_read_once(tmp_path):
    """From a pipe a trace in disorder is measured too."""
    rows = [Op("/a", 4096 * i, 4096, 1000 - i, t_complete=2000 - i, pid=1, tid=1) for i in range(50)]
    path = tmp_path / "t.jsonl"
    formats.save(Trace.of(rows, marks=[Mark("step", 0, 500, 1)]), path)
    command = [sys.executable, "-I", "-m", "tracekit", "stats", "-", "--json"]
    done = subprocess.run(command, input=path.read_text(), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    found.pop("analysis")

    assert found == json.loads(json.dumps(Metrics.of(formats.load(path)).to_json()))
