"""How often a replay on this machine calls itself VALID, and why not when it does not.

On a quiet machine at least 95 % of the runs should. Each run is the real command on a trace of its own kind. Run:
python tests/bench/bench_verdict.py [RUNS-OF-EACH-KIND] [--check]; with --check the exit code is 1 where fewer are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from tracekit import formats
from tracekit.trace import Op, Trace
from tracekit.uri import file_uri

EACH = 6
LEAST = 0.95
STREAMS = 4
FILES, FILE_BYTES = 16, 4 << 20
KINDS: dict[str, tuple[float, float, int, list[str]]] = {
    # ops/s, seconds, bytes of an op, arguments
    "2,000 4 KiB reads/s": (2_000, 1.0, 4096, []),
    "the same for 50 ms": (2_000, 0.05, 4096, []),
    "20,000 4 KiB reads/s": (20_000, 1.0, 4096, []),
    "the same on a ring": (20_000, 1.0, 4096, ["--engine", "uring"]),
    "the same without priority": (20_000, 1.0, 4096, ["--no-realtime"]),
    "1,000 256 KiB reads/s": (1_000, 1.0, 262_144, []),
    "500 reads/s past the cache": (500, 1.0, 16_384, ["--cache", "direct"]),
    "500 reads/s with think times": (500, 1.0, 16_384, ["--pace", "think"]),
    "as fast as possible": (20_000, 1.0, 4096, ["--pace", "asap"]),
    "1,000 reads/s by Python": (1_000, 1.0, 4096, ["--engine", "threads"]),
}


def poisson(folder: Path, rate: float, seconds: float, length: int) -> Trace:
    """Reads at random times, by four threads, each as long as it takes from the page cache."""
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.exponential(1e9 / rate, max(10, int(rate * seconds)))).astype(np.int64)
    times -= times[0]
    places = rng.integers(0, FILE_BYTES // length, len(times)) * length
    names = [file_uri(folder / str(number)) for number in range(FILES)]
    return Trace.of(
        Op(
            names[int(rng.integers(FILES))], int(place), length, int(t),
            t_complete=int(t) + 2000 + length // 10, ret=length, pid=1, tid=index % STREAMS,
        )
        for index, (t, place) in enumerate(zip(times, places, strict=True))
    )  # fmt: skip


def verdict(trace: Path, arguments: list[str]) -> dict[str, object]:
    """What one replay says about itself."""
    command = [sys.executable, "-I", "-m", "tracekit", "-q", "replay", str(trace), "--json", "--force"]
    out = str(trace.with_name("out.jsonl"))
    done = subprocess.run([*command, "-o", out, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    return dict(json.loads(done.stdout))


def main() -> None:
    """Run all kinds in turn, as often as asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("each", nargs="?", type=int, default=EACH)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    each = arguments.each
    words: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    reasons: list[str] = []
    foreign: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(FILES):
            (folder / str(number)).write_bytes(os.urandom(FILE_BYTES))
        os.sync()
        traces = {kind: folder / f"{number}.jsonl" for number, kind in enumerate(KINDS)}
        for kind, (rate, seconds, length, _) in KINDS.items():
            formats.save(poisson(folder, rate, seconds, length), traces[kind])
        for _ in range(each):
            for kind, (*_, options) in KINDS.items():
                run = verdict(traces[kind], options)
                words[kind][str(run["verdict"])] += 1
                foreign.append(float(str(run["foreign_cpu"])))
                if run["verdict"] != "VALID":
                    reasons.append(f"{kind}: {run['verdict']}: {run['reasons']}")
    for kind, count in words.items():
        print(f"{kind:30} " + ", ".join(f"{word} {times}" for word, times in count.most_common()))
    total, valid = each * len(KINDS), sum(count["VALID"] for count in words.values())
    print(f"VALID in {valid} of {total} runs ({100 * valid / total:.0f} %)")
    print(f"other processes used {100 * float(np.median(foreign)):.0f} % of the CPU time in the median run, at most "
          f"{100 * max(foreign):.0f} %")  # fmt: skip
    print("\n".join(reasons))
    if arguments.check and valid < LEAST * total:
        sys.exit(1)


if __name__ == "__main__":
    main()
