"""A program that uses objects, recorded."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

from tracekit.trace import Trace


def recorded(tmp_path, program, *options, environment=None):
    """A program recorded; what it printed, its object ops, and the whole trace."""
    (tmp_path / "program.py").write_text(textwrap.dedent(program))
    command = [
        sys.executable,
        "-m",
        "tracekit",
        "record",
        "-o",
        "t.jsonl",
        "--force",
        *options,
        "--",
        sys.executable,
        "program.py",
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | (environment or {}),
    )
    assert done.returncode == 0, done.stderr
    trace = Trace.read(tmp_path / "t.jsonl")
    return done.stdout, [op for op in trace if op.uri.startswith(("s3://", "az://"))], trace
