"""What is listed and looked at beside the reads: folders, and the files before they are opened."""

from __future__ import annotations

import numpy as np

from tracekit.workload.distil.found import HIGH, Found
from tracekit.workload.distil.items import Items
from tracekit.workload.distil.observed import Observed


def looks(observed: Observed, items: Items, unit: str, *, index: bool) -> dict[str, Found]:
    """`looks` and `stats` of a shape: before the first read and during the run.

    Args:
        observed: The recording.
        items: What was read.
        unit: As in `Shape`.
        index: Whether processes read an index of each file first.
    """
    whole, count = observed.whole, len(observed.uris)
    begun = int(observed.own.col("t_submit").min())
    names = set(observed.uris)
    data = np.array([name in names for name in whole.uris] + [False])[whole.col("uri")]
    early = whole.col("t_submit") < begun
    stat = whole.mask("op", "stat") & data
    before, later = int((stat & early).sum()), int((stat & ~early).sum())
    lists = int((whole.mask("op", "list") & early).sum())
    look = "stat" if before >= 0.9 * count else ""
    look = ("list" if look else "names") if lists else look
    if index and bool((observed.own.col("pid") == observed.steps.pid).any()):
        look = "index"
    found = {"looks": Found(look, HIGH, f"{lists} folders listed, {before} files looked at before the first read", lists + before)} if look else {}  # fmt: skip
    each = round(later / max(len(items), 1)) if unit == "file" else 0
    if each:
        found["stats"] = Found(each, HIGH, "looks at a file for each time it is read", later)
    return found
