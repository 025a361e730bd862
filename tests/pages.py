"""Pages of the documentation, as what they promise: blocks to be run, and what these print.

A block in `sh` or `python` is run. A block in `output` right behind it is what it prints, but for what differs from run to run and
from machine to machine (numbers with their units, names of hosts and temporary files) and for what the page leaves out at a `…`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCED = re.compile(r"^```(?P<language>[a-z]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
# What follows from the data set and the program alone is compared as it stands: "240 files".
_COUNTS = r"(?!\s(?:files|images|processes|streams|steps|epochs)\b)"
_UNIT = r"(?:\s?(?:%|×|ns|µs|ms|s|min|B|[KMG]i?B|MB|kB)(?:/s)?(?![\w]))?"
_NUMBER = re.compile(rf"(?<![\w.])[-+×≤≥±]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.,]*\d){_COUNTS}{_UNIT}")
_PATH = re.compile(r"(?:/[\w.+-]+)+/(?=[\w.+-])")
_RULE = re.compile(r"[-─━=]{3,}")
# What is shown while something lasts: how often depends on how long it lasts.
_PROGRESS = re.compile(r"[a-z]+ .*\d.* · ")
LEFT_OUT = "…"
# How often a page is followed before it is found wrong: on a machine that others use a replay may be late.
TURNS = 3


@dataclass(frozen=True)
class Block:
    """A block that is run, and what the page says that it prints (None where it says nothing)."""

    language: str
    text: str
    shown: str | None


def blocks(page: Path) -> Iterator[Block]:
    """Every block of a page that is run, in order.

    Raises:
        ValueError: If a page shows output of nothing.
    """
    text = page.read_text(encoding="utf-8")
    found = list(_FENCED.finditer(text))
    for block, behind in zip(found, [*found[1:], None], strict=True):
        if block["language"] in {"sh", "python"}:
            answered = behind is not None and behind["language"] == "output"
            yield Block(block["language"], block["text"], behind["text"] if answered else None)
    asked = [(one, before) for before, one in zip([None, *found], found, strict=False) if one["language"] == "output"]
    for one, before in asked:
        if before is None or before["language"] not in {"sh", "python"}:
            raise ValueError(f"{page}: output of nothing, `{one['text'].splitlines()[0]}`")


def transcript(page: Path) -> list[Block]:
    """What the page shows as typed at a prompt, `$ command` and what it prints, in blocks of `console`."""
    text = page.read_text(encoding="utf-8")
    typed = "".join(one["text"] for one in _FENCED.finditer(text) if one["language"] == "console")
    parts = [part.partition("\n") for part in re.split(r"^\$ ", typed, flags=re.MULTILINE)[1:]]
    return [Block("console", command, shown or None) for command, _, shown in parts]


def problem(page: Path, run: Callable[[Block], subprocess.CompletedProcess[str]]) -> str | None:
    """Follow a page, block by block: the first that fails, or prints something else than the page shows; None if none does."""
    return next(filter(None, (_wrong(page, block, run(block)) for block in blocks(page))), None)


def _wrong(page: Path, block: Block, done: subprocess.CompletedProcess[str]) -> str | None:
    """What is wrong with a block that was run, with all that it printed (stderr within stdout)."""
    said = f"it ended with status {done.returncode}" if done.returncode else None
    said = said or (block.shown and mismatch(block.shown, done.stdout))
    return f"{page}:\n{block.text}\n--- {said}\n--- printed\n{done.stdout}" if said else None


def scrub(line: str) -> str:
    """A line without what is another each time."""
    return " ".join(_NUMBER.sub("#", _RULE.sub("---", _PATH.sub("", line))).split())


def mismatch(shown: str, printed: str) -> str | None:
    """The first line of a page that was not printed where it should be, as a sentence; None where all were.

    Lines follow each other as on the page; at `…` any number of lines may come between. What comes behind the last line shown
    counts only where the page does not end with `…`.
    """
    lines = [scrub(line) for line in printed.splitlines() if line.strip() and not _PROGRESS.match(line)]
    at, loose = 0, False
    for wanted in (line for line in shown.splitlines() if line.strip()):
        if wanted.strip() == LEFT_OUT:
            loose = True
            continue
        places = range(at, len(lines)) if loose else range(at, min(at + 1, len(lines)))
        found = next((place for place in places if _same(scrub(wanted), lines[place])), None)
        if found is None:
            there = lines[at] if at < len(lines) else "(the end)"
            return f"the page shows\n  {wanted}\nand printed was{' somewhere behind' if loose else ''}\n  {there}"
        at, loose = found + 1, False
    return None if loose or at == len(lines) else f"the page ends where this is printed:\n  {lines[at]}"


def _same(wanted: str, line: str) -> bool:
    """Whether a shown line is the printed one; one that ends with `…` is cut there."""
    if wanted.endswith(LEFT_OUT):
        return line.startswith(wanted[: -len(LEFT_OUT)].rstrip())
    return wanted == line
