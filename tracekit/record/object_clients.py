"""Which hooks belong to which client of object stores.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

import _thread
import os
from typing import Any

_AZURE = "azure.core.pipeline.transport"


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
        self._arrow: Any = None
        _finish_at_end(modules, self._log)

    def install(self, module: Any) -> None:
        """Hook a client: `module`, just imported, is the one that sends its requests."""
        name = module.__name__
        if name == "botocore.endpoint":
            self._wire("botocore_hooks", "BotocoreHooks").install(module)
        elif name == "aiobotocore.endpoint":
            self._wire("botocore_hooks", "BotocoreHooks").install_async(module)
        elif name == f"{_AZURE}._requests_basic":
            self._wire("azure_hooks", "AzureHooks").install(module)
        elif name == f"{_AZURE}._aiohttp":
            self._wire("azure_hooks", "AzureHooks").install_async(module)
        elif name == "obstore._obstore":
            self._logical("obstore_hooks", "ObstoreHooks").install(module)
        elif name == "s3dlio._pymod":
            self._logical("s3dlio_hooks", "S3dlioHooks").install(module)
        else:
            self._install_arrow(module)

    def _wire(self, module: str, kind: str) -> Any:
        hooks = getattr(self._modules[module], kind)
        return hooks(self._log, self._modules["object_log"].span_of, self._modules["callables"].patch)

    def _logical(self, module: str, kind: str) -> Any:
        hooks = getattr(self._modules[module], kind)
        return hooks(self._calls())

    def _calls(self) -> Any:
        given = self._modules["object_bodies"], self._modules["callables"].stand_in
        return self._modules["object_calls"].Calls(self._log, self._modules["object_log"].name_of, *given)

    def _install_arrow(self, module: Any) -> None:
        if self._arrow is None:  # one for all of pyarrow's modules: they share files
            patch, patch_type = self._modules["callables"].patch, self._modules["callables"].patch_type
            self._arrow = self._modules["arrow_hooks"].ArrowHooks(self._calls(), patch_type, patch, _thread._local())
        install = {
            "pyarrow._fs": self._arrow.install,
            "pyarrow.dataset": self._arrow.install_datasets,
            "pyarrow.parquet.core": self._arrow.install_parquet,
        }
        install[module.__name__](module)


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
