"""Where the descriptors of recorded processes stand, for sources that show calls but no offsets.

A position belongs to the open file, not to the descriptor: copies of a descriptor share it, and so do the copies that a
forked child starts with (open(2), "open file descriptions").

A call has its effect at some time between its beginning and its end, and others may begin and end in between: a number that
one thread closes may have been handed out to another before that close is seen to end. So what a number stands for is
settled when a call that names it *begins* (its program knew the number by then), a number is given when the call that
returns it *ends*, and the end of a close takes away only what was there when it began.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tracekit.formats.foreign import MAX_NS


@dataclass
class OpenFile:
    """An open file: its name, the next position (None: not known), and whether writes go to its end."""

    path: bytes | None
    position: int | None
    appending: bool = False

    def advanced(self, count: int) -> int | None:
        """Where a read of `count` bytes began, if that is known; the next one begins behind it."""
        start = self.position
        if start is not None:
            self.position = start + count if start + count <= MAX_NS else None
        return start

    def written(self, count: int) -> int | None:
        """Where a write of `count` bytes began; not known when it went to the end of the file."""
        if self.appending:
            self.position = None
        return self.advanced(count)


class Beginning(NamedTuple):
    """How the descriptors of a process were when a call began whose end comes later.

    `moment` counts descriptors handed out by then; `files` are those the call may be about.
    """

    moment: int
    files: Mapping[int, OpenFile]


# Of a call that nothing came between: it finds everything as it is.
AT_ONCE = Beginning(1 << 62, {})


class Descriptors:
    """The descriptors of every process of a trace."""

    def __init__(self) -> None:
        self._of: dict[int, dict[int, tuple[OpenFile, int]]] = {}
        self._moment = 0

    def begin(self, pid: int, numbers: Iterable[int] | None = None) -> Beginning:
        """A call begins that is about some descriptors; without `numbers`, about all its process has."""
        table = self._table(pid)
        chosen = table if numbers is None else [fd for fd in numbers if fd in table]
        return Beginning(self._moment, {fd: table[fd][0] for fd in chosen})

    def opened(self, pid: int, fd: int, path: bytes, *, appending: bool) -> None:
        """A descriptor was opened; it stands at the beginning."""
        self._give(pid, fd, OpenFile(path, 0, appending))

    def closed(self, pid: int, first: int, last: int, begun: Beginning = AT_ONCE) -> None:
        """Descriptors are gone, but for those that were handed out again since the closing began."""
        table = self._table(pid)
        numbers = (first,) if first == last else [fd for fd in table if first <= fd <= last]
        for fd in numbers:
            if fd in table and table[fd][1] <= begun.moment:
                del table[fd]

    def copied(self, pid: int, old: int, new: int, begun: Beginning = AT_ONCE) -> None:
        """A descriptor was duplicated: both share one position."""
        self._give(pid, new, self.file(pid, old, begun))

    def forked(self, pid: int, child: int, *, shared: bool, begun: Beginning = AT_ONCE) -> None:
        """A child has the descriptors its parent had, or shares the table itself.

        A number that stood for another file when the fork began is nobody's: which of the two the child has is not known.
        """
        table = self._table(pid)
        self._of[child] = table if shared else dict(table)
        for fd, file in () if shared else begun.files.items():
            kept = fd not in table or table[fd][0] is file
            self._give(child, fd, file if kept else OpenFile(None, None))

    def unshared(self, pid: int) -> None:
        """A process shares its table with nobody any more, as after execve."""
        self._of[pid] = dict(self._table(pid))

    def path(self, pid: int, fd: int, begun: Beginning = AT_ONCE) -> bytes | None:
        """The name a descriptor was opened by, where its opening was seen."""
        known = begun.files.get(fd)
        if known is None and fd in self._table(pid):
            known = self._table(pid)[fd][0]
        return None if known is None else known.path

    def file(self, pid: int, fd: int, begun: Beginning = AT_ONCE) -> OpenFile:
        """The open file behind a descriptor; one with no name and no known position where its opening was not seen."""
        known = begun.files.get(fd)
        if known is not None:
            return known
        table = self._table(pid)
        if fd not in table:
            self._give(pid, fd, OpenFile(None, None))
        return table[fd][0]

    def _give(self, pid: int, fd: int, file: OpenFile) -> None:
        self._moment += 1
        self._table(pid)[fd] = file, self._moment

    def _table(self, pid: int) -> dict[int, tuple[OpenFile, int]]:
        return self._of.setdefault(pid, {})
