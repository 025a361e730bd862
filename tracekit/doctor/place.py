"""The file system that data is on: room, reads past the page cache, and what can be told of it."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from tracekit.doctor import probe
from tracekit.doctor.check import Check
from tracekit.errors import CannotRunError, InputError
from tracekit.machine import mount_of
from tracekit.units import format_bytes
from tracekit.uri import local_path

_ALIGNMENTS = (512, 4096, 65_536)
_UNTRIED = "not tried: no readable file and no permission to make one"
_NAME_ONE = "name a file of at least 128 KiB, or a directory that you may write"


def resolved(uri: str) -> str:
    """The local path a URI names, made sure to exist and be readable."""
    if not uri:
        return os.getcwd()
    path = os.path.abspath(local_path(uri))
    if not os.path.exists(path):
        raise InputError(f"there is nothing at {path}", "check the name, or generate the data first")
    if not os.access(path, os.R_OK | (os.X_OK if os.path.isdir(path) else 0)):
        raise CannotRunError(f"{path} cannot be read", "ask for permission, or run as its owner")
    return path


def check_file_system(path: str) -> Check:
    """The file system and its free space."""
    mount = mount_of(path)
    kind = f"{mount.kind} at {mount.point}" if mount else "unknown file system"
    free = shutil.disk_usage(path if os.path.isdir(path) else os.path.dirname(path)).free
    finding = f"{kind}, {format_bytes(free)} free"
    if free < 1 << 30:
        return Check("file system", "limited", finding, "free some, or put data (--data) and traces (-o) elsewhere")
    return Check("file system", "ok", finding)


def check_direct(path: str) -> Check:
    """Whether O_DIRECT reads work there, and from which alignment on."""
    with _probe_file(path) as sample:
        if sample is None:
            return Check("O_DIRECT", "limited", _UNTRIED, _NAME_ONE)
        try:
            handle = os.open(sample, os.O_RDONLY | os.O_DIRECT)
        except OSError as error:
            return Check(
                "O_DIRECT",
                "missing",
                f"open refused: {error.strerror}",
                "name data on a disk; replay --direct-fallback reads through the page cache there and counts it",
            )
        try:
            alignment = next((size for size in _ALIGNMENTS if _reads_aligned(handle, size)), None)
        finally:
            os.close(handle)
    if alignment is None:
        return Check(
            "O_DIRECT",
            "missing",
            "reads are refused at every alignment tried",
            "name data on a disk; replay --direct-fallback does without",
        )
    return Check("O_DIRECT", "ok", f"reads aligned to {alignment} bytes work")


def _reads_aligned(handle: int, size: int) -> bool:
    # An anonymous map starts on a page; a read at offset `size` needs no more alignment than `size` itself.
    with closing(mmap.mmap(-1, max(2 * size, mmap.PAGESIZE))) as memory, memoryview(memory) as view:
        try:
            os.preadv(handle, [view[size : 2 * size]], size)
        except OSError:
            return False
    return True


def check_residency(path: str) -> Check:
    """Whether it can be measured what of a file is in the page cache: cachestat(2) is exact, mincore(2) does as well."""
    with _probe_file(path) as sample:
        if sample is None:
            return Check("cache residency", "limited", _UNTRIED, _NAME_ONE)
        handle = os.open(sample, os.O_RDONLY)
        try:
            extent, counts = (ctypes.c_uint64 * 2)(0, 0), (ctypes.c_uint64 * 5)()
            status, error = probe.system_call(451, handle, ctypes.addressof(extent), ctypes.addressof(counts), 0)
        finally:
            os.close(handle)
    if status == 0:
        return Check("cache residency", "ok", "cachestat works")
    return Check(
        "cache residency",
        "limited",
        f"cachestat: {os.strerror(error)}; mincore is used",
        "nothing to do: mincore is as exact, and slower; Linux 6.5 has cachestat",
    )


@contextmanager
def _probe_file(path: str) -> Iterator[str | None]:
    """A file of that file system to try reads on: the file itself, or a temporary one of 128 KiB; None if neither."""
    if os.path.isfile(path) and os.path.getsize(path) >= 2 * max(_ALIGNMENTS):
        yield path
        return
    directory = path if os.path.isdir(path) else os.path.dirname(path)
    try:
        handle, name = tempfile.mkstemp(prefix=".tracekit-doctor.", dir=directory)
    except OSError:
        yield path if os.path.isfile(path) else None
        return
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(bytes(2 * max(_ALIGNMENTS)))
        yield name
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)
