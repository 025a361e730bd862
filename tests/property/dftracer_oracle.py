"""What a file of dftracer's says, line by line in plain Python: what the importer's columns are held against."""

from __future__ import annotations

import errno
from typing import Any

import msgspec

from tracekit.errors import TraceFormatError
from tracekit.formats.dftracer_calls import op_of
from tracekit.uri import file_uri

SEEKS = ("lseek", "lseek64", "fseek", "fseeko")
AT = ("pread", "pread64", "pwrite", "pwrite64", "preadv", "preadv2")
BEYOND = 2**62


class Event(msgspec.Struct):
    """A line."""

    name: str = ""
    cat: str = ""
    ph: int | str = ""
    pid: int | str | None = None
    tid: int | str | None = None
    ts: int | float | str | None = None
    dur: int | float | str | None = None
    args: dict[str, Any] = {}


def number(value, scale=int):
    """A number, or None for what is none or out of range."""
    try:
        found = scale(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if -BEYOND < found < BEYOND else None


def nanoseconds(value):
    """Of microseconds; whole numbers exactly."""
    if isinstance(value, str) and not value.lstrip("-").isdigit():
        value = float(value)
    return round(value * 1000) if isinstance(value, float) else int(value) * 1000


def count(value):
    """A count that fits a column."""
    found = number(value)
    return found if found is not None and 0 <= found < 2**31 else None


class Oracle:
    """Reads lines; `ops` are tuples in the order of the file, times on its clock."""

    def __init__(self, path, *, skip_bad):
        self.path, self.skip_bad = path, skip_bad
        self.ops, self.marks, self.left, self.bad, self.hosts = [], [], {}, 0, set()
        self._names, self._files, self._threads = {}, {}, {}

    def read(self, data):
        """All lines of a file."""
        for place, line in enumerate(data.split(b"\n"), 1):
            text = line.strip().removesuffix(b",")
            if text in (b"[", b"]", b""):
                continue
            try:
                event = msgspec.json.decode(text, type=Event)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                self._reject(place, f"the line is no event of dftracer ({error})")
                continue
            self._event(place, event)
        return self

    def _reject(self, place, problem):
        if not self.skip_bad:
            way_out = "pass --skip-bad to leave such lines out" if place > 1 else "is it dftracer?"
            raise TraceFormatError(self.path, place, problem, way_out)
        self.bad += 1

    def _leave_out(self, what):
        self.left[what] = self.left.get(what, 0) + 1

    def _event(self, place, event):
        args = event.args
        if event.ph in ("M", 4):
            label = str(args.get("name", ""))
            if event.name == "FH" and args.get("value") is not None:
                self._names[str(args["value"])] = label
            if event.name == "HH":
                self.hosts.add(label)
            return
        start, took = number(event.ts, nanoseconds), number(event.dur, nanoseconds)
        if start is None or start < 0 or (took is not None and took < 0):
            self._reject(place, f"`ts` {event.ts!r} and `dur` {event.dur!r} are no times")
            return
        self.hosts |= {str(args["hostname"])} if args.get("hostname") else set()
        end = None if took is None else start + took
        (self._call if event.cat in ("POSIX", "STDIO") else self._span)(event, start, end)

    def _call(self, event, start, end):
        path, args = self._path(event.args), event.args
        if event.name in SEEKS:
            if path is not None:
                self._seek(event, path)
            return
        op = op_of(event.name)
        if op is None or path is None:
            self._leave_out(f"{event.name} without a file name" if op else event.name)
            return
        result = number(args.get("ret", args.get("size")))
        offset, size = self._range(event, op, path, result)
        moves = op in ("read", "write")
        ret = None if result is None else max(result, 0)
        self._put([
            file_uri(path) if path.startswith("/") else path, offset, size, start, op, end, ret if moves else 0,
            self._error(args, result), number(event.pid), self._thread(event.tid), count(args.get("epoch")),
            count(args.get("step")), count(args.get("image_idx")), event.cat.lower(),
        ])  # fmt: skip

    def _put(self, row):
        for at, name, most in ((1, "offset", 2**63 - 1), (2, "len", 2**63 - 1), (8, "pid", 2**31 - 1)):
            if row[at] is not None and not -1 <= row[at] <= most:
                self._leave_out(f"{name} out of range")
                row[at] = None
            row[at] = None if row[at] == -1 else row[at]
        if row[2] is None:
            self._leave_out("ops without a usable time or length")
        else:
            self.ops.append(tuple(row))

    @staticmethod
    def _error(args, result):
        if result is None or result >= 0:
            return None
        code = number(args.get("errno"))
        return errno.errorcode.get(code, f"errno {code}") if code else "failed"

    def _thread(self, tid):
        found = number(tid)
        if found is not None and 0 <= found < 2**31:
            return found
        return None if tid is None else self._threads.setdefault(str(tid), len(self._threads) + 1)

    def _path(self, args):
        name = args.get("fname") or args.get("filename")
        if name:
            return str(name)
        digest = args.get("fhash")
        return None if digest is None else self._names.get(str(digest), f"fhash:{digest}")

    def _range(self, event, op, path, result):
        args, moved = event.args, max(result or 0, 0)
        if op == "open":
            self._opened(event, path, result)
        if op == "mmap":
            return number(args.get("offset")), max(number(args.get("length")) or 0, 0)
        if op not in ("read", "write"):
            return 0, 0
        asked = number(args.get("count", args.get("size")))
        if asked is not None and event.name.startswith("f"):
            asked *= number(args.get("nmemb")) or 1
        size = moved if asked is None else max(asked, 0)
        given, file = number(args.get("offset")), self._file(event, path)
        if event.name in AT or given is not None:
            return None if given is None or given < 0 else given, size
        if op == "write" and file["appending"]:
            file["at"] = None
        start = file["at"]
        file["at"] = None if start is None else start + moved
        return start, size

    def _opened(self, event, path, result):
        thread, process = str(event.tid), str(event.pid)
        file = {"path": path, "at": 0, "appending": bool((number(event.args.get("flags")) or 0) & 0o2000)}
        if "size" in event.args or result is None:
            self._files["name", thread, path] = file
        elif result >= 0:
            self._files["thread", thread, result] = self._files["process", process, result] = file

    def _file(self, event, path):
        fd = number(event.args.get("fd"))
        key = ("name", str(event.tid), path) if fd is None else ("thread", str(event.tid), fd)
        for one in (key, ("process", str(event.pid), fd)):
            if one in self._files and self._files[one]["path"] == path:
                return self._files[one]
        self._files[key] = {"path": path, "at": None, "appending": False}
        return self._files[key]

    def _seek(self, event, path):
        args, file = event.args, self._file(event, path)
        result = None if event.name.startswith("f") else number(args.get("ret"))
        whence, offset = number(args.get("whence")), number(args.get("offset"))
        if result is not None and result >= 0:
            file["at"] = result
        elif whence == 0:
            file["at"] = offset
        elif whence != 1:
            file["at"] = None
        elif offset and file["at"] is not None:
            file["at"] += offset
        if file["at"] is not None and file["at"] < 0:
            file["at"] = None

    def _span(self, event, start, end):
        name, args, pid = event.name, event.args, number(event.pid)
        step, epoch = count(args.get("step")), count(args.get("epoch"))
        if end is None:
            return
        if name in ("TorchFramework.compute", "TFFramework.compute"):
            self.marks.append(("compute", start, end, step, epoch, pid))
        elif event.cat == "APP" and name.startswith("epoch_"):
            self.marks.append(("epoch", start, end, None, count(args.get("epoch", name[6:])), pid))
        elif event.cat == "APP" and name == "batch":
            self.marks.append(("step", start, end, step, epoch, pid))
        elif event.cat in ("APP", "ai_framework") and "checkpoint" in name.rsplit(".", 1)[-1]:
            self.marks.append(("checkpoint", start, end, None, epoch, pid))
