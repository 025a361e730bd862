"""CPython's own tests, and those of h5py and pyarrow as installed, under the native recorder: the same results as without."""

import importlib.util
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import TRACEKIT, needs_native  # see there

pytestmark = needs_native
needs_tests = pytest.mark.skipif(
    importlib.util.find_spec("test.libregrtest") is None, reason="this Python came without its tests"
)
SHORT = ("test_fileio", "test_tempfile", "test_mmap", "test_fcntl")
LONG = (
    "test_io", "test_os", "test_subprocess", "test_threading", "test_signal", "test_asyncio", "test_zipfile", "test_posix",
    "test_shutil", "test_faulthandler", "test_multiprocessing_fork",
)  # fmt: skip


def _results(directory: Path, suites: list[str], prefix: tuple[str, ...]) -> tuple[str, set[str]]:
    """(the line with the totals, the tests that failed)."""
    directory.mkdir()
    # Generous: on a busy machine a single test of asyncio that collects garbage a hundred times takes minutes by itself.
    command = [*prefix, sys.executable, "-m", "test", "--timeout", "900", *suites]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=1700)
    totals = re.search(r"^(Total tests: .*|All \d+ tests? OK|\d+ tests? OK.*)$", done.stdout, re.MULTILINE)
    assert totals, done.stdout[-2000:] + done.stderr[-2000:]
    return totals[0], set(re.findall(r"^(?:FAIL|ERROR): (.*)$", done.stdout + done.stderr, re.MULTILINE))


def _available(suites: tuple[str, ...]) -> list[str]:
    return [suite for suite in suites if importlib.util.find_spec(f"test.{suite}") is not None]


def _without(tmp_path: Path, suites: list[str]) -> tuple[str, set[str]]:
    return _results(tmp_path / "plain", suites, ())


def _recorded(tmp_path: Path, suites: list[str], *options: str) -> tuple[str, set[str]]:
    record = (*TRACEKIT, "record", "-o", str(tmp_path / "t.jsonl"), "--engine", "native", *options, "--")
    return _results(tmp_path / "recorded", suites, record)


@needs_tests
def test_short_suites_have_the_same_results(tmp_path):
    """File objects, temporary files, maps and fcntl: as many tests run, fail and are skipped as without the recorder."""
    suites = _available(SHORT)
    assert _recorded(tmp_path, suites) == _without(tmp_path, suites)


@needs_tests
@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("suite", _available(LONG))
def test_long_suites_have_the_same_results(tmp_path, suite):
    """Processes, threads, signals and event loops too."""
    assert _recorded(tmp_path, [suite]) == _without(tmp_path, [suite])


@needs_tests
@pytest.mark.long
@pytest.mark.timeout(2000)
@pytest.mark.parametrize(
    "suite", _available(("test_mmap", "test_signal", "test_faulthandler", "test_threading", "test_subprocess"))
)
def test_suites_have_the_same_results_with_everything_asked_for(tmp_path, suite):
    """Maps, signals, threads and processes under --mmap exact and --raw-syscalls together."""
    assert _recorded(tmp_path, [suite], "--mmap", "exact", "--raw-syscalls") == _without(tmp_path, [suite])


# Object stores are left out: their tests want servers.
NO_STORES = ["-k", "not s3 and not gcs and not azure and not hdfs"]
PACKAGES = {
    "h5py": ["h5py.tests"],
    "pyarrow": ["pyarrow.tests.test_fs", "pyarrow.tests.test_io", *NO_STORES],
    "pyarrow.parquet": ["pyarrow.tests.parquet", *NO_STORES],
}


def _outcomes(directory: Path, modules: list[str], prefix: tuple[str, ...]) -> Counter:
    """(test, outcome) of every test of a package, as a multiset."""
    directory.mkdir()
    report = directory / "report.xml"
    command = [
        *prefix,
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
        "--pyargs",
    ]
    done = subprocess.run([*command, *modules], cwd=directory, capture_output=True, text=True, timeout=900)
    assert report.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    cases = ET.parse(report).iter("testcase")
    return Counter(
        (
            f"{case.get('classname')}.{case.get('name')}",
            ",".join(child.tag for child in case if child.tag != "properties"),
        )
        for case in cases
    )


@pytest.mark.long
@pytest.mark.timeout(2000)
@pytest.mark.parametrize("package", PACKAGES)
def test_packages_have_the_same_results(tmp_path, package):
    """Every test of h5py, and those of pyarrow that touch files, passes, fails or is skipped as it does unrecorded."""
    pytest.importorskip(package.partition(".")[0])
    plain = _outcomes(tmp_path / "plain", PACKAGES[package], ())
    record = (*TRACEKIT, "record", "-o", str(tmp_path / "t.jsonl"), "--engine", "native", "--")
    recorded = _outcomes(tmp_path / "recorded", PACKAGES[package], record)
    assert (plain - recorded, recorded - plain) == ({}, {})
    assert sum(plain.values()) > 100
