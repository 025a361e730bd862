"""What it takes to decide with a golden, and the bands of others shown beside ours."""

import json
import math
import re

import numpy as np
import pytest

from harness import paired, presets, repeat
from harness.cli import main
from harness.criteria import REPEAT_CRITERIA
from harness.envelope import Envelope
from harness.power import ops_needed, power
from harness.standard import Standard
from harness.stats import repeat_half_width
from harness.verdict import Outcome
from tracekit.histogram import Histogram
from tracekit.testing import training_trace

JOB = {"files": 128, "batch": 16, "compute_ns": 50_000_000}


def job(seed, **rest):
    """A run of the job."""
    return training_trace(**{**JOB, "seed": seed, **rest})


@pytest.fixture(scope="module")
def standard():
    """Eight runs whose requests per second differ by a factor of up to 1.4."""
    return Standard(
        "job@1", Envelope.of([job(seed, compute_ns=50_000_000 * (10 + seed % 5) // 10) for seed in range(8)])
    )


def of(standard, name):
    """What one criterion takes."""
    return power(standard, [REPEAT_CRITERIA[name]])[0]


def test_what_does_not_vary_takes_one_run(standard):
    """Ops per step are the same in every run: one run passes, and fails from the edge of the band on."""
    found = of(standard, "step.ops")
    assert (found.lesson.needs, found.golden_runs) == (1, None)
    assert found.lesson.detects == found.detects_three == pytest.approx(0.10)


def test_what_varies_too_much_says_that_no_run_helps(standard):
    """Noise of 14 % against ±15 %: eight golden runs never decide it, and it is said whether more would."""
    found = of(standard, "ops.rate")
    assert found.lesson.needs is None
    assert found.golden_runs is None or found.golden_runs > 8
    assert found.lesson.detects > found.detects_three > 0.15


def test_the_runs_named_would_pass(standard):
    """The number of runs that `needs` names gives an interval inside the band; one fewer does not, with the power asked for."""
    found = of(standard, "order.first-touch")
    half = repeat_half_width(found.lesson.noise, 8, found.lesson.needs, 0.95)
    assert half < found.criterion.tolerance


def test_a_percentile_needs_more_ops_the_rarer_it_is():
    """p99 of lognormal times needs many times the ops of p50; the binomial formula's order of magnitude is met."""
    times = np.random.default_rng(0).lognormal(math.log(1e6), 1.0, 400_000).astype(np.int64)
    histogram = Histogram.of(times)
    middle, tail = ops_needed(histogram, 0.5, 0.25), ops_needed(histogram, 0.99, 0.25)
    # ±25 % of the median of a lognormal with sigma 1 lie 0.106 of the ranks apart: (1.96 · 0.5 / 0.1)² is about 90.
    assert 60 <= middle <= 140
    assert 500 <= tail <= 3000


def test_a_percentile_between_two_modes_needs_more_than_there_is():
    """Where p50 falls between cache hits and misses no number of ops helps, and an empty histogram says nothing."""
    assert ops_needed(Histogram.of([1000] * 50 + [100_000] * 50), 0.5, 0.25) is None
    assert ops_needed(Histogram(), 0.5, 0.25) is None


def test_the_command_shows_what_it_takes(capsys):
    """A row for every criterion of the shipped golden; one alone with --criterion; an unknown one proposes the nearest."""
    assert main(["power", "--golden", "torch-like"]) == 0
    assert "step.bytes" in capsys.readouterr().out
    assert main(["power", "--golden", "torch-like", "--criterion", "latency.p99", "--json"]) == 0
    (only,) = json.loads(capsys.readouterr().out)["criteria"]
    assert only["id"] == "latency.p99"
    assert only["ops"] >= 368
    assert main(["power", "--golden", "torch-like", "--criterion", "latency.p98"]) == 2
    assert "latency.p99" in capsys.readouterr().err


# -- presets ------------------------------------------------------------------------------------------------------------


def preset(verdict, name):
    """One finding of a preset."""
    return next(finding for finding in verdict.findings if finding.id == name)


def test_presets_are_shown_and_never_count(standard):
    """Twice the service time misses the seed's p99 band; the verdict is what it is without."""
    slow = job(3, read_ns=400_000)
    plain = repeat.judge(standard, [slow], ["slow"])
    shown = repeat.judge(standard, [slow], ["slow"], presets=["seed", "dlio-pr344"])
    assert preset(shown, "seed:latency.p99").outcome is Outcome.FAIL
    assert preset(shown, "seed:size.mean").outcome is Outcome.PASS
    assert not any(finding.gates for finding in shown.findings if finding.klass == "preset")
    assert shown.outcome is plain.outcome
    assert any("auto_config/compare.py" in note for note in shown.notes)


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_names_its_source_and_judges_a_copy(name):
    """A trace against itself meets every band that compares the two; those it cannot tell are N/A."""
    trace = job(1)
    verdict = paired.judge(trace, trace, names=("a", "b"), presets=[name])
    own = [finding for finding in verdict.findings if finding.klass == "preset"]
    compared = [finding for finding in own if finding.effect_kind in {"ratio", "distance"}]
    assert own
    assert all(finding.outcome in {Outcome.PASS, Outcome.NA} for finding in compared)
    assert presets.PRESETS[name].source


def test_utilisation_is_what_is_not_waited(standard):
    """A consumer that waits a fifth of the time: 80 % busy meets 70 % and misses 85 and 90 %."""
    waiting = job(1, wait_ns=12_500_000)
    verdict = repeat.judge(standard, [waiting], ["w"], presets=["mlperf-storage"])
    assert preset(verdict, "mlperf-storage:utilisation-70").measured == pytest.approx(0.8)
    outcomes = [preset(verdict, f"mlperf-storage:utilisation-{share}").outcome for share in (70, 85, 90)]
    assert outcomes == [Outcome.PASS, Outcome.FAIL, Outcome.FAIL]
    assert preset(verdict, "mlperf-storage:replicable").outcome is Outcome.NA


def test_runs_that_differ_are_not_replicable(standard):
    """Two runs at speeds 10 % apart are 5 % from their mean; three equal ones are not apart at all."""
    apart = repeat.judge(standard, [job(1), job(2, compute_ns=60_000_000)], ["a", "b"], presets=["mlperf-storage"])
    equal = repeat.judge(standard, [job(1), job(2)], ["a", "b"], presets=["mlperf-storage"])
    assert preset(apart, "mlperf-storage:replicable").outcome is Outcome.FAIL
    assert preset(equal, "mlperf-storage:replicable").outcome is Outcome.PASS


def test_an_unknown_preset_proposes_the_nearest(capsys):
    """Status 2 and the name that exists."""
    assert main(["check", "x.jsonl", "--golden", "torch-like", "--preset", "mlperf"]) == 2
    assert "mlperf-storage" in capsys.readouterr().err


def test_a_criterion_is_explained_with_what_others_say_and_the_golden_knows(capsys):
    """The published band and the golden's noise stand below the explanation."""
    assert main(["check", "--explain", "latency.p99", "--golden", "torch-like"]) == 0
    shown = capsys.readouterr().out
    assert "published   seed: ±25 %" in shown
    assert re.search(r"torch-like@\d+: tolerance 0.25, noise \d", shown)
