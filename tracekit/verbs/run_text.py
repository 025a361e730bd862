"""What `tracekit run` shows to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracekit import console
from tracekit.units import counted, format_bytes, format_count, format_ns

_NAMES = {"io_s": "I/O", "decode_s": "decode", "wait_s": "wait", "compute_s": "compute"}
_MEANING = {
    "io_s": "requests of a step, added up over threads", "decode_s": "its samples, added up over threads",
    "wait_s": "the consumer waits for its batch", "compute_s": "the step itself",
}  # fmt: skip


def text(told: Mapping[str, Any], norms: Sequence[str] | None) -> str:
    """A report as lines."""
    parts = [_head(told)]
    # Checkpoints alone have no steps.
    if told["steps"] or not told["checkpoints"]:
        parts += [_stages(told), _utilisation(told)]
    if norms is not None:
        parts.append(_norms(norms))
    return "\n\n".join(parts)


def _head(told: Mapping[str, Any]) -> str:
    ranks = counted(told["ranks"], "rank")
    lines = [f"{told['job']}: {ranks}, {told['seconds']:.2f} s"]
    if told["steps"]:
        lines[0] = (
            f"{told['job']}: {counted(told['steps'], 'step')} in {counted(told['epochs'], 'epoch')}, {ranks}, {told['seconds']:.2f} s"
        )
        lines.append(f"{counted(told['samples'], 'sample')}, {format_bytes(told['bytes'])}")
    if told["seconds"] and told["samples"]:
        lines[1] += (
            f"; {_rate(told['samples_per_s'])} samples/s, {_rate(told['mb_per_s'])} MB/s = {_rate(told['mib_per_s'])} MiB/s"
        )
    if told["evaluation"]["steps"]:
        lines.append(f"evaluation: {counted(told['evaluation']['steps'], 'step')}")
    lines += checkpoints(told["checkpoints"])
    lines += [f"ended early: {error}" for error in dict.fromkeys(told["errors"])]
    return "\n".join(lines)


def checkpoints(told: Mapping[str, Any] | None) -> list[str]:
    """What was written of checkpoints, and what was read back; a line for each."""
    lines = []
    for name, verb in (("write", "written to"), ("read", "read back from")):
        one = {"checkpoints": 0} if told is None else told[name]
        if told is not None and one["checkpoints"]:
            rate = "" if one["mb_per_s"] is None else f", {_rate(one['mb_per_s'])} MB/s"
            lines.append(
                f"{counted(one['checkpoints'], 'checkpoint')} {verb} {told['uri']}: {counted(one['files'], 'file')}, "
                f"{format_bytes(one['bytes'])}{rate}; the slowest took {format_ns(one['slowest_seconds'] * 1e9)}"
                + (", every byte verified" if name == "read" else "")
            )
    return lines


def _rate(value: float) -> str:
    return format_count(round(value)) if value >= 100 else f"{value:.3g}"


def _stages(told: Mapping[str, Any]) -> str:
    rows = []
    for name, figures in told["stages"].items():
        times = ["–" if figures[key] is None else format_ns(figures[key] * 1e9) for key in ("p50", "p95", "p99")]
        rows.append([_NAMES[name], *times, f"{figures['total']:.2f} s", _MEANING[name]])
    return console.table(rows, ["per step", "p50", "p95", "p99", "in all", ""], right=(1, 2, 3, 4))


def _utilisation(told: Mapping[str, Any]) -> str:
    if told["au"] is None:
        return "AU: not known, no step counts"
    verdict = (
        ""
        if told["au_met"] is None
        else f", {'at least' if told['au_met'] else 'below'} the {told['au_target']:.0%} asked for"
    )
    return f"AU {told['au']:.1%}{verdict}\n{told['au_explained']}"


def _norms(norms: Sequence[str]) -> str:
    if not norms:
        return "MLPerf Storage's norms are kept"
    return "\n".join(["MLPerf Storage would object to:", *(f"  {line}" for line in norms)])
