"""Reading ahead gives the same pieces, passes on what goes wrong, and stops when nobody asks any more."""

from __future__ import annotations

import itertools
import threading

import pytest

from tracekit import formats
from tracekit.errors import InputError
from tracekit.formats import ordered
from tracekit.formats.ahead import ahead
from tracekit.metrics import Stream
from tracekit.testing import training_trace

LONG_S = 120


def _threads():
    return [thread for thread in threading.enumerate() if thread.name == "tracekit-ahead"]


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_the_same_pieces_in_the_same_order(count):
    """What comes out is what went in, and the thread is gone afterwards."""
    assert list(ahead(iter(range(count)))) == list(range(count))
    assert not _threads()


def test_the_next_piece_is_made_while_one_is_looked_at():
    """The second piece is made although the consumer holds the first; the third is not."""
    made = [threading.Event() for _ in range(3)]

    def pieces():
        for number, event in enumerate(made):
            event.set()
            yield number

    taken = ahead(pieces())

    assert next(taken) == 0
    assert made[1].wait(LONG_S)
    assert not made[2].is_set()
    assert next(taken) == 1
    assert made[2].wait(LONG_S)
    assert list(taken) == [2]


def test_pieces_are_made_in_one_other_thread():
    """All pieces come from one thread, which is not the consumer's."""
    makers = set(ahead(threading.get_ident() for _ in range(5)))

    assert len(makers) == 1
    assert threading.get_ident() not in makers


def test_what_goes_wrong_is_raised_after_the_pieces_before_it():
    """A damaged file's error comes out as it is, behind the good pieces."""

    def pieces():
        yield 1
        raise InputError("the second piece is damaged", "write it again")

    taken = ahead(pieces())

    assert next(taken) == 1
    with pytest.raises(InputError, match="second piece is damaged"):
        next(taken)
    assert not _threads()


def test_a_thread_that_is_interrupted_interrupts_its_consumer():
    """What is no `Exception` passes as well: nothing is left waiting for a piece that never comes."""

    def pieces():
        yield 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(ahead(pieces()))
    assert not _threads()


def test_nothing_more_is_made_when_the_consumer_stops():
    """Of a source without an end no more than one piece beyond those taken is made, and it is closed."""
    made, closed = [], []

    def pieces():
        try:
            for number in itertools.count():
                made.append(number)
                yield number
        finally:
            closed.append(len(made))

    taken = ahead(pieces())
    assert [next(taken) for _ in range(3)] == [0, 1, 2]
    taken.close()
    del taken

    assert not _threads()
    assert made in ([0, 1, 2], [0, 1, 2, 3])
    assert closed == [len(made)]


def test_an_error_of_the_consumer_stops_the_thread(tmp_path):
    """A sink that raises (or is interrupted) leaves no thread behind, and its own error comes out."""

    class Interrupted:
        def update(self, piece):
            raise KeyboardInterrupt

    path = tmp_path / "t.parquet"
    formats.save(training_trace(), path)

    with pytest.raises(KeyboardInterrupt):
        formats.fold(path, lambda _: Interrupted())
    assert not _threads()


def test_a_fold_reads_in_a_thread_what_can_be_read_twice_and_nothing_else():
    """Standard input, which may hang, is read by the thread that asks."""
    here, readers = threading.get_ident(), []

    def read(_ops):
        readers.append(threading.get_ident())
        yield training_trace()

    results = [ordered.fold(read, Stream, again=again).result() for again in (True, False)]

    assert results[0] == results[1]
    assert readers[0] != here
    assert readers[-1] == here
