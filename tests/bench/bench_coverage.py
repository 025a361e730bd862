"""What the native recorder sees of what strace sees in the same run: `python tests/bench/bench_coverage.py [program ...]`.

One row per program: ops and bytes that strace saw on data files, and the share of them that is in the trace with the same file,
offset, length and result; `invented` counts ops of the trace that strace did not see. TensorFlow runs in an environment of its
own (make .venv/.peers).
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "native"))

import strace_truth
import workloads

TENSORFLOW_PYTHON = Path(sys.prefix) / "peers" / "tensorflow" / "bin" / "python"


def main(names: list[str]) -> None:
    """Print the table."""
    programs = {
        **workloads.PROGRAMS,
        "DataLoader, fork": workloads.LOADER.replace("HOW", "fork"),
        "DataLoader, spawn": workloads.LOADER.replace("HOW", "spawn"),
        "tensorflow": workloads.TENSORFLOW,
    }
    print(
        f"{'program':20} {'reads':>6} {'read bytes':>11} {'writes':>6} {'maps':>5} {'opens':>6} {'ops':>8} {'bytes':>8} invented"
    )
    for name, program in programs.items():
        if not names or name in names:
            print(_row(name, program), flush=True)


def _row(name: str, program: str) -> str:
    """The line of one program."""
    module = "torch" if name.startswith("DataLoader") else workloads.MODULES.get(name, "")
    python = str(TENSORFLOW_PYTHON) if name == "tensorflow" else sys.executable
    if (module and importlib.util.find_spec(module) is None) or not Path(python).exists():
        return f"{name:20} not installed"
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory) / "data"
        workloads.make(data)
        coverage, _ = workloads.held_against_strace(Path(directory), program, data, python)
    kinds = {kind: coverage.of(kind) for kind in strace_truth.KINDS}
    ops, moved = (
        100 * (1 - sum(kind[at + 2] for kind in kinds.values()) / max(sum(kind[at] for kind in kinds.values()), 1))
        for at in (0, 1)
    )
    counts = (
        f"{kinds['read'][0]:6} {kinds['read'][1]:11} {kinds['write'][0]:6} {kinds['mmap'][0]:5} {kinds['open'][0]:6}"
    )
    return f"{name:20} {counts} {ops:7.2f}% {moved:7.2f}% {sum(coverage.invented.values()):8}"


if __name__ == "__main__":
    main(sys.argv[1:])
