"""What a replay was asked to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tracekit.errors import UnknownNameError, UsageError
from tracekit.storage.base import POLICIES
from tracekit.storage.store_settings import CLIENTS

PACES = ("auto", "recorded", "think", "asap")
CACHE_STARTS = ("as-is", "cold", "warm", "recorded")
FILLS = ("random", "zero")
WRITES = ("scratch", "skip")
NULL_OFFSETS = ("refuse", "zero", "sequential")
ALIGNMENTS = ("round", "error")
ENGINES = ("auto", "native", "uring", "threads")
ORDERS = ("stream", "global")


@dataclass(frozen=True)
class Options:
    """The replay verb's options, checked.

    Args:
        pace: When ops are issued; see `tracekit.replay.pacer`.
        speed: Factor on the schedule (recorded) or on think times (think): 2 is twice as fast.
        max_inflight: Most ops outstanding at once; None is no limit.
        max_inflight_bytes: Most bytes outstanding at once; an op larger than that goes alone.
        cache: What the page cache is told about our reads, or `direct` to go past it.
        cache_start: What is done to the page cache before the run, for the trace's files; `recorded` restores what the
            recording found in it.
        drop_cache: Also drop the whole machine's page cache where that is permitted.
        remap: (from, to) prefixes of URIs; the longest that fits is used.
        prepare: Make missing files, filled with this; None makes none.
        writes: Issue writes to a scratch directory, or leave them out.
        scratch: Where that directory is made, None is beside the output; or an object prefix, below which the trace's writes of
            objects go.
        client: Who makes requests for objects: `obstore`, or `sdk` for boto3 and azure-storage-blob.
        timeout_s: A request for an object that takes longer has failed.
        engine: Who issues the ops.
        order: Whether order is kept within each stream only, or ops of all streams are issued in the recorded order.
        realtime: Whether the native engines ask for real-time priority while they keep a schedule.
        select: An expression that picks ops (`tracekit.selection`).
        loop: How many times the trace is replayed, one after the other.
        null_offset: What an op without a recorded offset becomes.
        direct_align: Whether a misaligned direct op is rounded outwards or refused.
        direct_fallback: Whether files that refuse O_DIRECT may be read through the page cache.
        retries: How often a failed request for an object is made again at most, where that may help.
        max_errors: Stop after more than this many failed ops; None never stops.
        max_error_share: Stop after more than this share of the planned ops has failed; None never stops.
        skip_unknown: Leave out ops of a kind nobody knows instead of refusing the trace.

    Raises:
        UnknownNameError: If a choice does not exist.
        UsageError: If a number is out of its range.
    """

    pace: str = "recorded"
    speed: float = 1.0
    max_inflight: int | None = None
    max_inflight_bytes: int | None = None
    cache: str = "default"
    cache_start: str = "as-is"
    drop_cache: bool = False
    remap: Sequence[tuple[str, str]] = ()
    prepare: str | None = None
    writes: str = "scratch"
    scratch: str | None = None
    client: str = "auto"
    timeout_s: float = 30.0
    engine: str = "auto"
    order: str = "stream"
    realtime: bool = True
    select: str | None = None
    loop: int = 1
    null_offset: str = "refuse"
    direct_align: str = "round"
    direct_fallback: bool = False
    retries: int = 0
    max_errors: int | None = None
    max_error_share: float | None = None
    skip_unknown: bool = False

    def __post_init__(self) -> None:
        _check_name("pace", self.pace, PACES)
        _check_name("cache policy", self.cache, POLICIES)
        _check_name("cache start", self.cache_start, CACHE_STARTS)
        _check_name("write policy", self.writes, WRITES)
        _check_name("null-offset policy", self.null_offset, NULL_OFFSETS)
        _check_name("alignment policy", self.direct_align, ALIGNMENTS)
        _check_name("engine", self.engine, ENGINES)
        _check_name("order", self.order, ORDERS)
        _check_name("client", self.client, CLIENTS)
        if not (math.isfinite(self.timeout_s) and self.timeout_s > 0):
            raise UsageError(f"--timeout {self.timeout_s} is no time", "give seconds above 0")
        if self.prepare is not None:
            _check_name("filling", self.prepare, FILLS)
        if not (math.isfinite(self.speed) and self.speed > 0):
            raise UsageError(f"--speed {self.speed} is no factor", "give a number above 0: 2 is twice as fast")
        _check_least("--max-inflight", self.max_inflight, 1)
        _check_least("--max-inflight-bytes", self.max_inflight_bytes, 1)
        _check_least("--loop", self.loop, 1)
        _check_least("--max-errors", self.max_errors, 0)
        _check_least("--retries", self.retries, 0)


def parse_remap(text: str) -> tuple[str, str]:
    """The (from, to) of `FROM=TO`; the last `=` that leaves both sides non-empty separates them.

    Raises:
        UsageError: If there is no such `=`.
    """
    source, separator, target = text.rpartition("=")
    if not separator or not source or not target:
        raise UsageError(f"--remap {text!r} is not FROM=TO", "write it as --remap file:///old/root=/new/root")
    return source, target


def parse_max_errors(text: str) -> dict[str, Any]:
    """The options that `--max-errors N` or `P%` stands for.

    Raises:
        UsageError: If it is neither.
    """
    number, percent = text.removesuffix("%").strip(), text.endswith("%")
    try:
        if percent and 0 <= float(number) <= _WHOLE:
            return {"max_error_share": float(number) / _WHOLE}
        if not percent and int(number) >= 0:
            return {"max_errors": int(number)}
    except ValueError:
        pass
    raise UsageError(f"--max-errors {text!r} is no number of ops", "give a number, 0 or more, or a share such as 1%")


_WHOLE = 100


def _check_name(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise UnknownNameError(kind, name, known)


def _check_least(option: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise UsageError(f"{option} {value} is too small", f"give {least} or more")
