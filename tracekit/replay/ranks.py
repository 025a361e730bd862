"""The ranks of one run: who is there, who is not any more, and what was heard from whom.

Everybody reports to rank 0 and rank 0 to everybody, twice a second, from a thread of its own. Who has not been heard of for
the time of patience is lost; nobody is waited for longer than that.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from tracekit.errors import CannotRunError
from tracekit.replay.wire import Wire

PATIENCE_S = 30.0
HURRY_S = 2.0
BEAT_S = 0.4
_LOOK_S = 0.001
_BEAT, _STOP = "beat", "stop"


class LostError(CannotRunError):
    """A rank that no longer answers.

    Args:
        rank: Which one.
        silence_s: For how long nothing was heard of it.
        host: Where it ran, as far as it said.
        gone: Whether its process has ended.
    """

    slug = "lost-rank"

    def __init__(self, rank: int, silence_s: float, host: str = "", *, gone: bool = False) -> None:
        self.rank = rank
        where = f" on {host}" if host else ""
        super().__init__(
            f"rank {rank}{where} has ended without a word"
            if gone
            else f"rank {rank}{where} has not answered for {silence_s:.0f} s",
            "look whether its process and its host are alive",
        )


class StoppedError(Exception):
    """Rank 0 told this rank to stop; it says why itself."""


class Ranks:
    """One rank's view of all of them.

    Args:
        wire: This rank's end.
        patience_s: After how long a silent rank is lost.
    """

    def __init__(self, wire: Wire, *, patience_s: float = PATIENCE_S) -> None:
        self.rank, self.size = wire.rank, wire.size
        self.patience_s = patience_s
        # While what was done is gathered, an interrupt shortens the waiting and loses nothing.
        self.gathering = self.interrupted = False
        self.state: Any = None
        self.states: dict[int, Any] = {}
        self.hosts: dict[int, str] = {}
        self._wire = wire
        self._boxes: dict[tuple[str, int], deque[Any]] = defaultdict(deque)
        self._heard = dict.fromkeys(self.others, time.monotonic())
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, name="signs of life", daemon=True)

    @property
    def others(self) -> Iterable[int]:
        """Whom this rank reports to, and hears from."""
        return range(1, self.size) if self.rank == 0 else (0,)

    def __enter__(self) -> Ranks:
        self._beating.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._beating.join()

    def post(self, to: int, kind: str, body: Any = None) -> None:
        """Send something of a kind."""
        self._wire.send(to, (kind, body))

    def tell_all(self, kind: str, body: Any = None) -> None:
        """Send the same to all others."""
        for rank in self.others:
            self.post(rank, kind, body)

    def take(self, source: int, *kinds: str, look_s: float = _LOOK_S) -> tuple[str, Any]:
        """Wait for the next message of one of these kinds from a rank.

        Raises:
            LostError: If nothing at all was heard from it for the time of patience.
            StoppedError: If rank 0 told everybody to stop.
        """
        # What was not listened to is no silence: during a run nobody looks.
        began = time.monotonic()
        while True:
            try:
                found = self.listen()
            except KeyboardInterrupt:
                if not self.gathering:
                    raise
                found = self.interrupted = True
                self.hurry()
            for kind in kinds:
                if self._boxes[kind, source]:
                    return kind, self._boxes[kind, source].popleft()
            if self.rank != 0 and self._boxes[_STOP, 0]:
                raise StoppedError
            silence = time.monotonic() - max(self._heard[source], began)
            gone = source in self._wire.gone
            if silence > self.patience_s or (gone and not found):
                raise LostError(source, silence, self.hosts.get(source, ""), gone=gone)
            if not found and look_s:
                time.sleep(look_s)

    def hurry(self) -> None:
        """Wait for nobody much longer: the run is being ended."""
        self.patience_s = min(self.patience_s, HURRY_S)

    def listen(self) -> bool:
        """Take in what has come; whether there was anything."""
        found = False
        while (message := self._wire.poll()) is not None:
            source, (kind, body) = message
            self._heard[source] = time.monotonic()
            found = True
            if kind == _BEAT:
                self.hosts[source], self.states[source] = body
            else:
                self._boxes[kind, source].append(body)
        return found

    def flush(self) -> bool:
        """Wait, no longer than patience allows, until all that was posted is under way; whether it is."""
        return self._wire.flush(self.patience_s)

    def stop_all(self) -> None:
        """Tell everybody to stop."""
        self.tell_all(_STOP)

    def abort(self, code: int) -> None:
        """End all ranks, those that are lost too."""
        self._wire.abort(code)

    def _beat(self) -> None:
        host = socket.gethostname()
        while True:
            self.tell_all(_BEAT, (host, self.state))
            if self._over.wait(BEAT_S):
                return
