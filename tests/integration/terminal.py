"""A terminal of a certain width for a command, and what a person would see on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_MOST_S = 240


def on_terminal(
    command: Sequence[str],
    columns: int,
    *,
    rows: int = 50,
    when: Callable[[str], bytes] = lambda _: b"",
    **variables: str,
) -> tuple[int, str]:
    """Run a command on a terminal of its own; its exit status and everything it wrote there.

    Args:
        command: What is run, in a session of its own (by util-linux' setsid).
        columns: How wide the terminal is.
        rows: How high.
        when: Given what was written so far, the keys to press now.
        variables: Of the environment, beside ours without those about colour.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    plain = {
        name: value
        for name, value in os.environ.items()
        if name not in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES")
    }
    child = subprocess.Popen(
        ["setsid", "--ctty", *command], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**plain, "TERM": "xterm-256color", **variables},
    )  # fmt: skip
    os.close(theirs)
    try:
        return _followed(child, ours, when)
    finally:
        child.kill()
        child.wait()
        os.close(ours)


def _followed(child: subprocess.Popen[bytes], ours: int, when: Callable[[str], bytes]) -> tuple[int, str]:
    written, until = bytearray(), time.monotonic() + _MOST_S
    while time.monotonic() < until:
        if select.select([ours], [], [], 0.05)[0]:
            try:
                piece = os.read(ours, 1 << 16)
            except OSError:  # what EOF is on Linux when the other side is closed
                piece = b""
            if not piece:
                return child.wait(), written.decode()
            written += piece
            if keys := when(written.decode(errors="ignore")):
                os.write(ours, keys)
    raise TimeoutError(f"not done after {_MOST_S} s; it had written {written.decode(errors='replace')!r}")


def seen(written: str) -> list[str]:
    """The lines that stand there at the end, without colour: a carriage return goes back, an erase clears."""
    lines = []
    for line in _COLOUR.sub("", written).replace("\r\n", "\n").split("\n"):
        shown = ""
        for part in line.split("\r"):
            shown = part.removeprefix("\x1b[K") if part.startswith("\x1b[K") else part + shown[len(part) :]
        lines.append(shown)
    return lines
