"""Local files: through the page cache (`FileHandle`) or past it (`tracekit.storage.direct.DirectHandle`)."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress

from tracekit.storage.base import Access, Handle, Look, OpenFile
from tracekit.storage.direct import open_direct
from tracekit.uri import local_path

ADVICE = {
    "default": None,
    "direct": None,
    "random": os.POSIX_FADV_RANDOM,
    "sequential": os.POSIX_FADV_SEQUENTIAL,
}


class FileHandle(OpenFile):
    """A file read through the page cache; what is asked for is what is issued."""

    direct = False

    def __init__(self, fd: int, *, fell_back: bool = False) -> None:
        super().__init__(fd)
        self.fell_back = fell_back

    def span(self, offset: int, length: int) -> tuple[int, int]:
        """The request itself."""
        return offset, length

    def delivered(self, offset: int, length: int, result: int) -> int:  # noqa: ARG002 -- the seam's signature
        """All of it."""
        return result


class LocalStorage:
    """Files of this machine, by path."""

    local = True

    def resolve(self, uri: str) -> str:
        """The path of a file:// or direct:// URI or of a bare path."""
        return local_path(uri)

    def open(self, place: str, access: Access) -> Handle:
        """Open for reading under a cache policy (errors: OSError, see `Storage.open`)."""
        if access.policy == "direct":
            handle = open_direct(place)
            if handle is not None:
                return handle
            if not access.fallback:
                raise OSError(errno.EINVAL, "O_DIRECT is refused", place)
        fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        advice = ADVICE[access.policy]
        if advice is not None:
            os.posix_fadvise(fd, 0, 0, advice)
        return FileHandle(fd, fell_back=access.policy == "direct")

    def touch_open(self, place: str) -> int:
        """open(2), read-only; of a FIFO too it comes back at once, and a terminal does not become ours."""
        return os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)

    def touch_close(self, descriptor: int) -> None:
        """close(2)."""
        os.close(descriptor)

    def look(self, place: str) -> Look:
        """What stands at a path; a file is opened once to see that we may (O_NONBLOCK: a FIFO must not hold us)."""
        status = os.stat(place)
        kind = "file" if stat.S_ISREG(status.st_mode) else "directory" if stat.S_ISDIR(status.st_mode) else "other"
        if kind != "other":
            os.close(os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
        return Look(kind, status.st_size)

    def stat(self, place: str) -> int:
        """The size in bytes, as fstatat(2) has it."""
        return os.stat(place).st_size

    def list(self, place: str) -> int:
        """opendir(3) and readdir(3) to the end; the number of entries."""
        with os.scandir(place) as entries:
            return sum(1 for _ in entries)

    def walk(self, place: str) -> Iterator[tuple[str, int]]:
        """Every file below a directory, or the file itself (errors: OSError)."""
        status = os.stat(place)
        if stat.S_ISREG(status.st_mode):
            yield place, status.st_size
            return
        folders = []
        with os.scandir(place) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(entry.path)
                elif entry.is_file():
                    yield entry.path, entry.stat().st_size
        for folder in folders:
            yield from self.walk(folder)

    def write(self, place: str, body: bytes | memoryview | Iterable[bytes], *, create: bool = False) -> None:
        """Make a file; under its name only when it is whole."""
        parts = [body] if isinstance(body, (bytes, memoryview)) else body
        part = f"{place}.{secrets.token_hex(4)}.part"
        try:
            with open(part, "xb", buffering=0) as file:
                for piece in parts:
                    _write_all(file.fileno(), piece)
            if not create:
                os.replace(part, place)
                return
            os.link(part, place)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(part)
            raise
        os.unlink(part)

    def delete(self, place: str) -> None:
        """unlink(2)."""
        os.unlink(place)


def _write_all(fd: int, piece: bytes | memoryview) -> None:
    left = memoryview(piece)
    while left:
        left = left[os.write(fd, left) :]
