"""What the tests of the native engine share: C compiled on the spot, programs recorded, traces looked at."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11 pytest brings it under this name
    import tomli as tomllib

from tracekit.errors import RecorderError
from tracekit.record.engine import choose
from tracekit.trace import Trace
from tracekit.uri import local_path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
NATIVE = ROOT / "tracekit" / "_native"


def _recorder() -> list[str]:
    """The recorder without Python's door, as it is put into other programs: what a C program needs to record itself."""
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["ext-modules"]
    (preload,) = [table for table in tables if table["name"] == "tracekit._preload"]
    return [str(ROOT / source) for source in preload["sources"] if not source.endswith("/preload.c")]


RECORDER = [f"-I{NATIVE}", *_recorder()]
TRACEKIT = (sys.executable, "-m", "tracekit")
try:
    WHY_NOT = "" if choose("native").options else "there is none"
except RecorderError as error:
    WHY_NOT = error.cause
needs_native = pytest.mark.skipif(bool(WHY_NOT), reason=f"no native engine here: {WHY_NOT}")
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is the ground truth and is not installed"
)
# A program that answers system calls by number with an action of seccomp(2): allowed are all but one.
FILTER = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def forbid(number, action):
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, action), (0x06, 0, 0, 0x7FFF0000)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in code))
    filter = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(code), ctypes.addressof(program)))
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter, 0, 0) == 0, ctypes.get_errno()
"""


def compiled(source: Path, target: Path, *flags: str) -> Path:
    """A shared library made of one C file."""
    command = ["cc", "-O2", "-shared", "-fPIC", "-w", *flags, "-o", str(target), str(source)]
    subprocess.run([*command, "-ldl", "-lrt", "-lpthread"], check=True, capture_output=True, timeout=600)
    return target


def command_for(directory: Path, program: str, *, options=(), python=sys.executable) -> list[str]:
    """The command that records `program`, written to a file here, with the native engine into trace.jsonl."""
    script = directory / "program.py"
    script.write_text(textwrap.dedent(program))
    output = str(directory / "trace.jsonl")
    return [*TRACEKIT, "record", "-o", output, "--force", "--engine", "native", *options, "--", python, str(script)]


def record(directory: Path, program: str, *args: str, options=(), environment=None, python=sys.executable, **rest):
    """Write `program` to a file, record it with the native engine, and give (finished process, trace)."""
    command = command_for(directory, program, options=options, python=python)
    output = directory / "trace.jsonl"
    done = subprocess.run(
        [*command, *args], cwd=directory, capture_output=True, text=True, timeout=rest.pop("timeout", 600),
        env=environment, **rest,
    )  # fmt: skip
    return done, Trace.read(output) if output.exists() else None


def reads_of(trace: Trace, path: Path) -> list[tuple[int, int, int]]:
    """(offset, asked, got) of every read of one file, in order."""
    wanted = os.path.realpath(path)
    return [
        (op.offset, op.len, op.ret)
        for op in trace
        if op.op == "read" and op.err is None and os.path.realpath(local_path(op.uri)) == wanted
    ]


def covers_once(reads: list[tuple[int, int, int]], size: int) -> bool:
    """Whether the bytes that were got are all of the file, each once."""
    spans = sorted((offset, got) for offset, _, got in reads if got > 0)
    ends = [offset + got for offset, got in spans]
    return bool(spans) and spans[0][0] == 0 and ends[-1] == size and [span[0] for span in spans[1:]] == ends[:-1]
