"""Docstrings in Google's form, as Markdown."""

from __future__ import annotations

import inspect
import re

_HEADING = re.compile(r"^(Args|Returns|Raises|Yields):$")
_ENTRY = re.compile(r"^(\*{0,2}[\w.]+): (.*)$")


def sections(thing: object) -> dict[str, str]:
    """The parts of a docstring by heading; what stands before the first is under ''."""
    found: dict[str, list[str]] = {"": []}
    heading = ""
    for line in (inspect.getdoc(thing) or "").splitlines():
        if match := _HEADING.match(line):
            heading = match[1]
            found[heading] = []
        elif heading and line and not line.startswith(" "):
            heading = ""
            found[""].append(line)
        else:
            found[heading].append(line)
    return {name: inspect.cleandoc("\n".join(lines)) for name, lines in found.items()}


def arguments(thing: object, heading: str = "Args") -> dict[str, str]:
    """The entries of a docstring's section: name and text, in one line."""
    entries: dict[str, str] = {}
    name = ""
    for line in sections(thing).get(heading, "").splitlines():
        if match := _ENTRY.match(line):
            name, entries[match[1]] = match[1], match[2]
        elif name:
            entries[name] += f" {line.strip()}"
    return entries
