"""How far long work is: the rooms say it here, and a command listens and shows it. Where nobody listens nothing happens.

The library prints nothing by itself; a program that uses it may listen as the commands do:

    with progress.heard_by(lambda step: ...):
        Trace.read("train.parquet")
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Step:
    """How far a piece of work is.

    Args:
        label: What is being done, in a word or two; names the work, as long as it lasts.
        done: How much of it.
        total: How much there is; None when nobody knows.
        unit: What is counted; `B` is bytes.
        notes: What else to say, the most important first.
    """

    label: str
    done: int
    total: int | None = None
    unit: str = "ops"
    notes: Sequence[str] = ()


Listener = Callable[[Step], None]

_listener: Listener | None = None
# How many steps were said.
_told = 0
_BEAT_S = 1.0


@contextmanager
def heard_by(listener: Listener | None) -> Iterator[None]:
    """While the body runs, `listener` is called with each step, by whatever thread does the work. It must be quick."""
    global _listener  # noqa: PLW0603 -- one process has one person in front of it
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


def tell(label: str, done: int, total: int | None = None, unit: str = "ops", notes: Sequence[str] = ()) -> None:
    """Say how far a piece of work is (arguments as of `Step`); cheap where nobody listens."""
    global _told  # noqa: PLW0603 -- as above
    if _listener is not None:
        _told += 1
        _listener(Step(label, done, total, unit, notes))


def each(items: Iterable[Item], label: str, total: int | None = None, unit: str = "ops") -> Iterator[Item]:
    """The items one after the other; that one is done is said when the next is asked for."""
    done = 0
    tell(label, done, total, unit)
    for item in items:
        yield item
        done += 1
        tell(label, done, total, unit)


@contextmanager
def during(label: str) -> Iterator[None]:
    """While the body runs, a second in which nothing else is said is told as time that has passed: not all work can be counted.

    A thread does it; the body must not fork.
    """
    if _listener is None:
        yield
        return
    over = threading.Event()
    beating = threading.Thread(target=_beat, args=(label, over), daemon=True)
    beating.start()
    try:
        yield
    finally:
        over.set()
        beating.join()
        tell(label, 1, 1, "s")


def _beat(label: str, over: threading.Event) -> None:
    begin, told = time.monotonic(), _told
    while not over.wait(_BEAT_S):
        if told == _told:
            tell(label, round(time.monotonic() - begin), unit="s")
        told = _told
