"""The recorder's C under the tools that find what tests do not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tracekit.storage import restore

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import HERE, RECORDER, needs_compiler, needs_native

pytestmark = [needs_native, needs_compiler]
SOURCES = RECORDER[1:]


def _driver(directory: Path, *flags: str) -> list[str]:
    """The C driver, built without Python, and its arguments."""
    target = directory / "driver"
    command = ["cc", "-g", "-O1", "-std=gnu11", "-w", *flags, *RECORDER, str(HERE / "driver.c"), str(HERE / "raws.c")]
    built = subprocess.run(
        [*command, "-o", str(target), "-lpthread", "-lrt", "-ldl"], capture_output=True, text=True, timeout=600
    )
    if built.returncode and flags and "sanitize" in built.stderr:
        pytest.skip(f"the compiler has no sanitizers: {built.stderr[:200]}")
    assert built.returncode == 0, built.stderr
    (directory / "spool").mkdir()
    (directory / "spool" / "residence").write_bytes(bytes(8192))  # files are looked at, and some find no room
    (directory / "data").write_bytes(os.urandom(65536))
    _cached_in_part(directory / "data")
    return [str(target), str(directory / "spool"), str(directory / "data"), "detour"]


def _cached_in_part(path: Path) -> None:
    """Every second page, so that the look goes page by page."""
    pages = np.zeros(65536 // restore.PAGE, np.bool_)
    pages[::2] = True
    restore.restore(str(path), pages)


def test_no_warning_with_everything_on(tmp_path):
    """The sources compile without a warning at -Wall -Wextra -Wshadow."""
    flags = ("-std=c11", "-O2", "-fPIC", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-fvisibility=hidden", "-c")
    for source in SOURCES:
        done = subprocess.run(
            ["cc", *flags, source, "-o", str(tmp_path / "o")], capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr


def test_address_and_undefined_behaviour_sanitizers(tmp_path):
    """Every hazard, churn of threads and maps, and the decoder on arbitrary bytes: no report."""
    command = [*_driver(tmp_path, "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"), "2", "net"]
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}  # the driver's own line buffer lives to the end
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runtime error" not in done.stderr
    assert done.stdout.endswith("0 wrong, 0 lost, 0 positions corrected\n")


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_valgrind(tmp_path):
    """The same under valgrind: no invalid access, no use of what was never set."""
    command = ["valgrind", "-q", "--error-exitcode=99", "--smc-check=all", *_driver(tmp_path), "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert done.stdout.endswith("0 wrong, 0 lost, 0 positions corrected\n")
