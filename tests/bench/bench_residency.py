"""What noting and restoring the page cache costs: `python tests/bench/bench_residency.py [rounds]`.

Two tables. The first runs a program that opens and reads 20,000 files of one page, by turns with --residency first-read and
off: CPU time per file, the first pass over the files (where each is looked at) and the second (where none is), for both
engines. The second is the lab's set, 200 files of 16 MiB of which a third of the pages is cached in stretches: how long it
takes to see which, to restore them from a cold and from a warm cache, and how many pages agree afterwards. Medians; of times nothing is
asked here, but the exit code is 1 where fewer than 99.9 % of the pages agree.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tracekit.errors import RecorderError
from tracekit.pages import Bitmap
from tracekit.record.engine import choose
from tracekit.storage import cache, restore
from tracekit.storage.restore import PAGE, Agreement

SMALL, LARGE, LARGE_BYTES = 20_000, 200, 16 << 20
LEAST = 0.999  # of the pages
PROGRAM = f"""
import os, time
def once():
    start = time.process_time_ns()
    for number in range({SMALL}):
        fd = os.open(f"small/{{number}}", os.O_RDONLY)
        os.read(fd, 4096)
        os.close(fd)
    return (time.process_time_ns() - start) / {SMALL}
print(once(), once())
"""


def main(rounds: int) -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory(prefix="tracekit-bench-") as directory:
        root = Path(directory)
        _record(root, rounds)
        agreement = _restore(root, rounds)
    if agreement < LEAST:
        sys.exit(f"{100 * LEAST} % of pages are asked to agree")


def _record(root: Path, rounds: int) -> None:
    (root / "small").mkdir()
    for number in range(SMALL):
        (root / "small" / str(number)).write_bytes(b"x" * 3000)
    (root / "program.py").write_text(PROGRAM)
    print(f"{SMALL} small files, {rounds} rounds in turn: CPU ns per open, read and close (medians)")
    print(f"{'engine':8} {'pass':8} {'off':>8} {'first-read':>11} {'added':>7}")
    for engine in _engines():
        times: dict[str, list[list[float]]] = {"off": [], "first-read": []}
        for _ in range(rounds):
            for option, found in times.items():
                found.append(_passes(root, engine, option))
        for index, name in enumerate(("first", "second")):
            off, on = ([pair[index] for pair in times[option]] for option in ("off", "first-read"))
            added = statistics.median(b - a for a, b in zip(off, on, strict=True))
            print(f"{engine:8} {name:8} {statistics.median(off):8.0f} {statistics.median(on):11.0f} {added:7.0f}")


def _engines() -> list[str]:
    try:
        return ["native", "python"] if choose("native").options else ["python"]
    except RecorderError:
        return ["python"]


def _passes(root: Path, engine: str, option: str) -> list[float]:
    command = [sys.executable, "-m", "tracekit", "-q", "record", "-o", "trace.jsonl", "--force", "--engine", engine]
    command += ["--residency", option, "--", sys.executable, "program.py"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return [float(value) for value in done.stdout.split()]


def _restore(root: Path, rounds: int) -> float:
    wanted = _wanted()
    paths = [str(root / f"large-{number}") for number in range(LARGE)]
    for path in paths:
        with open(path, "wb") as file:
            file.write(os.urandom(LARGE_BYTES))
            os.fsync(file.fileno())
    pages, least = LARGE * len(wanted), 1.0
    print(
        f"\n{LARGE} files of {LARGE_BYTES >> 20} MiB, {wanted.mean():.0%} of {pages} pages wanted, {rounds} rounds: s (medians)"
    )
    for before, begin in (("cold", cache.drop), ("warm", cache.fill)):
        seconds, looking, total = [], [], Agreement()
        for _ in range(rounds):
            for path in paths:
                begin(path)
            taken, found = _timed(lambda: [restore.restore(path, wanted) for path in paths])
            seconds.append(taken)
            total = sum((one for one in found if one is not None), total)
            looking.append(_timed(lambda: [restore.look(path) for path in paths])[0])
        least = min(least, total.share)
        print(
            f"from {before}: restore {statistics.median(seconds):.2f}, look {statistics.median(looking):.3f}; "
            f"{100 * total.share:.4f} % of pages agree ({total.missing} missing, {total.extra} extra of {total.pages})"
        )
    return least


def _wanted() -> Bitmap:
    """Stretches of 1 to 256 pages, a third of the file."""
    rng = np.random.default_rng(1)
    bitmap = np.zeros(LARGE_BYTES // PAGE, np.bool_)
    while bitmap.mean() < 1 / 3:
        first = int(rng.integers(len(bitmap)))
        bitmap[first : first + int(rng.integers(1, 257))] = True
    return bitmap


def _timed(call: Callable[[], list[Any]]) -> tuple[float, list[Any]]:
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
