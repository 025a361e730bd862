"""Files we write: complete under their final name, or not there at all."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tracekit.errors import CannotRunError, InputError, OutputExistsError, TracekitError

# What is wrong with a name; all else that a system refuses to write is a matter of permission or room.
_WRONG_NAME = frozenset({errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR})


@contextmanager
def replacing(path: str | os.PathLike[str], *, force: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` and rename it onto `path` when the block ends well.

    When the block raises, the temporary file is removed and what stood at `path` before is untouched. A symbolic link is
    followed; a pipe or device is written to directly.

    Args:
        path: The final name.
        force: Whether an existing file may be replaced.

    Raises:
        OutputExistsError: If `path` exists and `force` is false.
        InputError: If the directory does not exist.
        CannotRunError: If it cannot be written.
    """
    check_output(path, force=force)
    if _is_special(Path(path)):
        # A pipe or device has no content to protect, and renaming a file onto it would destroy it.
        with io.BufferedWriter(_Named(os.open(path, os.O_WRONLY | os.O_CLOEXEC), os.fspath(path))) as sink:
            yield sink
        return
    # Where a link points is what gets replaced; the link stays.
    target = Path(os.path.realpath(path))
    # The prefix is cut so that a name as long as the file system allows still has room for the rest.
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:40]}.", suffix=".part", dir=target.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None
    try:
        with io.BufferedWriter(_Named(handle, os.fspath(path))) as file:
            yield file
        os.chmod(name, 0o666 & ~umask())
        os.replace(name, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise


class _Named(io.FileIO):
    """A file whose errors name what was to be written: of several outputs one is full."""

    def __init__(self, handle: int, path: str) -> None:
        super().__init__(handle, "wb")
        self._path = path

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from None


def check_output(path: str | os.PathLike[str], *, force: bool = True) -> None:
    """Fail now, before an hour of work, if `path` could not be written at the end of it.

    Raises:
        OutputExistsError: If `path` exists and `force` is false.
        InputError: If `path` is a directory, or its directory is missing.
        CannotRunError: If its directory is not writable.
    """
    target = Path(path)
    if target.is_dir():
        raise InputError(f"{target} is a directory", "name a file to write")
    if _is_special(target):
        return
    if target.exists() and not force:
        raise OutputExistsError(target)
    check_directory(Path(os.path.realpath(target)).parent)


def check_directory(directory: Path) -> None:
    """Fail now if nothing could be written into a directory.

    Raises:
        InputError: If it is missing.
        CannotRunError: If it is not writable.
    """
    if not directory.is_dir():
        raise InputError(f"the directory {directory} does not exist", "create it, or write somewhere else")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise CannotRunError(
            f"the directory {directory} cannot be written", "write somewhere else, or ask for permission"
        )


def write_text(path: str | os.PathLike[str], text: str, *, force: bool = True) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all (see `replacing`); of names that are none, the bytes as escapes."""
    with replacing(path, force=force) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


def make_directory(path: str | os.PathLike[str], way_out: str = "name another directory") -> None:
    """Make a directory with all above it, where it is missing.

    Raises:
        InputError: If there is something else in its way; the sentence ends with `way_out`.
        CannotRunError: If the system refuses it.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritten(f"{os.fspath(path)} cannot be made", error, way_out) from None


def unwritten(what: str, error: OSError, way_out: str) -> TracekitError:
    """The error that something cannot be written: of the input where the name is wrong, else of what may be done here."""
    kind = InputError if error.errno in _WRONG_NAME else CannotRunError
    return kind(f"{what}: {error.strerror}", way_out)


def _is_special(path: Path) -> bool:
    """Whether something is there that is neither a file nor a directory."""
    return path.exists() and not path.is_file() and not path.is_dir()


def umask() -> int:
    """The permissions that new files of this process do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
