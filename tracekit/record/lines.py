"""What a recorded process says that has no fixed size: files, marks, facts about itself; one JSON text each.

Each is written with one write with O_APPEND, to a file of the process (`TOKEN.jsonl`) or behind the head of its part where the
core keeps one (`_native/spool.h`). What was appended is in the page cache, so it survives SIGKILL, os._exit and exec.

This module runs inside the recorded program: standard library only, and from `posix` rather than `os`, whose functions
are wrapped.
"""

from __future__ import annotations

import posix
import time
from collections.abc import Callable
from typing import Any

# (worker, epoch, step, sample, run): what an op is done for. `run` > 0 says that step is the position of a batch in
# that many-th run of a loader worker; merge turns it into the step's number.
Context = tuple[int, int, int, int, int]
NOWHERE: Context = (-1, -1, -1, -1, 0)
_MAX_PENDING = 10_000


class Lines:
    """The lines of one process, and what its ops have in common.

    Args:
        directory: The run's parts directory.
        t0: CLOCK_MONOTONIC ns of the run's start; only kept for whoever asks.
        context: What is asked and told where the calling thread is at; None for a context variable.
        core: The core where it notes the ops, or None. It knows the process's file, and counts.
    """

    nowhere = NOWHERE

    def __init__(self, directory: str, t0: int = 0, context: Any = None, core: Any = None) -> None:
        self.directory = directory
        self.t0 = t0
        self.context: Any = _context_variable() if context is None else context
        self.core = core
        self.samples: dict[str, int] = {}
        self.pending: list[str] = []
        self.token = ""
        self.lines_path = ""
        self.on_fork: list[Callable[[], None]] = []
        self.append = append if core is None else core.record_line
        self._begin()

    def _begin(self) -> None:
        self.pid = posix.getpid()
        known, born = (0, 0) if self.core is None else self.core.record_process()
        # The time makes the name unique where a pid is used twice in one run.
        self.token = f"{self.pid}-{born if known else time.monotonic_ns():x}"
        self.lines_path = "" if known else f"{self.directory}/{self.token}.jsonl"

    def ignore(self, moved: int) -> None:
        """Count bytes read from a file that is not recorded: the core has done it."""

    def lose(self, count: int = 1) -> None:
        """Count ops that could not be recorded."""
        if self.core is not None:
            self.core.record_lost(count)

    def first_stream(self) -> None:
        """Have a place for the calling thread's ops: the core sees to it."""

    def line(self, **values: Any) -> None:
        """Append a JSON line; what cannot be written now is tried again with the next one."""
        self.pending.append("\n" + encode(values) + "\n")
        self.flush()

    def flush(self) -> None:
        """Write the lines that are waiting; they wait on where that is not possible (no descriptor free, disk full)."""
        waiting, self.pending = self.pending, []
        if waiting and not self.append(self.lines_path, "".join(waiting)):
            self.pending = [*waiting, *self.pending][-_MAX_PENDING:]

    def sample_code(self, sample: Any) -> int:
        """The integer that stands for a sample in a context: itself where it is one, else -2 and below, named by a line."""
        if type(sample) is int and 0 <= sample < 1 << 63:
            return sample
        name = _sample_name(sample)
        if isinstance(name, int):
            return name
        code = self.samples.get(name)
        if code is None:
            code = self.samples[name] = -2 - len(self.samples)
            self.line(sample=code, name=name)
        return code

    # -- fork -------------------------------------------------------------------------------------------------------

    def after_fork(self) -> None:
        """In a forked child: parts of its own. The parent's mappings are let go, never written."""
        self.pending = []
        self.samples = {}
        self._begin()
        # Sample codes in the inherited context were the parent's; integers mean the same everywhere.
        context = self.context.get()
        if context[3] < -1:
            self.context.set((*context[:3], -1, context[4]))
        for callback in self.on_fork:
            callback()


def _context_variable() -> Any:
    from _contextvars import ContextVar

    return ContextVar("tracekit_context", default=NOWHERE)


def append(path: str, text: str) -> bool:
    """Append text with one write; whether all of it is there."""
    data = text.encode("ascii")
    try:
        fd = posix.open(path, posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        return posix.write(fd, data) == len(data)
    except OSError:
        return False
    finally:
        posix.close(fd)


def encode(value: Any) -> str:
    """JSON of plain values. The json package is not used: it would import `re` into programs that never asked for it."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(encode, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quoted(str(key))}:{encode(item)}" for key, item in value.items()) + "}"
    return _quoted(str(value))


def _quoted(text: str) -> str:
    """A JSON string. Most are plain, and the extension that can do all of them costs an interpreter's start a good part."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    from _json import encode_basestring_ascii

    return encode_basestring_ascii(text)


def _sample_name(sample: Any) -> int | str:
    try:
        number = int(sample.__index__())
    except Exception:
        return str(sample)[:200]
    return number if 0 <= number < 1 << 63 else str(number)
