"""Importers that read columns: the same ops, counts and sentences as row by row."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.errors import TracekitError
from tracekit.formats import imported
from tracekit.formats.blkparse import Blkparse
from tracekit.formats.fio import FioLog
from tracekit.formats.table import Table


def said(source):
    """All that is said of a file: its ops, warnings, trailer, nulls, clock and marks, or the sentence."""
    try:
        trace = imported.load(source)
    except TracekitError as error:
        return str(error)
    marks = [(mark.mark, mark.t, mark.t_end, mark.step, mark.epoch, mark.pid) for mark in trace.marks]
    return list(trace), trace.warnings, trace.trailer, trace.header.producer["null"], trace.header.clock, marks


def twins(kind, path, many="", **rest):
    """What is said where the core reads lines, where Arrow reads many at once, and where each is read by itself."""
    found = [said(kind(str(path), **rest))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tracekit.formats.scanner.native_core", lambda: None)
        found.append(said(kind(str(path), **rest)))
        if many:
            patch.setattr(kind, many, lambda *_: None)
            found.append(said(kind(str(path), **rest)))
    return found


names = st.sampled_from(["/a", "s3://b/k", "/b c", " /d ", '"/e,f"', '"/g""h"', "ü", "x" * 300])
times = st.one_of(
    st.integers(0, 2**60).map(str), st.sampled_from(["1.5", "7.25", "1e3", " 5 ", "0005", "1700000000.123456"])
)
sizes = st.one_of(st.integers(0, 2**40).map(str), st.sampled_from(["4096.0", " 5"]))
samples = st.sampled_from(["", "7", "cat", "007", "1.5", str(2**63)])
odd = st.sampled_from(["", "x", "-1", "nan", "inf", "0x10", "9" * 25, "+5", "\x00", ",", 'a"b', "½", str(2**62)])
quoted = st.sampled_from(['""b', '"a"b', '"a,"b', '"a"""b', 'a""b', '"', '""', '"7"'])
rows = st.tuples(names, sizes, times, samples, st.one_of(st.just(""), times)).map(list)
bad_rows = st.tuples(rows, st.integers(0, 4), odd | quoted).map(
    lambda one: [*one[0][: one[1]], one[2], *one[0][one[1] + 1 :]]
)


@settings(max_examples=70)
@given(
    st.lists(st.one_of(rows, rows, bad_rows, st.sampled_from([[], ["a"], ["a"] * 9])), max_size=12),
    st.booleans(), st.sampled_from(["\n", "\r\n"]), st.sampled_from([1, 1000]),
)  # fmt: skip
def test_tables(tmp_path_factory, cells, skip_bad, end, unit):
    """Of any table, with cells good and odd."""
    path = tmp_path_factory.getbasetemp() / "both.csv"
    lines = ["uri,len,t_submit,sample_id,t_complete", *(",".join(row) for row in cells)]
    path.write_bytes(end.join(lines).encode())
    mine, *others = twins(Table, path, "_columns", skip_bad=skip_bad, time_unit=unit)

    assert others == [mine, mine]


words = st.sampled_from(
    ["/a", "/b", "b", "0", "7", "+", "8,0", "x y", "½", "\x01", "9" * 20, "-1", "1.5", "[x]", "\v", '"', "\r"]
)
blanks = st.sampled_from([" ", "  ", "\t"])


def edited(lines):
    """Of these lines some with a word put in, exchanged or left out, or other blanks."""
    return st.tuples(lines, st.integers(0, 11), st.sampled_from([None, 0, 1]), words, blanks).map(_edit)


def _edit(one):
    line, place, taken, word, blank = one
    parts = line.split(" ")
    if taken is not None:
        parts[place : place + taken] = [word] if place % 2 else []
    return blank.join(parts)


actions = st.builds(
    "{} /{} {} {} {}".format, st.integers(0, 10**7), st.sampled_from(["a", "b"]),
    st.sampled_from(["read", "write", "trim", "sync", "open", "add", "wait", "jump"]), st.integers(0, 2**40), st.integers(0, 4096),
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.one_of(actions, actions, edited(actions)), max_size=12), st.booleans(), st.sampled_from(["2", "3"]))
def test_logs_of_fio(tmp_path_factory, lines, skip_bad, version):
    """Of any log, with lines good and odd."""
    path = tmp_path_factory.getbasetemp() / "both.iolog"
    lines = [line if version == "3" else line.partition(" ")[2] for line in lines]
    path.write_bytes("\n".join([f"fio version {version} iolog", *lines]).encode())
    mine, theirs = twins(FioLog, path, skip_bad=skip_bad)

    assert mine == theirs


events = st.builds(
    "8,{} 3 1 {}.{:09d} 697 {} {} {} + 8 [x y]".format, st.integers(0, 1), st.sampled_from([0, 5, 2**40]),
    st.integers(0, 10**9 - 1), st.sampled_from("QDDCCCPm"), st.sampled_from(["R", "RS", "W", "N"]), st.integers(0, 2),
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(st.one_of(events, events, edited(events)), max_size=16), st.booleans())
def test_events_of_blkparse(tmp_path_factory, lines, skip_bad):
    """Of any text of blkparse, with lines good and odd."""
    path = tmp_path_factory.getbasetemp() / "both.blkparse"
    path.write_bytes("\n".join([*lines, ""]).encode())
    mine, theirs = twins(Blkparse, path, skip_bad=skip_bad)

    assert mine == theirs


def paired(happened):
    """The requests that completed, from one event after another: the oracle."""
    under_way, found = {}, []
    for action, sector, kind, when in happened:
        key = sector, kind[0]
        if action == "C":
            begun = under_way.pop(key, None)
            if begun is not None:
                found.append((sector * 512, begun[1], when, kind))
        elif key not in under_way or under_way[key][0] < (action == "D"):
            under_way[key] = (action == "D", when)
    return found


@given(
    st.lists(st.tuples(st.sampled_from("QDDCC"), st.integers(0, 3), st.sampled_from(["R", "RS", "W", "WS"])), max_size=40),
    st.sampled_from([40, 200, 1 << 20]),
)  # fmt: skip
def test_requests(tmp_path_factory, steps, block):
    """Issues and completions of the block layer are paired as one after another would be, wherever a block of lines ends."""
    happened = [(*step, when) for when, step in enumerate(steps)]
    path = tmp_path_factory.getbasetemp() / "pairs.blkparse"
    path.write_text(
        "".join(f"  8,0  3 {when} 0.{when:09d} 69 {what} {kind} {at} + 8 [x y]\n" for what, at, kind, when in happened)
    )
    wanted = paired(happened)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tracekit.formats.foreign_lines._BLOCK_BYTES", block)
        found = said(Blkparse(str(path)))

    if not wanted:
        assert isinstance(found, str)
        return
    first = min(begun for _, begun, _, _ in wanted)
    assert sorted(
        (op.offset, op.t_submit + first, op.t_complete + first, op.op, op.flags) for op in found[0]
    ) == sorted(
        (offset, begun, done, "read" if "R" in kind else "write", "direct,o_sync" if "S" in kind else "direct")
        for offset, begun, done, kind in wanted
    )
