"""Running a golden's own program here, under the recorder."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.golden import Golden
from tracekit.errors import CannotRunError, InputError, UsageError

# What the program needs, as it is imported, and how it is installed.
_INSTALL = {"torch": "PyTorch (pip install torch)"}
PROGRAM_LIMIT_S = 3600


def record_program(golden: Golden, data: Path, output: Path, arguments: Sequence[str] = ()) -> None:
    """Record the golden's program into a trace.

    Args:
        golden: The golden.
        data: Where its data set is, or is made.
        output: The trace to write.
        arguments: Options for the program.

    Raises:
        UsageError: If the golden has no program.
        CannotRunError: If a package the program needs is missing, or the program fails.
        InputError: If the program is gone.
    """
    program = program_of(golden)
    prepared = subprocess.run(
        [sys.executable, str(program), "--data", str(data), "--make-only"], stdout=sys.stderr, check=False
    )
    if prepared.returncode:
        raise CannotRunError(
            f"{program.name} of the golden {golden.name} could not make its data set in {data}", "see its message above"
        )
    command = [
        *recorder(),
        "-o",
        str(output),
        "--include",
        f"{data}/*",
        "--",
        sys.executable,
        str(program),
        "--data",
        str(data),
    ]
    done = subprocess.run([*command, *arguments], stdout=sys.stderr, timeout=PROGRAM_LIMIT_S, check=False)
    if done.returncode:
        raise CannotRunError(
            f"{program.name} of the golden {golden.name} ended with status {done.returncode}", "see its message above"
        )


def program_of(golden: Golden) -> Path:
    """The program a golden is recorded from (errors as of `record_program`)."""
    name = golden.profile.get("program")
    if not isinstance(name, str):
        raise UsageError(f"the golden {golden.name} has no program to run", "give a TRACE to check")
    path = golden.directory / name
    if not path.is_file():
        raise InputError(f"the golden {golden.name} names {name}, which is not in {golden.directory}", "put it there")
    needs = golden.profile.get("needs")
    for package in [needs] if isinstance(needs, str) else list(needs or []):
        if importlib.util.find_spec(str(package)) is None:
            what = _INSTALL.get(str(package), str(package))
            raise CannotRunError(
                f"the program of {golden.name} needs {what}, which is not installed here",
                "install it, or give a TRACE to check",
            )
    return path


def recorder() -> list[str]:
    """The command that records, as this interpreter runs it."""
    return [sys.executable, "-m", "tracekit.cli", "record"]
