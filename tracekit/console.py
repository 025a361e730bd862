"""The only module that knows about terminals: talk goes to stderr, data to stdout, colour and progress only where wanted."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TextIO

_STYLES = {"good": "32", "bad": "31", "warn": "33", "path": "36", "bold": "1", "dim": "2"}
_LINE_EVERY_S = 10.0
_LIVE_EVERY_S = 0.1

_quiet = False


def set_quiet(*, quiet: bool) -> None:
    """Leave out progress and remarks (errors and results are never left out)."""
    global _quiet  # noqa: PLW0603 -- one process has one terminal
    _quiet = quiet


def say(text: str) -> None:
    """A remark for the person at the terminal (stderr)."""
    if not _quiet:
        print(text, file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """Something about this run that must not be overlooked (stderr, also when quiet)."""
    print(f"{paint('warning:', 'warn', sys.stderr)} {text}", file=sys.stderr, flush=True)


def complain(program: str, text: str) -> None:
    """An error, as one sentence (stderr, also when quiet)."""
    print(f"{program}: {paint('error:', 'bad', sys.stderr)} {text}", file=sys.stderr, flush=True)


def show(text: str) -> None:
    """A result (stdout); when its reader went away (`| head`) it is dropped, and the verb's exit code still counts."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        sys.stdout = None  # or the interpreter would try again at its end, and fail


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """The text in a style (`good`, `bad`, `warn`, `path`, `bold`, `dim`) where the stream shows colour, else unchanged."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if _has_colour(stream or sys.stdout) else text


def is_live(stream: TextIO | None = None) -> bool:
    """Whether a line can be rewritten in place on the stream."""
    chosen = stream or sys.stderr
    return chosen.isatty() and os.environ.get("TERM") != "dumb"


def table(rows: Sequence[Sequence[str]], header: Sequence[str], *, right: Sequence[int] = ()) -> str:
    """Rows under a header in aligned columns, two spaces apart; columns in `right` (by position) are right-aligned.

    Cells may carry colour; their visible width counts.
    """
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(_padded(cell, widths[i], right=i in right) for i, cell in enumerate(line)).rstrip() for line in lines
    )


class Progress:
    """How far a long job is: a live line on a terminal, one line in ten seconds elsewhere, nothing when quiet.

    Args:
        label: What is being done, in a word or two.
        total: How many units there are; None when nobody knows.
        unit: What is counted.
    """

    def __init__(self, label: str, total: int | None = None, unit: str = "ops") -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self._start = self._last = time.monotonic()
        self._live = is_live()
        self._drawn = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    @property
    def elapsed_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._start

    def update(self, done: int, *notes: str) -> None:
        """Say that `done` units are done, with notes after it; cheap to call often. Where a line is narrow, the last are left out."""
        now = time.monotonic()
        if _quiet or now - self._last < (_LIVE_EVERY_S if self._live else _LINE_EVERY_S):
            return
        self._last = now
        parts = [*self._parts(done, now - self._start), *filter(None, notes)]
        if self._live:
            print(f"\r\x1b[K{_fitted(parts, _columns() - 1)}", end="", file=sys.stderr, flush=True)
            self._drawn = True
        else:
            print(_BETWEEN.join(parts), file=sys.stderr, flush=True)

    def _parts(self, done: int, elapsed_s: float) -> list[str]:
        rate = done / elapsed_s if elapsed_s > 0 else 0.0
        parts = [f"{self.label} {done:,}"]
        if self.total:
            parts[0] += f"/{self.total:,} {self.unit} ({100 * done / self.total:.0f} %)"
            # A start that was slow (opening, the first batch) says nothing about the rest.
            if rate > 0 and 100 * done >= self.total:
                parts.append(f"{(self.total - done) / rate:.0f} s left")
        else:
            parts[0] += f" {self.unit}"
        return [*parts, f"{rate:,.0f} {self.unit}/s"]


_BETWEEN = " · "


def _fitted(parts: Sequence[str], width: int) -> str:
    """As many parts as fit; the first is cut where even that does not."""
    text = parts[0][: max(0, width)]
    for part in parts[1:]:
        if len(text) + len(_BETWEEN) + len(part) > width:
            break
        text += _BETWEEN + part
    return text


def _has_colour(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_live(stream)


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _width(cell: str) -> int:
    if "\x1b" not in cell:
        return len(cell)
    visible = cell
    for code in (*_STYLES.values(), "0"):
        visible = visible.replace(f"\x1b[{code}m", "")
    return len(visible)


def _padded(cell: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(cell))
    return space + cell if right else cell + space
