"""Where the descriptors of recorded processes stand, for sources that show calls but no offsets.

A position belongs to the open file, not to the descriptor: copies of a descriptor share it, and so do the copies that a
forked child starts with (open(2), "open file descriptions").
"""

from __future__ import annotations

from dataclasses import dataclass


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
            self.position = start + count
        return start

    def written(self, count: int) -> int | None:
        """Where a write of `count` bytes began; not known when it went to the end of the file."""
        if self.appending:
            self.position = None
        return self.advanced(count)


class Descriptors:
    """The descriptors of every process of a trace."""

    def __init__(self) -> None:
        self._of: dict[int, dict[int, OpenFile]] = {}

    def opened(self, pid: int, fd: int, path: bytes, *, appending: bool) -> None:
        """A descriptor was opened; it stands at the beginning."""
        self._table(pid)[fd] = OpenFile(path, 0, appending)

    def closed(self, pid: int, fd: int) -> None:
        """A descriptor is gone."""
        self._table(pid).pop(fd, None)

    def copied(self, pid: int, old: int, new: int) -> None:
        """A descriptor was duplicated: both share one position."""
        table = self._table(pid)
        if old in table:
            table[new] = table[old]
        else:
            table.pop(new, None)

    def forked(self, pid: int, child: int, *, shared: bool) -> None:
        """A child has its parent's descriptors, or shares the table itself."""
        self._of[child] = self._table(pid) if shared else dict(self._table(pid))

    def path(self, pid: int, fd: int) -> bytes | None:
        """The name a descriptor was opened by, where its opening was seen."""
        known = self._table(pid).get(fd)
        return None if known is None else known.path

    def file(self, pid: int, fd: int) -> OpenFile:
        """The open file behind a descriptor; one with no name and no known position where its opening was not seen."""
        return self._table(pid).setdefault(fd, OpenFile(None, None))

    def _table(self, pid: int) -> dict[int, OpenFile]:
        return self._of.setdefault(pid, {})
