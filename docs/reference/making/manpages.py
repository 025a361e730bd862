"""Man pages, from the commands as records: one for a program, one for each verb."""

from __future__ import annotations

import re
from collections.abc import Iterator

import tracekit
from making.commands import Argument, Command


def name_of(command: Command) -> str:
    """The page's name: tracekit-dlio-lint."""
    return command.name.replace(" ", "-")


def page(command: Command, program: Command) -> str:
    """The page of a command.

    Args:
        command: The program or a verb of it.
        program: The program.
    """
    return "\n".join(_lines(command, program)) + "\n"


def _lines(command: Command, program: Command) -> Iterator[str]:
    name = name_of(command)
    yield '.\\" Made by docs/reference/generate.py from the options themselves.'
    yield f'.TH {name.upper()} 1 "" "tracekit {tracekit.__version__}" "tracekit manual"'
    yield from (".SH NAME", f"{_escaped(name)} \\- {_escaped(command.summary)}")
    yield from (".SH SYNOPSIS", ".nf", _escaped(command.synopsis), ".fi")
    yield ".SH DESCRIPTION"
    yield from _prose(command.about)
    if command.below:
        yield ".SH VERBS"
        for each in command.below:
            yield from (".TP", f"\\fB{_escaped(each.name.split()[-1])}\\fR", _escaped(each.summary))
    for heading in dict.fromkeys(each.group for each in command.arguments):
        yield f".SH {_escaped(heading.upper())}"
        for each in command.arguments:
            if each.group == heading:
                yield from _argument(each)
    if command.after:
        yield ".SH NOTES"
        yield from _prose(command.after)
    if command.exits:
        yield ".SH EXIT STATUS"
        yield from _prose(command.exits)
    yield from (".SH EXAMPLES", ".nf", *(_escaped(line.strip()) for line in command.examples.splitlines()), ".fi")
    yield ".SH SEE ALSO"
    others = [each for each in (program, *command.below) if each is not command]
    for number, each in enumerate(others, 1):
        yield f".BR {_escaped(name_of(each))} (1){',' if number < len(others) else ''}"


def _argument(argument: Argument) -> Iterator[str]:
    names = ", ".join(f"\\fB{_escaped(name)}\\fR" for name in argument.names)
    value = f"\\fI{_escaped(argument.value)}\\fR" if argument.value else ""
    default = f" (default: {argument.default})" if argument.default else ""
    yield from (".TP", f"{names} {value}".strip(), _escaped(argument.meaning + default))


def _prose(text: str) -> Iterator[str]:
    """Paragraphs; what is set in columns stays as it is."""
    for number, block in enumerate(text.split("\n\n")):
        if number:
            yield ".PP"
        if re.search(r"^  ", block, re.MULTILINE):
            yield from (".nf", *map(_escaped, block.splitlines()), ".fi")
        else:
            yield from map(_escaped, block.splitlines())


def _escaped(text: str) -> str:
    """Text in which nothing is a request: backslashes, hyphens to be copied, a dot or quote that begins a line."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    text = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", text)
    return f"\\&{text}" if text[:1] in {".", "'"} else text
