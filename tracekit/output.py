"""Files we write: complete under their final name, or not there at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tracekit.errors import InputError, OutputExistsError


@contextmanager
def replacing(path: str | os.PathLike[str], *, force: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` and rename it onto `path` when the block ends well.

    When the block raises, the temporary file is removed and what stood at `path` before is untouched.

    Args:
        path: The final name.
        force: Whether an existing file may be replaced.

    Raises:
        OutputExistsError: If `path` exists and `force` is false.
        InputError: If the directory does not exist or cannot be written.
    """
    target = Path(path)
    check_output(target, force=force)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


def check_output(path: str | os.PathLike[str], *, force: bool = True) -> None:
    """Fail now, before an hour of work, if `path` could not be written at the end of it.

    Raises:
        OutputExistsError: If `path` exists and `force` is false.
        InputError: If `path` is a directory, or its directory is missing or not writable.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{target} is a directory", "name a file to write")
    if target.exists() and not force:
        raise OutputExistsError(target)
    if not target.parent.is_dir():
        raise InputError(f"the directory {target.parent} does not exist", "create it, or write somewhere else")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InputError(f"the directory {target.parent} cannot be written", "choose another with -o")


def write_text(path: str | os.PathLike[str], text: str, *, force: bool = True) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all (see `replacing`)."""
    with replacing(path, force=force) as file:
        file.write(text.encode("utf-8"))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
