"""obstore's calls: its functions, and what is read from what they return. The methods of its stores go through the functions.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.record.object_calls import Calls
    from tracekit.record.object_log import Request

    _Plan = Generator[list[Request], Any, Any]

_FUNCTIONS = (
    "get", "get_range", "get_ranges", "head", "put", "delete", "copy", "rename", "list", "list_with_delimiter",
    "open_reader", "open_writer",
)  # fmt: skip
_REPLACED = ("get", "open_reader", "open_writer")
# Where the container's name stands: a store's class, the key of its configuration, variables of the environment.
_STORES = {
    "S3Store": ("s3", "bucket", ("AWS_BUCKET", "AWS_BUCKET_NAME")),
    "AzureStore": ("az", "container_name", ("AZURE_CONTAINER_NAME",)),
}


class ObstoreHooks:
    """Puts its own functions in the place of obstore's once that is imported.

    Args:
        calls: Makes ops of calls.
    """

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def install(self, module: Any) -> None:
        """Replace the functions of obstore._obstore, which has just been executed: everything else takes them from there."""
        for name in _FUNCTIONS:
            for known in (name, name + "_async"):
                if (original := getattr(module, known, None)) is not None:
                    made = self._putting(original) if name == "put" else self._calling(original, name)
                    setattr(module, known, self.calls.stand_in(original, made, "obstore"))

    def _calling(self, original: Any, name: str) -> Any:
        return self.calls.recorded(original, getattr(self, "_" + name), replaces=name in _REPLACED)

    def _putting(self, original: Any) -> Any:
        def put(store: Any, path: str, file: Any, **words: Any) -> Any:
            uri = self._uri(store, path)
            if uri is None:
                return original(store, path, file, **words)
            body, size = self.calls.kinds.measured(file, self.calls.log.quietly)

            def plan(*_: Any, **__: Any) -> _Plan:
                requests = self.calls.begin("write", uri, 0)
                yield requests
                requests[0].gave(size())

            return self.calls.run(original, plan, (store, path, body), words)

        return put

    def _uri(self, store: Any, path: str | None) -> str | None:
        """The URI of an object; None in what is no store of objects."""
        for kind in type(store).__mro__:
            if kind.__name__ in _STORES:
                scheme, key, variables = _STORES[kind.__name__]
                container = store.config.get(key) or next(filter(None, map(os.environ.get, variables)), "")
                prefix = str(store.prefix or "").strip("/")
                return "/".join([f"{scheme}://{container}", *([prefix] if prefix else []), (path or "").lstrip("/")])
        return None

    # -- functions --------------------------------------------------------------------------------------------------

    def _get(self, store: Any, path: str, *, options: Any = None, **_: Any) -> _Plan:
        span = (options or {}).get("range")
        begin = partial(self.calls.begin, "read") if span is None else self.calls.ranged
        requests = begin(self._uri(store, path), *_asked(span))
        result = yield requests
        first, end = result.range
        requests[0].answered(first, end - first)
        return self.calls.kinds.Result(result, self.calls, requests[0])

    def _get_range(
        self, store: Any, path: str, *, start: int, end: int | None = None, length: int | None = None
    ) -> _Plan:
        size = int(length if end is None else end - start)  # type: ignore[arg-type]  # one of the two is there
        requests = self.calls.ranged(self._uri(store, path), start, size)
        requests[0].gave(len((yield requests)))

    def _get_ranges(
        self, store: Any, path: str, *, starts: Any, ends: Any = None, lengths: Any = None, **_: Any
    ) -> _Plan:
        sizes = lengths if ends is None else [end - start for start, end in zip(starts, ends, strict=True)]
        uri = self._uri(store, path)
        requests = [
            request
            for start, size in zip(starts, sizes, strict=True)
            for request in self.calls.ranged(uri, int(start), int(size))
        ]
        for request, body in zip(requests, (yield requests), strict=True):
            request.gave(len(body))

    def _head(self, store: Any, path: str) -> _Plan:
        yield from self._simple("stat", store, path)

    def _copy(self, store: Any, from_: str, to: str, **_: Any) -> _Plan:  # noqa: ARG002  # the call's own arguments
        yield from self._simple("copy", store, to)

    def _rename(self, store: Any, from_: str, to: str, **_: Any) -> _Plan:  # noqa: ARG002  # as above
        yield from self._simple("rename", store, to)

    def _list_with_delimiter(self, store: Any, prefix: str | None = None, **_: Any) -> _Plan:
        yield from self._simple("list", store, prefix)

    def _simple(self, op: str, store: Any, path: str | None) -> _Plan:
        requests = self.calls.begin(op, self._uri(store, path))
        yield requests
        requests[0].done()

    def _delete(self, store: Any, paths: Any) -> _Plan:
        names = [paths] if isinstance(paths, str) else list(paths)
        requests = [request for name in names for request in self.calls.begin("delete", self._uri(store, name))]
        yield requests
        for request in requests:
            request.done()

    def _list(self, store: Any, prefix: str | None = None, **_: Any) -> _Plan:
        requests = self.calls.begin("list", self._uri(store, prefix))
        return self.calls.kinds.Listing((yield requests), self.calls, requests[0])

    def _open_reader(self, store: Any, path: str, **_: Any) -> _Plan:
        return self._opened(store, path, self.calls.kinds.Reader)

    def _open_writer(self, store: Any, path: str, **_: Any) -> _Plan:
        return self._opened(store, path, self.calls.kinds.Writer)

    def _opened(self, store: Any, path: str, kind: Any) -> _Plan:
        uri = self._uri(store, path)
        requests = self.calls.begin("open", uri)
        result = yield requests
        requests[0].done()
        return kind(result, self.calls, uri)


def _asked(span: Any) -> tuple[int | None, int]:
    """(offset, length) of a range in the options of `get`; (0, 0) without one, None where it is counted from the end."""
    if span is None:
        return 0, 0
    if isinstance(span, dict):
        return (int(span["offset"]), 0) if "offset" in span else (None, int(span["suffix"]))
    return int(span[0]), int(span[1] - span[0])
