"""The --select expression."""

from __future__ import annotations

import pytest

from tracekit.errors import TracekitError, UnknownNameError, UsageError
from tracekit.selection import hint, select
from tracekit.trace import Op, Trace

TRACE = Trace.of(
    [
        Op("file:///d/a.npy", 0, 4096, 0, pid=1, tid=1, worker=0, step=0, sample_id=7, t_complete=50, ret=4096),
        Op(
            "file:///d/b%20c.npy",
            4096,
            100,
            1_000_000_000,
            pid=2,
            tid=2,
            worker=1,
            step=3,
            sample_id="cat",
            flags="direct,x",
        ),
        Op("/d/log", None, 10, 2_000_000_000, op="write", pid=1, tid=3, step=9, err="ENOSPC", t_complete=2_000_001_000),
        Op("s3://bucket/k", 0, 1 << 20, 3_000_000_000, op="open", epoch=1, sample_id="dog"),
    ]
)


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("op=read", [0, 1]),
        ("op=read|write", [0, 1, 2]),
        ("op!=read", [2, 3]),
        ("op=o*", [3]),
        ("pid=1", [0, 2]),
        ("pid=1|2,step>0", [1, 2]),
        ("pid!=1", [1, 3]),
        ("worker=none", [2, 3]),
        ("step=1..9", [1, 2]),
        ("step=..3", [0, 1]),
        ("step=3..", [1, 2]),
        ("len>=4KiB", [0, 3]),
        ("len<100", [2]),
        ("len<=100", [1, 2]),
        ("len>100", [0, 3]),
        ("t=0s..1s", [0, 1]),
        ("t>=1500ms", [2, 3]),
        ("t_submit=1000000000", [1]),
        ("service>=1us", [2]),
        ("uri=*.npy", [0, 1]),
        ("uri=/d/b c.npy", [1]),
        ("uri=file:///d/b%20c.npy", [1]),
        ("uri=s3://*", [3]),
        ("flags=direct", [1]),
        ("err=none", [0, 1, 3]),
        ("err=E*", [2]),
        ("sample_id=7", [0]),
        ("sample_id=cat|dog", [1, 3]),
        ("sample_id=none", [2]),
        ("offset=none", [2]),
        ("ret=4096", [0]),
        ("epoch=1", [3]),
        (" op = read , pid = 2 ", [1]),
        ("op=mmap", []),
    ],
)
def test_an_expression_picks_these_ops(expression: str, rows: list[int]) -> None:
    """Each term means what the module's grammar says."""
    assert select(TRACE, expression).nonzero()[0].tolist() == rows


@pytest.mark.parametrize(
    "expression",
    ["", "op", "op=", "=3", "len>big", "step=x", "op<read", "step=..", "t=5parsecs", "op=read,,pid=1", "step=-1"],
)
def test_what_cannot_be_read_is_refused(expression: str) -> None:
    """A term that makes no sense is an error with a way out, never an empty or a full selection."""
    with pytest.raises(UsageError) as caught:
        select(TRACE, expression)
    assert caught.value.way_out


@pytest.mark.parametrize(
    "expression",
    [
        "op == read",
        "op='read'",
        'uri="*.npy"',
        "op=read and len>5",
        "op=read AND len > 5",
        "op=read && step=1",
        "len>5 or t=1",
    ],
)
def test_other_languages_are_told_apart_from_names(expression: str) -> None:
    """What Python and SQL would write is not taken for a name that no op has."""
    with pytest.raises(UsageError, match="as in another language") as caught:
        select(TRACE, expression)
    assert "a comma stands between terms" in str(caught.value.way_out)


def test_words_within_names_are_names() -> None:
    """A path may have these words and a quote in it."""
    assert not select(TRACE, "uri=/d/this and that/it's, op=read|write").any()


def test_an_unknown_key_proposes_the_nearest() -> None:
    """A typing error is answered with the key that was meant."""
    with pytest.raises(UnknownNameError, match="did you mean 'worker'"):
        select(TRACE, "worer=1")


def test_every_error_is_one_of_ours() -> None:
    """Nothing but the package's own errors leaves the parser."""
    for text in ("t=1..x", "len=1..2QiB", "sample_id<a", "uri<x", "service=1y"):
        with pytest.raises(TracekitError):
            select(TRACE, text)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("op=reed", "change --select; no op has op=reed (did you mean 'read'?)"),
        ("op=read|wirte,len>0", "change --select; no op has op=wirte (did you mean 'write'?)"),
        ("op=fsync", "change --select; no op has op=fsync"),
        ("op=r*,pid=99", "change --select"),
        ("op!=reed,uri=nowhere,err=none", "change --select"),
    ],
)
def test_what_picks_nothing_is_explained(expression, said):
    """A name that no op has is said with the nearest that one has; numbers, patterns, and URIs are not guessed at."""
    assert hint(expression, TRACE.tables) == said
