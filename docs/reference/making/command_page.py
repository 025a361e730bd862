"""The page of a program: each verb with synopsis, options, exit codes and examples."""

from __future__ import annotations

import re
from collections.abc import Iterator

from making.commands import Argument, Command

# What the values of options are, by the word that stands for them.
VALUES = {
    "A… [vs] B…": "two traces or goldens, or several runs of each with the word vs between",
    "-- CMD": "a program and its arguments",
    "CELL=TRACE": "a scenario and a trace",
    "CELLS": "scenarios, separated by commas: buffered, cold, random, sequential, direct",
    "CRITERION": "a criterion's id, see [the criteria](criteria.md)",
    "DIR": "a directory",
    "DIR|RUN": "a directory, or traces",
    "DIR|URI": "a directory, or a prefix of a store: s3://bucket/prefix",
    "EXPR": "conditions, separated by commas: op=read,uri=*.npy,step=3..9,t=0s..5s,len>=4KiB",
    "F": "a format of traces",
    "FILE": "a file",
    "FILLING": "random or zero",
    "FROM=TO": "two paths or prefixes of URIs",
    "GLOB": "a pattern of file names; quote it",
    "ID": "a criterion's id, see [the criteria](criteria.md)",
    "IN": "a trace, a directory of traces, or a glob in quotes; - is standard input",
    "LEVEL": "1 to 19",
    "++KEY=VALUE": "a value of a DLIO file, as on Hydra's command line",
    "++workload.KEY=VALUE": "a value of a DLIO file, as on Hydra's command line",
    "N": "a whole number",
    "NAME": "a name",
    "NAME=VALUE": "a name and its value",
    "NAME|DIR": "a golden of `harness list`, or the directory of your own",
    "NAME|DIR|TRACE": "a golden of `harness list`, the directory of your own, or a recording",
    "N|P%": "a number of ops, or a share of them: 10 or 0.1%",
    "N|auto": "a whole number, or auto",
    "OUT": "a file; - is standard output",
    "PACE": "a pace of `tracekit replay`",
    "PARTS": "a directory of parts",
    "PATH": "a program",
    "SECONDS": "seconds, as a decimal number; of times that vary a distribution: normal(0.02, 0.002)",
    "SEED": "a whole number; the same one gives the same",
    "SHELL": "a shell",
    "SIZE": "bytes, or with a unit: 4KiB, 1.5MB, 2GiB; of sizes that vary a distribution: normal(mean=1MiB,stdev=64KiB)",
    "TEXT": "a sentence; quote it",
    "TIME": "a time with its unit: 60s, 500ms",
    "TITLE": "a few words; quote them",
    "TRACE": "a trace file (.jsonl, .jsonl.zst, .parquet, .tkc …); - is standard input where one is read",
    "UNIT": "ns, us, ms or s",
    "URI": "a path, or file://, direct://, s3://, az://",
    "VERSION": "2.0.0 or 3.x",
    "WORKLOAD": "a profile, a workload file, or the name of one that comes with tracekit",
    "X": "a number",
}
_HEAD = """\
# The command `{name}`

{about}

`{name} VERB --help` says the same in the terminal. `-q` (`--quiet`) before or after the verb leaves out progress and remarks. An
error is one sentence on standard error, with its slug in brackets: [errors and remarks](errors.md) lists them. Results go to standard output.
"""


def page(program: Command) -> str:
    """The page of a program."""
    verbs = [each for each in program.walk() if not each.below]
    parts = [_HEAD.format(name=program.name, about=program.about), _overview(program, verbs)]
    parts += [_section(each) for each in verbs]
    parts.append(_values(verbs))
    return "\n".join(parts)


def _overview(program: Command, verbs: list[Command]) -> str:
    rows = [f"| [`{each.name}`](#{_anchor(each)}) | {_cell(each.summary)} |" for each in verbs]
    return "\n".join(["| verb | |", "|---|---|", *rows, "", f"```text\n{program.examples}\n```", ""])


def _section(verb: Command) -> str:
    lines = [f"## {verb.name}", "", _prose(verb.about), "", f"```text\n{verb.synopsis}\n```", ""]
    for heading in dict.fromkeys(each.group for each in verb.arguments):
        lines += [f"*{heading}*", "", *_table([each for each in verb.arguments if each.group == heading]), ""]
    if verb.after:
        lines += [_prose(verb.after), ""]
    lines += ["*examples*", "", f"```text\n{verb.examples}\n```", "", f"*exit codes*: {_prose(verb.exits)}", ""]
    return "\n".join(lines)


def _table(arguments: list[Argument]) -> Iterator[str]:
    yield from ("| option | default | meaning |", "|---|---|---|")
    for each in arguments:
        again = each.repeats and "may be" not in each.meaning
        extra = [word for word, holds in (("required", each.required), ("repeatable", again)) if holds]
        meaning = each.meaning + (f" ({', '.join(extra)})" if extra else "")
        yield f"| `{_cell(each.spelled)}` | {_cell(each.default)} | {_cell(meaning)} |"


def _values(verbs: list[Command]) -> str:
    used = {each.value for verb in verbs for each in verb.arguments if each.value and not each.words} & VALUES.keys()
    rows = [f"| `{_cell(value)}` | {_cell(VALUES[value])} |" for value in sorted(used)]
    return "\n".join(["## Values", "", "| in the tables | is |", "|---|---|", *rows, ""])


def _prose(text: str) -> str:
    """Text as help has it: paragraphs are joined, what is set in columns stays as it is."""
    blocks = []
    for block in text.split("\n\n"):
        columns = re.search(r"^  ", block, re.MULTILINE)
        blocks.append(f"```text\n{block}\n```" if columns else _literal(re.sub(r"\s*\n\s*", " ", block)))
    return "\n\n".join(blocks)


def _literal(text: str) -> str:
    """Stars and angle brackets are what they are."""
    return re.sub(r"(?<!`)([*<_])(?![^`]*`[^`]*$)", r"\\\1", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*") if "`" not in text else text.replace("|", "\\|")


def _anchor(verb: Command) -> str:
    return verb.name.replace(" ", "-")  # as GitHub and MyST make it of the heading
