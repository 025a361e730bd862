"""The catalogue of edits that `harness selftest` judges the harness by.

Dialled edits are set to a multiple of what a criterion tolerates. Which criterion that is depends on the mode and on what the
trace can tell, so each edit names several: the first that it can move far enough is the one it is set by, and the one that
must name it. Plain edits have no dial; they must fail, or pass, as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from harness import dials, mutations
from harness.criterion import PAIRED, REPEAT
from tracekit.trace import Trace

Dial = Callable[[Trace, float, int], Trace]


@dataclass(frozen=True)
class Edit:
    """A change of a trace that must not pass.

    Args:
        name: What it is called in reports.
        kind: sizes, mix, order, locality, drops, duplicates, splits, cadence, concurrency or latency.
        apply: The edit: trace, amount, seed.
        criteria: By mode, the criteria that must see it; a mode that is missing cannot see it, and `blind` says why.
        most: The largest amount.
        blind: By mode, why it cannot be seen.
        asks: What a trace has to have for repeat mode to see it: a figure and its least value. Without, `blind` says why.
    """

    name: str
    kind: str
    apply: Dial
    criteria: Mapping[str, Sequence[str]]
    most: float = 1.0
    blind: Mapping[str, str] = field(default_factory=dict)
    asks: tuple[str, float] | None = None


def _plain(edit: Callable[[Trace], Trace]) -> Dial:
    return lambda trace, _amount, _seed: edit(trace)


_ENVIRONMENT = {
    REPEAT: "when ops come and how long they take is the environment: one run on a shared host decides nothing about it"
}
_SERVICE = {
    **_ENVIRONMENT,
    PAIRED: "how long the target takes is not what the replay asks of it",
}

DIALLED: Sequence[Edit] = (
    Edit("all requests larger", "sizes", dials.scaled, {PAIRED: ["size.mean"], REPEAT: ["size.mean"]}),
    Edit("some requests doubled", "sizes", dials.some_doubled, {PAIRED: ["size.match", "size.ks"], REPEAT: ["size.match", "size.ks"]}),
    Edit("some requests halved", "sizes", dials.some_halved, {PAIRED: ["size.ks", "size.match"], REPEAT: ["size.ks", "size.match"]}),
    Edit("some reads are writes", "mix", dials.some_writes, {PAIRED: ["ops.missing"], REPEAT: ["ops.mix"]}),
    Edit("some ops fail", "mix", dials.some_failing, {PAIRED: ["ops.errors"], REPEAT: ["ops.errors"]}),
    Edit(
        "some ops shuffled", "order", dials.some_shuffled,
        {PAIRED: ["order.stream"], REPEAT: ["order.sequential", "order.sequential-stream", "order.seek"]},
        blind={REPEAT: "records are read in random order as it is: another random order is the same job"},
    ),
    Edit(
        "some reads at random places", "locality", dials.some_elsewhere,
        {PAIRED: ["ops.missing"], REPEAT: ["order.sequential", "order.reaccess"]},
    ),
    Edit(
        "some reads of one hot place", "locality", dials.some_hot,
        {PAIRED: ["ops.missing"], REPEAT: ["order.reaccess", "order.sequential"]},
    ),
    Edit(
        "some ops dropped", "drops", dials.some_dropped,
        {PAIRED: ["ops.missing"], REPEAT: ["sample.ops", "data_ops", "order.sequential"]}, most=0.5,
    ),
    Edit("some files dropped", "drops", dials.files_dropped, {PAIRED: ["ops.missing"], REPEAT: ["files.distinct"]}, most=0.5),
    Edit("cut short", "drops", dials.cut_short, {PAIRED: ["ops.missing"], REPEAT: ["data_ops", "order.reaccess"]}, most=0.5),
    Edit(
        "some ops twice", "duplicates", dials.some_twice,
        {PAIRED: ["ops.extra"], REPEAT: ["sample.ops", "data_ops", "order.reaccess"]},
    ),
    Edit("some reads split", "splits", dials.some_split, {PAIRED: ["ops.extra"], REPEAT: ["sample.ops", "data_ops", "size.match"]}),
    Edit("some reads merged", "splits", dials.some_merged, {PAIRED: ["ops.missing"], REPEAT: ["size.match", "sample.ops"]}),
    Edit("faster", "cadence", dials.faster, {PAIRED: ["time.duration"]}, blind=_ENVIRONMENT),
    Edit("slower", "cadence", dials.slower, {PAIRED: ["time.duration"]}, blind=_ENVIRONMENT),
    Edit("late by random times", "cadence", dials.jittered, {PAIRED: ["time.shift-p50"]}, blind=_ENVIRONMENT),
    Edit("bunched", "cadence", dials.bunched, {PAIRED: ["arrival.rate", "time.shift-p50"]}, blind=_ENVIRONMENT),
)  # fmt: skip

# What no setting of a dial may let through: always FAIL, by one of these names.
ALWAYS: Sequence[Edit] = (
    Edit(
        "shuffled, the same sizes", "order", _plain(mutations.shuffled),
        {PAIRED: ["order.stream"], REPEAT: ["order.sequential", "order.sequential-stream", "order.seek"]},
        blind={REPEAT: "records are read in random order as it is: another random order is the same job"},
        asks=("order.sequential", 0.1),
    ),
    Edit(
        "no shuffle", "order", _plain(mutations.in_order_of_names), {PAIRED: ["ops.missing"], REPEAT: ["order.first-touch", "order.jump"]},
        blind={REPEAT: "every file is opened at the beginning, or there are too few: the order of files says nothing"},
        asks=("files.distinct", 100),
    ),
    Edit(
        "half the streams", "concurrency", _plain(mutations.half_the_streams),
        {PAIRED: ["streams.count"], REPEAT: ["streams.peak", "streams.workers"]},
    ),
    Edit("one stream", "concurrency", _plain(mutations.one_stream), {PAIRED: ["streams.count"], REPEAT: ["streams.peak", "streams.workers"]}),
    Edit(
        "every stream on two threads", "concurrency", _plain(mutations.streams_split),
        {PAIRED: ["streams.count"], REPEAT: ["streams.peak", "streams.workers"]},
    ),
    Edit("evenly spaced", "cadence", _plain(mutations.smoothed), {PAIRED: ["arrival.dispersion"]}, blind=_ENVIRONMENT),
    Edit("as fast as possible", "cadence", _plain(mutations.as_fast_as_possible), {PAIRED: ["time.duration"]}, blind=_ENVIRONMENT),
    Edit("half the sizes", "sizes", _plain(mutations.halved_sizes), {PAIRED: ["size.match"], REPEAT: ["size.match"]}),
    Edit(
        "from the start", "locality", _plain(mutations.from_the_start),
        {PAIRED: ["ops.missing"], REPEAT: ["order.sequential", "order.reaccess"]},
    ),
    Edit(
        "every second op dropped", "drops", _plain(mutations.every_second),
        {PAIRED: ["ops.missing"], REPEAT: ["sample.ops", "data_ops", "order.sequential"]},
    ),
    Edit(
        "other files", "locality", _plain(mutations.other_files), {PAIRED: ["ops.missing"]},
        blind={REPEAT: "names of files are no part of a golden"},
    ),
)  # fmt: skip

# What is known not to be seen, everywhere: shown with what the verdict said.
UNSEEN: Sequence[Edit] = (
    Edit("service times doubled", "latency", dials.longer_service, {}, blind=_SERVICE),
    Edit("the slowest 5 % take twice as long", "latency", dials.longer_tail, {}, blind=_SERVICE),
    Edit(
        "one op at a time", "concurrency", _plain(mutations.one_at_a_time), {},
        blind={
            PAIRED: "ops too short to meet: a cap shows in the replay's header, or where more than 40 meetings are to be expected",
            REPEAT: "ops too short to meet: it shows where more than 40 meetings are to be expected",
        },
    ),
)  # fmt: skip

HARMLESS: Mapping[str, Callable[[Trace], Trace]] = {
    "streams renumbered": mutations.renumbered,
    "another origin of time": mutations.later,
    "data moved": lambda trace: mutations.moved_data(trace, "file:///", "file:///elsewhere/"),
}
