"""The table of resident pages: one file's state and many."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.pages import PAGE_BYTES, PageState, Recorded, from_gaps, runs, to_gaps, to_json

BITS = st.lists(st.booleans(), max_size=300).map(lambda bits: np.array(bits, np.bool_))


@given(BITS)
def test_gaps_are_the_bitmap(bits):
    """Every bitmap comes back from its gaps, and its runs cover exactly the set pages."""
    assert from_gaps(to_gaps(bits), len(bits)).tolist() == bits.tolist()
    painted = np.zeros(len(bits), np.bool_)
    for first, count in runs(bits):
        assert not painted[first : first + count].any()
        painted[first : first + count] = True
    assert painted.tolist() == bits.tolist()


def test_a_state_of_the_same_size_is_exact():
    """Page by page as it was recorded."""
    bits = np.array([0, 1, 1, 0, 0, 1, 0], np.bool_)
    state = PageState(7 * PAGE_BYTES - 100, 3, to_gaps(bits))
    assert state.pages == 7
    assert state.gaps == (1, 2, 2, 1)
    assert state.bitmap(state.size).tolist() == bits.tolist()


@pytest.mark.parametrize("factor", [0.25, 0.5, 2, 3.5])
def test_another_size_keeps_the_shares(factor):
    """A stand-in twice as long has twice as long runs at the same shares of the file."""
    bits = np.zeros(1000, np.bool_)
    bits[200:500] = True
    pages = int(1000 * factor)
    found = PageState(1000 * PAGE_BYTES, 300, to_gaps(bits)).bitmap(pages * PAGE_BYTES)
    assert runs(found) == [(pages // 5, pages * 3 // 10)]


def test_a_mere_number_is_spread_evenly():
    """Where it is not known which pages they were, that many are chosen over the whole file."""
    state = PageState(10_000 * PAGE_BYTES, 2500)
    assert not state.is_exact
    found = state.bitmap(state.size)
    assert abs(int(found.sum()) - 2500) <= 64
    assert all(300 <= int(part.sum()) <= 1000 for part in np.split(found, 4))


def test_whole_states_follow_any_size():
    """All of it or none of it is exact for every size, the empty file included."""
    assert PageState(5000, 2).bitmap(9 * PAGE_BYTES).all()
    assert not PageState(5000, 0).bitmap(9 * PAGE_BYTES).any()
    assert len(PageState(5000, 2).bitmap(0)) == 0
    assert PageState(0, 0).whole == "none"


def test_what_most_files_have_in_common_is_said_once():
    """A hundred thousand cold files cost nothing; the exceptions are listed with their pages."""
    states = {f"file:///d/{i}": PageState(8192, 0) for i in range(100_000)}
    states["file:///d/7"] = PageState(8192, 2)
    states["file:///d/8"] = PageState(8192, 1, (1, 1))
    table = to_json(states, unknown=["file:///d/x"])
    assert len(json.dumps(table)) < 300
    again = Recorded.of_trailer({"files": json.loads(json.dumps(table))})
    assert again is not None
    assert again.of("file:///d/7", 8192) == PageState(8192, 2)
    assert again.of("file:///d/8", 8192) == PageState(8192, 1, (1, 1))
    assert again.of("file:///d/9", 8192) == PageState(8192, 0)
    assert again.of("file:///d/x", 8192) is None


def test_a_table_without_room_counts_what_it_leaves_out():
    """First positions of pages go, then whole files; nothing that was left out is taken for known."""
    bits = np.resize(np.array([False, True]), 1000)
    states = {f"file:///d/{i}": PageState(1000 * PAGE_BYTES, 500, to_gaps(bits)) for i in range(10)}
    few = to_json(states, most_text=10_000)
    assert few["left_out"]["gaps"] in range(1, 10)
    assert len(json.dumps(few, separators=(",", ":"))) < 10_200
    tiny = to_json(states | {"file:///d/cold": PageState(5000, 0)}, most_text=200)
    assert tiny["left_out"]["files"] > 5
    again = Recorded.of_trailer({"files": tiny})
    assert again is not None
    assert again.of("file:///d/9", 1000) is None
    assert again.of("file:///d/cold", 5000) is None


def test_too_many_unknown_files_leave_nothing_to_be_assumed():
    """When the unknown cannot be listed, a file that is not listed is not known."""
    states = {f"file:///d/{i}": PageState(8192, 0) for i in range(3)}
    table = to_json(states, unknown=[f"file:///d/long-name-{i}" for i in range(100)], most_text=1000)
    again = Recorded.of_trailer({"files": table})
    assert again is not None
    assert again.of("file:///d/1", 8192) == PageState(8192, 0)
    assert again.of("file:///d/long-name-5", 8192) is None


def test_other_names_keep_their_states():
    """Remapped files are found under their new names, unknown ones too."""
    recorded = Recorded({"file:///a": PageState(8192, 1, (0, 1))}, "none", frozenset({"file:///b"}))
    moved = recorded.renamed({"file:///a": "file:///new/a", "file:///b": "file:///new/b"})
    assert moved.of("file:///new/a", 8192) == PageState(8192, 1, (0, 1))
    assert moved.of("file:///new/b", 8192) is None
    assert moved.of("file:///new/c", 8192) == PageState(8192, 0)


@pytest.mark.parametrize(
    "damage",
    [
        {"uri": None}, {"size": ["x"]}, {"resident": [9]}, {"gaps": [[3, 4]]}, {"gaps": [[-1, 2]]}, {"gaps": []},
        {"unknown": 5},
    ],
)  # fmt: skip
def test_a_damaged_table_is_none(damage):
    """Numbers that cannot be are not restored."""
    table = {
        "page_bytes": 4096,
        "others": None,
        "uri": ["file:///a"],
        "size": [8192],
        "resident": [1],
        "gaps": [[1, 1]],
    }
    assert Recorded.of_trailer({"files": table}) is not None
    assert Recorded.of_trailer({"files": table | damage}) is None
    assert Recorded.of_trailer({}) is None
