"""`tracekit distil`: from a recording, the workload that makes a run like it."""

from __future__ import annotations

import argparse
import json

from tracekit import console, progress
from tracekit.errors import EXIT_PASS, InputError, UsageError
from tracekit.output import check_output, write_text

_DESCRIPTION = """\
Describe the workload of a recording: its files and their sizes, by which requests they are read, batches, workers, prefetch, order,
epochs, how long a step computes, checkpoints. The description is a file that `tracekit run` drives and DLIO 2.0.0 reads. Beside each
value stands how sure it is: how it was found, from how many observations, how far it can be off. What the recording does not say is
named, and a stand-in is marked as one.
"""
_EPILOG = """\
The recording needs steps: those of a PyTorch DataLoader are recorded by themselves, others are marked with tracekit.step().

examples:
  tracekit distil train.jsonl -o workload.yaml
  tracekit run workload.yaml -o run.jsonl                       a run like the recorded one, on files of the same sizes
  harness check run.jsonl --golden train.jsonl --mode repeat    is it?
  tracekit distil train.jsonl --dlio dlio.yaml                  DLIO's part alone
  tracekit distil train.jsonl --json                            every value with its confidence
  tracekit distil train.jsonl --select 'uri=*/train/*' -o workload.yaml

exit codes: 0 done, 2 bad input
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add description, example and options."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    output = parser.add_argument_group("what is written")
    recording = parser.add_argument_group("the recording")
    parser.add_argument("trace", metavar="TRACE", help="a recording; - is standard input")
    output.add_argument("-o", "--output", metavar="FILE", help="the workload file (default: standard output)")
    output.add_argument("--dlio", metavar="FILE", help="write the part for DLIO into a file of its own")
    output.add_argument("--json", action="store_true", help="every value with its confidence as one JSON object")
    output.add_argument("--name", help="what to call the workload (default: the name of the program)")
    recording.add_argument("--select", metavar="EXPR", help="describe only some ops, as in replay --select")
    recording.add_argument(
        "--time-unit", default="ns", metavar="UNIT", help="unit of times in a file without header: ns, us, ms, s"
    )
    recording.add_argument("--skip-bad", action="store_true", help="leave bad lines out and say how many")
    output.add_argument("--force", action="store_true", help="replace outputs that exist")


def run(args: argparse.Namespace) -> int:
    """Distil and write; exit 0.

    Raises:
        TracekitError: If the trace, or what it holds, is not enough, or an argument is wrong.
    """
    from tracekit import formats, selection
    from tracekit.workload.distil import text
    from tracekit.workload.distil.describe import describe

    for output in (args.output, args.dlio):
        if output is not None:
            check_output(output, force=args.force)
    if args.output is not None and args.output == args.dlio:
        raise UsageError(f"both files are to be {args.output}", "name another for one of them")
    trace = formats.load(args.trace, time_unit=args.time_unit, skip_bad=args.skip_bad)
    if args.select is not None:
        chosen = trace.select(selection.select(trace, args.select))
        if not len(chosen):
            raise InputError("no op of the trace is left to describe", selection.hint(args.select, trace.tables))
        trace = chosen
    with progress.during("describing"):
        found = describe(trace, args.trace, args.name)
    if args.output is not None:
        write_text(args.output, text.workload(found), force=args.force)
    if args.dlio is not None:
        write_text(args.dlio, text.dlio_text(found), force=args.force)
    if args.json:
        console.show(json.dumps(text.to_json(found), indent=1, ensure_ascii=False))
    elif args.output is None and args.dlio is None:
        console.show(text.workload(found).rstrip("\n"))
    if args.output is not None:
        for sentence in found.unsaid():
            console.say(f"not in the recording: {sentence}")
        if sentence := text.beside(found):
            console.say(sentence)
        console.say(f"next: {text.following(found, args.output)}")
    return EXIT_PASS
