"""The figures of a run: the tables criteria are decided on, coarse enough to be kept in a golden."""

import json

import numpy as np
import pytest

from harness.envelope import Envelope
from harness.figures import Figures, Table
from tracekit.histogram import Histogram
from tracekit.testing import training_trace
from tracekit.trace import Op, Trace


def test_coarse_tables_keep_counts_and_move_values_by_a_sixteenth():
    """Every value goes down by at most 1/16 of itself, those below 32 not at all, and none is lost."""
    values = np.unique(np.geomspace(1, 1e12, 5000).astype(np.int64))
    table = Table.coarse(Histogram.of(values))
    bucket = table.values[np.searchsorted(table.values, values, side="right") - 1]

    assert len(table) == len(values)
    assert bool((bucket <= values).all())
    assert float(((values - bucket) / values).max()) <= 1 / 16
    assert [value for value in table.values.tolist() if value < 32] == [v for v in values.tolist() if v < 32]
    assert len(table.values) < 16 * 40


@pytest.mark.parametrize("count", [1, 7, 300])
def test_coarse_tables_add_up(count):
    """The table of all values is the sum of the tables of two parts."""
    chance = np.random.default_rng(count)
    values = chance.integers(0, 2**40, count)
    half = count // 2
    parts = Table.coarse(Histogram.of(values[:half])) + Table.coarse(Histogram.of(values[half:]))
    whole = Table.coarse(Histogram.of(values))

    assert parts.values.tolist() == whole.values.tolist()
    assert parts.counts.tolist() == whole.counts.tolist()


def test_figures_survive_being_written():
    """Figures with all their tables are the same after JSON, and those of a golden from before there were tables are read."""
    figures = Figures.of(training_trace())
    data = json.loads(json.dumps(figures.to_json()))

    assert Figures.from_json(data).to_json() == figures.to_json()
    assert {"order.seek", "order.run", "order.jump", "sample.bytes", "latency", "gap", "depth"} <= figures.tables.keys()
    del data["tables"]
    assert Figures.from_json(data).tables == {}


def test_what_a_run_is_silent_about_an_envelope_does_not_make_up():
    """A bare list of requests has no table of samples; with a run that has one, the two together have none either."""
    bare = Trace.of([Op("/a", 10 * i, 10, i) for i in range(20)])
    envelope = Envelope.of([training_trace(), bare])

    assert "sample.bytes" not in Figures.of(bare).tables
    assert envelope.table("sample.bytes") is None
    assert envelope.table("order.run") is not None
