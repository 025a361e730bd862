"""The `tracekit` command: finds the verb, runs it, turns errors into one sentence and an exit code.

Only the module of the verb that was asked for is imported, so `--help` starts quickly.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence

from tracekit import __version__, console
from tracekit.errors import EXIT_INTERRUPTED, TracekitError, UnknownNameError

VERBS = {
    "record": ("tracekit.verbs.record", "run a program and write a trace of its I/O"),
    "replay": ("tracekit.verbs.replay", "issue a trace's ops again, with their cadence"),
    "stats": ("tracekit.verbs.stats", "show what a trace does: sizes, latency, queue depth, steps"),
    "doctor": ("tracekit.verbs.doctor", "say what works on this machine and why the rest does not"),
}

_EPILOG = """\
example:
  tracekit record -o train.jsonl -- python train.py     write what the program reads
  tracekit stats train.jsonl                            look at it
  tracekit replay train.jsonl -o again.jsonl            do the same I/O again
  harness check again.jsonl --golden train.jsonl        is it the same?
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `tracekit` with these arguments (default: the process's own); return the exit code."""
    description = "Record a training job's I/O, replay it elsewhere, and look at both."
    return run_verbs("tracekit", description, _EPILOG, VERBS, sys.argv[1:] if argv is None else argv)


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
    parser = argparse.ArgumentParser(
        program, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"{program} {__version__}")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="no progress and no remarks, only results and errors"
    )
    commands = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    asked = next((word for word in argv if not word.startswith("-")), None)
    try:
        if asked is not None and asked not in verbs:
            raise UnknownNameError("verb", asked, verbs)
        for name, (module, text) in verbs.items():
            command = commands.add_parser(name, help=text, formatter_class=argparse.RawDescriptionHelpFormatter)
            # Also after the verb, where people write it; no default of its own, which would undo the one before.
            command.add_argument(
                "-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
            )
            if name == asked:
                importlib.import_module(module).configure(command)
        args = parser.parse_args(argv)
        console.set_quiet(quiet=args.quiet)
        return int(importlib.import_module(verbs[args.verb][0]).run(args))
    except TracekitError as error:
        console.complain(program, f"{error} [{error.slug}]")
        return error.exit_code
    except KeyboardInterrupt:
        console.complain(program, "interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing left to say, also not at interpreter exit.
        sys.stdout = None
        return 0


if __name__ == "__main__":
    sys.exit(main())
