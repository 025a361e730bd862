"""An `open` that records: Python's own objects over a raw file that records (see `rawio`).

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

import _io
import io
import posix
import sys
from collections.abc import Callable
from os import fspath
from typing import Any

_TYPE_MASK, _REGULAR = 0o170000, 0o100000
_MISSING: Any = object()
_BUFFERS: dict[str, Any] = {
    "r": _io.BufferedReader,
    "w": _io.BufferedWriter,
    "a": _io.BufferedWriter,
    "x": _io.BufferedWriter,
}


def recording_open(original: Any, raw_file: Any) -> Callable[..., Any]:
    """What stands in for `open`: the same objects, over a raw file that records.

    Anything it does not understand (a bad mode, text arguments with a binary mode) goes to the original, which knows how
    to refuse it.
    """
    modes = _modes()
    text_file: Any = _io.TextIOWrapper
    plain_file = _io.FileIO

    def file_open(
        file: Any = _MISSING, mode: Any = "r", buffering: Any = -1, encoding: Any = None, errors: Any = None,
        newline: Any = None, closefd: Any = True, opener: Any = None, *more: Any, **unknown: Any,  # noqa: FBT002  # open's own
    ) -> Any:  # fmt: skip
        known = modes.get(mode) if type(mode) is str and type(buffering) is int else None
        if file is _MISSING or more or unknown:
            return original(*(() if file is _MISSING else (file,)), *more, **unknown)
        if known is None or (known[2] and not (encoding is None and errors is None and newline is None)):
            return original(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw_mode, buffer, binary = known
        if buffering == 0 and not binary:
            return original(file, mode, buffering, encoding, errors, newline, closefd, opener)
        path = file if isinstance(file, (str, bytes, int)) or not hasattr(file, "__fspath__") else fspath(file)
        encoding = _warned(binary, buffering, encoding)
        raw = result = (plain_file if _is_stream(path) else raw_file)(path, raw_mode, closefd, opener)
        try:
            terminal = raw.isatty()
            line_buffering = buffering == 1 or (buffering < 0 and terminal)
            if buffering == 0:
                return raw
            size = _buffer_size(raw) if buffering < 0 or (buffering == 1) or terminal else buffering
            result = buffered = buffer(raw, size)
            if binary:
                return buffered
            result = text = text_file(buffered, encoding, errors, newline, line_buffering)
            text.mode = mode
        except BaseException:
            result.close()
            raise
        return text

    return file_open


def _is_stream(path: Any) -> bool:
    """Whether it is the descriptor of a pipe, socket or terminal: never recorded, so nothing of ours stands over it."""
    try:
        return type(path) is int and posix.fstat(path)[0] & _TYPE_MASK != _REGULAR
    except (OSError, OverflowError):
        return False


def _buffer_size(raw: Any) -> int:
    size = raw._blksize
    if sys.version_info >= (3, 14):
        return int(max(min(size, 8192 * 1024), io.DEFAULT_BUFFER_SIZE))
    return int(size) if size > 1 else io.DEFAULT_BUFFER_SIZE


def _warned(binary: Any, buffering: int, encoding: Any) -> Any:
    """The warnings `open` gives, at the caller's line; the encoding to go on with."""
    if binary and buffering == 1:
        import warnings

        text = "line buffering (buffering=1) isn't supported in binary mode, the default buffer size will be used"
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    elif not binary and encoding is None and sys.flags.warn_default_encoding:
        import warnings

        warnings.warn("'encoding' argument not specified", EncodingWarning, stacklevel=3)
        return "locale"
    return encoding


def _modes() -> dict[str, tuple[str, Any, bool]]:
    """Every valid spelling of a mode: mode of the raw file, class of its buffer, whether it is binary."""
    from itertools import permutations

    modes = {}
    for kind in "rwax":
        for extras in ("", "b", "t", "+", "b+", "t+"):
            for letters in permutations(kind + extras):
                buffer = _io.BufferedRandom if "+" in extras else _BUFFERS[kind]
                raw = kind + ("+" if "+" in extras else "")
                modes["".join(letters)] = (raw, buffer, "b" in extras)
    return modes
