"""What is done about the page cache before the program starts.

A table by which the run's processes agree who looks at a file, and the state of what --data-root names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

CHOICES = ("first-read", "off")
# 64-bit slots, of which the first is a counter (tracekit/_native/residence.h).
_TABLE = "residence"
_TABLE_BYTES = 2 << 20
_SPARE_BYTES = 64 << 20
_ROOTS = "roots.json"
# More is no data set that one trailer should list, and takes the launcher some ten seconds.
_MOST_FILES = 1_000_000


def make_table(parts: str) -> None:
    """Make the table that lets processes look at files; without room for it they do not."""
    state = os.statvfs(parts)
    if state.f_bavail * state.f_frsize < _SPARE_BYTES:
        return
    path = os.path.join(parts, _TABLE)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, _TABLE_BYTES)  # real blocks: a store into the mapping must not fail later
    except OSError:
        os.unlink(path)
    finally:
        os.close(fd)


def look_below(roots: Sequence[str]) -> dict[str, list[Any]]:
    """Which pages of the files below these directories are resident now: size, resident, gaps, bytes of a page, by path."""
    found: dict[str, Any] = {}
    for root in roots:
        for path in _files_below(os.path.abspath(root)):
            if len(found) < _MOST_FILES and (state := _looked(path)) is not None:
                found[path] = state
    return found


def keep_roots(found: Mapping[str, list[Any]], parts: str) -> None:
    """Keep what `look_below` found with the run's parts, for `looks.residency_of`."""
    with open(os.path.join(parts, _ROOTS), "w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(found, file)


def _files_below(root: str) -> Iterator[str]:
    if os.path.isfile(root):
        yield root
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.isfile(path):
                yield path


def _looked(path: str) -> list[Any] | None:
    """Size, resident pages, their gaps where it is a part of them, bytes of a page."""
    from tracekit.pages import to_gaps
    from tracekit.storage import restore

    try:
        bitmap = restore.look(path)
        size = os.stat(path).st_size
    except OSError:
        return None
    if bitmap is None or len(bitmap) != -(-size // restore.PAGE):
        return None
    resident = int(bitmap.sum())
    return [size, resident, to_gaps(bitmap) if 0 < resident < len(bitmap) else None, restore.PAGE]


def of_roots(directory: str) -> dict[str, list[Any]]:
    """What `look_below` noted, by path: size, resident pages, gaps, bytes of a page."""
    with suppress(OSError, ValueError):
        with open(os.path.join(directory, _ROOTS), encoding="utf-8", errors="surrogateescape") as file:
            return dict(json.load(file))
    return {}


def refused(directory: str) -> int:
    """For how many openings there was no room in the table."""
    with suppress(OSError):
        with open(os.path.join(directory, _TABLE), "rb") as file:
            return int.from_bytes(file.read(8), "little")
    return 0
