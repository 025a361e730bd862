"""What `tracekit record` shows while the program runs."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from tracekit import console
from tracekit.units import counted, format_bytes, format_count, format_rate

if TYPE_CHECKING:
    from tracekit.record.launch import Run
    from tracekit.record.live import Live

CHOICES = ("on", "off")
_FIRST_S, _EVERY_S, _EVERY_ELSEWHERE_S = 2.0, 1.0, 10.0
# Looking may take this share of a processor.
_SHARE = 0.02


class Watch:
    """Looks at a run now and then, and shows how far it is; called in between it does nothing.

    Args:
        run: The run.
        live: One of `CHOICES`.
    """

    def __init__(self, run: Run, live: str) -> None:
        self._run = run
        self._row = console.StatusRow()
        self._on_terminal = console.is_live(sys.stderr)
        self._every = _EVERY_S if self._on_terminal else _EVERY_ELSEWHERE_S
        self._begin = time.monotonic()
        first = max(_FIRST_S, self._every) if live == "on" and run.engine in ("native", "python") else float("inf")
        self._next = self._begin + first
        self._live: Live | None = None
        self._before = (self._begin, 0, 0)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._row.close()

    def __call__(self) -> None:
        """Look and show, where it is time to."""
        now = time.monotonic()
        if now < self._next:
            return
        try:
            self._show(self._parts(now))
        except Exception:  # what is shown meanwhile is no reason to lose the recording
            self._next = float("inf")
            return
        self._next = now + max(self._every, (time.monotonic() - now) / _SHARE)

    def _show(self, parts: list[str]) -> None:
        if self._on_terminal:
            self._row.draw(*parts)
        else:
            console.say(f"tracekit: {' · '.join(parts)}")

    def _parts(self, now: float) -> list[str]:
        if self._live is None:
            from tracekit.record.live import live

            self._live = live(self._run.engine, self._run.parts, self._run.globs())
        self._live.look()
        sums = self._live.sums
        (then, ops, moved), self._before = self._before, (now, sums.ops, sums.read + sums.written)
        # Names are left out where the trace is to have digests of them.
        names = [f"{name} {100 * share:.0f} %" for name, share in sums.top()] if not self._run.redact else []
        return [
            f"recording {now - self._begin:.0f} s: {counted(sums.ops, 'op')}",
            f"{format_count(round((sums.ops - ops) / (now - then)))} ops/s",
            format_rate((self._before[2] - moved) / (now - then)),
            *([f"top: {', '.join(names)}"] if names else []),
            f"{format_bytes(sums.read)} read",
            f"{format_bytes(sums.written)} written",
        ]
