"""What a replay that was killed had done: its working files, made into a trace without a trailer.

The results are in a file a fraction of a second after ops complete, of Python's threads (objects) at once; what is needed to read
them is written down before the run begins. Threads write at moments of their own, so when the process is killed a stream may
have an op in the file and not the one before it: what lies behind such a gap is left out, and every stream is whole up to its
end.
"""

from __future__ import annotations

import os
import time
from dataclasses import fields, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tracekit.errors import InputError
from tracekit.formats.lines import header_line
from tracekit.formats.writer import Writer
from tracekit.replay.compile import Program
from tracekit.replay.engines import FAR_RESULT, RESULT, RESULTS, Outcome
from tracekit.replay.ops import scaled
from tracekit.replay.ordering import in_order
from tracekit.replay.plan import Plan
from tracekit.replay.records import BLOCK, Records
from tracekit.replay.result import Done, Output
from tracekit.replay.rows import IDENTITIES, ROW
from tracekit.replay.survey import Uses
from tracekit.trace import Header, StringTable

Int64s = NDArray[np.int64]
ABOUT = "about.json"
# 1: the first.
_VERSION = 1


class About(msgspec.Struct):
    """What is needed to read the working files of a replay; the two clocks are of one moment."""

    replay_leftover: int
    rows: str
    names: list[str]
    tables: dict[str, list[str]]
    who: list[list[int]]
    stream_of: list[int]
    pace: str
    origin: int
    period: int
    speed: float
    header: dict[str, Any]
    monotonic_ns: int
    unix_ns: int
    far: bool = False
    retries: int = 0


def describe(folder: str, plan: Plan, header: Header) -> None:
    """Write down what the plan's working files are."""
    program = plan.program
    about = About(
        _VERSION, program.rows.name, sorted(program.names), {name: table.strings for name, table in program.tables.items()},
        program.who.tolist(), program.stream_of.tolist(), plan.pace, program.origin, plan.period, plan.options.speed,
        header_line(header), time.monotonic_ns(), time.time_ns(), any(not file.local for file in plan.files if file.storage is not None),
        plan.options.retries,
    )  # fmt: skip
    with open(os.path.join(folder, ABOUT), "wb") as file:
        file.write(msgspec.json.encode(about))


def has_results(folder: str) -> bool:
    """Whether ops were done."""
    try:
        if os.path.getsize(os.path.join(folder, RESULTS)) < RESULT.itemsize:
            return False
        return any(block["complete"].any() for _, block in _results(folder, _read(folder)).blocks())
    except msgspec.DecodeError:
        return True  # something is there; what it is, is said when it is asked for
    except OSError:
        return False


def _results(folder: str, about: About) -> Records:
    return Records(FAR_RESULT if about.far else RESULT, folder, RESULTS)


def _complete(results: Records) -> Records:
    """Those that were completed: where room was taken before the run, others are there too."""
    if all(block["complete"].all() for _, block in results.blocks()):
        return results
    kept = Records(results.dtype)
    for _, block in results.blocks():
        kept.append(block[block["complete"] > 0])
    return kept


def recover(folder: str, writer: Writer) -> tuple[int, int]:
    """Write the trace of what was done, without a trailer: how many ops it has, and how many lay behind a gap in their stream.

    Raises:
        InputError: If the directory is not what a replay left behind, or nothing had been done.
    """
    about = _about(folder)
    program, results = _program(folder, about), _complete(_results(folder, about))
    t0 = _start(program, about, results)
    output = Output(program, about.pace, Outcome([], t0, 0), about.retries)
    named = {field.name for field in fields(Header)}
    header = Header(**{name: value for name, value in about.header.items() if name in named})
    unix_ns = about.unix_ns + t0 - about.monotonic_ns
    writer.header(replace(header, clock={**header.clock, "t0_unix_ns": unix_ns}))
    gaps, kept = _gaps(program, results), 0
    for block in in_order(results, "submit"):
        whole = block[block["row"] < gaps[_streams(program, block["row"])]]
        kept += len(whole)
        writer.ops(output.piece(Done.of(program, whole)))
    return kept, len(results) - kept


def _streams(program: Program, numbers: Int64s) -> NDArray[np.int32]:
    """The streams of ops by their numbers in the order across streams."""
    return program.streams_of(program.rows.take(numbers % len(program)))


def _gaps(program: Program, results: Records) -> Int64s:
    """For each stream the number of its first op that is missing while a later op (of any stream) is there."""
    gaps = np.full(int(program.stream_of.max()) + 1, np.iinfo(np.int64).max)
    there = 0
    for block in in_order(results, "row"):
        numbers = block["row"]
        for first in range(there, int(numbers[-1]) + 1, BLOCK):
            end = min(first + BLOCK, int(numbers[-1]) + 1)
            missing = np.setdiff1d(np.arange(first, end), numbers, assume_unique=True)
            np.minimum.at(gaps, _streams(program, missing), missing)
        there = int(numbers[-1]) + 1
    return gaps


def _about(folder: str) -> About:
    way_out = "name the .parts directory that a killed replay left beside its output"
    if not has_results(folder):
        raise InputError(f"{folder} holds no results of a replay", way_out)
    try:
        return _read(folder)
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{folder} is not what a replay leaves behind ({error})", way_out) from None


def _read(folder: str) -> About:
    with open(os.path.join(folder, ABOUT), "rb") as file:
        return msgspec.json.decode(file.read(), type=About)


def _program(folder: str, about: About) -> Program:
    tables = {name: StringTable(strings) for name, strings in about.tables.items()}
    who = np.array(about.who, np.int32).reshape(-1, len(IDENTITIES))
    stream_of, rows = np.array(about.stream_of, np.int32), Records(ROW, folder, about.rows)
    return Program(rows, tables, frozenset(about.names), who, stream_of, "", Uses(0), origin=about.origin)


def _start(program: Program, about: About, results: Records) -> int:
    """The run's t0: what the schedule says it was, or when the first stream of a closed loop was free."""
    if about.pace != "recorded":
        return min(int(block["free"].min()) for _, block in results.blocks())
    first = results.read(0, 1)
    row = program.rows.take(first["row"] % len(program))
    due = scaled(row["t_submit"] - about.origin, about.speed) + first["row"] // len(program) * about.period
    return int((first["due"] - due)[0])
