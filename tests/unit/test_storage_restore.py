"""Restoring which pages of a file are resident."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tracekit.pages import Bitmap
from tracekit.storage import cache, restore
from tracekit.storage.restore import PAGE, Agreement

pytestmark = pytest.mark.pages

MIB = 1 << 20


def made(path: Path, size: int) -> str:
    """A flushed file of random bytes."""
    with path.open("wb") as file:
        file.write(os.urandom(size))
        os.fsync(file.fileno())
    if restore.look(str(path)) is None:
        pytest.skip("this kernel does not tell residency")
    return str(path)


def pattern(pages: int, kind: str) -> Bitmap:
    """A bitmap of a kind."""
    bits = np.zeros(pages, np.bool_)
    if kind == "half":
        bits[pages // 3 : pages // 3 + pages // 2] = True
    elif kind == "every third":
        bits[::3] = True
    elif kind == "random":
        bits = np.random.default_rng(7).random(pages) < 0.3
    elif kind == "ends":
        bits[[0, -1]] = True
    elif kind == "all":
        bits[:] = True
    return bits


@pytest.mark.parametrize("kind", ["half", "every third", "random", "ends", "all", "none"])
@pytest.mark.parametrize("before", ["cold", "warm"])
def test_pages_are_restored_exactly(tmp_path: Path, kind: str, before: str) -> None:
    """Whatever was cached before, exactly the wanted pages are resident afterwards: none missing, none read ahead."""
    path = made(tmp_path / "x", 24 * MIB + 777)  # longer than a read-ahead window of 8 MiB
    if before == "cold":
        cache.drop(path)
    else:
        cache.fill(path)
    wanted = pattern(24 * MIB // PAGE + 1, kind)
    found = restore.restore(path, wanted)
    assert found == Agreement(len(wanted), 0, 0)
    now = restore.look(path)
    assert now is not None
    assert now.tolist() == wanted.tolist()


def test_dirty_pages_are_written_out_first(tmp_path: Path) -> None:
    """What was just written can be dropped, and its content stays."""
    path = made(tmp_path / "x", MIB)
    data = os.urandom(MIB)
    Path(path).write_bytes(data)
    found = restore.restore(path, pattern(MIB // PAGE, "every third"))
    assert found == Agreement(MIB // PAGE, 0, 0)
    assert Path(path).read_bytes() == data


def test_pages_that_somebody_holds_are_counted(tmp_path: Path) -> None:
    """A mapped and touched page cannot be dropped: it is extra, and it is said."""
    import mmap

    path = made(tmp_path / "x", MIB)
    cache.fill(path)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as held:
        assert sum(held[::PAGE]) >= 0
        found = restore.restore(path, np.zeros(MIB // PAGE, np.bool_))
    assert found is not None
    assert found.extra > 0
    assert found.missing == 0
    assert found.share < 0.999


def test_a_file_of_another_length_is_not_restored(tmp_path: Path) -> None:
    """A bitmap for another size is refused by None, not by guessing."""
    path = made(tmp_path / "x", MIB)
    assert restore.restore(path, np.zeros(3, np.bool_)) is None


def test_without_cachestat_mincore_shows_the_same_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older kernel gives the same map, in windows."""
    path = made(tmp_path / "x", 3 * MIB)
    wanted = pattern(3 * MIB // PAGE, "random")
    restore.restore(path, wanted)
    monkeypatch.setattr(cache, "cached_pages", lambda *_: None)
    monkeypatch.setattr(restore, "_WINDOW_PAGES", 100)
    now = restore.look(path)
    assert now is not None
    assert now.tolist() == wanted.tolist()


def test_who_may_not_know_is_told_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To strangers mincore shows every page as resident: not known is None."""
    path = made(tmp_path / "x", MIB)
    monkeypatch.setattr(cache, "cached_pages", lambda *_: None)
    monkeypatch.setattr(cache, "_may_know", lambda _: False)
    assert restore.look(path) is None
    assert restore.restore(path, np.zeros(MIB // PAGE, np.bool_)) is None


def test_agreements_add_up() -> None:
    """Missing and extra pages count alike."""
    total = Agreement(900, 1, 2) + Agreement(100, 0, 7)
    assert total == Agreement(1000, 1, 9)
    assert total.share == pytest.approx(0.99)
    assert Agreement().share == 1.0
