"""How a loader reads: `LoaderOptions` and `PoolConfig`. Every option acts; an unknown one is an error with a proposal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from tracekit.errors import UnknownNameError, UsageError
from tracekit.units import format_bytes, parse_bytes

READER_MODES = ("sequential", "range")
LOADING_MODES = ("data", "discard")
PAGE_CACHE_MODES = ("default", "random", "sequential", "direct")
SHARD_MODES = ("turns", "strided", "blocks")
INDEX_MODES = ("none", "uniform", "zipfian")
DEFAULT_REQUEST_BYTES = 8 << 20
DEFAULT_IN_FLIGHT_BYTES = 256 << 20
# O_DIRECT takes multiples of the device's block; none known is larger.
DIRECT_BYTES = 4096
# Direct reads of one thread that are under way at once: a device serves several in the time of one, and more bring nothing.
DIRECT_DEPTH = 32

_ZIPFIAN = re.compile(r"zipfian(?:\(\s*([0-9.eE+-]+)\s*\))?")
_DEFAULT_THETA = 0.99
_Options = TypeVar("_Options", "LoaderOptions", "PoolConfig")
# A year: what the system waits for at most is not much more.
_LONGEST_S = 365 * 86400
_SIZES = ("target_request_bytes", "max_bytes_in_flight")


@dataclass(frozen=True)
class PoolConfig:
    """The threads that read, where they are to differ from `num_workers` and `prefetch`.

    Args:
        pool_size: Threads that read; each has one request under way, with O_DIRECT its share of `max_inflight`.
        readahead_batches: Batches made ahead of the consumer.
        max_inflight: Requests under way at once, over all threads.
        batch_timeout_s: Seconds the consumer waits for a batch before it is an error.

    Raises:
        UsageError: If a number is impossible.
    """

    pool_size: int = 16
    readahead_batches: int = 4
    max_inflight: int = 64
    batch_timeout_s: float = 600.0

    def __post_init__(self) -> None:
        for name in ("pool_size", "readahead_batches", "max_inflight"):
            _whole(self, name, 1)
        timeout: Any = self.batch_timeout_s
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= _LONGEST_S:
            raise UsageError(f"batch_timeout_s is {timeout!r}", "write seconds above 0")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> PoolConfig:
        """Made of a mapping (errors: UnknownNameError, UsageError)."""
        return _made(cls, given, "pool option")


@dataclass(frozen=True)
class LoaderOptions:
    """How a loader reads.

    Args:
        batch_size: Samples per batch.
        num_workers: Threads that read; 0 reads in the consumer's own, when it asks. With O_DIRECT each has up to 32 requests of a batch
            under way at once, where an io_uring is permitted; `pool` says otherwise.
        prefetch: Batches made ahead of the consumer.
        shuffle: Whether every epoch has an order of its own, drawn from `seed` and the epoch's number.
        seed: Of order and random indices.
        drop_last: Leave out a last batch that is not full.
        reader_mode: `sequential` reads a sample from front to back in one thread, `range` its requests in several.
        loading_mode: `data` hands samples over, `discard` reads them and throws the bytes away.
        target_request_bytes: The most that one request asks for; by default 8 MiB, or what the cap leaves to each thread.
        max_bytes_in_flight: The most that is held for batches ahead and in the consumer's hands. Samples that do not fit
            are handed over unread and read in pieces.
        random_index_mode: `none`; `uniform` or `zipfian(theta)` draw samples with replacement, as many as there are.
        page_cache_mode: `default`, `random`, `sequential` (posix_fadvise) or `direct` (O_DIRECT).
        shard_rank: Which share of the samples is read here, from 0.
        shard_world_size: How many shares there are.
        shard_mode: `turns` deals the order of each epoch anew; with `strided` (every so many-th sample) and `blocks` (neighbours) a rank
            has the same samples in every epoch, shuffled by themselves.
        pool: The threads, where they are to differ from `num_workers` and `prefetch`.

    Raises:
        UnknownNameError: If a mode does not exist.
        UsageError: If a number is impossible.
    """

    batch_size: int = 32
    num_workers: int = 4
    prefetch: int = 2
    shuffle: bool = False
    seed: int = 0
    drop_last: bool = False
    reader_mode: str = "sequential"
    loading_mode: str = "data"
    target_request_bytes: int | None = None
    max_bytes_in_flight: int = DEFAULT_IN_FLIGHT_BYTES
    random_index_mode: str = "none"
    page_cache_mode: str = "default"
    shard_rank: int = 0
    shard_world_size: int = 1
    shard_mode: str = "turns"
    pool: PoolConfig | None = None

    def __post_init__(self) -> None:
        for name, least in (
            ("batch_size", 1), ("num_workers", 0), ("prefetch", 1), ("seed", 0), ("max_bytes_in_flight", 1), ("shard_rank", 0),
            ("shard_world_size", 1),
        ):  # fmt: skip
            _whole(self, name, least)
        if self.target_request_bytes is not None:
            _whole(self, "target_request_bytes", 1)
        if self.pool is not None and not isinstance(self.pool, PoolConfig):
            raise UsageError(f"pool is {self.pool!r}", "write its options, as in {pool_size: 8}")
        for name in ("shuffle", "drop_last"):
            if not isinstance(getattr(self, name), bool):
                raise UsageError(f"{name} is {getattr(self, name)!r}", "write true or false")
        _known("reader_mode", self.reader_mode, READER_MODES)
        _known("loading_mode", self.loading_mode, LOADING_MODES)
        _known("page_cache_mode", self.page_cache_mode, PAGE_CACHE_MODES)
        _known("shard_mode", self.shard_mode, SHARD_MODES)
        self._check_indices()
        self._check_together()

    def _check_indices(self) -> None:
        mode = self.index_mode
        if mode not in INDEX_MODES:
            _known("random_index_mode", self.random_index_mode, ("none", "uniform", "zipfian", "zipfian(0.99)"))
        if mode == "zipfian" and not 0 < self.theta <= 16:
            raise UsageError(f"random_index_mode is {self.random_index_mode!r}", "theta lies above 0 and at most at 16")
        if mode != "none" and self.shuffle:
            raise UsageError(
                f"shuffle and random_index_mode {self.random_index_mode!r} exclude each other",
                "random indices are in random order already; leave shuffle out",
            )

    def _check_together(self) -> None:
        if self.shard_rank >= self.shard_world_size:
            raise UsageError(f"shard_rank is {self.shard_rank} of {self.shard_world_size} shards", "ranks count from 0")
        if self.page_cache_mode == "direct" and (self.target_request_bytes or 0) % DIRECT_BYTES:
            raise UsageError(
                f"target_request_bytes is {self.target_request_bytes}, and O_DIRECT reads multiples of {DIRECT_BYTES}",
                "round it",
            )
        least = 2 * self.threads * self.request_bytes
        if self.max_bytes_in_flight < least:
            raise UsageError(
                f"max_bytes_in_flight is {format_bytes(self.max_bytes_in_flight)}, and {self.threads} threads with requests of "
                f"{format_bytes(self.request_bytes)} need twice their sum, {format_bytes(least)}",
                "raise it, or lower num_workers or target_request_bytes",
            )

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> LoaderOptions:
        """Made of a mapping, as from YAML or a call; sizes may be text (`128KiB`), `pool` a mapping of its own.

        Raises:
            UnknownNameError: If an option or a mode does not exist; the nearest is proposed.
            UsageError: If a value is impossible.
        """
        values = dict(given)
        if isinstance(values.get("pool"), Mapping):
            values["pool"] = PoolConfig.of(values["pool"])
        for name in _SIZES:
            if isinstance(values.get(name), str):
                values[name] = parse_bytes(values[name])
        return _made(cls, values, "loader option")

    def but(self, **changes: Any) -> LoaderOptions:
        """The same with some options changed."""
        return replace(self, **changes)

    @property
    def index_mode(self) -> str:
        """`random_index_mode` without its parameter."""
        match = _ZIPFIAN.fullmatch(str(self.random_index_mode))
        return "zipfian" if match else self.random_index_mode

    @property
    def theta(self) -> float:
        """The exponent of a zipfian index: the sample of rank r is drawn in proportion to r ** -theta."""
        match = _ZIPFIAN.fullmatch(str(self.random_index_mode))
        try:
            return float(match[1]) if match and match[1] else _DEFAULT_THETA
        except ValueError:
            return 0.0

    @property
    def threads(self) -> int:
        """Threads that read; where the consumer does, one."""
        return self.pool.pool_size if self.pool else max(self.num_workers, 1)

    @property
    def direct_depth(self) -> int:
        """Direct reads that each thread may have under way at once."""
        if self.pool is None:
            return DIRECT_DEPTH
        return min(DIRECT_DEPTH, max(1, self.pool.max_inflight // self.threads))

    @property
    def ahead(self) -> int:
        """Batches made ahead of the consumer."""
        return self.pool.readahead_batches if self.pool else self.prefetch

    @property
    def request_bytes(self) -> int:
        """The most that one request asks for."""
        if self.target_request_bytes is not None:
            return self.target_request_bytes
        share = self.max_bytes_in_flight // (2 * self.threads) // DIRECT_BYTES * DIRECT_BYTES
        return min(DEFAULT_REQUEST_BYTES, max(DIRECT_BYTES, share))


def _made(kind: type[_Options], given: Mapping[str, Any], noun: str) -> _Options:
    known = {field.name for field in fields(kind)}
    for name in given:
        if name not in known:
            raise UnknownNameError(noun, str(name), known)
    return kind(**given)


def _whole(options: Any, name: str, least: int) -> None:
    value = getattr(options, name)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UsageError(f"{name} is {value!r}", f"write a whole number, {least} or more")


def _known(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UnknownNameError(name, str(value), known)
