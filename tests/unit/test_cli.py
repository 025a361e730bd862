"""The command: finding verbs, turning errors into sentences and exit codes."""

from __future__ import annotations

import errno
import sys
import types

import pytest

from tracekit import cli, console
from tracekit.errors import CannotRunError, InputError, RecorderError


@pytest.fixture
def program(monkeypatch):
    """Run a program whose one verb does what is asked."""

    def run(action, *argv):
        module = types.ModuleType("fake_verb")
        module.configure = lambda parser: parser.add_argument("--x")
        module.run = action
        monkeypatch.setitem(sys.modules, "fake_verb", module)
        return cli.run_verbs(
            "prog", "What it is.", "example", {"go": ("fake_verb", "go somewhere")}, list(argv) or ["go"]
        )

    yield run
    console.set_quiet(quiet=False)


def _raise(error):
    raise error


@pytest.mark.parametrize("code", [0, 1, 3, 127])
def test_the_verb_decides_the_exit_code(program, code):
    """What the verb returns is the exit code."""
    assert program(lambda _: code) == code


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("no such thing", "look again"), 2, "prog: error: no such thing; look again [bad-input]\n"),
        (CannotRunError("not allowed"), 4, "prog: error: not allowed [cannot-run]\n"),
        (RecorderError("it broke"), 125, "prog: error: it broke [recorder]\n"),
        (KeyboardInterrupt(), 130, "prog: error: interrupted\n"),
    ],
)
def test_errors_are_one_sentence_and_their_code(program, capsys, error, code, text):
    """Errors of ours and Ctrl-C end with a sentence on stderr and the code of their kind."""
    assert program(lambda _: _raise(error)) == code
    found = capsys.readouterr()

    assert (found.out, found.err) == ("", text)


def test_a_quiet_command_does_not_silence_the_next(program, capsys):
    """In one process, also where the quiet one ends in an error."""
    for action in (lambda _: 0, lambda _: _raise(InputError("no such thing", "look again"))):
        program(action, "-q", "go")
        program(lambda _: console.say("next: go on") or 0)
        assert capsys.readouterr().err.endswith("next: go on\n")


def test_errors_that_are_not_ours_are_not_hidden(program):
    """A bug is a traceback, not a polite sentence."""
    with pytest.raises(ZeroDivisionError):
        program(lambda _: 1 // 0)


def test_a_reader_that_went_away_is_success(program, monkeypatch):
    """BrokenPipeError ends quietly with 0 and leaves no stdout to flush."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)

    assert program(lambda _: _raise(BrokenPipeError())) == 0
    assert sys.stdout is None


def test_options_reach_the_verb(program):
    """Arguments are parsed by the verb's own parser; -q before the verb makes the console quiet."""
    seen = []
    assert program(lambda args: seen.append((args.x, args.quiet)) or 0, "-q", "go", "--x", "5") == 0

    assert seen == [("5", True)]


def test_an_unknown_verb_is_answered(program, capsys):
    """The nearest verb is proposed."""
    assert program(lambda _: 0, "goo") == 2
    assert "there is no verb 'goo'; did you mean 'go'?" in capsys.readouterr().err


def test_help_names_every_verb_without_importing_it(capsys, monkeypatch):
    """--help lists all verbs; none of their modules is loaded for it."""
    for module, _ in cli.VERBS.values():
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    text = capsys.readouterr().out

    assert caught.value.code == 0
    assert all(name in text for name in cli.VERBS)
    assert not any(module in sys.modules for module, _ in cli.VERBS.values())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "/x/y"),
            "the system refused /x/y: Permission denied; look",
        ),
        (OSError(errno.EMFILE, "Too many open files"), "the system refused something: Too many open files; look"),
        (
            FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/var/tmp']"),
            "there is no directory for temporary files; set TMPDIR",
        ),
        (TimeoutError(), "the system refused something: TimeoutError; look"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "the output could not be written: No space left on device; make",
        ),
    ],
)
def test_what_the_system_refuses_is_one_sentence(program, capsys, error, words):
    """Whatever nobody foresaw: what, why, what to do, with status 4 and no traceback."""
    stdout = sys.stdout
    try:
        assert program(lambda _: _raise(error)) == 4
    finally:
        sys.stdout = stdout
    said = capsys.readouterr().err
    assert said.startswith(f"prog: error: {words}")
    assert said.count("\n") == 1
