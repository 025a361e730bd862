"""Memory of the commands at scale: one pass over a trace of many ops and steps stays below what the ops alone would take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench" / "bench_scale.py"
# The child tells its own highest memory: the kernel's sum over children begins with what their parent had.
COMMAND = """
import sys
from {module} import main
code = main({arguments!r})
status = open("/proc/self/status").read()
print("highest KiB:", status.partition("VmHWM:")[2].split()[0], "code:", int(code or 0), file=sys.stderr)
"""
STATS = ("tracekit.cli", ["-q", "stats"], [])
CHECK = ("harness.cli", ["check"], ["--golden", "torch-like"])


def highest(trace: Path, module: str, before: list[str], after: list[str]) -> float:
    """The highest resident MiB of a command over a trace."""
    text = COMMAND.format(module=module, arguments=[*before, str(trace), *after])
    done = subprocess.run([sys.executable, "-I", "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    said, _, code = done.stderr.partition("highest KiB: ")[2].partition(" code: ")
    assert int(code) in {0, 1, 3}
    return int(said) / 1024


def trace_of(ops: int, folder: Path) -> Path:
    """A trace of the benchmark's job: 100,000 files, a step every 128 ops."""
    path = folder / "t.parquet"
    subprocess.run([sys.executable, str(BENCH), str(ops), str(path)], check=True)
    return path


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("ops", "most_mib"), [(10_000_000, 1024), (100_000_000, 1280)])
def test_a_trace_of_many_ops_is_not_held(tmp_path: Path, ops: int, most_mib: int) -> None:
    """Statistics and a check against a golden: ten times the ops and steps take little more memory."""
    path = trace_of(ops, tmp_path)

    assert highest(path, *STATS) <= most_mib
    assert highest(path, *CHECK) <= most_mib


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("golden", ["torch-like", ""])
def test_a_page_about_many_ops_takes_little_memory(tmp_path: Path, golden: str) -> None:
    """Ten million ops against a golden, and against as many: at most 1 GiB with the page, which stays small."""
    path, page = trace_of(10_000_000, tmp_path), tmp_path / "page.html"
    after = ["--golden", golden or str(path), "--html", str(page)]

    assert highest(path, "harness.cli", ["check"], after) <= 1024
    assert page.stat().st_size < 2_000_000
