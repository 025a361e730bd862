"""What the recorder adds to an interpreter's start: `python tests/bench/bench_record_start.py [rounds]`.

`python -c pass` untraced, recorded by the native engine and by the Python engine, in turn. Medians of the differences within a
round, of the processes' CPU time and of wall time (noisy where other work runs); no threshold is checked here. Then what our .pth
file costs an interpreter that is not recorded, against an empty one.
"""

from __future__ import annotations

import os
import site
import statistics
import sys
import tempfile
import time
import timeit
from collections.abc import Mapping
from pathlib import Path

from tracekit.record import launch, pth

PROGRAM = ("-c", "pass")


def main(rounds: int) -> None:
    """Print both tables."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        _starts(root, max(rounds, 21))
        _pth_file(root)


def _starts(root: Path, rounds: int) -> None:
    runs = {name: launch.prepare(launch.Plan(["x"], str(root / name), engine=name)) for name in ("native", "python")}
    variants = {"untraced": dict(os.environ)}
    variants.update({name: launch._environment(run.parts) for name, run in runs.items()})
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for number in range(rounds + 3):
        for name, environment in variants.items():
            found = _once(environment)
            if number >= 3:  # what is not in the page cache yet is no part of it
                times[name].append(found)
    for run in runs.values():
        launch.remove_parts(run)
    print(f"interpreter start, {rounds} rounds in turn; ms, medians (added: of the differences within a round)")
    print(f"{'':10} {'CPU':>7} {'added':>7} {'wall':>7} {'added':>7}")
    for name, values in times.items():
        cpu, wall = (statistics.median(value[kind] for value in values) for kind in (0, 1))
        pairs = list(zip(values, times["untraced"], strict=True))
        added = [statistics.median(mine[kind] - plain[kind] for mine, plain in pairs) for kind in (0, 1)]
        print(f"{name:10} {cpu:7.2f} {added[0]:7.2f} {wall:7.2f} {added[1]:7.2f}")


def _once(environment: Mapping[str, str]) -> tuple[float, float]:
    """(CPU, wall) time of one start in ms."""
    begin = time.perf_counter_ns()
    pid = os.posix_spawn(sys.executable, [sys.executable, *PROGRAM], environment)
    _, status, usage = os.wait4(pid, 0)
    wall = (time.perf_counter_ns() - begin) / 1e6
    if status:
        raise SystemExit(f"python ended with {status}")
    return (usage.ru_utime + usage.ru_stime) * 1e3, wall


def _pth_file(root: Path) -> None:
    os.environ.pop(pth.VARIABLE, None)
    (root / "ours.pth").write_text(pth.line())
    (root / "empty.pth").write_text("# nothing\n")
    count = 1000

    def best(call: object) -> float:
        return min(timeit.repeat(call, number=count, repeat=9)) / count * 1e6  # type: ignore[arg-type]  # a function

    ours, empty = (
        best(lambda name=name: site.addpackage(str(root), name, set())) for name in ("ours.pth", "empty.pth")
    )
    lookup = best(lambda: os.environ.get(pth.VARIABLE))
    print(
        f"\nnot recorded: our .pth file takes {ours:.1f} us, an empty one {empty:.1f} us; the look-up alone {lookup:.2f} us"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 41)
