"""The text of `tracekit stats`: sections of (label, value) from a trace's metrics."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tracekit import console
from tracekit.units import format_bytes, format_count, format_ns, format_rate
from tracekit.verbs.analysis_text import standing_out

if TYPE_CHECKING:
    from tracekit.analysis.snapshot import Analysis
    from tracekit.histogram import Histogram
    from tracekit.metrics import Metrics
    from tracekit.metrics.counters import Counters, Timing
    from tracekit.trace import Trace

Line = tuple[str, str]
Section = tuple[str, list[Line]]

UNKNOWN = "–"
# A full bar, the least it shrinks to where the terminal is narrow, and what stands beside it.
_BAR, _LEAST_BAR, _BESIDE = 40, 8, 42
_MOST_SIZES = 8


def text(name: str, trace: Trace, metrics: Metrics, analysis: Analysis | None = None) -> str:
    """The summary for a terminal."""
    parts = [console.paint(title(name, metrics), "bold")]
    for heading, lines in sections(trace, metrics, analysis):
        parts.append(console.paint(heading, "bold"))
        width = max(len(label) for label, _ in lines)
        parts += [f"  {label.ljust(width)}  {value}".rstrip() for label, value in lines]
    if weaknesses := list(_weaknesses(metrics)):
        parts.append(console.paint("what these numbers do not say", "warn"))
        parts += [f"  - {weakness}" for weakness in weaknesses]
    return "\n".join(parts)


def markdown(name: str, trace: Trace, metrics: Metrics, analysis: Analysis | None = None) -> str:
    """The summary as Markdown: one table, and the warnings as a list."""
    parts = [f"### {_escaped(title(name, metrics))}", "", "| | | |", "|---|---|---|"]
    for heading, lines in sections(trace, metrics, analysis):
        for index, (label, value) in enumerate(lines):
            first = f"**{heading}**" if index == 0 else ""
            parts.append(f"| {first} | {_escaped(label)} | {_escaped(value)} |")
    if weaknesses := list(_weaknesses(metrics)):
        parts += ["", "What these numbers do not say:", ""]
        parts += [f"* {_escaped(weakness)}" for weakness in weaknesses]
    return "\n".join(parts)


def title(name: str, metrics: Metrics) -> str:
    """One line: how much there is."""
    took = UNKNOWN if metrics.duration_ns is None else format_ns(metrics.duration_ns)
    return (
        f"{name}: {_counted(metrics.ops, 'op')}, {format_bytes(metrics.bytes)} "
        f"from {_counted(metrics.files, 'file')} in {took}"
    )


def sections(trace: Trace, metrics: Metrics, analysis: Analysis | None = None) -> list[Section]:
    """The summary's sections that have something to say."""
    made = (
        ("what stands out", standing_out(analysis) if analysis else []),
        ("recorded", _recorded(trace, metrics)),
        ("requests", _requests(metrics)),
        ("sizes", _sizes(metrics)),
        ("service time", _timing(metrics.service)),
        ("lateness", _timing(metrics.lateness) if metrics.lateness.count else []),
        ("response time", _timing(metrics.response) if metrics.response.count else []),
        ("in flight", _in_flight(metrics)),
        ("steps", _steps(metrics)),
        ("order", _order(metrics)),
        ("run", _run(metrics)),
    )
    return [(heading, lines) for heading, found in made if (lines := list(found))]


def _recorded(trace: Trace, metrics: Metrics) -> Iterator[Line]:
    header = trace.header
    if header is None:
        yield "by", "not known: the file has no header"
    else:
        producer = header.producer
        names = [str(producer[key]) for key in ("tool", "version", "verb", "engine") if producer.get(key)]
        yield "by", " ".join(names) or UNKNOWN
        if header.created:
            yield "at", header.created
        if header.command:
            yield "command", " ".join(header.command)
        host = header.host
        if host.get("cpu"):
            yield "on", f"{host['cpu']}, {host.get('cores', UNKNOWN)} cores, Linux {host.get('kernel', UNKNOWN)}"
    yield "complete", _complete(metrics)
    yield from _coverage(metrics.completeness.coverage)


def _complete(metrics: Metrics) -> str:
    complete = metrics.completeness
    if not complete.trailer:
        return "not known: no trailer"
    return f"no: {_counted(complete.lost, 'op')} lost" if complete.lost else "yes: trailer present, no op lost"


# Coverage that is said in the summary's own words; anything else a recorder adds is shown as it is.
_SAID = {
    "engine", "known", "why", "share", "kernel_read_bytes", "traced_read_bytes", "ignored_read_bytes", "mapped_bytes",
    "mmaps", "blind", "not_followed", "missing", "unseen_readers", "native_children", "unseen_in_processes", "way", "complete",
    "missing_bytes",
}  # fmt: skip


def _coverage(coverage: Mapping[str, Any]) -> Iterator[Line]:
    share, kernel = coverage.get("share"), coverage.get("kernel_read_bytes")
    if isinstance(share, (int, float)) and isinstance(kernel, int):
        missing = coverage.get("missing_bytes")
        rest = f" ({format_bytes(missing)} are missing)" if isinstance(missing, int) and missing else ""
        yield "coverage", f"{_share(share)} of the {format_bytes(kernel)} that the kernel counted as read{rest}"
    mapped = coverage.get("mapped_bytes")
    if isinstance(mapped, int) and mapped:
        yield "mapped", f"{format_bytes(mapped)}: what of them was touched cannot be seen"
    others = ((key, value) for key, value in coverage.items() if key not in _SAID and value not in ({}, []))
    yield from ((key.replace("_", " "), _brief(value)) for key, value in others)


def _weaknesses(metrics: Metrics) -> Iterator[str]:
    """What the recorder could not see, and what the trace cannot say."""
    coverage = metrics.completeness.coverage
    if isinstance(coverage.get("missing"), str):
        yield str(coverage["missing"])
    if coverage.get("known") is False and coverage.get("why"):
        yield f"how complete the trace is cannot be known: {coverage['why']}"
    if isinstance(readers := coverage.get("unseen_readers"), list) and readers:
        yield f"files that {', '.join(map(str, readers))} opened by themselves are not in the trace"
    others = [entry for entry in coverage.get("native_children") or () if isinstance(entry, dict) and "argv" in entry]
    for entry in others:
        if isinstance(entry.get("bytes"), int):
            yield f"{format_bytes(entry['bytes'])} were read by {_named({**entry, 'why': 'it is no Python program'})}"
    said = [entry["argv"] for entry in others]
    for key, text in (("blind", "not seen by the recorder"), ("not_followed", "not followed")):
        items = coverage.get(key)
        if isinstance(items, list):
            yield from (f"{text}: {_named(item)}" for item in items if _argv(item) not in said)
    yield from metrics.warnings


def _argv(item: Any) -> Any:
    return item.get("argv") if isinstance(item, dict) else None


def _named(item: Any) -> str:
    """A program that was not followed: its command, why, and how often; anything else as it is."""
    if not isinstance(item, dict) or "argv" not in item:
        return str(item)
    command = " ".join(str(word) for word in item["argv"])
    times = item.get("times", 1)
    often = f", {times:,} times" if isinstance(times, int) and times > 1 else ""
    return f"{_brief(command)} ({item.get('why', 'the reason is not known')}{often})"


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{key} {_brief(each)}" for key, each in value.items())
    shown = format_count(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return shown if len(shown) <= 100 else shown[:97] + "..."


def _requests(metrics: Metrics) -> Iterator[Line]:
    for name, kind in sorted(metrics.kinds.items(), key=lambda item: -item[1].ops):
        parts = [format_count(kind.ops)]
        if kind.bytes is not None:
            parts.append(format_bytes(kind.bytes))
        if kind.service.p50_us is not None:
            parts.append(f"median {_us(kind.service.p50_us)}")
        if kind.errors:
            parts.append(f"{kind.errors:,} failed")
        yield name, ", ".join(parts)
    counters = metrics.backend_counters
    if counters.errors:
        yield "errors", ", ".join(f"{name} {count:,}" for name, count in counters.errors.items())
    if counters.object_requests:
        yield "objects asked", _asked_of_stores(counters)
    if counters.first_byte.p50_us is not None:
        again = f", {counters.retries:,} made again" if counters.retries else ""
        slowed = f", {counters.throttled:,} throttled" if counters.throttled else ""
        first = f"began after p50 {_us(counters.first_byte.p50_us)}, p99 {_us(counters.first_byte.p99_us or 0.0)}"
        yield "answers", f"{first}{again}{slowed}"
    if counters.short_reads or counters.eof_reads:
        yield (
            "at file ends",
            f"{counters.short_reads:,} short reads, {counters.eof_reads:,} reads that returned nothing",
        )
    if not metrics.data_ops:
        return
    if metrics.throughput_mb_s is not None and metrics.data_ops_per_s is not None:
        yield "throughput", f"{format_rate(metrics.throughput_mb_s * 1e6)}, {metrics.data_ops_per_s:,.0f} ops/s"
    shares = metrics.shares
    if shares.streams is not None:
        # A replay has more: threads that only open or look have a stream there.
        yield "streams", f"{shares.streams} that moved data{_processes(shares.processes)}{_balance(metrics)}"


def _asked_of_stores(counters: Counters) -> str:
    by_kind = ", ".join(f"{name} {format_count(count)}" for name, count in counters.object_requests.items())
    parts = [f"{format_count(sum(counters.object_requests.values()))} ({by_kind})"]
    if counters.ranged_gets:
        parts.append(f"{format_count(counters.ranged_gets)} of a range")
    if counters.connections is not None:
        parts.append(f"{_counted(counters.connections, 'connection')} opened")
    return ", ".join(parts)


def _processes(count: int | None) -> str:
    return "" if count is None else " in 1 process" if count == 1 else f" in {count:,} processes"


def _balance(metrics: Metrics) -> str:
    shares = metrics.shares
    parts = [
        f"{_counted(count, noun)} (busiest {balance:.2f} × mean)"
        for count, noun, balance in (
            (shares.workers, "loader worker", shares.worker_balance),
            (shares.ranks, "rank", shares.rank_balance),
        )
        if count is not None and balance is not None
    ]
    return "".join(f", {part}" for part in parts)


def _sizes(metrics: Metrics) -> Iterator[Line]:
    sizes = metrics.req_bytes_hist
    if not sizes:
        return
    rows = _exact_rows(metrics.sizes) if metrics.sizes and len(metrics.sizes) <= _MOST_SIZES else _octave_rows(sizes)
    highest = max(count for _, count in rows)
    full = min(_BAR, max(_LEAST_BAR, (console.width(sys.stdout) or _BESIDE + _BAR) - _BESIDE))
    for label, count in rows:
        bar = "█" * max(1, round(full * count / highest))
        yield label, f"{bar.ljust(full)} {100 * count / sizes.count:5.1f} %  {count:,}"
    mean, median = sizes.mean or 0.0, sizes.quantile(0.5) or 0.0
    yield "mean, median", f"{format_bytes(mean)}, {format_bytes(median)}"


def _exact_rows(sizes: dict[int, int]) -> list[tuple[str, int]]:
    return [(format_bytes(size), count) for size, count in sizes.items()]


def _octave_rows(sizes: Histogram) -> list[tuple[str, int]]:
    """Counts per power of two, from the first occupied to the last."""
    low, _, counts = sizes.buckets()
    octaves: dict[int, int] = {}
    for value, count in zip(low.tolist(), counts.tolist(), strict=True):
        octave = int(value).bit_length()
        octaves[octave] = octaves.get(octave, 0) + count
    span = range(min(octaves), max(octaves) + 1)
    return [(_octave(octave), octaves.get(octave, 0)) for octave in span if octaves.get(octave)]


def _octave(octave: int) -> str:
    return "0 B" if octave == 0 else f"{format_bytes(1 << (octave - 1))} to {format_bytes(1 << octave)}"


def _timing(timing: Timing) -> Iterator[Line]:
    values = (timing.p50_us, timing.p95_us, timing.p99_us, timing.p999_us, timing.max_us)
    if timing.count:
        shown = zip(("p50", "p95", "p99", "p99.9", "max"), values, strict=True)
        yield "", "  ".join(f"{name} {_us(value)}" for name, value in shown)


def _in_flight(metrics: Metrics) -> Iterator[Line]:
    if metrics.max_qd is None or metrics.peak_inflight is None:
        return
    depth = metrics.queue_depth
    yield (
        "queue depth",
        f"max {metrics.max_qd}, mean {_number(depth.mean)}, busy {_share(depth.busy_share)} of the time",
    )
    yield "bytes", f"peak {format_bytes(metrics.peak_inflight)}"
    if len(depth.timeline_mean) > 1:
        yield "over time", _sparkline(depth.timeline_mean)


def _sparkline(values: Sequence[float], width: int = 60) -> str:
    step = max(1, -(-len(values) // width))
    grouped = [max(values[i : i + step]) for i in range(0, len(values), step)]
    top = max(grouped)
    marks = " ▁▂▃▄▅▆▇█"
    return "".join(marks[-(-int(8000 * value / top) // 1000)] if top else " " for value in grouped) + "|"


def _steps(metrics: Metrics) -> Iterator[Line]:
    steps = metrics.steps
    if steps.count is None:
        return
    yield "count", format_count(steps.count)
    if steps.bytes_per_step_hist:
        size, ops = steps.bytes_per_step_hist, steps.ops_per_step_hist
        yield "per step", f"mean {format_bytes(size.mean or 0)} in {_number(ops.mean)} reads and writes"
    if not steps.judged:
        return
    compute, wait = steps.compute_us_hist.quantile(0.5), steps.wait_us_hist.quantile(0.5)
    yield "compute, wait", f"median {_ns(compute)}, {_ns(wait)}"
    left_out = f"without {_counted(steps.excluded or 0, 'first step')}"
    yield "waiting for data", f"{_share(steps.stall_share)} of the time ({left_out})"
    rule = "wait > max(1 ms, 5 % of compute)"
    yield "starved steps", f"{steps.starved_steps} of {steps.judged} ({_share(steps.starved_share)}): {rule}"
    if steps.busy_compute_share is not None:
        yield "queue depth > 0", f"throughout compute in {_share(steps.busy_compute_share)} of steps (for information)"


def _order(metrics: Metrics) -> Iterator[Line]:
    order = metrics.order
    if order.sequential_in_uri is not None or order.sequential_in_stream is not None:
        yield (
            "sequential",
            f"{_share(order.sequential_in_uri)} within files, {_share(order.sequential_in_stream)} within streams",
        )
    if order.reaccess_share is not None:
        yield "read again", f"{_share(order.reaccess_share)} of reads go to a place read before"
    if order.first_touch_randomness is not None:
        value = order.first_touch_randomness
        word = "in order of names" if value < 0.1 else "shuffled" if value > 0.8 else "partly in order"
        yield "files", f"first read {word} ({value:.2f}; 0 is by name, 1 is random)"
    if order.top1_file_share is not None and metrics.files >= 100:
        yield "busiest 1 %", f"of files take {_share(order.top1_file_share)} of requests"


def _run(metrics: Metrics) -> Iterable[Line]:
    run = metrics.completeness.run
    if run.get("verdict"):
        yield "verdict", str(run["verdict"])
        reasons = run.get("reasons")
        yield from (("", str(reason)) for reason in (reasons if isinstance(reasons, list) else ()))


def _us(value: float | None) -> str:
    return UNKNOWN if value is None else format_ns(value * 1000)


def _ns(value: float | None) -> str:
    return UNKNOWN if value is None else format_ns(value)


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}"


def _counted(count: int, noun: str) -> str:
    return f"{format_count(count)} {noun}" if count == 1 else f"{format_count(count)} {noun}s"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
