"""Lines of strace put together to calls, each in the process that made it.

One line is one call; a call that another thread's line cut in two (`<unfinished ...>`) is put together again. The first
number of a line is a thread; which process it belongs to is known where its clone was seen, and it is taken for a process of
its own otherwise.

strace prints the beginning of a call before the kernel runs it, and its end afterwards: what a call does, it does between
its two lines, and no earlier and no later.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from tracekit.formats.descriptors import AT_ONCE, Beginning, Descriptors
from tracekit.formats.foreign import MAX_NS, Row, Stateful
from tracekit.formats.foreign_lines import lines
from tracekit.formats.strace_words import number

_LINE = re.compile(rb"(?:\[pid\s+(\d{1,30})\] +|(\d{1,30}) +)?(\d{6,30})\.(\d{1,9}) +(.*)", re.DOTALL)
_OTHER_TIMES = re.compile(rb"(?:\[pid\s+\d+\] +|\d+ +)?(?:\d\d:\d\d:\d\d|\d{1,5}\.\d+ )")
_CALL = re.compile(rb"(\w+)\((.*)\) += +(-?\d+|\?)(.*)", re.DOTALL)
_DURATION = re.compile(rb" <(\d+)\.(\d{1,9})>$")
_UNFINISHED = b" <unfinished ...>"
_RESUMED = re.compile(rb"<\.\.\. (\w+) resumed>(.*)", re.DOTALL)
_SUPERSEDED = re.compile(rb"\+\+\+ superseded by execve in pid (\d+)")
_NUMBER = re.compile(rb"\b\d{1,7}\b")
# How many lines to read ahead: calls that make threads end within few.
_AHEAD = 100_000
# Why a line is bad; the core has the same numbers.
NO_EVENT, NO_RESULT, NO_SENSE = range(3)
_NO_END = "calls whose end is not in the file"

_CLONES = (b"clone", b"clone3", b"fork", b"vfork")
_MAKING = tuple(name + b"(" for name in _CLONES)
_EXECS = (b"execve", b"execveat")


class Call(NamedTuple):
    """A whole call: what it was asked and answered, its times in ns, who made it, and what its descriptors then were.

    `args` is what stands in the brackets, `rest` what stands behind the result; `ret` is None for a call that did not return.
    """

    name: bytes
    args: bytes
    rest: bytes
    when: int
    end: int | None
    ret: int | None
    error: str | None
    pid: int
    tid: int
    begun: Beginning


class _Event(NamedTuple):
    """A line: its number, who, when, and what."""

    number: int
    tid: int
    when: int
    body: bytes


class _Pending(NamedTuple):
    """A call whose end was not seen yet."""

    when: int
    text: bytes
    begun: Beginning


class Calls(Stateful):
    """What the formats that strace writes have in common; `rows` asks `called` about every whole call."""

    def begin(self) -> None:
        """No process, descriptor or unfinished call is known."""
        self.descriptors = Descriptors()
        self._process: dict[int, int] = {}
        self._pending: dict[int, _Pending] = {}
        # Threads that were seen, and by whom those were made whose making has not ended yet.
        self._known: set[int] = set()
        self._maker: dict[int, int] = {}
        self._coming = self._events()
        # Lines that were read ahead, to know who made a thread.
        self._ahead: deque[_Event] = deque()

    @abstractmethod
    def called(self, call: Call) -> Iterator[Row]:
        """The rows of a call."""

    def born(self, parent: int, child: int, when: int) -> None:
        """Called when a process is seen to have forked another, at `when` of the source's clock."""

    def process(self, tid: int) -> int:
        """The process of a thread."""
        return self._process.get(tid, tid)

    def rows(self) -> Iterator[Row]:
        """The calls on files, in the order in which they ended."""
        while True:
            event = self._ahead.popleft() if self._ahead else next(self._coming, None)
            if event is None:
                break
            try:
                yield from self._happened(event)
            except (ValueError, IndexError):  # damaged: an argument is missing, or has more digits than any number
                self.explain(event.number, NO_SENSE, event.body)
        if self._pending:
            self.leave_out(_NO_END, len(self._pending))

    def _events(self) -> Iterator[_Event]:
        for line, text in lines(self):
            match = _LINE.match(text)
            if match is None:
                if not (text.startswith(b"strace: ") or b"+++" in text or b"---" in text):
                    self.explain(line, NO_EVENT, text)
                continue
            tid = min(int(match[1] or match[2] or 0), MAX_NS)
            yield _Event(line, tid, min(_nanoseconds(int(match[3]), match[4]), MAX_NS), match[5].rstrip())

    def explain(self, line: int, kind: int, text: bytes) -> None:
        """Reject a line.

        Args:
            line: Its number.
            kind: Why.
            text: The line, or the call.

        Raises:
            TraceFormatError: Unless bad lines are skipped.
        """
        if kind == NO_RESULT:
            problem = f"the call has no result: {text[:60]!r}"
        elif kind == NO_SENSE:
            problem = f"the call cannot be understood: {text[:60]!r}"
        elif _OTHER_TIMES.match(text):
            problem = "the times do not count from 1970; record with strace -ttt"
        else:
            problem = f"the line is none of strace -f -ttt -T -y: {text[:40]!r}"
        self.reject(line, problem)

    def _happened(self, event: _Event) -> Iterator[Row]:
        tid, body = event.tid, event.body
        if tid not in self._known:
            self._first_seen(tid, body)
        if body[:3] in (b"+++", b"---"):
            self._ended(tid, body)
        elif body.endswith(_UNFINISHED):
            self._begins(tid, event.when, body[: -len(_UNFINISHED)])
        else:
            yield from self._ends(event)

    def _begins(self, tid: int, when: int, text: bytes) -> None:
        if tid in self._pending:
            self.leave_out(_NO_END)
        # Which of the numbers are descriptors need not be known: nothing else is looked up.
        numbers = None if text.startswith(_MAKING) else map(int, _NUMBER.findall(text))
        self._pending[tid] = _Pending(when, text, self.descriptors.begin(self.process(tid), numbers))

    def _ends(self, event: _Event) -> Iterator[Row]:
        line, tid, when, body = event
        begun = AT_ONCE
        resumed = _RESUMED.match(body)
        if resumed:
            pending = self._pending.pop(tid, None)
            if pending is None:
                self.leave_out("ends of calls whose beginning is not in the file")
                return
            when, body, begun = pending.when, pending.text + resumed[2], pending.begun
        found = _CALL.match(body)
        if found is None:
            self.explain(line, NO_RESULT, body)
            return
        call = self._call(tid, when, found, begun)
        yield from self.called(call)
        if call.name in _CLONES:
            self._cloned(call)
        elif call.name in _EXECS and call.ret == 0:
            self.descriptors.unshared(call.pid)

    def _call(self, tid: int, when: int, found: re.Match[bytes], begun: Beginning) -> Call:
        name, args, result, rest = found.groups()
        took = _DURATION.search(rest)
        seconds = number(took[1]) if took else None
        end = None if took is None or seconds is None else when + _nanoseconds(seconds, took[2])
        error = rest.split()[0].decode("ascii", "replace") if result == b"-1" and rest.strip() else None
        ret = None if result == b"?" else number(result)
        end = None if end is not None and end >= MAX_NS else end
        return Call(name, args, rest, when, end, ret, error, self.process(tid), tid, begun)

    # -- threads and processes ----------------------------------------------------------------------------------------

    def _ended(self, tid: int, body: bytes) -> None:
        if not body.startswith(b"+++"):
            return
        if self._pending.pop(tid, None) is not None:
            self.leave_out(_NO_END)
        taken = _SUPERSEDED.match(body)
        if taken is None:
            self._known.discard(tid)
        elif (other := number(taken[1])) in self._pending:  # the end of that thread's execve is told by this one
            self._pending[tid] = self._pending.pop(other)

    def _first_seen(self, tid: int, body: bytes) -> None:
        """A thread or process may be seen before the call that made it ends: always so after vfork."""
        if body.startswith(b"+++"):
            return
        self._known.add(tid)
        maker = self._maker_of(tid)
        if maker is not None:
            pending = self._pending[maker]
            self._made(maker, tid, pending.text, pending.when, pending.begun)

    def _maker_of(self, child: int) -> int | None:
        """Who is making a thread that is seen before that is done; None where nobody is."""
        makers = {tid: self._kind(tid, self._pending[tid].text) for tid in self._makers()}
        if len(set(makers.values())) > 1:
            for event in self._look_ahead():
                resumed = _RESUMED.match(event.body) if event.tid in makers else None
                found = _CALL.match(self._pending[event.tid].text + resumed[2]) if resumed else None
                if found is not None and found[3] == b"%d" % child:
                    return event.tid
                if found is not None:
                    del makers[event.tid]
                if len(set(makers.values())) <= 1:
                    break
        return next(iter(makers), None)  # which of several of one kind it was is all the same

    def _look_ahead(self) -> Iterator[_Event]:
        yield from self._ahead
        for event in islice(self._coming, _AHEAD - len(self._ahead)):
            self._ahead.append(event)
            yield event

    def _makers(self) -> list[int]:
        """Threads that are making another which was not seen yet."""
        found = set(self._maker.values())
        making = [tid for tid, pending in self._pending.items() if pending.text.startswith(_MAKING)]
        return [tid for tid in making if tid not in found]

    def _kind(self, maker: int, text: bytes) -> tuple[int, bool]:
        return self.process(maker), b"CLONE_THREAD" in text

    def _cloned(self, call: Call) -> None:
        child = None if call.error is not None or not call.ret or call.ret < 0 else call.ret
        instead = None if child is None else self._maker.pop(child, None)
        for other, maker in self._maker.items():
            if maker == call.tid:  # it was taken for this call's child, and was made by another of the same kind
                kind = self._kind(maker, call.args)
                rest = [tid for tid in self._makers() if self._kind(tid, self._pending[tid].text) == kind]
                self._maker[other] = instead if instead is not None else next(iter(rest), maker)
        if child is not None and instead is None:
            self._known.add(child)
            self._made(call.tid, child, call.args, call.when, call.begun)
            del self._maker[child]

    def _made(self, maker: int, child: int, args: bytes, when: int, begun: Beginning) -> None:
        self._maker[child] = maker
        parent = self.process(maker)
        if b"CLONE_THREAD" in args:
            self._process[child] = parent
            return
        self._process.pop(child, None)
        self.descriptors.forked(parent, child, shared=b"CLONE_FILES" in args, begun=begun)
        self.born(parent, child, when)


def _nanoseconds(seconds: int, fraction: bytes) -> int:
    return seconds * 1_000_000_000 + int(fraction.ljust(9, b"0"))
