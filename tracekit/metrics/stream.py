"""The metrics of a trace that comes in pieces: one pass, in memory that does not grow with the number of ops.

What grows is said by each tally: with files, streams, steps, and distinct places and samples; of the latter two only so
many are in memory, the rest are in a temporary file (`tracekit.metrics.groups`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tracekit.histogram import Histogram
from tracekit.metrics.arrivals import ArrivalsTally
from tracekit.metrics.counters import CountersTally, KindsTally, Timing
from tracekit.metrics.levels import Levels, Tally
from tracekit.metrics.order import OrderTally
from tracekit.metrics.queue_depth import Sweep, Sweeper, Timeline
from tracekit.metrics.samples import SamplesTally
from tracekit.metrics.shares import SharesTally
from tracekit.metrics.sizes import SizesTally
from tracekit.metrics.slots import Slots
from tracekit.metrics.snapshot import Completeness, Metrics, QueueDepth
from tracekit.metrics.steps import Steps, StepsTally
from tracekit.metrics.view import DATA_KINDS, View
from tracekit.trace import NULL, Mark, Trace, Trailer
from tracekit.units import counted

TIMELINE_WINDOWS = 200


class Stream:
    """Metrics of the pieces of one trace, as `tracekit.formats.fold` gives them.

    The pieces are in order of submission and share their string tables; what `result` says does not depend on where the
    trace was cut.

    Args:
        marks: All marks of the trace.
        others: What else is to see every op that counts; what they became is in `others`.
    """

    def __init__(self, marks: Sequence[Mark] = (), others: Sequence[Tally] = ()) -> None:
        self._levels = Levels(_Tallies(marks, others))
        self._trailer: Trailer | None = None
        self._warnings: Sequence[str] = ()

    def update(self, piece: Trace) -> None:
        """Take in the next piece."""
        self._trailer, self._warnings = piece.trailer, piece.warnings
        self._levels.update(piece)

    @property
    def others(self) -> Sequence[Tally]:
        """The other tallies, which have seen the same."""
        return self._levels.tally.others

    def result(self) -> Metrics:
        """The metrics of all pieces; nothing can be taken in after that."""
        return self._levels.tally.result(self._levels.wire, self._trailer, self._warnings)


class _Tallies:
    """Everything that metrics are made of."""

    def __init__(self, marks: Sequence[Mark], others: Sequence[Tally]) -> None:
        self.others = others
        self.sizes, self.kinds, self.counters = SizesTally(), KindsTally(), CountersTally()
        self.arrivals, self.order, self.shares = ArrivalsTally(), OrderTally(), SharesTally()
        self.steps, self.samples = StepsTally(marks), SamplesTally()
        self.depth, self.schedule = DepthTally(), _Schedule()
        self.told: set[str] = set()
        self.ops = self.data_ops = self.bytes = self.unfinished = self.negative = 0
        self.first: int | None = None
        self.last = 0

    def update(self, view: View) -> None:
        """Take in the next piece."""
        self._count(view)
        tallies: tuple[Tally, ...] = (
            self.sizes, self.kinds, self.counters, self.arrivals, self.order, self.shares, self.steps, self.samples,
            self.schedule, *self.others,
        )  # fmt: skip
        for tally in tallies:
            tally.update(view)
        self._sweep(self.depth.update(view))

    def _count(self, view: View) -> None:
        self.told |= view.told
        submit, complete = view.trace.col("t_submit"), view.trace.col("t_complete")
        if not len(submit):
            return
        self.ops += len(submit)
        self.data_ops += len(view.data)
        self.bytes += int(view.moved.sum())
        self.first = int(submit[0]) if self.first is None else self.first
        self.last = max(self.last, int(submit[-1]), int(complete.max()))
        self.unfinished += int((view.complete == NULL).sum())
        self.negative += int(((view.complete != NULL) & (view.complete < view.submit)).sum())

    def _sweep(self, piece: Sweep) -> None:
        if self.depth.timed:
            self.steps.sweep(piece)

    def result(self, wire: int, trailer: Trailer | None, warnings: Sequence[str]) -> Metrics:
        """The metrics."""
        self._sweep(self.depth.finish())
        duration = None if self.first is None else self.last - self.first
        service = self.kinds.service(*DATA_KINDS)
        timed = self.depth.timed > 0
        result = Metrics(
            ops=self.ops,
            data_ops=self.data_ops,
            bytes=self.bytes,
            files=self.order.files,
            duration_ns=duration,
            throughput_mb_s=self.bytes / duration * 1e3 if duration else None,
            data_ops_per_s=self.data_ops / duration * 1e9 if duration else None,
            req_bytes_hist=self.sizes.histogram,
            latency_us_hist=service,
            max_qd=self.depth.peak_depth if timed else None,
            peak_inflight=self.depth.peak_bytes if timed else None,
            backend_counters=self.counters.result(wire, trailer.run if trailer else {}),
            kinds=self.kinds.result(),
            sizes=self.sizes.table(),
            service=Timing.of(service),
            response=Timing.of(self.schedule.response),
            lateness=Timing.of(self.schedule.lateness),
            queue_depth=self.depth.result(self.unfinished),
            arrivals=self.arrivals.result(),
            order=self.order.result(),
            steps=self.steps.result(),
            samples=self.samples.result(),
            shares=self.shares.result(),
            completeness=_completeness(trailer, self.negative),
            warnings=[],
        )
        result.warnings.extend([*warnings, *_warnings(result, self.told)])
        return result


class DepthTally:
    """Queue depth of the data ops of a trace that comes in pieces."""

    def __init__(self) -> None:
        self._sweeper, self._timeline, self._spent = Sweeper(), Timeline(TIMELINE_WINDOWS), Slots()
        self.timed = self.peak_depth = self.peak_bytes = 0

    def update(self, view: View) -> Sweep:
        """Take in the next piece; the queue depth as far as it is settled."""
        timed, columns = view.timed, (view.submit, view.complete, view.sizes)
        self.timed += int(timed.sum())
        if not bool(timed.all()):
            columns = (columns[0][timed], columns[1][timed], columns[2][timed])
        return self._settled(self._sweeper.take(*columns, int(view.submit[-1]) if len(view.submit) else 0))

    def finish(self) -> Sweep:
        """What was not settled."""
        nothing = np.zeros(0, np.int64)
        return self._settled(self._sweeper.take(nothing, nothing, nothing, None))

    def _settled(self, piece: Sweep) -> Sweep:
        self.peak_depth, self.peak_bytes = (
            max(self.peak_depth, piece.peak_depth),
            max(self.peak_bytes, piece.peak_bytes),
        )
        self._timeline.add(piece)
        self._spent.add(piece.depth[:-1], np.diff(piece.times))
        return piece

    def result(self, unfinished: int) -> QueueDepth:
        """The depth profile; `unfinished` is how many data ops have no completion."""
        if not self.timed:
            return QueueDepth(None, Histogram(), None, None, [], [], [])
        start, mean, highest = self._timeline.windows()
        spent = Histogram.of(np.arange(len(self._spent.values)), self._spent.values)
        return QueueDepth(
            mean=spent.total / spent.count if spent.count else None,
            depth_ns_hist=spent,
            busy_share=_busy(spent),
            unfinished=unfinished,
            timeline_t_us=(start / 1000).tolist(),
            timeline_mean=mean.tolist(),
            timeline_max=highest.tolist(),
        )


class _Schedule:
    """How late the data ops of a schedule were, and when they were answered."""

    def __init__(self) -> None:
        self.response, self.lateness = Histogram(), Histogram()

    def update(self, view: View) -> None:
        """Take in the next piece."""
        due = view.col("t_due")
        scheduled = due != NULL
        if not bool(scheduled.any()):
            return
        done = scheduled & view.timed & ~view.failed & (view.complete >= due)
        self.lateness.add(np.maximum(view.submit - due, 0)[scheduled])
        self.response.add((view.complete - due)[done])


def _busy(spent: Histogram) -> float | None:
    idle = spent.share_below(1)
    return None if idle is None else 1 - idle


def _completeness(trailer: Trailer | None, negative: int) -> Completeness:
    return Completeness(
        trailer=trailer is not None,
        trailer_ops=trailer.ops if trailer else None,
        lost=trailer.lost if trailer else None,
        negative_service=negative,
        coverage=dict(trailer.coverage) if trailer else {},
        run=dict(trailer.run) if trailer else {},
    )


def _warnings(metrics: Metrics, told: set[str]) -> Iterable[str]:
    if not metrics.data_ops:
        yield "the trace has no reads and no writes: sizes, latency, queue depth and order are not known"
        return
    if "t_complete" not in told:
        yield "no op has t_complete: latency and queue depth are not known"
    elif metrics.queue_depth.unfinished:
        number = counted(metrics.queue_depth.unfinished, "data op has no t_complete", "data ops have no t_complete")
        yield f"{number}: left out of latency and queue depth"
    if metrics.completeness.negative_service:
        count = metrics.completeness.negative_service
        what = counted(count, "data op completes before it begins", "data ops complete before they begin")
        yield f"{what}: the clock cannot be trusted; left out of times"
    if "ret" not in told:
        yield "no op has ret: bytes are those asked for, and short reads are not known"
    if metrics.shares.streams is None:
        yield "no op has pid or tid: streams and the order within them are not known"
    yield from _step_warnings(metrics.steps)
    yield from _loss_warnings(metrics)


def _step_warnings(steps: Steps) -> Iterable[str]:
    if steps.excluded is None:
        yield "the trace has no step marks: starvation is not known; mark them with tracekit.step() (a PyTorch DataLoader's are recorded by themselves)"
        return
    if not steps.judged:
        yield "no step after the first has a compute mark: waiting and starvation are not known"
    if steps.attribution is None:
        yield "ops cannot be assigned to steps: bytes and ops per step are not known"
    elif steps.attribution == "time":
        yield "ops carry no step numbers: they are assigned to the step during which they were issued, not the one they serve"


def _loss_warnings(metrics: Metrics) -> Iterable[str]:
    complete = metrics.completeness
    if complete.lost:
        yield f"the recorder lost {counted(complete.lost, 'op')}: every count is too low"
    if complete.trailer_ops is not None and complete.trailer_ops > metrics.ops + metrics.backend_counters.wire_requests:
        yield f"the trailer counts {complete.trailer_ops} ops, the trace has {metrics.ops}: some lines are missing"
