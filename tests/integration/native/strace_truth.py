"""What the kernel was asked to do, by strace's account: every op with its file, offset, length and result.

strace says nothing of the offset of a `read`. It follows from what the process did before: this keeps the descriptors of every
process, and the position behind each, as the kernel does: shared by copies and by forked children, moved by reads and lseek.
"""

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tracekit.trace import Trace
from tracekit.uri import local_path

CALLS = (
    "read,pread64,readv,preadv,preadv2,write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,splice,mmap,lseek,"
    "open,openat,openat2,creat,dup,dup2,dup3,fcntl,clone,clone3,fork,vfork,ftruncate"
)
OPTIONS = ("-f", "--seccomp-bpf", "-ttt", "-y", "-v", "-s", "0", "-e", "signal=none", "-e", f"trace={CALLS}")
KINDS = ("read", "write", "mmap", "open")
LINE = re.compile(r"^(\d+) +[\d.]+ (.*)$")
CALL = re.compile(r"^(\w+)\((.*)\) += (\S+)(.*)$")
NAMED = re.compile(r"^(?:-?\d+|AT_FDCWD)<(.*)>(?:\(deleted\))?$")


@dataclass
class Opened:
    """An open file description: what copies of a descriptor share. A position of None is not known."""

    path: str
    position: int | None = None
    append: bool = False


@dataclass
class Kernel:
    """Descriptors of every thread (threads of one process share a table) and the ops seen."""

    parents: dict[int, tuple[int, bool]]
    tables: dict[int, dict[int, Opened]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    ops: list[tuple[str, str, int | None, int, int]] = field(default_factory=list)

    def table(self, thread: int) -> dict[int, Opened]:
        """The descriptors of `thread`; at its first call it has its parent's, or a copy."""
        if thread not in self.tables:
            parent, shared = self.parents.get(thread, (0, False))
            inherited = self.table(parent) if parent else {}
            self.tables[thread] = inherited if shared else dict(inherited)
        return self.tables[thread]

    def behind(self, thread: int, word: str) -> Opened | None:
        """What is behind `3</a/b>`; a descriptor that came by other ways begins at a position nobody knows."""
        named = NAMED.match(word)
        if named is None:
            return None
        table, number = self.table(thread), int(word.split("<", maxsplit=1)[0])
        if number not in table or table[number].path != named[1]:
            table[number] = Opened(named[1])
        return table[number]

    def move(self, thread: int, kind: str, word: str, offset: str | None, asked: int, got: int) -> None:
        """One op on a descriptor: at `offset`, or at its position, which it moves."""
        opened = self.behind(thread, word)
        if opened is None:
            return
        at = int(offset) if offset is not None else opened.position
        if offset is None and kind == "write" and opened.append:
            at = self.sizes.get(opened.path)
        if offset is None and at is not None:
            opened.position = at + got
        if kind == "write" and at is not None and opened.path in self.sizes:
            self.sizes[opened.path] = max(self.sizes[opened.path], at + got)
        self.ops.append((kind, opened.path, at, asked, got))

    def opened(self, thread: int, flags: str, got: str) -> None:
        """A call that returned a new descriptor by name."""
        named = NAMED.match(got)
        if named is None:
            return
        if "O_TRUNC" in flags or "O_EXCL" in flags:
            self.sizes[named[1]] = 0
        self.table(thread)[int(got.split("<", maxsplit=1)[0])] = Opened(named[1], 0, "O_APPEND" in flags)
        if "O_DIRECTORY" not in flags and not os.path.isdir(named[1]):
            self.ops.append(("open", named[1], 0, 0, 0))

    def copied(self, thread: int, source: str, got: str) -> None:
        """A call that returned a copy of a descriptor."""
        opened = self.behind(thread, source)
        if opened is not None:
            self.table(thread)[int(got.split("<", maxsplit=1)[0])] = opened


def _number(word: str) -> str | None:
    """An offset in memory, `[0] => [4096]` or `[0]`: where the call began; None for NULL."""
    found = re.match(r"^\[(\d+)\]", word)
    return found[1] if found else None


def _asked(vector: str) -> int:
    return sum(int(size) for size in re.findall(r"iov_len=(\d+)", vector))


def _apply(kernel: Kernel, thread: int, call: str, args: list[str], got: str) -> None:
    """What a successful call did."""
    count = int(got) if re.fullmatch(r"\d+", got) else 0
    kind = "write" if "write" in call else "read"
    if call in ("read", "write"):
        kernel.move(thread, kind, args[0], None, int(args[2]), count)
    elif call in ("pread64", "pwrite64"):
        kernel.move(thread, kind, args[0], args[3], int(args[2]), count)
    elif call in ("readv", "writev"):
        kernel.move(thread, kind, args[0], None, _asked(args[1]), count)
    elif call in ("preadv", "pwritev", "preadv2", "pwritev2"):
        offset = None if args[3] == "-1" else args[3]
        kernel.move(thread, kind, args[0], offset, _asked(args[1]), count)
    elif call == "sendfile":
        kernel.move(thread, "read", args[1], _number(args[2]), int(args[3]), count)
        kernel.move(thread, "write", args[0], None, count, count)  # asked of the target: what the source had
    elif call in ("copy_file_range", "splice"):
        kernel.move(thread, "read", args[0], _number(args[1]), int(args[4]), count)
        kernel.move(thread, "write", args[2], _number(args[3]), count, count)
    elif call == "mmap":
        opened = kernel.behind(thread, args[4])
        if opened is not None:
            kernel.ops.append(("mmap", opened.path, int(args[5], 0), int(args[1]), int(args[1])))
    elif call == "lseek":
        opened = kernel.behind(thread, args[0])
        if opened is not None:
            opened.position = count
    elif call == "ftruncate":
        opened = kernel.behind(thread, args[0])
        if opened is not None:
            kernel.sizes[opened.path] = int(args[1])
    elif call in ("open", "openat", "openat2", "creat"):
        kernel.opened(thread, "O_TRUNC" if call == "creat" else " ".join(args[1:]), got)
    elif call.startswith("dup") or (call == "fcntl" and "F_DUPFD" in args[1]):
        kernel.copied(thread, args[0], got)


def _split(text: str) -> list[str]:
    """Arguments at the top level: brackets, strings and the names strace puts behind descriptors hold together."""
    parts, depth, quoted, named, start = [], 0, False, False, 0
    for at, letter in enumerate(text):
        before = text[at - 1] if at else ""
        if named:
            named = letter != ">" or before == "-"
        elif quoted:
            quoted = letter != '"' or before == "\\"
        elif letter == '"':
            quoted = True
        elif letter == "<" and (before.isdigit() or before == "D"):
            named = True
        elif letter in "[{(":
            depth += 1
        elif letter in ")}]":
            depth -= 1
        elif letter == "," and not depth:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


def _calls(log: Path) -> list[tuple[int, str, str, str]]:
    """(thread, call, arguments, result) of every call that returned, in the order of returning."""
    begun: dict[int, str] = {}
    found = []
    for line in log.read_text(errors="surrogateescape").splitlines():
        matched = LINE.match(line)
        if matched is None:
            continue
        thread, text = int(matched[1]), matched[2]
        if text.endswith("<unfinished ...>"):
            begun[thread] = text.removesuffix("<unfinished ...>")
            continue
        if text.startswith("<... "):
            text = begun.pop(thread, "") + text.partition("resumed>")[2]
        call = CALL.match(text)
        if call:
            found.append((thread, call[1], call[2], call[3] + call[4].partition(" (")[0]))
    return found


def ops(log: Path, root: Path) -> Counter:
    """(op, path, offset or None, asked, got) of every successful op on files below `root`, as a multiset."""
    calls = _calls(log)
    spawned = ("clone", "clone3", "fork", "vfork")
    parents = {
        int(got): (thread, "CLONE_FILES" in args)
        for thread, call, args, got in calls
        if call in spawned and got.isdigit()
    }
    kernel = Kernel(parents)
    for thread, call, args, got in calls:
        if call in spawned and got.isdigit():
            kernel.table(int(got))
        elif not got.startswith(("-", "?")):
            _apply(kernel, thread, call, _split(args), got)
    below = os.path.realpath(root) + "/"
    return Counter(op for op in kernel.ops if op[1].startswith(below))


def recorded(trace: Trace, root: Path) -> Counter:
    """The same of a trace."""
    below = os.path.realpath(root) + "/"
    found: Counter = Counter()
    paths: dict[str, str] = {}
    for op in trace:
        if op.op in KINDS and op.err is None:
            path = paths.get(op.uri) or paths.setdefault(op.uri, os.path.realpath(local_path(op.uri)))
            if path.startswith(below):
                found[(op.op, path, op.offset, op.len, op.ret)] += 1
    return found


@dataclass(frozen=True)
class Coverage:
    """How a trace stands to the truth: ops and bytes of each op in the truth, and of them in the trace too."""

    missing: Counter
    invented: Counter
    truth: Counter

    def of(self, kind: str) -> tuple[int, int, int, int]:
        """(ops, bytes, ops missing, bytes missing) of one kind."""
        return (*_sum(self.truth, kind), *_sum(self.missing, kind))


def _sum(counter: Counter, kind: str) -> tuple[int, int]:
    chosen = [(op, count) for op, count in counter.items() if op[0] == kind]
    return sum(count for _, count in chosen), sum(op[4] * count for op, count in chosen)


def compare(truth: Counter, trace: Counter) -> Coverage:
    """Hold a trace against the truth; where the truth knows no offset, any will do."""
    missing, invented = truth - trace, trace - truth
    for op in [op for op in missing if op[2] is None]:
        for other in [o for o in invented if (o[:2], o[3:]) == (op[:2], op[3:])]:
            paired = min(missing[op], invented[other])
            missing[op] -= paired
            invented[other] -= paired
    return Coverage(+missing, +invented, truth)
