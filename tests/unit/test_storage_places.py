"""Files, direct files, memory, and the page cache."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tracekit.errors import UnknownSchemeError
from tracekit.storage import Access, Buffer, LocalStorage, MemoryStorage, ObjectStorage, cache, direct, storage_for
from tracekit.storage.cache import Residency
from tracekit.storage.direct import DirectHandle, alignment, open_direct, round_outwards

SIZE = 300_000


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A file of real blocks, written out."""
    name = tmp_path / "data"
    with name.open("wb") as file:
        file.write(os.urandom(SIZE))
        os.fsync(file.fileno())
    return str(name)


@pytest.fixture
def direct_handle(path: str) -> DirectHandle:
    """The file opened with O_DIRECT, where its file system allows it."""
    handle = open_direct(path)
    if handle is None:
        pytest.skip("this file system refuses O_DIRECT")
    return handle


# -- handles ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["default", "random", "sequential"])
def test_every_policy_reads_the_same_bytes(path: str, policy: str) -> None:
    """Advice changes the cache, not the data."""
    handle = LocalStorage().open(path, Access(policy))
    buffer = Buffer(1000)
    assert handle.pread(buffer, 1000, 777) == 1000
    assert bytes(buffer.view[:1000]) == Path(path).read_bytes()[777:1777]
    assert (handle.size, handle.direct, handle.fell_back) == (SIZE, False, False)
    handle.close()
    handle.close()


def test_advice_is_given_to_the_kernel(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy reaches posix_fadvise on the handle's own descriptor."""
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, _offset, _length, advice: given.append((fd, advice)))
    handle = LocalStorage().open(path, Access("random"))
    assert given == [(handle.fileno(), os.POSIX_FADV_RANDOM)]
    LocalStorage().open(path, Access("default")).close()
    assert len(given) == 1
    handle.close()


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, 512, (0, 512)), (1, 1, (0, 512)), (511, 2, (0, 1024)), (512, 512, (512, 512)), (1000, 0, (512, 0)), (513, 1023, (512, 1024)),
    ],
)  # fmt: skip
def test_a_range_is_rounded_outwards(offset: int, length: int, expected: tuple[int, int]) -> None:
    """Start down, end up, empty stays empty."""
    assert round_outwards(offset, length, 512) == expected


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 4096), (5, 10), (4000, 5000), (SIZE - 100, 100), (SIZE - 100, 5000), (SIZE, 10)]
)
def test_a_direct_read_delivers_what_was_asked(
    direct_handle: DirectHandle, path: str, offset: int, length: int
) -> None:
    """Whatever is issued around it, the delivered bytes are those of the request, also across the end of the file."""
    buffer = Buffer(length + 2 * 4096)
    first, span = direct_handle.span(offset, length)
    assert first % direct_handle.align == span % direct_handle.align == 0
    result = direct_handle.pread(buffer, span, first)
    expected = Path(path).read_bytes()[offset : offset + length]
    assert direct_handle.delivered(offset, length, result) == len(expected)
    assert bytes(buffer.view[offset - first : offset - first + len(expected)]) == expected
    direct_handle.close()


def test_a_direct_read_leaves_no_pages_behind(direct_handle: DirectHandle, path: str) -> None:
    """O_DIRECT goes past the page cache."""
    cache.drop(path)
    first, span = direct_handle.span(0, SIZE)
    direct_handle.pread(Buffer(SIZE + 8192), span, first)
    found = cache.residency([path])
    assert found is None or found.resident == 0
    direct_handle.close()


def test_alignment_can_be_probed_where_the_kernel_does_not_tell(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without STATX_DIOALIGN single reads find it."""
    handle = open_direct(path)
    if handle is None:
        pytest.skip("this file system refuses O_DIRECT")
    monkeypatch.setattr(direct, "_told", lambda _: None)
    probed = alignment(handle.fileno())
    assert probed in (512, 4096)
    assert probed is not None
    assert probed >= handle.align or handle.align == 4096
    handle.close()


def test_a_file_system_that_says_no_is_a_refusal(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of refusing are understood: EINVAL at open, and an alignment of 0."""
    monkeypatch.setattr(direct, "_told", lambda _: (0, 0))
    assert open_direct(path) is None
    opened = os.open

    def refuse(name: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
        return opened(name, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    assert open_direct(path) is None
    with pytest.raises(OSError, match="O_DIRECT is refused"):
        LocalStorage().open(path, Access("direct"))
    handle = LocalStorage().open(path, Access("direct", fallback=True))
    assert (handle.fell_back, handle.direct) == (True, False)
    handle.close()


def test_other_errors_of_direct_opens_are_raised(tmp_path: Path) -> None:
    """A missing file is missing, not a refusal."""
    with pytest.raises(FileNotFoundError):
        open_direct(str(tmp_path / "no"))


def test_a_buffer_gives_memory_back_and_stays_usable() -> None:
    """What is trimmed reads as zeros and can be written again."""
    buffer = Buffer(64 * 1024)
    assert buffer.address % 4096 == 0
    buffer.view[:] = b"x" * buffer.size
    buffer.trim(100)
    assert bytes(buffer.view[:4096]) == b"x" * 4096
    assert bytes(buffer.view[4096:]) == bytes(buffer.size - 4096)
    buffer.view[5000] = 7
    buffer.trim(1 << 30)
    assert buffer.view[5000] == 7


def test_a_directory_is_listed_to_its_end(tmp_path: Path) -> None:
    """A listing counts entries, a look tells directories, files and the rest apart."""
    for name in "abc":
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "fifo")
    storage = LocalStorage()
    assert storage.list(str(tmp_path)) == 4
    assert [storage.look(str(tmp_path / name)).kind for name in (".", "a", "fifo")] == ["directory", "file", "other"]


def test_memory_storage_behaves_like_a_place() -> None:
    """Present, absent and failing objects, as an engine meets them."""
    storage = MemoryStorage({"m/a": b"abc", "m/b": b""}, failing={"m/bad": errno.EIO})
    assert (storage.stat("m/a"), storage.list("m/"), storage.look("m/b").size) == (3, 2, 0)
    with pytest.raises(FileNotFoundError):
        storage.open("m/none", Access())
    with pytest.raises(OSError, match="Input/output"):
        storage.open("m/bad", Access()).pread(Buffer(1), 1, 0)
    storage.touch_close(storage.touch_open("m/a"))
    assert storage.opened == 0


def test_the_scheme_chooses_the_storage() -> None:
    """Local schemes and bare paths are local; object stores and strangers are one sentence."""
    assert {type(storage_for(uri)) for uri in ("file:///a", "direct:///a", "/a", "a")} == {LocalStorage}
    assert {type(storage_for(uri)) for uri in ("s3://bucket/key", "az://container/blob")} == {ObjectStorage}
    with pytest.raises(UnknownSchemeError, match="did you mean file"):
        storage_for("fil:///a")


# -- page cache ---------------------------------------------------------------------------------------------------------


def test_residency_follows_filling_and_dropping(path: str) -> None:
    """All pages after reading the file, none after dropping it."""
    assert cache.fill(path) == SIZE
    full = cache.residency([path])
    if full is None:
        pytest.skip("this kernel does not tell residency")
    assert full == Residency(74, 74)
    assert full.share == 1.0
    cache.drop(path)
    assert cache.residency([path]) == Residency(74, 0)


def test_dirty_pages_are_dropped_too(tmp_path: Path) -> None:
    """What was just written is flushed first, because dirty pages cannot be dropped."""
    fresh = tmp_path / "fresh"
    fresh.write_bytes(os.urandom(SIZE))
    cache.drop(str(fresh))
    found = cache.residency([str(fresh)])
    assert found is None or found.resident == 0


def test_mincore_agrees_with_cachestat(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way for older kernels counts the same pages."""
    cache.fill(path)
    before = cache.residency([path])
    monkeypatch.setattr(cache, "cached_pages", lambda *_: None)
    assert cache.residency([path]) == Residency(74, 74)
    assert before in (None, Residency(74, 74))
    cache.drop(path)
    assert cache.residency([path]) == Residency(74, 0)


def test_a_system_that_does_not_tell_is_none(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not knowing is not zero."""
    monkeypatch.setattr(cache, "cached_pages", lambda *_: None)
    monkeypatch.setattr(cache, "incore", lambda *_: None)
    assert cache.residency([path]) is None


def test_unreadable_files_count_nothing(path: str) -> None:
    """A file that is gone neither fails the sum nor adds to it; an empty file has no pages."""
    empty = path + ".empty"
    Path(empty).touch()
    found = cache.residency([path + ".gone", empty])
    assert found in (None, Residency(0, 0))
    assert Residency().share == 0.0


def test_holes_are_found_wherever_they_are(tmp_path: Path) -> None:
    """At the start, in the middle, at the end, everywhere, nowhere."""
    block = 1 << 16
    layouts = {"_X_": 2, "X_X": 1, "X__": 2, "___": 3, "XXX": 0}
    for layout, expected in layouts.items():
        path = tmp_path / layout
        with path.open("wb") as file:
            for index, part in enumerate(layout):
                if part == "X":
                    file.seek(index * block)
                    file.write(os.urandom(block))
            file.truncate(len(layout) * block)
        assert cache.holes(str(path)) == expected * block, layout


def test_dropping_everything_says_why_it_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without permission the machine's cache stays, and the sentence names the file."""
    monkeypatch.setattr(cache, "_DROP_CACHES", "/proc/version")
    monkeypatch.setattr(os, "sync", lambda: None)
    assert "/proc/version" in cache.drop_everything()


def test_a_file_that_has_its_name_is_not_removed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write ends with the rename: nothing is asked of a part that is there no more."""
    monkeypatch.setattr(os, "unlink", lambda name: pytest.fail(f"{name} was removed"))
    LocalStorage().write(str(tmp_path / "a"), b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["a"]
