"""What is held against what: finds the golden, chooses the mode, reads the traces, and asks the mode for its verdict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness import golden, paired, repeat
from harness.criterion import PAIRED, PROFILE, REPEAT
from harness.envelope import Envelope
from harness.run import Run
from harness.source import Source
from harness.standard import Standard
from harness.verdict import Verdict
from tracekit import formats, pipes
from tracekit.errors import UsageError

MODES = ("auto", PAIRED, REPEAT, PROFILE)


def check(
    traces: Sequence[str],
    against: str,
    *,
    mode: str = "auto",
    remap: Sequence[tuple[str, str]] = (),
    time_unit: str = "ns",
    skip_bad: bool = False,
    presets: Sequence[str] = (),
) -> Verdict:
    """Hold traces against a golden or a recording.

    Args:
        traces: Files to be judged; several are runs of one job.
        against: The name or directory of a golden, or a trace file.
        mode: `paired`, `repeat`, `profile`, or `auto`: paired against a trace, repeat against a golden.
        remap: (FROM, TO) prefixes of uris, paired mode only.
        time_unit: The unit of times of traces without a header.
        skip_bad: Keep the good lines of a damaged trace.
        presets: Published bands to be shown beside ours (`harness.presets`).

    Raises:
        InputError: If a trace or the golden cannot be read.
        UnknownNameError: If there is no golden of that name.
        UsageError: If the mode does not fit what is given.
    """
    chosen = choose_mode(mode, against, len(traces))
    if chosen == PAIRED:
        replay, recording = (Source(name, None, time_unit, skip_bad) for name in (traces[0], against))
        verdict = paired.judge(recording, replay, names=(against, traces[0]), remap=remap, presets=presets)
        return _with_reason(verdict, mode, _why_paired(verdict, traces[0]))
    if remap:
        raise UsageError(f"--remap has no meaning in {chosen} mode", "it pairs ops one by one; leave it out")
    _refuse_the_same(traces)
    standard = _standard(against, time_unit=time_unit, skip_bad=skip_bad)
    warmup = standard.contract.warmup
    runs = [Run.read(trace, time_unit=time_unit, skip_bad=skip_bad, warmup=warmup) for trace in traces]
    verdict = repeat.judge(standard, runs, traces, chosen, presets)
    return _with_reason(
        verdict, mode, f"{standard.name} is made of runs; another job of the same kind is judged with --mode {PROFILE}"
    )


def _refuse_the_same(traces: Sequence[str]) -> None:
    """One run is one run, however often it is named: repeats are what intervals over runs are made of."""
    seen: dict[str, str] = {}
    for trace in traces:
        place = os.path.realpath(trace)
        if place in seen:
            raise UsageError(
                f"{trace} is given twice" + (f" (as {seen[place]})" if seen[place] != trace else ""),
                "name each run once",
            )
        seen[place] = trace


def _with_reason(verdict: Verdict, mode: str, chosen_for: str) -> Verdict:
    return replace(verdict, mode_reason="asked for" if mode != "auto" else chosen_for)


def _why_paired(verdict: Verdict, name: str) -> str:
    if verdict.candidates[0]["verb"] == "replay":
        return f"{name} is a replay by its own header"
    return f"the reference is a trace; another run of its job, with other seeds, is judged with --mode {REPEAT}"


def choose_mode(mode: str, against: str, runs: int) -> str:
    """`paired`, `repeat` or `profile`; errors as of `check`."""
    is_trace = is_trace_file(against)
    chosen = mode if mode != "auto" else PAIRED if is_trace else REPEAT
    if chosen == PAIRED and not is_trace:
        raise UsageError(
            f"{against} is a golden, and a golden holds no ops to pair",
            "name the recording with --golden, or use --mode repeat",
        )
    if chosen == PAIRED and runs != 1:
        raise UsageError(
            f"paired mode judges one trace at a time, not {runs}", "check them one by one, or use --mode repeat"
        )
    return chosen


def is_trace_file(against: str) -> bool:
    """Whether what a golden is asked for by is a trace: an existing file, a pipe, or a name that ends like one.

    Raises:
        InputError: If it looks like a trace and is not there.
    """
    path = Path(against)
    if path.is_file() or pipes.once(against):
        return True
    looks_like_one = path.name.endswith((".jsonl", ".jsonl.zst"))
    if looks_like_one and not path.is_dir():
        raise formats.no_trace(against)
    return False


def _standard(against: str, *, time_unit: str, skip_bad: bool) -> Standard:
    if not is_trace_file(against):
        return golden.load(against).standard()
    return Standard(os.path.basename(against), Envelope.of([Run.read(against, time_unit=time_unit, skip_bad=skip_bad)]))
