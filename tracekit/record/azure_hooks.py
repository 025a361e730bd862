"""Blob requests of Azure's SDK, through the transports it makes them with: each one that is sent, retries included.

There is one over requests and one over aiohttp, on which adlfs stands.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.record.object_log import ObjectLog, Request

_MOST_IDS = 1024


class AzureHooks:
    """Patches azure.core's transports once they are imported.

    Args:
        log: Where requests go.
        span_of: `object_log.span_of`.
        patch: `callables.patch`.
    """

    def __init__(
        self, log: ObjectLog, span_of: Callable[[Any], tuple[int | None, int]], patch: Callable[..., None]
    ) -> None:
        self.log = log
        self._span_of = span_of
        self._patch = patch
        self._attempts: dict[str, int] = {}

    def install(self, module: Any) -> None:
        """Patch azure.core.pipeline.transport._requests_basic, which has just been executed."""
        self.log.follow_connections(self._patch)
        self._patch(module.RequestsTransport, "send", self._sent)

    def install_async(self, module: Any) -> None:
        """Patch azure.core.pipeline.transport._aiohttp."""
        self.log.follow_connections(self._patch)
        self._patch(module.AioHttpTransport, "send", self._sent_async)

    def _sent_async(self, original: Any) -> Any:
        async def send(transport: Any, request: Any, **words: Any) -> Any:
            begun = self._begun(request)
            if begun is None:
                return await original(transport, request, **words)
            self.log.sending(begun)
            try:
                response = await original(transport, request, **words)
            except BaseException as error:
                begun.failed(error)
                raise
            finally:
                self.log.sending(None)
            self._answered_async(begun, response)
            return response

        return send

    def _sent(self, original: Any) -> Any:
        def send(transport: Any, request: Any, **words: Any) -> Any:
            begun = self._begun(request)
            if begun is None:
                return original(transport, request, **words)
            self.log.sending(begun)
            try:
                response = original(transport, request, **words)
            except BaseException as error:
                begun.failed(error)
                raise
            finally:
                self.log.sending(None)
            self._answered(begun, response)
            return response

        return send

    def _begun(self, request: Any) -> Request | None:
        try:
            headers = request.headers
            if "x-ms-version" not in headers:
                return None  # not storage: a token, say
            found = what(request.method, request.url, headers)
            if found is None:
                return None
            op, uri = found
            offset, length = (None, 0)
            if op == "read":
                offset, length = self._span_of(headers.get("x-ms-range") or headers.get("Range"))
            elif op == "write":
                offset = None if "comp=block" in request.url else 0
                length = int(headers.get("Content-Length") or 0)
            begun = self.log.begin("az", op, uri, offset, length, self._attempt(headers.get("x-ms-client-request-id")))
            if op == "read" and (headers.get("x-ms-range") or headers.get("Range")):
                begun.note("range")
        except Exception:
            self.log.lose()
            return None
        else:
            return begun

    def _attempt(self, identity: str | None) -> int:
        """Which attempt this is: retries keep the id of their request."""
        if identity is None:
            return 1
        number = self._attempts[identity] = self._attempts.pop(identity, 0) + 1
        if len(self._attempts) > _MOST_IDS:
            self._attempts.pop(next(iter(self._attempts)), None)
        return number

    def _answered(self, begun: Request, response: Any) -> None:
        try:
            inner = _inner(response)
            begun.headers(inner.status_code, inner.headers.get("Content-Length"), inner.headers.get("Content-Range"))
            if begun.op == "read" and inner.status_code < 300 and not inner._content_consumed:
                begun.watch(inner.raw)
                return
            begun.got = max(begun.expected, 0)
            begun.done()
        except Exception:
            begun.unseen()

    def _answered_async(self, begun: Request, response: Any) -> None:
        try:
            inner = _inner(response)
            begun.headers(inner.status, inner.headers.get("Content-Length"), inner.headers.get("Content-Range"))
            if begun.op == "read" and inner.status < 300:
                begun.watch_async(inner)
                return
            begun.done()
        except Exception:
            begun.unseen()


def _inner(response: Any) -> Any:
    """The response of the library below."""
    return response.internal_response if hasattr(response, "internal_response") else response._internal_response


def what(method: str, url: str, headers: Any) -> tuple[str, str] | None:
    """(op, `az://container/blob`) of a request; None for those about the account alone, but for its listing."""
    from urllib.parse import parse_qs, unquote, urlsplit

    parts = urlsplit(url)
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
    path = unquote(parts.path).lstrip("/")
    host = parts.hostname or ""
    if host == "localhost" or host.replace(".", "").isdigit() or "." not in host:
        path = path.partition("/")[2]  # the account stands in the path of emulators
    comp = query.get("comp", "")
    if comp == "list":
        return "list", f"az://{path}/{query.get('prefix', '')}"
    if not path:
        return None
    return _op(method, comp, query, headers), f"az://{path}"


def _op(method: str, comp: str, query: Any, headers: Any) -> str:
    if method == "GET":
        return "stat" if comp or "restype" in query else "read"
    if method == "PUT":
        if comp == "blocklist":
            return "close"
        if "x-ms-copy-source" in headers:
            return "copy"
        return "write" if comp in ("block", "page", "appendblock") or (not comp and "restype" not in query) else "stat"
    return "delete" if method == "DELETE" and "restype" not in query else "stat"
