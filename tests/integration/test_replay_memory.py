"""The replay command's memory does not grow with the trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tracekit._core", reason="the native core is not built here")

BENCH = Path(__file__).parents[1] / "bench" / "bench_replay_memory.py"


def above_idle(ops: int, folder: Path, *rest: str) -> float:
    """MiB of the whole command above an idle process, as the benchmark measures them."""
    command = [sys.executable, str(BENCH), "--ops", str(ops), "--rounds", "1", "--data", str(folder), *rest]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout.partition("ops: ")[2].partition(" MiB")[0])


def test_two_hundred_thousand_ops_fit_into_32_mib(tmp_path: Path) -> None:
    """From reading the trace to writing the result, the process stays near an idle one."""
    assert above_idle(200_000, tmp_path) <= 32


@pytest.mark.skipif(
    not Path(sys.executable).with_name("mpirun").exists(), reason="there is no mpirun beside the interpreter"
)
def test_each_rank_needs_as_little(tmp_path: Path) -> None:
    """Two ranks: neither holds the trace, and the one that merges what both did holds a piece of each."""
    assert above_idle(200_000, tmp_path, "--ranks", "2") <= 32


@pytest.mark.long
@pytest.mark.timeout(3600)  # a minute of work, but on a machine that others use too
def test_ten_million_ops_fit_into_32_mib(tmp_path: Path) -> None:
    """Fifty times as many ops take the same."""
    assert above_idle(10_000_000, tmp_path) <= 32
