"""What to do when a criterion fails: where to look first, for whoever has a verdict and no idea."""

from __future__ import annotations

from collections.abc import Mapping

from harness.criterion import ENVIRONMENT, Criterion

_SIZES = (
    "compare the sizes of both sides (`tracekit stats`, the report's picture of request sizes); look for another reader, buffer "
    "size, data set or file format"
)
_TOTALS = "look whether both sides ran the same epochs, steps and data set; a warm-up or an evaluation may be in one of them only"
_STEPS = (
    "look at batch size, samples per step and gradient accumulation, and whether the steps are marked in the same place"
)
_ORDER = (
    "look at shuffle, its seed and buffer, at how shards are dealt to workers, and whether a reader sorts its requests"
)
_WORKERS = (
    "look at the number of workers and readers, and whether a recording or a replay merged or split threads (`--order`)"
)
_STALLS = (
    "look at prefetch, workers and decode time, and whether other work took the cores; on a shared host declare the golden "
    "`host: shared`"
)
_DEPTH = "look at caps (`--max-inflight`), prefetch depth and the number of workers"
_CADENCE = (
    "replay at the recorded pace (`--pace recorded`, no `--speed`), on a machine whose cores are free; the replay's own "
    "statement says how late it was, and whose fault that is"
)
_MACHINE = "compare with the same storage, cache state (`--cache-start`) and an idle machine; record more runs before believing one"
_REPLAYED = (
    "replay the whole trace (no `--select`, no cap on errors), with `--remap` naming where the data lies; the op counts "
    "of both traces say what is missing"
)

ADVICE: Mapping[str, str] = {
    "ops.missing": _REPLAYED,
    "ops.extra": "look for ops of another job or file in the replay, a `--loop`, or a recording that was cut short",
    "ops.errors": "look at `err` in the trace's ops: missing files, permissions, a full disk; make data with `--prepare` or remap",
    "ops.mix": "look for metadata calls (open, stat, list) that one reader makes and the other does not, and for writes",
    "ops.rate": _MACHINE,
    "throughput": f"if a replay: {_CADENCE}; if a run: {_MACHINE}",
    "data_ops": _TOTALS,
    "bytes": _TOTALS,
    "files.distinct": "look whether both read the same data set, all of it, and whether shards were split otherwise",
    "file.span": _MACHINE,
    "time.duration": _CADENCE,
    "depth.cap": "replay without `--max-inflight` and `--max-inflight-bytes`, or with more than the recorded peak",
    "depth.fed": _STALLS,
    **dict.fromkeys(("depth.ceiling", "depth.max", "depth.bytes", "depth.mean", "depth.ks"), _DEPTH),
    **dict.fromkeys(("size.match", "size.ks", "size.log-shift", "size.mean", "size.median"), _SIZES),
    **dict.fromkeys(("step.bytes", "step.ops", "sample.bytes", "sample.ops", "sample.bytes-ks", "sample.ops-ks"), _STEPS),
    **dict.fromkeys(
        (
            "order.stream", "order.file", "order.sequential", "order.sequential-stream", "order.first-touch", "order.reaccess",
            "order.top-files", "order.seek", "order.seek-stream", "order.run", "order.jump",
        ),
        _ORDER,
    ),
    **dict.fromkeys(("streams.count", "streams.moved", "streams.workers", "streams.peak", "streams.per-worker"), _WORKERS),
    **dict.fromkeys(("stall.share", "stall.starved", "stall.hungry"), _STALLS),
    **dict.fromkeys(("time.shift-p50", "time.shift-p99", "arrival.rate"), _CADENCE),
    **dict.fromkeys(("arrival.dispersion", "arrival.gap", "arrival.lag1", "arrival.count", "arrival.bytes"), f"{_CADENCE}; {_STALLS}"),
    **dict.fromkeys(
        ("latency.p50", "latency.p95", "latency.p99", "latency.p99.9", "latency.size", "latency.lag1", "latency.shift"),
        _MACHINE,
    ),
}  # fmt: skip


def advice(criterion: Criterion) -> str:
    """Where to look when it fails; of what the machine answers, that too many runs are never wrong."""
    text = ADVICE[criterion.id]
    return text if criterion.klass != ENVIRONMENT or text == _MACHINE else f"{text}; {_MACHINE}"
