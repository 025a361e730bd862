"""The `harness` command: finds the verb and runs it (see tracekit.cli)."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from tracekit.cli import parser_of, run_verbs
from tracekit.teaching import Parser

VERBS = {
    "check": ("harness.verbs.check", "hold a trace against a golden, or a replay against its recording"),
    "compare": ("harness.verbs.compare", "the differences of two traces or two sets of runs, without a verdict"),
    "learn": ("harness.verbs.learn", "learn from runs of one job how much they differ, and what can be decided"),
    "bless": ("harness.verbs.bless", "make what was learned a golden, or the next revision of one"),
    "power": ("harness.verbs.power", "how many runs and ops it takes to decide with a golden"),
    "matrix": (
        "harness.verbs.matrix",
        "replay a recording in several cache scenarios, and check that they differ as they must",
    ),
    "list": ("harness.verbs.list", "the goldens there are"),
    "show": ("harness.verbs.show", "what a golden models, where it comes from, and its figures"),
    "record-golden": ("harness.verbs.record_golden", "record a golden's program again and again"),
    "selftest": ("harness.verbs.selftest", "how often the harness is wrong, measured"),
    "demo": ("harness.verbs.demo", "record a training loop, replay it, judge a good and a bad replay"),
    "completions": ("tracekit.verbs.completions", "print what bash, zsh or fish needs to complete this command"),
}

_DESCRIPTION = "Say whether a trace is like another, with a verdict per criterion and the reason in words."
_EPILOG = """\
example:
  harness check replay.jsonl --golden train.jsonl      is the replay the recording?
  harness check run.jsonl --golden torch-like          is the run like PyTorch's loader?
  harness check --golden torch-like                    run that golden's own program here and judge it
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `harness` with these arguments (default: the process's own); return the exit code."""
    with _ended_like_interrupted():
        return run_verbs("harness", _DESCRIPTION, _EPILOG, VERBS, sys.argv[1:] if argv is None else argv)


def whole_parser() -> Parser:
    """The parser of `harness` with every verb's options (see tracekit.cli)."""
    return parser_of("harness", _DESCRIPTION, _EPILOG, VERBS, VERBS)


@contextmanager
def _ended_like_interrupted() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does: programs that were started are stopped, and temporary files are removed.

    Whoever ignores one of them (nohup) goes on doing so; another thread than the main one is not told of signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    # Whoever asks twice gets no more than whoever asks once: what is being removed would stay.
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
