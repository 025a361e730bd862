"""What a URI is read from: one seam, behind it local files, O_DIRECT, and memory for tests.

    Storage     knows places: resolves a URI, opens it, looks at it, lists it
    Handle      one open place: reads a range into a buffer
    Window      memory that a handle reads into; a Buffer is one of its own, aligned as every handle wants it

A reader asks `handle.span(offset, length)` what will really be issued, and turns the answer of `pread` into what the
op asked for with `handle.delivered`. Objects (`s3://`, `az://`) are places like files; what they have no request for,
opening and closing, costs nothing.
"""

from __future__ import annotations

from functools import lru_cache

from tracekit.storage.base import Access, Buffer, Handle, Look, Storage, Window
from tracekit.storage.local import LocalStorage
from tracekit.storage.memory import MemoryStorage
from tracekit.storage.objects import ObjectStorage
from tracekit.storage.store_settings import CLIENTS, Requests
from tracekit.uri import scheme_of

__all__ = [
    "CLIENTS", "Access", "Buffer", "Handle", "LocalStorage", "Look", "MemoryStorage", "ObjectStorage", "Requests", "Storage", "Window",
    "storage_for",
]  # fmt: skip

_LOCAL = LocalStorage()


def storage_for(uri: str, requests: Requests = Requests()) -> Storage:  # noqa: B008 -- frozen
    """The storage that reads a URI.

    Args:
        uri: A URI or a path.
        requests: How requests for objects are made.

    Raises:
        UnknownSchemeError: If nobody owns the scheme.
    """
    return _LOCAL if scheme_of(uri).local else _objects(requests)


@lru_cache(maxsize=16)
def _objects(requests: Requests) -> ObjectStorage:
    return ObjectStorage(requests)
