"""What a replay was to issue: the recording as the replayer itself plans it with the options in the replay's header.

A selection, other names for the data, ops that were left out and repetitions are the user's wish; a replay is judged by whether
it did what it was asked to. The speed, the pace and caps are not mapped: whether they change the load is the question.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tracekit.errors import InputError, TracekitError
from tracekit.replay.intake import Intake
from tracekit.replay.options import Options
from tracekit.replay.plan import Plan, make_plan
from tracekit.selection import select
from tracekit.trace import NULL, TIME_COLUMNS, Trace

# The options that say which ops are issued, and under which names.
MAPPED = ("select", "remap", "writes", "null_offset", "skip_unknown")


def expected(recorded: Trace, options: Mapping[str, Any], name: str, limit: int) -> tuple[Trace, list[str]]:
    """The ops that a replay of a recording with these options issues, and sentences about how they differ from it.

    Args:
        recorded: The recording.
        options: The options in the replay's header; empty where the trace is no replay.
        name: What to call the replay in sentences.
        limit: About how many ops there can be at most; more repetitions than that are not laid out.

    Raises:
        InputError: If the options cannot be read, or do not fit the recording.
    """
    chosen = {key: options[key] for key in MAPPED if key in options}
    loop = options.get("loop", 1)
    if not options:
        return recorded, []
    plan = _plan(recorded, chosen, name)
    trace = _with_offsets(plan, recorded)
    notes = _notes(plan, trace, len(recorded), name)
    if isinstance(loop, int) and loop > 1 and len(trace):
        trace = _repeated(trace, min(loop, limit // len(trace) + 2), plan.period)
        notes.append(f"{name}: --loop {loop}: held against the recording {loop} times over")
    return trace, notes


def _plan(recorded: Trace, chosen: Mapping[str, Any], name: str) -> Plan:
    try:
        options = Options(**{**chosen, "remap": [(str(old), str(new)) for old, new in chosen.get("remap") or ()]})
        if options.select is not None:
            # The plan only notes what is wrong with a selection, and then takes everything.
            select(recorded, options.select)
        plan = make_plan(recorded, options)
    except (TracekitError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the options in the header of {name} cannot be read: {error}", "replay again") from None
    if not plan.count:
        raise InputError(
            f"with the options in the header of {name} no op of the recording is left",
            "name the recording it was made from",
        )
    return plan


def _with_offsets(plan: Plan, recorded: Trace) -> Trace:
    """The planned ops with all that the recording says of them, and the offsets the planner gave to those that had none."""
    trace = Intake(plan.options).take(recorded).sorted()
    columns = {**trace.columns, "offset": plan.trace.col("offset")}
    return Trace(columns, trace.tables, trace.marks, trace.header, trace.trailer, trace.warnings)


def _repeated(trace: Trace, times: int, period: int) -> Trace:
    count = len(trace)
    again = np.repeat(np.arange(times), count)
    columns = {name: np.tile(column, times) for name, column in trace.columns.items()}
    for name in TIME_COLUMNS:
        if name in columns:
            column = columns[name]
            columns[name] = np.where(column == NULL, NULL, column + again * period)
    trailer = None if trace.trailer is None else replace(trace.trailer, ops=count * times)
    return Trace(columns, trace.tables, trace.marks, trace.header, trailer, trace.warnings).sorted()


def _notes(plan: Plan, trace: Trace, recorded: int, name: str) -> list[str]:
    notes = []
    if plan.options.select is not None:
        notes.append(
            f"{name}: held against the {len(trace)} of {recorded} ops that --select {plan.options.select} picks"
        )
    if plan.skipped:
        left_out = ", ".join(f"{reason} {count}" for reason, count in sorted(plan.skipped.items()))
        notes.append(f"{name}: ops that its options leave out are not asked for ({left_out})")
    if plan.options.null_offset != "refuse":
        notes.append(f"{name}: where the recording has no offset, --null-offset {plan.options.null_offset} made it up")
    return notes
