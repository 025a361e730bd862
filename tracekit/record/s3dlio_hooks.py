"""s3dlio's calls: its functions, and what loaders, data sets, writers and stores made by them do.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.record.object_calls import Calls
    from tracekit.record.object_log import Request

    _Plan = Generator[list[Request], Any, Any]

_SIMPLE = {
    "stat": "stat", "stat_async": "stat", "head_async": "stat", "list": "list", "delete": "delete", "mkdir": "mkdir",
    "mkdir_async": "mkdir",
}  # fmt: skip
# The call names one object or a prefix; how many bytes it moved is not told.
_UNTOLD = {
    "download": ("src_uri", "read"), "upload": ("dest_prefix", "write"), "read_npz": ("uri", "read"),
    "load_checkpoint": ("uri", "read"), "load_checkpoint_with_validation": ("uri", "read"),
    "load_checkpoint_with_validation_view": ("uri", "read"), "save_checkpoint": ("uri", "write"),
    "save_distributed_shard": ("uri", "write"), "parquet_get_rg": ("uri", "read"), "mp_get": ("uri", "read"),
    "generate_and_write_parquet": ("uri", "write"), "generate_and_write_parquet_schema": ("uri", "write"),
}  # fmt: skip
_WRITERS = ("create_s3_writer", "create_azure_writer")
_ENDPOINTS = (
    "create_multi_endpoint_store", "create_multi_endpoint_store_from_env", "create_multi_endpoint_store_from_file",
    "create_multi_endpoint_store_from_template",
)  # fmt: skip


class S3dlioHooks:
    """Puts its own functions in the place of s3dlio's once that is imported.

    Args:
        calls: Makes ops of calls.
    """

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self._items_have_data = False
        self._one = {
            "get": self._get, "get_async": self._get, "get_range": self._get_range, "get_range_async": self._get_range,
            "put": self._put_bytes,
        }  # fmt: skip

    def install(self, module: Any) -> None:
        """Replace the functions of s3dlio._pymod, which has just been executed: the package takes them from there."""
        self._items_have_data = hasattr(getattr(module, "PyObjectItem", None), "data")
        for name, plan in self._functions().items():
            if (original := getattr(module, name, None)) is not None:
                replacement = self.calls.recorded(original, plan)
                setattr(module, name, self.calls.stand_in(original, replacement, "s3dlio._pymod"))
        for name in _ENDPOINTS:
            if (original := getattr(module, name, None)) is not None:
                setattr(module, name, self.calls.stand_in(original, self._endpoints(original), "s3dlio._pymod"))
        if (kind := getattr(module, "MultipartUploadWriter", None)) is not None:
            original = kind.from_uri
            kind.from_uri = staticmethod(self.calls.recorded(original, self._writer))

    def _functions(self) -> dict[str, Callable[..., _Plan]]:
        plans: dict[str, Callable[..., _Plan]] = {}
        for name, op in _SIMPLE.items():
            plans[name] = partial(self._simple, op)
        for name, (where, op) in _UNTOLD.items():
            plans[name] = partial(self._untold, where, op)
        plans |= dict.fromkeys(_WRITERS, self._writer)
        both: dict[str, Callable[..., _Plan]] = {
            "get": self._get, "get_range": self._get_range, "get_many": self._get_many, "put": self._generated,
            "get_many_stats": self._get_many_stats, "exists": self._exists, "put_bytes": self._put_bytes,
            "put_many": self._put_many, "stat_many": self._stat_many, "get_into": self._get_into,
        }  # fmt: skip
        plans |= {name + later: plan for name, plan in both.items() for later in ("", "_async")}
        return plans | {"create_dataset": self._dataset, "create_async_loader": self._loader}

    def _begin(self, op: str, uri: str, offset: int | None = None, length: int = 0) -> list[Request]:
        return self.calls.begin(op, _named(uri), offset, length)

    # -- one object -------------------------------------------------------------------------------------------------

    def _simple(self, op: str, uri: str, *_: Any, **__: Any) -> _Plan:
        requests = self._begin(op, uri)
        yield requests
        requests[0].done()

    def _exists(self, uri: str) -> _Plan:
        requests = self._begin("stat", uri)
        if not (yield requests):
            requests[0].failed_with("404", None)
        requests[0].done()

    def _get(self, uri: str, **_: Any) -> _Plan:
        requests = self._begin("read", uri, 0)
        requests[0].gave(len((yield requests)))

    def _get_range(self, uri: str, offset: int, length: int | None = None) -> _Plan:
        requests = self.calls.ranged(_named(uri), offset, length or 0)
        requests[0].gave(len((yield requests)))

    def _get_into(self, uri: str, dst: Any, *, expected_len: int) -> _Plan:  # noqa: ARG002  # the call's own arguments
        requests = self._begin("read", uri, 0, expected_len)
        requests[0].gave(int((yield requests)))

    def _put_bytes(self, uri: str, data: Any, **_: Any) -> _Plan:
        requests = self._begin("write", uri, 0, memoryview(data).nbytes)
        yield requests
        requests[0].done()

    def _untold(self, where: str, op: str, *args: Any, **words: Any) -> _Plan:
        uri = words.get(where) or (args[1] if where == "dest_prefix" else args[0])
        requests = self._begin(op, uri)
        yield requests
        requests[0].unseen()

    # -- several ----------------------------------------------------------------------------------------------------

    def _get_many(self, uris: Any, *_: Any, **__: Any) -> _Plan:
        requests = [request for uri in uris for request in self._begin("read", uri, 0)]
        sizes: dict[str, list[int]] = {}
        for uri, body in (yield requests):
            sizes.setdefault(str(_named(uri)), []).append(len(body))
        for request in requests:
            found = sizes.get(request.uri)
            request.gave(found.pop()) if found else request.unseen()

    def _get_many_stats(self, uris: Any, *_: Any, **__: Any) -> _Plan:
        requests = [request for uri in uris for request in self._begin("read", uri, 0)]
        _, total = yield requests
        for request in requests:
            request.gave(total) if len(requests) == 1 else request.unseen()

    def _put_many(self, items: Any, *_: Any, **__: Any) -> _Plan:
        requests = [one for uri, data in items for one in self._begin("write", uri, 0, memoryview(data).nbytes)]
        yield requests
        for request in requests:
            request.done()

    def _stat_many(self, uris: Any) -> _Plan:
        requests = [request for uri in uris for request in self._begin("stat", uri)]
        yield requests
        for request in requests:
            request.done()

    def _generated(self, prefix: str, num: int, *args: Any, size: int | None = None, **_: Any) -> _Plan:
        size = args[2] if len(args) > 2 else size
        requests = self._begin("write", prefix, None, num * (size or 0))
        yield requests
        requests[0].done() if size else requests[0].unseen()

    # -- what goes on -----------------------------------------------------------------------------------------------

    def _dataset(self, uri: str, *_: Any, **__: Any) -> _Plan:
        requests = self._begin("list", uri)
        dataset = yield requests
        requests[0].done()
        names = [_beside(uri, key) for key in dataset.keys()]  # noqa: SIM118  # it is no mapping

        def get_item(index: int) -> _Plan:
            return self._get(names[index])

        return self.calls.kinds.Wrapped(dataset, self.calls, {"get_item": get_item})

    def _loader(self, uri: str, options: Any = None, *_: Any, **__: Any) -> _Plan:
        requests = self._begin("list", uri)
        loader = yield requests
        requests[0].done()
        step = {name: partial(self._handed_over, uri) for name in ("__next__", "__anext__", "collect_batch")}

        def going(iterator: Any) -> Any:
            return self.calls.kinds.Wrapped(iterator, self.calls, step)

        def named() -> Any:
            return (item.data for item in going(loader.items()))

        def later() -> Any:
            take = self.calls.recorded(_Batches(loader.items(), size).take, partial(self._handed_over, uri))
            return _named_batches(take)

        given = dict.fromkeys(("__iter__", "__aiter__", "items"), going)
        size = _batch_size(options)
        # What it hands over without names are its items' data: taken from them, each is known by name.
        instead: dict[str, Callable[[], Any]] = {}
        if self._items_have_data and hasattr(loader, "items"):
            instead = {"__iter__": named, "__aiter__": later} if size else {"__iter__": named}
        return self.calls.kinds.Wrapped(loader, self.calls, {}, given, instead)

    def _handed_over(self, uri: str, *_: Any) -> _Plan:
        """What a loader gives: one object, or several. Only items say which they are."""
        requests = self._begin("read", uri)
        result = yield requests
        items = result if isinstance(result, list) else [result]
        for item, request in zip(items, [*(requests[0].copy() for _ in items[1:]), requests[0]], strict=False):
            if hasattr(item, "byte_count"):
                request.named(str(_named(_beside(uri, item.uri))))
                request.gave(item.byte_count)
            else:
                request.gave(len(item))
        if not items:
            requests[0].drop()

    def _writer(self, uri: str, *_: Any, **__: Any) -> _Plan:
        requests = self._begin("open", uri)
        writer = yield requests
        requests[0].done()
        at = 0

        def write(data: Any) -> _Plan:
            nonlocal at
            size = memoryview(data).nbytes
            writing = self._begin("write", uri, at, size)
            yield writing
            at += size
            writing[0].done()

        def close(*_: Any) -> _Plan:
            return self._simple("close", uri)

        plans = dict.fromkeys(("write", "write_chunk", "write_owned_bytes"), write)
        return self.calls.kinds.Wrapped(
            writer, self.calls, plans | dict.fromkeys(("close", "finalize", "__exit__"), close)
        )

    def _endpoints(self, original: Any) -> Any:
        plans = self._one | {name: partial(self._simple, name) for name in ("list", "delete")}

        def create(*args: Any, **words: Any) -> Any:
            return self.calls.kinds.Wrapped(original(*args, **words), self.calls, plans)

        return create


def _batch_size(options: Any) -> int:
    """How many items a batch has; 0 where the options do not say it."""
    size = options.get("batch_size") if isinstance(options, dict) else None
    return size if isinstance(size, int) and size > 0 else 0


class _Batches:
    """The items of a loader, so many at once.

    Args:
        items: Its iterator, which waits for each with the interpreter lock let go.
        size: How many.
    """

    def __init__(self, items: Any, size: int) -> None:
        self._items, self._size = items, size

    async def take(self) -> list[Any]:
        """The next batch; fewer at the end, and then none."""
        import asyncio

        return await asyncio.to_thread(self._next)

    def _next(self) -> list[Any]:
        from itertools import islice

        return list(islice(self._items, self._size))


async def _named_batches(take: Callable[[], Any]) -> AsyncIterator[list[Any]]:
    """What the loader's own asynchronous iterator gives: lists of bodies."""
    while items := await take():
        yield [item.data for item in items]


def _named(uri: str) -> str | None:
    """The URI as it stands in a trace: s3dlio's of Azure begin with the account."""
    uri = str(uri)
    return "az://" + uri.removeprefix("az://").partition("/")[2] if uri.startswith("az://") else uri


def _beside(uri: str, key: str) -> str:
    """The URI of an object whose key in the same container is known; of one that is a URI, itself."""
    if "://" in key:
        return key
    scheme, _, rest = uri.partition("://")
    parts = rest.split("/")
    return f"{scheme}://{'/'.join(parts[: 2 if scheme == 'az' else 1])}/{key}"
