"""Stand-in data: real blocks, whole files, nothing overwritten."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracekit.errors import CannotRunError
from tracekit.replay import prepare
from tracekit.replay.options import Options
from tracekit.replay.plan import File, Plan, make_plan
from tracekit.storage import LocalStorage
from tracekit.storage.cache import holes
from tracekit.trace import Op, Trace, Trailer
from tracekit.uri import file_uri


def planned(root: Path, *ops: tuple[str, str, int, int, int | None]) -> Plan:
    """A plan of (op, name, offset, len, ret)."""
    rows = [
        Op(file_uri(root / name), offset, length, i, op=op, ret=ret, pid=1, tid=1)
        for i, (op, name, offset, length, ret) in enumerate(ops)
    ]
    return make_plan(Trace.of(rows), Options(prepare="random"))


@pytest.mark.parametrize("filling", ["random", "zero"])
def test_missing_files_are_made_of_real_blocks(tmp_path: Path, filling: str) -> None:
    """The size is that of the furthest byte read, every block is allocated, and there is no hole."""
    plan = planned(tmp_path, ("read", "a/b/x", 3_000_000, 50_000, 50_000), ("read", "a/b/x", 0, 10, 10))
    assert prepare.prepare(prepare.missing(plan), filling) == 3_050_000
    made = tmp_path / "a/b/x"
    status = made.stat()
    assert status.st_size == 3_050_000
    assert status.st_blocks * 512 >= 3_050_000
    assert holes(str(made)) == 0
    assert (made.read_bytes() == bytes(3_050_000)) == (filling == "zero")
    assert sorted(os.listdir(made.parent)) == ["x"]


def test_random_data_does_not_repeat(tmp_path: Path) -> None:
    """Nothing a device could deduplicate: all blocks of 4 KiB differ, within and between files."""
    plan = planned(tmp_path, ("read", "x", 0, 1 << 20, None), ("read", "y", 0, 1 << 20, None))
    prepare.prepare(prepare.missing(plan), "random")
    data = (tmp_path / "x").read_bytes() + (tmp_path / "y").read_bytes()
    blocks = {data[i : i + 4096] for i in range(0, len(data), 4096)}
    assert len(blocks) == 512


def test_existing_files_are_neither_overwritten_nor_extended(tmp_path: Path) -> None:
    """Somebody else's file stays as it is, even where it is too short."""
    (tmp_path / "x").write_bytes(b"precious")
    plan = planned(tmp_path, ("read", "x", 0, 100, 100))
    assert prepare.missing(plan) == []
    prepare.prepare([plan.files[0]], "random")
    assert (tmp_path / "x").read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["x"]


def test_our_own_file_grows_when_it_is_too_short(tmp_path: Path) -> None:
    """A stand-in of an earlier run is made again in the size now needed."""
    prepare.prepare(prepare.missing(planned(tmp_path, ("read", "x", 0, 100, 100))), "zero")
    try:
        os.getxattr(tmp_path / "x", "user.tracekit.prepared")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    longer = planned(tmp_path, ("read", "x", 0, 200, 200))
    prepare.prepare(prepare.missing(longer), "random")
    assert (tmp_path / "x").stat().st_size == 200
    assert prepare.missing(longer) == []


def test_sizes_come_from_what_the_recording_got(tmp_path: Path) -> None:
    """A read of 1 MiB that returned 100 bytes shows a file of 100 bytes; files only looked at are empty."""
    plan = planned(tmp_path, ("read", "x", 0, 1 << 20, 100), ("read", "x", 100, 1 << 20, 0), ("stat", "y", 0, 0, None))
    prepare.prepare(prepare.missing(plan), "random")
    assert [(tmp_path / name).stat().st_size for name in "xy"] == [100, 0]


def test_directories_are_directories(tmp_path: Path) -> None:
    """What the trace lists, or looks at and has files below it, is made as a directory."""
    plan = planned(
        tmp_path, ("stat", "root", 0, 0, None), ("list", "root/deep", 0, 0, None), ("read", "root/deep/f", 0, 5, 5)
    )
    prepare.prepare(prepare.missing(plan), "random")
    assert (tmp_path / "root/deep/f").stat().st_size == 5


def test_too_little_space_is_known_before(tmp_path: Path) -> None:
    """A set that does not fit is one sentence per file system, and nothing is written."""
    problems = prepare.check_space([File("u", place=str(tmp_path / "new/x"), storage=LocalStorage(), extent=1 << 60)])
    assert len(problems) == 1
    assert "are free" in str(problems[0])
    assert os.listdir(tmp_path) == []


def test_a_failure_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full device in the middle of a file: an error, and neither the file nor its beginning."""
    plan = planned(tmp_path, ("read", "x", 0, 100, 100))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(prepare, "_fill", fail)
    with pytest.raises(CannotRunError, match="No space left"):
        prepare.prepare(prepare.missing(plan), "zero")
    assert os.listdir(tmp_path) == []


def test_an_interrupt_leaves_no_part(tmp_path: Path) -> None:
    """Ctrl-C while preparing: the beginnings are removed."""
    plan = planned(tmp_path, ("read", "x", 0, 8 << 20, None))
    progress = prepare._Progress(lambda _: None)
    progress.stop.set()
    prepare._make(plan.files[0], "zero", progress)
    assert os.listdir(tmp_path) == []


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    """The last report is the whole."""
    seen: list[int] = []
    plan = planned(tmp_path, ("read", "x", 0, 5_000_000, None), ("read", "y", 0, 1, None))
    total = prepare.prepare(prepare.missing(plan), "zero", seen.append)
    assert max(seen) == total == 5_000_001


def test_recorded_sizes_are_the_sizes_of_stand_ins(tmp_path: Path) -> None:
    """A file of which a part was read is made as long as it was, under its new name too."""
    trace = Trace.of([Op("file:///old/x", 0, 10, 0, ret=10, pid=1, tid=1)])
    trace.trailer = Trailer(ops=1, extra={"files": {"uri": ["file:///old/x"], "size": [70_000]}})
    plan = make_plan(trace, Options(prepare="random", remap=(("/old", str(tmp_path)),)))
    assert prepare.prepare(prepare.missing(plan), "random") == 70_000
    assert (tmp_path / "x").stat().st_size == 70_000
    assert prepare.missing(plan) == []


def test_what_a_killed_run_left_is_removed_and_what_it_finished_is_kept(tmp_path: Path) -> None:
    """Half-written files of processes that are gone go; those of a process that lives stay; whole files are not made again."""
    plan = planned(tmp_path, ("read", "x", 0, 100, 100), ("read", "y", 0, 100, 100))
    prepare.prepare([plan.files[0]], "random")
    first = (tmp_path / "x").read_bytes()
    (tmp_path / ".tracekit-part.4194999.aa").write_bytes(b"half")  # above the largest pid there can be
    (tmp_path / f".tracekit-part.{os.getpid()}.bb").write_bytes(b"being written")
    missing = prepare.missing(plan)
    assert [file.uri for file in missing] == [plan.files[1].uri]
    prepare.prepare(missing, "random")
    assert sorted(os.listdir(tmp_path)) == [f".tracekit-part.{os.getpid()}.bb", "x", "y"]
    assert (tmp_path / "x").read_bytes() == first


def test_data_made_in_memory_is_remarked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in on a tmpfs is no test of storage, and that is said before it is made."""
    plan = planned(tmp_path, ("read", "x", 0, 100, 100))
    monkeypatch.setattr(prepare, "in_memory", lambda _: True)
    assert "in memory" in prepare.remarks(prepare.missing(plan))[0]
    monkeypatch.setattr(prepare, "in_memory", lambda _: False)
    assert prepare.remarks(prepare.missing(plan)) == []


def test_long_names_can_be_made(tmp_path: Path) -> None:
    """The temporary name does not grow with the file's own, which may use all 255 bytes."""
    plan = planned(tmp_path, ("read", "n" * 255, 0, 10, 10))
    assert prepare.prepare(prepare.missing(plan), "zero") == 10
    assert os.listdir(tmp_path) == ["n" * 255]
