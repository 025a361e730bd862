"""`tracekit checkpoint`: write a workload's checkpoints, read them back and verify them."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from tracekit import console
from tracekit.errors import EXIT_PASS, InputError, UsageError

if TYPE_CHECKING:
    from tracekit.workload.checkpoint import Moved
    from tracekit.workload.job import Checkpoint

_DESCRIPTION = """\
Write the checkpoints of a workload and read them back, every byte verified: the layers and the optimizer of a language model as
tensor, pipeline and ZeRO parallelism deal them to ranks, or a model of one piece. Each rank is a thread of this process. The keys of
DLIO's `checkpoint` section act: type, mode, fsync, rank_sync, recovery_rank_shift, randomize_tensor, numbers and pauses. WORKLOAD is a
DLIO file, or the name of one that comes with tracekit.
"""
_EPILOG = """\
examples:
  tracekit checkpoint unet3d --dry-run                        how large one is
  tracekit checkpoint trace-replay --to checkpoints --writes 3 --reads 3
  tracekit checkpoint llama_8b.yaml --ranks 8 --to s3://bucket/checkpoints ++checkpoint.fsync=True
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add description and options."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument(
        "workload", metavar="WORKLOAD", help="a DLIO workload file, or the name of one that comes with tracekit"
    )
    parser.add_argument(
        "overrides", metavar="++workload.KEY=VALUE", nargs="*", help="set, add (+) or remove (~) a value of the file"
    )
    parser.add_argument("--to", metavar="URI", help="where they go (default: where the workload says)")
    parser.add_argument("--ranks", type=int, metavar="N", help="ranks (default: as many as hold the model once)")
    parser.add_argument(
        "--ranks-per-host",
        type=int,
        default=0,
        metavar="N",
        help="by which recovery_rank_shift shifts (default: all are one host's)",
    )
    parser.add_argument(
        "--writes", type=int, metavar="N", help="checkpoints to write (default: num_checkpoints_write, or 1)"
    )
    parser.add_argument(
        "--reads",
        type=int,
        metavar="N",
        help="checkpoints to read (default: num_checkpoints_read, or as many as are written)",
    )
    parser.add_argument("--zstd", type=int, metavar="LEVEL", help="compress with Zstandard, 1 to 19")
    parser.add_argument("--dry-run", action="store_true", help="only say how large they are")
    parser.add_argument("--json", action="store_true", help="what was moved as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Write, read, verify; exit 0 where every byte came back.

    Raises:
        TracekitError: If the workload is wrong, there is no room, or what is read is not what was written.
    """
    from tracekit.workload.checkpoint import total_bytes
    from tracekit.workload.model_size import model_of
    from tracekit.workload.schedule import counts

    checkpoint = _checkpoint(args)
    ranks = model_of(checkpoint, 1).group if args.ranks is None else args.ranks
    writes, reads = counts(checkpoint)
    # Of what the file says no more than there are; what is asked for here is refused instead.
    reads = reads if args.reads is None else args.reads
    if ranks < 1 or (args.writes or 0) < 0 or reads < 0 or reads > writes:
        raise UsageError(
            f"{reads} checkpoints cannot be read of {writes if args.writes is None else args.writes} by {ranks} ranks",
            "write --reads up to --writes, and --ranks from 1",
        )
    if args.zstd is not None and not 1 <= args.zstd <= 19:
        raise UsageError(f"--zstd is {args.zstd}", "write a level from 1 to 19")
    size = total_bytes(checkpoint, ranks)
    shift = checkpoint.settings["recovery_rank_shift"] and not 0 < args.ranks_per_host < ranks
    if shift:
        console.warn("recovery_rank_shift does nothing: all ranks are one host's; say --ranks-per-host")
    moved = [] if args.dry_run else _driven(args, checkpoint, ranks, writes, reads)
    _show(args, checkpoint, ranks, size, moved)
    again = shlex.join(word for word in args.words if word != "--dry-run")
    console.say(f"next: {again if args.dry_run else f'tracekit record -o checkpoint.jsonl -- {again}'}")
    return EXIT_PASS


def _driven(args: argparse.Namespace, checkpoint: Checkpoint, ranks: int, writes: int, reads: int) -> list[Moved]:
    from tracekit.units import format_bytes
    from tracekit.workload.checkpoint import Told, drive
    from tracekit.workload.model_size import model_of

    model = model_of(checkpoint, ranks)
    shards = (writes + reads) * sum(len(model.shards(rank)) for rank in range(ranks))
    with console.Progress("checkpoint", shards, "shards") as progress:
        told = Told(lambda done, moved: progress.update(done, format_bytes(moved)))
        return drive(checkpoint, ranks, writes, reads, args.ranks_per_host, told)


def _checkpoint(args: argparse.Namespace) -> Checkpoint:
    from tracekit.workload.dlio import load, shipped

    job, _ = load(shipped.path_of(args.workload), [*args.overrides, "++workflow.checkpoint=True"])
    if job.checkpoint is None:
        raise InputError(f"{args.workload} has no checkpoints", "see its section checkpoint")
    settings = {**job.checkpoint.settings, "zstd": args.zstd}
    if args.writes is not None:
        settings["num_checkpoints_write"] = args.writes
    return replace(job.checkpoint, uri=args.to or job.checkpoint.uri, settings=settings)


def _show(args: argparse.Namespace, checkpoint: Checkpoint, ranks: int, size: int, moved: list[Moved]) -> None:
    from tracekit.workload.checkpoint import sums

    found = {what: sums([one for one in moved if one.what == what]) for what in ("write", "read")}
    if args.json:
        facts = {"checkpoint": 1, "uri": checkpoint.uri, "ranks": ranks, "checkpoint_bytes": size, **found}
        console.show(json.dumps(facts, ensure_ascii=False))
        return
    from tracekit.units import counted, format_bytes, format_ns, format_rate

    console.show(f"{checkpoint.uri}: a checkpoint of {format_bytes(size)} by {counted(ranks, 'rank')}")
    for what, one in found.items():
        if one["checkpoints"]:
            rate = format_rate(one["bytes"] / one["seconds"]) if one["seconds"] else "–"
            slowest = format_ns(round(one["slowest_seconds"] * 1e9))
            verified = ", every byte verified" if what == "read" else ""
            console.show(
                f"{what}: {counted(one['checkpoints'], 'checkpoint')}, {format_bytes(one['bytes'])}, {rate}; the slowest took {slowest}{verified}"
            )
