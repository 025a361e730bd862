"""Bytes and nanoseconds as people write and read them."""

from __future__ import annotations

import pytest

from tracekit.errors import UsageError
from tracekit.units import format_bytes, format_count, format_ns, format_rate, parse_bytes, parse_ns


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("4096", 4096),
        ("128KiB", 131072),
        ("128k", 131072),
        ("1.5MB", 1_500_000),
        (" 2 GiB ", 2 << 30),
        ("1e3B", 1000),
        ("1T", 1 << 40),
        ("9007199254740993", 2**53 + 1),
    ],
)
def test_sizes_are_read(text, count):
    """Binary and decimal units, fractions and spaces are read to whole bytes."""
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1.0001k", "1 parsec", "0.5", "1e30", "nan", "1e400", "1e999999999", "²", "9" * 400]
)
def test_what_is_no_size_is_refused(text):
    """Nonsense, negatives, fractions of bytes and overflow are one sentence."""
    with pytest.raises(UsageError, match=r"is not a size|whole number of bytes"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("250us", 250_000),
        ("250µs", 250_000),
        ("1.5 ms", 1_500_000),
        ("2s", 2 * 10**9),
        ("1min", 60 * 10**9),
        ("0ns", 0),
    ],
)
def test_durations_are_read(text, ns):
    """A number and its unit are nanoseconds."""
    assert parse_ns(text) == ns


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "5 years", "1e30s", "1e400s"])
def test_what_is_no_duration_is_refused(text):
    """A duration needs a unit and fits 63 bits."""
    with pytest.raises(UsageError, match=r"is not a duration|longer than"):
        parse_ns(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (131072, "128 KiB"),
        (1500, "1.46 KiB"),
        (2**20 - 1, "1.00 MiB"),
        (10**15, "909 TiB"),
        (2**60, "1024 PiB"),
    ],
)
def test_sizes_are_shown(count, text):
    """Three significant digits in binary units, never 1024 of a unit that has a larger one."""
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1000, "1 µs"),
        (1_500_000, "1.50 ms"),
        (53_100, "53.1 µs"),
        (2 * 10**9, "2 s"),
        (3600 * 10**9, "60.0 min"),
        (float("inf"), "–"),
        (float("nan"), "–"),
    ],
)
def test_durations_are_shown(ns, text):
    """Three significant digits in the unit a person would choose; what is not finite is a dash."""
    assert format_ns(ns) == text


def test_rates_and_counts_are_shown():
    """Throughput is decimal MB/s, counts have thousands separators."""
    assert format_rate(125_000_000) == "125 MB/s"
    assert format_rate(float("nan")) == "–"
    assert format_count(1234567) == "1,234,567"
