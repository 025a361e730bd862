"""The page cache at the start of a replay: cold, warm, as recorded; reached, verified, or said."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np
import pytest

from tracekit.errors import InputError
from tracekit.pages import PageState, to_gaps, to_json
from tracekit.replay import start_state
from tracekit.replay.options import Options
from tracekit.replay.session import Replay, Silent, replay
from tracekit.storage import cache, restore
from tracekit.storage.restore import PAGE
from tracekit.trace import Op, Trace, Trailer
from tracekit.uri import file_uri

pytestmark = pytest.mark.pages

MIB = 1 << 20
MS = 1_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four files of 4 MiB, flushed; the test needs a kernel that tells what is cached."""
    place = tmp_path / "data"
    place.mkdir()
    for name in "abcd":
        with (place / name).open("wb") as file:
            file.write(os.urandom(4 * MIB))
            os.fsync(file.fileno())
    if restore.look(str(place / "a")) is None:
        pytest.skip("this kernel does not tell residency")
    return place


def trace_of(folder: Path, states: dict[str, PageState], unknown: tuple[str, ...] = ()) -> Trace:
    """One small read per file of `abcd`, recorded with these states of their pages."""
    rows = [Op(file_uri(folder / name), 0, 10, i * MS, ret=10, pid=1, tid=1) for i, name in enumerate("abcd")]
    named = {file_uri(folder / name): state for name, state in states.items()}
    table = to_json(named, [file_uri(folder / name) for name in unknown])
    return Trace.of(rows, trailer=Trailer(ops=4, residency={"files": table}))


def states() -> dict[str, PageState]:
    """All pages, none, a half, and every third."""
    pages = 4 * MIB // PAGE
    half, third = np.zeros(pages, np.bool_), np.zeros(pages, np.bool_)
    half[: pages // 2], third[::3] = True, True
    return {
        "a": PageState(4 * MIB, pages),
        "b": PageState(4 * MIB, 0),
        "c": PageState(4 * MIB, pages // 2, to_gaps(half)),
        "d": PageState(4 * MIB, int(third.sum()), to_gaps(third)),
    }


def residency_of(done: Replay) -> dict[str, object]:
    """What the trailer says."""
    assert done.trace.trailer is not None
    return dict(done.trace.trailer.residency)


class Listening(Silent):
    """Remembers warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        """Remember."""
        self.warnings.append(text)


@pytest.mark.parametrize("before", ["cold", "warm"])
def test_the_recorded_pages_are_resident_when_the_run_begins(folder: Path, before: str) -> None:
    """Whatever was cached, each file starts with exactly its recorded pages, and the trailer says that it was verified."""
    for path in folder.iterdir():
        (cache.drop if before == "cold" else cache.fill)(str(path))
    done = replay(trace_of(folder, states()), Options(cache_start="recorded"))
    facts = residency_of(done)
    pages = 4 * MIB // PAGE
    assert facts["start"] == "recorded"
    assert facts["verified"] == {"pages": 4 * pages, "missing": 0, "extra": 0}
    assert facts["before"] == {"pages": 4 * pages, "resident": pages + pages // 2 + -(-pages // 3)}
    assert facts["files"] == {"whole": 2, "exact": 2}
    assert facts["notes"] == []
    assert facts["after"]["resident"] >= facts["before"]["resident"]  # type: ignore[index]


def test_files_under_new_names_take_their_recorded_pages_along(folder: Path, tmp_path: Path) -> None:
    """Through --remap, page by page where the sizes agree and by share where they do not."""
    new = tmp_path / "new"
    new.mkdir(exist_ok=True)
    for name in "abc":
        (new / name).write_bytes(os.urandom(4 * MIB))
    (new / "d").write_bytes(os.urandom(2 * MIB))
    listener = Listening()
    options = Options(cache_start="recorded", remap=((str(folder), str(new)),))
    facts = residency_of(replay(trace_of(folder, states()), options, listener=listener))
    assert facts["verified"]["missing"] == facts["verified"]["extra"] == 0  # type: ignore[index]
    assert facts["files"] == {"whole": 2, "exact": 1, "scaled": 1}
    third = restore.look(str(new / "d"))
    assert third is not None
    assert 0.3 < float(third.mean()) < 0.37
    assert any("1 file of another size than recorded" in text for text in listener.warnings)
    assert any("another size" in text for text in facts["notes"])  # type: ignore[attr-defined]


def test_a_file_nothing_is_known_of_is_left_as_it_is_and_said(folder: Path) -> None:
    """Not known is not cold."""
    cache.fill(str(folder / "d"))
    known = {name: state for name, state in states().items() if name != "d"}
    done = replay(trace_of(folder, known, unknown=("d",)), Options(cache_start="recorded"))
    found = restore.look(str(folder / "d"))
    assert found is not None
    assert found.all()
    assert residency_of(done)["files"] == {"whole": 2, "exact": 1, "unknown": 1}
    assert any("of 1 file was in the page cache" in reason for reason in done.run["reasons"])


def test_a_recording_without_the_table_is_refused(folder: Path) -> None:
    """Before the first op, with what to do instead."""
    bare = Trace.of([Op(file_uri(folder / "a"), 0, 10, 0, ret=10, pid=1, tid=1)])
    with pytest.raises(InputError, match="does not say what was in the page cache") as caught:
        replay(bare, Options(cache_start="recorded"))
    assert "--cache-start cold" in caught.value.way_out


def test_pages_that_cannot_be_dropped_are_a_reason_of_the_run(folder: Path) -> None:
    """A file that somebody has mapped keeps its pages, in every start that wants it otherwise."""
    cache.fill(str(folder / "b"))
    with open(folder / "b", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as held:
        assert sum(held[::PAGE]) >= 0
        for start, sentence in (("recorded", "asked to start as recorded"), ("cold", "asked to start cold")):
            done = replay(trace_of(folder, states()), Options(cache_start=start))
            assert residency_of(done)["verified"]["extra"] > 0  # type: ignore[index]
            assert any(sentence in reason for reason in done.run["reasons"])


def test_a_system_that_does_not_tell_is_a_reason_of_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a way to verify, the state is not claimed."""
    monkeypatch.setattr(cache, "cached_pages", lambda *_: None)
    monkeypatch.setattr(cache, "incore", lambda *_: None)
    done = replay(trace_of(folder, states()), Options(cache_start="warm"))
    assert residency_of(done)["verified"] is None
    assert residency_of(done)["before"] is None
    assert any("does not tell" in reason for reason in done.run["reasons"])


def test_the_machines_cache_is_dropped_before_the_recorded_state_is_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--drop-cache with --cache-start recorded empties everything first."""
    order: list[str] = []
    reach = start_state._reach
    monkeypatch.setattr(cache, "drop_everything", lambda: order.append("machine") or "")
    monkeypatch.setattr(start_state, "_reach", lambda target: order.append("file") or reach(target))
    facts = residency_of(replay(trace_of(folder, states()), Options(cache_start="recorded", drop_cache=True)))
    assert order == ["machine", *["file"] * 4]
    assert facts["verified"] == {"pages": 4096, "missing": 0, "extra": 0}
