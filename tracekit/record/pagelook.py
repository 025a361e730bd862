"""Which pages of an open file are in the page cache, for the Python engine: by cachestat(2), and nothing but it.

Counts are asked for, of the whole file first, then of halves until each is all there or all absent. That takes few calls
where pages were read in stretches, and is given up where they were not: then only the number is known.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Count = Callable[[int, int, int], int]

_CACHESTAT = 451  # the same on every architecture; Linux 6.5
_MOST_CALLS = 400


def look(fd: int, size: int) -> dict[str, Any]:
    """`page_bytes`, `cached` (pages; None where the system does not tell) and, if only a part is, `gaps`."""
    count, page = _counter()
    pages = -(-size // page)
    cached = count(fd, 0, 0) if pages else 0
    facts: dict[str, Any] = {"page_bytes": page, "cached": None if cached < 0 else min(cached, pages)}
    if 0 < cached < pages:
        facts["gaps"] = _gaps(fd, pages, page, cached, count)
    return facts


def _gaps(fd: int, pages: int, page: int, cached: int, count: Count) -> list[int] | None:
    """Stretches of absent and resident pages in turn; None where that takes too many calls."""
    gaps, resident_now, calls = [0], False, 0
    todo = [(0, pages, cached)]
    while todo:
        first, length, known = todo.pop()
        if 0 < known < length:
            calls += 1
            half = length // 2
            left = count(fd, first * page, half * page)
            if left < 0 or calls > _MOST_CALLS:
                return None
            left = min(left, half, known)
            todo += [(first + half, length - half, min(known - left, length - half)), (first, half, left)]
            continue
        if bool(known) != resident_now:
            gaps.append(0)
            resident_now = not resident_now
        gaps[-1] += length
    return gaps if len(gaps) % 2 == 0 else gaps[:-1]


def _unknown(fd: int, offset: int, length: int) -> int:  # noqa: ARG001 -- the signature of a count
    return -1


def _make() -> tuple[Count, int]:
    """The system call through the extension below ctypes, and the size of a page."""
    import mmap

    try:
        import _ctypes as door
    except ImportError:  # a Python built without libffi
        return _unknown, mmap.PAGESIZE
    _ctypes: Any = door  # what stands below ctypes is not made to be typed
    long = type("long", (_ctypes._SimpleCData,), {"_type_": "l"})
    words: Any = type("words", (_ctypes.Array,), {"_type_": long, "_length_": 7})
    prototype = type("prototype", (_ctypes.CFuncPtr,), {"_flags_": _ctypes.FUNCFLAG_CDECL, "_restype_": long})
    call = prototype(_ctypes.dlsym(_ctypes.dlopen(None, 0), "syscall"))

    def count(fd: int, offset: int, length: int) -> int:
        # A range of two words, then the five counts, of which the first is the pages in the cache.
        both = words(offset, length)
        at = _ctypes.addressof(both)
        if call(long(_CACHESTAT), long(fd), long(at), long(at + 16), long(0)) != 0:
            return -1
        return int(both[2])

    return count, mmap.PAGESIZE


_made: tuple[Count, int] | None = None


def _counter() -> tuple[Count, int]:
    global _made  # noqa: PLW0603  # made at the first file, since most of a start-up can do without
    if _made is None:
        _made = _make()
    return _made
