"""Blocks of lines: their numbers, lines without end, and how an odd one is found among many."""

from __future__ import annotations

import numpy as np
import pytest

from tracekit.formats import foreign_lines
from tracekit.formats.fio import FioLog
from tracekit.formats.foreign_lines import by_halves, has_lines, lines, numbered
from tracekit.formats.line_table import LineTable


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("text", [b"", b"a", b"a\n\nb\r\n\r\nccc\n", b"\n\na\nbb"])
def test_lines_keep_their_numbers(tmp_path, monkeypatch, text, block):
    """Wherever a block ends, the lines are those of the file, blank ones left out."""
    monkeypatch.setattr(foreign_lines, "_BLOCK_BYTES", block)
    (tmp_path / "f").write_bytes(text)
    wanted = [(place, line) for place, line in enumerate(text.split(b"\n"), 1) if line.strip()]

    assert list(lines(FioLog(str(tmp_path / "f")))) == wanted
    assert has_lines(text, len(wanted))
    assert not has_lines(text, len(wanted) + 7)


@pytest.mark.parametrize("block", [1 << 10, 1 << 20])
def test_a_line_without_an_end_is_one_bad_line(tmp_path, monkeypatch, block):
    """It is counted once, whatever its length, and the lines around it are there with their numbers."""
    monkeypatch.setattr(foreign_lines, "_BLOCK_BYTES", block)
    (tmp_path / "f").write_bytes(b"a\n" + b"x" * (5 << 20) + b"\nb\nc")
    source = FioLog(str(tmp_path / "f"), skip_bad=True)

    assert list(lines(source)) == [(1, b"a"), (3, b"b"), (4, b"c")]
    assert source.told.bad == 1
    assert source.told.first_bad.endswith(":2: the line is longer than 1 MiB")


@pytest.mark.parametrize("odd", [set(), {3}, {0, 999}, set(range(100, 140)), set(range(1000))])
def test_odd_lines_are_read_among_few(odd):
    """Every line is found once and in order, and none is read singly that is far from an odd one."""
    text = b"".join(b"%d%s\n" % (place, b" odd" if place in odd else b"") * 3 for place in range(1000))
    singly = []

    def single(number, part):
        singly.extend(place for place, _ in numbered(number, part))
        return list(numbered(number, part))

    def whole(part):
        return None if b"odd" in part else [(0, line) for line in part.split(b"\n") if line]

    found = [line for part in by_halves(1, text, whole, single) for _, line in part]
    assert found == text.split(b"\n")[:-1]
    assert {place - 1 for place in singly} >= {3 * place + turn for place in odd for turn in range(3)}
    assert len(singly) <= len(odd) * 3 * foreign_lines._FEW_BYTES
    assert bool(singly) == bool(odd)
    assert [text.split(b"\n")[place - 1] for place in singly] == sorted(
        [text.split(b"\n")[place - 1] for place in singly], key=lambda line: int(line.split()[0])
    )


def test_a_pattern_captures_columns():
    """Of each line that matches: numbers, fractions, codes; the others are named, blank ones are not."""
    table = LineTable(
        b"a 5 0.5\n\nb \xff\n  b 123456789012345678901 0.25\r\n", r"^\s*(?P<w>\w) (?P<n>\d+) 0\.(?P<f>\d+)\s*$"
    )

    assert table.matched.tolist() == [True, False, False, True]
    assert [(index, table.line(index)) for index in table.strange()] == [(2, b"b \xff")]
    assert table.numbers("n").tolist() == [5, -1]
    assert table.fractions("f", 3).tolist() == [500, 250]
    assert table.coded("w")[1] == [b"a", b"b"]
    assert len(LineTable(b"", r"^(?P<w>x)").matched) == 0


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_blank_lines_have_no_row(end):
    """However many: no pattern is asked about them, they are not strange, and the others keep their numbers."""
    table = LineTable(
        end.join([b"", b"5 a", b"", b"", b"odd", b"7 b", b"", b" ", b"8 c"]), r"^(?P<n>\d+) (?P<w>\w)\s*$"
    )

    assert np.flatnonzero(table.matched).tolist() == [1, 5, 8]
    assert table.numbers("n").tolist() == [5, 7, 8]
    assert [table.line(index) for index in table.strange()] == [b"odd", b" "]
    assert len(LineTable(end * 1000, r"^(?P<w>\w*)\s*$").numbers("w")) == 0
