"""Repeat mode: true repeats never fail, another job fails by name, and noise is called noise."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from harness import bless, golden, mutations, repeat
from harness.criteria import REPEAT_CRITERIA
from harness.criterion import format_effect
from harness.envelope import Envelope
from harness.report import csv, text
from harness.report import json as json_report
from harness.standard import Standard, Trial
from harness.verdict import Outcome
from tracekit import formats
from tracekit.errors import InputError, UnknownNameError, UsageError
from tracekit.testing import training_trace
from tracekit.trace import NULL, Header, Op, StringTable, Trace, Trailer

HOST = {"cpu": "x", "kernel": "6", "cores": 2, "memory_bytes": 1 << 30}


def job(seed=0, *, host=HOST, engine="python", **rest):
    """A run of the job: 192 files, batches of 16, two workers; a step takes 50 ms for every 16 samples."""
    batch = rest.get("batch", 16)
    given = {"files": 192, "batch": batch, "compute_ns": 50_000_000 * batch // 16, "read_ns": 1_500_000, "seed": seed}
    trace = training_trace(**{**given, **rest})
    header = replace(trace.header, producer={"tool": "tracekit", "verb": "record", "engine": engine}, host=host)
    return Trace(trace.columns, trace.tables, trace.marks, header, trace.trailer)


@pytest.fixture(scope="module")
def envelope():
    """Ten runs of the job."""
    return Envelope.of([job(seed) for seed in range(10)])


def judged(envelope, *traces, regime="", dedicated=True):
    """The verdict on runs against an envelope."""
    return repeat.judge(
        Standard("job@1", envelope, regime, dedicated), traces, [f"run{index}" for index in range(len(traces))]
    )


def finding(verdict, name):
    """One finding of a verdict."""
    return next(found for found in verdict.findings if found.id == name)


def named(verdict):
    """The criteria that failed."""
    return {found.id for found in verdict.failed}


@pytest.mark.parametrize("seed", range(20, 25))
def test_a_true_repeat_passes(envelope, seed):
    """The same job with another seed, five times."""
    assert judged(envelope, job(seed)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("change", "criterion"),
    [
        ({"batch": 32}, "step.bytes"),
        ({"batch": 32}, "step.ops"),
        ({"shuffle": False}, "order.first-touch"),
        ({"workers": 3}, "streams.workers"),
        ({"workers": 3}, "streams.peak"),
        ({"workers": 1, "read_ns": 900_000}, "streams.workers"),
        ({"chunk_bytes": 32_768, "read_ns": 900_000}, "size.match"),
        ({"chunk_bytes": 32_768, "read_ns": 900_000}, "size.mean"),
        ({"chunk_bytes": 32_768, "read_ns": 900_000}, "sample.ops"),
        ({"file_bytes": 120_000}, "sample.bytes"),
        ({"files": 160}, "files.distinct"),
        ({"epochs": 3}, "order.reaccess"),
    ],
)
def test_another_job_fails_by_name(envelope, change, criterion):
    """One option differs: the verdict is FAIL, and the criterion about it says so."""
    verdict = judged(envelope, job(50, **change))
    assert verdict.outcome is Outcome.FAIL
    assert criterion in named(verdict)


def test_several_runs_are_judged_together(envelope):
    """Two good runs and one with another batch size: the mean is out of band."""
    assert judged(envelope, job(30), job(31), job(32)).outcome is Outcome.PASS
    assert "step.bytes" in named(judged(envelope, job(30), job(31, batch=32)))


def test_good_runs_do_not_hide_a_bad_one(envelope):
    """One run of four reads a fifth less per step: the mean is within the band, the run is not, and it is named."""
    bad = job(22)
    short = Trace({**bad.columns, "ret": bad.col("ret") * 8 // 10}, bad.tables, bad.marks, bad.header, bad.trailer)
    verdict = judged(envelope, job(20), job(21), short, job(23))
    assert "step.bytes" in named(verdict)
    assert "run 3 of 4 by itself" in finding(verdict, "step.bytes").notes


def test_other_hosts_are_shown_only(envelope):
    """A third more service time on another class of host is no failure; on the same, over three runs, it is."""
    slow = {"read_ns": 2_000_000}
    elsewhere = judged(envelope, *(job(seed, host={**HOST, "cpu": "y"}, **slow) for seed in (1, 2, 3)))
    assert not finding(elsewhere, "latency.p50").gates
    assert "latency.p50" in named(judged(envelope, *(job(seed, **slow) for seed in (1, 2, 3))))


def test_a_shared_host_is_shown_only(envelope):
    """Where the golden's host was not declared dedicated, a third more service time is no failure, over three runs neither."""
    verdict = judged(envelope, *(job(seed, read_ns=2_000_000) for seed in (1, 2, 3)), dedicated=False)
    assert verdict.outcome is Outcome.PASS
    assert any("host: dedicated" in note for note in verdict.notes)


def test_runs_that_differ_widen_the_interval(envelope):
    """Three runs of which one is slow are no evidence against the machine: the spread between them counts."""
    verdict = judged(envelope, job(1), job(2), job(3, read_ns=2_000_000))
    assert finding(verdict, "latency.p50").outcome is not Outcome.FAIL
    assert finding(verdict, "latency.p50").interval is not None


def test_one_run_says_nothing_about_a_machine(envelope):
    """Below three runs environment criteria are shown only, and the note says so."""
    verdict = judged(envelope, job(1, read_ns=2_000_000))
    assert not finding(verdict, "latency.p50").gates
    assert any("at least 3 runs" in note for note in verdict.notes)


def test_noise_wider_than_the_band_is_not_a_gate():
    """A golden whose own throughput varies by a factor of three cannot gate ±15 %; it is shown, with the reason."""
    noisy = Envelope.of([job(seed, compute_ns=50_000_000 * (1 + seed % 3)) for seed in range(10)])
    verdict = judged(noisy, *(job(seed) for seed in (20, 21, 22)))
    found = finding(verdict, "throughput")
    assert found.outcome is Outcome.INCONCLUSIVE
    assert not found.gates
    assert any("differ too much" in note for note in found.notes)


def test_good_runs_do_not_hide_a_starving_one(envelope):
    """One run of three waits a tenth of its time: the mean is 3 points off and within ±5, the run is not, and it is named."""
    starving = job(22, wait_ns=6_000_000)
    verdict = judged(envelope, job(20), starving, job(23), regime="compute_bound")
    share = finding(verdict, "stall.share")
    assert share.outcome is Outcome.FAIL
    assert "run 2 of 3 by itself" in share.notes
    assert judged(envelope, job(20), job(21), job(23), regime="compute_bound").outcome is Outcome.PASS


def test_stalls_gate_only_where_the_golden_is_compute_bound(envelope):
    """A consumer that waits half of the time fails a compute-bound golden and is shown to others."""
    starving = job(1, wait_ns=50_000_000)
    assert "stall.share" in named(judged(envelope, starving, regime="compute_bound"))
    assert "stall.share" not in named(judged(envelope, starving))


def test_the_published_queue_depth_rule_gates_only_io_bound_goldens(envelope):
    """A queue that runs empty behind a full buffer fails an I/O-bound golden only."""
    ahead = job(1, read_ns=500_000)
    assert not finding(judged(envelope, ahead), "depth.fed").gates
    assert "depth.fed" in named(judged(envelope, ahead, regime="io_bound"))


def test_a_trace_that_cannot_tell_is_not_applicable(envelope):
    """A bare list of requests has no steps, samples, workers or times: N/A with the reason, not zero."""
    bare = Trace.of(Op(op.uri, op.offset, op.len, op.t_submit) for op in job(1))
    verdict = judged(envelope, bare)
    assert finding(verdict, "step.bytes").outcome is Outcome.NA
    assert finding(verdict, "streams.workers").reason == "the trace does not tell"
    assert finding(verdict, "latency.p50").outcome is Outcome.NA


def test_a_trace_that_cannot_tell_what_the_golden_tells_does_not_pass(envelope):
    """What is silent is not alike: the verdict stays open, and says which criteria ask for more."""
    bare = Trace.of(Op(op.uri, op.offset, op.len, op.t_submit, ret=op.ret) for op in job(1))
    verdict = judged(envelope, bare)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "step.bytes" in finding(verdict, "valid.evidence").reason


def test_a_golden_that_cannot_tell_asks_for_nothing():
    """Where the golden's own runs have no steps and no threads, a run without them passes."""
    bare = [Trace.of(Op(op.uri, op.offset, op.len, op.t_submit, ret=op.ret) for op in job(seed)) for seed in range(6)]
    assert judged(Envelope.of(bare[:5]), bare[5]).outcome is Outcome.PASS


def test_ops_assigned_to_steps_by_time_are_not_held_against_their_own_numbers(envelope):
    """Marks alone tell during which step an op was read ahead, not which it serves: N/A, not a failure."""
    trace = job(1)
    columns = {name: column for name, column in trace.columns.items() if name != "step"}
    verdict = judged(envelope, Trace(columns, trace.tables, trace.marks, trace.header, trace.trailer))
    assert finding(verdict, "step.bytes").outcome is Outcome.NA
    assert verdict.outcome is Outcome.INCONCLUSIVE


def test_failing_reads_fail(envelope):
    """A job of which one read in fifty fails is another job, also against a golden from before failures were noted."""
    trace = job(1)
    errors = np.full(len(trace), NULL, np.int32)
    errors[::50] = 0
    tables = {**trace.tables, "err": StringTable(["EIO"])}
    failing = Trace({**trace.columns, "err": errors}, tables, trace.marks, trace.header, trace.trailer)
    assert "ops.errors" in named(judged(envelope, failing))
    silent = [
        replace(run, scalars={k: v for k, v in run.scalars.items() if k != "ops.errors"}) for run in envelope.runs
    ]
    old = Envelope(silent, envelope.histograms)
    assert "ops.errors" in named(judged(old, failing))
    assert finding(judged(old, trace), "ops.errors").outcome is Outcome.PASS


def test_reads_that_return_nothing_fail(envelope):
    """No bytes against some is as far apart as can be, not undefined."""
    trace = job(1)
    nothing = Trace(
        {**trace.columns, "ret": np.zeros(len(trace), np.int64)}, trace.tables, trace.marks, trace.header, trace.trailer
    )
    verdict = judged(envelope, nothing)
    assert {"step.bytes", "sample.bytes"} <= named(verdict)
    assert finding(verdict, "step.bytes").effect == 0.0


@pytest.mark.parametrize("factor", [1000, 1 / 1000])
def test_times_in_the_wrong_unit_are_noticed(envelope, factor):
    """A thousand times the golden's speed, or a thousandth of it, is no other storage: INCONCLUSIVE, with the question."""
    verdict = judged(envelope, mutations.faster(job(1), factor))
    assert verdict.outcome is not Outcome.PASS
    assert "in the unit they are taken for" in finding(verdict, "valid.time-unit").reason


def test_rounding_is_no_effect(envelope):
    """Shares that differ in their sixteenth digit have the effect 0, and it reads 0."""
    criterion = REPEAT_CRITERIA["order.sequential"]
    assert criterion.effect(0.7419354838709677, 0.7419354838709679) == 0.0
    assert format_effect("difference", 0.0) == "0"
    assert "e-1" not in text.render(judged(envelope, job(3)))


def test_another_engine_compares_reads_and_writes_only(envelope):
    """Engines see different metadata ops; these are then left out, and it is said."""
    native = job(1, engine="native")
    opens = Trace.of([*native, *(Op("file:///data/x", 0, 0, 5, op="open") for _ in range(500))], header=native.header)
    assert finding(judged(envelope, _whole(opens)), "ops.mix").outcome is Outcome.PASS
    python = Trace.of([*native, *(Op("file:///data/x", 0, 0, 5, op="open") for _ in range(500))], header=job(1).header)
    assert finding(judged(envelope, _whole(python)), "ops.mix").outcome is Outcome.FAIL


def _whole(trace):
    return Trace(trace.columns, trace.tables, trace.marks, trace.header, Trailer(ops=len(trace))).sorted()


def test_a_median_between_two_sizes_does_not_gate():
    """Half small, half large requests: the median jumps by chance and is shown only."""

    def halves(seed, small):
        sizes = [10] * small + [1000] * (100 - small)
        return Trace.of(Op("file:///a", index * 1000, size, index * 1000) for index, size in enumerate(sizes))

    envelope = Envelope.of([halves(seed, 51) for seed in range(5)])
    found = finding(judged(envelope, halves(9, 49)), "size.median")
    assert found.outcome is Outcome.FAIL
    assert not found.gates


def test_a_single_run_as_golden_is_said_to_be_one():
    """Repeat mode against one trace works by bands alone and notes that the spread is not known."""
    verdict = judged(Envelope.of([job(1)]), job(2))
    assert verdict.outcome is Outcome.PASS
    assert any("single run" in note for note in verdict.notes)


def test_a_starving_and_a_saturated_overlap_are_not_confused(envelope):
    """A worker that is serialised with the other no longer reaches queue depth 2."""
    assert "depth.ceiling" in named(judged(envelope, mutations.one_at_a_time(job(3))))


# -- envelope and golden files ----------------------------------------------------------------------------------------


def test_an_envelope_survives_json(envelope):
    """Written and read again it is the same, and judges the same."""
    again = Envelope.from_json(json.loads(json.dumps(envelope.to_json())), "x")
    assert again.to_json() == envelope.to_json()
    assert json_report.render(judged(again, job(5))) == json_report.render(judged(envelope, job(5)))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data.update(envelope=2), "version 2"),
        (lambda data: data.update(runs=[]), "holds no run"),
        (lambda data: data.pop("runs"), "'runs'"),
        (lambda data: data["runs"][0].pop("sizes"), "'sizes'"),
        (lambda data: data["runs"][0]["sizes"].update(counts=[1, 2]), "damaged"),
        (lambda data: data["runs"][0]["scalars"].update(bytes="many"), "damaged"),
        (lambda data: data["histograms"].pop("size"), "'size'"),
    ],
)
def test_a_damaged_envelope_is_one_sentence(envelope, damage, words):
    """What is wrong, in which file, and what to do."""
    data = json.loads(json.dumps(envelope.to_json()))
    damage(data)
    with pytest.raises(InputError, match=words) as caught:
        Envelope.from_json(data, "golden/envelope.json")
    assert "golden/envelope.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def runs(tmp_path):
    """Ten runs as files."""
    paths = [tmp_path / f"run{seed}.jsonl" for seed in range(10)]
    for seed, path in enumerate(paths):
        formats.save(job(seed), path)
    return [str(path) for path in paths]


@pytest.fixture
def folder(tmp_path):
    """A golden that was never blessed."""
    path = tmp_path / "mine"
    path.mkdir()
    (path / "profile.yaml").write_text("title: mine\nregime: mixed\n")
    return path


def blessed(folder, runs, reason="because"):
    """Bless the runs, and write them."""
    blessing = bless.prepare(str(folder), runs, reason, {})
    blessing.write()
    return blessing


def test_a_blessed_golden_accepts_its_own_kind(folder, runs):
    """Blessed from ten runs, it passes an eleventh and fails another job."""
    blessed(folder, runs)
    standard = golden.load(str(folder)).standard()
    assert standard.name == "mine@1"
    assert repeat.judge(standard, [job(77)], ["it"]).outcome is Outcome.PASS
    assert repeat.judge(standard, [job(77, batch=8)], ["it"]).outcome is Outcome.FAIL


def test_changes_have_units(folder, runs):
    """What is shown and kept of a change says bytes and time as people write them, also of figures without a criterion."""
    changes = dict(change.split(": – -> ") for change in bless.prepare(str(folder), runs, "because", {}).changes())
    assert all(changes[name].endswith("iB") for name in ("bytes", "depth.bytes", "step.bytes"))
    assert all(changes[name].endswith("s") for name in ("duration", "latency.mean", "latency.p50"))


def test_blessing_again_raises_the_revision_and_keeps_the_history(folder, runs):
    """CHANGES.md has both reasons, the newest first, and what changed."""
    blessed(folder, runs, "the first")
    for index, path in enumerate(runs):
        formats.save(job(index, batch=32), path)
    blessing = blessed(folder, runs, "larger batches")
    changes = (folder / "CHANGES.md").read_text()
    assert blessing.revision == golden.load(str(folder)).revision == 2
    assert changes.index("larger batches") < changes.index("the first")
    assert "step.bytes: 1.53 MiB -> 3.05 MiB" in changes


def test_a_golden_is_small_and_names_no_machine(folder, runs):
    """Well below 1 MB, deterministic, without the host's name or a path."""
    blessed(folder, runs)
    content = (folder / "envelope.json").read_text()
    assert len(content) < 200_000
    assert str(folder.parent) not in content
    again = bless.prepare(str(folder), runs, "again", {})
    assert again.envelope.to_json() == golden.load(str(folder)).envelope.to_json()


@pytest.mark.parametrize("value", ["true", "1", "yes"])
def test_nothing_is_blessed_in_ci(folder, runs, value):
    """Where CI is set a golden is not made."""
    with pytest.raises(UsageError, match="CI"):
        bless.prepare(str(folder), runs, "because", {"CI": value})


def test_a_golden_needs_five_runs_a_reason_and_different_runs(folder, runs):
    """Four runs, an empty reason, and the same file twice are refused."""
    with pytest.raises(UsageError, match="4 runs are too few"):
        bless.prepare(str(folder), runs[:4], "because", {})
    with pytest.raises(UsageError, match="--reason"):
        bless.prepare(str(folder), runs, " ", {})
    with pytest.raises(InputError, match="the same run"):
        bless.prepare(str(folder), [*runs[:5], runs[0]], "because", {})


def test_fewer_than_ten_runs_are_warned_about(folder, runs):
    """Five runs are accepted with a warning about wide intervals."""
    assert any("5 runs" in warning for warning in bless.prepare(str(folder), runs[:5], "because", {}).warnings)


def test_a_run_that_does_not_fit_is_named(folder, runs):
    """One run of another job among nine: refused, with the file and the criterion."""
    formats.save(job(4, batch=8), runs[4])
    with pytest.raises(InputError, match=r"run4\.jsonl does not fit.*step\.bytes"):
        bless.prepare(str(folder), runs, "because", {})


def test_an_invalid_run_is_not_blessed(folder, runs, tmp_path):
    """A trace that was cut short cannot be part of a golden."""
    lines = (tmp_path / "run3.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "run3.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match=r"run3\.jsonl cannot be part of a golden"):
        bless.prepare(str(folder), runs, "because", {})


def test_goldens_are_found_by_name_and_the_nearest_is_proposed(folder, tmp_path):
    """A shipped golden by its name, an own one by its folder; a typo asks, an empty folder is said to be empty."""
    assert "torch-like" in golden.names()
    assert golden.load("torch-like").name == "torch-like"
    assert golden.load(str(folder)).name == "mine"
    with pytest.raises(UnknownNameError, match="did you mean 'torch-like'"):
        golden.load("torch-lik")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no golden"):
        golden.load(str(tmp_path / "empty"))
    with pytest.raises(InputError, match="there is no golden"):
        golden.load(str(tmp_path / "nowhere"))


def test_a_golden_that_was_never_blessed_says_how(folder):
    """Its profile is there, its envelope is not."""
    with pytest.raises(InputError, match="harness learn"):
        golden.load(str(folder)).standard()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "is no golden"),
        ('{"golden": 9}', "version 9"),
        ('{"golden": 1}', "is damaged"),
        ("\x00", "is not JSON"),
    ],
)
def test_a_damaged_golden_file_is_one_sentence(folder, content, words):
    """Garbage in envelope.json names the file and the way out."""
    (folder / "envelope.json").write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        golden.load(str(folder))
    assert "envelope.json" in str(caught.value)


@pytest.mark.parametrize("content", ["a: [", "- 1\n", "\x00"])
def test_a_damaged_profile_is_one_sentence(folder, content):
    """The same for profile.yaml."""
    (folder / "profile.yaml").write_text(content)
    with pytest.raises(InputError, match="is not a profile") as caught:
        golden.load(str(folder))
    assert "\n" not in str(caught.value)


def test_the_shipped_golden_accepts_each_of_its_own_runs():
    """Leave one out: every run of torch-like passes against the others."""
    envelope = golden.load("torch-like").standard().envelope
    assert len(envelope.runs) >= 10
    for index, run in enumerate(envelope.runs):
        found = repeat.findings(Trial(Standard("others", envelope.without(index), "mixed"), [run]))
        assert [one.id for one in found if one.gates and one.outcome is Outcome.FAIL] == []


# -- reports ----------------------------------------------------------------------------------------------------------


def test_the_same_input_gives_the_same_bytes(envelope):
    """summary.json, CSV and table of two checks of one trace are identical."""
    one, two = judged(envelope, job(8, batch=32)), judged(envelope, job(8, batch=32))
    assert json_report.render(one) == json_report.render(two)
    assert csv.texts(one) == csv.texts(two)
    assert text.render(one) == text.render(two)


def test_the_table_says_the_verdict_first_and_the_reason_in_words(envelope):
    """Outcome and mode in the first line, then the table, then what failed and why, then footnotes."""
    lines = text.render(judged(envelope, job(8, batch=32))).splitlines()
    assert lines[0].startswith("FAIL  run0 against job@1 (10 runs), mode repeat")
    assert lines[2].split()[:2] == ["class", "criterion"]
    assert "FAIL  step.bytes: a step reads more: 3.05 MiB, the golden 1.53 MiB" in lines
    assert any(line.startswith("[1] shown only") for line in lines)


def test_histograms_have_common_bins_and_shares_of_one(envelope):
    """Every CSV histogram has bins in order, and each side adds up to 1."""
    files = csv.texts(judged(envelope, job(8)))
    assert set(files) == {"criteria.csv", "hist_gap.csv", "hist_latency.csv", "hist_qd.csv", "hist_size.csv"}
    for name, content in files.items():
        rows = [line.split(",") for line in content.splitlines()]
        if name == "criteria.csv":
            assert rows[0][0] == "id"
            continue
        assert rows[0] == ["bin_lo", "bin_hi", "golden", "candidate"]
        bins = [(int(row[0]), int(row[1])) for row in rows[1:]]
        assert all(low < high <= next_low for (low, high), (next_low, _) in pairwise(bins))
        for column in (2, 3):
            assert sum(float(row[column]) for row in rows[1:]) == pytest.approx(1.0)


def test_what_is_not_finite_is_null():
    """JSON has no infinity: a ratio to nothing is null, and the file stays JSON."""
    header = Header(created="x")
    no_bytes = Trace.of([Op("file:///a", 0, 0, time) for time in range(200)], header=header, trailer=Trailer(ops=200))
    some = Trace.of([Op("file:///a", 0, 5, time) for time in range(200)], header=header, trailer=Trailer(ops=200))
    verdict = judged(Envelope.of([no_bytes]), some)
    assert json.loads(json_report.render(verdict))["verdict"] == "FAIL"
