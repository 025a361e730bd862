"""The `tracekit` command: finds the verb, runs it, turns errors into one sentence and an exit code.

Only the module of the verb that was asked for is imported, so `--help` starts quickly.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tracekit import __version__, console, progress, teaching
from tracekit.errors import EXIT_INPUT, EXIT_INTERRUPTED, NO_ROOM, InputError, TracekitError, UnknownNameError, refusal
from tracekit.reflow import refilled
from tracekit.teaching import Parser

VERBS = {
    "record": ("tracekit.verbs.record", "run a program and write a trace of its I/O"),
    "replay": ("tracekit.verbs.replay", "issue a trace's ops again, with their cadence"),
    "run": ("tracekit.verbs.run", "drive a workload: a framework's profile, a DLIO file, or options of your own"),
    "distil": ("tracekit.verbs.distil", "describe the workload of a recording, to be run again or by DLIO"),
    "stats": ("tracekit.verbs.stats", "show what a trace does: sizes, latency, queue depth, steps"),
    "convert": ("tracekit.verbs.convert", "write a trace in another format, or take in another tool's"),
    "plot": ("tracekit.verbs.plot", "draw a trace: sizes, times, depth, what was read when and by whom"),
    "generate": ("tracekit.verbs.generate", "make the data set of a workload, in the formats that frameworks read"),
    "checkpoint": ("tracekit.verbs.checkpoint", "write a workload's checkpoints, read them back and verify them"),
    "dlio": ("tracekit.verbs.dlio", "look through a DLIO workload file, translate it, write it for another version"),
    "doctor": ("tracekit.verbs.doctor", "say what works on this machine and why the rest does not"),
    "completions": ("tracekit.verbs.completions", "print what bash, zsh or fish needs to complete this command"),
}

_DESCRIPTION = "Record a training job's I/O, replay it elsewhere, and look at both."
_EPILOG = """\
example:
  tracekit record -o train.jsonl -- python train.py     write what the program reads
  tracekit stats train.jsonl                            look at it
  tracekit replay train.jsonl -o again.jsonl            do the same I/O again
  harness check again.jsonl --golden train.jsonl        is it the same?
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `tracekit` with these arguments (default: the process's own); return the exit code."""
    return run_verbs("tracekit", _DESCRIPTION, _EPILOG, VERBS, sys.argv[1:] if argv is None else argv)


class _Shown(Parser):
    """Shows its help as wide as the terminal is."""

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(refilled(message, console.width(file or sys.stderr)), file)


def whole_parser() -> Parser:
    """The parser of `tracekit` with every verb's options: what the reference, man pages and completions are made from."""
    return parser_of("tracekit", _DESCRIPTION, _EPILOG, VERBS, VERBS)


def run_verbs(
    program: str, description: str, epilog: str, verbs: Mapping[str, tuple[str, str]], argv: Sequence[str]
) -> int:
    """Parse `argv` for a program of verbs and run the one it names.

    A verb's module has `configure(parser)`, which adds description, example and options, and `run(args) -> int`.

    Args:
        program: The command's name.
        description: One sentence about it.
        epilog: An example.
        verbs: Module name and one-line help of each verb.
        argv: The arguments after the program's name.

    Returns:
        The exit code: the verb's own, or that of the error that ended it.
    """
    console.open_streams()
    try:
        with _signals_for_this_thread():
            asked = next((word for word in argv if not word.startswith("-")), None)
            if asked is not None and asked not in verbs:
                raise UnknownNameError("verb", asked, verbs)
            parser = parser_of(program, description, epilog, verbs, [asked] if asked else [])
            if not argv:
                parser.print_help(sys.stderr)
                return EXIT_INPUT
            args = _parsed(parser, argv)
            args.words = [program, *argv]
        console.set_quiet(quiet=args.quiet)
        try:
            with progress.heard_by(console.Follower()):
                return int(importlib.import_module(verbs[args.verb][0]).run(args))
        finally:
            # Of several commands in one process each is as quiet as it was asked to be.
            console.set_quiet(quiet=False)
    except TracekitError as error:
        console.complain(program, f"{error} [{error.slug}]")
        return error.exit_code
    except UnicodeEncodeError as error:
        return _not_text(program, error)
    except KeyboardInterrupt:
        console.complain(program, "interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing left to say, also not at interpreter exit.
        sys.stdout = None
        return 0
    except OSError as error:
        if error.errno in NO_ROOM:
            sys.stdout = None
        refused = refusal(error)
        console.complain(program, f"{refused} [{refused.slug}]")
        return refused.exit_code


def _not_text(program: str, error: UnicodeEncodeError) -> int:
    # pyarrow, msgspec and others take names as text only; ours go as they are.
    refused = InputError(f"the name {error.object[:200]!r} is not UTF-8", "rename it, or go by a link of another name")
    console.complain(program, f"{refused} [{refused.slug}]")
    return refused.exit_code


@contextmanager
def _signals_for_this_thread() -> Iterator[None]:
    """Keep threads that libraries start while they are imported (NumPy's) from ever taking a signal.

    A signal goes to any thread that does not hold it back: record, which waits for signals, would die of one meant for it to
    pass on. What arrives meanwhile is taken afterwards.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def parser_of(
    program: str, description: str, epilog: str, verbs: Mapping[str, tuple[str, str]], configured: Container[str]
) -> Parser:
    """The parser of a program of verbs (see `run_verbs`).

    Args:
        program: The command's name.
        description: One sentence about it.
        epilog: An example.
        verbs: Module name and one-line help of each verb.
        configured: The verbs whose modules are imported for their options; the others are only named.
    """
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Shown(program, description=description, epilog=epilog, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"{program} {__version__}")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="no progress and no remarks, only results and errors"
    )
    commands = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (module, text) in verbs.items():
        command = commands.add_parser(name, help=text, formatter_class=raw)
        # Also after the verb, where people write it; no default of its own, which would undo the one before.
        command.add_argument("-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        if name in configured:
            importlib.import_module(module).configure(command)
            teaching.complete(command)
    return parser


def _parsed(parser: Parser, argv: Sequence[str]) -> argparse.Namespace:
    """What the arguments say."""
    args, unknown = parser.parse_known_args(argv)
    if hasattr(args, "overrides"):
        # argparse takes words of which there may be none only where the first of them could stand: not after an option.
        args.overrides += [word for word in unknown if not word.startswith("-")]
        unknown = [word for word in unknown if word.startswith("-")]
    if unknown:
        verb = teaching.chosen(parser, args)
        verb.error(teaching.not_known(unknown, verb))
    return args


if __name__ == "__main__":
    sys.exit(main())
