"""What the Python engine puts in the place of Python's own functions and types for I/O, and around its imports.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

import os
import posix
from typing import Any


def install(modules: dict[str, Any], spool: Any, settings: dict[str, Any], places: Any) -> dict[str, Any]:
    """Have all I/O of this process pass through the spool.

    Args:
        modules: The sibling modules by name.
        spool: Where ops go.
        settings: directory, home, include, exclude and residency, see `bootstrap.start`.
        places: Where the interpreter's own files are, for `files.interpreter_directories`.

    Returns:
        What else is to be done, by the name of a module, after it was imported.
    """
    parts, files = modules["spool"], modules["files"]
    own = [settings["directory"], settings["home"]]
    code = files.interpreter_directories(*places, os.path.realpath)
    chosen = files.Filter(settings["include"], settings["exclude"], own=own, code=code)
    known = files.Files(spool, chosen, parts.FLAGS, modules["pagelook"].look if settings["residency"] else None)
    _stand_in_for_os(modules, spool, known)
    _stand_in_for_files(modules, spool, known)
    _count_imports(spool)
    note, hooks = modules["imports"].note_framework(spool, "numpy"), modules["numpy_hooks"].NumpyHooks

    def after_numpy(module: Any) -> None:
        note(module)
        hooks(spool, known, parts.CODE).install(module)

    return {"numpy": after_numpy}


def _stand_in_for_os(modules: dict[str, Any], spool: Any, files: Any) -> None:
    parts, stand_in = modules["spool"], modules["callables"].stand_in
    functions = modules["osio"].OsFunctions(spool, files, parts.CODE, parts.FLAGS, modules["files"].flag_bits)
    for name, replacement in functions.replacements():
        setattr(os, name, stand_in(getattr(posix, name), replacement, "os"))


def _stand_in_for_files(modules: dict[str, Any], spool: Any, files: Any) -> None:
    import builtins
    import io

    parts, rawio = modules["spool"], modules["rawio"]
    raw_file = rawio.recording_file(spool, files, parts.CODE, parts.FLAGS, modules["interrupts"])
    original = io.open
    opener = modules["callables"].stand_in(original, modules["opening"].recording_open(original, raw_file), "io")
    io.FileIO = raw_file  # type: ignore[misc]  # the replacement is the point
    # Not _io.open: the import system opens its files by it.
    io.open = builtins.open = opener
    import mmap

    mmap.mmap = modules["osio"].recording_mmap(spool, files, parts.CODE, rawio.Kind)  # type: ignore[misc]  # as above


def _count_imports(spool: Any) -> None:
    """Count what the import system reads, which is the greater part of what a short program reads at all."""
    from _frozen_importlib_external import FileLoader

    original = FileLoader.get_data

    def get_data(self: Any, path: Any) -> bytes:
        data: bytes = original(self, path)
        spool.ignore(len(data))
        return data

    get_data.__doc__, get_data.__qualname__ = original.__doc__, original.__qualname__
    get_data.__module__ = original.__module__
    FileLoader.get_data = get_data  # type: ignore[method-assign]  # as above
