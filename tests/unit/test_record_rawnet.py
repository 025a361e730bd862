"""What a process's head says about raw system calls, and what is made of it for the trailer and the user."""

import struct

import numpy as np
import pytest

from tracekit.record import rawnet
from tracekit.record.coverage import coverage_of
from tracekit.record.parts import SLOT, Part
from tracekit.trace import Trace

SPOT = "system calls that do not go through the C library"


def head(*, magic=b"tknet\0\0\0", caught=50, noted=40, withdrawn=0, let_go=0):
    """The page of a process's head, as far as it is about raw system calls."""
    page = bytearray(4096)
    struct.pack_into("<8sQQII", page, 3072, magic, caught, noted, withdrawn, let_go)
    return bytes(page)


def part(layer="libc", about=None, **net):
    """A part; with facts about a net where any are given."""
    made = Part("5-1", np.zeros(0, SLOT), np.zeros((0, 5), np.int64), np.zeros(0, np.int32), layer=layer)
    made.about = about or {}
    made.net = rawnet.facts(head(**net)) if net else {}
    return made


def test_facts_are_read_from_the_head():
    """Numbers stand at their place; a head without a net gives nothing."""
    assert rawnet.facts(head(withdrawn=1)) == {"caught": 50, "noted": 40, "withdrawn": 1, "let_go": 0}
    assert rawnet.facts(head(magic=b"\0" * 8)) == rawnet.facts(b"short") == {}


def test_nothing_is_said_where_nobody_asked():
    """Without the option the coverage has no word about raw calls, and they are a blind spot."""
    coverage = coverage_of(Trace.of([]), [part()], 0)
    assert "raw_syscalls" not in coverage
    assert SPOT in coverage["blind"]
    assert rawnet.sentences(None) == []


def test_coverage_adds_up_processes():
    """Calls are sums over the processes; where the net was whole, raw calls are no blind spot."""
    coverage = coverage_of(Trace.of([]), [part(caught=5, noted=2), part(caught=6, noted=3)], 0, {"raw_syscalls": True})
    assert coverage["raw_syscalls"] == {"caught": 11, "noted": 5, "withdrawn": 0, "let_go": 0}
    assert SPOT not in coverage["blind"]
    assert rawnet.sentences(coverage["raw_syscalls"]) == []


@pytest.mark.parametrize(
    ("less", "words"),
    [
        (part(withdrawn=1), "which use SIGSYS themselves"),
        (part(let_go=3), "3 times a thread made a thread by a raw call"),
        (
            part(about={"raw_why": "the kernel does not dispatch"}),
            "not caught everywhere: the kernel does not dispatch",
        ),
        (part(layer="python"), "the Python engine sees no system calls"),
    ],
)
def test_every_way_of_seeing_less_is_said(less, words):
    """A net that was drawn in, let threads go, or was never out: a sentence, and raw calls stay a blind spot."""
    parts = [part(caught=1), less]
    found = rawnet.coverage(parts, wanted=True)["raw_syscalls"]
    assert any(words in sentence for sentence in rawnet.sentences(found))
    assert not rawnet.is_whole(parts)
