"""What help and refused arguments say: defaults, exit codes, examples that parse, the nearest word for one that is not known."""

from __future__ import annotations

import argparse
import re
import shlex

import pytest

from harness import cli as harness_cli
from tracekit import cli as tracekit_cli
from tracekit import teaching
from tracekit.errors import UsageError

PROGRAMS = {"tracekit": tracekit_cli, "harness": harness_cli}


def walk(parser):
    """A parser and all below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from walk(below)


@pytest.fixture(scope="module")
def verbs():
    """The parser of every verb, by its full name."""
    return {each.prog: each for cli in PROGRAMS.values() for each in walk(cli.whole_parser())}


def examples(parser):
    """The commands among the examples of a help text, without the remarks beside them."""
    for line in (parser.epilog or "").splitlines():
        command = re.split(r"\s{2,}", line.strip(), maxsplit=1)[0]
        command = re.sub(r"\s[>|&].*$", "", command)
        if re.match(r"(mpirun -n \d+ )?(tracekit|harness) ", command):
            yield re.sub(r"^mpirun -n \d+ ", "", command)


def test_every_verb_has_an_example_that_it_takes(verbs):
    """Each example of each help text is parsed by the program it names; none is left out for its form."""
    count = 0
    for name, parser in verbs.items():
        commands = list(examples(parser))
        assert commands, name
        for command in commands:
            program, *words = shlex.split(command)
            whole = PROGRAMS[program].whole_parser()
            args = tracekit_cli._parsed(whole, words)
            assert args.verb in words
            count += 1
    assert count > 80


def test_help_names_every_default_and_the_exit_codes(verbs):
    """Where leaving an option out means something, help says what; every verb says what its exit status means."""
    for name, parser in verbs.items():
        for action in parser._actions:
            if teaching.has_default(action):
                assert "default" in str(action.help), (name, action.option_strings)
        if not any(isinstance(action, argparse._SubParsersAction) for action in parser._actions):
            assert "exit " in parser.format_help().lower(), name


def test_help_is_printable_and_shows_no_formatting_of_its_own(verbs):
    """Percent signs are expanded; no line of prose is wider than a terminal that is not narrow."""
    for name, parser in verbs.items():
        text = parser.format_help()
        assert "%(" not in text, name
        assert "%%" not in text, name


@pytest.fixture
def refused(verbs):
    """The sentence with which a verb refuses words."""

    def refuse(name, *words):
        program, *path = name.split()
        with pytest.raises(UsageError) as caught:
            tracekit_cli._parsed(PROGRAMS[program].whole_parser(), [*path, *words])
        return str(caught.value)

    return refuse


@pytest.mark.parametrize(
    ("verb", "words", "said"),
    [
        ("tracekit replay", ["t.jsonl", "--pase", "think"], "there is no option --pase (did you mean --pace?)"),
        ("tracekit dlio lint", ["f", "--strikt"], "there is no option --strikt (did you mean --strict?)"),
        ("tracekit dlio", ["lnt", "f"], "there is no 'lnt' for lint|export (did you mean 'lint'?)"),
        ("tracekit convert", ["a", "b", "--to", "parqet"], "there is no 'parqet' for --to (did you mean 'parquet'?)"),
        ("tracekit run", ["torch-like", "--format", "jsn"], "there is no 'jsn' for --format (did you mean 'json'?)"),
        ("tracekit run", ["torch-like", "--norms", "x"], "there is no 'x' for --norms (there are: mlperf)"),
        ("tracekit replay", ["t.jsonl", "--loop", "two"], "--loop takes a whole number, not 'two'"),
        ("tracekit replay", ["t.jsonl", "--speed", "fast"], "--speed takes a number, not 'fast'"),
        ("harness check", ["t.jsonl", "--gloden", "g"], "there is no option --gloden (did you mean --golden?)"),
        ("harness show", ["a", "b"], "'b' is one argument too many"),
        (
            "harness learn",
            ["t", "-o", "d", "--host", "share"],
            "there is no 'share' for --host (did you mean 'shared'?)",
        ),
    ],
)
def test_a_wrong_word_is_answered_with_the_nearest(refused, verb, words, said):
    """One sentence with what is wrong, the nearest that is right, and where to read on."""
    assert refused(verb, *words) == f"{said}; see {verb} --help"


def test_every_option_of_every_verb_is_proposed_when_a_letter_is_missing(verbs):
    """`--golde` is answered with `--golden`, for each option there is."""
    for name, parser in verbs.items():
        for option in parser._option_string_actions:
            if option.startswith("--") and len(option) > 5:
                wrong = f"{option[:3]}{option[4:]}"
                sentence = teaching.not_known([wrong], parser)
                assert "did you mean --" in sentence, (name, wrong)


def test_record_refuses_a_wrong_option_with_its_own_status(capsys):
    """A status of 2 could be that of the program that is recorded."""
    with pytest.raises(SystemExit) as caught:
        tracekit_cli.main(["record", "--engine", "nativ", "--", "true"])

    assert caught.value.code == 125
    assert "there is no 'nativ' for --engine (did you mean 'native'?)" in capsys.readouterr().err
