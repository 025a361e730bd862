"""What a page shows is held against what was printed: alike but for figures, and no further apart than a `…` says."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import blocks, mismatch, scrub

PRINTED = """\
recorded 1,240 ops (29.1 MiB read, 0 B written) on 240 files by 5 processes in train.jsonl
the kernel counted 71.3 MiB read; 71.3 MiB are recorded or knowingly left out
next: tracekit stats train.jsonl
"""


def test_figures_may_differ():
    """Other numbers, units and rates are the same line; so is another column width."""
    assert scrub("p50   14.0 µs, p99 2.03 ms (+0.001 %)") == scrub("p50 9 µs,  p99 800 µs (-1 %)")
    assert scrub("in 3.08 s, 41.3 MB/s") == scrub("in 900 ms, 1,204 kB/s")
    assert scrub("page at /tmp/pytest-1/report.html") == scrub("page at /home/me/report.html")


def test_words_and_counts_may_not_differ():
    """A word, an exit status in words, a file's name and a count of files are compared as they stand."""
    assert scrub("PASS  a.jsonl") != scrub("FAIL  a.jsonl")
    assert scrub("on 240 files") != scrub("on 241 files")
    assert scrub("step.p50") != scrub("step.p99")
    assert scrub("train2.jsonl") != scrub("train3.jsonl")


def test_the_whole_output_matches():
    """With other figures, whether or not the page leaves lines out."""
    shown = PRINTED.replace("29.1", "30.7").replace("1,240", "1,263")
    assert mismatch(shown, PRINTED) is None
    assert mismatch("recorded 1 ops (2 MiB read, 0 B written) on 240 files by …\n…\n", PRINTED) is None
    assert mismatch("…\nnext: tracekit stats train.jsonl\n", PRINTED) is None


def test_progress_is_no_part_of_it():
    """How often a long command says how far it is depends on the machine: such lines may come anywhere, or not at all."""
    slow = PRINTED.replace("the kernel", "replaying 1,525/3,050 ops (50 %) · 10 s left · 152 ops/s\nthe kernel")
    assert slow != PRINTED
    assert mismatch(PRINTED, slow) is None


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ("recorded 1 ops (2 MiB read, 0 B written) on 96 files by …\n…\n", "on 96 files"),
        ("…\nnext: tracekit replay train.jsonl\n", "tracekit replay"),
        ("…\nnext: tracekit stats train.jsonl\nand more\n", "(the end)"),
        ("the kernel counted …\n…\n", "recorded #"),
        ("…\nthe kernel counted …\n", "the page ends"),
        ("…\nnext: …\n…\nrecorded …\n", "somewhere behind"),
    ],
)
def test_what_is_not_printed_so_is_named(shown, said):
    """Another word, a line too many, a line too few and another order are found, and the sentence holds the line."""
    assert said in mismatch(shown, PRINTED)


def test_blocks_have_what_they_print(tmp_path):
    """Output belongs to the block before it, whatever prose is between; other fences are neither."""
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\necho one\n```\nprints\n```output\none\n```\n```text\ndrawing\n```\n```python\nprint(2)\n```\n"
    )
    assert [(one.language, one.text, one.shown) for one in blocks(page)] == [
        ("sh", "echo one\n", "one\n"),
        ("python", "print(2)\n", None),
    ]


def test_output_of_nothing_is_refused(tmp_path):
    """A page that shows output without a block in front is named with the line."""
    page = tmp_path / "page.md"
    page.write_text("```text\ndrawing\n```\n```output\nlost\n```\n")
    with pytest.raises(ValueError, match=r"page\.md: output of nothing, `lost`"):
        list(blocks(page))
