"""The `harness` command as a process: exit codes, files, and one sentence for whatever is wrong."""

import json
import os
import subprocess
import sys
from itertools import count

import pytest

from harness import mutations
from tracekit import formats
from tracekit.testing import training_trace
from tracekit.trace import Op, Trace


@pytest.fixture(scope="module")
def recording():
    """A job of two workers."""
    return training_trace(files=96, batch=16, compute_ns=50_000_000, read_ns=1_500_000)


@pytest.fixture
def files(tmp_path, recording):
    """The recording, a faithful copy and a hasty one."""
    formats.save(recording, tmp_path / "train.jsonl")
    formats.save(recording, tmp_path / "same.jsonl")
    formats.save(mutations.faster(recording, 2), tmp_path / "hasty.jsonl")
    return tmp_path


def harness(*words, environment=None):
    """Run the command; nothing of the calling environment decides about CI or colour."""
    clean = {name: value for name, value in os.environ.items() if name not in {"CI", "FORCE_COLOR"}}
    return subprocess.run(
        [sys.executable, "-m", "harness.cli", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=600,
        env=clean | (environment or {}),
    )


def test_a_pass_is_exit_0_with_the_table_on_stdout(files):
    """The verdict goes to stdout, the next command to stderr."""
    done = harness("check", "same.jsonl", "--golden", "train.jsonl")
    assert done.returncode == 0
    assert done.stdout.startswith("PASS  same.jsonl against train.jsonl, mode paired")
    assert done.stderr.strip().splitlines()[-1].startswith("next: harness check same.jsonl --golden train.jsonl")


def test_a_failure_is_exit_1_and_names_the_criterion(files):
    """Twice the speed, in words, and the next command explains it."""
    done = harness("check", "hasty.jsonl", "--golden", "train.jsonl")
    assert done.returncode == 1
    assert "FAIL  time.duration: it runs faster: ×0.5 of the recorded duration" in done.stdout
    assert "next: harness check --explain " in done.stderr


def test_a_failure_is_exit_1_also_when_nobody_reads(files):
    """`harness check … | head`: a reader that went away does not turn FAIL into success, and the summary is written."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "harness.cli",
                "check",
                "hasty.jsonl",
                "--golden",
                "train.jsonl",
                "--json",
                "s.json",
            ],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=600,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.returncode == 1
    assert "Exception" not in done.stderr
    assert json.loads((files / "s.json").read_text())["verdict"] == "FAIL"


def test_an_invalid_trace_is_exit_2(files):
    """A trace without its trailer is shown as ERROR."""
    lines = (files / "same.jsonl").read_text().splitlines(keepends=True)
    (files / "cut.jsonl").write_text("".join(lines[:-1]))
    done = harness("check", "cut.jsonl", "--golden", "train.jsonl")
    assert done.returncode == 2
    assert "ERROR  valid.complete: cut.jsonl has no trailer" in done.stdout


@pytest.mark.parametrize(
    ("option", "status"), [((), 3), (("--inconclusive", "ok"), 0), (("--inconclusive", "fail"), 1)]
)
def test_inconclusive_is_exit_3_unless_told_otherwise(tmp_path, option, status):
    """Five ops decide nothing."""
    formats.save(Trace.of(Op("file:///a", index, 1, index * 10**8) for index in range(5)), tmp_path / "few.jsonl")
    done = harness("check", "few.jsonl", "--golden", "few.jsonl", *option)
    assert done.returncode == status
    assert done.stdout.startswith("INCONCLUSIVE")


def test_summaries_and_tables_are_written_whole_and_not_over_others(files):
    """--json and --csv write; a second time they refuse without --force; the bytes are the same."""
    words = ("check", "same.jsonl", "--golden", "train.jsonl", "--json", "s.json", "--csv", "tables")
    assert harness(*words).returncode == 0
    before = (files / "s.json").read_bytes()
    assert json.loads(before)["verdict"] == "PASS"
    assert (files / "tables/criteria.csv").exists()
    again = harness(*words)
    assert again.returncode == 2
    assert "--force" in again.stderr
    assert harness(*words, "--force").returncode == 0
    assert (files / "s.json").read_bytes() == before
    assert not [name for name in os.listdir(files) if name.endswith(".part")]


@pytest.mark.parametrize("words", [["--json", "-"], ["--json"]])
def test_json_on_stdout_is_json_alone(files, words):
    """`--json -`, and `--json` at the end as other verbs take it, prints the summary instead of the table."""
    done = harness("check", "hasty.jsonl", "--golden", "train.jsonl", *words)
    assert done.returncode == 1
    assert json.loads(done.stdout)["mode"] == "paired"


def test_modes_can_be_chosen(files):
    """A trace as golden is paired by itself, and a single golden run in repeat mode."""
    done = harness("check", "same.jsonl", "--golden", "train.jsonl", "--mode", "repeat")
    assert done.returncode == 0
    assert "mode repeat" in done.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("check", "same.jsonl"), "nothing to hold it against"),
        (("check", "nowhere.jsonl", "--golden", "train.jsonl"), "there is no trace nowhere.jsonl"),
        (("check", "same.jsonl", "--golden", "nowhere.jsonl"), "there is no trace nowhere.jsonl"),
        (("check", "same.jsonl", "--golden", "torchlike"), "did you mean 'torch-like'?"),
        (("check", "same.jsonl", "--golden", "empty"), "the directory empty holds no golden"),
        (("check", "same.jsonl", "--golden", "torch-like", "--mode", "paired"), "holds no ops to pair"),
        (("check", "same.jsonl", "--golden", "torch-like", "--mode", "pared"), "did you mean 'paired'?"),
        (("check", "same.jsonl", "--golden", "torch-like", "--remap", "/a=/b"), "--remap has no meaning"),
        (("check", "same.jsonl", "--golden", "train.jsonl", "--remap", "/a"), "is not FROM=TO"),
        (("check", "same.jsonl", "hasty.jsonl", "--golden", "train.jsonl"), "one trace at a time, not 2"),
        (("check", "--golden", "train.jsonl"), "there is no TRACE to judge"),
        (("check", "empty.jsonl", "--golden", "train.jsonl"), "empty.jsonl is empty"),
        (("check", "garbage.jsonl", "--golden", "train.jsonl"), "garbage.jsonl:1"),
        (("check", "same.jsonl", "--golden", "garbage"), "envelope.json is not JSON"),
        (("check", "same.jsonl", "--golden", "train.jsonl", "--json", "no/where.json"), "does not exist"),
        (("check", "same.jsonl", "--golden", "train.jsonl", "--csv", "same.jsonl"), "is not a directory"),
        (("check", "--explain", "size.mach"), "did you mean 'size.match'?"),
        (("show", "torchlike"), "did you mean 'torch-like'?"),
        (("chek",), "did you mean 'check'?"),
        (("bless", "torch-like", "same.jsonl", "--reason", "x"), "1 run is too few"),
        (("bless", "new", *["same.jsonl"] * 5, "--reason", "x"), "make the directory new with a profile.yaml in it"),
        (
            ("check", "same.jsonl", "--golden", "train.jsonl", "--time-unit", "h"),
            "there is no time unit 'h'; there are:",
        ),
        (("demo", "--dir", "."), "exists and is not empty"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_exit_2(files, words, sentence):
    """No traceback, nothing on stdout, no half-written file: the cause, and what to do."""
    (files / "empty").mkdir()
    (files / "garbage").mkdir()
    (files / "garbage" / "envelope.json").write_text("\x00\x01")
    (files / "empty.jsonl").write_text("")
    (files / "garbage.jsonl").write_bytes(bytes(range(256)) * 4)
    before = sorted(os.listdir(files))
    done = harness(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr
    assert sorted(os.listdir(files)) == before


def test_a_trace_of_another_job_fails_a_golden(files):
    """A trace that has nothing to do with torch-like is judged, and every difference has its name."""
    done = harness("check", "same.jsonl", "--golden", "torch-like")
    assert done.returncode == 1
    assert "FAIL  size.match" in done.stdout
    assert "FAIL  files.distinct" in done.stdout
    assert done.stderr.splitlines()[-1] == "next: harness check same.jsonl --golden torch-like --mode profile"


def test_blessing_listing_and_showing(tmp_path):
    """From runs to a golden of one's own, shown and used."""
    numbers = count()
    for _ in range(6):
        seed = next(numbers)
        formats.save(training_trace(files=128, batch=16, compute_ns=50_000_000, seed=seed), tmp_path / f"r{seed}.jsonl")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/profile.yaml").write_text("title: my job\n")
    runs = [f"r{seed}.jsonl" for seed in range(5)]
    assert harness("bless", "mine", *runs, "--reason", "first", environment={"CI": "true"}).returncode == 2
    tried = harness("bless", "mine", *runs, "--reason", "first", "--dry-run")
    assert tried.returncode == 0
    assert not (tmp_path / "mine/envelope.json").exists()
    done = harness("bless", "mine", *runs, "--reason", "first")
    assert done.returncode == 0
    assert "warning: 5 runs" in done.stderr
    assert done.stderr.splitlines()[-1] == "next: harness check TRACE --golden mine"
    again = harness("bless", "mine", *runs, "--reason", "again", "--dry-run")
    assert again.stdout.splitlines()[1:] == ["  no figure changes by more than 0.1 %"]
    assert "first (5 runs" in (tmp_path / "mine/CHANGES.md").read_text()
    assert harness("check", "r5.jsonl", "--golden", "mine").returncode == 0
    shown = harness("show", "mine")
    assert shown.stdout.startswith("mine@1: my job")
    assert "\n\n\n" not in shown.stdout
    assert json.loads(harness("show", "mine", "--json").stdout)["envelope"] == 1
    assert "torch-like" in harness("list").stdout


def test_every_criterion_explains_itself():
    """--explain prints what is measured, what is accepted and why."""
    done = harness("check", "--explain", "depth.ceiling")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("statistic", "accepted", "gates", "why"))


@pytest.mark.parametrize(
    ("name", "word"), [("slower.cold", "1.2 times the mean"), ("start.direct", "Pages were resident")]
)
def test_a_criterion_of_the_matrix_explains_itself(name, word):
    """What its FAIL means and what to do, also by the name that a finding about one cell has; a cell that is none is refused."""
    done = harness("check", "--explain", name)
    assert done.returncode == 0, done.stderr
    assert word in done.stdout
    assert "if it fails" in done.stdout
    assert "did you mean" in harness("check", "--explain", f"{name}x").stderr


def test_a_golden_whose_package_is_missing_cannot_run():
    """Without PyTorch the golden's own program is not started: one sentence, exit 4."""
    script = (
        "import importlib.util, sys\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'torch' else real(name, *rest)\n"
        "from harness.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    for words in (("check", "--golden", "torch-like", "--drive", "recorded-program"), ("demo",)):
        done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=600)
        assert done.returncode == 4
        assert "torch" in done.stderr.lower()
        assert "install" in done.stderr
        assert done.stderr.strip().count("error:") == 1


def test_a_golden_without_a_program_cannot_run_itself(tmp_path):
    """A folder with runs and no program asks for a trace."""
    for seed in range(5):
        formats.save(training_trace(files=128, batch=16, compute_ns=50_000_000, seed=seed), tmp_path / f"r{seed}.jsonl")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/profile.yaml").write_text("title: my job\n")
    harness("bless", "mine", *(f"r{seed}.jsonl" for seed in range(5)), "--reason", "first")
    done = harness("check", "--golden", "mine")
    assert done.returncode == 2
    assert "has no program to run; give a TRACE to check" in done.stderr
    assert "running" not in done.stderr


@pytest.mark.parametrize("verb", ["check", "compare", "learn", "bless", "power", "list", "show", "demo"])
def test_help_has_an_example_and_fits(verb):
    """Every verb's --help shows a command to type, in lines of at most 120 characters."""
    text = harness(verb, "--help", environment={"COLUMNS": "100"}).stdout
    assert f"  harness {verb}" in text.partition("example")[2]
    assert max(map(len, text.splitlines())) <= 120


def test_help_starts_quickly():
    """`harness --help` and `harness check --help` import neither NumPy nor SciPy nor YAML."""
    script = (
        "import sys\nfrom harness.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'numpy', 'scipy', 'yaml', 'torch', 'pyarrow'} & set(sys.modules)), file=sys.stderr)\n"
    )
    for words in (("--help",), ("check", "--help"), ("demo", "--help")):
        done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=600)
        assert done.stderr.strip() == "[]", words
