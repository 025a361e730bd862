"""Storage in memory: the twin of the local one, for tests and dry runs."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator

from tracekit.storage.base import Access, Handle, Look, Window


class MemoryHandle:
    """One object in memory."""

    direct = False
    fell_back = False

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """Bytes the object holds."""
        return len(self._data)

    def fileno(self) -> int:
        """-1: there is no descriptor."""
        return -1

    def span(self, offset: int, length: int) -> tuple[int, int]:
        """The request itself."""
        return offset, length

    def delivered(self, offset: int, length: int, result: int) -> int:  # noqa: ARG002 -- the seam's signature
        """All of it."""
        return result

    def pread(self, buffer: Window, length: int, offset: int) -> int:
        """Copy a range into the buffer."""
        part = self._data[offset : offset + length]
        buffer.view[: len(part)] = part
        return len(part)

    def close(self) -> None:
        """Nothing to give back."""


class MemoryStorage:
    """Objects by URI.

    Args:
        objects: Content by URI.
        failing: An errno by URI, for places whose reads fail.
    """

    # It stands in for local files.
    local = True

    def __init__(self, objects: dict[str, bytes], failing: dict[str, int] | None = None) -> None:
        self.objects = objects
        self.failing = failing or {}
        self.opened = 0

    def resolve(self, uri: str) -> str:
        """The URI is the place."""
        return uri

    def open(self, place: str, access: Access) -> Handle:  # noqa: ARG002 -- there is no cache to advise
        """The object (errors: OSError)."""
        if place in self.failing:
            return _FailingHandle(self.failing[place])
        return MemoryHandle(self._data(place))

    def touch_open(self, place: str) -> int:
        """Check that it is there."""
        self._data(place)
        self.opened += 1
        return 0

    def touch_close(self, descriptor: int) -> None:  # noqa: ARG002 -- nothing is held
        """Count it."""
        self.opened -= 1

    def look(self, place: str) -> Look:
        """A file of this size."""
        return Look("file", len(self._data(place)))

    def stat(self, place: str) -> int:
        """The size."""
        return len(self._data(place))

    def list(self, place: str) -> int:
        """How many objects have this prefix."""
        return sum(1 for name in self.objects if name.startswith(place))

    def walk(self, place: str) -> Iterator[tuple[str, int]]:
        """Every object with this prefix (errors: OSError)."""
        names = sorted(name for name in self.objects if name.startswith(place))
        if not names:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), place)
        yield from ((name, len(self.objects[name])) for name in names)

    def write(self, place: str, body: bytes | memoryview | Iterable[bytes], *, create: bool = False) -> None:
        """Keep it."""
        if create and place in self.objects:
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST), place)
        self.objects[place] = bytes(body) if isinstance(body, (bytes, memoryview)) else b"".join(body)

    def delete(self, place: str) -> None:
        """Forget it."""
        self._data(place)
        del self.objects[place]

    def _data(self, place: str) -> bytes:
        try:
            return self.objects[place]
        except KeyError:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), place) from None


class _FailingHandle(MemoryHandle):
    def __init__(self, number: int) -> None:
        super().__init__(b"")
        self._number = number

    def pread(self, buffer: Window, length: int, offset: int) -> int:  # noqa: ARG002 -- it never gets that far
        """Fail as told."""
        raise OSError(self._number, os.strerror(self._number))
