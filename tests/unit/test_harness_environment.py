"""The environment criteria: each sees what it is for and nothing else, over three runs against a golden from dedicated hosts."""

import json

import numpy as np
import pytest

from harness import compare, power, repeat
from harness.criterion import ENVIRONMENT
from harness.envelope import Envelope
from harness.report import json as json_report
from harness.standard import Standard
from harness.verdict import Outcome
from tracekit.trace import Header, StringTable, Trace, Trailer

OPS, FILES = 6000, 300
HOST = {"cpu": "c", "cores": 2, "kernel": "6.1", "memory_bytes": 10**10, "system": "Linux", "filesystem": {}}


def job(seed, *, slow=1.0, tied=True, lasting=0.9, spread=1, pause=1, tail=1.0):
    """A run: 20 reads of each file, one after the other, whose service times follow sizes and come in bursts.

    Args:
        seed: Of its chance.
        slow: How many times as long every op takes.
        tied: Whether service times follow sizes.
        lasting: How much of an op's slowness the next one inherits.
        spread: How many files are read by turns.
        pause: Every so-and-so-many-th 10 ms has all the ops.
        tail: How many times as long the slowest two in a thousand take.
    """
    chance = np.random.default_rng(seed)
    sizes = chance.choice([4096, 65536, 1 << 20], OPS)
    noise = np.zeros(OPS)
    for place, step in enumerate(chance.normal(0, 0.5 * np.sqrt(1 - lasting**2), OPS)):
        noise[place] = (lasting * noise[place - 1] if place else 0.0) + step
    takes = slow * 100_000 * np.exp(noise + (0.12 * np.log2(sizes / 65536) if tied else 0.0))
    takes = np.where(noise > np.quantile(noise, 0.998), tail, 1.0) * takes
    ticks = np.arange(OPS) * 2_000_000 + chance.integers(0, 500_000, OPS)
    submit = ticks // 10_000_000 // pause * 10_000_000 * pause + ticks % (10_000_000 * pause) // pause
    order = np.arange(OPS) // (20 * spread) * spread + np.arange(OPS) % spread
    columns = {
        "uri": order.astype(np.int32), "offset": np.arange(OPS) * (1 << 20), "len": sizes, "ret": sizes, "t_submit": submit,
        "t_complete": submit + takes.astype(np.int64), "op": np.zeros(OPS, np.int32), "pid": np.ones(OPS, np.int32),
        "tid": (np.arange(OPS) % 4).astype(np.int32),
    }  # fmt: skip
    tables = {"uri": StringTable([f"/d/{number:04}" for number in range(FILES)]), "op": StringTable(["read"])}
    header = Header("2026-01-01T00:00:00Z", {"tool": "tracekit", "engine": "native"}, {}, ["x"], HOST, {}, {})
    return Trace(columns, tables, [], header, Trailer(OPS, int(sizes.sum())))


@pytest.fixture(scope="module")
def standard():
    """Twelve runs from hosts that did nothing else."""
    return Standard("job@1", Envelope.of([job(seed) for seed in range(12)]), dedicated=True)


def failed(standard, **change):
    """The environment criteria that three runs fail."""
    verdict = repeat.judge(standard, [job(seed, **change) for seed in (100, 101, 102)], ["a", "b", "c"])
    return {
        finding.id
        for finding in verdict.findings
        if finding.klass == ENVIRONMENT and finding.gates and finding.outcome is Outcome.FAIL
    }


def test_true_repeats_fail_nothing(standard):
    """Three runs with other seeds fail none; correlations and spans of files are decided and pass."""
    verdict = repeat.judge(standard, [job(seed) for seed in (100, 101, 102)], ["a", "b", "c"])
    said = {finding.id: finding.outcome for finding in verdict.findings if finding.klass == ENVIRONMENT}

    assert Outcome.FAIL not in said.values()
    new = ("latency.size", "latency.lag1", "file.span")
    assert {name: said[name] for name in new} == dict.fromkeys(new, Outcome.PASS)
    # What chance moves by much of its band: three runs need not be enough.
    noisy = ("latency.p99.9", "arrival.count", "arrival.bytes")
    assert {said[name] for name in noisy} <= {Outcome.PASS, Outcome.INCONCLUSIVE}


@pytest.mark.parametrize(
    ("change", "seen", "unseen"),
    [
        ({"tied": False}, "latency.size", "arrival.count"),
        ({"lasting": 0.0}, "latency.lag1", "latency.p50"),
        ({"spread": 10}, "file.span", "latency.p50"),
        ({"pause": 3}, "arrival.count", "latency.p50"),
        ({"pause": 30}, "arrival.bytes", "latency.p50"),
        ({"tail": 4.0}, "latency.p99.9", "latency.p95"),
    ],
)
def test_what_changes_is_seen_by_its_name(standard, change, seen, unseen):
    """Service times that no longer follow sizes or come in bursts, files read by turns, pauses, a longer far tail: each by its name."""
    found = failed(standard, **change)

    assert seen in found
    assert unseen not in found


def test_a_golden_that_lacks_a_figure_decides_nothing_about_it(standard):
    """Runs stored before there were such figures make the criterion N/A, not an error, and not a pass."""
    data = standard.envelope.to_json()
    for run in data["runs"]:
        for name in ("latency.size", "file.span", "latency.p99.9"):
            del run["scalars"][name]
        del run["blocks"], run["tables"]["arrival.count"]
    old = Standard("job@0", Envelope.from_json(json.loads(json.dumps(data)), "old"), dedicated=True)
    verdict = repeat.judge(old, [job(seed) for seed in (100, 101, 102)], ["a", "b", "c"])
    said = {finding.id: finding.outcome for finding in verdict.findings}

    assert {said[name] for name in ("latency.size", "file.span", "latency.p99.9", "arrival.count")} == {Outcome.NA}
    assert said["latency.p50"] is Outcome.PASS


def test_a_percentile_says_what_its_ops_are_worth(standard):
    """The summary shows how many independent ops a run's are worth and where within it p50 lies; fewer than there are, around its value."""
    verdict = repeat.judge(standard, [job(100)], ["a"])
    criteria = {one["id"]: one for one in json_report.summary(verdict)["criteria"]}
    shown = criteria["latency.p50"]["diagnostics"]

    assert 20 < shown["effective_ops"] < OPS
    assert shown["within_low"] < criteria["latency.p50"]["measured"] < shown["within_high"]
    assert criteria["size.mean"]["diagnostics"] == {}
    # The KS distance and its p-value are shown, and decide nothing.
    assert criteria["size.ks"]["diagnostics"].keys() == {"d", "p"}


def test_power_multiplies_the_ops_a_percentile_needs_by_the_design_effect(standard):
    """Ops whose slowness lasts say less: p50 needs more of them than of independent ones, by the factor that is shown."""
    (lasting,) = power.power(standard, [one for one in standard.criteria("repeat") if one.id == "latency.p50"])
    alone = Standard("alone", Envelope.of([job(seed, lasting=0.0) for seed in range(6)]))
    (single,) = power.power(alone, [one for one in alone.criteria("repeat") if one.id == "latency.p50"])
    independent = power.ops_needed(standard.envelope.histograms["latency"], 0.5, 0.25)

    assert lasting.design_effect > 2 * single.design_effect
    assert lasting.ops == max(lasting.criterion.minimum, int(np.ceil(independent * lasting.design_effect)))
    assert lasting.to_json()["design_effect"] == pytest.approx(lasting.design_effect)


def test_two_single_runs_are_compared_by_their_blocks():
    """The ratio of percentiles has an interval within the runs, and the KS distance a bracket and a bound; twice as slow is 2."""
    a, b = (Envelope.of([job(seed, slow=slow)]) for seed, slow in ((1, 1.0), (2, 2.0)))
    found = {difference.criterion.id: difference for difference in compare.compare(a, b)}
    low, high = found["latency.p50"].within
    distance = found["latency.shift"].diagnostics

    assert found["latency.p50"].interval is None
    assert 1.4 < low < 2.2 < high < 3
    assert 0 < distance["d_low"] <= distance["d_high"] <= 1
    assert distance["d_low"] - 0.05 < distance["d_most"] <= 1
    assert any("{…}" in note for note in compare.remarks(a, b))
    several = Envelope.of([job(1), job(3)])
    assert all(difference.within is None for difference in compare.compare(several, b))
