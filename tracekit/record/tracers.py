"""The straces of a run: attached to the command itself, and found among what runs."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Collection, Mapping, Sequence

from tracekit.record.children import descendants, name_of, words_of


def spawn(
    words: Sequence[str], parts: str, mask: Collection[int], command: Sequence[str], environment: Mapping[str, str]
) -> int:
    """Start a program with strace attached to it, if it is no Python; return its pid.

    Args:
        words: The strace command.
        parts: Where its output goes.
        mask: The signals that are blocked in the program.
        command: The program and its arguments.
        environment: Its environment.

    Raises:
        OSError: If it cannot be started, as from `os.posix_spawnp`.
    """
    from tracekit import _core

    _core.record_attach_plan([os.fsencode(word) for word in words], parts)
    path = shutil.which(command[0], path=environment.get("PATH"))
    failed, failing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = errno.EIO
        try:
            for number in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            if path is not None:
                _core.record_attach(path)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.execvpe(command[0], list(command), environment)  # noqa: S606  # no shell is the point
        except OSError as error:
            code = error.errno or code
        finally:
            os.write(failing, str(code).encode())
            os._exit(127)
    os.close(failing)
    with open(failed, "rb") as file:
        why = file.read()
    if why:
        os.waitpid(pid, 0)
        raise OSError(int(why), os.strerror(int(why)), command[0])
    return pid


def running(parts: str) -> list[int]:
    """Those of a run that still trace something, below this process."""
    return [pid for pid in descendants(os.getpid()) if _writes_to(pid, parts)]


def _writes_to(pid: int, parts: str) -> bool:
    return name_of(pid) == "strace" and any(word.startswith(parts) for word in words_of(pid))
