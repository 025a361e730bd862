"""When ops are due, without a wall clock."""

from __future__ import annotations

import pytest

from tracekit.replay.pacer import NOT_PACED, Asap, Pacer, Recorded, Think


class FakeClock:
    """Time that passes only when told to; every sleep may be given an overshoot."""

    def __init__(self, overshoots: list[int] | None = None) -> None:
        self.time = 1_000
        self.overshoots = overshoots or []

    def sleep_until(self, deadline: int) -> int:
        """Let time pass to the deadline, and the next overshoot more."""
        late = self.overshoots.pop(0) if self.overshoots else 0
        self.time = max(self.time, deadline) + late
        return self.time


def drive(pacer: Pacer, clock: FakeClock, services: list[int]) -> list[tuple[int, int]]:
    """Walk one stream: (due, submitted) of each op."""
    seen = []
    free = clock.time
    for index, service in enumerate(services):
        due = pacer.due(0, index, free)
        submitted = clock.sleep_until(due)
        pacer.issued(due, submitted)
        clock.time = free = submitted + service
        seen.append((due, submitted))
    return seen


def test_an_open_loop_keeps_its_schedule_when_an_op_is_slow() -> None:
    """After an op that took too long the late one goes at once and the next is on time again."""
    clock = FakeClock()
    seen = drive(Recorded(1_000, [0, 100, 200, 900], 1), clock, [350, 10, 10, 10])
    assert seen == [(1_000, 1_000), (1_100, 1_350), (1_200, 1_360), (1_900, 1_900)]


def test_an_open_loop_does_not_add_up_overshoots() -> None:
    """Every sleep being 30 late makes every op 30 late, not 30 later than the one before."""
    clock = FakeClock([30] * 4)
    seen = drive(Recorded(1_000, [0, 100, 200, 300], 1), clock, [1] * 4)
    assert [submitted - due for due, submitted in seen] == [30] * 4


def test_repetitions_follow_one_another_by_the_period() -> None:
    """The second repetition is the first, one period later."""
    pacer = Recorded(1_000, [0, 100], 250)
    assert [pacer.due(1, index, 0) for index in (0, 1)] == [1_250, 1_350]


def test_no_op_is_issued_early() -> None:
    """Whatever the pace, nothing is submitted before its deadline."""
    for pacer in (Recorded(1_000, [0, 50, 60, 1_000], 1), Think([0, 50, 60, 1_000])):
        assert all(submitted >= due for due, submitted in drive(pacer, FakeClock([5, 0, 70, 0]), [10, 200, 1, 1]))


def test_a_closed_loop_keeps_think_times_whatever_an_op_takes() -> None:
    """An op ten times slower moves all that follows and changes no pause."""
    clock = FakeClock()
    seen = drive(Think([0, 100, 100]), clock, [1_000, 5, 5])
    assert [due for due, _ in seen] == [1_000, 2_100, 2_205]


def test_a_closed_loop_pays_overshoots_back() -> None:
    """An overshoot of 40 shortens the next pause by 40, so that the stream ends when it should."""
    clock = FakeClock([0, 40, 0, 0])
    seen = drive(Think([0, 100, 100, 100]), clock, [10] * 4)
    assert seen == [(1_000, 1_000), (1_110, 1_150), (1_220, 1_220), (1_330, 1_330)]


def test_a_debt_larger_than_a_pause_is_paid_over_several() -> None:
    """A stall of 250 swallows two pauses of 100 and half of the third."""
    clock = FakeClock([250])
    pacer = Think([0, 100, 100, 100])
    seen = drive(pacer, clock, [0] * 4)
    assert [due for due, _ in seen] == [1_000, 1_250, 1_250, 1_300]
    assert pacer.debt == 0


@pytest.mark.parametrize("ready", [0, 5, 10**9])
def test_asap_promises_nothing(ready: int) -> None:
    """There is no deadline, and being late at nothing leaves no debt."""
    pacer = Asap()
    pacer.issued(0, ready)
    assert pacer.due(3, 7, ready) == NOT_PACED
