"""Lines of cells: what the core makes of them, and what it leaves to Python."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from drivers import sanitized

from tracekit.formats import scanner
from tracekit.formats.scanner import NUMBER, SECONDS, TEXT, WHOLE, Cell, Scanner
from tracekit.trace import NULL

pytest.importorskip("tracekit._core", reason="the native core is not built here")


def scanned(cells, block, **rest):
    """The lines of a block in turns: their first number, and their columns or, where the core left them, their text."""
    turns = Scanner(cells, **rest).lines(1, block)
    return [
        (lines.number, {name: column.tolist() for name, column in lines.columns.items()} if lines.rows else lines.text)
        for lines in turns
    ]


def numbers(texts, kind, scale):
    """What the core makes of single cells; None where it leaves one."""
    cells = [Cell("value", kind, scale=scale), Cell()]
    found = [scanned(cells, text.encode() + b",\n", between=",") for text in texts]
    return [turns[0][1].get("value", [NULL])[0] if isinstance(turns[0][1], dict) else None for turns in found]


@pytest.mark.parametrize("scale", [1, 1000, 10**9])
def test_numbers_are_pythons(scale):
    """Whole ones are exact and fractions rounded as float and round do it, or they are left to Python."""
    rng = random.Random(scale)
    whole = [str(rng.randrange(10 ** rng.randrange(1, 19))).zfill(rng.randrange(1, 10)) for _ in range(300)]
    parted = [
        f"{rng.randrange(10 ** rng.randrange(1, 12))}.{rng.randrange(10 ** rng.randrange(1, 9))}" for _ in range(300)
    ]
    halves = [f"{half}.5" for half in range(20)]

    for text, found in zip(whole, numbers(whole, NUMBER, scale), strict=True):
        assert found == (int(text) * scale if int(text) * scale < 2**62 else None)
    for text, found in zip(parted + halves, numbers(parted + halves, NUMBER, scale), strict=True):
        wanted = round(float(text) * scale)
        assert found == wanted or (found is None and (wanted >= 2**62 or int(text.replace(".", "")) > 2**53))
    assert None not in numbers(halves, NUMBER, scale)


@pytest.mark.parametrize(
    "text", ["x", "-1", "+5", "nan", "0x10", "1e3", "1.", ".5", "5 5", "9" * 19, "1.5.5", "\x00", "½", '"5"', "5\t"]
)
def test_what_is_no_plain_number_is_left_to_python(text):
    """Signs, exponents, digits of other scripts, quotes: whatever it means, it is not the core that says so."""
    assert numbers([text], NUMBER, 1) == [None]


def test_what_stands_around_a_number():
    """Blanks are passed over, and nothing but blanks is no number; fractions are none where only digits may stand."""
    assert numbers(["  7 ", "", "  ", "007"], WHOLE, 3) == [21, NULL, NULL, 21]
    assert numbers(["7.0"], WHOLE, 3) == [None]


def test_rows_of_a_table():
    """Texts are what they mean, quoted or not; rows with another number of cells, or without one that is needed, are left."""
    cells = [Cell("name", TEXT, needed=True, meaning=len), Cell(), Cell("size", WHOLE)]
    rows = b'/abc,x,1\n\n"/a,b",,2\r\n/abc,,\n'
    assert scanned(cells, rows, between=",") == [(1, {"name": [4, 4, 4], "size": [1, 2, NULL]})]
    for odd in (b"/a,x\n", b"/a,x,1,\n", b",x,1\n", b'/a"b,x,1\n', b'"/a""b",x,1\n', b"/a,x\r,1\n", b"/a,x,1"):
        assert scanned(cells, odd, between=",") == [(1, odd)]


def test_words_of_a_log():
    """Words behind the least may be missing from the end on; what is one too many is left."""
    cells = [Cell("time", SECONDS, scale=10**9), Cell("name", TEXT, meaning=len), Cell("size", WHOLE)]
    assert scanned(cells, b"0.5 a 7\n\t 12.000000001   abc \r\n", least=2) == [
        (1, {"time": [500_000_000, 12_000_000_001], "name": [1, 3], "size": [7, NULL]})
    ]
    for odd in (b"0.5\n", b"5 a\n", b"0.5 a b\n", b"0.5 a 7 8\n", b"0.1234567890 a\n", b"0.5 a\x01 7\n", b" \n"):
        assert scanned(cells, odd, least=2) == [(1, odd)]


def test_a_line_may_end_in_anything():
    """Then the words behind the least are there whole or not at all, and a line that has half of them is left."""
    cells = [Cell("name", TEXT, meaning=len), Cell("at", WHOLE), Cell("size", WHOLE)]
    assert scanned(cells, b"a 5 6 [x y]\nabc [x]\nab 5 6\n", least=1, open_end=True) == [
        (1, {"name": [1, 3, 2], "at": [5, NULL, 5], "size": [6, NULL, 6]})
    ]
    assert scanned(cells, b"a 5 [x]\n", least=1, open_end=True) == [(1, b"a 5 [x]\n")]


@pytest.mark.parametrize("odd", [set(), {0}, {2500}, {4999}, {2000, 2001, 3500}, set(range(5000))])
def test_an_odd_line_costs_those_around_it_alone(odd):
    """Every line is told once and in order with its number; far from an odd one all are the core's."""
    lines = [b"odd %d\n" % place if place in odd else b"%d\n" % place for place in range(5000)]
    turns = list(Scanner([Cell("value", WHOLE)]).lines(1, b"".join(lines)))

    assert b"".join(part.text for part in turns) == b"".join(lines)
    for part in turns:
        first = part.number - 1
        assert part.text.startswith(lines[first])
        if part.columns:
            assert part.columns["value"].tolist() == list(range(first, first + len(part.columns["value"])))
    left = sum(len(part.text) for part in turns if not part.columns)
    assert left <= 3 * len(odd) * scanner._ASIDE_BYTES
    assert (left > 0) == bool(odd)
    # When nothing else comes, what is left grows with each turn.
    assert len(turns) <= 12


def test_without_a_core_all_lines_are_left(monkeypatch):
    """The Python twin reads them."""
    monkeypatch.setattr(scanner, "native_core", lambda: None)

    assert scanned([Cell("value", WHOLE)], b"1\n2\n") == [(1, b"1\n2\n")]


def test_a_text_is_asked_about_once():
    """However often and in however many blocks it comes, and nothing is asked about a line that is left."""
    asked = []
    reader = Scanner([Cell("name", TEXT, meaning=lambda text: asked.append(text) or len(asked)), Cell("size", WHOLE)])
    blocks = [b"a 1\nb 2\na 3\n", b"c x\n", b"b 4\nd 5\na 6\n"]
    found = [lines.columns["name"] for block in blocks for lines in reader.lines(1, block) if lines.columns]

    assert asked == [b"a", b"b", b"d"]
    assert np.concatenate(found).tolist() == [1, 2, 1, 2, 3, 1]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc here")
def test_the_reader_of_cells_is_clean_under_sanitizers(repository, tmp_path):
    """Mutated lines in blocks of exact size, under ASan and UBSan: no access outside, no undefined behaviour."""
    driver = sanitized(repository, tmp_path / "driver", "cells", ("cells", "strings"))
    done = subprocess.run([str(driver), "1", "200000"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    taken, refused = map(int, done.stdout.split())
    assert min(taken, refused) > 10_000
