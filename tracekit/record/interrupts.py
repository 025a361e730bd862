"""What a signal handler raises while a wrapped call is at work must wait until the call has its result.

Built-in files are written in C: a handler runs before or after a read or write, never in the middle, so a buffer always
knows what was moved. Ours run Python around the call, where handlers run too. An exception let out there would make a
BufferedWriter write its buffer twice and a BufferedReader lose one. So it is caught, the result is given back, and the
exception is raised again as soon as the program's own code goes on.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

import _thread
from typing import Any

_OURS = ("_tracekit_", "tracekit.record.")


class Interrupted(BaseException):
    """From the wrapped call to the method around it: the result, and the exception that has to wait.

    The method takes both out, and with `del again` as its last act before `return result` lets the exception go: no
    version of Python looks for asynchronous exceptions between these two.
    """

    def __init__(self, result: Any, again: Any) -> None:
        super().__init__()
        self.result = result
        self.again = again


def from_handler(error: BaseException) -> bool:
    """Whether a signal handler raised it, rather than what we called."""
    if isinstance(error, (KeyboardInterrupt, Interrupted)):
        return True  # Python's own handler for Ctrl-C has no frame
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and not _is_ours(trace)


def _is_ours(trace: Any) -> bool:
    return str(trace.tb_frame.f_globals.get("__name__")).startswith(_OURS)


def again(error: BaseException) -> Any:
    """An object whose end raises the error in this thread; None for an error that is no signal handler's.

    Raises:
        BaseException: The error itself, where that cannot be arranged.
    """
    if isinstance(error, Interrupted):
        return error.again
    if not from_handler(error):
        return None
    try:
        from ctypes import c_ulong, py_object, pythonapi
        from functools import partial

        while error.__traceback__ is not None and _is_ours(error.__traceback__):
            error.__traceback__ = error.__traceback__.tb_next
        raising: Any = pythonapi["PyThreadState_SetAsyncExc"]
        call = partial(raising, c_ulong(_thread.get_ident()), py_object(_maker(error)))
        # Not a Python function: nothing may be interpreted between the end of the object and the program's next line.
        return type("Again", (), {"__del__": staticmethod(call)})()
    except Exception:
        raise error from None


def _maker(error: BaseException) -> type[BaseException]:
    """A class whose instance is this very error: only classes can be raised from outside."""
    kind = type(error)
    if kind is KeyboardInterrupt and not error.args:
        return kind
    body = {"__new__": lambda _cls, *_args: error, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    try:
        return type(kind.__name__, (kind,), body)
    except TypeError:
        return kind
