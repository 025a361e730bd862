"""How closely a replay keeps the recorded cadence, against a replayer that sleeps for gaps.

Both replay the same trace, alternately; the medians of the ratios are what counts, because the machine is shared. The naive
one is what is usually written: per stream a thread, `time.sleep(gap)`, `os.pread`. Run: python tests/bench/bench_replay.py
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from tracekit.replay.clock import PythonClock, choose_clock
from tracekit.replay.engines import Choice
from tracekit.replay.session import replay
from tracekit.replay.threads import ThreadsEngine
from tracekit.trace import Op, Trace
from tracekit.uri import file_uri, local_path

ROUNDS = 5
STREAMS = 4
SECONDS = 1.5


def poisson(folder: Path, rate: float) -> Trace:
    """4 KiB reads of warm files at random times, `rate` per second over all streams."""
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.exponential(1e9 / rate, int(rate * SECONDS))).astype(np.int64)
    times -= times[0]
    names = [file_uri(folder / str(index)) for index in range(16)]
    return Trace.of(
        Op(names[rng.integers(16)], int(rng.integers(256)) * 4096, 4096, int(t), pid=i % STREAMS, tid=i % STREAMS)
        for i, t in enumerate(times)
    )


def naive(trace: Trace) -> tuple[np.ndarray, float]:
    """Lateness of each op in ns and the makespan error of a replayer that sleeps for the gap to the next op."""
    fds = {uri: os.open(local_path(uri), os.O_RDONLY) for uri in trace.uris}
    streams: dict[int, list[Op]] = {}
    for op in trace:
        streams.setdefault(op.tid or 0, []).append(op)
    late: list[int] = []
    lock = threading.Lock()
    start = time.monotonic_ns() + 20_000_000
    last = [0]

    def run(ops: list[Op]) -> None:
        mine, previous = [], 0
        time.sleep((start - time.monotonic_ns()) / 1e9)
        for op in ops:
            time.sleep((op.t_submit - previous) / 1e9)
            mine.append(time.monotonic_ns() - start - op.t_submit)
            os.pread(fds[op.uri], op.len, op.offset or 0)
            previous = op.t_submit
        with lock:
            late.extend(mine)
            last[0] = max(last[0], time.monotonic_ns() - start)

    threads = [threading.Thread(target=run, args=(ops,)) for ops in streams.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for fd in fds.values():
        os.close(fd)
    span = int(trace.col("t_submit").max())
    return np.array(late), (last[0] - span) / span


def ours(trace: Trace, choice: Choice) -> tuple[np.ndarray, float, float]:
    """The same of tracekit, and the share of CPU time that others took."""
    done = replay(trace, choice=choice)
    late = done.trace.col("t_submit") - done.trace.col("t_due")
    return np.asarray(late), float(done.run["makespan_error"]), float(done.run["foreign_cpu"])


def main() -> None:
    """Measure and print one JSON line per rate and engine."""
    core, reason = choose_clock()
    clocks = {core.name: core, "python": PythonClock()}
    with tempfile.TemporaryDirectory(prefix="tracekit-bench-") as name:
        folder = Path(name)
        for index in range(16):
            (folder / str(index)).write_bytes(os.urandom(1 << 20))
        for rate in (1_000.0, 5_000.0, 20_000.0):
            trace = poisson(folder, rate)
            for clock_name, clock in clocks.items():
                choice = Choice(ThreadsEngine(clock), clock, reason)
                pairs = [(naive(trace), ours(trace, choice)) for _ in range(ROUNDS)]
                print(json.dumps({"rate": rate, "clock": clock_name, **figures(pairs)}), flush=True)


def figures(pairs: list[tuple[tuple[np.ndarray, float], tuple[np.ndarray, float, float]]]) -> dict[str, float]:
    """Medians over the rounds: absolute figures of both, and the ratio naive / ours round by round."""
    result: dict[str, float] = {}
    for label, share in (("p50", 0.5), ("p99", 0.99)):
        theirs = [float(np.quantile(naive_run[0], share)) / 1e3 for naive_run, _ in pairs]
        mine = [float(np.quantile(our_run[0], share)) / 1e3 for _, our_run in pairs]
        result[f"late_{label}_us_naive"] = round(statistics.median(theirs), 1)
        result[f"late_{label}_us_tracekit"] = round(statistics.median(mine), 1)
        result[f"late_{label}_ratio"] = round(statistics.median(a / b for a, b in zip(theirs, mine, strict=True)), 1)
    result["makespan_error_naive"] = round(statistics.median(abs(naive_run[1]) for naive_run, _ in pairs), 6)
    result["makespan_error_tracekit"] = round(statistics.median(abs(our_run[1]) for _, our_run in pairs), 6)
    result["foreign_cpu"] = round(statistics.median(our_run[2] for _, our_run in pairs), 3)
    return result


if __name__ == "__main__":
    main()
