"""Which hooks belong to which client of object stores.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

import _thread
import os
from typing import Any

# Those of which each request is seen; of the others each call.
_WIRE = ("botocore", "azure")


class Clients:
    """The hooks of this process's clients; they share one log.

    Args:
        modules: The sibling modules by name.
        spool: Says where the process's parts are and what the calling thread is at.
        hush: Tells the engine whether the calling thread's I/O on files is nobody's; None where that is not asked.
    """

    def __init__(self, modules: dict[str, Any], spool: Any, hush: Any) -> None:
        self._modules = modules
        self._log = modules["object_log"].ObjectLog(spool, modules["lines"].encode, hush)
        self._hooks: dict[str, Any] = {}
        _finish_at_end(modules, self._log)

    def install(self, module: Any, client: str, method: str) -> None:
        """Hook a client's `module`, which was just imported, by a method of its hooks: there is one set of them for all its modules."""
        if client not in self._hooks:
            self._hooks[client] = self._made(client)
        getattr(self._hooks[client], method)(module)

    def _made(self, client: str) -> Any:
        kind = getattr(self._modules[f"{client}_hooks"], f"{client.capitalize()}Hooks")
        requests, callables = self._modules["object_log"], self._modules["callables"]
        if client in _WIRE:
            return kind(self._log, requests.span_of, callables.patch)
        given = self._modules["object_bodies"], callables.stand_in
        calls = self._modules["object_calls"].Calls(self._log, requests.name_of, *given)
        return (
            kind(calls, callables.patch_type, callables.patch, _thread._local()) if client == "arrow" else kind(calls)
        )


def _finish_at_end(modules: dict[str, Any], log: Any) -> None:
    """What is still open when the program ends is written then: also by `os._exit`, with which forked workers end."""
    import atexit

    atexit.register(log.finish)
    original = os._exit

    finish = modules["bootstrap"].guarded(log.finish)

    def leave(*args: Any, **words: Any) -> Any:
        finish()
        return original(*args, **words)

    os._exit = modules["callables"].stand_in(original, leave, "os")
