"""Text brought to a width: nothing lost, nothing longer than the line, commands that can still be typed."""

from __future__ import annotations

import re
import shlex

from hypothesis import given
from hypothesis import strategies as st

from tracekit.reflow import fitted, padded, refilled, stacked, visible

WORDS = st.lists(st.text("abcé×–≤0123", min_size=1, max_size=12), min_size=1, max_size=30)
GAPS = st.lists(st.sampled_from([" ", "  ", "     "]), min_size=30, max_size=30)


@given(WORDS, GAPS, st.integers(0, 6), st.integers(24, 90))
def test_lines_fit_and_keep_their_words(words, gaps, indent, columns):
    """Whatever the line and the width: the same words in the same order, no line longer than the width."""
    line = " " * indent + "".join(word + gap for word, gap in zip(words, gaps, strict=False)).rstrip()
    rows = fitted(line, columns).split("\n")

    assert " ".join(rows).split() == words
    assert all(len(row) <= columns for row in rows)
    assert rows == [line] if len(line) <= columns else len(rows) > 1


def test_what_fits_is_left_as_it_is():
    """Short lines, empty lines and text for no terminal are the same bytes."""
    text = "a  b\n\n  c"
    assert fitted(text, 10) == text
    assert fitted("x" * 500 + " y", None) == "x" * 500 + " y"


def test_a_line_goes_on_below_its_last_column():
    """The rest of `label  value` stands below the value; of prose, a little further in."""
    assert fitted("  label  " + "word " * 10, 36).split("\n") == [
        "  label  word word word word word",
        "         word word word word word",
    ]
    assert fitted("- one two three four", 12).split("\n") == ["- one two", "  three four"]


def test_a_number_keeps_its_unit():
    """Neither a time nor a size nor a share is broken from what it is counted in."""
    assert fitted("the slowest took 20.3 ms", 22).split("\n") == ["the slowest took", "  20.3 ms"]
    assert fitted("it moved (20.3 MiB, 9 % of all)", 14).split("\n") == ["it moved", "  (20.3 MiB,", "  9 % of all)"]
    assert fitted("there are 20 sevens", 14).split("\n") == ["there are 20", "  sevens"]


def test_a_long_name_stays_whole():
    """A path longer than the line is not cut in two: what is copied from the terminal is the path."""
    path = "file:///" + "d/" * 40
    rows = fitted(f"hot file  71 % of all bytes: {path} (7 × its share)", 60).split("\n")
    assert [row.strip() for row in rows if "file:///" in row] in ([path], [f"{path} (7 × its"], [f"{path} (7"])
    assert path in "\n".join(rows)


def test_a_command_can_be_pasted():
    """`next: …` over several lines is one command for a shell."""
    command = "harness check again.jsonl --golden train.jsonl --json summary.json --html report.html"
    text = fitted(f"next: {command}", 30)
    assert all(len(row) <= 30 for row in text.split("\n"))
    assert shlex.split(text.removeprefix("next:").replace("\\\n", " ")) == command.split()
    assert all(row.endswith(" \\") for row in text.split("\n")[:-1])


def test_colour_takes_no_room():
    """A line is measured by what is seen of it."""
    red = "\x1b[31mwarning:\x1b[0m the rest"
    assert visible(red) == len("warning: the rest")
    assert fitted(red, 17) == red
    assert fitted(red, 16).split("\n") == ["\x1b[31mwarning:\x1b[0m the", "  rest"]
    assert padded("\x1b[1mx\x1b[0m", 3, right=True) == "  \x1b[1mx\x1b[0m"


HELP = """\
usage: tracekit frob [-h] TRACE

Frobnicate a trace until nothing of it is left that
anybody could recognise.
A second sentence.

options:
  -h  show this

examples:
  tracekit frob --with a --lot of options t.jsonl     what it does
  tracekit frob t.jsonl                short
"""


def test_help_is_as_wide_as_the_terminal():
    """Paragraphs are filled, what is said of a long example stands below it, all else stays; off a terminal and where all fits, everything."""
    assert refilled(HELP, None) == refilled(HELP, 80) == HELP
    assert (
        refilled(HELP, 40)
        == """\
usage: tracekit frob [-h] TRACE

Frobnicate a trace until nothing of it
is left that anybody could recognise. A
second sentence.

options:
  -h  show this

examples:
  tracekit frob --with a --lot of options t.jsonl
        what it does
  tracekit frob t.jsonl
        short
"""
    )


def test_the_last_column_is_broken_where_it_has_room():
    """A long remark goes on below itself; where there is no room for words it stands below the row."""
    row = [["name", "ok", "a remark of some length that takes two rows"]]
    widths = [4, 2, 43]
    assert fitted(stacked(row, widths, 40), 40).split("\n") == [
        "name  ok  a remark of some length that",
        "          takes two rows",
    ]
    assert stacked(row, widths, 30).split("\n") == ["name  ok", "    a remark of some length that takes two rows"]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=9), st.integers(20, 80))
def test_columns_that_do_not_fit_stand_below(widths, columns):
    """Each line of a table has all its cells in order, in as many rows for every line, none wider than the terminal."""
    lines = [[letter * size for size in widths] for letter in "ab"]
    rows = stacked(lines, widths, columns).split("\n")

    assert all(len(row) <= max(columns, max(widths) + 4) for row in rows)
    assert [cell for row in rows for cell in row.split()] == [cell for line in lines for cell in line]
    assert len(rows) % 2 == 0
    starts = [[match.start() for match in re.finditer(r"\S+", row)] for row in rows]
    assert starts[: len(rows) // 2] == starts[len(rows) // 2 :]
    assert stacked(lines, widths, None).count("\n") == 1
