"""Learning a golden: noise and tolerance apart, outliers named, what noise makes impossible said; and blessing what was learned."""

import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from harness import bless, golden, learn, repeat
from harness.cli import main
from harness.criteria import REPEAT_CRITERIA
from harness.envelope import Envelope
from harness.noise import IMPOSSIBLE, SILENT, Noise, lesson
from harness.run import Run
from harness.standard import Standard
from harness.verdict import Outcome
from harness.warmup import Warmup
from tracekit import formats
from tracekit.errors import InputError, OutputExistsError, UnknownNameError, UsageError
from tracekit.formats import ordered
from tracekit.joining import concatenate
from tracekit.marks import Marks
from tracekit.testing import training_trace
from tracekit.trace import NULL, Mark, Op, Trace

JOB = {"files": 128, "batch": 16, "compute_ns": 50_000_000}


def job(seed, **rest):
    """A run of the job."""
    return training_trace(**{**JOB, "seed": seed, **rest})


def saved(directory, seeds, **rest):
    """Path and run of runs written to a directory."""
    runs = []
    for seed in seeds:
        path = directory / f"run{seed}.jsonl"
        formats.save(job(seed, **rest), path)
        runs.append((str(path), Run.read(str(path))))
    return runs


def paths(runs):
    """The paths alone."""
    return [path for path, _ in runs]


def learned_at(tmp_path, seeds=range(6), profile=None, name="mine"):
    """A directory into which runs were learned."""
    directory = tmp_path / name
    if profile is not None:
        directory.mkdir()
        (directory / golden.PROFILE).write_text(profile)
    given = golden.load(str(directory)).profile if profile is not None else {}
    learned = learn.learn(learn.read(paths(saved(tmp_path, seeds)), given, "p"), given, "profile.yaml")
    learn.write(learned, directory, title="", regime="", host="", force=False)
    return directory


def finding(verdict, name):
    """One finding of a verdict."""
    return next(found for found in verdict.findings if found.id == name)


def test_what_was_learned_can_be_checked_against(tmp_path):
    """A true repeat passes revision 0, another batch size fails it by name."""
    standard = golden.load(str(learned_at(tmp_path))).standard()
    assert standard.name == "mine@0"
    assert repeat.judge(standard, [job(50)], ["again"]).outcome is Outcome.PASS
    assert "step.bytes" in {found.id for found in repeat.judge(standard, [job(50, batch=32)], ["other"]).failed}


def test_tolerance_and_noise_are_stored_apart(tmp_path):
    """Every criterion has its tolerance from the table and its noise from the runs; both survive the file."""
    directory = learned_at(tmp_path)
    stored = json.loads((directory / golden.ENVELOPE).read_text())["criteria"]
    assert stored.keys() == REPEAT_CRITERIA.keys()
    assert stored["step.bytes"]["tolerance"] == REPEAT_CRITERIA["step.bytes"].tolerance
    runs = golden.load(str(directory)).envelope.runs
    jumps = [run.scalars["order.first-touch"] for run in runs]
    assert stored["order.first-touch"]["noise"] == pytest.approx(np.std(jumps, ddof=1))
    assert stored["step.bytes"] == golden.load(str(directory)).lessons["step.bytes"].to_json()


def test_fewer_than_five_runs_are_refused(tmp_path):
    """Four runs say too little about how much runs differ; five are taken with a warning, ten without."""
    with pytest.raises(UsageError, match="4 runs are too few"):
        learn.learn(saved(tmp_path, range(4)), {}, "profile")
    assert any("5 runs" in warning for warning in learn.learn(saved(tmp_path, range(5)), {}, "profile").warnings)
    assert not any("runs:" in warning for warning in learn.learn(saved(tmp_path, range(10)), {}, "profile").warnings)


def test_every_outlier_is_named(tmp_path):
    """Two of ten runs have another number of epochs: both are named with what they fail in, and nothing is written."""
    runs = saved(tmp_path, range(8)) + saved(tmp_path, (20, 21), files=120)
    with pytest.raises(InputError, match=r"run20\.jsonl does not fit.*run21\.jsonl does not fit"):
        learn.learn(runs, {}, "profile")


def test_noise_that_makes_a_tolerance_impossible_is_marked():
    """Runs whose requests per second differ by a factor of three cannot decide \u00b115 %; those that do not differ can."""
    noisy = Noise(Envelope.of([job(seed, compute_ns=50_000_000 * (1 + seed % 3)) for seed in range(8)]))
    assert lesson(REPEAT_CRITERIA["ops.rate"], noisy).gate == IMPOSSIBLE
    assert lesson(REPEAT_CRITERIA["ops.rate"], noisy).needs is None
    steady = lesson(REPEAT_CRITERIA["step.ops"], noisy)
    assert (steady.gate, steady.needs, steady.noise) == ("always", 1, 0.0)
    assert steady.detects == pytest.approx(0.10)


def test_what_runs_do_not_tell_is_marked():
    """Bare requests have no steps: nothing is learned about them."""
    bare = [Trace.of(Op(op.uri, op.offset, op.len, op.t_submit, ret=op.ret) for op in job(seed)) for seed in range(6)]
    found = lesson(REPEAT_CRITERIA["step.ops"], Noise(Envelope.of(bare)))
    assert (found.gate, found.noise, found.needs) == (SILENT, None, None)


def test_a_run_is_held_against_the_others_not_itself():
    """The own distance of a run leaves that run out: of two equal runs and a different one, the different one is farthest."""
    noise = Noise(Envelope.of([job(1), job(1), job(2, chunk_bytes=32_768, read_ns=100_000)]))
    own = noise.own(REPEAT_CRITERIA["size.match"])
    assert own[2] == pytest.approx(1.0)
    assert own[0] == own[1] < 1.0


def test_learning_again_wants_force_and_never_overwrites_a_golden(tmp_path):
    """What was learned is replaced with --force only, what was blessed not even then."""
    directory = learned_at(tmp_path)
    with pytest.raises(OutputExistsError):
        learn.check_directory(directory, force=False)
    learn.check_directory(directory, force=True)
    bless.prepare_learned(str(directory), str(directory), "first", {}).write()
    with pytest.raises(UsageError, match="was blessed"):
        learn.check_directory(directory, force=True)


def test_a_learned_directory_becomes_its_own_golden(tmp_path):
    """Blessed in place it has revision 1 and a history, and cannot be blessed twice."""
    directory = learned_at(tmp_path)
    bless.prepare_learned(str(directory), str(directory), "first", {}).write()
    assert golden.load(str(directory)).label == "mine@1"
    assert "first" in (directory / golden.CHANGES).read_text()
    with pytest.raises(UsageError, match="blessed already"):
        bless.prepare_learned(str(directory), str(directory), "again", {})


def test_blessing_what_was_learned_shows_the_change(tmp_path):
    """A golden of longer files: figures that changed are listed, the revision goes up, the reason comes first in the history."""
    directory = learned_at(tmp_path)
    bless.prepare_learned(str(directory), str(directory), "first", {}).write()
    runs = saved(tmp_path, range(30, 36), file_bytes=200_000)
    learn.write(learn.learn(runs, {}, "p"), tmp_path / "new", title="", regime="", host="", force=False)
    blessing = bless.prepare_learned(str(directory), str(tmp_path / "new"), "files doubled", {})
    assert blessing.revision == 2
    assert any(change.startswith("sample.bytes: ") for change in blessing.changes())
    blessing.write()
    history = (directory / golden.CHANGES).read_text()
    assert history.index("files doubled") < history.index("first")


def test_a_tolerance_that_changes_is_shown(tmp_path):
    """The same runs with another tolerance in the profile: that is the change."""
    directory = learned_at(tmp_path)
    bless.prepare_learned(str(directory), str(directory), "first", {}).write()
    (directory / golden.PROFILE).write_text("title: x\ntolerance: {step.bytes: 0.05}\n")
    changes = bless.prepare(str(directory), paths(saved(tmp_path, range(6))), "tighter", {}).changes()
    assert changes == ["tolerance of step.bytes: 0.1 -> 0.05"]


def test_a_new_golden_takes_the_profile_over(tmp_path):
    """Blessing to a name that is not there yet makes it, with the profile that was learned with."""
    directory = learned_at(tmp_path, profile="title: my job\nregime: compute_bound\n")
    bless.prepare_learned(str(tmp_path / "fresh"), str(directory), "first", {}).write()
    assert golden.load(str(tmp_path / "fresh")).profile["title"] == "my job"
    assert golden.load(str(tmp_path / "fresh")).revision == 1


def test_what_was_learned_with_another_warm_up_is_not_blessed(tmp_path):
    """The golden's own profile leaves the first epoch out; runs that were learned whole would be held against runs without it."""
    directory = learned_at(tmp_path, profile="title: x\ncontract: {warmup: first-epoch}\n")
    bless.prepare_learned(str(directory), str(directory), "first", {}).write()
    learned_at(tmp_path, seeds=range(10, 16), name="new")
    with pytest.raises(InputError, match="learned with warmup: none"):
        bless.prepare_learned(str(directory), str(tmp_path / "new"), "again", {})


def test_no_run_is_refused_for_what_a_check_never_judges(tmp_path):
    """Jumps between 48 files vary by chance and are judged from 200 on: six shuffles of them are runs of one job."""
    runs = saved(tmp_path, range(1, 7), files=48, batch=4)
    noise = np.array(Noise(Envelope.of([run for _, run in runs])).own(REPEAT_CRITERIA["order.jump"]))
    # The chance of these seeds puts one of them far from the others, which is what this is about.
    away = np.abs(noise - np.median(noise))
    assert away.max() > max(REPEAT_CRITERIA["order.jump"].tolerance, learn.FAR * np.median(away))
    assert learn.learn(runs, {}, "p").envelope.runs


def test_nothing_is_blessed_under_ci_or_without_a_reason(tmp_path):
    """A robot that repairs its own reference finds nothing."""
    directory = str(learned_at(tmp_path))
    with pytest.raises(UsageError, match="CI"):
        bless.prepare_learned(directory, directory, "why not", {"CI": "true"})
    with pytest.raises(UsageError, match="--reason"):
        bless.prepare_learned(directory, directory, "  ", {})


def test_the_profile_decides_what_matters(tmp_path):
    """With 5 % instead of 10 % a run that reads 8 % more per step fails."""
    more = {"file_bytes": 108_000}
    wide = golden.load(
        str(learned_at(tmp_path, profile="title: x\ntolerance: {sample.bytes-ks: 1.5, size.match: 1.5}\n"))
    ).standard()
    assert finding(repeat.judge(wide, [job(9, **more)], ["x"]), "step.bytes").outcome is Outcome.PASS
    tight = replace(wide, declared={**wide.declared, "step.bytes": 0.05})
    assert finding(repeat.judge(tight, [job(9, **more)], ["x"]), "step.bytes").outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("profile", "error", "match"),
    [
        ("tolerance: {step.bites: 0.1}", UnknownNameError, "step.bytes"),
        ("tolerance: {step.bytes: -1}", InputError, "above 0"),
        ("tolerance: {step.bytes: wide}", InputError, "'wide'"),
        ("tolerance: [1]", InputError, "no mapping"),
        ("contract: {warm: first-step}", UnknownNameError, "warmup"),
        ("contract: {warmup: second-step}", UnknownNameError, "first-step"),
        ("contract: {requires: [step]}", UnknownNameError, "steps"),
        ("contract: {min_ops: 0}", InputError, "above 0"),
        ("contract: 5", InputError, "no mapping"),
    ],
)
def test_a_profile_that_makes_no_sense_is_refused(tmp_path, profile, error, match):
    """Unknown criteria, keys and values: one sentence that names what there is."""
    directory = learned_at(tmp_path)
    (directory / golden.PROFILE).write_text(profile)
    with pytest.raises(error, match=match):
        golden.load(str(directory)).standard()


def test_a_golden_without_what_it_requires_is_refused(tmp_path):
    """A contract that asks for what the golden's own runs do not tell cannot be kept by anybody."""
    bare = [Trace.of(Op(op.uri, op.offset, op.len, op.t_submit, ret=op.ret) for op in job(seed)) for seed in range(5)]
    learned = Standard("bare@1", Envelope.of(bare))
    found = golden.Golden("bare", tmp_path, {"contract": {"requires": ["steps"]}}, 1, {}, learned.envelope)
    with pytest.raises(InputError, match="bare requires steps"):
        found.standard()


def test_a_damaged_lesson_is_an_error(tmp_path):
    """A golden whose tolerance is no number is damaged, not lenient."""
    directory = learned_at(tmp_path)
    data = json.loads((directory / golden.ENVELOPE).read_text())
    data["criteria"]["step.bytes"]["tolerance"] = 0
    (directory / golden.ENVELOPE).write_text(json.dumps(data))
    with pytest.raises(InputError, match="damaged"):
        golden.load(str(directory))


def test_runs_may_be_named_by_a_glob_or_a_directory(tmp_path, capsys):
    """A run in parts is known by all of them; the same parts twice are one run, and standard input is none."""
    for seed in range(6):
        folder = tmp_path / f"run{seed}"
        folder.mkdir()
        formats.save(job(seed), folder / "a.jsonl")
    runs = [*(str(tmp_path / f"run{seed}" / "*.jsonl") for seed in range(5)), str(tmp_path / "run5")]
    assert main(["learn", *runs, "-o", str(tmp_path / "mine")]) == 0
    assert len(golden.load(str(tmp_path / "mine")).provenance["sha256"]) == 6
    for more, sentence in ((str(tmp_path / "run0"), "are the same run"), ("-", "standard input cannot be a run")):
        assert main(["learn", *runs, more, "-o", str(tmp_path / "other")]) == 2
        assert sentence in capsys.readouterr().err


# -- more runs ----------------------------------------------------------------------------------------------------------


def test_runs_are_added_to_those_a_golden_holds(tmp_path, capsys):
    """Six runs and three more are nine, their traces gone: the same as learning from all nine, tolerances of the profile with it."""
    directory = learned_at(tmp_path, profile="tolerance: {step.bytes: 0.05}\ntitle: mine\n")
    bless.prepare_learned(str(directory), str(directory), "first", {}).write()
    for seed in range(6):
        (tmp_path / f"run{seed}.jsonl").unlink()
    more = paths(saved(tmp_path, range(20, 23)))
    assert main(["learn", *more, "--add", str(directory), "-o", str(tmp_path / "more")]) == 0
    assert f"harness bless {directory} {tmp_path / 'more'}" in capsys.readouterr().err
    added = golden.load(str(tmp_path / "more"))
    whole = learn.learn(saved(tmp_path, [*range(6), *range(20, 23)]), added.profile, "p")
    assert added.envelope.to_json() == whole.envelope.to_json()
    assert added.lessons == {name: type(lesson).from_json(lesson.to_json()) for name, lesson in whole.lessons.items()}
    assert added.provenance == whole.provenance
    assert added.lessons["step.bytes"].tolerance == 0.05
    assert golden.load(str(directory)).revision == 1
    bless.prepare_learned(str(directory), str(tmp_path / "more"), "three more", {}).write()
    assert len(golden.load(str(directory)).envelope.runs) == 9


def test_three_runs_become_five_with_two_more(tmp_path):
    """The least number is asked of all runs together."""
    directory = learned_at(tmp_path, range(5))
    before = golden.load(str(directory))
    assert len(learn.learn(saved(tmp_path, [9]), {}, "p", before).envelope.runs) == 6


def test_a_run_that_is_added_must_fit(tmp_path, capsys):
    """Another job, a run that is there already, and a golden without runs: one sentence each, nothing is written."""
    directory = learned_at(tmp_path)
    (other,) = paths(saved(tmp_path, [77], file_bytes=200_000))
    again = str(tmp_path / "run0.jsonl")
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / golden.PROFILE).write_text("title: nothing yet\n")
    for run, into, sentence in (
        (other, directory, "run77.jsonl does not fit the other runs ("),
        (again, directory, "run0.jsonl and a run of mine@0 are the same run"),
        (again, empty, "holds no runs to add to"),
        (again, tmp_path / "nowhere", "there is no golden"),
    ):
        assert main(["learn", run, "--add", str(into), "-o", str(tmp_path / "out")]) == 2
        assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_runs_with_another_warm_up_are_not_added(tmp_path, capsys):
    """What was left out of the stored runs cannot be put back: a changed contract is refused."""
    directory = learned_at(tmp_path)
    (directory / golden.PROFILE).write_text("contract: {warmup: first-epoch}\n")
    (run,) = paths(saved(tmp_path, [30]))
    assert main(["learn", run, "--add", str(directory), "-o", str(tmp_path / "out")]) == 2
    assert "were learned with warmup: none" in capsys.readouterr().err


def test_what_only_some_runs_tell_is_said(tmp_path):
    """Stored runs from before a figure existed: the criterion is not judged, and a warning names it."""
    directory = learned_at(tmp_path)
    data = json.loads((directory / golden.ENVELOPE).read_text())
    for run in data["envelope"]["runs"]:
        del run["scalars"]["file.span"]
    (directory / golden.ENVELOPE).write_text(json.dumps(data))
    learned = learn.learn(saved(tmp_path, [30]), {}, "p", golden.load(str(directory)))
    assert any("only some of the runs tell file.span" in warning for warning in learned.warnings)
    assert learned.lessons["file.span"].gate == SILENT


# -- the contract -------------------------------------------------------------------------------------------------------


def slow_start(seed, factor=1):
    """A run whose first epoch reads in chunks a factor smaller than later ones."""
    trace = job(seed)
    if factor == 1:
        return trace
    ops = []
    for op in trace:
        if op.epoch == 0 and op.ret:
            half = op.len // factor
            middle = (op.t_submit + op.t_complete) // 2
            ops.append(replace(op, len=half, ret=min(op.ret, half), t_complete=middle))
            ops.append(replace(op, offset=op.offset + half, len=half, ret=max(0, op.ret - half), t_submit=middle))
        else:
            ops.append(op)
    made = Trace.of(ops, marks=trace.marks)
    return Trace(made.columns, made.tables, trace.marks, trace.header, replace(trace.trailer, ops=len(ops)))


def test_warm_up_is_left_out_of_golden_and_run():
    """A first epoch that reads otherwise fails a golden that counts it, and passes one whose contract leaves it out."""
    counting = Standard("all", Envelope.of([job(seed) for seed in range(6)]))
    profile = {"contract": {"warmup": "first-epoch"}}
    standard = learn.standard_of("later", Envelope.of([job(0)]), profile, "p")
    trimmed = Envelope.of([Run.of(job(seed), "first-epoch") for seed in range(6)])
    leaving = replace(counting, envelope=trimmed, contract=standard.contract)
    odd = slow_start(50, factor=2)
    assert repeat.judge(counting, [odd], ["odd"]).outcome is Outcome.FAIL
    verdict = repeat.judge(leaving, [odd], ["odd"])
    assert verdict.outcome is Outcome.PASS, [found.reason for found in verdict.failed]
    assert any("first epoch" in note for note in verdict.notes)


def left_of(trace, kind):
    """A trace without its warm-up."""
    return Warmup.of(kind, [trace]).without(trace, 0)


def test_the_first_step_can_be_left_out():
    """Of 16 steps (two epochs of 8) 15 are left, the first one's 16 samples and no others are gone."""
    trace = job(1)
    left = left_of(trace, "first-step")
    gone = (trace.col("step") == 0) & (trace.col("epoch") == 0)
    assert len(left) == len(trace) - int(gone.sum()) < len(trace)
    assert not bool(((left.col("step") == 0) & (left.col("epoch") == 0)).any())
    assert Run.of(trace, "first-step").figures.data_ops == Run.of(left).figures.data_ops
    bare = Trace.of([Op("/a", i, 1, 10 * i) for i in range(20)], marks=[replace(trace.marks[0], t=0, t_end=55)])
    assert left_of(bare, "first-step").col("t_submit").min() == 60


@pytest.mark.parametrize("marked", [True, False])
def test_step_marks_without_an_epoch_go_with_the_first_epoch(marked):
    """By the end of the epoch's own mark, else until the second epoch reads: the marks left are those of the second epoch."""
    trace = job(1)
    steps = [mark for mark in trace.marks if mark.mark != "epoch"]
    second = min(mark.t for mark in steps if mark.epoch == 1 and mark.mark == "step")
    whole = [Mark("epoch", 0, second, epoch=0)] if marked else []
    bare = Trace(trace.columns, trace.tables, [*whole, *(replace(mark, epoch=None) for mark in steps)])
    left = left_of(bare, "first-epoch").marks
    wanted = {mark.t for mark in steps if mark.t >= second}
    assert wanted <= {mark.t for mark in left}
    if marked:
        assert {mark.t for mark in left} == wanted
    assert len(left) < len(bare.marks)
    assert isinstance(left, Marks)


def test_a_warm_up_is_left_out_of_standard_input(tmp_path, monkeypatch):
    """What can be read only once has the figures that its file has."""
    path = tmp_path / "run.jsonl"
    formats.save(job(3), path)
    wanted = Run.read(path, warmup="first-epoch")
    with path.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        found = Run.read("-", warmup="first-epoch")
    assert (found.figures.to_json(), found.warmup) == (wanted.figures.to_json(), "first-epoch")


def test_a_warm_up_that_is_everything_is_none():
    """Where nothing else would be left, nothing is left out, and the run says so."""
    one = job(1).select(np.asarray(job(1).col("epoch") == 0))
    assert Warmup.of("first-epoch", [one]) is None
    assert Run.of(one, "first-epoch").warmup == "none"


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("kind", ["first-step", "first-epoch"])
def test_a_warm_up_is_left_out_of_a_trace_in_pieces(tmp_path, monkeypatch, suffix, kind):
    """A file read in small pieces has the figures of the whole trace without its warm-up, and is checked and learned from like that."""
    monkeypatch.setattr(ordered, "PIECE_OPS", 100)
    trace, path = job(3), str(tmp_path / f"run{suffix}")
    formats.save(trace, path)
    found, wanted = Run.read(path, warmup=kind), Run.of(left_of(trace, kind))
    assert json.dumps(found.figures.to_json()) == json.dumps(wanted.figures.to_json())
    assert (found.warmup, len(found), found.soundness) == (kind, len(trace), Run.of(trace).soundness)
    assert found.figures.data_ops < Run.of(trace).figures.data_ops


def test_nobody_holds_a_whole_trace(tmp_path, monkeypatch):
    """Learning, blessing and checking read their runs in pieces, with a warm-up as well: nothing loads a trace."""
    directory = learned_at(tmp_path, profile="contract: {warmup: first-epoch}\n")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(formats, "load", lambda *_, **__: pytest.fail("a whole trace was loaded"))
    runs = [str(tmp_path / f"run{seed}.jsonl") for seed in range(6)]
    assert main(["learn", *runs, "-o", str(directory), "--force"]) == 0
    assert main(["bless", str(directory), "--reason", "first"]) == 0
    assert main(["bless", str(directory), *runs, "--reason", "again"]) == 0
    assert main(["check", runs[0], "--golden", str(directory)]) == 0


def test_a_run_without_a_warm_up_to_be_told_stays_open():
    """Without epochs nobody can leave the first one out: INCONCLUSIVE, not judged with it."""
    profile = {"contract": {"warmup": "first-epoch"}}
    standard = learn.standard_of("x", Envelope.of([job(seed) for seed in range(5)]), profile, "p")
    columns = dict(job(9).columns)
    columns["epoch"] = np.full(len(columns["epoch"]), NULL, columns["epoch"].dtype)
    trace = job(9)
    blind = Trace(columns, trace.tables, trace.marks, trace.header, trace.trailer)
    assert finding(repeat.judge(standard, [blind], ["blind"]), "valid.warmup").outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(("left", "contract"), [(9, {}), (0, {}), (9, {"min_ops": 1}), (30, {"min_ops": 31})])
def test_too_few_ops_after_the_warm_up_decide_nothing(left, contract):
    """A run whose second epoch has hardly begun is as long as ever in whole: it stays open, and says what is left."""
    profile = {"contract": {"warmup": "first-epoch", **contract}}
    golden_runs = Envelope.of([Run.of(job(seed), "first-epoch") for seed in range(5)])
    standard = learn.standard_of("x", golden_runs, profile, "p")
    trace = job(9)
    data, later = trace.mask("op", "read", "write"), np.asarray(trace.col("epoch") == 1)
    later_data = np.flatnonzero(data & later)
    kept = ~later
    kept[later_data[:left]] = True
    kept |= later & ~data
    if not left and not bool((later & ~data).any()):
        # Something else of that epoch, so that it is there at all.
        closed = Trace.of([Op("/a", None, 0, 10**12, "close", epoch=1)], marks=trace.marks, header=trace.header)
        run = concatenate([trace.select(kept), closed])
    else:
        run = trace.select(kept)
    run.trailer = replace(trace.trailer, ops=len(run))
    verdict = repeat.judge(standard, [run], ["run"])
    found = finding(verdict, "valid.size")
    assert (found.outcome, f"holds {left} reads and writes after its warm-up" in found.reason) == (
        Outcome.INCONCLUSIVE,
        True,
    )


@pytest.mark.parametrize(
    ("contract", "found"),
    [
        ({"min_ops": 10_000}, "valid.size"),
        ({"min_runs": 3}, "valid.runs"),
        ({"requires": ["samples"]}, "valid.requires"),
    ],
)
def test_what_the_contract_asks_for_and_a_run_lacks_stays_open(contract, found):
    """Too few ops, too few runs, no samples: the verdict is INCONCLUSIVE and says what is asked for."""
    standard = learn.standard_of("x", Envelope.of([job(seed) for seed in range(5)]), {"contract": contract}, "p")
    trace = job(9)
    columns = {name: column for name, column in trace.columns.items() if name != "sample_id"}
    run = Trace(columns, trace.tables, trace.marks, trace.header, trace.trailer)
    verdict = repeat.judge(standard, [run], ["run"])
    assert finding(verdict, found).outcome is Outcome.INCONCLUSIVE
    assert finding(verdict, found).settle
