"""Everything that can be known to fail on real file systems: said together, before the first op, and nothing is touched."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracekit.errors import CannotRunError, InputError, TracekitError
from tracekit.machine import in_memory
from tracekit.replay.options import Options
from tracekit.replay.plan import Plan, make_plan
from tracekit.replay.preflight import PreflightError, examine
from tracekit.replay.session import replay
from tracekit.storage import cache, extents
from tracekit.trace import Op, Trace, Trailer
from tracekit.uri import file_uri

MIB = 1 << 20
KINDS = ("here", "ext4", "xfs", "tmpfs")


def _mounted(kind: str, tmp_path: Path) -> Path | None:
    """A fresh file system of that kind, or None where it cannot be had."""
    point = tmp_path / kind
    point.mkdir()
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(point)]
    else:
        image = tmp_path / f"{kind}.img"
        with image.open("wb") as file:
            file.truncate(400 * MIB)
        if (
            shutil.which(f"mkfs.{kind}") is None
            or subprocess.run([f"mkfs.{kind}", "-q", image], check=False).returncode
        ):
            return None
        command = ["mount", "-o", "loop", str(image), str(point)]
    done = subprocess.run(command, capture_output=True, check=False)
    return point if done.returncode == 0 else None


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A directory on each kind of file system that root can make here."""
    if request.param == "here":
        (tmp_path / "here").mkdir()
        yield tmp_path / "here"
        return
    point = _mounted(request.param, tmp_path) if os.geteuid() == 0 else None
    if point is None:
        pytest.skip(f"no {request.param} can be mounted here")
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=False)


def reads(*names: Path, length: int = 4096, offset: int = 0) -> Trace:
    """One read of each file."""
    return Trace.of(Op(file_uri(name), offset, length, i, ret=length, pid=1, tid=1) for i, name in enumerate(names))


def examined(trace: Trace, output: str | None = None, **options: object) -> Plan:
    """A plan that was looked through."""
    plan = make_plan(trace, Options(**options))  # type: ignore[arg-type]
    examine(plan, output=output)
    return plan


def written(path: Path, size: int = MIB) -> Path:
    """A flushed file of real data."""
    with path.open("wb") as file:
        file.write(os.urandom(size))
        os.fsync(file.fileno())
    return path


def test_reserved_space_is_a_hole_even_when_its_zeros_are_cached(place: Path) -> None:
    """What was only reserved (fallocate) costs no device access, also after somebody read it; written data is no hole."""
    real, reserved, sparse = written(place / "real"), place / "reserved", place / "sparse"
    with reserved.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, MIB)
    with sparse.open("wb") as file:
        file.truncate(MIB)
    reserved.read_bytes()
    assert cache.holes(str(real)) == 0
    assert cache.holes(str(sparse)) == MIB
    fd = os.open(reserved, os.O_RDONLY)
    tells = extents.written(fd, MIB) is not None
    os.close(fd)
    if tells:  # tmpfs has no extents
        assert cache.holes(str(reserved)) == MIB
    plan = examined(reads(real, sparse, reserved), cache_start="cold")
    assert any("has holes" in str(problem) or "have holes" in str(problem) for problem in plan.problems)
    assert "sparse" in str(plan.problems[0])


def test_a_file_with_many_extents_is_added_up(place: Path) -> None:
    """More extents than one call returns: every second block of 4 KiB written."""
    path = place / "comb"
    with path.open("wb") as file:
        for block in range(0, 700, 2):
            os.pwrite(file.fileno(), b"x" * 4096, block * 4096)
        file.truncate(700 * 4096)
        os.fsync(file.fileno())
    assert cache.holes(str(path)) == 350 * 4096


def test_direct_reads_are_known_to_be_aligned_or_not(place: Path) -> None:
    """The alignment is the file system's own: rounding is the default, and `error` names files and counts."""
    path = written(place / "x")
    if in_memory(str(place)):
        plan = examined(reads(path), cache="direct")
        assert any("memory" in str(problem) or "refuses O_DIRECT" in str(problem) for problem in plan.problems)
        allowed = examined(reads(path), cache="direct", direct_fallback=True)
        assert allowed.problems == []
        assert any("memory" in text or "O_DIRECT" in text for text in allowed.warnings)
        return
    odd = Trace.of(Op(file_uri(path), offset, 100, offset, ret=100, pid=1, tid=1) for offset in (0, 8192, 3))
    assert examined(odd, cache="direct").problems == []
    (problem,) = examined(odd, cache="direct", direct_align="error").problems
    assert "x (3 ops, alignment" in str(problem)
    assert examined(reads(path), cache="direct", direct_align="error").problems == []


def test_the_output_is_no_recorded_file_under_any_name(tmp_path: Path) -> None:
    """--force must not let the trace of what was done replace the data: not by a symbolic and not by a hard link."""
    path = written(tmp_path / "data")
    (tmp_path / "soft").symlink_to(path)
    os.link(path, tmp_path / "hard")
    for name in ("data", "soft", "hard"):
        (problem,) = examined(reads(path), output=str(tmp_path / name)).problems
        assert "which the trace is about" in str(problem)
    assert examined(reads(path), output=str(tmp_path / "new")).problems == []
    assert examined(reads(path), output=str(written(tmp_path / "other"))).problems == []


def test_other_sizes_than_recorded_are_remarked(tmp_path: Path) -> None:
    """Shorter than what is read is refused; merely another size is said."""
    path = written(tmp_path / "x", MIB)
    trace = reads(path)
    trace.trailer = Trailer(ops=1, extra={"files": {"uri": [file_uri(path)], "size": [2 * MIB]}})
    plan = examined(trace)
    assert plan.problems == []
    assert any("another size than recorded" in text for text in plan.warnings)
    trace.trailer = Trailer(ops=1, extra={"files": {"uri": [file_uri(path)], "size": [MIB]}})
    assert not any("another size" in text for text in examined(trace).warnings)


@pytest.mark.parametrize(
    "files", [{"uri": "x", "size": 3}, {"uri": [1], "size": [2]}, {"uri": ["a"]}, {"size": [-1], "uri": ["a"]}, 7]
)
def test_a_damaged_table_of_sizes_is_passed_over(tmp_path: Path, files: object) -> None:
    """Sizes help; a trace with bad ones is still a trace."""
    trace = reads(written(tmp_path / "x"))
    trace.trailer = Trailer(ops=1, extra={"files": files})
    assert examined(trace).problems == []


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, short, sparse, unreadable, misaligned, not mapped, unknown, no offset, no descriptors: one list, no op."""
    short, sparse, odd, kept = (tmp_path / name for name in ("short", "sparse", "odd", "kept"))
    written(short, 100), written(odd), written(kept)
    with sparse.open("wb") as file:
        file.truncate(MIB)
    rows = [
        Op(file_uri(tmp_path / "gone"), 0, 10, 0), Op(file_uri(short), 0, 4096, 1, ret=4096),
        Op(file_uri(sparse), 0, 4096, 2, ret=4096), Op(file_uri(odd), 3, 10, 3, ret=10), Op("s3://bucket/key", 0, 10, 4),
        Op(file_uri(odd), None, 512, 5, ret=10), Op(file_uri(odd), 0, 0, 6, op="frobnicate"),
        Op(file_uri(kept), 0, 512, 7, ret=512),
    ]  # fmt: skip
    look = os.open

    def refusing(path, *args, **rest):
        if str(path) == str(kept):
            raise PermissionError(13, os.strerror(13), str(path))
        return look(path, *args, **rest)

    monkeypatch.setattr(os, "open", refusing)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10, 10))
    options = Options(cache="direct", direct_align="error", remap=(("/nowhere", "/else"),), cache_start="cold")
    with pytest.raises(PreflightError) as caught:
        replay(Trace.of(rows), options)
    said = "\n".join(str(problem) for problem in caught.value.problems)
    for words in (
        "gone does not exist", "short (100 B of 4 KiB) is shorter", "sparse (1 MiB) has holes", "odd (1 op, alignment", "s3://",
        "1 reads of the trace have no offset", "frobnicate (1)", "kept may not be read",
        "open files and the limit is 10", "'/nowhere'",
    ):  # fmt: skip
        assert words in said, said
    assert caught.value.exit_code == 2
    assert all(isinstance(problem, (InputError, CannotRunError, TracekitError)) for problem in caught.value.problems)


def test_an_engine_that_cannot_run_is_said_with_the_rest(tmp_path: Path) -> None:
    """Whoever mends the data must not hear of the engine only then; nothing is prepared for a run that will not be."""
    rows = [
        Op(file_uri(tmp_path / "gone"), 0, 10, 0),
        Op(file_uri(written(tmp_path / "short", 100)), 0, 4096, 1, ret=4096),
    ]
    options = {"engine": "threads", "order": "global"}
    with pytest.raises(PreflightError) as caught:
        replay(Trace.of(rows), Options(**options))
    said = "\n".join(str(problem) for problem in caught.value.problems)
    assert "gone does not exist" in said
    assert "keeps order within each stream only" in said
    with pytest.raises(CannotRunError, match="keeps order"):
        replay(Trace.of(rows[:1]), Options(prepare="random", **options))
    assert not (tmp_path / "gone").exists()
