"""Whether an object store answers, by each client."""

from __future__ import annotations

import time

from tracekit.doctor.check import Check
from tracekit.errors import CannotRunError
from tracekit.storage import Requests, storage_for
from tracekit.units import format_bytes, format_ns

_STORE_TIMEOUT_S = 10.0


def check_store(uri: str, client: str) -> Check:
    """Whether a client can list a bucket, container or prefix, and how long the answer took."""
    name = f"{uri.partition('://')[0]} by {client}"
    try:
        storage = storage_for(uri, Requests(client, timeout_s=_STORE_TIMEOUT_S))
        place = storage.resolve(uri)
        began = time.monotonic_ns()
        look = storage.look(place)
    except CannotRunError as error:
        return Check(name, "missing", error.cause, error.way_out)
    except OSError as error:
        return Check(
            name,
            "missing",
            f"{uri} is not there ({error.strerror})",
            "check the name: list what is there with the store's own tool, or make it with tracekit generate --data",
        )
    size = f"an object of {format_bytes(look.size)}" if look.kind == "file" else "a prefix with objects below it"
    return Check(name, "ok", f"{size}, answered in {format_ns(time.monotonic_ns() - began)}")
