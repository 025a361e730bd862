"""Nothing recorded is ever written to, cut or deleted, whatever a trace says and under whatever name it says it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit.replay import scratch
from tracekit.replay.engines import State
from tracekit.replay.options import Options
from tracekit.replay.session import Replay, Silent, replay
from tracekit.trace import Op, Trace
from tracekit.uri import file_uri

ENGINES = ("native", "uring", "threads")
MS = 1_000_000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Recorded data with every kind of second name: symbolic link, hard link, link to a directory."""
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    for name in ("a", "b", "deep/c"):
        (folder / name).write_bytes(name.encode() * 3000)
    (folder / "soft").symlink_to("a")
    os.link(folder / "a", folder / "hard")
    (folder / "way").symlink_to("deep")
    (folder / "dangling").symlink_to("nowhere")
    return folder


def state(folder: Path) -> dict[str, object]:
    """Everything that a write, a truncation or a deletion would change."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else os.readlink(path) if path.is_symlink() else None
        facts = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_nlink)
        found[str(path)] = (*(facts[:3] if path.is_dir() else facts), content)
    return found


def hostile(*uris: str) -> Trace:
    """For each name: opened for truncation, written at the start, far behind and at the end, flushed, read, deleted."""
    rows = []
    for uri in uris:
        kinds = (
            ("open", None, 0, "o_creat,o_trunc,o_wronly"), ("write", 0, 5000, None), ("write", 1 << 20, 10, None),
            ("write", None, 100, "o_append"), ("fsync", None, 0, None), ("close", None, 0, None), ("delete", None, 0, None),
        )  # fmt: skip
        rows += [(kind, uri, offset, length, flags) for kind, offset, length, flags in kinds]
    return Trace.of(
        Op(uri, offset, length, i * MS, op=kind, ret=length or None, flags=flags, pid=1, tid=1)
        for i, (kind, uri, offset, length, flags) in enumerate(rows)
    )


def run(trace: Trace, engine: str, **options: object) -> Replay:
    """A replay as fast as possible."""
    done = replay(trace, Options(engine=engine, pace="asap", **options))  # type: ignore[arg-type]
    assert done.run["errors"] == {}
    return done


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "name",
    [
        "a",
        "soft",
        "hard",
        "way/c",
        "deep/../a",
        "way/../a",
        "./a",
        "dangling",
        "new",
        "../data/a",
        "deep//c",
        "n\u00e9" * 60,
    ],
)
def test_no_name_leads_to_recorded_data(data: Path, engine: str, name: str) -> None:
    """Links, parents, second names, names that do not exist: writes and deletes change nothing there, nor add anything."""
    before = state(data)
    done = run(hostile(file_uri(f"{data}/{name}")), engine)
    assert [op.ret for op in done.trace if op.op == "write"] == [5000, 10, 100]
    assert state(data) == before


@pytest.mark.parametrize("engine", ENGINES)
def test_two_names_of_one_file_stay_apart_from_it(data: Path, engine: str) -> None:
    """A trace that writes by one name and reads by another reads the recorded data, untouched."""
    before = state(data)
    rows = [
        Op(file_uri(data / "hard"), 0, 3000, 0, op="write", ret=3000, pid=1, tid=1),
        Op(file_uri(data / "a"), 0, 3000, MS, ret=3000, pid=1, tid=1),
        Op(file_uri(data / "soft"), 0, 3000, 2 * MS, ret=3000, pid=1, tid=1),
        Op(file_uri(data / "hard"), None, 0, 3 * MS, op="delete", pid=1, tid=1),
    ]
    done = run(Trace.of(rows), engine)
    assert [op.ret for op in done.trace if op.op == "read"] == [3000, 3000]
    assert state(data) == before


@pytest.mark.parametrize("engine", ENGINES)
def test_a_trace_that_deletes_what_it_read_leaves_it(data: Path, engine: str) -> None:
    """Inputs are read, deleted and read again in a second turn: they are still there."""
    before = state(data)
    rows = []
    for i, name in enumerate(("a", "b", "deep/c")):
        uri = file_uri(data / name)
        rows.append(Op(uri, 0, 1000, 2 * i * MS, ret=1000, pid=1, tid=1))
        rows.append(Op(uri, None, 0, (2 * i + 1) * MS, op="delete", pid=1, tid=1))
    done = run(Trace.of(rows), engine, loop=3)
    assert [op.ret for op in done.trace if op.op == "read"] == [1000] * 9
    assert state(data) == before


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scratch", ["data", "data/way", "data/deep/.."])
def test_scratch_may_even_be_the_recorded_directory(data: Path, engine: str, scratch: str) -> None:
    """A directory of its own is made in it, and is gone afterwards."""
    before = state(data)
    run(
        hostile(*(file_uri(data / name) for name in ("a", "hard", "deep/c"))),
        engine,
        scratch=str(data.parent / scratch),
    )
    after = state(data)
    for facts in (before, after):  # making and removing a directory shows in the time of the one around it
        for path in [path for path in facts if os.path.isdir(path) and not os.path.islink(path)]:
            del facts[path]
    assert after == before


@pytest.mark.parametrize("engine", ENGINES)
def test_a_remap_onto_the_recorded_place_protects_it_too(data: Path, engine: str) -> None:
    """Also when the names of the trace only become the recorded ones by --remap."""
    before = state(data)
    trace = hostile("file:///elsewhere/a", "s3://bucket/deep/c")
    run(trace, engine, remap=(("file:///elsewhere", str(data)), ("s3://bucket", str(data))))
    assert state(data) == before


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_written_is_read_back_from_scratch(data: Path, engine: str) -> None:
    """A file that the trace writes first is read there, in its written length, and its stat and open find it there."""
    uri = file_uri(data / "result")
    rows = [
        ("open", None, 0, None), ("write", 0, 4096, 4096), ("write", 4096, 1000, 1000), ("stat", None, 0, None),
        ("read", 0, 8192, 5096), ("close", None, 0, None), ("delete", None, 0, None),
    ]  # fmt: skip
    done = run(
        Trace.of(
            Op(uri, offset, length, i * MS, op=kind, ret=ret, pid=1, tid=1)
            for i, (kind, offset, length, ret) in enumerate(rows)
        ),
        engine,
    )
    assert [op.ret for op in done.trace if op.op == "read"] == [5096]
    assert not (data / "result").exists()


@pytest.mark.parametrize("engine", ENGINES)
def test_without_writes_nothing_is_made_at_all(data: Path, engine: str) -> None:
    """--writes skip leaves them out and counts them; there is no scratch directory."""
    before = state(data.parent)
    trace = Trace.of(
        [
            Op(file_uri(data / "a"), 0, 100, 0, ret=100, pid=1, tid=1),
            Op(file_uri(data / "a"), 0, 100, MS, op="write", ret=100, pid=1, tid=1),
            Op(file_uri(data / "b"), None, 0, 2 * MS, op="delete", pid=1, tid=1),
        ]
    )
    done = run(trace, engine, writes="skip", scratch="/nonexistent")
    assert done.run["skipped"] == {"writes": 2}
    assert state(data.parent) == before


def test_hints_are_left_out_and_counted_and_unknown_words_are_refused(data: Path) -> None:
    """A reader's fadvise keeps no trace from being replayed; a word nobody knows does, unless asked not to."""
    uri = file_uri(data / "a")
    rows = [Op(uri, 0, 100, 0, ret=100, pid=1, tid=1), Op(uri, 0, 100, MS, op="fadvise", pid=1, tid=1)]
    done = run(Trace.of([*rows, Op(uri, 0, 9, 2 * MS, op="readahead", pid=1, tid=1)]), "auto")
    assert done.run["skipped"] == {"hints to the kernel": 2}
    strange = Trace.of([*rows, Op(uri, 0, 9, 2 * MS, op="frobnicate", pid=1, tid=1)])
    with pytest.raises(Exception, match=r"frobnicate \(1\)"):
        run(strange, "auto")
    assert run(strange, "auto", skip_unknown=True).run["skipped"] == {"hints to the kernel": 1, "unknown": 1}


def test_what_a_killed_replay_left_is_named(tmp_path: Path) -> None:
    """A scratch directory is somebody's while its process lives; after SIGKILL it is named, with how to be rid of it."""
    base = tmp_path / "a b"
    base.mkdir()
    code = (
        "import sys\nfrom tracekit import claims\nfrom tracekit.replay import scratch\n"
        "with claims.claimed(scratch._PREFIX, sys.argv[1]) as root:\n    print(root, flush=True)\n    sys.stdin.read()"
    )
    command = [sys.executable, "-I", "-c", code, str(base)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        root = child.stdout.readline().strip()
        assert scratch.abandoned(str(base)) == []
        child.kill()
    assert scratch.abandoned(str(base)) == [f"an earlier replay was killed and left {root} behind: rm -r '{root}'"]


def test_a_replay_holds_its_scratch_directory_and_warns_of_others(data: Path, tmp_path: Path) -> None:
    """While it runs its own is nobody's leftover; one that was left before is among the warnings, and stays."""
    (tmp_path / "tracekit-scratch-old").mkdir()
    (tmp_path / "tracekit-scratch-old" / "lock").touch()
    heard: list[str] = []
    seen: list[list[str]] = []

    class Listening(Silent):
        def warn(self, text: str) -> None:
            heard.append(text)

        def running(self, state: State, total: int) -> None:
            seen.append(scratch.abandoned(str(tmp_path)))

    trace = Trace.of(Op(file_uri(data / "a"), 0, 10, i * 20 * MS, op="write", ret=10, pid=1, tid=1) for i in range(50))
    replay(trace, Options(engine="threads"), scratch_base=str(tmp_path), listener=Listening())

    assert [text for text in heard if "was killed" in text] == scratch.abandoned(str(tmp_path)) != []
    assert seen
    assert all(found == scratch.abandoned(str(tmp_path)) for found in seen)
