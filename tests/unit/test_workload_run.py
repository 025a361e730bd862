"""Emulated compute, reports, files of one's own, and the verb run."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tracekit import formats
from tracekit.cli import main
from tracekit.errors import InputError, UsageError
from tracekit.testing import FakeClock
from tracekit.workload import custom, drive, rendezvous, report, run
from tracekit.workload.checkpoint import Moved
from tracekit.workload.compute import Pace
from tracekit.workload.dataset import create_dataset
from tracekit.workload.distribution import Distribution
from tracekit.workload.drive import EVALUATE, TRAIN, Listing, Plan, Result, Row
from tracekit.workload.job import Checkpoint, DataSet, Evaluate, Job, Train
from tracekit.workload.loader import Loader
from tracekit.workload.options import LoaderOptions


def _pace(seconds, overshoot_ns=0):
    clock = FakeClock(overshoot_ns=overshoot_ns)
    sleep = lambda s: clock.sleep_until(clock.now_ns() + round(s * 1e9))  # noqa: E731
    return Pace(seconds, np.random.default_rng(1), clock.now_ns, sleep), clock


def test_late_sleeps_do_not_add_up():
    """A hundred steps with timers that are 50 us late take as long as they should, and one overshoot."""
    pace, clock = _pace(Distribution.fixed(0.001), overshoot_ns=50_000)
    assert sum(pace.spend() for _ in range(100)) == pytest.approx(0.1)
    assert clock.now_ns() == pytest.approx(100_000_000, abs=51_000)


def test_a_long_interruption_is_not_worked_off_for_long():
    """Who lost the core for a second computes the next step in no time, and the one after it as always."""
    pace, clock = _pace(Distribution.fixed(0.001), overshoot_ns=1_000_000_000)
    pace.spend()
    before = clock.now_ns()
    pace.spend()
    assert clock.now_ns() == before
    pace.spend()
    assert clock.now_ns() > before


def test_times_are_the_seeds():
    """Two paces of one seed spend the same times, whose mean is the distribution's."""
    first, second = (_pace(Distribution("gamma", {"shape": 2, "scale": 0.01}))[0] for _ in range(2))
    times = [first.draw() for _ in range(3000)]
    assert times == [second.draw() for _ in range(3000)]
    assert np.mean(times) == pytest.approx(0.02, rel=0.05)


def _rows(waits, compute=0.1, epoch=0, phase=TRAIN):
    return [Row(phase, epoch, wait, wait / 2, 0.0, compute, 4, 4_000_000) for wait in waits]


def test_utilisation_leaves_out_the_first_steps():
    """AU is compute by compute and waiting, without the first step of each epoch and without evaluation."""
    rows = [*_rows([9.0, 0.1, 0.1]), *_rows([5.0], phase=EVALUATE), *_rows([9.0, 0.0, 0.3], epoch=1)]
    assert report.epochs_au(rows, 1, 0) == pytest.approx([0.5, 0.2 / 0.5])
    assert report.epochs_au(rows, 1, 1) == pytest.approx([0.5, 1.0])
    assert report.epochs_au(_rows([1.0]), 1, 0) == []
    assert report.epochs_au(_rows([1.0] * 3), 1, 5) == []


OWN = "shape: {unit: file}\nfiles: {count: 4}\n"


def _plan(**changes):
    job = Job("unet3d", DataSet("/d"), train=Train(), model="unet3d", **changes)
    return Plan(job, Listing("/d", ["/d/a", "/d/b"], [10, 20]))


def test_a_report_adds_up_ranks():
    """Samples and bytes are sums, AU the mean over epochs and ranks, MB and MiB each by its own definition."""
    results = [Result(0, _rows([9.0, 0.1]), 2.0), Result(1, _rows([9.0, 0.0]), 4.0)]
    told = report.report([_plan(au_target=0.9)] * 2, results)
    assert (told["ranks"], told["steps"], told["samples"], told["bytes"]) == (2, 4, 16, 16_000_000)
    assert told["au"] == pytest.approx(0.75)
    assert told["au_met"] is False
    assert told["mb_per_s"] == pytest.approx(4.0)
    assert told["mib_per_s"] == pytest.approx(16e6 / 2**20 / 4)
    assert told["stages"]["wait_s"]["p50"] == pytest.approx(4.55)
    assert told["completed"]
    json.dumps(told)


def test_the_configuration_s_hash_is_the_job_s():
    """The same job on other storage has the same hash, another seed another one."""
    first = report.provenance(_plan(), [])["configuration"]
    elsewhere = Plan(Job("unet3d", DataSet("s3://b/d"), train=Train(), model="unet3d"), Listing("s3://b/d", [], []))
    assert report.provenance(elsewhere, [])["configuration"] == first
    assert report.provenance(_plan(framework="jax"), [])["configuration"] != first


def test_steps_as_csv():
    """A line for each step, numbered within epoch and phase."""
    lines = report.table([Result(1, [*_rows([0.5, 0.25]), *_rows([1.0], epoch=1)])]).splitlines()
    assert lines[0] == "rank,phase,epoch,step,io_s,decode_s,wait_s,compute_s,samples,bytes"
    assert lines[2] == "1,train,0,1,0.125000000,0.000000000,0.250000000,0.100000000,4,4000000"
    assert lines[3].startswith("1,train,1,0,")


def test_every_broken_norm_is_named():
    """A small, short, warm, single run with a low AU breaks five of MLPerf Storage's norms; a proper one none."""
    told = report.report([_plan()], [Result(0, _rows([9.0, 0.1]), 2.0)])
    broken = report.violations(told, _plan(), runs=1, cold=False)
    assert [line.partition(":")[0] for line in broken] == ["au", "data", "steps", "runs", "cache"]
    assert broken[0] == "au: 50.0%, at least 90% is asked for"
    told |= {"au": 0.95}
    told["provenance"] = {"host": {"memory_bytes": 10}}
    enough = Plan(_plan().job, Listing("/d", ["/d/a"] * 16_000, [10] * 16_000))
    assert report.violations(told, enough, runs=6, cold=True) == []
    lowered = Plan(_plan(au_target=0.2).job, enough.train)
    runs = [{"au": 0.1, "warm_up": True}, {"au": 0.8, "warm_up": False}, {"au": 0.95, "warm_up": False}]
    worst = report.violations(told | {"runs": runs}, lowered, runs=6, cold=True)
    assert worst == ["au: 80.0%, at least 90% is asked for"]


def test_norms_of_checkpoints_are_named():
    """Files that are not forced to the device, too few of them, and too little data for the memory; a proper run breaks none."""
    job = Job("llama", DataSet("/d"), train=None, checkpoint=Checkpoint("/c"))
    told = report.report(
        [Plan(job, Listing("/d", [], []))], [Result(0, [], 2.0, moved=[Moved("write", 1, 0, 1, 100, 1.0)])]
    )
    broken = report.violations(told, Plan(job, Listing("/d", [], [])), runs=1, cold=False)
    assert [line.partition(":")[0] for line in broken] == ["fsync", "checkpoints", "checkpoints", "cache"]
    assert broken[1:3] == ["checkpoints: 1 for write, 10 are asked for", "checkpoints: 0 for read, 10 are asked for"]
    moved = [Moved(what, number, 0, 1, 100, 1.0) for what in ("write", "read") for number in range(10)]
    job = replace(job, checkpoint=Checkpoint("/c", settings={"fsync": True}))
    told = report.report([Plan(job, Listing("/d", [], []))], [Result(0, [], 2.0, moved=moved)])
    told["provenance"] = {"host": {"memory_bytes": 300}}
    assert report.violations(told, Plan(job, Listing("/d", [], [])), runs=1, cold=False) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.02", Distribution.fixed(0.02)),
        ("normal(0.02, 0.001)", Distribution("normal", {"mean": 0.02, "stdev": 0.001})),
        ("gamma(2,0.01)", Distribution("gamma", {"shape": 2, "scale": 0.01})),
        ("exponential(1)", Distribution("exponential", {"scale": 1})),
    ],
)
def test_times_are_read_as_people_write_them(text, expected):
    """Seconds, or a distribution with its parameters in order."""
    assert custom.duration(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fast", "'fast' is no time; write seconds, or as in normal(0.02, 0.002)"),
        ("norml(1)", "there is no distribution 'norml'; did you mean 'normal'?"),
        ("gamma(1)", "a gamma distribution has no scale"),
        ("uniform(1,2,3)", "too many numbers; uniform has min, max"),
        ("1e30", "'1e30' is longer than a day; write seconds"),
        ("poisson(1e30)", "is longer than a day"),
        ("-1", "the value of a fixed distribution is -1"),
    ],
)
def test_a_wrong_time_is_one_sentence(text, said):
    """What is wrong with a time is said with what to write."""
    with pytest.raises(UsageError) as caught:
        custom.duration(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("profile: torch-like\nepoch: 2\n", "own.yaml:2: there is no key 'epoch'; did you mean 'epochs'?"),
        ("profile: torch-like\nepochs: two\n", "own.yaml:2: epochs is 'two'; write a whole number, 1 or more"),
        ("loader: 4\n", "own.yaml:1: loader is no mapping"),
        ("evaluation: {batch_size: 2}\n", "own.yaml:1: evaluation stands without files to train on"),
        (f"{OWN}evaluation: 3\n", "own.yaml:3: evaluation is no mapping"),
        (f"{OWN}evaluation: {{batches: 3}}\n", "own.yaml:3: there is no setting of the evaluation"),
        (f"{OWN}evaluation: {{batch_size: 0}}\n", "batch_size is 0"),
        (f"{OWN}evaluation: {{shuffle: 3}}\n", "own.yaml:3: shuffle of the evaluation is 3"),
        (f"{OWN}evaluation: {{files: {{count: 0}}}}\n", "own.yaml:3: evaluation: count of the files is 0"),
        (f"{OWN}evaluation: {{folders: [a, a]}}\n", "own.yaml:3: folders of the evaluation are ['a', 'a']"),
        ("data: d\ncompute: quick\n", "own.yaml:2: compute: 'quick' is no time"),
        ("- 1\n", "own.yaml holds no keys"),
        ("a: [\n", "own.yaml is not YAML"),
    ],
)
def test_a_wrong_file_is_one_sentence_with_its_line(tmp_path, body, said):
    """Whatever is wrong in a file of one's own, file and line are named."""
    (tmp_path / "own.yaml").write_text(body)
    with pytest.raises(InputError) as caught:
        custom.load(str(tmp_path / "own.yaml"))
    assert said in str(caught.value)


def test_a_file_of_ones_own_is_told_from_dlio_s(tmp_path):
    """Files with DLIO's sections are DLIO's, whatever else they hold."""
    (tmp_path / "own.yaml").write_text("data: d\nloader: {batch_size: 4}\nepochs: 3\n")
    (tmp_path / "dlio.yaml").write_text("model: unet3d\nframework: pytorch\ndataset: {data_folder: d}\n")
    assert custom.is_custom(str(tmp_path / "own.yaml"))
    assert not custom.is_custom(str(tmp_path / "dlio.yaml"))
    assert custom.load(str(tmp_path / "own.yaml")).epochs == 3


def _run(*words):
    command = [sys.executable, "-m", "tracekit.cli", "run", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture
def data(tmp_path):
    """Twelve files of 5,000 bytes."""
    (tmp_path / "data").mkdir()
    for index in range(12):
        (tmp_path / "data" / f"{index:02d}").write_bytes(bytes(5000))
    return tmp_path / "data"


def test_a_custom_run_reports_as_json(data):
    """Ranks share the samples of every epoch; options, epochs and times are those asked for."""
    done = _run(
        "custom", "--data", data, "-O", "batch_size=3", "-O", "num_workers=1", "--epochs", 3, "--ranks", 2, "--compute", "0.001",
        "--decode", "0.0005", "--format", "json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["ranks"], told["epochs"], told["steps"], told["samples"]) == (2, 3, 12, 36)
    assert told["bytes"] == 36 * 5000
    assert told["stages"]["decode_s"]["total"] == pytest.approx(36 * 0.0005)
    assert told["stages"]["compute_s"]["total"] >= 0.9 * 12 * 0.001
    assert told["provenance"]["host"]["memory_bytes"] > 0


def test_steps_go_to_a_csv_file(data, tmp_path):
    """`--format csv --output` writes a line for each step, and does not overwrite without --force."""
    words = (
        "custom",
        "--data",
        data,
        "-O",
        "batch_size=4",
        "--max-steps",
        2,
        "--format",
        "csv",
        "--output",
        tmp_path / "s.csv",
    )
    assert _run(*words).returncode == 0
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 3
    again = _run(*words)
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_json_is_the_same_as_format_json(data, capsys):
    """`--json` prints the report that `--format json` prints; a file goes with it, and another format beside it is refused."""
    words = ["-q", "run", "custom", "--data", str(data), "--max-steps", "1"]
    keys = []
    for form in (["--json"], ["--format", "json"]):
        assert main([*words, *form]) == 0
        keys.append(json.loads(capsys.readouterr().out).keys())
    assert keys[0] == keys[1]
    assert "au" in keys[0]
    assert main([*words, "--json", "--format", "csv"]) == 2
    assert "not allowed with argument --json" in capsys.readouterr().err


def test_a_recorded_run_shows_the_command_that_was_typed(data, tmp_path):
    """The trace's header has the user's command, not that of the processes that carried it out."""
    words = ["-q", "run", "custom", "--data", str(data), "-o", str(tmp_path / "t.jsonl")]
    assert main(words) == 0
    assert list(formats.load(str(tmp_path / "t.jsonl")).header.command) == ["tracekit", *words]


def test_a_file_of_ones_own_runs(data, tmp_path):
    """A YAML file is run as it says, and the command line goes before it."""
    own = tmp_path / "own.yaml"
    own.write_text(f"name: mine\ndata: {data}\nloader: {{batch_size: 6, shuffle: true}}\nepochs: 2\ncompute: 0\n")
    told = json.loads(_run(own, "--format", "json", "--max-epochs", 1, "-O", "batch_size=4").stdout)
    assert (told["job"], told["epochs"], told["steps"]) == ("mine", 1, 3)


def test_norms_that_are_not_kept_are_named(data):
    """With --norms mlperf a small run exits with 1 and says why."""
    done = _run("custom", "--data", data, "--compute", 0, "--norms", "mlperf")
    assert done.returncode == 1
    assert "MLPerf Storage would object to:" in done.stdout
    assert "  runs: 1, 6 are asked for, of which the first does not count" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "no workload was named; a file, custom, or one of: imagenet-like"),
        (("torch-lik",), 2, "torch-lik"),
        (("torch-like", "--profile", "tf-like"), 2, "name one workload"),
        (("--profile", "tf-lik"), 2, "there is no profile 'tf-lik'; did you mean 'tf-like'?"),
        (("custom",), 2, "custom reads data that is there; say where with --data"),
        (("custom", "--data", "nothing"), 2, "there is nothing at nothing"),
        (("torch-like", "--as", "record"), 2, "did you mean 'recorded'?"),
        (("torch-like", "-O", "batch"), 2, "-O 'batch' has no value; write NAME=VALUE"),
        (("torch-like", "-O", "bach_size=2"), 2, "did you mean 'batch_size'?"),
        (("torch-like", "-O", "batch_size=["), 2, "the value of -O 'batch_size=[' cannot be read"),
        (("torch-like", "-O", "pool=3"), 2, "pool is 3; write its options"),
        (("--dlio-config", "nothing.yaml", "++workload.train.epochs=2"), 2, "there is no workload file nothing.yaml"),
        (("--trace-replay", "t.jsonl", "--epochs", "2"), 2, "--trace-replay does nothing with --epochs"),
        (("--trace-replay", "t.jsonl", "--format", "csv"), 2, "--trace-replay does nothing with --format csv"),
        (("torch-like", "--epochs", "0"), 2, "--epochs is 0; write 1 or more"),
        (("torch-like", "++workload.train.epochs=2"), 2, "use -O NAME=VALUE"),
        (("torch-like", "-o", "x.jsonl", "--runs", "6"), 2, "-o records one run"),
        (("torch-like", "-o", "x.jsonl", "--output", "./x.jsonl"), 2, "trace and report are both to be ./x.jsonl"),
        (("nothing.yaml",), 2, "there is no workload file nothing.yaml"),
    ],
)
def test_wrong_words_are_one_sentence(words, code, said, capsys):
    """Whatever is wrong on the command line, one sentence says so and nothing is run."""
    from tracekit.cli import main

    assert main(["run", *words]) == code
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err
    assert told.out == ""


_RANK = """
import os, sys, time
print("ready", flush=True)
sys.stdin.readline()
here, other = ("{folder}/" + str(rank) for rank in (int(os.environ["RANK"]), 1 - int(os.environ["RANK"])))
open(here, "w").close()
end = time.monotonic() + 30
while not os.path.exists(other):
    if time.monotonic() > end:
        sys.exit(3)
    time.sleep(0.01)
"""


def test_ranks_run_side_by_side(tmp_path, monkeypatch):
    """Every rank is told to go before any is waited for: here each ends only when the other has begun, too."""
    program, plain = _RANK.format(folder=tmp_path), subprocess.Popen
    monkeypatch.setattr(rendezvous.subprocess, "Popen", lambda _, **how: plain([sys.executable, "-c", program], **how))
    assert drive.main(["a", "b"]) == 0


_MEETS = """
import os, signal, sys
for turn in range(3):
    print("here", flush=True)
    word = sys.stdin.readline().strip()
    open("{folder}/" + os.environ["RANK"], "a").write(word + " ")
    if word != "go":
        sys.exit(4)
    if turn == 1 and os.environ["RANK"] == "1":
        {end}
"""


@pytest.mark.parametrize(
    ("end", "others", "status"),
    [
        ("pass", "go go go ", 0), ("sys.exit(0)", "go go go ", 0), ("sys.exit(2)", "go go left ", 4),
        ("os.kill(os.getpid(), signal.SIGKILL)", "go go left ", 9),
    ],
)  # fmt: skip
def test_who_waits_hears_of_one_that_is_lost(tmp_path, monkeypatch, end, others, status):
    """A rank that fails or is killed leaves nobody waiting; one that is done is not waited for; the worst status is that of all."""
    program, plain = _MEETS.format(folder=tmp_path, end=end), subprocess.Popen
    monkeypatch.setattr(rendezvous.subprocess, "Popen", lambda _, **how: plain([sys.executable, "-c", program], **how))
    assert rendezvous.conduct("module", ["a", "b", "c"]) == status
    assert (tmp_path / "0").read_text() == (tmp_path / "2").read_text() == others


@pytest.mark.parametrize("code", [2, 4])
def test_a_run_ends_with_the_status_of_what_its_ranks_met(data, code, monkeypatch, capsys):
    """Bad input met by a rank is bad input of the run, and who only waited for that rank is not the cause."""
    from tracekit.cli import main
    from tracekit.verbs import run_driving

    found = [Result(0, error="rank 0 waited", exit_code=4, left=True), Result(1, error="it is so", exit_code=code)]
    monkeypatch.setattr(run_driving, "start", lambda *_, **__: None)
    monkeypatch.setattr(run, "results", lambda _: found)
    assert main(["run", "custom", "--data", str(data), "-q", "--format", "json"]) == code
    told = capsys.readouterr()
    assert json.loads(told.out)["errors"] == ["it is so", "rank 0 waited"]
    assert "it is so" in told.err


def test_a_rank_that_is_killed_is_said(data):
    """A rank without a result is an error of the run with its number, and the others' steps are in the report."""
    job = Job("j", DataSet(str(data)), LoaderOptions(batch_size=4), Train(batch_size=4))
    plans = run.plans(Plan(job, Listing.of(str(data), create_dataset(str(data)))), 2, str(data))
    (data / "result0.json").write_text('{"rank": 0, "rows": [{"phase": "train", "epoch": 0, "wait_s": 0, "io_s": 0, "decode_s": 0, "compute_s": 0.1, "samples": 4, "bytes": 8}]}')  # fmt: skip
    told = report.report(plans, run.results(plans))
    assert (told["steps"], told["exit_code"]) == (1, 4)
    assert told["errors"] == ["rank 1 ended without a result; see its message above"]


def test_an_evaluation_ends_before_the_next_epoch_is_read_for(data, monkeypatch):
    """Passes over the data follow each other as epochs and evaluations do, and the rows say so."""
    begun, plain = [], Loader.__iter__
    monkeypatch.setattr(Loader, "__iter__", lambda self: (begun.append(len(self.dataset)), plain(self))[1])
    whole = create_dataset(str(data))
    few = create_dataset(str(data / "03"))
    job = Job("j", DataSet(str(data)), LoaderOptions(batch_size=6), Train(epochs=2, batch_size=6), evaluate=Evaluate())
    plan = Plan(job, Listing.of(str(data), whole), Listing.of(str(data), few))
    rows = drive.run(plan).rows
    assert begun == [12, 1, 12, 1]
    assert [(row.phase, row.epoch) for row in rows] == [
        *[(TRAIN, 0)] * 2, (EVALUATE, 0), *[(TRAIN, 1)] * 2, (EVALUATE, 1),
    ]  # fmt: skip
    capped = drive.run(Plan(job, plan.train, plan.evaluate, max_steps=3)).rows
    assert [row.phase for row in capped] == [TRAIN, TRAIN, EVALUATE, TRAIN, EVALUATE]


def test_a_file_of_ones_own_has_an_evaluation(tmp_path, capsys):
    """`evaluation` beside shape and files makes a second data set in a folder of its own, and is read when it says, in its batches."""
    (tmp_path / "own.yaml").write_text(
        "shape: {unit: file}\nfiles: {count: 12, sizes: 3000}\nloader: {batch_size: 4}\nepochs: 4\n"
        "evaluation: {files: {count: 6, sizes: 500}, batch_size: 2, first_epoch: 2, every_epochs: 2, folders: [a, b/c]}\n"
    )
    words = ["-q", "run", str(tmp_path / "own.yaml"), "--data", str(tmp_path / "d"), "--format", "csv"]
    assert main([*words, "--output", str(tmp_path / "steps.csv")]) == 0
    assert (len(list((tmp_path / "d/a").iterdir())), len(list((tmp_path / "d/b/c").iterdir()))) == (12, 6)
    rows = [line.split(",") for line in (tmp_path / "steps.csv").read_text().splitlines()]
    phase, epoch, samples, size = (rows[0].index(name) for name in ("phase", "epoch", "samples", "bytes"))
    told = [(row[phase], int(row[epoch]), row[samples], row[size]) for row in rows[1:]]
    first = int(rows[1][epoch])
    assert told == [
        *[(TRAIN, first, "4", "12000")] * 3, *[(TRAIN, first + 1, "4", "12000")] * 3, *[(EVALUATE, first + 1, "2", "1000")] * 3,
        *[(TRAIN, first + 2, "4", "12000")] * 3, *[(TRAIN, first + 3, "4", "12000")] * 3, *[(EVALUATE, first + 3, "2", "1000")] * 3,
    ]  # fmt: skip


def test_a_rank_without_a_full_batch_is_refused(data):
    """Where incomplete batches are dropped, no rank is left without a step: that would be a run of nothing."""
    job = Job("j", DataSet(str(data)), LoaderOptions(batch_size=4, drop_last=True))
    whole = Plan(job, Listing.of(str(data), create_dataset(str(data))))
    assert len(run.plans(whole, 3, "")) == 3
    with pytest.raises(UsageError, match="12 samples are no full batch of 4 for each of 4 ranks"):
        run.plans(whole, 4, "")


def test_ranks_share_what_this_shard_has(data):
    """A share that was asked for is divided among the ranks, and not replaced by theirs."""
    job = Job("j", DataSet(str(data)), LoaderOptions(batch_size=1, shard_rank=1, shard_world_size=3))
    plans = run.plans(Plan(job, Listing.of(str(data), create_dataset(str(data)))), 2, "")
    assert [(plan.job.loader.shard_rank, plan.job.loader.shard_world_size) for plan in plans] == [(2, 6), (3, 6)]


def test_indices_beside_the_data_are_no_samples(tmp_path):
    """Files that say where records are, and halves that a killed run left, are not read as data."""
    (tmp_path / "train").mkdir()
    for ending in ("", ".off.idx", ".sz.idx", ".0123abcd.part"):
        (tmp_path / "train" / f"img_0_of_1.indexed_binary{ending}").write_bytes(bytes(100))
    train, _ = run.of_job(Job("j", DataSet(str(tmp_path), "indexed_binary", files_train=1, samples_per_file=4)))
    assert (len(train.places), len(train), train.total_bytes) == (1, 4, 100)


def test_a_cache_that_cannot_be_dropped_says_why(data):
    """A file that went away since it was listed is a reason, not a traceback."""
    whole = create_dataset(str(data))
    (data / "03").unlink()
    assert "03 cannot be opened: No such file" in run.drop_cache(whole)


def test_a_run_is_recorded_whatever_its_folder_is_called(tmp_path):
    """Brackets and stars in the name of a folder are letters of it, and no pattern."""
    from tracekit.trace import Trace

    folder = tmp_path / "a[1]*?"
    folder.mkdir()
    for index in range(4):
        (folder / f"{index}").write_bytes(bytes(1000))
    done = _run("custom", "--data", folder, "-O", "batch_size=2", "-o", tmp_path / "t.jsonl", "-q")
    assert done.returncode == 0, done.stderr
    assert sum(op.ret for op in Trace.read(tmp_path / "t.jsonl") if op.op == "read") == 4000


@pytest.fixture
def few_files(tmp_path, monkeypatch):
    """A directory with four small files, and the place for what is written."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    for number in range(4):
        (tmp_path / "data" / str(number)).write_bytes(bytes(100))


def test_a_run_that_was_not_recorded_proposes_that(few_files, capfd):
    """Its last line is the same command with a trace; not where a report is written that would then be there, nor of several runs."""
    words = ["run", "custom", "--data", "data", "-O", "batch_size=2", "--seed", "3"]
    assert main(words) == 0
    assert capfd.readouterr().err.splitlines()[-1] == f"next: tracekit {' '.join(words)} -o run.jsonl"
    for more in (["--output", "report.txt"], ["--runs", "2"]):
        assert main([*words, *more]) == 0
        assert "next:" not in capfd.readouterr().err


@pytest.mark.parametrize("uri", ["s3://bucket/data", "az://container/data"])
def test_a_cache_policy_for_objects_is_refused_by_its_name(uri, capsys):
    """Before anything is asked of a store; the default is no policy."""
    assert main(["run", "custom", "--data", uri, "--cache-policy", "random"]) == 2
    said = capsys.readouterr().err
    assert f"--cache-policy random: objects ({uri}) have no page cache here; leave it out" in said
    assert "page_cache_mode" not in said
