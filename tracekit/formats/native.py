"""The native core, for the readers and writers that have a quick way with it and a readable one without."""

from __future__ import annotations

from types import ModuleType


def native_core() -> ModuleType | None:
    """The module `tracekit._core`, where it was built."""
    try:
        from tracekit import _core
    except ImportError:
        return None
    return _core
