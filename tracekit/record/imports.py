"""What is done when a module has been imported: a framework's version is noted, and hooks are put in.

A finder at the head of sys.meta_path does nothing but look the name up in a table; for a name in it the real finders are
asked, and the loader's `exec_module` is wrapped for this one execution. Nothing stays behind on module, spec or loader,
so reload and inspect work as before.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.record.lines import Lines

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


def note_framework(spool: Lines, name: str) -> Callable[[Any], None]:
    """Write the version of a framework that was imported."""

    def note(module: Any) -> None:
        spool.line(framework=name, version=str(getattr(module, "__version__", "")))

    return note
