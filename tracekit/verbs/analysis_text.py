"""What stands out in a trace, in a line each: the first section of `tracekit stats`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tracekit.units import counted, format_bytes, format_ns, format_rate

if TYPE_CHECKING:
    from tracekit.analysis.duty import Duty
    from tracekit.analysis.snapshot import Analysis, Cache
    from tracekit.analysis.tail import Part, Tail

Line = tuple[str, str]

# Below these a figure is what one expects, and not shown; --json has it.
_HOT_FILE = 0.1
_HOT_SHARE = 3.0
_AGAIN = 1.05
_UNEVEN = 1.2
_LIFT = 2.0
_SLOW_SHARE = 0.2
_FEW_FILES = 100
_USEFUL_HITS = 0.05
_MOST_TIMES = 4


def standing_out(analysis: Analysis) -> Iterator[Line]:
    """The few figures of the analysis that say something, each as a label and a sentence."""
    yield from _hot_files(analysis)
    yield from _again(analysis)
    yield from _cache(analysis.cache)
    if analysis.tail is not None:
        yield from _tail(analysis.tail)
    workers = analysis.workers
    if workers.busiest_bytes is not None and workers.count and workers.busiest_bytes >= _UNEVEN:
        yield (
            "uneven",
            f"the busiest of {counted(workers.count, workers.by or '')} moved {workers.busiest_bytes:.1f} × the mean",
        )
    yield from _duty(analysis.duty)
    yield from _bursts(analysis)


def _hot_files(analysis: Analysis) -> Iterator[Line]:
    files = analysis.files
    total = int(analysis.all_files.moved.sum())
    if not files.top or not total:
        return
    first = files.top[0]
    share = (first.read_bytes + first.written_bytes) / total
    if files.count > 1 and share >= max(_HOT_FILE, _HOT_SHARE / files.count):
        yield "hot file", f"{_percent(share)} of all bytes: {first.name}"
    if files.count >= _FEW_FILES and files.top_share is not None and files.top_share >= _HOT_SHARE / 100:
        yield "hot files", f"the busiest 1 % of {files.count:,} take {_percent(files.top_share)} of all bytes"


def _again(analysis: Analysis) -> Iterator[Line]:
    found = analysis.amplification
    if found.ratio is None or found.there_bytes is None:
        return
    what = "the files' size" if found.sizes_known else "how far the files were read"
    if found.ratio >= _AGAIN:
        yield (
            "read again",
            f"every byte {found.ratio:.1f} times: {format_bytes(found.read_bytes)} of {format_bytes(found.there_bytes)} ({what})",
        )
    elif found.sizes_known and found.ratio < 1 / _AGAIN:
        yield "read in part", f"{_percent(found.ratio)} of the files' {format_bytes(found.there_bytes)}"


def _cache(cache: Cache) -> Iterator[Line]:
    most, needed = cache.most_hits, cache.needed_bytes.get("90")
    if most is None or most < _USEFUL_HITS or needed is None:
        return
    sampled = "" if cache.sampled == 1 else f"; {_percent(cache.sampled)} of blocks looked at"
    served = f"{format_bytes(needed)} would serve {_percent(0.9 * most)} of reads"
    whole = f"{format_bytes(cache.working_set_bytes)} all that come again ({_percent(most)})"
    yield "page cache", f"{served}, {whole}{sampled}"


def _tail(tail: Tail) -> Iterator[Line]:
    kinds = (("", tail.by_file), ("", tail.by_size), ("", tail.by_stream), ("between ", tail.by_time))
    causes = [
        f"{_percent(part.slow / tail.slow)} {before}{part.name} ({part.lift:.0f} × its share)"
        for before, parts in kinds
        if (part := _cause(parts, tail.slow)) is not None
    ]
    if causes:
        yield "slowest 1 %", f"from {format_ns(tail.threshold_us * 1000)} on: {'; '.join(causes)}"


def _cause(parts: list[Part], slow: int) -> Part | None:
    """The class that holds the most slow ops, where it holds more than its share and many of them."""
    likely = [part for part in parts if part.lift >= _LIFT and part.slow >= _SLOW_SHARE * slow]
    return max(likely, key=lambda part: part.slow, default=None)


def _duty(duty: Duty) -> Iterator[Line]:
    if duty.busy_share is None or duty.longest_pause_us is None:
        return
    parts = [f"{_percent(duty.busy_share)} of the time", f"longest pause {format_ns(duty.longest_pause_us * 1000)}"]
    if duty.step_busy_p50 is not None:
        parts.append(f"in steps {_percent(duty.step_busy_p50)} (median)")
    yield "storage busy", ", ".join(parts)


def _bursts(analysis: Analysis) -> Iterator[Line]:
    bursts = analysis.bursts
    if not bursts:
        return
    total, speeds = sum(one.bytes for one in bursts), [one.mb_s for one in bursts if one.mb_s is not None]
    named = sum(one.checkpoint for one in bursts)
    text = f"{counted(len(bursts), 'burst')} of writing, {format_bytes(total)}"
    if speeds:
        text += f", up to {format_rate(max(speeds) * 1e6)}"
    text += ", at " + ", ".join(f"{one.start_ns / 1e9:.1f} s" for one in bursts[:_MOST_TIMES])
    text += ", …" if len(bursts) > _MOST_TIMES else ""
    if meanwhile := sum(one.reads_bytes for one in bursts):
        text += f"; {format_bytes(meanwhile)} read meanwhile"
    yield "checkpoints" if named == len(bursts) else "writes", text


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"
