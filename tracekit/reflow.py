"""Text brought to a width: lines broken at words, tables whose last columns go on below. Colour takes no room."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# How a line begins whose rest is to be typed.
COMMAND = "next: "
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_WORD = re.compile(r"( *)([^ ]+(?: %(?= |$))?)")
_GAP = 2
_INDENT = 4
# A line that is broken goes on below its last column, if that leaves so much room.
_ROOM = 24


def visible(text: str) -> int:
    """Columns that the text takes."""
    return len(_COLOUR.sub("", text)) if "\x1b" in text else len(text)


def padded(cell: str, columns: int, *, right: bool) -> str:
    """The cell with spaces on one side."""
    space = " " * (columns - visible(cell))
    return space + cell if right else cell + space


def stacked(lines: Sequence[Sequence[str]], widths: Sequence[int], columns: int | None) -> str:
    """Lines of padded cells, two spaces apart; columns that do not fit into `columns` stand below, indented.

    Args:
        lines: The cells of each, padded to `widths`.
        widths: Of the columns.
        columns: How many there are on the terminal; None: as many as needed.
    """
    groups = _groups(widths, columns)
    return "\n".join(
        (" " * (_INDENT if index else 0) + (" " * _GAP).join(line[i] for i in group)).rstrip()
        for line in lines
        for index, group in enumerate(groups)
    )


def _groups(widths: Sequence[int], columns: int | None) -> list[list[int]]:
    """Which columns stand beside each other."""
    groups: list[list[int]] = [[]]
    used = 0
    for index, size in enumerate(widths):
        if columns is not None and groups[-1] and used + _GAP + size > columns:
            groups.append([])
            used = _INDENT - _GAP
        used += size + (_GAP if groups[-1] or len(groups) > 1 else 0)
        groups[-1].append(index)
    return groups


def fitted(text: str, columns: int | None) -> str:
    """The text with every line that is longer broken at words; None leaves all as they are.

    A word that is longer than a line stays whole, so that names can be copied from the terminal, and so does a command: what
    follows `next:` is broken as a shell wants it, with a backslash.
    """
    if columns is None:
        return text
    return "\n".join(row for line in text.split("\n") for row in _broken(line, columns))


def _broken(line: str, columns: int) -> Iterator[str]:
    if visible(line) <= columns:
        yield line
        return
    first, hanging = _indents(line, columns)
    more = " \\" if line.startswith(COMMAND) else ""
    row, words = " " * first, _WORD.findall(line)
    for number, (gap, word) in enumerate(words):
        last = number == len(words) - 1
        if row.strip() and visible(row + gap + word) + (0 if last else len(more)) > columns:
            yield row + more
            fits = hanging + visible(word) <= columns
            row = " " * (hanging if fits else min(first + _GAP, hanging)) + word
        else:
            row = row + gap + word if row.strip() else row + word
    yield row


def _indents(line: str, columns: int) -> tuple[int, int]:
    """Where a line begins, and where its rest does: below its last column, or a little further in than the line itself."""
    plain = _COLOUR.sub("", line)
    begin = len(plain) - len(plain.lstrip())
    gaps = [match.end() for match in re.finditer(r"(?<=\S) {2,}(?=\S)", plain[: columns + 1])]
    fitting = [end for end in gaps if end <= columns - _ROOM]
    return begin, fitting[-1] if fitting else begin + _GAP
