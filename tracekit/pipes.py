"""What can be read only once: standard input, a named pipe, a shell's `<(zcat TRACE)`.

A copy in a temporary file is read instead, as often as it takes; it goes when the process ends. Standard input is copied only
where somebody asks for it (`keep`): mostly one reading is enough, and then nothing is written.
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import sys
import tempfile

from tracekit.errors import InputError

STDIN = "-"
_copies: dict[str, str] = {}


def once(path: str | os.PathLike[str]) -> bool:
    """Whether what a name means can be read only once."""
    name = os.fspath(path)
    return name == STDIN or _is_pipe(name)


def keep(path: str | os.PathLike[str]) -> None:
    """Let what a name means be read as often as asked, by all that reads it through `place`.

    Raises:
        InputError: If there is no room for the copy.
    """
    name = os.fspath(path)
    if name not in _copies and once(name):
        _copies[name] = _copied(name)


def place(path: str | os.PathLike[str]) -> str:
    """The file to open for a name: itself, or the copy of a pipe (errors as of `keep`). Standard input without one is `-`."""
    name = os.fspath(path)
    if name != STDIN:
        keep(name)
    return _copies.get(name, name)


def _is_pipe(name: str) -> bool:
    try:
        mode = os.stat(name).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _copied(name: str) -> str:
    """A copy whose name ends as the pipe's, for its suffix tells the format and its name stands in messages."""
    folder = tempfile.mkdtemp(prefix="tracekit-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = os.path.join(folder, "standard-input" if name == STDIN else name.lstrip("/"))
    os.makedirs(os.path.dirname(copy), exist_ok=True)
    try:
        with open(copy, "wb") as file:
            if name == STDIN:
                shutil.copyfileobj(sys.stdin.buffer, file)
            else:
                with open(name, "rb") as pipe:
                    shutil.copyfileobj(pipe, file)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        way_out = "save the trace in a file and name that, or set TMPDIR to where there is room"
        raise InputError(f"{name} cannot be kept in {folder} to be read twice: {error.strerror}", way_out) from None
    return copy
