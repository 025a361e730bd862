"""What a replay was to issue: the recording as the replayer itself plans it with the options in the replay's header.

A selection, other names for the data, ops that were left out and repetitions are the user's wish; a replay is judged by whether
it did what it was asked to. The speed, the pace and caps are not mapped: whether they change the load is the question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.run import Reading
from harness.source import Source
from tracekit.errors import InputError, TracekitError
from tracekit.metrics.levels import Tally
from tracekit.replay.intake import Intake
from tracekit.replay.options import Options
from tracekit.replay.plan import Plan, make_plan
from tracekit.selection import select
from tracekit.trace import Mark, Trace

# The options that say which ops are issued, and under which names.
MAPPED = ("select", "remap", "writes", "null_offset", "skip_unknown")


def read_expected(
    recorded: Source, options: Mapping[str, Any], name: str, limit: int, tally: Callable[[], Tally]
) -> tuple[Reading, list[str]]:
    """The ops that a replay of a recording with these options issues, and sentences about how they differ from it.

    Args:
        recorded: The recording.
        options: The options in the replay's header; empty where the trace is no replay.
        name: What to call the replay in sentences.
        limit: About how many ops there can be at most; more repetitions than that are not laid out.
        tally: Makes what is to see these ops, anew for every try.

    Raises:
        InputError: If the options cannot be read, or do not fit the recording.
    """
    if not options:
        return recorded.fold(lambda marks: Reading(marks, others=[tally()])), []
    asked = _Asked.of(recorded, options, name)
    if asked.loop > 1:
        return _repeated(recorded, asked, limit, tally)
    reading = recorded.fold(lambda marks: _begun(marks, asked, tally))
    return reading, asked.notes(reading)


@dataclass(frozen=True)
class _Asked:
    """What a replay was asked to do, and the plan of it where more than its options is needed.

    Args:
        options: Those that say which ops are issued.
        loop: How often.
        name: What to call the replay.
        plan: Tells how long a repetition takes, and which offsets were made up.
    """

    options: Options
    loop: int
    name: str
    plan: Plan | None

    @classmethod
    def of(cls, recorded: Source, options: Mapping[str, Any], name: str) -> _Asked:
        chosen = {key: options[key] for key in MAPPED if key in options}
        loop = options.get("loop", 1)
        loop = loop if isinstance(loop, int) else 1
        with _readable(name):
            pairs = [(str(old), str(new)) for old, new in chosen.get("remap") or ()]
            meant = Options(**{**chosen, "remap": pairs})
            Intake(meant)
            plan = make_plan(recorded.pieces(), meant) if loop > 1 or meant.null_offset != "refuse" else None
        return cls(meant, loop, name, plan)

    def notes(self, reading: Reading) -> list[str]:
        """How what is issued once differs from the recording.

        Raises:
            InputError: If nothing is.
        """
        part, name = reading.part, self.name
        assert isinstance(part, _Issued)
        if not reading.kept:
            raise InputError(
                f"with the options in the header of {name} no op of the recording is left",
                "name the recording it was made from",
            )
        notes = []
        if self.options.select is not None:
            notes.append(
                f"{name}: held against the {reading.kept} of {reading.ops} ops that --select {self.options.select} picks"
            )
        if part.skipped:
            left_out = ", ".join(f"{reason} {count}" for reason, count in sorted(part.skipped.items()))
            notes.append(f"{name}: ops that its options leave out are not asked for ({left_out})")
        if self.options.null_offset != "refuse":
            notes.append(
                f"{name}: where the recording has no offset, --null-offset {self.options.null_offset} made it up"
            )
        return notes


class _Issued:
    """The part of a recording that is issued, under the names it has then."""

    def __init__(self, asked: _Asked) -> None:
        self._asked = asked
        self._intake = Intake(asked.options)
        self._place = 0

    @property
    def skipped(self) -> Mapping[str, int]:
        """Ops that are left out, by reason."""
        return self._intake.skipped

    def marks(self, marks: Sequence[Mark]) -> Sequence[Mark]:
        """All of them."""
        return marks

    def without(self, piece: Trace, kept: int) -> Trace:
        """The ops of a piece that are issued, with the offsets that the planner gave to those that had none."""
        del kept
        options, plan = self._asked.options, self._asked.plan
        with _readable(self._asked.name):
            if options.select is not None:
                # The intake only notes what is wrong with a selection, and then takes everything.
                select(piece, options.select)
            taken = self._intake.take(piece).sorted()
        if plan is None or not len(taken):
            return taken
        rows = plan.program.rows.read(self._place, len(taken))
        self._place = (self._place + len(taken)) % plan.count
        columns = {**taken.columns, "offset": np.ascontiguousarray(rows["offset"])}
        return Trace(columns, taken.tables, taken.marks, taken.header, taken.trailer, taken.warnings)


def _begun(marks: Sequence[Mark], asked: _Asked, tally: Callable[[], Tally]) -> Reading:
    return Reading(marks, _Issued(asked), others=[tally()])


def _repeated(recorded: Source, asked: _Asked, limit: int, tally: Callable[[], Tally]) -> tuple[Reading, list[str]]:
    """The ops as often as they are issued, each time as much later as a repetition takes."""
    kept = recorded.kept()
    reading = _begun(kept.marks, asked, tally)
    for piece in kept.pieces():
        reading.update(piece)
    notes, part = asked.notes(reading), reading.part
    assert isinstance(part, _Issued)
    assert asked.plan is not None
    for nth in range(1, min(asked.loop, limit // reading.kept + 2)):
        for piece in kept.pieces():
            reading.count(part.without(piece, 0).shifted(nth * asked.plan.period))
    return reading, [*notes, f"{asked.name}: --loop {asked.loop}: held against the recording {asked.loop} times over"]


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Say of which trace it is that options in a header cannot be read."""
    try:
        yield
    except (TracekitError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the options in the header of {name} cannot be read: {error}", "replay again") from None
