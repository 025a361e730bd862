"""The working files of a replay beside its output, and what a killed one left of them."""

from __future__ import annotations

import argparse
import glob
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from tracekit import console
from tracekit.errors import EXIT_PASS, UsageError
from tracekit.units import counted


@contextmanager
def parts_of(output: str) -> Iterator[str | None]:
    """A directory beside the output for the working files. What was done stays there when the output cannot be written."""
    from tracekit.replay.leftover import has_results

    if output == "-" or (os.path.exists(output) and not os.path.isfile(output)):
        # A pipe or a device: what is beside it is no place for files.
        yield None
        return
    for left in sorted(glob.glob(f"{glob.escape(output)}.*.parts")):
        if has_results(left):
            console.warn(f"an earlier replay to {output} did not end; {_way_back(left)}")
    prefix = f"{os.path.basename(output)[:200]}."
    folder = tempfile.mkdtemp(prefix=prefix, suffix=".parts", dir=os.path.dirname(output) or ".")
    try:
        yield folder
    except BaseException:
        if has_results(folder):
            console.complain("tracekit", f"what was done is kept; {_way_back(folder)}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def recover_parts(args: argparse.Namespace) -> int:
    """Make the trace of parts; the exit code."""
    from tracekit import formats
    from tracekit.replay.leftover import recover

    if args.trace or not args.output:
        raise UsageError("--recover makes a trace of parts and replays none", "write --recover PARTS -o TRACE")
    with formats.writing(args.output, force=args.force) as writer:
        count, behind = recover(args.recover, writer)
    if behind:
        console.warn(f"{counted(behind, 'op')} left out: of the op before in the same stream nothing had been written")
    console.say(f"wrote {args.output} ({counted(count, 'op')}); it has no trailer, since the replay did not end")
    console.say(f"the parts are no longer needed: rm -r {shlex.quote(args.recover)}")
    return EXIT_PASS


def _way_back(parts: str) -> str:
    return f"make its trace with: tracekit replay --recover {shlex.quote(parts)} -o TRACE"
