"""pyarrow.fs on S3 and Azure: calls of file systems, and of the files they open. What Arrow's C++ code does by itself is not seen, but said.

The classes are of C++ and take no new methods; theirs are replaced in the dictionaries of the types, so it does not matter how a
file system was made.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any
from weakref import ref

if TYPE_CHECKING:
    from tracekit.record.object_calls import Calls
    from tracekit.record.object_log import Request

    _Plan = Generator[list[Request], Any, Any]

_SCHEMES = {"S3FileSystem": "s3", "AzureFileSystem": "az"}
_SIMPLE = {
    "create_dir": "mkdir", "delete_dir": "rmdir", "delete_dir_contents": "rmdir", "delete_file": "delete",
}  # fmt: skip
_TO = {"copy_file": "copy", "move": "rename"}
_OPENS = ("open_input_file", "open_input_stream", "open_output_stream", "open_append_stream")
# Of files whose bytes are not the object's, nothing further is said.
_TRANSLATED = ("CompressedInputStream", "CompressedOutputStream", "TransformInputStream")
_READS = ("read", "read1", "readall", "read_buffer", "readinto", "readline", "readlines")
_BY_CPP = "pyarrow's own readers (Parquet, CSV, IPC) on an open object"
_BY_DATASET = "pyarrow.dataset and pyarrow.parquet on a file system of objects"


class ArrowHooks:
    """Puts its own methods in the place of pyarrow's once pyarrow.fs is imported.

    Args:
        calls: Makes ops of calls.
        patch: `callables.patch_type`.
        replace: `callables.patch`.
        local: A thread's own values.
    """

    def __init__(self, calls: Calls, patch: Callable[..., None], replace: Callable[..., None], local: Any) -> None:
        self.calls = calls
        self._patch = patch
        self._replace = replace
        self._inside = local
        self._open: dict[int, _Open] = {}
        self._said: set[str] = set()
        self._files: Any = None

    def install(self, module: Any) -> None:
        """Patch pyarrow._fs, which has just been executed. Files are patched when the first object is opened."""
        self.calls.log.at_end.append(self._finish)
        for name, op in _SIMPLE.items():
            self._patch(
                module.FileSystem, name, self._method(lambda fs, path, *_, op=op, **__: self._simple(op, fs, path))
            )
        for name, op in _TO.items():
            self._patch(module.FileSystem, name, self._method(lambda fs, _, path, op=op: self._simple(op, fs, path)))
        self._patch(module.FileSystem, "get_file_info", self._method(self._info))
        for name in _OPENS:
            self._patch(module.FileSystem, name, self._method(self._opened))

    def install_datasets(self, module: Any) -> None:
        """Patch pyarrow.dataset, which has just been executed: what reads objects by itself is said."""
        for name in ("_filesystem_dataset", "parquet_dataset"):
            if hasattr(module, name):
                self._replace(module, name, self._noting)

    def install_parquet(self, module: Any) -> None:
        """The same of pyarrow.parquet.core."""
        self._replace(module.ParquetDataset, "__init__", self._noting)

    def _noting(self, original: Any) -> Any:
        def noting(*args: Any, **words: Any) -> Any:
            if any(map(self._of_objects, (*args, *words.values()))):
                self._say(_BY_DATASET)
            return original(*args, **words)

        return noting

    def _of_objects(self, value: Any) -> bool:
        if isinstance(value, str):
            return value.startswith(("s3://", "abfs://", "abfss://"))
        return hasattr(value, "open_input_file") and self._uri(value, "") is not None

    def _say(self, what: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self.calls.log.spool.line(unseen=what)

    # -- file systems -----------------------------------------------------------------------------------------------

    def _method(self, plan: Callable[..., _Plan]) -> Callable[[Any], Any]:
        return lambda original: self._bound(original, plan)

    def _bound(self, original: Any, plan: Callable[..., _Plan]) -> Any:
        def method(self_: Any, *args: Any, **words: Any) -> Any:
            return self.calls.run(original, plan, (self_, *args), words)

        return method

    def _uri(self, system: Any, path: Any) -> str | None:
        path = str(path)
        for _ in range(8):
            name = type(system).__name__
            scheme = next((_SCHEMES[kind.__name__] for kind in type(system).__mro__ if kind.__name__ in _SCHEMES), None)
            if scheme is not None:
                return f"{scheme}://{path.strip('/')}"
            if name != "SubTreeFileSystem":
                break
            path = f"{system.base_path.rstrip('/')}/{path.lstrip('/')}"
            system = system.base_fs
        return None

    def _simple(self, op: str, system: Any, path: Any) -> _Plan:
        requests = self.calls.begin(op, self._uri(system, path))
        yield requests
        requests[0].done()

    def _info(self, system: Any, paths_or_selector: Any) -> _Plan:
        asked = paths_or_selector
        if hasattr(asked, "base_dir"):
            requests = self.calls.begin("list", self._uri(system, asked.base_dir))
        else:
            paths = [asked] if isinstance(asked, str) or hasattr(asked, "__fspath__") else list(asked)
            requests = [one for path in paths for one in self.calls.begin("stat", self._uri(system, path))]
        result = yield requests
        found = result if isinstance(result, list) else [result]
        for request, info in zip(requests, found, strict=False):
            if request.op == "stat" and info.type.name == "NotFound":
                request.failed_with("404", None)
        for request in requests:
            request.done()

    def _opened(self, system: Any, path: Any, *_: Any, **__: Any) -> _Plan:
        uri = self._uri(system, path)
        requests = self.calls.begin("open", uri)
        file = yield requests
        requests[0].done()
        if type(file).__name__ not in _TRANSLATED:
            self._follow(file, str(uri))

    # -- files ------------------------------------------------------------------------------------------------------

    def _follow(self, file: Any, uri: str) -> None:
        if self._files is None:
            self._files = kind = next(base for base in type(file).__mro__ if base.__name__ == "NativeFile")
            for name in _READS:
                self._patch(kind, name, self._file_method(self._reading(name)))
            self._patch(kind, "read_at", self._file_method(self._read_at))
            self._patch(kind, "write", self._file_method(self._writing))
            self._patch(kind, "close", self._file_method(self._closing))
        key = id(file)

        def gone(_: Any) -> None:
            self._left(self._open.pop(key, None))

        self._open[key] = _Open(uri, ref(file, gone), readable=file.readable())

    def _file_method(self, plan: Callable[..., _Plan]) -> Callable[[Any], Any]:
        def make(original: Any) -> Any:
            def method(file: Any, *args: Any, **words: Any) -> Any:
                # What one of these methods does by another one is one op.
                if id(file) not in self._open or getattr(self._inside, "file", None) == id(file):
                    return original(file, *args, **words)
                self._inside.file = id(file)
                try:
                    return self.calls.run(original, plan, (file, *args), words)
                finally:
                    self._inside.file = None

            return method

        return make

    def _reading(self, name: str) -> Callable[..., _Plan]:
        def plan(file: Any, wanted: Any = None, **words: Any) -> _Plan:
            wanted = next(iter(words.values()), wanted)
            at = self._used(file).place(file)
            return self._read(file, at, _size(wanted) if name == "readinto" else wanted, name)

        return plan

    def _read_at(self, file: Any, nbytes: int, offset: int) -> _Plan:
        self._used(file)
        return self._read(file, offset, nbytes, "read_at")

    def _read(self, file: Any, at: int, wanted: Any, name: str) -> _Plan:
        to_end = wanted is None or wanted < 0 or name in ("readall", "readlines")
        length = 0 if to_end or name == "readline" else int(wanted)
        entry = self._open[id(file)]
        requests = self.calls.ranged(entry.uri, at, length)
        result = yield requests
        count = result if name == "readinto" else sum(map(len, result)) if name == "readlines" else _size(result)
        entry.at += count
        requests[0].gave(count)

    def _writing(self, file: Any, data: Any) -> _Plan:
        at = self._used(file).place(file)
        requests = self.calls.begin("write", self._open[id(file)].uri, at, _size(data))
        yield requests
        requests[0].done()

    def _closing(self, file: Any) -> _Plan:
        entry = self._open[id(file)]
        requests = [] if entry.readable or file.closed else self.calls.begin("close", entry.uri)
        if requests and not entry.used and (size := entry.place(file)):
            # It was opened for C++ to write to: what went in is known now.
            for write in self.calls.begin("write", entry.uri, 0, size):
                write.done()
        self._left(self._open.pop(id(file)) if entry.readable else None)
        yield requests
        requests[0].done()

    def _used(self, file: Any) -> _Open:
        entry = self._open[id(file)]
        entry.used = True
        return entry

    def _left(self, entry: _Open | None) -> None:
        """A file is let go that Python opened and did not read: it was opened for C++, or for nothing."""
        if entry is not None and entry.readable and not entry.used:
            self._say(_BY_CPP)

    def _finish(self) -> None:
        for entry in list(self._open.values()):
            self._left(entry)


class _Open:
    """An object that is open as a file."""

    __slots__ = ("at", "here", "readable", "uri", "used")

    def __init__(self, uri: str, here: Any, *, readable: bool) -> None:
        self.uri = uri
        self.here = here
        self.readable = readable
        self.used = False
        self.at = 0

    def place(self, file: Any) -> int:
        """Where it stands: a stream does not tell, and never goes anywhere else than on."""
        try:
            return int(file.tell())
        except OSError:
            return self.at


def _size(data: Any) -> int:
    return int(memoryview(data).nbytes)
