"""`tracekit replay --processes N`: the streams of a trace divided over processes of this machine."""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np

from tracekit import console, formats, pipes
from tracekit.cgroup import cores
from tracekit.errors import TracekitError, UsageError
from tracekit.replay.processes import joined, started
from tracekit.replay.remap import Remap
from tracekit.replay.wire import Wire
from tracekit.trace import Trace
from tracekit.uri import scheme_of
from tracekit.verbs import replay as verb
from tracekit.verbs.replay_options import options_of

# What one process is given where it may choose: it issues two to four times as much, with the cores to itself.
GETS_PER_PROCESS = 3_000
# Each reads the trace and holds a Python of some 60 MB.
MOST = 256
# Where nobody asked, a trace's rate is judged by so many of its ops: a tenth of a second.
LOOKED_AT = 1 << 18
_DIGITS = 9


def wanted(args: argparse.Namespace) -> int:
    """How many processes are to be used.

    Raises:
        UsageError: If `--processes` is neither a number nor `auto`.
    """
    if args.processes is None:
        return _needed_unasked(args)
    text = str(args.processes)
    if text == "auto":
        return _needed(args)
    if not text.isdecimal() or not text.strip("0"):
        raise UsageError(f"--processes {text!r} is no number of processes", "give 1 or more, or auto")
    if len(text) > _DIGITS or not 1 <= int(text) <= MOST:
        raise UsageError(
            f"--processes {text} is more than one machine runs well ({MOST})",
            "give fewer, or auto; mpirun takes more hosts",
        )
    return int(text)


def _needed_unasked(args: argparse.Namespace) -> int:
    """As many as a schedule needs, where nothing was asked for that several processes would do otherwise than one."""
    options = options_of(args)
    of_one = (options.max_inflight, options.max_inflight_bytes, options.max_errors, options.max_error_share)
    if options.pace != "recorded" or options.loop > 1 or options.order == "global" or of_one != (None,) * len(of_one):
        return 1
    try:
        count = _needed(args, LOOKED_AT)
    except TracekitError:
        return 1  # what is wrong with the trace is said with all else that is
    if count > 1:
        console.say(
            f"taking {count} processes: the schedule asks for more requests for objects than one keeps up with (--processes 1)"
        )
    return count


def _needed(args: argparse.Namespace, most_ops: float = math.inf) -> int:
    """As many as the trace's requests for objects keep busy, by its first ops; one where it has none, since threads do for files."""
    options = options_of(args)
    if pipes.once(args.trace):
        return 1
    remap, requests, ops, first, last, streams = Remap(options.remap), 0, 0, None, 0, set[tuple[int, int]]()
    far: list[bool] = []
    for piece in formats.chunks(args.trace, ops=verb.PIECE, time_unit=args.time_unit, skip_bad=args.skip_bad):
        names = piece.strings("uri")
        far += [not scheme_of(remap.apply(name) or name).local for name in names[len(far) :]]
        mine = np.asarray(far, np.bool_)[piece.col("uri")]
        requests += int(mine.sum())
        times = piece.col("t_submit")
        first = int(times.min()) if first is None else min(first, int(times.min()))
        last = max(last, int(times.max()))
        streams |= _streams(piece)
        ops += len(piece)
        if ops >= most_ops:
            break
    if not requests:
        return 1
    busy = math.inf
    if options.pace != "asap":
        seconds = max((last - (first or 0)) / 1e9 / options.speed, 1e-3)
        busy = requests / seconds / GETS_PER_PROCESS
    most = math.ceil(cores())
    return max(1, min(most, len(streams), math.ceil(min(busy, most))))


def _streams(piece: Trace) -> set[tuple[int, int]]:
    pairs = np.unique(np.stack([piece.col("pid"), piece.col("tid")]), axis=1)
    return set(map(tuple, pairs.T.tolist()))


def run_processes(args: argparse.Namespace, count: int) -> int:
    """Replay with so many processes; the exit code."""
    from tracekit.verbs.replay_ranks import run_ranks

    verb.output_name(args)
    with started(count, __name__, args) as wire:
        return run_ranks(args, count, wire, signalled=wire.tell)


def _main() -> int:
    from tracekit.verbs.replay_ranks import run_ranks

    wire: Wire
    wire, args = joined(sys.argv[1:])
    return run_ranks(args, wire.size, wire)


if __name__ == "__main__":
    sys.exit(_main())
