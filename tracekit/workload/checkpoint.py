"""Write checkpoints and read them back: each rank its shards, whole or not at all, every byte verified.

`save` and `load` are one rank's part of one checkpoint; `drive` is a whole job's: all its ranks, as threads, through as many
checkpoints as it asks for.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Barrier, BrokenBarrierError, Lock
from typing import Any

from tracekit.errors import CannotRunError, UsageError
from tracekit.storage import Buffer, Storage, storage_for
from tracekit.storage.direct import alignment
from tracekit.storage.keys import way_out_of
from tracekit.uri import scheme_of
from tracekit.workload.datagen import room
from tracekit.workload.datagen.content import BLOCK, Content, mixed
from tracekit.workload.datagen.sink import Counted
from tracekit.workload.datagen.verify import held
from tracekit.workload.job import Checkpoint
from tracekit.workload.model_size import Shard, model_of

MOST_RANKS = 256
_SUFFIX = "pt"


@dataclass(frozen=True)
class Moved:
    """What one rank did for one checkpoint, which step and epoch name: `write` or `read`, its bytes (as stored), seconds."""

    what: str
    checkpoint: int
    rank: int
    shards: int
    bytes: int
    seconds: float
    epoch: int = 1

    @property
    def place(self) -> tuple[int, int]:
        """(epoch, step)."""
        return self.epoch, self.checkpoint


class Told:
    """How far a job's checkpoints are, as several threads say it.

    Args:
        report: Called with the shards that are done and the bytes that went by.
    """

    def __init__(self, report: Callable[[int, int], None] = lambda *_: None) -> None:
        self.shards = self.bytes = 0
        self._report = report
        self._lock = Lock()

    def passing(self, pieces: Iterable[Any]) -> Iterator[Any]:
        """The pieces of a shard; each is told once it was taken, the shard with its last."""
        for piece in pieces:
            yield piece
            self._add(0, len(piece))
        self._add(1, 0)

    def _add(self, shards: int, size: int) -> None:
        with self._lock:
            self.shards += shards
            self.bytes += size
            self._report(self.shards, self.bytes)


NOBODY = Told()


def sums(moved: Sequence[Moved]) -> dict[str, Any]:
    """Sums over checkpoints that were written, or read; each takes as long as its slowest rank."""
    slowest: dict[tuple[int, int], float] = {}
    for one in moved:
        slowest[one.place] = max(slowest.get(one.place, 0.0), one.seconds)
    size, seconds = sum(one.bytes for one in moved), sum(slowest.values())
    return {
        "checkpoints": len(slowest), "bytes": size, "files": sum(one.shards for one in moved), "seconds": seconds,
        "slowest_seconds": max(slowest.values(), default=0.0), "mb_per_s": size / 1e6 / seconds if seconds else None,
    }  # fmt: skip


def save(checkpoint: Checkpoint, rank: int, step: int, *, epoch: int = 1, ranks: int = 1, told: Told = NOBODY) -> Moved:
    """Write a rank's shards of one checkpoint.

    Args:
        checkpoint: Where to, and its settings: `fsync` waits until the device has each file, `randomize_tensor` false is zeros
            instead of noise, `zstd` a level of compression.
        rank: Whose.
        step: After which step; with the epoch it names the checkpoint, as DLIO does.
        epoch: After which epoch.
        ranks: How many ranks the job has.
        told: Hears how far it is.

    Raises:
        CannotRunError: If something cannot be written.
    """
    storage = storage_for(checkpoint.uri)
    folder = _folder(storage, checkpoint, epoch, step)
    begin, written = time.monotonic(), 0
    shards = model_of(checkpoint, ranks).shards(rank)
    try:
        if storage.local:
            os.makedirs(folder, exist_ok=True)
        for shard in shards:
            pieces = told.passing(_stored(checkpoint, shard, epoch, step))
            count = Counted(pieces, keep=not storage.local)
            place = f"{folder}/{shard.name}.{_SUFFIX}"
            if storage.local:
                sync, direct = bool(checkpoint.settings.get("fsync")), scheme_of(checkpoint.uri).direct
                _write_file(place, count, sync=sync, direct=direct)
            else:
                storage.write(place, count)  # an object is durable when its store answers
            written += count.bytes
    except OSError as error:
        raise CannotRunError(
            f"{folder} cannot be written: {error.strerror}",
            way_out_of(error, "make room, or name another place with --to"),
        ) from None
    return Moved("write", step, rank, len(shards), written, time.monotonic() - begin, epoch)


def load(checkpoint: Checkpoint, rank: int, step: int, *, epoch: int = 1, ranks: int = 1, told: Told = NOBODY) -> Moved:
    """Read a rank's shards of one checkpoint and hold every byte against what was written.

    Raises:
        CannotRunError: If something cannot be read.
        InputError: If a byte is another, or a shard is shorter or longer.
    """
    storage = storage_for(checkpoint.uri)
    folder = _folder(storage, checkpoint, epoch, step)
    begin, count = time.monotonic(), 0
    shards = model_of(checkpoint, ranks).shards(rank)
    buffer = Buffer(BLOCK)
    for shard in shards:
        place = f"{folder}/{shard.name}.{_SUFFIX}"
        try:
            pieces = told.passing(_stored(checkpoint, shard, epoch, step))
            count += held(storage, place, buffer, pieces, "the storage lost or changed data")
        except OSError as error:
            raise CannotRunError(f"{place} cannot be read: {error.strerror}", "write the checkpoint first") from None
    return Moved("read", step, rank, len(shards), count, time.monotonic() - begin, epoch)


def drive(
    checkpoint: Checkpoint, ranks: int, writes: int, reads: int, per_host: int = 0, told: Told = NOBODY
) -> list[Moved]:
    """All ranks of a job, each a thread, through its checkpoints: first all are written, then the first `reads` are read.

    Args:
        checkpoint: Where to, and its settings; `rank_sync` has all ranks wait for each other after each, with
            `recovery_rank_shift` each reads what a rank of the next host wrote, `time_between_checkpoints` are seconds.
        ranks: How many.
        writes: Checkpoints to write.
        reads: Checkpoints to read.
        per_host: Ranks of a host, for the shift; 0 is all, and then there is no other host.
        told: Hears how far it is.

    Raises:
        UsageError: If the model cannot be spread over so many ranks.
        InputError: If it does not fit, or what is read is not what was written.
        CannotRunError: If something cannot be written or read.
    """
    check(checkpoint, ranks, writes)
    barrier = Barrier(ranks)
    with ThreadPoolExecutor(ranks) as pool:
        jobs = [
            pool.submit(_rank, checkpoint, rank, ranks, (writes, reads), per_host or ranks, barrier, told)
            for rank in range(ranks)
        ]
        errors = [error for job in jobs if (error := job.exception()) is not None]
        if errors:
            # Those who waited for one that failed are not the cause.
            raise next((error for error in errors if not isinstance(error, BrokenBarrierError)), errors[0])
    return [moved for job in jobs for moved in job.result()]


def total_bytes(checkpoint: Checkpoint, ranks: int) -> int:
    """Bytes of one checkpoint of all ranks, uncompressed."""
    return model_of(checkpoint, ranks).total_bytes()


def check(checkpoint: Checkpoint, ranks: int, writes: int, option: str = "--to") -> None:
    """Refuse what cannot be: a model that does not go into so many ranks, more than there is room for.

    Raises:
        UsageError: If the ranks do not fit the model's parallelism; mode `subset` takes fewer.
        InputError: If there is no room.
    """
    group = model_of(checkpoint, ranks).group
    if ranks > MOST_RANKS:
        raise UsageError(
            f"{ranks} ranks are more than one machine plays ({MOST_RANKS})",
            "write part of them with mode: subset and --ranks",
        )
    if ranks % group and checkpoint.settings.get("mode", "default") != "subset":
        raise UsageError(
            f"{ranks} ranks do not hold a model of {group} parts (tensor × pipeline)",
            f"write --ranks {group} or a multiple, or checkpoint.mode: subset for the first ranks only",
        )
    what = "the checkpoint" if writes == 1 else f"a run of {writes} checkpoints"
    room.check(checkpoint.uri, writes * total_bytes(checkpoint, ranks), 0, what, option)


def _rank(
    checkpoint: Checkpoint, rank: int, ranks: int, counts: tuple[int, int], per_host: int, barrier: Barrier, told: Told
) -> list[Moved]:
    writes, reads = counts
    pause = float(checkpoint.settings.get("time_between_checkpoints", 0) or 0)
    shift = per_host if checkpoint.settings.get("recovery_rank_shift") else 0
    found = []
    try:
        for number in range(writes):
            found.append(save(checkpoint, rank, number + 1, ranks=ranks, told=told))
            _between(checkpoint, barrier, pause if number + 1 < writes else 0.0)
        # Nobody reads what another is still writing.
        barrier.wait()
        for number in range(reads):
            found.append(load(checkpoint, (rank + shift) % ranks, number + 1, ranks=ranks, told=told))
            _between(checkpoint, barrier, pause if number + 1 < reads else 0.0)
    except BaseException:
        barrier.abort()
        raise
    return found


def _between(checkpoint: Checkpoint, barrier: Barrier, pause: float) -> None:
    if checkpoint.settings.get("rank_sync"):
        barrier.wait()
    if pause > 0:
        time.sleep(pause)


def _folder(storage: Storage, checkpoint: Checkpoint, epoch: int, step: int) -> str:
    return f"{storage.resolve(checkpoint.uri).rstrip('/')}/global_epoch{epoch}_step{step}"


def _stored(checkpoint: Checkpoint, shard: Shard, epoch: int, step: int) -> Iterator[Any]:
    """The bytes of a shard as they are stored."""
    pieces: Iterator[Any]
    if checkpoint.settings.get("randomize_tensor", True):
        # Of every shard of every checkpoint others; the same again when it is read.
        key = mixed(int.from_bytes(f"{epoch} {step} {shard.name}".encode(), "little")) >> 24
        pieces = Content(step).blocks(key, shard.size)
    else:
        pieces = (memoryview(bytes(min(BLOCK, shard.size - at))) for at in range(0, shard.size, BLOCK))
    level = checkpoint.settings.get("zstd")
    if not level:
        return pieces
    import pyarrow as pa

    codec = pa.Codec("zstd", int(level))
    # A frame per piece: decoders take frames one after the other (RFC 8878, 3).
    return (codec.compress(pa.py_buffer(piece), asbytes=True) for piece in pieces)


def _aligned(file: int, pieces: Iterable[Any], place: str) -> Iterator[memoryview]:
    """Pieces as O_DIRECT takes them: whole blocks in aligned memory. The last is filled up, and what was too much is cut off.

    Raises:
        CannotRunError: If the file system refuses O_DIRECT.
    """
    align = alignment(file)
    if align is None:
        raise CannotRunError(f"{place} cannot be written with O_DIRECT: its file system refuses it", "use file://")
    buffer, held, size = Buffer(BLOCK), 0, 0
    for piece in pieces:
        left = memoryview(piece).cast("B")
        while left:
            take = min(len(left), buffer.size - held)
            buffer.view[held : held + take] = left[:take]
            left, held, size = left[take:], held + take, size + take
            if held == buffer.size:
                yield buffer.view
                held = 0
    if held:
        whole = -(-held // align) * align
        buffer.view[held:whole] = bytes(whole - held)
        yield buffer.view[:whole]
        os.ftruncate(file, size)


def _write_file(place: str, pieces: Iterable[Any], *, sync: bool, direct: bool = False) -> None:
    """A file under its name when it is whole, and with `sync` when the device has it and its name; past the page cache if `direct`."""
    part = f"{place}.{secrets.token_hex(4)}.part"
    try:
        file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | (os.O_DIRECT if direct else 0), 0o666)
        try:
            for piece in _aligned(file, pieces, place) if direct else pieces:
                left = memoryview(piece)
                while left:
                    left = left[os.write(file, left) :]
            if sync:
                os.fsync(file)
        finally:
            os.close(file)
        os.replace(part, place)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(part)
        raise
    if sync:
        folder = os.open(os.path.dirname(place), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
