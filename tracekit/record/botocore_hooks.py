"""S3 requests of botocore, and so of boto3, s3transfer and smart_open: each one that is sent, retries included.

The operation, bucket and key are taken from what botocore itself keeps of a request, so endpoints of every style are understood.
Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.record.object_log import ObjectLog, Request

_NOTE = "_tracekit_request"
# What a request does, by the operation's name; what is not here is told apart by its first word.
OPS = {
    "GetObject": "read", "PutObject": "write", "UploadPart": "write", "DeleteObject": "delete", "DeleteObjects": "delete",
    "CreateMultipartUpload": "open", "CompleteMultipartUpload": "close", "AbortMultipartUpload": "close", "CopyObject": "copy",
    "UploadPartCopy": "copy",
}  # fmt: skip


class BotocoreHooks:
    """Patches botocore.endpoint once it is imported, and aiobotocore's where that is.

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

    def install(self, module: Any) -> None:
        """Patch botocore.endpoint, which has just been executed."""
        self.log.follow_connections(self._patch)
        kind = module.Endpoint
        self._patch(kind, "_do_get_response", self._noted)
        self._patch(kind, "_send", self._sent)

    def install_async(self, module: Any) -> None:
        """Patch aiobotocore.endpoint, whose class overrides both."""
        self.log.follow_connections(self._patch)
        kind = module.AioEndpoint
        self._patch(kind, "_do_get_response", self._noted)
        self._patch(kind, "_send", self._sent_async)

    def _noted(self, original: Any) -> Any:
        def _do_get_response(endpoint: Any, request: Any, operation_model: Any, context: Any) -> Any:
            try:
                if operation_model.service_model.service_name == "s3":
                    setattr(request, _NOTE, (operation_model.name, context))
            except Exception:
                self.log.lose()
            return original(endpoint, request, operation_model, context)

        return _do_get_response

    def _sent(self, original: Any) -> Any:
        def _send(endpoint: Any, request: Any) -> Any:
            begun = self._begun(request)
            if begun is None:
                return original(endpoint, request)
            self.log.sending(begun)
            try:
                response = original(endpoint, request)
            except BaseException as error:
                begun.failed(error)
                raise
            finally:
                self.log.sending(None)
            self._answered(begun, request, response, begun.watch)
            return response

        return _send

    def _sent_async(self, original: Any) -> Any:
        async def _send(endpoint: Any, request: Any) -> Any:
            begun = self._begun(request)
            if begun is None:
                return await original(endpoint, request)
            self.log.sending(begun)
            try:
                response = await original(endpoint, request)
            except BaseException as error:
                begun.failed(error)
                raise
            finally:
                self.log.sending(None)
            self._answered(begun, request, response, begun.watch_async)
            return response

        return _send

    def _begun(self, request: Any) -> Request | None:
        try:
            note = request.__dict__.pop(_NOTE, None)
            if note is None:
                return None
            operation, context = note
            op = OPS.get(operation) or ("list" if operation.startswith("List") else "stat")
            parameters = context.get("s3_redirect", {}).get("params") or {}
            uri = f"s3://{context.get('s3_redirect', {}).get('bucket') or parameters.get('Bucket') or ''}/{_named(parameters)}"
            headers = request.headers
            offset, length = (None, 0)
            if op == "read":
                offset, length = self._span_of(headers.get("Range"))
            elif op == "write":
                offset = 0 if operation == "PutObject" else None
                length = int(headers.get("X-Amz-Decoded-Content-Length") or headers.get("Content-Length") or 0)
            begun = self.log.begin("s3", op, uri, offset, length, int(context.get("retries", {}).get("attempt", 1)))
            if op == "read" and headers.get("Range"):
                begun.note("range")
        except Exception:
            self.log.lose()
            return None
        else:
            return begun

    def _answered(self, begun: Request, request: Any, response: Any, watch: Callable[[Any], None]) -> None:
        try:
            headers = response.headers
            begun.headers(response.status_code, headers.get("Content-Length"), headers.get("Content-Range"))
            if request.stream_output and begun.op == "read" and response.status_code < 300:
                watch(response.raw)
            else:
                begun.done()
        except Exception:
            begun.unseen()


def _named(parameters: Any) -> str:
    """The key; of a listing its prefix."""
    return str(parameters.get("Key") or parameters.get("Prefix") or "")
