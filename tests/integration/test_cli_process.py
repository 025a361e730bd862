"""The commands as processes: exit codes, pipes closed early, start-up."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tracekit import formats
from tracekit.testing import training_trace


def run(*arguments, **rest):
    """Run tracekit in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tracekit.cli", *arguments], capture_output=True, text=True, timeout=600, **rest
    )


@pytest.mark.parametrize("arguments", [["--help"], ["stats", "--help"], ["doctor", "--help"], ["--version"]])
def test_help_starts_without_heavy_imports(arguments):
    """--help of the command and of these verbs imports neither NumPy, msgspec, pyarrow, scipy nor torch."""
    code = (
        "import sys\nfrom tracekit import cli\n"
        "try:\n    cli.main(sys.argv[1:])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'numpy', 'msgspec', 'pyarrow', 'scipy', 'torch', 'pandas'}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=600, check=True
    )

    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("program", ["tracekit", "harness"])
def test_the_help_of_every_verb_starts_without_heavy_imports(program):
    """The options of all verbs together are there without NumPy and the like."""
    code = (
        f"import sys\nfrom {program} import cli\nfrom tracekit.cli import parser_of\n"
        f"parser_of({program!r}, '', '', cli.VERBS, cli.VERBS)\n"
        "print(sorted({m.split('.')[0] for m in sys.modules}"
        " & {'numpy', 'msgspec', 'pyarrow', 'scipy', 'torch', 'pandas', 'yaml', 'boto3', 'matplotlib'}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True)

    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["statz", "x"], 2, "there is no verb 'statz'; did you mean 'stats'?"),
        (["stats"], 2, "the following arguments are required: TRACE"),
        (["stats", "nothing.jsonl"], 2, "there is no trace nothing.jsonl"),
        (["stats", "s3://bucket/t.jsonl"], 2, "is no file; a trace is read from a file"),
        ([], 2, "show what a trace does"),
        (["-q"], 2, "the following arguments are required: VERB; see tracekit --help"),
        (["stats", "a.jsonl", "b.jsonl"], 2, "'b.jsonl' is one argument too many; see tracekit stats --help"),
        (
            ["stats", "--markdwon", "a.jsonl"],
            2,
            "there is no option --markdwon (did you mean --markdown?); see tracekit stats --help",
        ),
        (
            ["replay", "a.jsonl", "--speed", "fast"],
            2,
            "--speed takes a number, not 'fast'; see tracekit replay",
        ),
        (["record", "--oops", "--", "true"], 125, "there is no option --oops"),
        (["--nonsense"], 2, "error"),
    ],
)
def test_usage_errors_say_what_to_do(arguments, code, text):
    """Wrong verbs, options and arguments and missing files: exit 2 (of record 125), stdout empty, no traceback."""
    found = run(*arguments)

    assert found.returncode == code
    assert found.stdout == ""
    assert text in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("form", [[], ["--json"], ["--markdown"]])
def test_a_pipe_closed_early_is_no_error(tmp_path, form):
    """`tracekit stats | head -1`: the reader goes away before a byte is written, exit 0, nothing on stderr but talk."""
    path = tmp_path / "t.jsonl"
    formats.save(training_trace(), path)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        found = subprocess.run(
            [sys.executable, "-m", "tracekit.cli", "stats", str(path), *form],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=600,
        )
    finally:
        os.close(writer)

    assert found.returncode == 0
    assert "Traceback" not in found.stderr
    assert "Exception" not in found.stderr


@pytest.mark.parametrize("place", ["2>&-", "2>/dev/full", "2>&1 >/dev/null | true", "2>&1 | true", "2>&- >&- <&-"])
def test_talk_that_nobody_hears_changes_no_verdict(tmp_path, place):
    """A command ends as it would have when stderr is closed, full, or a pipe whose reader went away: a FAIL stays a FAIL."""
    formats.save(training_trace(), tmp_path / "a.jsonl")
    formats.save(training_trace(epochs=3), tmp_path / "b.jsonl")
    check = f"{sys.executable} -I -m harness.cli check b.jsonl --golden a.jsonl --mode paired"
    script = f"{check} {place}; exit ${{PIPESTATUS[0]}}"
    assert subprocess.run(["bash", "-c", script], cwd=tmp_path, timeout=600, check=False).returncode == 1


def test_closed_streams_are_left_closed_to_the_program_and_given_to_no_file(tmp_path):
    """With `<&- >&-` a trace to standard output goes nowhere, and a recorded program finds both closed as without us."""
    formats.save(training_trace(), tmp_path / "a.jsonl")
    tracekit = f"{sys.executable} -I -m tracekit"
    program = "import sys; open('found', 'w').write(str([sys.stdin, sys.stdout]))"
    found = subprocess.run(
        ["bash", "-c", f'{tracekit} convert a.jsonl - <&- >&- && {tracekit} record -- {sys.executable} -c "{program}" <&- >&-'],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, timeout=600, check=False,
    )  # fmt: skip

    assert found.returncode == 0, found.stderr
    assert (tmp_path / "found").read_text() == "[None, None]"


def test_a_name_that_is_not_utf8_is_shown_by_escapes(tmp_path):
    """In files, and on a terminal that shows ASCII only; where a library cannot take the name that is one sentence, not a traceback."""
    name = os.fsdecode(b"t\xfc.jsonl")
    formats.save(training_trace(), tmp_path / name)
    formats.save(training_trace(), tmp_path / os.fsdecode(b"t\xfc.parquet"))
    check = [sys.executable, "-m", "harness.cli", "check", name, "--golden", name]
    asked = ["--html", "o.html", "--json", "o.json", "--markdown", "o.md", "--junit", "o.xml"]
    plain = {"cwd": tmp_path, "env": os.environ | {"PYTHONIOENCODING": "ascii:strict"}}
    found = subprocess.run([*check, *asked], **plain, capture_output=True, timeout=600, check=False)

    assert (found.returncode, b"Traceback" in found.stderr) == (0, False), found.stderr
    assert b"t\\udcfc.jsonl" in found.stdout
    assert all("t\\udcfc.jsonl" in (tmp_path / page).read_text() for page in ("o.html", "o.json", "o.md"))

    found = run("stats", os.fsdecode(b"t\xfc.parquet"), **plain)
    assert found.returncode == 2
    assert found.stderr.endswith("is not UTF-8; rename it, or go by a link of another name [bad-input]\n")


def test_no_colour_in_pipes_and_with_no_color(tmp_path):
    """Pipes get no control codes; FORCE_COLOR asks for them; NO_COLOR wins."""
    path = tmp_path / "t.jsonl"
    formats.save(training_trace(), path)
    environment = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "FORCE_COLOR"}}

    assert "\x1b" not in run("stats", str(path), env=environment).stdout
    assert "\x1b" in run("stats", str(path), env=environment | {"FORCE_COLOR": "1"}).stdout
    assert "\x1b" not in run("stats", str(path), env=environment | {"FORCE_COLOR": "1", "NO_COLOR": "1"}).stdout


def test_quiet_is_only_data(tmp_path):
    """-q leaves stderr empty."""
    path = tmp_path / "t.jsonl"
    formats.save(training_trace(), path)
    found = run("-q", "stats", str(path))

    assert found.stderr == ""
    assert found.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [("stats", "t.jsonl"), ("--help",), ("replay", "--help"), ("--version",)])
def test_a_full_disk_is_one_sentence(tmp_path, words):
    """Output that finds no room is said in one sentence with exit 4, not in a traceback; help is output, too."""
    path = tmp_path / "t.jsonl"
    formats.save(training_trace(), path)
    with open("/dev/full", "wb") as full:
        found = subprocess.run(
            [sys.executable, "-m", "tracekit.cli", *words],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=600,
        )

    assert found.returncode == 4
    sentence = "the output could not be written: No space left on device; make room, or write elsewhere [cannot-run]"
    assert found.stderr.splitlines() == [f"tracekit: error: {sentence}"]
