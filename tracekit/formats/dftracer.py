"""dftracer's `.pfw` and `.pfw.gz`: Chrome trace events, one a line, of POSIX and STDIO calls.

Four generations are read: names in every event (`fname`), names through a table of digests (`fhash`, with `FH` and `HH`
events), the same with phases that are numbers (2.2), and what the Python tracer of DLIO's auto-configuration writes (`filename`,
`size`). A `read` says no offset; it is
followed through open, lseek and read per descriptor, or per thread and file where no descriptor is given. Times are
microseconds.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from tracekit.formats.descriptors import OpenFile
from tracekit.formats.foreign import MAX_NS, Stateful, number_of, uri_of
from tracekit.formats.foreign_lines import lines

_OPS = {
    "read": "read", "pread": "read", "pread64": "read", "readv": "read", "preadv": "read", "preadv2": "read", "fread": "read",
    "fread_unlocked": "read", "write": "write", "pwrite": "write", "pwrite64": "write", "writev": "write", "fwrite": "write",
    "open": "open", "open64": "open", "openat": "open", "openat64": "open", "creat": "open", "creat64": "open",
    "fopen": "open", "fopen64": "open", "close": "close", "fclose": "close", "fsync": "fsync", "fdatasync": "fdatasync",
    "unlink": "delete", "remove": "delete", "unlinkat": "delete", "rmdir": "delete", "rename": "rename",
    "opendir": "list", "fdopendir": "list", "readdir": "list", "mmap": "mmap", "mmap64": "mmap", "truncate": "truncate",
    "ftruncate": "truncate", "ftruncate64": "truncate",
}  # fmt: skip
_SEEKS = ("lseek", "lseek64", "fseek", "fseeko")
_AT = ("pread", "pread64", "pwrite", "pwrite64", "preadv", "preadv2")
_MOVES = ("read", "write")
_CALLS = ("POSIX", "STDIO")
# Events that name files and hosts: since 2.2 the phase is a number.
_NAMING = ("M", 4)
_SEEK_SET, _SEEK_CUR = 0, 1
_O_APPEND = 0o2000


class _Event(msgspec.Struct):
    """A line; numbers come as numbers or as text, in one generation or the other."""

    name: str = ""
    cat: str = ""
    ph: int | str = ""
    pid: int | str | None = None
    tid: int | str | None = None
    ts: int | float | str | None = None
    dur: int | float | str | None = None
    args: dict[str, Any] = {}


class Dftracer(Stateful):
    """A `.pfw` file."""

    NAME: ClassVar[str] = "dftracer"
    TOOL: ClassVar[str] = "dftracer"
    LOOKS: ClassVar[re.Pattern[bytes] | None] = re.compile(rb"\s*(?:\[\s*)?\{\"[^\n]*\"ph\"")
    FIELDS: ClassVar[tuple[str, ...]] = (
        "uri", "offset", "len", "t_submit", "op", "t_complete", "ret", "err", "pid", "tid", "epoch", "step", "sample_id",
        "layer",
    )  # fmt: skip

    def begin(self) -> None:
        """No name, no descriptor and no spans are known."""
        self._names: dict[str, str] = {}
        self._hosts: set[str] = set()
        self._open: dict[Any, OpenFile] = {}
        self._encoded: dict[str, bytes] = {}
        self._decoder = msgspec.json.Decoder(_Event)

    def facts(self) -> dict[str, Any]:
        """The hosts that were named."""
        return {"host": {"name": ", ".join(sorted(self._hosts))}} if self._hosts else {}

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The calls, in the order of the file."""
        decode, event_of = self._decoder.decode, self._event
        for number, line in lines(self):
            text = line.strip().removesuffix(b",")
            if len(text) < 2 and text in (b"[", b"]", b""):
                continue
            try:
                event = decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                self.reject(number, f"the line is no event of dftracer ({error})")
                continue
            row = event_of(number, event)
            if row is not None:
                yield row

    def _event(self, number: int, event: _Event) -> tuple[Any, ...] | None:
        args = event.args
        if event.ph in _NAMING:
            self._name(event)
            return None
        if host := args.get("hostname"):
            self._hosts.add(str(host))
        start, took = number_of(event.ts, _ns), number_of(event.dur, _ns)
        if start is None or start < 0 or (took is not None and took < 0):
            self.reject(number, f"`ts` {event.ts!r} and `dur` {event.dur!r} are no times")
            return None
        end = None if took is None else start + took
        if event.cat not in _CALLS:
            self._span(event, start, end)
            return None
        return self._call(event, start, end)

    def _call(self, event: _Event, start: int, end: int | None) -> tuple[Any, ...] | None:
        path = self._path(event.args)
        if event.name in _SEEKS:
            self._seek(event, path)
            return None
        op = _OPS.get(event.name) or ("stat" if "stat" in event.name or event.name == "access" else "")
        if not op or path is None:
            self.leave_out(f"{event.name} without a file name" if op else event.name)
            return None
        result = number_of(event.args.get("ret", event.args.get("size")))
        offset, size = self._range(event, op, path, result)
        ret = None if result is None else max(result, 0)
        return (
            uri_of(path), offset, size, start, op, end,
            ret if op in _MOVES else 0, _error(event.args, result), number_of(event.pid), self.small("tid", event.tid),
            _count(event.args.get("epoch")), _count(event.args.get("step")), _count(event.args.get("image_idx")),
            event.cat.lower(),
        )  # fmt: skip

    def _range(self, event: _Event, op: str, path: str, result: int | None) -> tuple[int | None, int]:
        """Offset and length of an op, while the descriptors move on."""
        args, moved = event.args, max(result or 0, 0)
        if op == "open":
            self._opened(event, path, result)
        if op == "mmap":
            return number_of(args.get("offset")), _count(args.get("length")) or 0
        if op not in _MOVES:
            return 0, 0
        asked = number_of(args.get("count", args.get("size")))
        if asked is not None and event.name.startswith("f"):
            asked *= number_of(args.get("nmemb")) or 1
        size = moved if asked is None else max(asked, 0)
        given = number_of(args.get("offset"))
        file = self._file(event, path)
        if event.name in _AT or given is not None:
            return None if given is None or given < 0 else given, size
        return file.advanced(moved) if op == "read" else file.written(moved), size

    def _opened(self, event: _Event, path: str, result: int | None) -> None:
        flags = number_of(event.args.get("flags")) or 0
        file = OpenFile(os.fsencode(path), 0, bool(flags & _O_APPEND))
        if "size" in event.args or result is None:
            self._open[event.tid, path] = file
        elif result >= 0:
            # Workers of one rank may all have its number for a process, with descriptors of their own.
            self._open[event.tid, result] = self._open["process", event.pid, result] = file

    def _file(self, event: _Event, path: str) -> OpenFile:
        """The open file an event is about, one with no known position where its opening was not seen."""
        fd = event.args.get("fd")
        fd = fd if type(fd) is int else number_of(fd)
        name = self._encoded.get(path)
        if name is None:
            name = self._encoded[path] = os.fsencode(path)
        key = (event.tid, path if fd is None else fd)
        known = self._open.get(key)
        if known is not None and known.path == name:
            return known
        known = None if fd is None else self._open.get(("process", event.pid, fd))
        if known is not None and known.path == name:
            return known
        file = self._open[key] = OpenFile(name, None)
        return file

    def _seek(self, event: _Event, path: str | None) -> None:
        if path is None:
            return
        args, file = event.args, self._file(event, path)
        result = None if event.name.startswith("f") else number_of(args.get("ret"))
        if result is not None and result >= 0:
            file.position = result
            return
        whence, offset = number_of(args.get("whence")), number_of(args.get("offset"))
        if whence == _SEEK_SET:
            file.position = offset
        elif whence != _SEEK_CUR:
            file.position = None
        elif offset and file.position is not None:
            file.position += offset

    def _name(self, event: _Event) -> None:
        value = event.args.get("value")
        if event.name == "FH" and value is not None:
            self._names[str(value)] = str(event.args.get("name", ""))
        elif event.name == "HH":
            self._hosts.add(str(event.args.get("name", "")))

    def _path(self, args: dict[str, Any]) -> str | None:
        name = args.get("fname") or args.get("filename")
        if name:
            return str(name)
        digest = args.get("fhash")
        return None if digest is None else self._names.get(str(digest), f"fhash:{digest}")

    def _span(self, event: _Event, start: int, end: int | None) -> None:
        """A span of the program that is a step, an epoch, a checkpoint or computing."""
        if end is None:
            return
        name, args = event.name, event.args
        pid = number_of(event.pid)
        if name in ("TorchFramework.compute", "TFFramework.compute"):
            self.mark("compute", start, end, step=_count(args.get("step")), epoch=_count(args.get("epoch")), pid=pid)
        elif event.cat == "APP" and name.startswith("epoch_"):
            self.mark("epoch", start, end, epoch=_count(args.get("epoch", name[6:])), pid=pid)
        elif event.cat == "APP" and name == "batch":
            self.mark("step", start, end, step=_count(args.get("step")), epoch=_count(args.get("epoch")), pid=pid)
        elif event.cat in ("APP", "ai_framework") and "checkpoint" in name.rsplit(".", 1)[-1]:
            self.mark("checkpoint", start, end, epoch=_count(args.get("epoch")), pid=pid)


def _error(args: dict[str, Any], result: int | None) -> str | None:
    if result is None or result >= 0:
        return None
    number = number_of(args.get("errno"))
    return errno.errorcode.get(number, f"errno {number}") if number else "failed"


def _ns(value: Any) -> int:
    """Microseconds as nanoseconds; integers exactly, whatever their size."""
    if isinstance(value, str) and not value.lstrip("-").isdigit():
        value = float(value)
    number = round(value * 1000) if isinstance(value, float) else int(value) * 1000
    if abs(number) >= MAX_NS:
        raise OverflowError
    return number


def _count(value: Any) -> int | None:
    number = number_of(value)
    return number if number is not None and 0 <= number < 2**31 else None
