"""CRC-32C as TFRecord files have it: by the core, or by its Python twin."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

try:
    from tracekit import _core
except ImportError:
    _core = None  # type: ignore[assignment]

_POLYNOMIAL = 0x82F63B78


def crc32c(data: Any, before: int = 0) -> int:
    """The CRC-32C of bytes, or of what came before them and them."""
    if _core is None:
        return twin(data, before)
    view = memoryview(data).cast("B")
    if not view.readonly:
        return _core.crc32c(ctypes.addressof(ctypes.c_char.from_buffer(view)) if len(view) else 0, len(view), before)
    held = ctypes.c_char_p(bytes(view))
    return _core.crc32c(ctypes.cast(held, ctypes.c_void_p).value or 0, len(view), before)


def masked(data: Any) -> int:
    """The masked form that TFRecord stores: a checksum of data that holds checksums would be weak."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def twin(data: Any, before: int = 0) -> int:
    """The same in Python, one byte after the other."""
    table, crc = _table(), before ^ 0xFFFFFFFF
    for byte in memoryview(data).cast("B"):
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


@lru_cache(maxsize=1)
def _table() -> list[int]:
    found = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        found.append(crc)
    return found
