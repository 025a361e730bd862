"""Arrow's cells as columns: what is exact, what is null, and what is refused."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tracekit.formats import cells


def listed(found):
    """Values, None where nothing is known."""
    values, known = found
    return [value if there else None for value, there in zip(values.tolist(), known.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["5", None, "0012"], [5, None, 12]),
        ([" 5", "6 ", "  "], [5, 6, None]),
        (["1.5", "2.5", "-1", "1e3"], [2, 2, -1, 1000]),
        ([None, None], [None, None]),
        # Beyond 2^53, exact beside a fraction.
        (["9007199254740993", "0.5"], [9007199254740993, 0]),
    ],
)
def test_numbers_are_exact_or_rounded(texts, numbers):
    """Whole numbers keep every digit, others go to the nearest, blanks are null; as bytes or as text."""
    assert listed(cells.numbers(pa.array(texts, pa.string()))) == numbers
    assert listed(cells.numbers(pa.array([text and text.encode() for text in texts], pa.binary()))) == numbers


@pytest.mark.parametrize("text", ["x", "nan", "inf", "0x10", "1e400", "9" * 25, str(2**62), "1_0", "½"])
def test_what_is_no_number_is_refused(text):
    """One such cell, and the column has to be looked at cell by cell."""
    assert cells.numbers(pa.array(["5", text])) is None


def test_numbers_are_scaled_before_they_are_rounded():
    """Seconds become nanoseconds, and what no longer fits then is refused."""
    assert listed(cells.numbers(pa.array(["1700000001", "0.25"]), 10**9)) == [1_700_000_001 * 10**9, 250_000_000]
    assert cells.numbers(pa.array(["5000000000"]), 10**9) is None
    assert listed(cells.numbers(pa.array([1.5, None]), 1000)) == [1500, None]
    assert listed(cells.numbers(pa.array([7, None]), 1000)) == [7000, None]


def test_only_digits_are_whole():
    """A sample called 1.0 is a name."""
    assert listed(cells.whole(pa.array(["7", None]))) == [7, None]
    assert cells.whole(pa.array(["1.0"])) is None


def test_codes_have_no_place_for_null():
    """The distinct values come in order of appearance; a mapped null stays null."""
    codes, values = cells.coded(pa.array(["b", None, "a", "b"]))
    assert (codes.tolist(), values) == ([0, -1, 1, 0], ["b", "a"])
    assert cells.mapped(codes, [10, 20]).tolist() == [10, -1, 20, 10]
