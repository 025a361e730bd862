"""What a training program says about itself: `tracekit.step()`, `tracekit.sample()`, `tracekit.epoch()`, `tracekit.checkpoint()`.

Outside a recording they do nothing and cost almost nothing, so they may stay in the program. Inside one, the ops a block
does carry its step, sample or epoch. The recorder is found by name among the loaded modules: it was put there when the
interpreter started, and may be of another installation than this one.

Standard library only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, overload

_T = TypeVar("_T")
PRIVATE = "_tracekit_recorder"


def recording() -> bool:
    """Whether this process is being recorded by `tracekit record`."""
    return _recorder() is not None


@overload
def step(number: int | None = None) -> Span: ...
@overload
def step(number: Iterable[_T]) -> Iterator[_T]: ...
def step(number: Any = None) -> Any:
    """One training step: `with tracekit.step():` around it, or `for batch in tracekit.step(batches):`.

    The first form marks the block. The second marks one step per element, from the moment it is asked for to the moment
    the next one is, and as `compute` the part after it was handed over. Inside a step that is marked already (by an outer
    `step`, or because a PyTorch DataLoader handed over the batch) the outer one counts, and this one adds nothing.

    Args:
        number: The step's number; by default they are counted in this process. Or the batches to go through.
    """
    return Span("step", number) if number is None or _is_number(number) else _each(number)


def sample(identity: int | str) -> Span:
    """The ops of this block serve one training sample: `with tracekit.sample(index):`.

    Args:
        identity: The sample's index or name.
    """
    return Span("sample", identity)


@overload
def epoch(number: int) -> Span: ...
@overload
def epoch(number: Iterable[_T]) -> Iterator[_T]: ...
def epoch(number: Any) -> Any:
    """One pass over the data: `with tracekit.epoch(n):`, or `for n in tracekit.epoch(range(3)):`; ops and steps inside carry the number.

    Args:
        number: The epoch's number. Or what to go through; elements that are no numbers are counted, from 0.
    """
    return Span("epoch", number) if _is_number(number) else _passes(number)


def checkpoint(step: int) -> Span:
    """A checkpoint being written: `with tracekit.checkpoint(step):`; it is marked, and ops inside keep what they carry.

    Args:
        step: After which step.
    """
    return Span("checkpoint", step)


class Silent:
    """What a loader talks to outside a recording."""

    def work(self, worker: int, batch: int) -> None:
        """Nothing."""

    def ask(self) -> None:
        """Nothing."""

    def give(self) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


def feed(number: int) -> Any:
    """For loaders: what says which batch of an epoch a thread reads for (`work`), and when one is asked for and handed over.

    Args:
        number: The epoch.
    """
    recorder = _recorder()
    return Silent() if recorder is None else recorder.feed(number)


class Span:
    """A block of a program; enter it with `with`. It can be entered again after it was left."""

    __slots__ = ("_kind", "_recorder", "_state", "_value")

    def __init__(self, kind: str, value: Any) -> None:
        self._kind = kind
        self._value = value
        self._recorder: Any = None
        self._state: Any = None

    def __enter__(self) -> Span:
        self._recorder = _recorder()
        if self._recorder is not None:
            self._state = self._recorder.enter(self._kind, self._value)
        return self

    def __exit__(self, *_error: object) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.leave(self._kind, self._state)


def _is_number(value: Any) -> bool:
    # It may be NumPy's or a tensor's too; arrays of them, which are batches, have an `__index__` as well.
    return isinstance(value, int) or (hasattr(value, "__index__") and not hasattr(value, "__iter__"))


def _passes(epochs: Iterable[_T]) -> Iterator[_T]:
    for count, one in enumerate(epochs):
        with Span("epoch", one if _is_number(one) else count):
            yield one


def _each(batches: Iterable[_T]) -> Iterator[_T]:
    recorder = _recorder()
    if recorder is None:
        yield from batches
        return
    source = iter(batches)
    loop = recorder.loop()
    try:
        while True:
            loop.ask()
            try:
                batch = next(source)
            except StopIteration:
                return
            loop.give()
            yield batch
    finally:
        loop.end()


def _recorder() -> Any:
    return getattr(sys.modules.get(PRIVATE), "recorder", None)
