"""Which file a path or a descriptor is, and whether it is recorded.

A descriptor is looked up by number and verified by fstat (device and inode) at every op, so that a number that was
closed and used again behind our back is never taken for the old file.

Runs inside the recorded program: standard library only.
"""

from __future__ import annotations

import fcntl
import posix
from collections.abc import Callable, Iterable, Sequence
from os import fsdecode
from os.path import normpath
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracekit.record.spool import Spool

    Look = Callable[[int, int], dict[str, Any]]

IGNORED = 0
FOREIGN = -1  # a pipe, socket, device or directory: nothing to record and nothing to count

_TYPE_MASK = 0o170000
_REGULAR = 0o100000
_NEVER = ("/proc/", "/sys/", "/dev/", "/memfd:")
_MULTIPROCESSING = "/pymp-"  # directories of multiprocessing's own, gone when the program is
_CODE_SUFFIXES = (".py", ".pyc", ".pyo", ".pyi", ".so", ".pth", ".egg-link")


class Filter:
    """Which paths are recorded.

    With `include` only what matches one of its globs, also among the files that are ignored by default; without it
    everything but the interpreter's own files. What matches an `exclude` glob is never recorded, nor are /proc, /sys,
    /dev and the run's own parts. A glob without a slash is held against the file's name, any other against its absolute
    path; `*` crosses slashes.
    """

    def __init__(
        self,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        *,
        own: Sequence[str] = (),
        code: Iterable[str] = (),
    ) -> None:
        self.include = list(include)
        self.exclude = list(exclude)
        if self.include or self.exclude:
            # Now, before anything is wrapped; and only here, because it brings `re` into the program.
            from fnmatch import fnmatchcase

            self._matches_glob = fnmatchcase
        self.never = (*_NEVER, *(f"{path.rstrip('/')}/" for path in own))
        self.code = tuple(f"{path.rstrip('/')}/" for path in code if path)

    def wants(self, path: str) -> bool:
        """Whether the file at this absolute path is recorded."""
        if path.startswith(self.never) or (self.exclude and self._matches(path, self.exclude)):
            return False
        if self.include:
            return self._matches(path, self.include)
        return not (
            _MULTIPROCESSING in path
            or f"{path}/".startswith(self.code)
            or path.endswith(_CODE_SUFFIXES)
            or ".so." in path
            or ".pyc." in path
        )

    def _matches(self, path: str, globs: Sequence[str]) -> bool:
        name = path.rpartition("/")[2]
        return any(self._matches_glob(path if "/" in glob else name, glob) for glob in globs)


class Files:
    """The files of one process: numbers for recorded paths, and what is known about its descriptors.

    Args:
        spool: Where a file's name is written when it is first seen.
        chosen: Which files are recorded.
        codes: `Spool.FLAGS`.
        look: Tells of a descriptor and its size what is in the page cache; None where nobody wants to know.
    """

    def __init__(self, spool: Spool, chosen: Filter, codes: dict[str, int], look: Look | None = None) -> None:
        self.spool = spool
        self.filter = chosen
        self.numbers: dict[str, int] = {}
        self.descriptors: dict[int, tuple[int, int, str, int]] = {}
        self._codes = codes
        self._lasting = codes["direct"] | codes["o_append"] | codes["o_sync"]
        self._last = 0
        self._look = look
        # Also what a parent looked at before the fork: its note is in its own parts.
        self._looked: dict[tuple[int, int], str] = {}
        spool.on_fork.append(self._forget)

    def _forget(self) -> None:
        # A forked child names files anew: its parts must be readable when its parent's are gone.
        self.numbers = {}
        self._last = 0

    # -- paths ------------------------------------------------------------------------------------------------------

    def of_path(self, path: str) -> int:
        """The number of the file at an absolute path; IGNORED where it is not recorded."""
        number = self.numbers.get(path)
        return self._number(path) if number is None else number

    def _number(self, path: str) -> int:
        if not self.filter.wants(path):
            self.numbers[path] = IGNORED
            return IGNORED
        self._last += 1
        number = self.numbers[path] = self._last
        self.spool.line(file=number, path=path)
        return number

    def absolute(self, path: Any, dir_fd: int | None = None) -> str:
        """The absolute path of what a program calls `path`; symbolic links stay, except where `..` would be wrong.

        Raises:
            TypeError: If it is no path.
            OSError: If the working directory is gone.
        """
        text = fsdecode(path)
        if not text.startswith("/"):
            base = posix.getcwd() if dir_fd is None else posix.readlink(f"/proc/self/fd/{dir_fd}")
            text = f"{base}/{text}" if base != "/" else f"/{text}"
        return _without_parents(text) if "/../" in text or text.endswith("/..") else text

    # -- descriptors ------------------------------------------------------------------------------------------------

    def opened(self, fd: int, path: str, flags: int) -> int:
        """A descriptor was opened at an absolute path: its number, IGNORED or FOREIGN."""
        status = posix.fstat(fd)
        if status[0] & _TYPE_MASK != _REGULAR:
            self.descriptors.pop(fd, None)
            return FOREIGN
        # What creation asked for belongs to the open alone; the rest is how every later op on it is done.
        self.descriptors[fd] = (status[1], status[2], path, flags & self._lasting)
        number = self.of_path(path)
        if number and self._look is not None:
            self._see(self._look, fd, number, path, status)
        return number

    def of_fd(self, fd: Any) -> tuple[int, int]:
        """(number, flags) of what a descriptor is open on; FOREIGN for anything that is no regular file."""
        try:
            status = posix.fstat(fd)
        except (OSError, TypeError, ValueError, OverflowError):
            return FOREIGN, 0
        known = self.descriptors.get(fd)
        if known is None or known[0] != status[1] or known[1] != status[2]:
            if status[0] & _TYPE_MASK != _REGULAR:
                return FOREIGN, 0
            known = self._discover(fd, status[1], status[2])
            found = self.of_path(known[2])
            if found and self._look is not None:
                self._see(self._look, fd, found, known[2], status)
            return found, known[3]
        number = self.numbers.get(known[2])
        return (self._number(known[2]) if number is None else number), known[3]

    def _see(self, look: Look, fd: int, number: int, path: str, status: Any) -> None:
        """Note what a file is and, the first time, what of it is in the page cache: before it is read."""
        key = (status[2], status[1])
        before = self._looked.get(key)
        if before == path:
            return
        facts = {"device": status[2], "inode": status[1], "mode": status[0], "size": status[6]}
        if before is None:
            self._looked[key] = path
            facts |= {"t": monotonic_ns(), **look(fd, status[6])}
        self.spool.line(pages=number, **facts)

    def _discover(self, fd: int, inode: int, device: int) -> tuple[int, int, str, int]:
        """A descriptor we did not see being opened: inherited, or from C."""
        try:
            path = fsdecode(posix.readlink(f"/proc/self/fd/{fd}")).removesuffix(" (deleted)")
        except OSError:
            path = f"/dev/unknown/{inode}"
        known = self.descriptors[fd] = (inode, device, path, self._flags(fd))
        return known

    def _flags(self, fd: int) -> int:
        try:
            return flag_bits(fcntl.fcntl(fd, fcntl.F_GETFL), self._codes) & self._lasting
        except OSError:
            return 0

    def closed(self, fd: int) -> None:
        """Forget a descriptor. Now one is free for what had to wait for it."""
        self.descriptors.pop(fd, None)
        if self.spool.pending:
            self.spool.flush()

    def duplicated(self, fd: int, copy: int) -> None:
        """A descriptor has a copy: the same file under the same name."""
        known = self.descriptors.get(fd)
        if known is None:
            self.descriptors.pop(copy, None)
        else:
            self.descriptors[copy] = known


def _without_parents(path: str) -> str:
    """An absolute path without `..`, as the kernel walks it: `a/link/../b` is not `a/b`.

    Not realpath: it asks for the status of every directory on the way, by functions that are wrapped.
    """
    head, _, tail = f"{path}/".rpartition("/../")
    try:
        fd = posix.open(f"{head}/..", posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError:
        return normpath(path)
    try:
        base = fsdecode(posix.readlink(f"/proc/self/fd/{fd}"))
    finally:
        posix.close(fd)
    return f"{base.rstrip('/')}/{tail}".rstrip("/") or "/"


def flag_bits(flags: int, codes: dict[str, int]) -> int:
    """open(2) flags as the bits of a slot."""
    bits = codes["direct"] if flags & posix.O_DIRECT else 0
    for name, mask in (("o_append", posix.O_APPEND), ("o_sync", posix.O_DSYNC), ("o_creat", posix.O_CREAT)):
        if flags & mask:
            bits |= codes[name]
    if flags & posix.O_TRUNC:
        bits |= codes["o_trunc"]
    return (
        bits | codes["o_wronly"] if flags & posix.O_WRONLY else bits | codes["o_rdwr"] if flags & posix.O_RDWR else bits
    )


def interpreter_directories(
    prefixes: Iterable[str], version: str, more: Iterable[str], real: Callable[[str], str]
) -> list[str]:
    """Where the interpreter keeps its own files: standard library and installed packages of every prefix.

    Not the prefixes themselves: data under /usr/share or in a directory that holds a venv too is data.
    """
    places = ["/usr/lib", "/lib", "/lib64", "/usr/lib64"]
    for prefix in prefixes:
        places += [f"{prefix}/{lib}/python{version}" for lib in ("lib", "lib64", "local/lib")]
        places += [
            f"{prefix}/lib/python3",
            f"{prefix}/lib/python{version.replace('.', '')}.zip",
            f"{prefix}/pyvenv.cfg",
        ]
    places += more
    return sorted({*places, *map(real, places)})
