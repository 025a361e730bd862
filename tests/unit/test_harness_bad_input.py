"""Bad input of a check: one sentence and exit status 2, or INCONCLUSIVE with what would settle it; never a silent pass."""

import json
from dataclasses import replace

import numpy as np
import pytest

from harness import golden, learn, paired, repeat
from harness.cli import main
from harness.envelope import Envelope
from harness.standard import Standard
from harness.verdict import Outcome
from tracekit import formats
from tracekit.testing import training_trace
from tracekit.trace import Mark, Op, StringTable, Trace

JOB = {"files": 128, "batch": 16, "compute_ns": 50_000_000}


def job(seed, **rest):
    """A run of the job."""
    return training_trace(**{**JOB, "seed": seed, **rest})


def finding(verdict, name):
    """One finding of a verdict."""
    return next(found for found in verdict.findings if found.id == name)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory with six runs and a golden learned from five of them, which is where commands run."""
    for seed in range(6):
        formats.save(job(seed), tmp_path / f"r{seed}.jsonl")
    monkeypatch.chdir(tmp_path)
    assert main(["-q", "learn", *(f"r{seed}.jsonl" for seed in range(5)), "-o", "mine"]) == 0
    return tmp_path


def refused(capsys, *words):
    """The sentence with which a command refuses; its status is 2 and there is no traceback."""
    capsys.readouterr()
    assert main(list(words)) == 2
    said = capsys.readouterr()
    text = (said.err + said.out).strip()
    assert "Traceback" not in text
    return text


def test_traces_of_another_schema_version_are_refused_wherever_they_stand(place, capsys):
    """As candidate, as reference, among runs to be learned from, and on either side of a comparison."""
    lines = (place / "r0.jsonl").read_text().splitlines()
    header = json.loads(lines[0])
    header["tracekit"] = 99
    (place / "new.jsonl").write_text("\n".join([json.dumps(header), *lines[1:]]) + "\n")
    runs = [f"r{seed}.jsonl" for seed in range(5)]
    for words in (
        ["check", "new.jsonl", "--golden", "mine"],
        ["check", "r5.jsonl", "new.jsonl", "--golden", "mine"],
        ["check", "r0.jsonl", "--golden", "new.jsonl"],
        ["learn", *runs, "new.jsonl", "-o", "other"],
        ["compare", "r0.jsonl", "new.jsonl"],
    ):
        assert "99" in refused(capsys, *words)


def test_goldens_of_another_version_are_refused(place, capsys):
    """The golden's own number and that of its envelope."""
    path = place / "mine/envelope.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | {"golden": 7}))
    assert "version 7" in refused(capsys, "check", "r5.jsonl", "--golden", "mine")
    path.write_text(json.dumps(whole | {"envelope": whole["envelope"] | {"envelope": 8}}))
    assert "version 8" in refused(capsys, "power", "--golden", "mine")


def test_unknown_criteria_are_refused(place, capsys):
    """To explain, to plan for, and in a profile: the nearest one is named."""
    assert "step.bytes" in refused(capsys, "check", "--explain", "step.byte")
    assert "step.bytes" in refused(capsys, "power", "--golden", "mine", "--criterion", "step.byte")
    (place / "mine/profile.yaml").write_text("title: x\ntolerance: {step.byte: 0.1}\n")
    assert "step.bytes" in refused(capsys, "check", "r5.jsonl", "--golden", "mine")


def test_a_golden_without_what_it_requires_is_refused(tmp_path, capsys, monkeypatch):
    """Runs without step marks cannot be a golden that requires them, neither when it is learned nor later."""
    monkeypatch.chdir(tmp_path)
    for seed in range(5):
        trace = job(seed)
        formats.save(Trace(trace.columns, trace.tables, [], trace.header, trace.trailer), tmp_path / f"r{seed}.jsonl")
    runs = [f"r{seed}.jsonl" for seed in range(5)]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/profile.yaml").write_text("title: x\ncontract: {requires: [step-marks]}\n")
    assert "step-marks" in refused(capsys, "learn", *runs, "-o", "mine")
    (tmp_path / "mine/profile.yaml").write_text("title: x\n")
    assert main(["learn", *runs, "-o", "mine"]) == 0
    (tmp_path / "mine/profile.yaml").write_text("title: x\ncontract: {requires: [step-marks]}\n")
    assert "requires step-marks" in refused(capsys, "check", "r0.jsonl", "--golden", "mine")


@pytest.mark.parametrize("regime", ["compute_bound", "io_bound"])
def test_a_regime_that_the_goldens_runs_cannot_show_leaves_the_verdict_open(regime):
    """A golden that declares itself bound, and whose runs have no step marks, decides nothing about stalls or queues."""
    bare = [Trace(job(seed).columns, job(seed).tables, [], job(seed).header, job(seed).trailer) for seed in range(6)]
    verdict = repeat.judge(Standard("bare@1", Envelope.of(bare[:5]), regime), [bare[5]], ["run"])
    assert verdict.outcome is Outcome.INCONCLUSIVE
    open_ = finding(verdict, "depth.fed" if regime == "io_bound" else "stall.share")
    assert "bare@1 asks for it" in open_.reason
    assert open_.settle


def test_a_starving_run_does_not_escape_a_compute_bound_golden_by_having_no_step_marks():
    """With its marks it fails by the stall criteria; without them the verdict is open and names them, in both modes of goldens."""
    standard = Standard("job@1", Envelope.of([job(seed) for seed in range(6)]), "compute_bound")
    starving = job(7, wait_ns=50_000_000)
    bare = Trace(starving.columns, starving.tables, [], starving.header, starving.trailer)
    assert "stall.share" in {found.id for found in repeat.judge(standard, [starving], ["run"]).failed}
    for mode in ("repeat", "profile"):
        verdict = repeat.judge(standard, [bare], ["run"], mode)
        assert verdict.outcome is Outcome.INCONCLUSIVE
        assert "stall.share" in finding(verdict, "valid.evidence").reason
    shown = repeat.judge(replace(standard, regime="mixed"), [bare], ["run"])
    assert not [found for found in shown.findings if found.id == "valid.evidence"]


def test_profile_mode_asks_for_workers_where_the_golden_has_them():
    """A run that does not tell its workers leaves streams per worker open."""
    standard = Standard("job@1", Envelope.of([job(seed) for seed in range(6)]))
    run = job(7)
    columns = {name: column for name, column in run.columns.items() if name != "worker"}
    verdict = repeat.judge(
        standard, [Trace(columns, run.tables, run.marks, run.header, run.trailer)], ["run"], "profile"
    )
    assert "streams.per-worker" in finding(verdict, "valid.evidence").reason


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("regime: compute-bound", "did you mean 'compute_bound'"),
        ("regime: [io_bound]", "there is no regime"),
        ("host: Dedicated", "did you mean 'dedicated'"),
        ("contract: {requires: 3}", "is no list: 3"),
        ("contract: {requires: steps}", "is no list: 'steps'"),
        ("contract: {requires: [[a]]}", "no requirement of a contract"),
        ("contract: {sync_streams: 'false'}", "sync_streams in mine/profile.yaml is 'false'"),
        ("contract: {warmup: first-epoch}", "learned with warmup: none"),
        ("tolerences: {size.mean: 0.1}", "did you mean 'tolerance'"),
        ("contracts: {}", "did you mean 'contract'"),
        ("regimes: io_bound", "did you mean 'regime'"),
        ("3: x", "there is no key"),
    ],
)
def test_a_profile_that_declares_what_does_not_exist_is_refused(place, capsys, line, sentence):
    """Misspelled, a regime would make criteria not count without a word; nor may a warm-up change after the runs were learned."""
    (place / "mine/profile.yaml").write_text(f"title: x\n{line}\n")
    assert sentence in refused(capsys, "check", "r5.jsonl", "--golden", "mine")


def test_a_profile_may_have_keys_of_its_own(place, capsys):
    """What begins with x- is for whoever wrote it, and changes nothing."""
    (place / "mine/profile.yaml").write_text("title: x\nx-owner: storage team\n")
    assert main(["check", "r5.jsonl", "--golden", "mine"]) == 0
    capsys.readouterr()


def test_a_golden_nested_beyond_reason_is_refused(place, capsys):
    """Brackets without end in either file are one sentence, not the end of the stack."""
    (place / "mine/envelope.json").write_text("[" * 100_000)
    assert "not JSON" in refused(capsys, "check", "r5.jsonl", "--golden", "mine")
    (place / "mine/profile.yaml").write_text("[" * 100_000)
    assert "not a profile" in refused(capsys, "check", "r5.jsonl", "--golden", "mine")


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({"undelivered": "x"}, Outcome.INCONCLUSIVE),
        ({"verdict": "NOT SUSTAINED", "reasons": 5}, Outcome.INCONCLUSIVE),
        ({"verdict": ["DEGRADED"]}, None),
        ({"verdict": "DEGRADED", "reasons": {}}, None),
    ],
)
def test_what_a_replay_says_of_itself_may_be_anything(said, outcome):
    """Values of other kinds end in a finding or in nothing, never in a traceback."""
    trace = job(0)
    strange = Trace(trace.columns, trace.tables, trace.marks, trace.header, replace(trace.trailer, run=said))
    found = [one for one in paired.judge(trace, strange, names=("a", "b")).findings if one.id == "valid.run"]
    assert [one.outcome for one in found] == ([outcome] if outcome else [])


def test_a_pace_of_another_kind_is_no_pace():
    """A list in the header where a word should be: the schedule counts as ever."""
    trace = job(0)
    header = replace(trace.header, producer={"verb": "replay", "options": {"pace": ["think"]}})
    strange = Trace(trace.columns, trace.tables, trace.marks, header, trace.trailer)
    assert finding(paired.judge(trace, strange, names=("a", "b")), "time.shift-p50").gates


def test_two_traces_of_different_jobs_are_refused(place, capsys):
    """No file in common and other sizes is no replay, good or bad; with the same sizes it is the same job elsewhere, and fails."""
    other = training_trace(files=64, batch=8, chunk_bytes=8192)
    renamed = StringTable(f"{uri}.other" for uri in other.uris)
    formats.save(
        Trace(other.columns, {**other.tables, "uri": renamed}, other.marks, other.header, other.trailer), "other.jsonl"
    )
    assert "different jobs" in refused(capsys, "check", "other.jsonl", "--golden", "r0.jsonl")
    trace = job(0)
    moved = Trace(
        trace.columns,
        {"uri": StringTable(f"{uri}.x" for uri in trace.uris), "op": trace.tables["op"]},
        trace.marks,
        trace.header,
        trace.trailer,
    )
    assert paired.judge(trace, moved, names=("a", "b")).outcome is Outcome.FAIL


def test_a_band_that_noise_makes_impossible_is_said():
    """By default it is named in a note and in the table; where the profile asks for it by name the verdict stays open."""
    noisy = Envelope.of([job(seed, file_bytes=100_000 + 15_000 * (seed % 3)) for seed in range(9)])
    verdict = repeat.judge(Standard("noisy@1", noisy), [job(20, file_bytes=115_000)], ["run"])
    assert not finding(verdict, "sample.bytes").gates
    assert any("differ too much" in note and "sample.bytes" in note for note in verdict.notes)
    strict = Standard("noisy@1", noisy, declared={"sample.bytes": 0.10})
    asked = repeat.judge(strict, [job(20, file_bytes=115_000)], ["run"])
    assert asked.outcome is Outcome.INCONCLUSIVE
    assert finding(asked, "sample.bytes").settle == "no number of runs would settle it with this golden"


def test_empty_is_never_a_match():
    """Nothing against nothing, and nothing against a golden of nothing: ERROR."""
    empty = Trace.of([])
    assert paired.judge(empty, empty, names=("a", "b")).outcome is Outcome.ERROR
    assert repeat.judge(Standard("nothing@1", Envelope.of([empty] * 5)), [empty], ["run"]).outcome is Outcome.ERROR


def test_more_bytes_than_asked_for_are_no_measurement():
    """A trace in which reads return more than they asked for cannot be judged, however alike it is."""
    trace = job(1)
    lying = Trace(
        {**trace.columns, "ret": trace.col("len") + 1}, trace.tables, trace.marks, trace.header, trace.trailer
    )
    verdict = paired.judge(trace, lying, names=("a", "b"))
    assert verdict.outcome is Outcome.ERROR
    assert "more bytes than asked for" in finding(verdict, "valid.bytes").reason


def test_reads_cut_short_in_the_middle_of_files_leave_the_verdict_open():
    """One read in twenty comes back with half although the file goes on; at the end of a file that is how programs find it."""
    trace = job(1)
    asked = np.asarray(trace.col("len"), np.int64)
    begins = np.flatnonzero(trace.col("offset") == 0)[::7]
    returned = np.array(trace.col("ret"))
    returned[begins] = asked[begins] // 2
    short = Trace({**trace.columns, "ret": returned}, trace.tables, trace.marks, trace.header, trace.trailer)
    assert finding(paired.judge(trace, short, names=("a", "b")), "valid.short").outcome is Outcome.INCONCLUSIVE
    assert not [found for found in paired.judge(trace, trace, names=("a", "b")).findings if found.klass == "validity"]


def test_readers_with_several_ops_in_flight_can_be_declared():
    """Two ops of one thread at a time are an error, but not where the contract says that readers do that."""
    ops = [Op("/a", 4096 * i, 4096, 1000 * i, t_complete=1000 * i + 1500, pid=1, tid=1, ret=4096) for i in range(60)]
    trace = Trace.of(ops, marks=[Mark("step", 0, 60_000, 0)])
    golden_runs = Envelope.of([trace] * 5)
    assert repeat.judge(Standard("async@1", golden_runs), [trace], ["run"]).outcome is Outcome.ERROR
    several = learn.standard_of("async@1", golden_runs, {"contract": {"sync_streams": False}}, "p")
    assert not [found for found in repeat.judge(several, [trace], ["run"]).findings if found.id == "valid.overlap"]


def test_a_golden_is_never_made_by_a_check(place, capsys):
    """A directory without an envelope is refused with the way to make one, and stays empty."""
    (place / "empty").mkdir()
    (place / "empty/profile.yaml").write_text("title: x\n")
    assert "harness learn" in refused(capsys, "check", "r0.jsonl", "--golden", "empty")
    assert [path.name for path in (place / "empty").iterdir()] == [golden.PROFILE]


def test_one_slow_run_of_three_is_no_failure_of_the_environment():
    """The storage answers one of three runs ten times as slowly: open; two of three: it fails."""
    host = {"cpu": "x", "kernel": "6", "cores": 2, "memory_bytes": 1 << 30}

    def on_host(seed, **rest):
        trace = job(seed, **rest)
        header = replace(trace.header, host=host)
        return Trace(trace.columns, trace.tables, trace.marks, header, trace.trailer)

    standard = Standard("job@1", Envelope.of([on_host(seed) for seed in range(8)]), dedicated=True)
    slow = {"read_ns": 900_000}
    one = repeat.judge(standard, [on_host(1), on_host(2), on_host(3, **slow)], ["a", "b", "c"])
    two = repeat.judge(standard, [on_host(1, **slow), on_host(2, **slow), on_host(3, **slow)], ["a", "b", "c"])
    assert finding(one, "latency.p50").outcome is not Outcome.FAIL
    assert finding(two, "latency.p50").outcome is Outcome.FAIL
    assert finding(two, "latency.p50").gates


def test_a_run_named_twice_is_one_run(tmp_path, monkeypatch, capsys):
    """The same trace given twice, also by another spelling, is refused: it would count as two repeats."""
    monkeypatch.chdir(tmp_path)
    formats.save(training_trace(seed=1), "a.jsonl")
    for again in ("a.jsonl", "./a.jsonl"):
        assert main(["check", "a.jsonl", again, "--golden", "torch-like"]) == 2
        said = capsys.readouterr().err
        assert "is given twice" in said
        assert "Traceback" not in said
