"""A description as a file for people and programs: YAML with how each value was found beside it, and JSON."""

from __future__ import annotations

import os
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tracekit import __version__
from tracekit.units import counted
from tracekit.workload.custom import SECTION
from tracekit.workload.distil.description import Description, Tree, paths
from tracekit.workload.distil.dlio_part import dlio
from tracekit.workload.distil.found import Found

# 1: the first published layout.
DISTIL_VERSION = 1
_WIDTH, _COLUMN = 118, 40
_LEVELS = """\
Beside each value stands how sure it is, how it was found, from how many observations, and how far it can be off.
exact: it is there, op by op; high: estimated, hardly off; medium: off as said; low: a guess that fits; unknown: the recording
does not say, and a stand-in lets the workload run."""


_ARE = ("is", "are")


def workload(description: Description) -> str:
    """The whole file: our section, and DLIO's sections."""
    head = [
        f"tracekit {__version__} distilled this from {description.source} ({description.about}).",
        " ".join(_LEVELS.splitlines()),
        f"Its {'objects' if '://' in description.places else 'files'} were in {description.places}; where --data says nothing, files of the same sizes are made.",
    ]
    if description.ranks > 1:
        head.append(f"{description.ranks} processes trained: run it with --ranks {description.ranks}.")
    head += [f"Not said by the recording: {sentence}." for sentence in description.unsaid()]
    if description.left_out:
        head.append(f"Read, and not part of it: {_few(description.left_out)}.")
    return "\n".join([*_comments(head), *_lines({SECTION: description.own}), "", *dlio_lines(description)]) + "\n"


def dlio_text(description: Description) -> str:
    """The DLIO file alone."""
    head = [f"tracekit {__version__} distilled this from {description.source} ({description.about})."]
    return "\n".join([*_comments(head), *dlio_lines(description)]) + "\n"


def dlio_lines(description: Description) -> list[str]:
    """DLIO's sections with a line about them."""
    head = ["The same for DLIO 2.0.0 (and 3.x, whose names tracekit dlio export writes), as far as it can say it."]
    return [*_comments(head), *_lines(dlio(description))]


def to_json(description: Description) -> dict[str, Any]:
    """All values with their confidence, by path."""
    whole = {SECTION: description.own, "dlio": dlio(description)}
    return {
        "distil": DISTIL_VERSION,
        "source": description.source,
        "mode": description.mode,
        "ranks": description.ranks,
        "keys": {path: found.to_json() for path, found in paths(whole)},
        "unknown": description.unsaid(),
        "left_out": list(description.left_out),
        "beside": description.beside,
        "made": description.made,
    }


def beside(description: Description) -> str:
    """What a check of the run against the recording would count and the workload does not do; empty where there is nothing."""
    sentences = []
    if description.made:
        sentences.append(
            f"{counted(description.made, 'write')} of the data itself {_ARE[description.made != 1]} not in the workload, and harness check "
            "would count them against its run: to judge the reads alone, record again now that the data is there"
        )
    if description.beside:
        what = counted(description.beside, "read or write", "reads and writes")
        pattern = shlex.quote(os.path.join(description.places, "*"))
        sentences.append(
            f"{what} of other files {_ARE[description.beside != 1]} not in the workload, and harness check would count them against its "
            f"run: to judge the data alone, record with --include {pattern}"
        )
    return "\n".join(sentences)


def following(description: Description, file: str) -> str:
    """What to type next."""
    ranks = f" --ranks {description.ranks}" if description.ranks > 1 else ""
    source = shlex.quote(description.source)
    # Made in a temporary directory they would be files, and not what was recorded.
    scheme, far, place = description.places.partition("://")
    data = (
        f" --data {shlex.quote(f'{scheme}://{place}.distilled' if place else f'{scheme}://BUCKET/PREFIX')}"
        if far
        else ""
    )
    return (
        f"tracekit run {shlex.quote(file)}{data}{ranks} -o run.jsonl && "
        f"harness check run.jsonl --golden {source} --mode {description.mode}"
    )


def _few(names: Any) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _comments(lines: list[str]) -> list[str]:
    return [f"# {row}" for line in lines for row in textwrap.wrap(line, _WIDTH - 2, break_long_words=False)]


def _lines(tree: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    indent, said = "  " * depth, ""
    for key, value in tree.items():
        if isinstance(value, Found):
            yield from _line(indent, key, value, "as above" if value.remark() == said else value.remark())
            said = value.remark()
        else:
            yield f"{indent}{key}:"
            yield from _lines(value, depth + 1)


def _line(indent: str, key: str, found: Found, remark: str) -> Iterator[str]:
    text = _plain(found.value)
    line = f"{indent}{key}: {text}"
    if len(line) > _WIDTH - 30:
        yield f"{indent}# {remark}"
        yield from textwrap.wrap(line, _WIDTH, subsequent_indent=indent + "  ", initial_indent="", drop_whitespace=True)
    else:
        yield f"{line.ljust(_COLUMN)} # {remark}"


def _plain(value: Any) -> str:
    """A value as YAML, on one line; times are numbers where they can be."""
    if isinstance(value, str):
        try:
            return repr(float(value)) if value.strip() else "''"
        except ValueError:
            pass
    return (
        yaml.safe_dump(value, default_flow_style=True, width=1 << 30).removesuffix("\n").removesuffix("\n...").strip()
    )


__all__ = ["DISTIL_VERSION", "Tree", "dlio_text", "following", "to_json", "workload"]
