"""The modes of a check, why one was chosen, and the criteria that only distributions can decide."""

import json
from dataclasses import replace

import numpy as np
import pytest

from harness import mutations, repeat
from harness.check import check
from harness.cli import main
from harness.criteria import PROFILE_CRITERIA, REPEAT_CRITERIA
from harness.criterion import INTENT, PROFILE
from harness.envelope import Envelope
from harness.standard import Standard
from harness.verdict import Outcome
from tracekit import formats
from tracekit.errors import UsageError
from tracekit.testing import training_trace
from tracekit.trace import Trace

JOB = {"files": 256, "batch": 16, "compute_ns": 50_000_000}


def job(seed, **rest):
    """A run of the job."""
    return training_trace(**{**JOB, "seed": seed, **rest})


@pytest.fixture(scope="module")
def standard():
    """A golden of eight runs."""
    return Standard("job@1", Envelope.of([job(seed) for seed in range(8)]))


def finding(verdict, name):
    """One finding of a verdict."""
    return next(found for found in verdict.findings if found.id == name)


def failed(standard, trace, mode="repeat"):
    """The criteria that a run fails."""
    return {found.id for found in repeat.judge(standard, [trace], ["run"], mode).failed}


def test_another_job_of_the_same_kind_passes_profile_mode_only(standard):
    """More files, one more epoch and three workers instead of two: not the same job, and the same way to read."""
    other = job(50, files=400, epochs=3, workers=3)
    assert {"files.distinct", "streams.workers"} <= failed(standard, other)
    verdict = repeat.judge(standard, [other], ["run"], PROFILE)
    assert verdict.outcome is Outcome.PASS, [found.reason for found in verdict.failed]
    assert verdict.mode == PROFILE
    assert {found.id for found in verdict.findings} == set(PROFILE_CRITERIA)


@pytest.mark.parametrize(
    ("change", "criterion"),
    [
        ({"batch": 32}, "step.bytes"),
        ({"shuffle": False}, "order.first-touch"),
        ({"chunk_bytes": 32_768, "read_ns": 100_000}, "size.mean"),
        ({"chunk_bytes": 32_768, "read_ns": 100_000}, "order.run"),
        ({"file_bytes": 130_000}, "sample.bytes"),
    ],
)
def test_another_way_to_read_fails_profile_mode_by_name(standard, change, criterion):
    """What does not depend on the size of the job is judged there too, with the wider bands."""
    assert criterion in failed(standard, job(50, files=400, **change), PROFILE)


def test_profile_mode_is_wider_than_repeat_mode_everywhere():
    """No criterion that both have is tighter in profile mode."""
    for name in PROFILE_CRITERIA.keys() & REPEAT_CRITERIA.keys():
        assert PROFILE_CRITERIA[name].tolerance >= REPEAT_CRITERIA[name].tolerance


def test_the_reason_for_a_mode_is_said(tmp_path, monkeypatch, capsys):
    """Asked for, a golden, a replay by its header, a trace that says nothing: each has its reason in the summary."""
    monkeypatch.chdir(tmp_path)
    for seed in range(6):
        formats.save(job(seed), f"r{seed}.jsonl")
    assert main(["-q", "learn", *(f"r{seed}.jsonl" for seed in range(5)), "-o", "mine"]) == 0
    assert check(["r5.jsonl"], "mine").mode_reason.startswith("mine@0 is made of runs")
    assert check(["r5.jsonl"], "mine", mode="profile").mode_reason == "asked for"
    assert "--mode repeat" in check(["r0.jsonl"], "r0.jsonl").mode_reason
    trace = job(0)
    header = replace(trace.header, producer={"tool": "tracekit", "verb": "replay", "options": {}})
    formats.save(Trace(trace.columns, trace.tables, trace.marks, header, trace.trailer), "replay.jsonl")
    assert check(["replay.jsonl"], "r0.jsonl").mode_reason == "replay.jsonl is a replay by its own header"
    capsys.readouterr()
    main(["check", "r5.jsonl", "--golden", "mine", "--mode", "profile", "--json", "-"])
    assert json.loads(capsys.readouterr().out)["mode"] == "profile"
    with pytest.raises(UsageError, match="profile mode"):
        check(["r5.jsonl"], "mine", mode="profile", remap=[("/a", "/b")])


# -- criteria that see what means and medians do not ----------------------------------------------------------------------


def test_one_sample_in_twenty_read_twice_is_seen_in_the_distribution(standard):
    """5 % of the samples take twice the ops: the mean moves within its band, the distribution does not."""
    trace = job(50)
    again = np.flatnonzero(trace.col("sample_id") % 20 == 0)
    chosen = np.sort(np.concatenate([np.arange(len(trace)), again]))
    twice = mutations.with_columns(trace, {}, chosen)
    verdict = repeat.judge(standard, [twice], ["run"])
    assert finding(verdict, "sample.ops-ks").outcome is Outcome.FAIL
    assert finding(verdict, "sample.ops").outcome is not Outcome.FAIL


def test_a_shuffle_within_windows_is_seen_where_the_mean_jump_is_not_enough(standard):
    """Files shuffled only within windows of 64: their jumps are another distribution, and it is named."""
    trace = job(50, shuffle=False)
    files = np.asarray(trace.col("uri"), np.int64)
    chance, order = np.random.default_rng(1), np.arange(256)
    for start in range(0, 256, 64):
        order[start : start + 64] = chance.permutation(order[start : start + 64])
    names = sorted(range(len(trace.uris)), key=lambda code: trace.uris[code])
    to = np.empty(256, np.int64)
    to[names] = np.asarray(names)[order]
    windowed = mutations.with_columns(trace, {"uri": to[files].astype(trace.col("uri").dtype)})
    assert "order.jump" in failed(standard, windowed)


def test_hot_files_are_seen(standard):
    """A tenth of the ops moved to one file: the busiest files get more than their share."""
    trace = job(50)
    uri = np.array(trace.col("uri"))
    uri[np.arange(len(uri)) % 10 == 0] = uri[0]
    assert "order.top-files" in failed(standard, mutations.with_columns(trace, {"uri": uri}))


@pytest.mark.parametrize("criterion", ["order.seek", "order.run", "order.sequential"])
def test_a_shuffle_with_the_same_sizes_is_seen_in_every_statistic_of_order(standard, criterion):
    """The ops of each stream dealt anew: sizes are identical, order is not."""
    verdict = repeat.judge(standard, [mutations.shuffled(job(50))], ["run"])
    assert criterion in {found.id for found in verdict.failed}
    assert finding(verdict, "size.match").outcome is Outcome.PASS


def test_every_size_a_little_larger_is_seen_by_how_far_it_moved(standard):
    """5 % more per request: every request has a counterpart within 10 %, and all of them have moved."""
    trace = job(50)
    more = {
        name: np.where(trace.col(name) > 0, trace.col(name) * 105 // 100, trace.col(name)) for name in ("len", "ret")
    }
    verdict = repeat.judge(standard, [mutations.with_columns(trace, more)], ["run"])
    assert finding(verdict, "size.match").outcome is Outcome.PASS
    assert finding(verdict, "size.log-shift").outcome is Outcome.FAIL
    assert finding(verdict, "size.log-shift").effect == pytest.approx(np.log(1.05), rel=0.01)


def test_waiting_with_nothing_in_flight_fails_a_compute_bound_golden(standard):
    """Half of every step is waited for while nobody reads: named as such, and not only as a stall."""
    hungry = job(50, wait_ns=50_000_000)
    bound = replace(standard, regime="compute_bound")
    assert {"stall.share", "stall.hungry"} <= failed(bound, hungry)
    assert "stall.hungry" not in failed(standard, hungry)


def test_a_distance_of_true_repeats_is_no_effect(standard):
    """First-touch jumps of two shuffles differ by chance; what counts is what is beyond the golden's own differences."""
    found = finding(repeat.judge(standard, [job(60)], ["run"]), "order.jump")
    assert found.measured > 0.02
    assert found.effect < found.measured
    assert found.outcome is Outcome.PASS


def test_forty_true_repeats_fail_nothing(standard):
    """Forty shuffles of the job: none fails; at most four are open, by jumps between 256 files alone, and ask for a second run."""
    verdicts = [repeat.judge(standard, [job(seed)], ["run"]) for seed in range(100, 140)]
    outcomes = [verdict.outcome for verdict in verdicts]
    assert Outcome.FAIL not in outcomes
    assert outcomes.count(Outcome.INCONCLUSIVE) <= 4
    left = [
        one for verdict in verdicts for one in verdict.findings if one.gates and one.outcome is Outcome.INCONCLUSIVE
    ]
    assert {(one.id, one.settle) for one in left} <= {("order.jump", "needs 2 runs, there is 1")}


def test_what_may_fail_alone_is_intent():
    """Environment criteria never gate on any host but the golden's; those of intent always do, but for named exceptions."""
    gates = {criterion.gate for criterion in REPEAT_CRITERIA.values() if criterion.klass == INTENT}
    assert gates == {"always"}
    others = {criterion.gate for criterion in REPEAT_CRITERIA.values() if criterion.klass == "environment"}
    assert others <= {"same-host", "never"}
