"""Output of `strace -f -ttt -T -y` (or -yy): system calls on files, with offsets followed through lseek, dup and fork.

One line is one call; a call that another thread's line cut in two (`<unfinished ...>`) is put together again. The first
number of a line is a thread; which process it belongs to is known where its clone was seen, and it is taken for a process of
its own otherwise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from tracekit.formats.descriptors import Descriptors
from tracekit.formats.foreign import Foreign, lines
from tracekit.uri import file_uri

_LINE = re.compile(rb"(?:\[pid\s+(\d+)\] +|(\d+) +)?(\d{6,})\.(\d{1,9}) +(.*)", re.DOTALL)
_OTHER_TIMES = re.compile(rb"(?:\[pid\s+\d+\] +|\d+ +)?(?:\d\d:\d\d:\d\d|\d{1,5}\.\d+ )")
_CALL = re.compile(rb"(\w+)\((.*)\) += +(-?\d+|0x[0-9a-f]+|\?)(.*)", re.DOTALL)
_DURATION = re.compile(rb" <(\d+)\.(\d+)>$")
_UNFINISHED = b" <unfinished ...>"
_RESUMED = re.compile(rb"<\.\.\. (\w+) resumed>(.*)", re.DOTALL)
_MAKING = (b"clone(", b"clone3(", b"fork(", b"vfork(")
_SUPERSEDED = re.compile(rb"\+\+\+ superseded by execve in pid (\d+)")
_FD = re.compile(rb"(-?\d+|AT_FDCWD)(?:<((?:[^<>\\]|\\.)*)(?:<[^>]*>)?>)?(\(deleted\))?")
_SHOWN = re.compile(rb"<(/(?:[^<>\\]|\\.)*)")
_STRING = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|x[0-9a-f]{2}|.)", re.DOTALL)
_PLAIN = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"v": b"\v", b"f": b"\f", b"a": b"\a", b"b": b"\b", b"e": b"\x1b"}
_SPECIAL = (b"/dev/", b"/proc/", b"/sys/")
_NO_END = "calls whose end is not in the file"

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
_CLONES = (b"clone", b"clone3", b"fork", b"vfork")
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
)

Row = tuple[Any, ...]


class _Frame(NamedTuple):
    """What every call has: its times in ns, its result and error, and who made it."""

    when: int
    end: int | None
    ret: int | None
    error: str | None
    pid: int
    tid: int


class Strace(Foreign):
    """A file that strace wrote with -o, or its standard error."""

    NAME: ClassVar[str] = "strace"
    TOOL: ClassVar[str] = "strace"
    LOOKS: ClassVar[re.Pattern[bytes] | None] = re.compile(
        rb"(?:\[pid +\d+\] +|\d+ +)?\d{9,10}\.\d{6} +(?:\w+\(|[-+<])"
    )
    FIELDS: ClassVar[tuple[str, ...]] = (
        "uri", "offset", "len", "t_submit", "op", "t_complete", "ret", "err", "pid", "tid", "layer", "flags",
    )  # fmt: skip

    def begin(self) -> None:
        """No process, descriptor or unfinished call is known."""
        self._descriptors = Descriptors()
        self._process: dict[int, int] = {}
        self._pending: dict[int, tuple[int, bytes]] = {}
        # Threads that were seen, and by whom those were made whose making has not ended yet.
        self._known: set[int] = set()
        self._maker: dict[int, int] = {}

    def rows(self) -> Iterator[Row]:
        """The calls on files, in the order in which they ended."""
        for number, text in lines(self):
            match = _LINE.match(text)
            if match is None:
                self._explain(number, text)
                continue
            tid = int(match[1] or match[2] or 0)
            when = int(match[3]) * 1_000_000_000 + int(match[4].ljust(9, b"0"))
            yield from self._event(number, tid, when, match[5].rstrip())
        if self._pending:
            self.leave_out(_NO_END, len(self._pending))

    def _explain(self, number: int, text: bytes) -> None:
        if text.startswith(b"strace: ") or b"+++" in text or b"---" in text:
            return
        if _OTHER_TIMES.match(text):
            self.reject(number, "the times do not count from 1970; record with strace -ttt")
            return
        self.reject(number, f"the line is none of strace -f -ttt -T -y: {text[:40]!r}")

    def _event(self, number: int, tid: int, when: int, body: bytes) -> Iterator[Row]:
        if body[:3] in (b"+++", b"---"):
            self._ended(tid, body)
            return
        if tid not in self._known:
            self._first_seen(tid)
        if body.endswith(_UNFINISHED):
            if tid in self._pending:
                self.leave_out(_NO_END)
            self._pending[tid] = (when, body[: -len(_UNFINISHED)])
            return
        resumed = _RESUMED.match(body)
        if resumed:
            begun = self._pending.pop(tid, None)
            if begun is None:
                self.leave_out("ends of calls whose beginning is not in the file")
                return
            when, body = begun[0], begun[1] + resumed[2]
        call = _CALL.match(body)
        if call is None:
            self.reject(number, f"the call has no result: {body[:60]!r}")
            return
        yield from self._call(tid, when, call[1], call[2], call[3], call[4])

    def _ended(self, tid: int, body: bytes) -> None:
        if not body.startswith(b"+++"):
            return
        self._known.discard(tid)
        taken = _SUPERSEDED.match(body)
        if taken and int(taken[1]) in self._pending:  # the end of that thread's execve is told by this one
            self._pending[tid] = self._pending.pop(int(taken[1]))

    def _first_seen(self, tid: int) -> None:
        """A thread or process may be seen before the call that made it ends: always so after vfork."""
        self._known.add(tid)
        making = [(maker, *begun) for maker, begun in self._pending.items() if begun[1].startswith(_MAKING)]
        if len(making) == 1:
            maker, when, body = making[0]
            self._made(maker, tid, body, when)

    def process(self, tid: int) -> int:
        """The process of a thread."""
        return self._process.get(tid, tid)

    def born(self, parent: int, child: int, when: int) -> None:
        """Called when a process is seen to have forked another, at `when` of the source's clock."""

    def _call(self, tid: int, when: int, name: bytes, args: bytes, result: bytes, rest: bytes) -> Iterator[Row]:
        took = _DURATION.search(rest)
        end = when + int(took[1]) * 1_000_000_000 + int(took[2].ljust(9, b"0")) if took else None
        error = rest.split()[0].decode("ascii", "replace") if result == b"-1" and rest.strip() else None
        ret = None if result == b"?" else int(result, 16 if result[:2] == b"0x" else 10)
        pid = self._process.get(tid, tid)
        frame = _Frame(when, end, ret, error, pid, tid)
        if name in READS or name in _WRITES:
            yield from self._transfer(name, args, frame)
        elif name in _OPENS:
            yield from self._open(name, args, rest, frame)
        elif name in _PATHS:
            yield from self._on_path(_PATHS[name], args, frame)
        elif name in _CLONES:
            self._cloned(args, frame)
        else:
            yield from self._on_descriptor(name, args, frame)

    # -- kinds of calls -----------------------------------------------------------------------------------------------

    def _transfer(self, name: bytes, args: bytes, frame: _Frame) -> Iterator[Row]:
        pid = frame.pid
        fd, path = self._file(args, pid)
        if path is None:
            return
        at = READS.get(name, _WRITES.get(name))
        size = _size(name, args)
        moved = max(frame.ret or 0, 0)
        if at is not None:
            fields = args.rsplit(b", ", 2 if name.endswith(b"2") else 1)
            offset: int | None = _int(fields[1])
        elif name in READS:
            offset = self._descriptors.file(pid, fd).advanced(moved)
        else:
            offset = self._descriptors.file(pid, fd).written(moved)
        op = "read" if name in READS else "write"
        yield self._row(path, op, frame, offset=offset, size=moved if size is None else size, ret=moved)

    def _open(self, name: bytes, args: bytes, rest: bytes, frame: _Frame) -> Iterator[Row]:
        ret, pid = frame.ret, frame.pid
        path = self._path(args)
        given = _flags(args)
        if name == b"creat":
            given = ("O_CREAT", "O_TRUNC", "O_WRONLY")
        if ret is not None and ret >= 0:
            # With -y the result names the file, absolute and as it is, also where the argument was relative.
            shown = _SHOWN.match(rest)
            path = unescaped(shown[1]) if shown else path
            self._descriptors.opened(pid, ret, os.fsencode(path), appending="O_APPEND" in given)
        if not _wanted(os.fsencode(path)):
            return
        yield self._row(os.fsencode(path), "open", frame, flags=_words(given))

    def _on_path(self, op: str, args: bytes, frame: _Frame) -> Iterator[Row]:
        path = os.fsencode(self._path(args))
        if not path:
            return  # fstat in other words: AT_EMPTY_PATH
        if _wanted(path):
            yield self._row(path, op, frame)

    def _on_descriptor(self, name: bytes, args: bytes, frame: _Frame) -> Iterator[Row]:
        ret, error, pid = frame.ret, frame.error, frame.pid
        if name == b"lseek" and error is None:
            fd, _ = self._file(args, pid)
            self._descriptors.file(pid, fd).position = ret
        elif name in _DUPS or (name == b"fcntl" and b"F_DUPFD" in args):
            if error is None and ret is not None:
                self._descriptors.copied(pid, _number(args), ret)
        elif name == b"close":
            fd, path = self._file(args, pid)
            if path is not None:
                yield self._row(path, "close", frame)
            self._descriptors.closed(pid, fd)
        elif name in KERNEL_COPIES:
            yield from self._between(name, args, frame)
        elif name == b"mmap":
            yield from self._mmap(args, frame)
        elif name in _ON_FD:
            _, path = self._file(args, pid)
            if path is not None:
                yield self._row(path, _ON_FD[name], frame)
        elif name not in _SILENT:
            self.leave_out(name.decode("ascii", "replace"))

    def _between(self, name: bytes, args: bytes, frame: _Frame) -> Iterator[Row]:
        """A copy inside the kernel: a read of one file, a write of the other, or one of the two."""
        pid, moved = frame.pid, max(frame.ret or 0, 0)
        fields = _split(args)
        if len(fields) < 4:
            return
        if name.startswith(b"sendfile"):
            ends = ((fields[1], fields[2], "read"), (fields[0], b"NULL", "write"))
        else:
            ends = ((fields[0], fields[1], "read"), (fields[2], fields[3], "write"))
        for text, place, op in ends:
            fd, path = self._file(text, pid)
            if path is None:
                continue
            given = re.match(rb"\[(\d+)\]", place)
            file = self._descriptors.file(pid, fd)
            step = file.advanced if op == "read" else file.written
            offset = int(given[1]) if given else step(moved)
            yield self._row(path, op, frame, offset=offset, size=moved, ret=moved)

    def _mmap(self, args: bytes, frame: _Frame) -> Iterator[Row]:
        fields = _split(args)
        if len(fields) < 6 or b"MAP_ANON" in fields[3]:
            return
        _, path = self._file(fields[4], frame.pid)
        if path is not None:
            size = _int(fields[1]) or 0
            failed = frame.error is not None
            yield self._row(path, "mmap", frame, offset=_int(fields[5]), size=size, ret=0 if failed else size)

    def _cloned(self, args: bytes, frame: _Frame) -> None:
        child = frame.ret
        if frame.error is not None or not child or child < 0:
            return
        if child not in self._known or self._maker.pop(child, None) is None:
            self._known.add(child)
            self._made(frame.tid, child, args, frame.when)
            self._maker.pop(child, None)

    def _made(self, maker: int, child: int, args: bytes, when: int) -> None:
        self._maker[child] = maker
        parent = self.process(maker)
        if b"CLONE_THREAD" in args:
            self._process[child] = parent
            return
        self._process.pop(child, None)
        self._descriptors.forked(parent, child, shared=b"CLONE_FILES" in args)
        self.born(parent, child, when)

    # -- words --------------------------------------------------------------------------------------------------------

    def _file(self, args: bytes, pid: int) -> tuple[int, bytes | None]:
        """The descriptor at the beginning of some arguments, and its file; None for what is no file, counted."""
        match = _FD.match(args)
        if match is None:
            return -1, None
        fd = -1 if match[1] == b"AT_FDCWD" else int(match[1])
        path = os.fsencode(unescaped(match[2])) if match[2] is not None else self._descriptors.path(pid, fd)
        if path is None:
            self.leave_out("calls on descriptors whose opening is not in the file")
        elif not path.startswith(b"/"):
            self.leave_out("calls on " + re.sub(rb"[:\[].*", b"", path).decode("ascii", "replace") + "s")
            return fd, None
        elif path.startswith(_SPECIAL):
            self.leave_out("calls on /dev, /proc and /sys")
            return fd, None
        return fd, None if path is None else path.removesuffix(b" (deleted)")

    @staticmethod
    def _path(args: bytes) -> str:
        """The path an argument list names, absolute where strace says what it is relative to."""
        text = _STRING.search(args)
        if text is None:
            return ""
        path = unescaped(text[1])
        base = _FD.match(args)
        if path and not path.startswith("/") and base is not None and base[2]:
            path = os.path.normpath(unescaped(base[2]) + "/" + path)
        return path

    @staticmethod
    def named(path: bytes) -> str:
        """What a row calls a file."""
        name = os.fsdecode(path)
        return file_uri(name) if name.startswith("/") else name

    def _row(
        self,
        path: bytes,
        op: str,
        frame: _Frame,
        *,
        offset: int | None = 0,
        size: int = 0,
        ret: int | None = None,
        flags: str | None = None,
    ) -> Row:
        when, end, _, error, pid, tid = frame
        return (
            self.named(path),
            offset,
            size,
            when,
            op,
            end,
            ret if ret is not None else 0,
            error,
            pid,
            tid,
            "strace",
            flags,
        )


def strings(args: bytes) -> list[bytes]:
    """The strings in some arguments, as they stand there."""
    return [found[1] for found in _STRING.finditer(args)]


def _wanted(path: bytes) -> bool:
    return bool(path) and not path.startswith(_SPECIAL)


def _number(args: bytes) -> int:
    match = _FD.match(args)
    return -1 if match is None or match[1] == b"AT_FDCWD" else int(match[1])


def _int(text: bytes) -> int | None:
    try:
        return int(text.strip(), 0)
    except ValueError:
        return None


def _size(name: bytes, args: bytes) -> int | None:
    """What a transfer asked for; None where strace shows vectors, whose lengths it may cut."""
    if b"v" in name:
        return sum(int(length) for length in re.findall(rb"iov_len=(\d+)", args)) or None
    fields = args.rsplit(b", ", 2 if name in (b"pread64", b"pwrite64") else 1)
    return _int(fields[1]) if len(fields) > 1 else None


def _flags(args: bytes) -> tuple[str, ...]:
    return tuple(word.decode() for word in re.findall(rb"\bO_[A-Z_]+", _STRING.sub(b"", args)))


def _words(flags: tuple[str, ...]) -> str | None:
    """Flags in the words of the trace format."""
    known = {
        "O_DIRECT": "direct",
        "O_APPEND": "o_append",
        "O_CREAT": "o_creat",
        "O_TRUNC": "o_trunc",
        "O_SYNC": "o_sync",
    }
    return ",".join(known[flag] for flag in known if flag in flags) or None


def _split(args: bytes) -> list[bytes]:
    return re.split(rb", (?![^\[]*\])", args)


def unescaped(text: bytes) -> str:
    """A string as strace shows it, without its quotes, as a name."""

    def plain(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code[:1] in b"01234567":
            return bytes([int(code, 8) & 0xFF])
        return bytes([int(code[1:], 16)]) if code[:1] == b"x" and len(code) == 3 else _PLAIN.get(code, code)

    return os.fsdecode(_ESCAPE.sub(plain, text) if b"\\" in text else text)
