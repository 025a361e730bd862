"""One recorded stream of the threads engine, walked through by a Python thread, and what the streams of a run have in common."""

from __future__ import annotations

import threading
from functools import partial

from tracekit.replay.clock import Clock, wait
from tracekit.replay.engines import Control, Log
from tracekit.replay.inflight import Gate
from tracekit.replay.issue import Issuer, Opened
from tracekit.replay.kinds import Kind
from tracekit.replay.ops import Job
from tracekit.replay.pacer import Asap, Pacer, Recorded, Think
from tracekit.replay.plan import Plan
from tracekit.replay.realtime import Realtime
from tracekit.replay.requester import Requester, requests_of
from tracekit.replay.retry import Deferred, Policy, Tally
from tracekit.storage.failures import error_number
from tracekit.trace import NULL


class Shared:
    """What the streams of one run have in common."""

    def __init__(self, plan: Plan, clock: Clock, control: Control) -> None:
        options = plan.options
        self.plan = plan
        self.clock = clock
        self.control = control
        self.stop = control.stop
        capped = options.max_inflight is not None or options.max_inflight_bytes is not None
        self.gate = Gate(options.max_inflight, options.max_inflight_bytes) if capped else None
        self.keep_bytes = _keep_bytes(plan)
        self.opened = Opened()
        self.policy = Policy(options.retries)
        self.deferred = Deferred(self.stop)
        self.retried = Tally()
        self.realtime = Realtime(_wants_realtime(plan))
        self.turns = threading.Barrier(max(1, len(plan.jobs)))
        self.ready = threading.Barrier(len(plan.jobs) + 1)
        self.t0 = 0
        self.walkers: list[Walker] = []
        self.stopped = ""
        self.interrupted = False
        self.errors = 0
        self._lock = threading.Lock()

    def end(self, reason: str) -> None:
        """Stop issuing; the first reason counts. Without one the run is over anyway."""
        self.stopped = self.stopped or reason
        self.stop.set()
        if self.gate is not None:
            self.gate.close()
        self.turns.abort()
        self.ready.abort()

    def failed(self) -> None:
        """Count an op that failed and had not failed in the recording."""
        with self._lock:
            self.errors += 1
        limit = self.plan.max_errors
        if limit is not None and self.errors > limit:
            self.end(f"more than {limit} ops failed (--max-errors)")


def _wants_realtime(plan: Plan) -> str:
    """Why real-time priority is not asked for; empty where it is."""
    if not any(file.storage is not None and not file.local for file in plan.files):
        return "only for objects by this engine"
    if plan.pace == "asap":
        return "there is no schedule to keep"
    return "" if plan.options.realtime else "asked for"


def _keep_bytes(plan: Plan) -> int | None:
    """How much of its buffer a stream may keep between ops, so that all of them together stay below the byte cap."""
    cap = plan.options.max_inflight_bytes
    return None if cap is None else cap // max(1, len(plan.jobs))


class Walker(threading.Thread):
    """One stream."""

    def __init__(self, shared: Shared, job: Job, log: Log) -> None:
        super().__init__(name=f"stream {job.stream.index}", daemon=True)
        plan = shared.plan
        self.shared = shared
        self.job = job
        self._asks = requests_of(plan, job)
        self.log = log
        self.ended = threading.Event()
        self.free = 0
        self.issued_bytes = self.moved_bytes = 0
        self.problem: BaseException | None = None
        self.lateness = 0
        self.busy_ns = 0
        self.issuer = Issuer(plan, job, shared.opened)
        self.requester = Requester(plan, job, shared.clock, self.issuer.buffer)
        self._failed_then = job.failed.data
        self._kinds, self._offsets, self._lengths = job.kinds.data, job.offsets.data, job.lengths.data
        # Read now: between the start of all streams and t0 there is time for nothing that depends on how many ops there are.
        self._times = job.times.data
        self._pacer: Pacer = Asap()
        self._row, self._order, self._count = log.row.data, job.rows.data, plan.count
        self._due, self._free, self._stall = log.due.data, log.free.data, log.stall.data
        self._submit, self._complete = log.submit.data, log.complete.data
        self._ret, self._error = log.ret.data, log.error.data
        self._first_byte, self._attempts = log.first_byte.data, log.attempts.data

    def run(self) -> None:
        """Walk through the stream, as often as asked."""
        try:
            self.shared.clock.enter_thread()
            self._arm(0)
            self.requester.arm(self._asks)
            self.shared.ready.wait()
            self.shared.ready.wait()
            self._walk()
        except threading.BrokenBarrierError:
            pass  # the run was stopped
        except BaseException as error:  # a defect of ours: it must end the run, not hang it
            self._give_up(error)
        finally:
            self.ended.set()
            self.issuer.close()

    def _give_up(self, error: BaseException) -> None:
        self.problem = error
        self.shared.end(f"the replayer failed: {type(error).__name__}: {error}")

    def _arm(self, index: int) -> None:
        if index < len(self.job) and not self._asks[index]:
            self.issuer.arm(index)

    def _walk(self) -> None:
        shared, count = self.shared, len(self.job)
        self._pacer = self._new_pacer()
        closed = shared.plan.pace != "recorded"
        # Ops without a schedule must not go before the run's t0 either.
        if wait(shared.clock, shared.t0, shared.stop):
            return
        shared.clock.sleep_until(shared.t0)
        for turn in range(shared.plan.options.loop):
            if closed and turn:
                self._next_turn()
            self.free = self._start(turn) if closed else shared.t0
            for index in range(count):
                if not self._one(turn, index, turn * count + index):
                    return
            self.ended.set()

    def _new_pacer(self) -> Pacer:
        plan = self.shared.plan
        if plan.pace == "recorded":
            return Recorded(self.shared.t0, self._times, plan.period)
        return Think(self._times) if plan.pace == "think" else Asap()

    def _next_turn(self) -> None:
        """Closed loops repeat together: nobody starts over before all are done."""
        self.shared.turns.wait()
        self.ended.clear()
        self.shared.turns.wait()

    def _start(self, turn: int) -> int:
        """When this stream may begin to count its first think time."""
        after = self.job.stream.after
        if after is None:
            return self.shared.t0 if turn == 0 else self.shared.clock.now()
        leader = self.shared.walkers[after]
        leader.ended.wait()
        return leader.free

    def _one(self, turn: int, index: int, place: int) -> bool:
        """Issue one op at its time; whether the run goes on."""
        shared = self.shared
        self._arm(index)
        due = self._pacer.due(turn, index, self.free)
        if wait(shared.clock, due, shared.stop):
            return False
        self._due[place], self._free[place] = due, self.free
        if shared.gate is not None:
            if not self._through_gate(shared.gate, index, place, due):
                return False
        else:
            self._pacer.issued(due, self._issue(index, place, due))
        return not self._error[place] or self._failed(index, place)

    def _through_gate(self, gate: Gate, index: int, place: int, due: int) -> bool:
        clock = self.shared.clock
        ready = clock.sleep_until(due) if due else clock.now()
        self._pacer.issued(due, ready)
        ticket = gate.enter(self._weight(index))
        if ticket is None:
            return False
        try:
            submit = self._issue(index, place, 0)
            keep = self.shared.keep_bytes
            if keep is not None and ticket.size > keep:
                self.issuer.buffer.trim(keep)
        finally:
            gate.leave(ticket)
        if ticket.waited:
            self._stall[place] = submit - ready
        return True

    def _weight(self, index: int) -> int:
        """The bytes an op has in flight."""
        if self._asks[index]:
            return self.requester.weight(index)
        kind, length = self._kinds[index], self._lengths[index]
        if kind == Kind.READ:
            try:
                return self.issuer.handle(index).span(self._offsets[index], length)[1]
            except OSError:
                return 0
        return length if kind == Kind.WRITE else 0

    def _issue(self, index: int, place: int, due: int) -> int:
        """Issue, and note what became of it; the time of submission."""
        if self._asks[index]:
            submit, complete, ret, error = self._ask(index, place, due)
            self.issued_bytes += self.requester.weight(index)
        elif self._kinds[index] == Kind.READ:
            submit, complete, ret, error = self._read(index, due)
        else:
            submit, complete, ret, error = self._call(index, due)
        if self.log.far and not self._asks[index]:
            self._first_byte[place] = NULL
        self._row[place] = place // len(self.job) * self._count + self._order[index]
        self._submit[place], self._ret[place], self._error[place] = submit, ret, error
        self._complete[place] = complete  # now it counts, whatever becomes of this process
        self.moved_bytes += max(ret, 0)
        self.log.done = place + 1
        self.free = complete
        self.busy_ns += complete - submit
        if due:
            self.lateness = submit - due
        return submit

    def _failed(self, index: int, place: int) -> bool:
        """Make a failed request again as the run's policy is, or count the failure; whether the stream goes on."""
        shared, attempts = self.shared, self._attempts[place] if self._asks[index] else 0
        if self._failed_then[index]:
            return True
        if not attempts or not shared.policy.again(self._error[place], attempts):
            shared.failed()
            return True
        shared.retried.count(self._error[place], self.requester.weight(index))
        asked_ns = self.requester.asked_ns.pop(index, 0)
        when = shared.clock.now() + shared.policy.pause_ns(attempts, asked_ns)
        if shared.plan.pace == "recorded":
            shared.deferred.later(when, partial(self._deferred, index, place))
            return True
        if wait(shared.clock, when, shared.stop):
            return False
        shared.clock.sleep_until(when)
        going_on = self._ask_again(index, place)
        self.free = self._complete[place]
        return going_on and (not self._error[place] or self._failed(index, place))

    def _deferred(self, index: int, place: int) -> None:
        """A request made again while the stream goes on."""
        try:
            if self._ask_again(index, place) and self._error[place]:
                self._failed(index, place)
        except BaseException as error:
            self._give_up(error)

    def _ask_again(self, index: int, place: int) -> bool:
        """Whether the request could be made: the gate may have been closed."""
        gate = self.shared.gate
        ticket = gate.enter(self._weight(index)) if gate is not None else None
        if gate is not None and ticket is None:
            return False
        try:
            _, self._complete[place], self._ret[place], self._error[place] = self._ask(index, place, 0)
        finally:
            if gate is not None and ticket is not None:
                gate.leave(ticket)
        return True

    def _ask(self, index: int, place: int, due: int) -> tuple[int, int, int, int]:
        submit, complete, ret, error, self._first_byte[place] = self.requester.ask(index, due)
        self._attempts[place] += 1
        return submit, complete, ret, error

    def _read(self, index: int, due: int) -> tuple[int, int, int, int]:
        try:
            handle = self.issuer.handle(index)
        except OSError as error:
            now = self.shared.clock.sleep_until(due)
            return now, now, NULL, error_number(error)
        offset, length = self._offsets[index], self._lengths[index]
        first, span = handle.span(offset, length)
        submit, complete, result, failure = self.shared.clock.read(handle, self.issuer.buffer, span, first, due)
        self.issued_bytes += span
        if failure:
            return submit, complete, NULL, failure
        return submit, complete, handle.delivered(offset, length, result), 0

    def _call(self, index: int, due: int) -> tuple[int, int, int, int]:
        clock = self.shared.clock
        submit = clock.sleep_until(due) if due else clock.now()
        try:
            ret = self.issuer.call(index)
        except OSError as error:
            return submit, clock.now(), NULL, error_number(error)
        complete = clock.now()
        if ret > 0:
            self.issued_bytes += ret
        return submit, complete, ret, 0
