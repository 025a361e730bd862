"""The program's own structure while it runs: which step, epoch and sample the calling thread is at, and the marks.

Behind `tracekit.step()` and its kin (see `context`) and behind the PyTorch hooks. Runs inside the recorded program:
standard library only.
"""

from __future__ import annotations

import _thread
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextvars import ContextVar

    from tracekit.record.lines import Context, Lines


class Recorder:
    """What `tracekit.record.context` talks to in a recorded process.

    Args:
        spool: Where ops take their context from and marks go to.
    """

    def __init__(self, spool: Lines) -> None:
        from _contextvars import ContextVar

        self.spool = spool
        self.context: ContextVar[Context] = spool.context
        # Whether the program itself marked the step that is open; then loaders add none of their own.
        self.explicit: ContextVar[bool] = ContextVar("tracekit_explicit", default=False)
        self.steps = 0

    def take(self) -> int:
        """The number of the next step of this process."""
        number = self.steps
        self.steps += 1
        return number

    def place(self, *, worker: int, run: int, batch: int) -> None:
        """The calling thread is a loader worker at a batch of a run; -1 for none yet."""
        self.context.set((worker, -1, batch, -1, run))

    def enter(self, kind: str, value: Any) -> Any:
        """Begin a step, sample, epoch or checkpoint; returns what `leave` needs."""
        before = self.context.get()
        worker, epoch, step, sample, run = before
        number = None
        if kind == "sample":
            self.context.set((worker, epoch, step, self.spool.sample_code(value), run))
        elif kind == "epoch":
            number = max(int(value), 0)
            self.context.set((worker, number, step, sample, run))
        elif kind == "checkpoint":
            number = max(int(value), 0)
        elif step < 0:
            number = self.take() if value is None else max(int(value), 0)
            self.steps = max(self.steps, number + 1)
            self.context.set((worker, epoch, number, sample, run))
            self.explicit.set(True)
        return before, number, time.monotonic_ns()

    def leave(self, kind: str, state: Any) -> None:
        """End what `enter` began."""
        before, number, start = state
        epoch = self.context.get()[1]
        self.context.set(before)
        if number is None:
            return
        end = time.monotonic_ns()
        if kind == "step":
            self.explicit.set(False)
            self.spool.line(mark="step", t=start, t_end=end, step=number, epoch=epoch, tid=_thread.get_native_id())
        elif kind == "checkpoint":
            self.spool.line(mark=kind, t=start, t_end=end, step=number, epoch=epoch, tid=_thread.get_native_id())
        else:
            self.spool.line(mark="epoch", t=start, t_end=end, epoch=number, tid=_thread.get_native_id())

    def feed(self, epoch: int) -> Feed:
        """What a loader of ours talks to during one pass."""
        return Feed(self, epoch)

    def loop(self) -> Loop:
        """The steps of `for batch in tracekit.step(batches)`."""
        return Loop(self, muted=self.context.get()[2] >= 0, explicit=True)


class Feed:
    """What a loader of ours says while it reads: which batch its threads are at, and when the consumer asks and gets.

    Where the program marks its steps itself, batches belong to those; else the consumer's asking is what a step is.

    Args:
        recorder: Of this process.
        epoch: The pass over the data.
    """

    def __init__(self, recorder: Recorder, epoch: int) -> None:
        self.recorder = recorder
        around = recorder.context.get()
        self.epoch = epoch if around[1] < 0 else around[1]
        self.first = recorder.steps if around[2] < 0 else around[2]
        self.loop = Loop(recorder, muted=around[2] >= 0, epoch=self.epoch)

    def work(self, worker: int, batch: int) -> None:
        """The calling thread reads for a batch of this pass."""
        self.recorder.context.set((worker, self.epoch, self.first + batch, -1, 0))

    def ask(self) -> None:
        """The consumer asks for a batch."""
        self.loop.ask()

    def give(self) -> None:
        """It is handed over."""
        self.loop.give()

    def end(self) -> None:
        """There are no more."""
        self.loop.end()


class Loop:
    """A loop over batches: each step runs from `ask` to the next `ask` or `end`, computing from `give` on.

    Args:
        recorder: Of this process.
        muted: The steps are another's: only say which batch served them.
        explicit: Whether the program marked this loop itself.
        about: What the lines of this loop carry besides (a loader's name and run).
        epoch: The pass over the data; -1 for what the context says.
    """

    def __init__(
        self, recorder: Recorder, *, muted: bool = False, explicit: bool = False, about: Any = None, epoch: int = -1
    ) -> None:
        self.recorder = recorder
        self.muted = muted
        self.explicit = explicit
        self.about: dict[str, Any] = about or {}
        self.epoch = epoch
        self.number = -1
        self.asked = 0
        self.given = False
        self.before: Context | None = None

    def ask(self) -> None:
        """The next batch is asked for: the step before ends, the next begins."""
        now = time.monotonic_ns()
        self._close(now)
        recorder = self.recorder
        if self.muted or (not self.explicit and recorder.explicit.get()):
            return
        self.asked = now
        self.before = worker, epoch, _step, sample, run = recorder.context.get()
        self.number = recorder.take()
        recorder.context.set((worker, epoch if self.epoch < 0 else self.epoch, self.number, sample, run))
        if self.explicit:
            recorder.explicit.set(True)

    def give(self, **about: Any) -> None:
        """The batch is handed over."""
        now = time.monotonic_ns()
        _, epoch, step, _, _ = self.recorder.context.get()
        if self.number >= 0:
            self.given = True
            about.update(mark="step", t=self.asked, ready=now, epoch=epoch, tid=_thread.get_native_id())
        if self.number >= 0 or self.about:
            self.recorder.spool.line(step=step, **about, **self.about)

    def end(self) -> None:
        """There is no next batch, or nobody asks for it any more."""
        self._close(time.monotonic_ns())

    def _close(self, now: int) -> None:
        if self.number < 0:
            return
        recorder, number = self.recorder, self.number
        if self.given:
            recorder.spool.line(stop=number, t=now)
        elif recorder.steps == number + 1:
            recorder.steps = number  # asked for, but there was none
        self.number, self.given = -1, False
        if self.before is not None and recorder.context.get()[2] == number:
            recorder.context.set(self.before)
        if self.explicit:
            recorder.explicit.set(False)
