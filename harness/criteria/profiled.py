"""The criteria of profile mode: another job of the same kind. Only what does not depend on how large the job is."""

from __future__ import annotations

from dataclasses import replace

from harness.criteria.repeated import REPEAT_CRITERIA
from harness.criterion import INTENT, Criterion, table

_WIDE = "±20 % is the published band for jobs that resemble each other without being the same."


def _as_in_repeat(name: str, tolerance: float, why: str) -> Criterion:
    return replace(REPEAT_CRITERIA[name], tolerance=tolerance, why=why)


PROFILE_CRITERIA = table(
    _as_in_repeat("ops.mix", 0.10, "Half of the published 20 %: a mix that moves by more is another way to read."),
    _as_in_repeat("ops.errors", 0.001, REPEAT_CRITERIA["ops.errors"].why),
    _as_in_repeat("size.mean", 0.20, _WIDE),
    _as_in_repeat("size.median", 0.20, _WIDE),
    _as_in_repeat("step.bytes", 0.20, _WIDE + " Another batch size shows here."),
    _as_in_repeat("step.ops", 0.20, _WIDE),
    _as_in_repeat("sample.bytes", 0.20, _WIDE),
    _as_in_repeat("sample.ops", 0.20, _WIDE),
    _as_in_repeat("order.sequential", 0.10, "Shares are held to ±10 points: 20 % of a share near 1 would be most of the scale."),
    _as_in_repeat("order.sequential-stream", 0.10, "As order.sequential."),
    _as_in_repeat("order.first-touch", 0.30, REPEAT_CRITERIA["order.first-touch"].why),
    _as_in_repeat(
        "order.run", 0.20, "Other file sizes give other runs; a fifth of the runs on the other side is another way to read files."
    ),
    Criterion(
        "streams.per-worker", INTENT, "streams at a time per loader worker",
        "largest number of streams between their first and last op at one time / loader workers, measured / reference",
        "ratio", 0.20, "",
        high="more streams per worker: {measured}, the golden {reference}",
        low="fewer streams per worker: {measured}, the golden {reference}",
        why="The number of workers is a matter of the host; how many streams each of them keeps is a matter of the loader.",
    ),
    REPEAT_CRITERIA["stall.share"],
    REPEAT_CRITERIA["stall.starved"],
    REPEAT_CRITERIA["stall.hungry"],
    REPEAT_CRITERIA["depth.fed"],
)  # fmt: skip
