"""A trace that comes through a pipe: standard input, or a shell's `<(zcat TRACE)`, read as often as a command needs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tracekit import formats
from tracekit.testing import training_trace

STATS, CHECK = (f"{sys.executable} -I -m {module}" for module in ("tracekit stats", "harness.cli check"))


_RUNS = """
import sys
from harness.run import Run
piped, plain = (Run.read(name, warmup="first-epoch") for name in ("-", sys.argv[1]))
print(len(piped) == len(plain), repr(piped.figures) == repr(plain.figures), piped.warmup)
"""


@pytest.fixture(params=["t.jsonl", "t.jsonl.zst", "t.parquet"])
def name(request, tmp_path):
    """A trace in the working directory."""
    formats.save(training_trace(), tmp_path / request.param)
    return request.param


def _shell(line, tmp_path):
    """`bash -c LINE`, with a place of its own for temporary files that must be empty at the end."""
    (tmp_path / "temporary").mkdir()
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=tmp_path,
        env={"TMPDIR": str(tmp_path / "temporary")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert not list((tmp_path / "temporary").iterdir())
    return done


def test_stats_of_a_pipe_are_those_of_the_file(name, tmp_path):
    """Whatever the format, which is seen from the content."""
    piped = _shell(f"{STATS} --json <(cat {name})", tmp_path)
    assert piped.returncode == 0, piped.stderr
    (tmp_path / "temporary").rmdir()
    plain = _shell(f"{STATS} --json {name}", tmp_path)
    assert piped.stdout.replace("/dev/fd/63", name) == plain.stdout


@pytest.mark.parametrize(
    "line", ["{CHECK} - --golden t.jsonl {page} < t.jsonl", "{CHECK} <(cat t.jsonl) --golden <(cat t.jsonl) {page}"]
)
def test_a_page_is_made_of_pipes(line, tmp_path):
    """The page over time reads both traces once more."""
    formats.save(training_trace(), tmp_path / "t.jsonl")
    done = _shell(line.format(CHECK=CHECK, page="--html page.html"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PASS")
    assert "next: harness check" not in done.stderr
    assert (tmp_path / "page.html").stat().st_size > 10_000


def test_warm_up_is_found_in_a_pipe(tmp_path):
    """A golden may leave the first epoch out, for which a trace is read twice: the same is found in a pipe."""
    formats.save(training_trace(), tmp_path / "t.jsonl")
    with open(tmp_path / "t.jsonl", "rb") as file:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _RUNS, str(tmp_path / "t.jsonl")], stdin=file, capture_output=True, check=True
        )
    assert done.stdout.split() == [b"True", b"True", b"first-epoch"]


def test_standard_input_is_one_trace(tmp_path):
    """It cannot be both sides."""
    done = _shell(f"{CHECK} - --golden - < /dev/null", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "standard input can be one trace only" in done.stderr


def test_what_is_wrong_in_a_pipe_names_the_pipe_and_the_line(tmp_path):
    """One sentence with the pipe's own name in it."""
    done = _shell(f"{STATS} <(echo nonsense)", tmp_path)
    assert done.returncode == 2
    assert "dev/fd/63:1: the line is not JSON" in done.stderr


def test_an_empty_pipe_is_empty(tmp_path):
    """It is said, as of a file."""
    done = _shell(f"{STATS} <(true)", tmp_path)
    assert (done.returncode, "is empty" in done.stderr) == (2, True)


def test_a_copy_without_room_is_refused(tmp_path):
    """What to do stands in the sentence; nothing is left behind."""
    formats.save(training_trace(), tmp_path / "t.jsonl")
    done = _shell(f"ulimit -f 1; trap '' XFSZ; {STATS} <(cat t.jsonl)", tmp_path)
    assert done.returncode == 2
    assert "cannot be kept in" in done.stderr
    assert "set TMPDIR" in done.stderr
