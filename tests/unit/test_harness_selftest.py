"""The harness's own test: dials do what they say, effects are set to the tolerance, and what cannot be seen is named."""

import numpy as np
import pytest

from harness import alarms, calibration, catalogue, detection, dials, mutations, repeat, selftest
from harness.criteria import REPEAT_CRITERIA
from harness.criterion import PAIRED, REPEAT
from harness.envelope import Envelope
from harness.figures import Figures
from harness.noise import beyond_chance
from harness.score import Tally, by, together
from harness.standard import Standard, Trial
from harness.verdict import Outcome
from tracekit.metrics.view import View
from tracekit.testing import training_trace


def job(seed=0, **rest):
    """A run of the job: 160 files, batches of 16, two workers."""
    given = {"files": 160, "batch": 16, "compute_ns": 150_000_000, "read_ns": 700_000, "seed": seed}
    return training_trace(**{**given, **rest})


@pytest.fixture(scope="module")
def standard():
    """Eight runs of the job."""
    return Standard("job@1", Envelope.of([job(seed) for seed in range(8)]))


@pytest.fixture(scope="module")
def run():
    """A run that the golden was not made of."""
    return job(99)


DIALS = sorted(
    {edit.apply for edit in catalogue.DIALLED} | {dials.longer_service, dials.longer_tail},
    key=lambda dial: dial.__name__,
)


@pytest.mark.parametrize("dial", DIALS, ids=lambda dial: dial.__name__)
@pytest.mark.parametrize("amount", [0.01, 0.3])
def test_an_edited_trace_stays_possible(dial, amount, run):
    """Times ascend, no thread is in two ops at a time, no op moves more than it asked for, and the trailer counts what is there."""
    edited = dial(run, amount, 3)
    view = View.of(edited)
    assert (np.diff(view.submit) >= 0).all()
    assert edited.trailer.ops == len(edited)
    assert (view.moved <= view.sizes).all()
    for stream in np.unique(view.streams):
        mine = view.streams == stream
        assert (view.submit[mine][1:] >= view.complete[mine][:-1]).all()


@pytest.mark.parametrize("dial", DIALS, ids=lambda dial: dial.__name__)
def test_a_dial_at_nothing_changes_nothing(dial, run):
    """With the amount 0 the run is judged as the replay it is of itself: PASS."""
    assert detection.judges(Standard("x", Envelope.of([run])), run)[PAIRED](dial(run, 0.0, 1)).outcome is Outcome.PASS


def test_shares_are_what_they_say(run):
    """A tenth of the reads dropped, twice, split, written, failing: each a tenth, give or take what chance allows."""
    reads = int(run.mask("op", "read").sum())
    full = int((run.mask("op", "read") & (run.col("ret") > 1)).sum())
    tenth, tenth_of_full = (pytest.approx(count / 10, abs=4 * np.sqrt(count * 0.09)) for count in (reads, full))
    assert len(run) - len(dials.some_dropped(run, 0.1, 1)) == tenth
    assert len(dials.some_twice(run, 0.1, 1)) - len(run) == tenth
    assert len(dials.some_split(run, 0.1, 1)) - len(run) == tenth_of_full
    assert int(dials.some_writes(run, 0.1, 1).mask("op", "write").sum()) == tenth
    assert int((dials.some_failing(run, 0.1, 1).col("err") >= 0).sum()) == tenth


def test_split_reads_move_the_same_bytes(run):
    """Halves begin where the other half ends, and together are what was read."""
    split = dials.some_split(run, 1.0)
    assert int(split.col("ret")[split.mask("op", "read")].sum()) == int(run.col("ret")[run.mask("op", "read")].sum())
    assert Figures.of(split).scalars["order.sequential"] > Figures.of(run).scalars["order.sequential"]


def test_larger_requests_stay_in_sequence(run):
    """Where every request grows by a tenth, so does its place: order and the share of sequential reads stay."""
    before, after = Figures.of(run).scalars, Figures.of(dials.scaled(run, 0.1)).scalars
    assert after["size.mean"] == pytest.approx(1.1 * before["size.mean"], rel=1e-3)
    assert after["order.sequential"] == before["order.sequential"]


def test_half_the_streams_is_half_the_streams(run):
    """Two workers become one, op by op."""
    before, after = Figures.of(run), Figures.of(mutations.half_the_streams(run))
    assert after.scalars["streams.peak"] == before.scalars["streams.peak"] / 2
    assert after.data_ops == before.data_ops


def test_without_a_shuffle_names_follow_the_order(run):
    """The same ops, files renamed in the order of their first read."""
    before, after = Figures.of(run).scalars, Figures.of(mutations.in_order_of_names(run)).scalars
    assert before["order.first-touch"] > 0.5
    assert after["order.first-touch"] < 0.1
    assert after["files.distinct"] == before["files.distinct"]


@pytest.mark.parametrize("level", [2.0])
def test_edits_are_set_to_the_tolerance_and_fail_by_name(level, standard, run):
    """Every dialled edit ends within a few per cent above the level that is asked for, and fails by the name it was set by."""
    found = [
        cell
        for mode, judge in detection.judges(standard, run).items()
        for edit in catalogue.DIALLED
        for cell in detection.dialled("job", mode, judge, edit, run, [1], [level])
        if cell.group == "dialled"
    ]
    assert len(found) > 20
    assert [(cell.edit, cell.mode, cell.outcome) for cell in found if not cell.named] == []
    for cell in found:
        edit = next(edit for edit in catalogue.DIALLED if edit.name == cell.edit)
        again = detection.judges(standard, run)[cell.mode](edit.apply(run, cell.amount, 1))
        effect = next(one for one in again.findings if one.id == cell.criterion)
        assert level <= detection.severity_of(effect)


def test_calibration_moves_one_criterion_only(standard):
    """A run moved by one and a half tolerances has that effect, and nothing else about it changes."""
    run = standard.envelope.runs[0]
    criterion = REPEAT_CRITERIA["size.mean"]
    moved = calibration.moved_by(criterion, run, 1.5 * criterion.tolerance)
    assert moved.scalars["size.mean"] == pytest.approx(1.3 * run.scalars["size.mean"])
    assert moved.sizes is run.sizes
    mixed = calibration.moved_by(REPEAT_CRITERIA["ops.mix"], run, 0.03)
    assert mixed.kinds["write"] / sum(mixed.kinds.values()) == pytest.approx(0.03, rel=1e-3)
    far = calibration.moved_by(REPEAT_CRITERIA["size.ks"], run, 0.03)
    assert far.sizes.counts[-1] / far.sizes.counts.sum() == pytest.approx(0.03, rel=1e-3)


def test_nothing_passes_beyond_the_edge_and_nothing_fails_inside(standard):
    """Moved by half a tolerance no criterion fails, by twice the tolerance none passes."""
    found = by({(level,): tally for (_, level), tally in _calibrated(standard)}, 0)
    assert found["0.5"].outcomes[Outcome.FAIL] == 0
    assert found["1"].share(Outcome.PASS) <= 0.05
    assert found["2"].outcomes[Outcome.PASS] == 0


def test_chance_makes_no_distance_pass_at_the_edge():
    """Where true repeats are apart by chance, a run whose real distance is the tolerance passes for none of 16 splits, and repeats do."""
    chance = Standard("job@1", Envelope.of([job(seed, files=256, batch=16) for seed in range(16)]))
    criterion = REPEAT_CRITERIA["order.jump"]
    assert chance.noise.usual(criterion) > 0.2 * criterion.tolerance
    said = {"moved": set(), "repeats": set()}
    for split in alarms.splits(chance, 16, 0, several=1):
        moved = calibration.moved_by(criterion, split.runs[0], 1.000001 * criterion.tolerance)
        for name, run in (("moved", moved), ("repeats", split.runs[0])):
            (found,) = [one for one in repeat.findings(Trial(split.standard, [run])) if one.id == criterion.id]
            said[name].add(found.outcome)
    assert Outcome.PASS not in said["moved"]
    assert Outcome.PASS in said["repeats"]
    assert Outcome.FAIL not in said["repeats"]


@pytest.mark.parametrize(("distance", "usual", "left"), [(5.0, 3.0, 4.0), (2.0, 3.0, 0.0), (0.02, 0.0, 0.02)])
def test_what_chance_takes_off_a_distance_are_squares(distance, usual, left):
    """Of 5 where chance makes 3, 4 is left; of less than chance nothing; without chance all of it."""
    assert beyond_chance(distance, usual) == pytest.approx(left)


def test_an_edit_that_moves_in_steps_is_counted_apart():
    """A dial that could only be set to 2.6 tolerances says nothing about 2: it is shown further out, and asked no less."""
    cells = [
        detection.Cell("job", REPEAT, "dialled", "x", "k", "size.ks", 2.0, 0.1, outcome, ["size.ks"], severity=severity)
        for severity, outcome in ((2.04, Outcome.FAIL), (2.6, Outcome.INCONCLUSIVE))
    ]
    report = selftest.Report(cells=cells)
    assert [cell.near for cell in cells] == [True, False]
    assert report.detected(2.0).trials == report.detected(2.0, near=False).trials == 1
    assert report.detected(2.0).share(Outcome.FAIL) == 1
    assert ("all edits at 2 × tolerance FAIL by name", False) in report.targets()
    assert report.to_json()["in_steps"]["2"]["trials"] == 1


def _calibrated(standard):
    levels = {}
    for (_criterion, level), tally in calibration.calibrate(standard, 2, 0).items():
        levels[level] = levels.get(level, Tally()) + tally
    return [(("all", level), tally) for level, tally in levels.items()]


def test_a_golden_of_the_least_runs_can_be_split_as_often_as_any(standard):
    """Of five runs four are left, however many splits are asked for."""
    least = alarms.among(standard, range(5))
    found = list(alarms.splits(least, 20, 0))
    assert len(found) == 20
    assert {len(split.standard.envelope.runs) for split in found} == {4}


def test_splits_leave_each_run_out_first(standard):
    """As many splits as runs leave one out each; further ones leave at least half of the runs, and never judge a run by itself."""
    found = list(alarms.splits(standard, 30, 0))
    assert [len(split.standard.envelope.runs) for split in found[:8]] == [7] * 8
    for split in found:
        assert len(split.standard.envelope.runs) >= 4
        assert not {id(run) for run in split.runs} & {id(run) for run in split.standard.envelope.runs}
    assert {len(split.runs) for split in found} == {1, 3}


def test_rates_come_with_their_interval():
    """No failure in 300 trials is at most 1.2 %, 95 times out of 100; sums keep counts and names."""
    tally = Tally()
    for _ in range(300):
        tally.add(Outcome.PASS)
    assert tally.interval(Outcome.FAIL) == (0.0, pytest.approx(0.01222, rel=0.01))
    other = Tally()
    other.add(Outcome.FAIL, ["size.ks"])
    both = together([tally, other])
    assert (both.trials, both.outcomes[Outcome.FAIL], both.named["size.ks"]) == (301, 1, 1)
    assert Tally().share(Outcome.PASS) == 0.0


def test_the_report_names_what_is_missed():
    """An always-edit that passes is a missed target and a blind spot with its golden, and the JSON says both."""
    cell = detection.Cell(
        "job", PAIRED, "always", "evenly spaced", "cadence", "arrival.dispersion", None, 1.0, Outcome.PASS, []
    )
    other = detection.Cell("job", REPEAT, "unseen", "slower", "cadence", "", None, 1.0, Outcome.PASS, [], "environment")
    report = selftest.Report({"job@1": 8}, cells=[cell, other])
    assert [title for title, met in report.targets() if not met] == [
        "shuffled, halved streams, smoothed cadence: always FAIL by name"
    ]
    assert [(spot["edit"], spot["goldens"], spot["why"]) for spot in report.blind_spots()] == [
        ("evenly spaced", ["job"], ""), ("slower", ["job"], "environment"),
    ]  # fmt: skip
    assert report.to_json()["selftest"] == selftest.SELFTEST_VERSION


def test_a_failure_by_another_name_is_no_detection():
    """A dialled edit that fails, but not by the criterion it was set by, does not count as detected."""
    cell = detection.Cell(
        "job", PAIRED, "dialled", "faster", "cadence", "time.duration", 2.0, 0.2, Outcome.FAIL, ["throughput"]
    )
    report = selftest.Report(cells=[cell])
    assert not cell.named
    assert report.detected(2.0).outcomes[Outcome.FAIL] == 0


def test_an_edit_that_changes_nothing_is_none(standard, run):
    """A run whose files are touched in the order of their names as it is: taking the shuffle away is not asked to be noticed."""
    plain = mutations.in_order_of_names(run)
    found = {cell.edit for cell in detection.cells("run", standard, plain, [], [])}
    assert "no shuffle" not in found
    assert "half the sizes" in found
    assert "no shuffle" in {cell.edit for cell in detection.cells("run", standard, run, [], [])}
