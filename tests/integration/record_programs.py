"""Programs that the recorder's tests run, and how they are run; no tests of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

from tracekit.trace import Trace

TRACEKIT = [sys.executable, "-m", "tracekit"]


def run_recorded(
    tmp_path: Path, program: str, *args: str, options: tuple[str, ...] = (), python: str = sys.executable, **rest
):
    """Write `program` to a file, record it with the Python engine, and give (finished process, trace)."""
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(program))
    output = tmp_path / "trace.jsonl"
    done = subprocess.run(
        [*TRACEKIT, "record", "-o", str(output), "--force", "--engine", "python", *options, "--", python, str(script), *args],
        cwd=rest.pop("cwd", tmp_path), capture_output=True, text=True, timeout=600, **rest,
    )  # fmt: skip
    return done, Trace.read(output) if output.exists() else None


_CALL = re.compile(r"^(?:\d+\s+)?[\d.]+ (\w+)\((\d+)<([^>]*)>,? ?(.*)\) += (-?\d+)")


def strace_reads(prefix: Path, root: Path) -> Counter:
    """What `strace -ff -y` saw being read below `root`: (file name, asked, got), as a multiset."""
    seen: Counter = Counter()
    for path in prefix.parent.glob(prefix.name + ".*"):
        for line in path.read_text(errors="replace").splitlines():
            match = _CALL.match(line)
            if match is None or match[1] not in ("read", "pread64", "readv", "preadv", "preadv2"):
                continue
            name, result = match[3], int(match[5])
            if not name.startswith(os.path.realpath(root) + "/") or result < 0:
                continue
            seen[(os.path.basename(name), match[1], _asked(match[1], match[4]), result)] += 1
    return seen


def _asked(call: str, rest: str) -> int:
    if call == "read":
        return int(rest.rpartition(", ")[2])
    if call == "pread64":
        return int(rest.split(", ")[-2])
    return sum(int(size) for size in re.findall(r"iov_len=(\d+)", rest))
