"""The Python engine's hooks for numpy, which reads and writes by C stdio.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.record.files import Files
    from tracekit.record.spool import Spool


class NumpyHooks:
    """numpy.fromfile and numpy.save, whose bytes move by C stdio and are invisible otherwise: one op each.

    Args:
        spool: Where ops go.
        files: Which file a descriptor is.
        op: Codes of ops.
    """

    def __init__(self, spool: Spool, files: Files, op: dict[str, int]) -> None:
        self.spool = spool
        self.files = files
        self.op = op

    def install(self, module: Any) -> None:
        """Wrap what has a Python name; `ndarray.tofile` is a method of a C type and cannot be wrapped."""
        module.fromfile = self._wrapped(module.fromfile, self._fromfile)
        holders: tuple[Any, ...] = (module.lib.format, sys.modules.get("numpy.lib._format_impl"))
        for holder in holders:
            if holder is not None:
                holder.write_array = self._wrapped(holder.write_array, self._write_array)

    def _wrapped(self, original: Any, make: Callable[[Any], Any]) -> Any:
        replacement = make(original)
        replacement.__wrapped__ = original
        for name in ("__module__", "__name__", "__qualname__", "__doc__", "__text_signature__"):
            if hasattr(original, name):
                setattr(replacement, name, getattr(original, name))
        return replacement

    def _fromfile(self, original: Any) -> Any:
        def fromfile(*args: Any, **kwargs: Any) -> Any:
            source = args[0] if args else kwargs.get("file")
            before = _tell(source)
            start = time.monotonic_ns()
            array = original(*args, **kwargs)
            end = time.monotonic_ns()
            try:
                self._read(
                    source,
                    before,
                    kwargs.get("offset", args[4] if len(args) > 4 else 0),
                    array,
                    args,
                    kwargs,
                    start,
                    end,
                )
            except Exception:
                self.spool.lose()
            return array

        return fromfile

    def _read(
        self, source: Any, before: int | None, skipped: int, array: Any, args: Any, kwargs: Any, start: int, end: int
    ) -> None:
        text = bool(kwargs.get("sep", args[3] if len(args) > 3 else ""))
        if before is None:
            number, flags, offset = self.files.of_path(self.files.absolute(source)), 0, skipped
        else:
            (number, flags), offset = self.files.of_fd(source.fileno()), before + skipped
        moved = array.nbytes
        if text:
            moved = max((_tell(source) or 0) - offset, 0) if before is not None else moved
        count = kwargs.get("count", args[2] if len(args) > 2 else -1)
        asked = max(int(count) * array.itemsize, moved) if not text and count > 0 else moved
        if number > 0:
            self.spool.record(self.op["read"], number, offset, asked, start, end, moved, 0, flags)
        elif number == 0:
            self.spool.ignore(moved)

    def _write_array(self, original: Any) -> Any:
        def write_array(fp: Any, array: Any, *args: Any, **kwargs: Any) -> Any:
            start = time.monotonic_ns()
            result = original(fp, array, *args, **kwargs)
            end = time.monotonic_ns()
            try:
                self._written(fp, array, start, end)
            except Exception:
                self.spool.lose()
            return result

        return write_array

    def _written(self, fp: Any, array: Any, start: int, end: int) -> None:
        # numpy hands real files to ndarray.tofile, everything else to fp.write, which is seen as it is.
        import io

        if (
            not isinstance(fp, (io.FileIO, io.BufferedReader, io.BufferedWriter))
            or array.dtype.hasobject
            or not array.nbytes
        ):
            return
        number, flags = self.files.of_fd(fp.fileno())
        if number > 0:
            offset = max(fp.tell() - array.nbytes, 0)
            self.spool.record(self.op["write"], number, offset, array.nbytes, start, end, array.nbytes, 0, flags)


def _tell(source: Any) -> int | None:
    """Where an open file stands; None for a path."""
    try:
        return int(source.tell())
    except Exception:
        return None
