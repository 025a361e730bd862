"""What `tracekit replay` says: how far it is, and what came of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tracekit import console
from tracekit.units import counted, format_bytes, format_count, format_ns, format_rate

if TYPE_CHECKING:
    from tracekit.replay.engines import State
    from tracekit.trace import Header, Trailer


class Terminal:
    """Progress and warnings on the terminal."""

    def __init__(self) -> None:
        from tracekit.histogram import Histogram

        self._progress: console.Progress | None = None
        self._label = ""
        # Of what the engine reports twenty times a second; a few thousand numbers that are gone when the run is.
        self._late = Histogram()

    def warn(self, text: str) -> None:
        """Say it."""
        self.close()
        console.warn(text)

    def preparing(self, done: int, total: int) -> None:
        """Show how much stand-in data is written."""
        self._show("preparing", total, "B").update(done)

    def running(self, state: State, total: int) -> None:
        """Show how far the run is: ops, rate, throughput, how late the ops were so far (p99), how many are in flight."""
        self._late.add([max(0, state.lateness_ns)])
        progress = self._show("replaying", total, "ops")
        rate = format_rate(state.moved / progress.elapsed_s) if progress.elapsed_s > 0 else ""
        late = f"p99 {format_ns(self._late.quantile(0.99) or 0.0)} late"
        left = None if state.lasts_ns is None else state.lasts_ns / 1e9 - progress.elapsed_s
        progress.update(state.done, rate, late, f"{state.in_flight:.1f} in flight", left_s=left)

    def close(self) -> None:
        """Clear the line."""
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress, self._label = None, ""

    def _show(self, label: str, total: int, unit: str) -> console.Progress:
        if self._progress is None or self._label != label:
            self.close()
            self._progress, self._label = console.Progress(label, total, unit), label
        return self._progress


def summary(header: Header, trailer: Trailer) -> list[str]:
    """What was done, in lines."""
    statement = trailer.run
    moved, duration = statement["moved_bytes"], statement["duration_s"]
    rate = f", {format_rate(moved / duration)}" if duration > 0 else ""
    planned = counted(statement["ops"] + statement["undelivered_ops"], "op")
    ops = f"{format_count(statement['ops'])} of {planned} of {counted(statement['streams'], 'stream')}"
    reason = header.producer["options"]["pace_reason"]
    lines = [
        f"replayed {ops}, {format_bytes(moved)} in {format_ns(duration * 1e9)}{rate}",
        f"pace      {statement['pace']} ({reason}), speed {statement['speed']:g}",
        f"engine    {header.producer['reason']}",
    ]
    if statement["makespan_s"]:
        span = statement["makespan_s"]
        error = statement["makespan_error"]
        share = "" if error is None else f" ({100 * error:+.3f} %)"
        lines.append(
            f"makespan  {format_ns(span['achieved'] * 1e9)}, planned {format_ns(span['planned'] * 1e9)}{share}"
        )
    if statement["lateness_us"]:
        late = statement["lateness_us"]
        lines.append(
            f"lateness  p50 {_us(late['p50'])}, p99 {_us(late['p99'])}, max {_us(late['max'])}"
            f" (a plain sleep here: p99 {_us(statement['noise_floor_us']['p99'])})"
        )
    return [
        *lines,
        _depth_line(statement),
        *_request_lines(statement),
        *_cache_lines(statement, trailer.residency),
        *_rank_lines(statement),
    ]


def _depth_line(statement: Mapping[str, Any]) -> str:
    achieved, recorded = statement["queue_depth"]["achieved"], statement["queue_depth"]["recorded"]
    known = f"recorded {recorded['mean']:.2f}, at most {recorded['max']}" if recorded else "not recorded"
    return f"depth     {achieved['mean']:.2f} ops in flight on average, at most {achieved['max']} ({known})"


def _request_lines(statement: Mapping[str, Any]) -> list[str]:
    """What is to be said of requests for objects."""
    if not statement["requests"]:
        return []
    first, retried = statement["first_byte_us"], statement["retried"]
    begun = f", answers began after p50 {_us(first['p50'])}, p99 {_us(first['p99'])}" if first else ""
    lines = [f"requests  {format_count(statement['requests'])} for objects{begun}"]
    count = sum(retried.values())
    if count:
        kinds = ", ".join(f"{kind} {number}" for kind, number in retried.items())
        lines.append(f"          {counted(count, 'request')} {'was' if count == 1 else 'were'} made again ({kinds})")
    if statement["error_kinds"]:
        kinds = ", ".join(f"{kind} {number}" for kind, number in statement["error_kinds"].items())
        lines.append(f"failed    {kinds}")
    return lines


def _cache_lines(statement: Mapping[str, Any], residency: Mapping[str, Any]) -> list[str]:
    states = [residency.get(moment) for moment in ("before", "after")]
    if all(state is not None and not state["pages"] for state in states):
        return []  # nothing that was read goes through a page cache
    shown = [
        f"{100 * state['resident'] / state['pages']:.0f} %" if state and state["pages"] else "unknown"
        for state in states
    ]
    lines = [f"cache     {shown[0]} of the files' pages resident before, {shown[1]} after{_verified(residency)}"]
    issued, recorded = statement["issued_bytes"], statement["recorded_bytes"]
    if statement["direct_files"]:
        lines.append(f"direct    {format_bytes(issued)} issued for {format_bytes(recorded)} recorded")
    if statement["direct_fallback_files"]:
        lines.append(f"fallback  {statement['direct_fallback_files']} files were read through the page cache instead")
    return lines


def _rank_lines(statement: Mapping[str, Any]) -> list[str]:
    ranks = statement["ranks"]
    if not ranks:
        return []
    shares = ", ".join(f"{rank['rank']}: {format_count(rank['ops'])}" for rank in ranks)
    unsure = max((rank["clock_error_us"] or 0.0 for rank in ranks), default=0.0)
    return [f"ranks     ops of each {shares}; their clocks agree to {_us(unsure)}"]


def _verified(residency: Mapping[str, Any]) -> str:
    verified = residency.get("verified")
    if not verified or not verified["pages"]:
        return ""
    agreeing = 1 - (verified["missing"] + verified["extra"]) / verified["pages"]
    return f" ({residency['start']} start: {100 * agreeing:.3f} % of them as asked)"


def tell_verdict(statement: Mapping[str, Any]) -> None:
    """The run's own verdict; one that is not VALID is said also when quiet, since the exit code needs its reason."""
    verdict, reasons = statement["verdict"], statement["reasons"]
    if verdict == "VALID":
        console.say(f"run       {console.paint(verdict, 'good', sys.stderr)}")
        for reason in reasons:
            console.say(f"          {reason}")
        return
    console.warn(f"the run is {verdict}: {'; '.join(reasons)}")
    if verdict == "TARGET LIMITED" and statement["pace"] == "recorded":
        console.say("to see how the program itself would fare on this storage, replay with --pace think")


def _us(value: float) -> str:
    return format_ns(value * 1e3)
