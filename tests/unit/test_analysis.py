"""Reuse distances, files, tails, bursts and pictures, held against traces whose answers are known."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit import Op, Trace, Trailer, formats
from tracekit.analysis import bursts, duty, files, tail
from tracekit.analysis.plots import KINDS, plot
from tracekit.analysis.prefixes import Prefixes, prefix
from tracekit.analysis.reuse import reuse
from tracekit.analysis.snapshot import Analysis
from tracekit.cli import main
from tracekit.errors import UnknownNameError, UsageError
from tracekit.testing import training_trace

BLOCK = 65_536


def reads(blocks, *, uri="file:///a", took=1):
    """One read of a block after the other."""
    return Trace.of(
        Op(uri, block * BLOCK, BLOCK, i * 10, t_complete=i * 10 + took, ret=BLOCK, pid=1, tid=1)
        for i, block in enumerate(blocks)
    )


# -- reuse ------------------------------------------------------------------------------------------------------------


def slow_distances(blocks):
    """Distinct blocks since the last access to the same one, by the definition."""
    out = []
    for i, block in enumerate(blocks):
        before = [k for k in range(i) if blocks[k] == block]
        if before:
            out.append(len(set(blocks[before[-1] + 1 : i])))
    return sorted(out)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=70))
def test_distances_are_those_of_the_definition(blocks):
    """The number of distinct blocks between two accesses to one, and the number of first accesses, are exact."""
    found = reuse(reads(blocks))

    assert (found.distances // BLOCK).tolist() == slow_distances(blocks)
    assert found.first == len(set(blocks))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 10))
def test_the_curve_is_what_a_cache_does(blocks, capacity):
    """The hit share at a size is that of a least-recently-used cache of so many blocks, simulated."""
    cache, hits = [], 0
    for block in blocks:
        hits += block in cache
        cache = [block, *(one for one in cache if one != block)][:capacity]

    assert reuse(reads(blocks)).hit_share(capacity * BLOCK) == pytest.approx(hits / len(blocks))


def test_how_large_a_cache_must_be():
    """Four blocks read round and round need a cache of four for any hit, and none serves the first round."""
    found = reuse(reads([0, 1, 2, 3] * 5))

    assert found.needed_bytes(0.8) == 4 * BLOCK
    assert found.needed_bytes(0.81) is None
    assert found.working_set_bytes == 4 * BLOCK
    assert found.hit_share(3 * BLOCK) == 0
    sizes, shares = found.curve()
    assert (sizes[0], sizes[-1], shares[-1]) == (BLOCK, 4 * BLOCK, 0.8)


def test_sampling_by_block_keeps_the_curve():
    """With an eighth of the blocks looked at, the hit share at any size is within five points of the exact one."""
    rng = np.random.default_rng(5)
    trace = reads((6_000 * rng.random(30_000) ** 2).astype(int).tolist())
    exact, sampled = reuse(trace), reuse(trace, most=6_000)

    assert sampled.rate == 0.125
    for share in (0.02, 0.1, 0.3, 0.7):
        size = exact.working_set_bytes * share
        assert sampled.hit_share(size) == pytest.approx(exact.hit_share(size), abs=0.05)
    assert sampled.working_set_bytes == pytest.approx(exact.working_set_bytes, rel=0.1)


def test_one_read_over_many_blocks_touches_each():
    """A read that covers several blocks is an access to every one of them."""
    trace = Trace.of([Op("/a", 100, 3 * BLOCK, 0, ret=3 * BLOCK), Op("/a", 2 * BLOCK, 10, 1, ret=10)])

    found = reuse(trace)
    assert (found.first, found.distances.tolist()) == (4, [BLOCK])


def test_reads_nobody_can_place_have_no_reuse():
    """Without offsets there is no curve, and nothing is made up."""
    found = reuse(Trace.of([Op("/a", None, 10, 0)]))

    assert (found.accesses, found.hit_share(1), found.curve(), found.needed_bytes(0.5)) == (0, None, ([], []), 0)


# -- files ------------------------------------------------------------------------------------------------------------


def test_files_and_prefixes_add_up():
    """Bytes, requests, reach and times of each file; the busiest is first; prefixes hold the sums of theirs."""
    trace = Trace.of(
        [
            Op("file:///d/x/a", 0, 100, 0, t_complete=2_000, ret=100),
            Op("file:///d/x/a", 50, 100, 5_000, t_complete=9_000, ret=100),
            Op("file:///d/y/b", 0, 10, 10_000, "write", 11_000, 10),
            Op("file:///d/y/b", 0, 0, 12_000, "close", 12_500),
        ],
        trailer=Trailer(extra={"files": {"uri": ["file:///d/x/a"], "size": [100]}}),
    )
    first, second = files.by_file(trace)

    assert (first.name, first.ops, first.read_bytes, first.extent_bytes, first.size_bytes) == (
        "file:///d/x/a",
        2,
        200,
        150,
        100,
    )
    assert first.p50_us == pytest.approx(2, rel=1 / 32)
    assert (first.p99_us, first.max_us, first.busy_us, first.amplification) == (4, 4, 6, 2)
    assert (second.written_bytes, second.size_bytes, second.amplification) == (10, None, 0)
    (whole,) = files.by_prefix(trace, 1)
    assert (whole.name, whole.files, whole.ops, whole.read_bytes) == ("file:///d/", 2, 3, 200)
    assert [one.name for one in files.by_prefix(trace)] == ["file:///d/x/", "file:///d/y/"]


@pytest.mark.parametrize("uri", ["s3://b/k/x", "s3://b", "file:///d/x", "/d/x", "x", "", "az://c/a//b", "s3:///"])
def test_a_prefix_is_that_of_the_directory(uri):
    """What is worked out once for a directory holds for each file in it, to any depth."""
    for depth in (None, 1, 2, 3):
        cut = Prefixes.directories([uri]).cut(depth)
        assert [cut.names[number] for number in cut.of] == [prefix(uri, depth)]


def test_prefixes_are_as_deep_as_they_are_few():
    """The deepest level that has no more than so many names is taken."""
    uris = [f"file:///data/{part}/{number}/x" for part in "ab" for number in range(3)]

    assert Prefixes.few(uris, 2).names == ["file:///data/a/", "file:///data/b/"]
    assert Prefixes.few(uris, 6).names == [f"file:///data/{part}/{number}/" for part in "ab" for number in range(3)]


def test_columns_of_files_are_the_files():
    """A table of columns says of every file what its record says, whether its size is known, timed, read or not."""
    ops = [
        Op("a", 0, 10, 0, t_complete=3000, ret=10), Op("a", 10, 10, 5, t_complete=9000, ret=5), Op("b", 0, 7, 6, "write", ret=7),
        Op("c", None, 4, 7, t_complete=8),
    ]  # fmt: skip
    trace = Trace.of(ops, trailer=Trailer(residency={"files": {"uri": ["a"], "size": [40]}}))
    for groups in (files.by_file(trace), files.by_prefix(trace), Analysis.of(trace).all_files):
        columns = groups.columns()
        assert [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)] == [
            dataclasses.asdict(group) for group in groups
        ]
    assert list(files.by_file(trace)[0].to_json()) == list(files.by_file(trace).columns())


def test_files_with_equal_bytes_come_by_name():
    """The order of files is that of their bytes, then of their names, whichever piece is looked at."""
    rows = [Op(f"/{name}", 0, size, 0, "read", 5, size) for name, size in (("c", 1), ("b", 9), ("a", 1), ("d", 4))]
    found = files.by_file(Trace.of(rows))

    assert [one.name for one in found] == ["/b", "/d", "/a", "/c"]
    assert (found[2].name, [one.name for one in found[1:3]]) == ("/a", ["/d", "/a"])
    assert found.moved.tolist() == [9, 4, 1, 1]


def test_files_of_no_ops_are_none():
    """A trace that reads and writes nothing has no files to speak of."""
    assert files.by_file(Trace.of([Op("/a", 0, 0, 0, "open")])) == []


# -- tails ------------------------------------------------------------------------------------------------------------


def test_the_tail_is_traced_to_its_file_and_size():
    """When one file and one size are slow, they hold all slow ops, and their lift says how unlikely that is."""
    ops = [
        Op(f"file:///f{i % 100}", 0, 4096, i * 1000, t_complete=i * 1000 + 10 + i % 7, pid=1, tid=i % 4)
        for i in range(9_900)
    ]
    ops += [
        Op("file:///slow", 0, 1 << 20, 20_000_000 + i * 1000, t_complete=30_000_000 + i * 1000, pid=1, tid=9)
        for i in range(100)
    ]
    found = tail.tail(Trace.of(ops))

    assert (found.ops, found.slow) == (10_000, 100)
    assert (found.by_file[0].name, found.by_file[0].slow, found.by_file[0].lift) == (
        "file:///slow",
        100,
        pytest.approx(100),
    )
    assert found.by_size[0].name == "512 KiB–1 MiB"
    assert found.by_stream[0].name == "pid 1 tid 9"


def test_few_ops_have_no_tail():
    """Of less than a hundred ops nobody can tell which one in a hundred is slow."""
    assert tail.tail(reads([0, 1])) is None


def test_sizes_by_latency_hold_every_op():
    """Each op is counted once, in the row of its size and the column of its time."""
    sizes, times, table = tail.size_by_latency(
        Trace.of(
            [
                Op("/a", 0, 4096, 0, t_complete=500),
                Op("/a", 0, 5000, 0, t_complete=5_000),
                Op("/a", 0, 8192, 0, t_complete=9_000),
            ]
        )
    )

    assert (sizes, times) == ([4096, 8192], [0, 1, 2, 4, 8])
    assert table == [[1, 0, 0, 1, 0], [0, 0, 0, 0, 1]]


# -- bursts -----------------------------------------------------------------------------------------------------------


def test_checkpoints_are_bursts_of_writes():
    """Writes with no long pause are one burst, small ones are none, reads meanwhile are counted."""
    second = 10**9
    ops = [
        Op("/ck", i << 20, 1 << 20, second + i * 1_000_000, "write", second + i * 1_000_000 + 900_000, 1 << 20)
        for i in range(8)
    ]
    ops += [Op("/ck2", 0, 4 << 20, 5 * second, "write", 5 * second + 10_000_000, 4 << 20)]
    ops += [Op("/log", 0, 100, 9 * second, "write", 9 * second + 5, 100), Op("/d", 0, 50, second + 3_000_000, ret=50)]
    found = bursts.write_bursts(Trace.of(ops))

    assert [(one.ops, one.bytes, one.files, one.reads_bytes) for one in found] == [
        (8, 8 << 20, 1, 50),
        (1, 4 << 20, 1, 0),
    ]
    assert found[1].mb_s == pytest.approx((4 << 20) / 10_000)


def test_duty_cycle_is_time_in_flight():
    """Half a second of I/O, overlapping or not, then half a second of none: the first windows are busy, the last are not."""
    ms = 10**6
    ops = [Op("/a", 0, 1, i * 10 * ms, t_complete=i * 10 * ms + 15 * ms) for i in range(49)]
    ops += [Op("/a", 0, 1, 999 * ms, t_complete=1000 * ms)]
    seconds, shares = duty.duty_cycle(Trace.of(ops), windows=10)

    assert shares[:4] == [1.0] * 4
    assert shares[5:9] == [0.0] * 4
    assert shares[9] == pytest.approx(0.01)
    assert seconds[5] == pytest.approx(0.5)


# -- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "kinds"), [("png", ()), ("svg", ("sizes", "depth")), ("pdf", ("sizes",))])
def test_pictures_of_a_training_run(tmp_path, suffix, kinds):
    """All pictures fit into one file, of each kind of file; nothing is half-written."""
    plot(training_trace(), tmp_path / f"t.{suffix}", kinds=kinds, title="a run")

    data = (tmp_path / f"t.{suffix}").read_bytes()
    assert data.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])
    assert os.listdir(tmp_path) == [f"t.{suffix}"]


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_what_is_not_known_say_so(tmp_path, kind):
    """A trace of one op without offset, completion and thread is drawn all the same, with words for what it cannot show."""
    plot(Trace.of([Op("/a", None, 0, 5)]), tmp_path / "t.svg", kinds=[kind])

    assert (tmp_path / "t.svg").stat().st_size > 1000


def test_plot_refuses_what_it_cannot_draw(tmp_path):
    """Another suffix and an unknown picture each get a sentence, before anything is drawn."""
    with pytest.raises(UsageError, match="does not end in"):
        plot(training_trace(), tmp_path / "t.gif")
    with pytest.raises(UnknownNameError, match="did you mean 'depth'"):
        plot(training_trace(), tmp_path / "t.png", kinds=["deph"])


def test_the_verb_draws_beside_the_trace(capsys):
    """`tracekit plot` names the picture after the trace, tells what it drew, and replaces it only with --force."""
    formats.save(training_trace(), "run.jsonl")

    assert main(["plot", "run.jsonl", "--kind", "access"]) == 0
    assert "drew run.png" in capsys.readouterr().err
    assert main(["plot", "run.jsonl", "--kind", "access"]) == 2
    assert main(["plot", "run.jsonl", "--kind", "access", "--force"]) == 0
