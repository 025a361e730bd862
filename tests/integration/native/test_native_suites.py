"""CPython's own tests under the native recorder: the same results as without."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import TRACEKIT, needs_native  # see there

pytestmark = [
    needs_native,
    pytest.mark.skipif(
        importlib.util.find_spec("test.libregrtest") is None, reason="this Python came without its tests"
    ),
]
SHORT = ("test_fileio", "test_tempfile", "test_mmap", "test_fcntl")
LONG = (
    "test_io", "test_os", "test_subprocess", "test_threading", "test_signal", "test_asyncio", "test_zipfile", "test_posix",
    "test_shutil", "test_faulthandler", "test_multiprocessing_fork",
)  # fmt: skip


def _results(directory: Path, suites: list[str], prefix: tuple[str, ...]) -> tuple[str, set[str]]:
    """(the line with the totals, the tests that failed)."""
    directory.mkdir()
    command = [*prefix, sys.executable, "-m", "test", "--timeout", "200", *suites]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=900)
    totals = re.search(r"^(Total tests: .*|All \d+ tests? OK|\d+ tests? OK.*)$", done.stdout, re.MULTILINE)
    assert totals, done.stdout[-2000:] + done.stderr[-2000:]
    return totals[0], set(re.findall(r"^(?:FAIL|ERROR): (.*)$", done.stdout + done.stderr, re.MULTILINE))


def _available(suites: tuple[str, ...]) -> list[str]:
    return [suite for suite in suites if importlib.util.find_spec(f"test.{suite}") is not None]


def _compare(tmp_path: Path, suites: list[str], *options: str) -> None:
    plain = _results(tmp_path / "plain", suites, ())
    record = (*TRACEKIT, "record", "-o", str(tmp_path / "t.jsonl"), "--engine", "native", *options, "--")
    assert _results(tmp_path / "recorded", suites, record) == plain


def test_short_suites_have_the_same_results(tmp_path):
    """File objects, temporary files, maps and fcntl: as many tests run, fail and are skipped as without the recorder."""
    _compare(tmp_path, _available(SHORT))


@pytest.mark.long
@pytest.mark.timeout(2000)
@pytest.mark.parametrize("suite", _available(LONG))
def test_long_suites_have_the_same_results(tmp_path, suite):
    """Processes, threads, signals and event loops too."""
    _compare(tmp_path, [suite])


@pytest.mark.long
@pytest.mark.timeout(2000)
@pytest.mark.parametrize(
    "suite", _available(("test_mmap", "test_signal", "test_faulthandler", "test_threading", "test_subprocess"))
)
def test_suites_have_the_same_results_with_everything_asked_for(tmp_path, suite):
    """Maps, signals, threads and processes under --mmap exact and --raw-syscalls together."""
    _compare(tmp_path, [suite], "--mmap", "exact", "--raw-syscalls")
