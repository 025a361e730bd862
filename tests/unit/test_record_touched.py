"""What a process's head says about mapped files, and what is made of it for the trailer and the user."""

import struct

import pytest

from tracekit.metrics import Metrics
from tracekit.record import touched
from tracekit.record.coverage import coverage_of
from tracekit.record.parts import Part
from tracekit.record.ticks import Clock
from tracekit.replay.options import Options
from tracekit.replay.plan import make_plan
from tracekit.trace import Op, Trace


def head(*, mode=2, ended=1, rings=(0, 0), magic=b"tktouch\0", refused=0, closed=0):
    """The page of a process's head, as far as it is about mapped files and rings."""
    page = bytearray(4096)
    struct.pack_into("<8sIIQQQQQII", page, 1024, magic, mode, ended, 3, 2, 10, 5000, 70, refused, closed)
    struct.pack_into("<II", page, 2048, *rings)
    return bytes(page)


def part(**facts):
    """A part of the native engine with these facts."""
    made = Part("5-1", layer="libc")
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def test_facts_are_read_from_the_head():
    """Mode, numbers and whether the last look was taken stand at their place; a head without them gives nothing."""
    assert touched.facts(head()) == {
        "mode": "exact", "ended": True, "maps": 3, "privately": 2, "looks": 10, "look_ticks": 5000, "pages": 70,
        "refused": 0, "closed": 0,
    }  # fmt: skip
    assert touched.facts(head(magic=b"\0" * 8)) == touched.facts(head(mode=9)) == touched.facts(b"short") == {}


@pytest.mark.parametrize(("made", "found", "rings"), [(0, 0, 0), (2, 1, 2), (1, 3, 3)])
def test_rings_seen_both_ways_count_once(made, found, rings):
    """Rings that were seen being made and found at the end are the same ones: the larger number holds."""
    assert touched.rings(head(rings=(made, found))) == rings
    assert touched.rings(b"") == 0


def test_nothing_is_said_where_nobody_asked():
    """By default the coverage has no word about touches; a ring is named always."""
    assert touched.coverage([part()], 0, "map") == {}
    assert touched.coverage([part(rings=2), part(rings=1)], 0, "map") == {"io_uring": 3}


def test_coverage_adds_up_processes():
    """Watched maps, looks and maps left alone are sums; a process that was killed with watched maps is counted."""
    parts = [
        part(touches=touched.facts(head()), look_ns=7, left_maps={1: 2}),
        part(touches=touched.facts(head(ended=0)), look_ns=5, left_maps={1: 1, 3: 1}),
    ]
    assert touched.coverage(parts, 8192, "exact") == {
        "mmap": "exact", "mapped_touched_bytes": 8192, "watched_maps": 6, "private_maps": 4, "touched_looks": 20,
        "touched_look_ns": 12, "touches_cut_short": 1,
        "unwatched_maps": {"executable": 3, "shared memory, huge pages or DAX": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"about": {"mmap_why": "the kernel has no userfaultfd"}}, "the kernel has no userfaultfd"),
        ({"layer": "python"}, "the Python engine records maps of files"),
        ({}, "programs that are no Python are not looked into"),
        ({"touches": touched.facts(head(mode=1, refused=1))}, "a forked process got no userfaultfd"),
        ({"touches": touched.facts(head(closed=1))}, "the program closed the descriptor"),
    ],
)
def test_every_way_of_seeing_less_has_its_reason(facts, words):
    """Refused by the kernel, another engine, refused to a child, closed by the program: each is a sentence."""
    coverage = touched.coverage([part(**facts)], 0, "exact")
    assert words in coverage["mmap_why"]
    assert any(words in sentence for sentence in touched.sentences(coverage))


def test_sentences_name_what_is_missing():
    """Maps that were left alone and processes that were killed are told; a complete recording says nothing."""
    said = touched.sentences({"mmap": "exact", "touches_cut_short": 2, "unwatched_maps": {"executable": 3}})
    assert [sentence.split()[0] for sentence in said] == ["2", "maps"]
    assert touched.sentences({"mmap": "exact"}) == []


def test_looking_takes_maps_off_the_blind_spots():
    """Accesses to mapped files are a blind spot, except where every process looked for them."""
    blind, looked = part(), part(touches=touched.facts(head()))
    spot = "accesses to mapped files after the mmap itself"
    assert spot in coverage_of(Trace.of([]), [blind, looked], 0, {"mmap": "exact"})["blind"]
    assert spot not in coverage_of(Trace.of([]), [looked], 0, {"mmap": "exact"})["blind"]


def test_ticks_become_nanoseconds_by_the_clocks_pace():
    """A span of ticks is as long as the anchors say; without two anchors it is not known."""
    assert Clock([(0, 1000), (10_000, 31_000)]).span_ns(3000) == 1000
    assert Clock([]).span_ns(3000) == 0


def _touched_trace():
    common = {"uri": "file:///d", "pid": 1, "tid": 1}
    return Trace.of([
        Op(offset=0, len=100, t_submit=0, t_complete=5, op="read", ret=100, **common),
        Op(offset=4096, len=8192, t_submit=2, t_complete=900, op="touch", ret=8192, **common),
        Op(offset=100, len=100, t_submit=20, t_complete=25, op="read", ret=100, **common),
    ])  # fmt: skip


def test_touches_are_counted_and_are_no_reads():
    """A touch is a kind of its own: no bytes read, no latency, nothing in flight."""
    metrics = Metrics.of(_touched_trace())
    assert metrics.backend_counters.requests == {"read": 2, "touch": 1}
    assert (metrics.backend_counters.bytes_read, metrics.max_qd) == (200, 1)
    assert metrics.kinds["touch"].bytes is None
    assert metrics.kinds["touch"].service.p50_us is None


def test_touches_are_left_out_of_a_replay_and_counted():
    """A touch has no moment to be issued at: it is left out, and think times are those between the reads."""
    plan = make_plan(_touched_trace(), Options(pace="auto"))
    assert (len(plan.trace), plan.skipped) == (2, {"touches of mapped pages": 1})
    assert plan.program.overlaps == 0
    assert plan.pace == "think"
    assert not [problem for problem in plan.problems if "cannot be replayed" in str(problem)]
