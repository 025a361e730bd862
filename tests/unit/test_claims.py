"""A directory that is somebody's while its process lives."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit.claims import abandoned, claimed

HOLD = """
import sys
from tracekit.claims import claimed
with claimed("mine-", sys.argv[1]) as path:
    print(path, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has a directory, and keeps it."""
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        path = process.stdout.readline().strip()
        assert os.path.dirname(path) == str(tmp_path)
        yield process, path
        process.kill()


def test_it_is_gone_after_the_block_and_after_an_interrupt(tmp_path):
    """Nothing is left, whatever ended the block."""
    with claimed("mine-", str(tmp_path)) as path:
        Path(path, "plan0.json").write_text("{}")
    with pytest.raises(KeyboardInterrupt), claimed("mine-", str(tmp_path)):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_it_is_abandoned_once_its_process_is_killed(holder, tmp_path):
    """While the process lives nobody may take it; SIGKILL leaves it to whoever looks."""
    process, path = holder
    assert abandoned("mine-", str(tmp_path)) == []
    process.kill()
    process.wait()
    assert abandoned("mine-", str(tmp_path)) == [path]


def test_asking_changes_nothing(holder, tmp_path):
    """Asked twice the answer is the same, and the one who asked holds nothing."""
    process, path = holder
    process.kill()
    process.wait()
    assert abandoned("mine-", str(tmp_path)) == abandoned("mine-", str(tmp_path)) == [path]


def test_what_has_no_lock_is_nobodys(tmp_path):
    """A directory of the same name that somebody else made, a link to elsewhere and a file are not named."""
    (tmp_path / "mine-notes").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "lock").touch()
    (tmp_path / "mine-lock").mkdir()
    (tmp_path / "mine-lock" / "lock").symlink_to(tmp_path / "elsewhere" / "lock")
    (tmp_path / "mine-file").touch()
    assert abandoned("mine-", str(tmp_path)) == []


def test_without_locks_nothing_is_ever_abandoned(tmp_path, monkeypatch):
    """Where the file system has no locks the directory has no file that anybody looks for."""

    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with claimed("mine-", str(tmp_path)) as path:
        assert os.listdir(path) == [".lock"]
        monkeypatch.undo()
        assert abandoned("mine-", str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []
