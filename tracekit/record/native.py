"""The native engine in a recorded process: the core hooks the C library, and Python only says what the I/O is for.

Everything that stands in its way is an ordinary outcome with a reason, and the Python engine does the job instead.

Runs inside the recorded program: standard library and the core only.
"""

from __future__ import annotations

import posix
import sys
from collections.abc import Callable
from typing import Any

# What the core is called here; a tracekit that the program itself imports has its own copy, which never records.
_NAME = "_tracekit_native._core"
# As in touched.h.
_MMAP = ("map", "pagemap", "exact")


class Engine:
    """How this process is recorded.

    `name` is native or python; `way` detour or got; `reason` says why not the better one; `left` which calls stay unseen.
    `startup` is what the kernel had counted as read before the hooks were in. `mmap` is what is seen of mapped files, and
    `mmap_why` why not what was asked for; `raw_why` why raw system calls are not caught.
    """

    def __init__(self, name: str, reason: str, core: Any = None) -> None:
        self.name = name
        self.reason = reason
        self.core = core
        self.way = ""
        self.left: list[list[str]] = []
        self.startup = 0
        self.mmap = "map"
        self.mmap_why = ""
        self.raw_why: str | None = None

    def facts(self) -> dict[str, Any]:
        """What a process says about its engine; `native` names its part of the spool."""
        facts: dict[str, Any] = {"engine": self.name, "why": self.reason}
        if self.core is not None:
            if self.mmap_why or self.mmap != "map":
                facts.update(mmap=self.mmap, mmap_why=self.mmap_why)
            if self.raw_why:
                facts["raw_why"] = self.raw_why
            facts.update(way=self.way, left=self.left, native=self.core.record_process()[0], startup=self.startup)
            self.startup = 0  # a forked child has read nothing yet
        return facts


def start(options: dict[str, Any] | None, settings: dict[str, Any]) -> Engine:
    """Hook the C library, if that is wanted and possible here.

    Args:
        options: core (the extension's path), tsc, detour, got; None when the native engine is not to be used.
        settings: directory, home and variable of the run, mmap: map, pagemap or exact, and
            raw_syscalls: whether to catch those.
    """
    if options is None:
        return Engine("python", settings.get("reason", ""))
    reason = _unfit()
    if reason:
        return Engine("python", reason)
    try:
        core = _load(options["core"])
    except Exception as error:
        return Engine("python", f"the core cannot be loaded: {error}")
    wanted = settings.get("mmap", "map")
    mmap_why = core.record_touches(_MMAP.index(wanted)) if wanted != "map" else None
    raw_why = core.record_raw(False) if settings.get("raw_syscalls") else None
    startup = read_so_far()
    way, reason, _hooked, left = core.record_start(
        settings["directory"], options["tsc"], options["detour"], options["got"]
    )
    if way == "none":
        return Engine("python", reason or "")
    engine = Engine("native", reason or "", core)
    engine.mmap, engine.mmap_why = "map" if mmap_why else wanted, mmap_why or ""
    if settings.get("raw_syscalls") and raw_why is None:
        raw_why = (
            core.record_raw(True) if way == "detour" else f"the C library's functions could not be patched: {reason}"
        )
    engine.raw_why = raw_why
    engine.way, engine.left, engine.startup = way, [list(pair) for pair in left], startup
    variable = f"{settings['variable']}={settings['directory']}".encode()
    preload = settings.get("preload")
    hints = [] if preload is None else [preload[0].encode()]
    core.record_environment([variable, *hints], settings["home"], None if preload is None else preload[1])
    core.record_children(settings.get("children", "report") != "off")
    if settings.get("strace"):
        core.record_attach_plan(
            [word.encode("utf-8", "surrogateescape") for word in settings["strace"]], settings["directory"]
        )
    if way == "detour" and "execve" not in dict(left):
        _leave_no_trace(settings)
    return engine


def _leave_no_trace(settings: dict[str, Any]) -> None:
    """Take what led here out of the environment: the program finds it as it was, and the core gives it to what it starts."""
    import os

    ours = {"PYTHONPATH": settings["home"]}
    os.environ.pop(settings["variable"], None)
    if settings.get("preload") is not None:
        hint, ours["LD_PRELOAD"] = settings["preload"]
        os.environ.pop(hint.partition("=")[0], None)
    for name, entry in ours.items():
        others = [other for other in os.environ.get(name, "").split(":") if other != entry]
        if others:
            os.environ[name] = ":".join(others)
        else:
            os.environ.pop(name, None)


def _unfit() -> str:
    if sys.implementation.name != "cpython":
        return f"the core is made for CPython, this is {sys.implementation.name}"
    if "t" in getattr(sys, "abiflags", ""):
        return "the core is not made for free-threaded Python"
    return ""


def _load(path: str) -> Any:
    from _frozen_importlib import ModuleSpec
    from _frozen_importlib_external import ExtensionFileLoader

    loader: Any = ExtensionFileLoader(_NAME, path)
    module = loader.create_module(ModuleSpec(_NAME, loader, origin=path))
    loader.exec_module(module)
    return module


def read_so_far() -> int:
    """Bytes the kernel counted as read by this process; 0 where /proc does not tell."""
    try:
        # The thread's own: the process's has what its dead children read, if another program ran here before.
        fd = posix.open("/proc/thread-self/io", posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            return int(posix.read(fd, 200).split(None, 2)[1])
        finally:
            posix.close(fd)
    except (OSError, ValueError, IndexError):
        return 0


class Context:
    """The context variable of a process recorded by the core: a change reaches the thread's own stream at once.

    An asyncio task keeps its context while another runs, but the stream belongs to the thread: ops between two changes
    carry the last one.
    """

    def __init__(self, nowhere: Any, push: Callable[[int, int, int, int, int], None]) -> None:
        self._nowhere = nowhere
        self._push = push
        self._made: Any = None

    @property
    def _variable(self) -> Any:
        """Made when it is first needed: most programs never say where they are at."""
        if self._made is None:
            from _contextvars import ContextVar

            # Two threads may come here at once; one variable stays.
            self._made = self.__dict__.setdefault("_first", ContextVar("tracekit_context", default=self._nowhere))
        return self._made

    def get(self) -> Any:
        """What the calling thread or task is at."""
        return self._nowhere if self._made is None else self._variable.get()

    def set(self, value: Any) -> None:
        """The calling thread is at `value` from here on."""
        self._variable.set(value)
        worker, epoch, step, sample, run = value
        self._push(sample, step, epoch, worker, run)
