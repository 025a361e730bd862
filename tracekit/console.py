"""The only module that knows about terminals: talk goes to stderr, data to stdout, colour and progress only where wanted.

What is shown on a terminal fits its width: long lines are broken at words, tables that are too wide go on below. Everywhere
else lines are left as they are, for the programs that read them.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TextIO, cast

from tracekit.progress import Step
from tracekit.reflow import fitted, padded, stacked, visible
from tracekit.units import format_bytes

_STYLES = {"good": "32", "bad": "31", "warn": "33", "path": "36", "bold": "1", "dim": "2"}
_LINE_EVERY_S = 10.0
_LIVE_EVERY_S = 0.1
_LIVE_AFTER_S = 0.5
_LEAST_ROWS = 6

_quiet = False
# Whether progress is left out, too.
_still = False
# Whether a line of progress stands on the terminal, to be cleared before anything else is said.
_drawn = False


def open_streams() -> None:
    """Open nothing in place of streams that the shell has closed (`>&-`), so that no file of ours gets their numbers.

    Programs that we start find them closed, as the shell wanted: what Python opens is not inherited. What a terminal's encoding
    cannot show is written as an escape.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _nothing(mode))
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def set_quiet(*, quiet: bool, still: bool | None = None) -> None:
    """Leave out remarks (errors and results are never left out), and progress as `still` says: as with remarks, if it says nothing."""
    global _quiet, _still
    _quiet, _still = quiet, quiet if still is None else still


def say(text: str) -> None:
    """A remark for the person at the terminal (stderr)."""
    if not _quiet:
        _talk(text)


def warn(text: str) -> None:
    """Something about this run that must not be overlooked (stderr, also when quiet)."""
    _talk(f"{paint('warning:', 'warn', sys.stderr)} {text}")


def complain(program: str, text: str) -> None:
    """An error, as one sentence (stderr, also when quiet)."""
    _talk(f"{program}: {paint('error:', 'bad', sys.stderr)} {text}")


def pass_on(text: str) -> None:
    """What a program of ours said, as it said it (stderr, also when quiet); nothing where it said nothing."""
    if text:
        _talk(text)


def show(text: str) -> None:
    """A result (stdout); when its reader went away (`| head`) it is dropped, and the verb's exit code still counts."""
    _clear()
    try:
        print(fitted(text, width(sys.stdout)), flush=True)
    except BrokenPipeError:
        sys.stdout = None  # or the interpreter would try again at its end, and fail


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """The text in a style (`good`, `bad`, `warn`, `path`, `bold`, `dim`) where the stream shows colour, else unchanged."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if _has_colour(stream or sys.stdout) else text


def is_live(stream: TextIO | None = None) -> bool:
    """Whether a line can be rewritten in place on the stream."""
    return (stream or sys.stderr).isatty() and os.environ.get("TERM") != "dumb"


def width(stream: TextIO | None) -> int | None:
    """How many columns the stream shows; None where lines may have any length: it is no terminal."""
    if stream is None or not stream.isatty():
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def table(rows: Sequence[Sequence[str]], header: Sequence[str], *, right: Sequence[int] = ()) -> str:
    """Rows under a header in aligned columns, two spaces apart; columns in `right` (by position) are right-aligned.

    Cells may carry colour; their visible width counts. Where the terminal is too narrow, the columns that do not fit stand below
    the others, indented.
    """
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(visible(line[column]) for line in lines) for column in range(len(header))]
    cells = [[padded(cell, widths[i], right=i in right) for i, cell in enumerate(line)] for line in lines]
    return stacked(cells, widths, width(sys.stdout))


class Progress:
    """How far a long job is: a live line on a terminal, one line in ten seconds elsewhere, nothing when quiet.

    Args:
        label: What is being done, in a word or two.
        total: How many units there are; None when nobody knows.
        unit: What is counted; `B` is bytes; `s` is the time that passes, which has no rate.
    """

    def __init__(self, label: str, total: int | None = None, unit: str = "ops") -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self._start = time.monotonic()
        self._live = is_live()
        self._next = self._start + (_LIVE_AFTER_S if self._live else _LINE_EVERY_S)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _clear()

    @property
    def elapsed_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._start

    def update(self, done: int, *notes: str, left_s: float | None = None) -> None:
        """Say that `done` units are done; cheap to call often.

        Args:
            done: Units.
            notes: What else to say; where a line is narrow, the last are left out.
            left_s: The time left, where a schedule says it; once that is over, and else, it is guessed from the rate.
        """
        now = time.monotonic()
        if _still or now < self._next:
            return
        self._next = now + (_LIVE_EVERY_S if self._live else _LINE_EVERY_S)
        parts = [*self._parts(done, now - self._start, left_s), *filter(None, notes)]
        if self._live:
            _draw(_fitting(parts, (width(sys.stderr) or 80) - 1))
        else:
            _write(f"{_BETWEEN.join(parts)}\n")

    def _parts(self, done: int, elapsed_s: float, left_s: float | None) -> list[str]:
        rate = done / elapsed_s if elapsed_s > 0 else 0.0
        parts = [f"{self.label} {self._amount(done)}"]
        if self.total:
            parts[0] += f"/{self._amount(self.total)}{self._noun()} ({100 * done / self.total:.0f} %)"
            # A start that was slow (opening, the first batch) says nothing about the rest.
            if left_s is not None and left_s > 0:
                parts.append(f"{_lasting(left_s)} left")
            elif rate > 0 and 100 * done >= self.total:
                parts.append(f"{_lasting((self.total - done) / rate)} left")
        else:
            parts[0] += self._noun()
        return [*parts, f"{self._amount(rate)}{self._noun()}/s"] if rate > 0 and self.unit != "s" else parts

    def _amount(self, count: float) -> str:
        if self.unit == "B":
            return format_bytes(count)
        return f"{count:,.0f}" if count >= 10 or float(count).is_integer() else f"{count:.1f}"

    def _noun(self) -> str:
        return "" if self.unit == "B" else f" {self.unit}"


class StatusRow:
    """The lowest row of the terminal, kept for a line of ours while a program of its own writes above it.

    The terminal scrolls the rows above only (DECSTBM), as package managers do it; `close` gives the row back. Nothing is drawn
    where stderr is no terminal that can, or one of a few rows.
    """

    def __init__(self) -> None:
        self._rows = 0

    def draw(self, *parts: str) -> None:
        """Show parts of a line, as many as fit."""
        rows = _height() if is_live() and not _still else 0
        if rows < _LEAST_ROWS:
            return
        text = "" if rows == self._rows else f"\n\x1b7\x1b[1;{rows - 1}r\x1b8\x1b[1A"
        self._rows = rows
        line = _fitting(parts, (width(sys.stderr) or 80) - 1)
        _write(f"{text}\x1b7\x1b[{rows};1H\x1b[K{line}\x1b8")

    def close(self) -> None:
        """Give the row back, empty."""
        if self._rows:
            _write(f"\x1b7\x1b[r\x1b[{self._rows};1H\x1b[K\x1b8")
            self._rows = 0


class Follower:
    """Shows the steps of `tracekit.progress`: a line for each piece of work, of several at once the latest on the terminal."""

    def __init__(self) -> None:
        self._works: dict[str, Progress] = {}

    def __call__(self, step: Step) -> None:
        """Show a step."""
        work = self._works.get(step.label)
        if work is None:
            work = self._works[step.label] = Progress(step.label, step.total, step.unit)
        if step.total is not None and step.done >= step.total:
            self._works.pop(step.label, None)
            _clear()
        elif step.done:
            work.update(step.done, *step.notes)


_BETWEEN = " · "


def _nothing(mode: str) -> TextIO:
    return cast("TextIO", open(os.devnull, mode, encoding="utf-8"))


def _talk(text: str) -> None:
    _clear()
    _write(f"{fitted(text, width(sys.stderr))}\n")


def _draw(line: str) -> None:
    global _drawn  # noqa: PLW0603 -- one process has one terminal
    _write(f"\r\x1b[K{line}")
    _drawn = True


def _clear() -> None:
    global _drawn  # noqa: PLW0603 -- one process has one terminal
    if _drawn:
        _drawn = False
        _write("\r\x1b[K")


def _write(text: str) -> None:
    try:
        print(text, end="", file=sys.stderr, flush=True)
    except OSError:
        # Talk that nobody can hear (the reader went away, the disk is full) changes neither what is done nor how it ends; the
        # interpreter would try again at its end, and fail.
        sys.stderr = _nothing("w")


def _height() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).lines
    except (OSError, ValueError):
        return 0


def _fitting(parts: Sequence[str], columns: int) -> str:
    """As many parts as fit; the first is cut where even that does not."""
    text = parts[0][: max(0, columns)]
    for part in parts[1:]:
        if len(text) + len(_BETWEEN) + len(part) > columns:
            break
        text += _BETWEEN + part
    return text


def _lasting(seconds: float) -> str:
    """A time to come, as exact as such a guess is."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _has_colour(stream: TextIO) -> bool:
    """The conventions of no-color.org, force-color.org and bixense.com/clicolors, in this order."""
    if os.environ.get("NO_COLOR"):
        return False
    if any(os.environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return is_live(stream) and os.environ.get("CLICOLOR") != "0"
