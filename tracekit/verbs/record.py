"""`tracekit record`: run a program and write a trace of its I/O."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from contextlib import suppress
from typing import Any, NoReturn

from tracekit import console
from tracekit.errors import EXIT_NOT_FOUND, EXIT_RECORDER, RecorderError, TracekitError, UsageError, refusal
from tracekit.record import launch, signals
from tracekit.record.engine import ENGINES
from tracekit.record.residence import CHOICES, look_below
from tracekit.record.touched import MODES
from tracekit.verbs.record_live import CHOICES as LIVE
from tracekit.verbs.record_live import Watch

_EXIT_NOT_EXECUTABLE = 126
_DESCRIPTION = """\
Run a program as it is, and write a trace of what its Python processes read and write: files, offsets, sizes, times,
loader workers, training steps and sample ids. Children by fork, spawn and subprocess are followed.

The exit status is the program's own; 128+n when signal n killed it; 127 when it was not found, 126 when it cannot be
executed, 125 when the recorder itself failed.
"""
_EPILOG = """\
Files of the interpreter itself (standard library, installed packages, *.py, *.so, /proc, /sys, /dev) are not recorded,
only their bytes are counted. With --include only what matches is recorded, whatever it is; --exclude always wins. A GLOB
without a slash is held against the file's name, another against its absolute path (file:// and direct:// in front of it
change nothing) or the URI of an object; * crosses slashes.

examples:
  tracekit record -o train.jsonl -- python train.py --epochs 2
  tracekit record -o train.jsonl.zst --include 'data/*' -- python train.py     compressed, and only what is below data
"""

# Whoever records into a file that is moved afterwards says by this variable where to: that name is said, and what comes next is theirs.
KEPT_AS = "TRACEKIT_KEPT_AS"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add description, example and options."""
    parser.description = _DESCRIPTION
    parser.epilog = _EPILOG
    parser.usage = "tracekit record [-o TRACE] [--include GLOB]... [--exclude GLOB]... [options] -- CMD [ARG]..."
    _add_files(parser)
    _add_seen(parser)
    _add_trace(parser)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD", help="the program and its arguments")
    # A status of 2 could be the program's own.
    parser.error = _refuse  # type: ignore[method-assign]  # argparse's way is a subclass, and the parser is made elsewhere


def _add_files(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which files")
    group.add_argument("--include", metavar="GLOB", action="append", default=[], help="record only files that match")
    group.add_argument("--exclude", metavar="GLOB", action="append", default=[], help="do not record files that match")


def _add_seen(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is seen")
    group.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="how to record: python wraps Python's own functions, native hooks the C library and sees native readers too (default: auto, which is native where a trial of it succeeds)",
    )
    group.add_argument(
        "--mmap",
        choices=MODES,
        default="map",
        help="what to see of mapped files: map, that they were mapped; exact, which pages were touched, for 2 to 3 us a "
        "page (native engine, Linux 6.7); pagemap, the same with the pages around them, at no cost to the program's faults",
    )
    group.add_argument(
        "--residency",
        choices=CHOICES,
        default="first-read",
        help="note which pages of each file are in the page cache before its first read, so that replay --cache-start "
        "recorded can restore them (default), or not",
    )
    group.add_argument(
        "--data-root",
        metavar="DIR",
        action="append",
        default=[],
        help="note them for the files below DIR before the program starts instead; may be repeated",
    )
    group.add_argument(
        "--native-children",
        choices=launch.NATIVE_CHILDREN,
        default="report",
        help="programs that are no Python: name each with the bytes it read (report, the default), record them too, by "
        "LD_PRELOAD (preload) or by strace, for two stops of the program per system call and some ms per program (strace), "
        "or leave them out (off)",
    )
    group.add_argument(
        "--raw-syscalls",
        action="store_true",
        help="also see system calls that do not go through the C library (native engine, Linux 5.11, x86-64); every call "
        "of the program then costs 50 to 90 ns more, and such a call 2 to 5 us",
    )


def _add_trace(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the trace")
    group.add_argument(
        "-o",
        "--output",
        metavar="TRACE",
        help="the trace, .jsonl or .jsonl.zst (default: tracekit-NAME.PID.jsonl here)",
    )
    group.add_argument(
        "--live",
        choices=LIVE,
        default="on",
        help="while the program runs show ops and bytes per second and the files that most bytes are of: in the lowest row of a "
        "terminal, which the program's output leaves alone, elsewhere in a line of standard error every ten seconds (engines native and python)",
    )
    group.add_argument("--redact-uris", action="store_true", help="write digests in place of names of files")
    group.add_argument("--force", action="store_true", help="replace an output that exists")
    group.add_argument(
        "--merge", metavar="PARTS", help="make the trace of parts that an interrupted record left behind"
    )


def run(args: argparse.Namespace) -> int:
    """Record; return the program's status."""
    try:
        if args.merge is not None:
            return _merge_again(args)
        return _record(args)
    except RecorderError:
        raise
    except TracekitError as error:
        raise RecorderError(error.cause, error.way_out) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        refused = refusal(error)
        raise RecorderError(refused.cause, refused.way_out) from error


def _refuse(message: str) -> NoReturn:
    console.complain("tracekit", f"{message}; see tracekit record --help [usage]")
    sys.exit(EXIT_RECORDER)


def _record(args: argparse.Namespace) -> int:
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise UsageError("no program was named", "write it after --, as in: tracekit record -- python train.py")
    _check_roots(args)
    plan = launch.Plan(
        command,
        args.output,
        args.include,
        args.exclude,
        args.engine,
        redact=args.redact_uris,
        force=args.force,
        mmap=args.mmap,
        residency=args.residency,
        data=look_below(args.data_root),
        native_children=args.native_children,
        raw_syscalls=args.raw_syscalls,
    )
    return record_program(plan, "off" if args.quiet else args.live)


def record_program(plan: launch.Plan, live: str = "off") -> int:
    """Run the program of a plan, write its trace, and say what is in it; the program's status.

    Args:
        plan: What is recorded, and how.
        live: Whether to show meanwhile what was seen so far, one of `record_live.CHOICES`.

    Raises:
        RecorderError: If the trace could not be made.
        TracekitError: If its output cannot be written.
    """
    # Taken out: what the program records itself is its own.
    kept_as = os.environ.pop(KEPT_AS, "")
    with signals.held():
        _check_output(plan)
        recording = launch.prepare(plan)
        try:
            with Watch(recording, live) as watch:
                status = launch.follow(recording, watch)
        except OSError as error:
            launch.remove_parts(recording)
            return _not_started(plan.command[0], error)
        except BaseException:
            launch.remove_parts(recording)
            raise
    _finish(recording, kept_as)
    return status


def _check_output(plan: launch.Plan) -> None:
    from tracekit import formats

    if plan.output == "-":
        raise UsageError("the trace cannot go to standard output, which is the program's", "name a file with -o")
    formats.check_save(plan.output or "tracekit-.jsonl", force=plan.force)


def _check_roots(args: argparse.Namespace) -> None:
    if args.data_root and args.residency == "off":
        raise UsageError("--data-root notes what is in the page cache and --residency off does not", "leave one out")
    for root in args.data_root:
        if not os.path.exists(root):
            raise UsageError(f"--data-root {root} does not exist", "name the directory that the data is in")


def _not_started(program: str, error: OSError) -> int:
    missing = isinstance(error, FileNotFoundError)
    way_out = "check the name and PATH" if missing else "check that it is a program and may be executed"
    console.complain("tracekit", f"{program} cannot be started: {error.strerror}; {way_out} [not-started]")
    return EXIT_NOT_FOUND if missing else _EXIT_NOT_EXECUTABLE


def _merge_again(args: argparse.Namespace) -> int:
    recording = launch.Run.load(args.merge)
    recording.output = os.path.abspath(args.output) if args.output else recording.output
    recording.force = args.force
    _finish(recording)
    return 0


def _finish(recording: launch.Run, kept_as: str = "") -> None:
    """Write the trace; whatever goes wrong, the parts stay, and the way to go on is said."""
    again = f"the parts are kept; make the trace with: tracekit record --merge {shlex.quote(recording.parts)} -o TRACE"
    try:
        from tracekit.record.finish import finish

        done = finish(recording)
    except KeyboardInterrupt:
        raise RecorderError("interrupted while the trace was being written", again) from None
    except TracekitError as error:
        raise RecorderError(f"the trace could not be written: {error}", again) from error
    except Exception as error:  # the parts are what counts: whatever it was, say where they are
        known = isinstance(error, OSError) and error.strerror
        why = known or f"{type(error).__name__}: {error}"
        raise RecorderError(f"the trace {recording.output} could not be written: {why}", again) from error
    launch.remove_parts(recording)
    with suppress(OSError):  # nobody listens any more; the status is the program's all the same
        _summarise(done, kept_as)


def _summarise(done: Any, kept_as: str) -> None:
    from tracekit.record.coverage import WHY_UNCOUNTED
    from tracekit.record.looks import summary
    from tracekit.units import counted, format_bytes

    tally, trailer = done.tally, done.trailer
    read, written = tally.moved("read"), tally.moved("write")
    output = kept_as or done.output
    name = os.path.relpath(output)
    name = output if name.startswith("..") else name
    console.say(
        f"recorded {counted(tally.count, 'op')} ({format_bytes(read)} read, {format_bytes(written)} written) on "
        f"{counted(tally.files, 'file')} by {counted(len(trailer.processes), 'process', 'processes')} in {name}"
    )
    if trailer.coverage["mmaps"]:
        maps = counted(trailer.coverage["mmaps"], "map")
        console.say(f"{maps} of {format_bytes(trailer.coverage['mapped_bytes'])} in all: {_touched(trailer.coverage)}")
    kernel = trailer.coverage.get("kernel_read_bytes")
    if kernel is not None:
        known = trailer.coverage["traced_read_bytes"] + trailer.coverage["ignored_read_bytes"]
        console.say(
            f"the kernel counted {format_bytes(kernel)} read; {format_bytes(known)} are recorded or knowingly left out"
        )
    else:
        console.warn(WHY_UNCOUNTED)
    if text := summary(trailer.residency):
        console.say(text)
    for text in done.warnings:
        console.warn(text)
    if not kept_as:
        console.say(f"next: tracekit stats {shlex.quote(name)}")


def _touched(coverage: Any) -> str:
    from tracekit.units import format_bytes, format_ns

    if coverage.get("mmap", "map") == "map":
        return "what is touched in them is not seen"
    size, cost = format_bytes(coverage["mapped_touched_bytes"]), format_ns(coverage.get("touched_look_ns", 0))
    if coverage["mmap"] != "exact":
        return f"{size} were touched, as far as page tables show, which take in neighbours; looking took {cost}"
    return f"{size} were touched; looking took {cost}, and every first touch of a page a fault of its own"
