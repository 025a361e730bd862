"""Bytes and nanoseconds: read what users write, print what users read.

Inside, sizes are bytes and times are nanoseconds, both integers. Scaling happens here and only for people.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from tracekit.errors import UsageError

TIME_UNITS_NS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000}
_BYTE_UNITS = {
    "": 1, "b": 1,
    "k": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mib": 1 << 20, "g": 1 << 30, "gib": 1 << 30, "t": 1 << 40,
    "tib": 1 << 40, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
}  # fmt: skip
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµ]*)\s*")


def parse_bytes(text: str) -> int:
    """Bytes of a size as people write it: `4096`, `128KiB`, `1.5MB`; a bare `K`, `M`, `G` is binary.

    Raises:
        UsageError: If it is not a size, is negative, or is not a whole number of bytes.
    """
    match = _QUANTITY.fullmatch(text)
    unit = _BYTE_UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise UsageError(f"{text!r} is not a size", "write a number with B, KiB, MiB, GiB, kB, MB or GB, as in 128KiB")
    # Compared as a float first: 1e999999999 written out would not fit into memory.
    count = Fraction(match[1]) * unit if float(match[1]) * unit < 2**63 else Fraction(1, 2)
    if count.denominator != 1:
        raise UsageError(f"{text!r} is not a whole number of bytes below 2^63", "write it in a smaller unit")
    return int(count)


def parse_ns(text: str) -> int:
    """Nanoseconds of a duration as people write it: `250us`, `1.5ms`, `2s`, `1min`; a unit is required.

    Raises:
        UsageError: If it is not a duration or has no unit.
    """
    match = _QUANTITY.fullmatch(text)
    unit = TIME_UNITS_NS.get(match[2]) if match else None
    if match is None or unit is None:
        raise UsageError(f"{text!r} is not a duration", "write a number with ns, us, ms, s or min, as in 1.5ms")
    value = float(match[1]) * unit
    if not value < 2**63:
        raise UsageError(f"{text!r} is longer than 2^63 ns", "write a shorter duration")
    return round(value)


def format_bytes(count: float) -> str:
    """A size for people in binary units, three significant digits: `131072` is `128 KiB`."""
    return _scaled(count, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))


def format_ns(duration_ns: float) -> str:
    """A duration for people, three significant digits: `1_500_000` is `1.50 ms`."""
    if not math.isfinite(duration_ns) or abs(duration_ns) < 999.5e6:
        return _scaled(duration_ns, 1000.0, ("ns", "µs", "ms"))
    seconds = duration_ns / 1e9
    return f"{_digits(seconds)} s" if abs(seconds) < 600 else f"{seconds / 60:.1f} min"


def format_rate(bytes_per_second: float) -> str:
    """A throughput for people, in decimal MB/s as storage vendors and MLPerf count it."""
    return f"{_digits(bytes_per_second / 1e6)} MB/s" if math.isfinite(bytes_per_second) else "–"


def format_count(count: int) -> str:
    """A count for people with thousands separators."""
    return f"{count:,}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun in the right number: `1 op`, `1,200 ops`; `plural` where an s does not do."""
    return f"{format_count(count)} {noun if count == 1 else plural or noun + 's'}"


def _scaled(value: float, base: float, names: tuple[str, ...]) -> str:
    if not math.isfinite(value):
        return "–"
    for name in names[:-1]:
        if abs(value) < base * 0.9995:
            return f"{_digits(value)} {name}"
        value /= base
    return f"{_digits(value)} {names[-1]}"


def _digits(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    size = abs(value)
    places = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 0.0995 else 4
    return f"{value:.{places}f}"
