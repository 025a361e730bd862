"""Chrome's Trace Event format, as ui.perfetto.dev opens it: a picture of a trace to move about in. Only out.

Ops of one thread may overlap and those of several do, so they are asynchronous slices (`b`, `e`), on one track a stream; steps,
epochs, checkpoints and computing are slices of their process; two counters show ops and bytes in flight. Times are microseconds
with three decimals, which is the nanosecond. See "Trace Event Format" by the Chromium project.
"""

from __future__ import annotations

import gzip
import heapq
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import IO, Any

import msgspec
import numpy as np

from tracekit.formats.writer import Writer
from tracekit.output import replacing
from tracekit.trace import NULL, Header, Mark, Trace, Trailer
from tracekit.uri import utf8

# A counter that changes more often than a screen has pixels is drawn from its highest values.
_COUNTER_NS = 10_000
_COUNTER_PID = 0
_MARK_TID = 0
_SHOWN = ("offset", "len", "ret", "step", "epoch")


@contextmanager
def writing(path: str | os.PathLike[str], *, force: bool = True) -> Iterator[Writer]:
    """A writer of the events, compressed where the name ends in .gz."""
    with replacing(path, force=force) as file, _compressing(file, os.fspath(path)) as sink:
        writer = ChromeWriter(sink)
        yield writer
        writer.close()


def _compressing(file: IO[bytes], name: str) -> AbstractContextManager[Any]:
    if name.endswith(".gz"):
        return gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0)
    return nullcontext(file)


class ChromeWriter(Writer):
    """Writes one event a line, so that text tools can look at them too."""

    def __init__(self, sink: IO[bytes]) -> None:
        super().__init__()
        self._sink = sink
        self._encoder = msgspec.json.Encoder()
        self._sink.write(b'{"displayTimeUnit":"ns","traceEvents":[\n')
        self._sep = b""
        self._next_id = 0
        self._named: set[tuple[int, int | None]] = set()
        self._flight = _Flight()
        self._other: dict[str, Any] = {}

    def header(self, header: Header) -> None:
        """Keep what the trace says about itself, for the end."""
        self._other = {
            "producer": dict(header.producer), "command": list(header.command), "clock": dict(header.clock),
            "host": dict(header.host),
        }  # fmt: skip

    def marks(self, marks: Sequence[Mark]) -> None:
        """Write the program's structure as slices."""
        events: list[dict[str, Any]] = []
        for mark in marks:
            pid = mark.pid or 0
            self._name(events, pid, _MARK_TID, "steps")
            args = {key: value for key in ("step", "epoch") if (value := getattr(mark, key)) is not None}
            kind = utf8(mark.mark)
            name = kind if mark.step is None else f"{kind} {mark.step}"
            end = mark.t if mark.t_end is None else mark.t_end
            # A step and the computing in it overlap in part: asynchronous too, on a track for each kind.
            events += self._slice(name, f"structure,{kind}", pid, _MARK_TID, mark.t, end, args)
        self._write(events)

    def ops(self, piece: Trace) -> None:
        """Write the ops of a piece as slices, and the counters as far as they are settled."""
        names = ("uri", "op", "err", "t_submit", "t_complete", "pid", "tid", "worker", *_SHOWN)
        uris, words, errors = ([utf8(text) for text in piece.strings(name)] for name in ("uri", "op", "err"))
        events: list[dict[str, Any]] = []
        for row in zip(*(piece.col(name).tolist() for name in names), strict=True):
            uri, op, err, start, end, pid, tid, worker, *rest = row
            place = max(pid, 0), max(tid, 0)
            thread = f"thread {place[1]}"
            self._name(events, *place, thread if worker == NULL else f"worker {worker}, {thread}")
            args = {"uri": uris[uri], **{key: value for key, value in zip(_SHOWN, rest, strict=True) if value != NULL}}
            if err != NULL:
                args["err"] = errors[err]
            until = start if end == NULL else end
            events += self._slice(words[op], words[op], *place, start, until, args)
            self._flight.add(start, until, args["len"])
        self._write(events)
        times = piece.col("t_submit")
        if len(piece):
            self._counters(int(times.max()))

    def trailer(self, trailer: Trailer) -> None:
        """Keep the counts, for the end."""
        self._other["ops"], self._other["bytes"], self._other["lost"] = trailer.ops, trailer.bytes, trailer.lost

    def close(self) -> None:
        """Write the last counters and the end of the file."""
        self._counters(None)
        other = self._encoder.encode(_plain(self._other))
        self._sink.write(b'\n],"otherData":' + other + b"}\n")

    def _slice(
        self, name: str, category: str, pid: int, tid: int, start: int, end: int, args: dict[str, Any]
    ) -> list[dict[str, Any]]:
        self._next_id += 1
        common = {"name": name, "cat": category, "pid": pid, "tid": tid, "id": self._next_id}
        return [{"ph": "b", "ts": start / 1000, **common, "args": args}, {"ph": "e", "ts": end / 1000, **common}]

    def _name(self, events: list[dict[str, Any]], pid: int, tid: int, text: str) -> None:
        if (pid, tid) in self._named:
            return
        if (pid, None) not in self._named:
            self._named.add((pid, None))
            events.append({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": f"process {pid}"}})
        self._named.add((pid, tid))
        events.append({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": text}})

    def _counters(self, until: int | None) -> None:
        events = []
        for time, ops, size in self._flight.settled(until):
            common = {"ph": "C", "ts": time / 1000, "pid": _COUNTER_PID}
            events.append({"name": "ops in flight", **common, "args": {"ops": ops}})
            events.append({"name": "bytes in flight", **common, "args": {"bytes": size}})
        self._write(events)

    def _write(self, events: Sequence[dict[str, Any]]) -> None:
        for event in events:
            self._sink.write(self._sep + self._encoder.encode(event))
            self._sep = b",\n"


class _Flight:
    """How many ops and bytes are in flight, from ops that come about in order of their start."""

    def __init__(self) -> None:
        self._changes: list[tuple[int, int, int]] = []
        self._ops = self._bytes = 0
        self._point: tuple[int, int, int] | None = None

    def add(self, start: int, end: int, size: int) -> None:
        """An op that was in flight from `start` to `end`."""
        heapq.heappush(self._changes, (start, 1, size))
        heapq.heappush(self._changes, (end, -1, -size))

    def settled(self, until: int | None) -> Iterator[tuple[int, int, int]]:
        """(time, ops, bytes), at most one for each `_COUNTER_NS`: the highest of what was in it."""
        while self._changes and (until is None or self._changes[0][0] < until):
            time, ops, size = heapq.heappop(self._changes)
            self._ops += ops
            self._bytes += size
            now = (time, self._ops, self._bytes)
            if self._point is None or time - self._point[0] >= _COUNTER_NS:
                if self._point is not None:
                    yield self._point
                self._point = now
            elif self._ops >= self._point[1]:
                self._point = (self._point[0], self._ops, max(self._bytes, self._point[2]))
        if until is None and self._point is not None:
            yield self._point
            if self._point[1]:
                yield (self._point[0] + _COUNTER_NS, self._ops, self._bytes)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {utf8(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return utf8(value)
    return value.item() if isinstance(value, np.generic) else value
