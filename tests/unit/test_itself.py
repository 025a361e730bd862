"""A module of ours in another process is the one that is imported here, whatever lies in the working directory."""

import subprocess

import tracekit
from tracekit import itself


def test_the_working_directory_is_not_looked_into(tmp_path):
    """A package of our name and a file of the library's there are not run, and options reach the module."""
    (tmp_path / "tracekit").mkdir()
    (tmp_path / "tracekit" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    (tmp_path / "queue.py").write_text("raise SystemExit('the wrong queue')")
    words = [*itself.command("tracekit.cli"), "--version"]
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert tracekit.__version__ in said.stdout
