"""Who read what: the kernel's count for every process of a run that ended, against what was recorded of it.

The kernel adds to a process's count that of each child it waits for. So what a program that is no Python read by itself is
what was counted when it ended, less what is known of recorded processes below it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # It brings NumPy, which record's --help does without.
    from tracekit.record.parts import Part

# Names and arguments of programs kept, and how much of each.
_MOST_PROGRAMS = 200
_MOST_WORDS = 64


@dataclass(frozen=True)
class Ending:
    """A process that ended: when (CLOCK_MONOTONIC ns), who waited for it, and bytes read by it and those it waited for.

    `total` is -1 where the kernel did not tell. A process that still runs has its count so far.
    """

    time: int
    reaper: int
    pid: int
    total: int
    name: str = ""


@dataclass
class Life:
    """One process from its birth to its end; a pid may be used again."""

    ending: Ending
    begin: int
    parts: list[Part] = field(default_factory=list)
    words: list[str] | None = None
    below: int = 0

    @property
    def gap(self) -> int:
        """Bytes of it that nothing is known of."""
        known = sum(part.seen_bytes for part in self.parts) + self.below
        return max(self.ending.total - known, 0) if self.ending.total >= 0 else 0


@dataclass(frozen=True)
class Account:
    """What is missing from a recording: by programs that are no Python, and by recorded processes themselves."""

    programs: list[dict[str, Any]]
    processes: list[dict[str, Any]]
    missing: int


def account(parts: Sequence[Part], endings: Sequence[Ending], commands: Mapping[int, Sequence[str]]) -> Account:
    """The account of a run.

    Args:
        parts: Of every recorded process.
        endings: What the launcher saw end. What recorded processes saw is in their parts.
        commands: Words of programs whose start no recorded process saw, by pid.
    """
    everyone = [*endings, *(Ending(time, part.pid, pid, read) for part in parts for time, pid, read in part.reaps)]
    lives = _lives(everyone)
    _place_parts(lives, parts)
    for life in (life for of_pid in lives.values() for life in of_pid):
        life.words = _program(life, parts, commands)
    _take_out(lives, everyone, parts)
    ended = [life for of_pid in lives.values() for life in of_pid]
    programs = [life for life in ended if life.words is not None]
    others = [life for life in ended if life.words is None]
    return Account(_programs(programs), _processes(others), sum(life.gap for life in ended))


def _lives(endings: Sequence[Ending]) -> dict[int, list[Life]]:
    lives: dict[int, list[Life]] = {}
    for ending in sorted(endings, key=lambda ending: ending.time):
        before = lives.setdefault(ending.pid, [])
        before.append(Life(ending, before[-1].ending.time if before else -1))
    return lives


def _life_at(lives: Mapping[int, list[Life]], pid: int, time: int) -> Life | None:
    return next((life for life in lives.get(pid, ()) if life.begin < time <= life.ending.time), None)


def _place_parts(lives: Mapping[int, list[Life]], parts: Sequence[Part]) -> None:
    for part in parts:
        life = _life_at(lives, part.pid, part.born)
        if life is not None:
            life.parts.append(part)


def _program(life: Life, parts: Sequence[Part], commands: Mapping[int, Sequence[str]]) -> list[str] | None:
    """The words of what a process became last, if that left no part."""
    pid = life.ending.pid
    last = max((part.born for part in life.parts), default=-1)
    for part in parts:
        for time, starter, words in part.execs:
            if starter == pid and max(last, life.begin) < time <= life.ending.time:
                return words[1:] or words
    if life.parts:
        return None
    if pid in commands:
        return list(commands[pid])
    return [life.ending.name] if life.ending.name else None


def _take_out(lives: Mapping[int, list[Life]], endings: Sequence[Ending], parts: Sequence[Part]) -> None:
    """Take out of each count what was counted for children: those waited for, and recorded ones further down."""
    for ending in endings:
        above = _life_at(lives, ending.reaper, ending.time)
        if above is not None and ending.total >= 0:
            above.below += ending.total
    by_pid = {part.pid: part for part in parts}
    for part in parts:
        if _life_at(lives, part.pid, part.born) is not None:
            continue
        # Nobody we know waited for it: a program that is no Python did, and has its bytes in its own count.
        known = part.seen_bytes + sum(read for _, _, read in part.reaps if read > 0)
        for pid in _ancestors(part, by_pid):
            life = _life_at(lives, pid, part.born)
            if life is not None:
                life.below += known
                break


def _ancestors(part: Part, by_pid: Mapping[int, Part]) -> list[int]:
    chain: list[int] = list(part.about.get("above") or [])
    parent = part.about.get("ppid")
    while not chain and parent is not None and parent in by_pid and len(chain) < len(by_pid):
        chain = [parent, *(by_pid[parent].about.get("above") or [])]
    return chain or ([parent] if parent is not None else [])


def _programs(lives: Sequence[Life]) -> list[dict[str, Any]]:
    """The programs and their bytes, most first; a command that ran often is named once, with its count."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for life in lives:
        words = [word[:1000] for word in (life.words or [])[:_MOST_WORDS]]
        entry = found.setdefault(tuple(words), {"argv": words, "bytes": 0, "times": 0})
        entry["bytes"] += life.gap
        entry["times"] += 1
        if life.ending.total < 0:
            entry["unknown"] = entry.get("unknown", 0) + 1
    return sorted(found.values(), key=lambda entry: -int(entry["bytes"]))[:_MOST_PROGRAMS]


def _processes(lives: Sequence[Life]) -> list[dict[str, Any]]:
    """Recorded processes with bytes that are not known, most first."""
    found = [
        {"pid": life.ending.pid, "argv": life.parts[-1].about.get("argv", []), "bytes": life.gap}
        for life in lives
        if life.parts and life.gap
    ]
    return sorted(found, key=lambda entry: -int(entry["bytes"]))[:_MOST_PROGRAMS]


# -- looking at processes ---------------------------------------------------------------------------------------------


def bytes_read(pid: int | str) -> int:
    """What the kernel counted as read by a process and the children it waited for; -1 where it does not tell."""
    try:
        with open(f"/proc/{pid}/io", "rb") as file:
            return int(file.readline().split()[1])
    except (OSError, ValueError, IndexError):
        return -1


def wait_for(pid: int) -> tuple[int, int]:
    """Wait for a child that has ended: what the kernel counted for it as `bytes_read` says, and its wait status.

    Its own file in /proc newer kernels (6.18.44) show to root only, once it has ended. The wait adds its count to our own, which
    is looked at where there is no other way: what another thread of ours reads between the two looks is taken for the child's.
    """
    total = bytes_read(pid)
    before, cost = _count() if total < 0 else (-1, 0)
    _, status = os.waitpid(pid, 0)
    return (_count()[0] - before - cost if before >= 0 else total), status


def _count() -> tuple[int, int]:
    """What the kernel counted as read by us, and what this look adds to it."""
    try:
        with open("/proc/self/io", "rb", buffering=0) as file:
            text = file.read(4096)
        return int(text.split(None, 2)[1]), len(text)
    except (OSError, ValueError, IndexError):
        return -1, 0


def name_of(pid: int) -> str:
    """The name of a process that has ended, or runs; empty where it is gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def words_of(pid: int) -> list[str]:
    """The command line of a process that runs."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    """The processes below one, as far as /proc tells."""
    found, waiting = [], [pid]
    while waiting:
        for child in _children(waiting.pop()):
            found.append(child)
            waiting.append(child)
    return found


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found = []
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += [int(word) for word in file.read().split()]
        except OSError:  # noqa: PERF203  # a thread may be gone
            continue
    return found
