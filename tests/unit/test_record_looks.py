"""Notes about pages, from the core's records and the Python engine's lines to the trailer's table."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from tracekit.pages import PageState
from tracekit.record import looks, pagelook, residence
from tracekit.record.looks import Identity, Looks, Seen
from tracekit.record.parts import SLOT, Part

PAGE = 4096


def text(size: int, resident: int, *runs: tuple[int, int]) -> bytes:
    """A record's text."""
    head = struct.pack("<QQII", size, resident, PAGE, 0)
    return head + b"".join(struct.pack("<II", *run) for run in runs)


def part(token: str, pages: dict[int, Seen], inodes: dict[int, int], paths: dict[int, str]) -> Part:
    """A process's part with these notes."""
    one = Part(token, np.zeros(0, SLOT), np.zeros((0, 5), np.int64), np.zeros(0, np.int32))
    one.paths, one.pages = paths, pages
    one.identities = {number: Identity(1, inode, 10 * PAGE, 0o100644) for number, inode in inodes.items()}
    return one


def test_records_of_one_file_are_joined() -> None:
    """Runs over several records become one list of gaps."""
    found = Looks()
    found.add(5, 100, text(10 * PAGE, 4, (1, 2)), 1)
    found.add(6, 101, text(10 * PAGE, 10), 0)
    found.add(5, 100, text(10 * PAGE, 4, (4, 1), (9, 1)), 0)
    assert found.seen[5] == Seen(100, PageState(10 * PAGE, 4, (1, 2, 1, 1, 4, 1)))
    assert found.seen[6] == Seen(101, PageState(10 * PAGE, 10))


def test_a_file_given_up_keeps_its_number() -> None:
    """Too many runs: how many pages is known, which is not; a kernel that does not tell says nothing at all."""
    found = Looks()
    found.add(1, 1, text(10 * PAGE, 4, (1, 2)), 1)
    found.add(1, 1, text(10 * PAGE, 4), 2)
    found.add(2, 1, text(10 * PAGE, (1 << 64) - 1), 2)
    assert found.seen == {1: Seen(1, PageState(10 * PAGE, 4))}


def test_the_earliest_look_of_a_run_counts(tmp_path: Path) -> None:
    """Over all processes; other names of a file take its state; what nobody saw is not known."""
    early, late = Seen(10, PageState(10 * PAGE, 0)), Seen(20, PageState(10 * PAGE, 10))
    parts = [
        part("1-a", {1: late}, {1: 7}, {1: "/d/x"}),
        part("2-b", {1: early}, {1: 7, 2: 7, 3: 8}, {1: "/d/x", 2: "/d/link", 3: "/d/unseen"}),
    ]
    found = looks.residency_of(str(tmp_path), parts)
    assert found["before"] == {"pages": 20, "resident": 0}
    assert found["files"]["unknown"] == ["file:///d/unseen"]
    assert found["files"]["others"] == "none"
    assert found["files"]["count"] == 3
    assert "of 1 file that is not known" in looks.summary(found)


def test_nothing_seen_is_nothing_said(tmp_path: Path) -> None:
    """Without a single look there is no table, and the summary is silent."""
    assert looks.residency_of(str(tmp_path), [part("1-a", {}, {1: 7}, {1: "/d/x"})]) == {}
    assert looks.summary({}) == ""


def test_roots_beat_first_reads(tmp_path: Path) -> None:
    """What was noted before the run counts for the files that the run used, and for no others."""
    residence.keep_roots({"/d/x": [10 * PAGE, 3, [0, 3], PAGE], "/d/other": [5, 1, None, PAGE]}, str(tmp_path))
    seen = Seen(10, PageState(10 * PAGE, 10))
    found = looks.residency_of(str(tmp_path), [part("1-a", {1: seen}, {1: 7}, {1: "/d/x"})])
    assert found["start"] == "before-run"
    assert found["files"]["uri"] == ["file:///d/x"]
    assert found["files"]["gaps"] == [[0, 3]]


def test_without_room_there_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A nearly full disk is left to the recording itself."""
    monkeypatch.setattr(residence, "_SPARE_BYTES", 1 << 62)
    residence.make_table(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert residence.refused(str(tmp_path)) == 0


@pytest.mark.parametrize(
    "bits", ["0" * 9 + "1" * 5, "1" * 3 + "0" * 4, "0110", "1" * 64, "01" * 8, "1" + "0" * 99 + "1"]
)
def test_halving_finds_the_stretches(bits: str) -> None:
    """The Python engine's way, over counts of a made-up file."""
    bitmap = [int(bit) for bit in bits]

    def count(_fd: int, offset: int, length: int) -> int:
        return sum(bitmap[offset // PAGE : (offset + length) // PAGE])

    gaps = pagelook._gaps(0, len(bitmap), PAGE, sum(bitmap), count)
    assert gaps is not None
    state = PageState(len(bitmap) * PAGE, sum(bitmap), tuple(gaps))
    assert state.bitmap(state.size).tolist() == [bool(bit) for bit in bitmap]


def test_halving_gives_up() -> None:
    """Every second page of many is not worth thousands of calls; nor is a count that fails."""
    assert pagelook._gaps(0, 4096, PAGE, 2048, lambda _fd, _offset, length: length // PAGE // 2) is None
    assert pagelook._gaps(0, 4096, PAGE, 2048, lambda *_: -1) is None
