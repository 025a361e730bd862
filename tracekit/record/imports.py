"""What is done when a module has been imported: framework versions, and the hooks for numpy and PyTorch.

A finder at the head of sys.meta_path does nothing but look the name up in a table; for a name in it the real finders are
asked, and the loader's `exec_module` is wrapped for this one execution. Nothing stays behind on module, spec or loader,
so reload and inspect work as before.

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

# Frameworks whose presence explains bytes, with how they read where that is not through Python's own functions.
FRAMEWORKS = (
    "numpy", "torch", "tensorflow", "jax", "h5py", "netCDF4", "zarr", "pyarrow", "safetensors", "PIL", "cv2", "torchvision",
    "webdataset", "datasets", "rasterio", "pandas", "polars", "lmdb", "tables", "soundfile", "torchaudio", "decord", "boto3",
    "obstore", "fsspec",
)  # fmt: skip


class ImportHook:
    """A finder that calls a function after a module of its table was executed.

    Args:
        after: Function by module name; it gets the module. What it raises is reported to `failed` and goes no further.
        failed: Gets the module's name and the error.
    """

    def __init__(self, after: dict[str, Callable[[Any], None]], failed: Callable[[str, Exception], None]) -> None:
        self.after = after
        self.failed = failed

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find nothing for most names; for those of the table, what the other finders find."""
        if name not in self.after:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find is not None and finder is not self else None
            if spec is not None:
                self._wrap(name, spec.loader)
                return spec
        return None

    def _wrap(self, name: str, loader: Any) -> None:
        run = getattr(loader, "exec_module", None)
        if run is None:
            return

        def exec_module(module: Any) -> None:
            loader.__dict__.pop("exec_module", None)
            run(module)
            try:
                self.after[name](module)
            except Exception as error:
                self.failed(name, error)

        try:
            loader.exec_module = exec_module
        except AttributeError:
            return  # a loader without a __dict__ (built-in, frozen): none of the table's is

    def invalidate_caches(self) -> None:
        """There are none."""


def note_framework(spool: Spool, name: str) -> Callable[[Any], None]:
    """Write the version of a framework that was imported."""

    def note(module: Any) -> None:
        spool.line(framework=name, version=str(getattr(module, "__version__", "")))

    return note


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
