"""Output of `strace -f -ttt -T -y` (or -yy): system calls on files, with offsets followed through lseek, dup and fork.

Calls of several threads that use one open file at the same time move its position in the order in which they end: one of the
orders that the kernel may have had.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import ClassVar

from tracekit.formats import strace_words as words
from tracekit.formats.descriptors import OpenFile
from tracekit.formats.foreign import Columns, Row, uri_of
from tracekit.formats.native import native_core
from tracekit.formats.strace_lines import Call, Calls
from tracekit.formats.strace_quick import QuickStrace

_SPECIAL = (b"/dev/", b"/proc/", b"/sys/")

READS = {b"read": None, b"readv": None, b"pread64": 3, b"preadv": 3, b"preadv2": 3}
_WRITES = {b"write": None, b"writev": None, b"pwrite64": 3, b"pwritev": 3, b"pwritev2": 3}
_PATHS = {
    b"stat": "stat", b"lstat": "stat", b"newfstatat": "stat", b"fstatat64": "stat", b"statx": "stat", b"unlink": "delete",
    b"unlinkat": "delete", b"rmdir": "delete", b"truncate": "truncate", b"rename": "rename", b"renameat": "rename",
    b"renameat2": "rename", b"mkdir": "mkdir", b"mkdirat": "mkdir",
}  # fmt: skip
_ON_FD = {
    b"fsync": "fsync", b"fdatasync": "fdatasync", b"ftruncate": "truncate", b"getdents64": "list", b"getdents": "list",
    b"fallocate": "fallocate", b"fadvise64": "fadvise", b"readahead": "readahead",
}  # fmt: skip
_OPENS = (b"open", b"openat", b"openat2", b"creat")
_DUPS = (b"dup", b"dup2", b"dup3")
KERNEL_COPIES = (b"sendfile", b"sendfile64", b"copy_file_range", b"splice")
# Asked for by the way, or telling nothing about I/O.
_SILENT = (
    b"lseek",
    b"fcntl",
    b"fstat",
    b"ioctl",
    b"execve",
    b"execveat",
    b"exit_group",
    b"exit",
    b"munmap",
    b"mprotect",
    b"brk",
    b"clone",
    b"clone3",
    b"fork",
    b"vfork",
)


class Strace(Calls):
    """A file that strace wrote with -o, or its standard error."""

    NAME: ClassVar[str] = "strace"
    TOOL: ClassVar[str] = "strace"
    # Also the times of day of -t and -tt, to say what is wrong with them.
    LOOKS: ClassVar[re.Pattern[bytes] | None] = re.compile(
        rb"(?:\[pid +\d+\] +|\d+ +)?(?:\d{9,10}\.\d{6}|\d\d:\d\d:\d\d(?:\.\d{6})?) +(?:\w+\(|[-+<])"
    )
    FIELDS: ClassVar[tuple[str, ...]] = (
        "uri", "offset", "len", "t_submit", "op", "t_complete", "ret", "err", "pid", "tid", "layer", "flags",
    )  # fmt: skip

    def batches(self) -> Iterator[Columns]:
        """The calls on files: by the native core where there is one, else row by row."""
        core = native_core()
        return QuickStrace(core, self).batches() if core else super().batches()

    def called(self, call: Call) -> Iterator[Row]:
        """The rows of a call on files."""
        if call.name in READS or call.name in _WRITES:
            yield from self._transfer(call)
        elif call.name in _OPENS:
            yield from self._open(call)
        elif call.name in _PATHS:
            yield from self._on_path(call)
        else:
            yield from self._on_descriptor(call)

    # -- kinds of calls -----------------------------------------------------------------------------------------------

    def _transfer(self, call: Call) -> Iterator[Row]:
        name, args = call.name, call.args
        fd, path = self._file(args, call)
        if path is None:
            return
        at = READS.get(name, _WRITES.get(name))
        size = words.size(name, args)
        moved = max(call.ret or 0, 0)
        if at is not None:
            fields = args.rsplit(b", ", 2 if name.endswith(b"2") else 1)
            offset: int | None = words.integer(fields[1])
        elif name in READS:
            offset = self._open_file(fd, call).advanced(moved)
        else:
            offset = self._open_file(fd, call).written(moved)
        op = "read" if name in READS else "write"
        yield self._row(path, op, call, offset=offset, size=moved if size is None else size, ret=moved)

    def _open(self, call: Call) -> Iterator[Row]:
        path = words.path_named(call.args)
        given = words.flags(call.args)
        if call.name == b"creat":
            given = ("O_CREAT", "O_TRUNC", "O_WRONLY")
        if call.ret is not None and call.ret >= 0:
            # With -y the result names the file, absolute and as it is, also where the argument was relative.
            shown = words.SHOWN.match(call.rest)
            path = words.unescaped(shown[1]) if shown else path
            self.descriptors.opened(call.pid, call.ret, os.fsencode(path), appending="O_APPEND" in given)
        if not _wanted(os.fsencode(path)):
            return
        yield self._row(os.fsencode(path), "open", call, flags=words.flag_words(given))

    def _on_path(self, call: Call) -> Iterator[Row]:
        path = os.fsencode(words.path_named(call.args))
        if _wanted(path):  # there is none in fstat by other words: AT_EMPTY_PATH
            yield self._row(path, _PATHS[call.name], call)

    def _on_descriptor(self, call: Call) -> Iterator[Row]:
        name, args = call.name, call.args
        if name == b"lseek" and call.error is None:
            fd, _ = self._file(args, call)
            self._open_file(fd, call).position = call.ret
        elif name in _DUPS or (name == b"fcntl" and b"F_DUPFD" in args):
            if call.error is None and call.ret is not None:
                self.descriptors.copied(call.pid, words.descriptor(args), call.ret, call.begun)
        elif name == b"close":
            yield from self._close(call)
        elif name == b"close_range":
            self._close_range(call)
        elif name in KERNEL_COPIES:
            yield from self._between(call)
        elif name == b"mmap":
            yield from self._mmap(call)
        elif name in _ON_FD:
            _, path = self._file(args, call)
            if path is not None:
                yield self._row(path, _ON_FD[name], call)
        elif name not in _SILENT:
            self.leave_out(name.decode("ascii", "replace"))

    def _close(self, call: Call) -> Iterator[Row]:
        fd, path = self._file(call.args, call)
        if path is not None:
            yield self._row(path, "close", call)
        if call.ret is not None:  # also where it failed: the descriptor is gone, or there was none (close(2))
            self.descriptors.closed(call.pid, fd, fd, call.begun)

    def _close_range(self, call: Call) -> None:
        given = [words.integer(word) for word in words.split(call.args)[:2]]
        if call.ret != 0 or len(given) < 2 or given[0] is None or given[1] is None:
            return
        if b"CLOSE_RANGE_UNSHARE" in call.args:
            self.descriptors.unshared(call.pid)
        if b"CLOSE_RANGE_CLOEXEC" not in call.args:
            self.descriptors.closed(call.pid, given[0], given[1], call.begun)

    def _between(self, call: Call) -> Iterator[Row]:
        """A copy inside the kernel: a read of one file, a write of the other, or one of the two."""
        moved = max(call.ret or 0, 0)
        fields = words.split(call.args)
        if len(fields) < 4:
            return
        if call.name.startswith(b"sendfile"):
            ends = ((fields[1], fields[2], "read"), (fields[0], b"NULL", "write"))
        else:
            ends = ((fields[0], fields[1], "read"), (fields[2], fields[3], "write"))
        for text, place, op in ends:
            fd, path = self._file(text, call)
            if path is None:
                continue
            given = re.match(rb"\[(\d+)\]", place)
            file = self._open_file(fd, call)
            step = file.advanced if op == "read" else file.written
            offset = words.number(given[1]) if given else step(moved)
            yield self._row(path, op, call, offset=offset, size=moved, ret=moved)

    def _mmap(self, call: Call) -> Iterator[Row]:
        fields = words.split(call.args)
        if len(fields) < 6 or b"MAP_ANON" in fields[3]:
            return
        _, path = self._file(fields[4], call)
        if path is not None:
            size = words.integer(fields[1]) or 0
            failed = call.error is not None
            yield self._row(path, "mmap", call, offset=words.integer(fields[5]), size=size, ret=0 if failed else size)

    # -- files --------------------------------------------------------------------------------------------------------

    def _file(self, args: bytes, call: Call) -> tuple[int, bytes | None]:
        """The descriptor at the beginning of some arguments, and its file; None for what is no file, counted."""
        match = words.FD.match(args)
        if match is None:
            return -1, None
        fd = words.descriptor(args)
        shown = match[2]
        path = (
            os.fsencode(words.unescaped(shown))
            if shown is not None
            else self.descriptors.path(call.pid, fd, call.begun)
        )
        if path is None:
            self.leave_out("calls on descriptors whose opening is not in the file")
        elif not path.startswith(b"/"):
            self.leave_out("calls on " + re.split(rb"[:\[]", path)[0].decode("ascii", "replace") + "s")
            return fd, None
        elif path.startswith(_SPECIAL):
            self.leave_out("calls on /dev, /proc and /sys")
            return fd, None
        return fd, None if path is None else path.removesuffix(b" (deleted)")

    def _open_file(self, fd: int, call: Call) -> OpenFile:
        return self.descriptors.file(call.pid, fd, call.begun)

    @staticmethod
    def named(path: bytes) -> str:
        """What a row calls a file."""
        return uri_of(os.fsdecode(path))

    def _row(
        self,
        path: bytes,
        op: str,
        call: Call,
        *,
        offset: int | None = 0,
        size: int = 0,
        ret: int | None = None,
        flags: str | None = None,
    ) -> Row:
        return (
            self.named(path), offset, size, call.when, op, call.end, ret if ret is not None else 0, call.error, call.pid,
            call.tid, "strace", flags,
        )  # fmt: skip


def _wanted(path: bytes) -> bool:
    return bool(path) and not path.startswith(_SPECIAL)
