"""Which failed requests are made again, after which pause, and by whom."""

from __future__ import annotations

import errno
import threading
import time

import pytest

from tracekit.errors import UsageError
from tracekit.replay.options import Options, parse_max_errors
from tracekit.replay.retry import MOST_NS, Deferred, Policy, Tally
from tracekit.storage import failures
from tracekit.storage.keys import StoreError


def test_what_may_pass_is_made_again_and_nothing_else():
    """Throttling, trouble of the server and of the connection; never what the request itself is refused for."""
    policy = Policy(retries=2)
    passing = (408, 429, 500, 502, 503, 504, errno.ECONNRESET, errno.ECONNREFUSED, errno.ETIMEDOUT)
    lasting = (400, 401, 403, 404, 412, 416, 501, errno.EPROTO, errno.EIO)
    assert all(policy.again(number, 1) for number in passing)
    assert not any(policy.again(number, 1) for number in lasting)
    short = StoreError(errno.ECONNRESET, kind=failures.SHORT_BODY).number
    skew = StoreError(403, "RequestTimeTooSkewed").number
    assert (policy.again(short, 1), policy.again(skew, 1)) == (True, False)


def test_a_request_is_made_again_so_often_and_no_more():
    """Two retries are three requests; none are one."""
    assert [Policy(2).again(503, attempts) for attempts in (1, 2, 3)] == [True, True, False]
    assert not Policy(0).again(503, 1)


def test_pauses_double_up_to_the_longest_and_differ():
    """Between half and all of 0.1 s, 0.2 s, 0.4 s…, however many attempts there were."""
    policy = Policy(99)
    for attempts, longest in ((1, 100_000_000), (2, 200_000_000), (4, 800_000_000), (9, MOST_NS), (500, MOST_NS)):
        pauses = {policy.pause_ns(attempts) for _ in range(50)}
        assert longest // 2 <= min(pauses) <= max(pauses) <= longest
        assert len(pauses) > 1


def test_a_store_s_own_pause_goes_first_up_to_a_minute():
    """What it asks for with Retry-After is the least; nobody waits an hour for it."""
    assert Policy(9).pause_ns(1, 3_000_000_000) == 3_000_000_000
    assert Policy(9).pause_ns(1, 10) >= 50_000_000
    assert Policy(9).pause_ns(1, 3_600_000_000_000) == 60_000_000_000


def test_one_number_holds_status_and_kind():
    """The trace keeps the status or errno, the statement the kind; both come out as they went in."""
    gone = StoreError(404, "NoSuchBucket")
    assert (failures.error_name(gone.number), failures.kind_of(gone.number), gone.errno) == ("404", "bucket gone", 404)
    assert (gone.strerror, StoreError(403, "403").strerror) == ("HTTP 404 NoSuchBucket", "HTTP 403")
    plain = StoreError(404)
    assert (plain.number, plain.kind) == (404, "not found")
    kinds = {number: failures.kind_of(number) for number in (401, 403, 416, 429, 503, 500, errno.ECONNRESET, errno.EIO)}
    assert list(kinds.values()) == [
        "credentials", "forbidden", "range", "throttled", "throttled", "server error", "reset", "EIO",
    ]  # fmt: skip
    every = [failures.number_of(599, kind) for kind in failures._NAMED]
    assert len(set(every)) == len(every)
    assert max(every) < 1 << 15  # an error of the log is 16 bits
    assert failures.error_number(OSError(errno.EACCES, "no")) == errno.EACCES
    assert failures.error_number(gone) == gone.number


def test_calls_are_made_in_the_order_of_their_times():
    """Whatever the order in which they came; `pending` says when the last has been made."""
    deferred, made = Deferred(threading.Event()), []
    start = time.monotonic_ns() + 50_000_000
    for n in (2, 0, 1):
        deferred.later(start + n * 150_000_000, lambda n=n: made.append((n, time.monotonic_ns())))
    assert deferred.pending
    while deferred.pending:
        time.sleep(0.01)
    assert sorted(n for n, _ in made) == [0, 1, 2]
    assert all(when >= start + n * 150_000_000 for n, when in made)
    deferred.close(10)


def test_a_call_that_takes_long_holds_up_no_other():
    """Each has a thread while it is made."""
    deferred, others = Deferred(threading.Event()), threading.Semaphore(0)
    got = []
    deferred.later(0, lambda: got.append(others.acquire(timeout=60)))
    deferred.later(0, others.release)
    while deferred.pending:
        time.sleep(0.01)
    assert got == [True]
    deferred.close(10)


def test_a_run_that_is_stopped_makes_no_more_calls():
    """What waits is dropped, and threads go."""
    stop = threading.Event()
    deferred, made = Deferred(stop), []
    deferred.later(time.monotonic_ns() + 3_600_000_000_000, lambda: made.append(1))
    stop.set()
    assert not deferred.pending
    deferred.close(10)
    assert made == []
    assert not any(thread.is_alive() for thread in deferred._threads)


def test_what_was_made_again_is_counted_by_kind():
    """With the bytes that were asked for once more."""
    tally = Tally()
    for error in (503, 429, errno.ECONNRESET):
        tally.count(error, 100)
    assert (dict(tally.kinds), tally.bytes) == ({"throttled": 2, "reset": 1}, 300)


def test_errors_may_be_capped_by_number_or_by_share():
    """5 and 2.5%; anything else is one sentence."""
    assert parse_max_errors("5") == {"max_errors": 5}
    assert parse_max_errors("2.5%") == {"max_error_share": 0.025}
    for bad in ("x", "-1", "101%", "-1%", "%", "nan%", "1.5"):
        with pytest.raises(UsageError, match="is no number of ops"):
            parse_max_errors(bad)
    with pytest.raises(UsageError, match="--retries -1 is too small"):
        Options(retries=-1)
