"""The options of `tracekit replay`, by what they are about, and what they make."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tracekit.units import parse_bytes

if TYPE_CHECKING:
    from tracekit.replay.options import Options


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add those that say what is replayed and how."""
    _add_pacing(parser)
    _add_cache(parser)
    _add_data(parser)
    _add_reading(parser)
    _add_ranks(parser)


def options_of(args: argparse.Namespace) -> Options:
    """The replay's options, checked."""
    from tracekit.replay.options import Options, parse_max_errors, parse_remap

    return Options(
        pace=args.pace,
        speed=args.speed,
        max_inflight=args.max_inflight,
        max_inflight_bytes=parse_bytes(args.max_inflight_bytes) if args.max_inflight_bytes else None,
        cache=args.cache,
        cache_start=args.cache_start,
        drop_cache=args.drop_cache,
        remap=tuple(parse_remap(text) for text in args.remap),
        prepare=args.prepare,
        writes=args.writes,
        scratch=args.scratch,
        client=args.client,
        timeout_s=args.timeout,
        engine=args.engine,
        order=args.order,
        realtime=not args.no_realtime,
        select=args.select,
        loop=args.loop,
        null_offset=args.null_offset,
        direct_align=args.direct_align,
        direct_fallback=args.direct_fallback,
        retries=args.retries,
        **(parse_max_errors(args.max_errors) if args.max_errors else {}),
        skip_unknown=args.skip_unknown,
    )


def _add_pacing(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cadence")
    group.add_argument(
        "--pace",
        default="recorded",
        metavar="auto|recorded|think|asap",
        help="recorded: each op at its recorded time, however long others take (default); think: each stream waits for its "
        "op and then its recorded think time; asap: no waiting; auto: think where the trace can support it",
    )
    group.add_argument(
        "--speed", type=float, default=1.0, metavar="X", help="2 halves the times of the schedule, or the think times"
    )
    group.add_argument("--loop", type=int, default=1, metavar="N", help="replay the trace N times, one after the other")
    group.add_argument("--max-inflight", type=int, metavar="N", help="most ops outstanding at once")
    group.add_argument(
        "--max-inflight-bytes", metavar="SIZE", help="most bytes outstanding at once; a larger op goes alone"
    )
    group.add_argument(
        "--engine",
        default="auto",
        metavar="auto|native|uring|threads",
        help="who issues the ops (default: auto, which says what it takes and why)",
    )
    group.add_argument(
        "--order",
        default="stream",
        metavar="stream|global",
        help="order kept within each stream (default), or across all of them",
    )
    group.add_argument(
        "--no-realtime", action="store_true", help="do not ask for real-time priority while a schedule is kept"
    )
    group.add_argument(
        "--max-errors",
        metavar="N|P%",
        help="stop after more than N failed ops, or P %% of those planned (default: never)",
    )


def _add_cache(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("page cache")
    group.add_argument(
        "--cache",
        default="default",
        metavar="default|random|sequential|direct",
        help="what the kernel is told about our reads; direct goes past the page cache with O_DIRECT",
    )
    group.add_argument(
        "--cache-start",
        default="as-is",
        metavar="as-is|cold|warm|recorded",
        help="what is done to the trace's files before the run: nothing, drop their pages, read them in, or make resident "
        "exactly the pages that were when it was recorded; verified page by page",
    )
    group.add_argument(
        "--drop-cache", action="store_true", help="start cold, and drop the whole machine's page cache too"
    )
    group.add_argument(
        "--direct-align",
        default="round",
        metavar="round|error",
        help="misaligned direct ops read the aligned range around them, or are refused",
    )
    group.add_argument(
        "--direct-fallback", action="store_true", help="read through the page cache where O_DIRECT is refused (counted)"
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    group.add_argument(
        "--remap",
        action="append",
        default=[],
        metavar="FROM=TO",
        help="the data under FROM (a path or URI prefix) is under TO; may be repeated, the longest prefix is used",
    )
    group.add_argument(
        "--prepare", metavar="random|zero", help="make missing files, of real blocks; existing files are never touched"
    )
    group.add_argument(
        "--writes",
        default="scratch",
        metavar="scratch|skip",
        help="writes and deletes go to a scratch directory that is removed afterwards (default), or are left out",
    )
    group.add_argument(
        "--scratch",
        metavar="DIR|URI",
        help="where the scratch directory is made (default: beside the output); s3://bucket/prefix takes the writes of objects",
    )
    group.add_argument(
        "--client",
        default="auto",
        metavar="auto|obstore|sdk",
        help="who makes requests for objects: obstore, and of ranges over plain HTTP the core (auto); sdk is boto3 and azure-storage-blob",
    )
    group.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="a request for an object that takes longer has failed",
    )
    group.add_argument(
        "--retries",
        type=int,
        default=0,
        metavar="N",
        help="make a request that was throttled, or failed in the server or the connection, again at most N times, counted in the "
        "trace (default: 0)",
    )


def _add_reading(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the trace")
    group.add_argument(
        "--select", metavar="EXPR", help="replay only these ops: op=read,uri=*.npy,step=3..9,t=0s..5s,len>=4KiB"
    )
    group.add_argument(
        "--null-offset",
        default="refuse",
        metavar="refuse|zero|sequential",
        help="what a read without recorded offset becomes",
    )
    group.add_argument("--skip-unknown", action="store_true", help="leave out ops of a kind nobody knows")
    group.add_argument(
        "--time-unit",
        default="ns",
        metavar="UNIT",
        help="unit of times in a trace without header: ns (default), us, ms, s",
    )
    group.add_argument("--skip-bad", action="store_true", help="leave out lines that are damaged")


def _add_ranks(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("several processes (also on several hosts, under mpirun or srun)")
    group.add_argument(
        "--processes",
        metavar="N|auto",
        help="divide the streams over N processes of this machine; auto takes as many as the requests for objects keep busy "
        "(default: 1, and several where a schedule asks for more of them than one keeps up with)",
    )
    group.add_argument(
        "--rank-timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="a rank that is silent for so long is lost (default: 30)",
    )
