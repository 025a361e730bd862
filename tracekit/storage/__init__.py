"""What a URI is read from: one seam, behind it local files, O_DIRECT, and memory for tests.

    Storage     knows places: resolves a URI, opens it, looks at it, lists it
    Handle      one open place: reads a range into a buffer
    Buffer      page-aligned memory that every handle can read into

A reader asks `handle.span(offset, length)` what will really be issued, and turns the answer of `pread` into what the
op asked for with `handle.delivered`. Object stores plug in here; this version reads local files only.
"""

from __future__ import annotations

from tracekit.errors import InputError
from tracekit.storage.base import Access, Buffer, Handle, Look, Storage
from tracekit.storage.local import LocalStorage
from tracekit.storage.memory import MemoryStorage
from tracekit.uri import scheme_of

__all__ = ["Access", "Buffer", "Handle", "LocalStorage", "Look", "MemoryStorage", "Storage", "storage_for"]

_LOCAL = LocalStorage()


def storage_for(uri: str) -> Storage:
    """The storage that reads a URI.

    Raises:
        UnknownSchemeError: If nobody owns the scheme.
        InputError: If the scheme is known and this version cannot read it.
    """
    scheme = scheme_of(uri)
    if not scheme.local:
        raise InputError(
            f"{scheme.name}:// cannot be read by this version of tracekit ({uri!r})",
            f"map it to local files with --remap {scheme.name}://…=/directory, or leave it out with --select",
        )
    return _LOCAL
