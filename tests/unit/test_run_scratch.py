"""The directory of a run: gone after it, and after the next one where the run was killed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tracekit.verbs.run_scratch import scratch

HOLD = """
import sys
from tracekit.verbs.run_scratch import scratch
with scratch() as path:
    print(path, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A temporary directory of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def holder(place):
    """Another process that has a directory, and keeps it."""
    environment = {**os.environ, "TMPDIR": str(place)}
    words = [sys.executable, "-c", HOLD]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        path = Path(process.stdout.readline().strip())
        assert path.parent == place
        yield process, path
        process.kill()


def test_it_is_gone_after_the_block_and_after_an_interrupt(place):
    """Nothing is left, whatever ended the block."""
    with scratch() as path:
        Path(path, "plan0.json").write_text("{}")
    with pytest.raises(KeyboardInterrupt), scratch():
        raise KeyboardInterrupt
    assert list(place.iterdir()) == []


def test_what_a_killed_run_left_goes_with_the_next(holder, place):
    """SIGKILL leaves the directory with what is in it, and the next run removes it."""
    process, path = holder
    Path(path, "plan1.json").write_text("{}")
    process.kill()
    process.wait()
    assert path.is_dir()
    with scratch() as mine:
        assert list(place.iterdir()) == [Path(mine)]


def test_that_of_a_run_that_lives_stays(holder):
    """Another run's directory is its own until it has ended; then it removes it itself."""
    process, path = holder
    with scratch() as mine:
        assert path.is_dir()
        assert mine != str(path)
    process.communicate()
    assert process.returncode == 0
    assert not path.exists()


def test_what_has_no_lock_is_left_alone(place):
    """A directory of the same name that somebody else made, and a link to elsewhere, stay."""
    (place / "tracekit-run-notes").mkdir()
    (place / "tracekit-run-notes" / "keep").write_text("mine")
    (place / "elsewhere").mkdir()
    (place / "tracekit-run-link").symlink_to(place / "elsewhere")
    with scratch():
        pass
    assert sorted(path.name for path in place.iterdir()) == ["elsewhere", "tracekit-run-link", "tracekit-run-notes"]
