"""What the recorder takes of a process depends on what the process holds, not on what has come and gone in it."""

import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import HERE, RECORDER, needs_compiler, needs_native  # see there

pytestmark = [needs_native, needs_compiler]


@pytest.mark.parametrize(
    ("ops", "each"),
    [
        (200_000, 500),
        pytest.param(100_000_000, 50_000, marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
        pytest.param(3_000_000, 50, marks=[pytest.mark.long, pytest.mark.timeout(600)]),
    ],
)
def test_churn_does_not_grow(tmp_path, ops, each):
    """Between a tenth of the ops and all of them memory and mappings stay as they are; no op is lost, no chunk wasted.

    Records only: texts of an open and what a thread notes at its beginning and end are 500 bytes for `each` reads.
    """
    (tmp_path / "data").write_bytes(bytes(8192))
    (tmp_path / "spool").mkdir()
    target = tmp_path / "soak"
    command = ["cc", "-O2", "-std=gnu11", "-w", *RECORDER, str(HERE / "soak.c"), "-o", str(target)]
    subprocess.run([*command, "-lpthread", "-lrt", "-ldl"], check=True, timeout=600)
    arguments = [str(tmp_path / "spool"), str(tmp_path / "data"), str(ops), str(each)]
    done = subprocess.run([str(target), *arguments], capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stderr
    early, late, lost = (tuple(map(int, line.split())) for line in done.stdout.splitlines())
    assert late[0] >= ops
    assert lost == (0,)
    # Six threads and the main one have a chunk each that is not full.
    assert late[2] <= late[1] * (32 + 500 / each) * 1.02 + 7 * (1 << 21)
    assert late[3] <= early[3] + 8
    assert late[4] <= early[4] + 1024
