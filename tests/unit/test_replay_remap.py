"""Prefixes under other names."""

from __future__ import annotations

import pytest

from tracekit.errors import UsageError
from tracekit.replay.intake import Intake
from tracekit.replay.options import Options, parse_remap
from tracekit.replay.remap import Remap
from tracekit.trace import Op, Trace


@pytest.mark.parametrize(
    ("pairs", "uri", "expected"),
    [
        ([("/data", "/new")], "file:///data/a", "file:///new/a"),
        ([("/data", "/new")], "/data/a", "file:///new/a"),
        ([("/data", "/new")], "direct:///data/a", "direct:///new/a"),
        ([("/data/", "/new/")], "file:///data/a", "file:///new/a"),
        ([("/data", "/new")], "file:///data", "file:///new"),
        ([("/data", "/new")], "file:///database/a", None),
        ([("/data", "/new"), ("/data/deep", "/other")], "file:///data/deep/a", "file:///other/a"),
        ([("file:///data", "file:///new")], "file:///data/a%20b", "file:///new/a%20b"),
        ([("file:///data", "/new")], "file:///data/a%20b", "file:///new/a%20b"),
        ([("/data", "file:///new")], "file:///data/a%20b", "file:///new/a%20b"),
        ([("/data dir", "/new")], "file:///data%20dir/a", "file:///new/a"),
        ([("s3://bucket", "/new")], "s3://bucket/k/x", "file:///new/k/x"),
        ([("s3://bucket/k/", "s3://other/")], "s3://bucket/k/x", "s3://other/x"),
        ([("s3://bucket", "/new")], "s3://bucketeer/k", None),
        ([("/data", "/new")], "s3://data/k", None),
        ([("file:///data", "direct:///data")], "file:///data/a", "direct:///data/a"),
    ],
)
def test_a_prefix_is_replaced_at_a_boundary(pairs: list[tuple[str, str]], uri: str, expected: str | None) -> None:
    """The longest prefix that ends at a slash decides; a URI without one has no new name."""
    assert Remap(pairs).apply(uri) == expected


def test_two_sources_may_become_one_file() -> None:
    """URIs that get the same new name share one entry of the table."""
    trace = Trace.of([Op("file:///a/x", 0, 1, 0), Op("file:///b/x", 0, 1, 1), Op("file:///c", 0, 1, 2)])
    intake = Intake(Options(remap=[("/a", "/n"), ("/b", "/n")]))
    result = intake.take(trace)
    assert result.uris == ["file:///n/x", "file:///c"]
    assert [op.uri for op in result] == ["file:///n/x", "file:///n/x", "file:///c"]
    assert intake.warnings == ["1 URIs have none of the --remap prefixes and stay as they are"]
    assert trace.uris[0] == "file:///a/x"


def test_a_prefix_nobody_has_is_known() -> None:
    """What --remap named in vain can be said."""
    remap = Remap([("/data", "/new"), ("/dta", "/new")])
    remap.apply("file:///data/x")
    assert remap.unused == ["/dta"]


def test_the_option_is_split_at_its_last_equals_sign() -> None:
    """Directories may hold an = ; the target cannot."""
    assert parse_remap("/a=b=/c") == ("/a=b", "/c")


@pytest.mark.parametrize("text", ["", "/a", "=/a", "/a="])
def test_half_an_option_is_refused(text: str) -> None:
    """FROM and TO are both needed."""
    with pytest.raises(UsageError, match="FROM=TO"):
        parse_remap(text)
