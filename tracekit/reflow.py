"""Text brought to a width: lines broken at words, tables whose last columns go on below. Colour takes no room."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

# How a line begins whose rest is to be typed.
COMMAND = "next: "
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_APART = re.compile(r"(?<=\S) {3,}(?=\S)")
# A number and its unit are one word.
_WORD = re.compile(r"( *)([^ ]*\d (?:%|[nµm]?s|min|h|(?:[KMGT]i?)?B(?:/s)?)[,;:.)]*(?= |$)|[^ ]+(?: %(?= |$))?)")
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

    The last column stays where it has room for some words, and is to be broken there (see `fitted`).

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
        room = _ROOM if index == len(widths) - 1 and len(groups) == 1 else size
        if columns is not None and groups[-1] and used + _GAP + min(size, room) > columns:
            groups.append([])
            used = _INDENT - _GAP
        used += size + (_GAP if groups[-1] or len(groups) > 1 else 0)
        groups[-1].append(index)
    return groups


def refilled(text: str, columns: int | None) -> str:
    """The text of a help with its paragraphs, which were broken for a wider terminal, broken anew; None leaves all as it is.

    An example that is too long has what is said of it below, so that it can be copied.
    """
    if columns is None:
        return text
    rows: list[str] = []
    paragraph: list[str] = []
    for line in [*text.split("\n"), ""]:
        if line and not line.startswith(" "):
            paragraph.append(line)
            continue
        rows += _filled(paragraph, columns)
        paragraph = []
        command, _, about = (line, "", "") if visible(line) <= columns else _APART.sub("\n", line, 1).partition("\n")
        rows += [command, f"{' ' * 2 * _INDENT}{about}"] if about else [command]
    return "\n".join(rows[:-1])


def _filled(paragraph: Sequence[str], columns: int) -> Sequence[str]:
    if all(visible(line) <= columns for line in paragraph):
        return paragraph
    hanging = " " * (_GAP if paragraph[0].startswith("usage:") else 0)
    return textwrap.wrap(
        " ".join(paragraph), columns, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
    )


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
