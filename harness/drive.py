"""Making a run of a golden here, under the recorder: by the workload driver, or by the golden's own program."""

from __future__ import annotations

import glob
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import tracekit
from harness.golden import Golden, find, names
from tracekit import console, itself
from tracekit.errors import CannotRunError, InputError, UsageError
from tracekit.output import check_output, make_directory
from tracekit.verbs.record import KEPT_AS

PROGRAM_LIMIT_S = 3600
# An interpreter that only looks for packages.
ASK_LIMIT_S = 120
# What is asked to stop has so long.
STOP_LIMIT_S = 60
# Where the program finds tracekit's marks when its interpreter has no tracekit of its own.
MARKS = "TRACEKIT_MARKS"
_MARKS_FILES = ("__init__.py", "record/__init__.py", "record/context.py")
_ASK = "import importlib.util, sys; print(*[name for name in sys.argv[1:] if importlib.util.find_spec(name) is None])"


# How a run is made where no trace is given.
WORKLOAD, PROGRAM = "workload", "recorded-program"
DRIVES = (WORKLOAD, PROGRAM)


def ways(golden: Golden) -> str:
    """How a golden's run is made where nobody says: its profile's workload, which needs no framework, where it comes with tracekit.

    Raises:
        UsageError: As of `program_of`, where there is neither.
    """
    return WORKLOAD if is_profile(golden) else PROGRAM


def is_profile(golden: Golden) -> bool:
    """Whether the workload driver has a profile of this golden: of those that come with tracekit, by their names."""
    from tracekit.workload import profiles

    return golden.name in profiles.RECORDED and golden.name in names() and golden.directory == find(golden.name)


def record_workload(golden: Golden, data: Path, output: Path, seed: int = 0) -> None:
    """Record the profile's workload, driven as it was recorded from the framework, into a trace.

    Args:
        golden: The golden.
        data: Where the profile's data set is, or is made.
        output: The trace to write; what is there is replaced once the whole run is recorded, and not before.
        seed: Of orders and times.

    Raises:
        UsageError: If there is no profile of that golden.
        CannotRunError: If the run fails or does not end; its own message stands above.
        InputError: If the trace cannot be written there.
    """
    if not is_profile(golden):
        raise UsageError(
            f"there is no workload profile {golden.name}",
            f"leave out --drive, or use --drive {PROGRAM}, or give a TRACE",
        )
    make_directory(output.parent, "name another directory")
    check_output(output, force=True)
    with tempfile.TemporaryDirectory(prefix=".harness-", dir=output.parent) as beside:
        recorded = Path(beside) / output.name
        words = ["-q", "run", golden.name, "--as", "recorded", "--data", str(data), "--seed", str(seed), "-o", str(recorded)]  # fmt: skip
        with _held_back(beside) as said:
            status = _status([*itself.command("tracekit.cli"), *words], os.environ, said)
        if status:
            raise CannotRunError(f"the workload of {golden.name} ended with status {status}", "see its message above")
        recorded.replace(output)


def record_program(
    golden: Golden, data: Path, output: Path, arguments: Sequence[str] = (), python: str = sys.executable
) -> None:
    """Record the golden's program into a trace.

    Args:
        golden: The golden.
        data: Where its data set is, or is made.
        output: The trace to write; what is there is replaced once the whole run is recorded, and not before.
        arguments: Options for the program.
        python: The interpreter that runs it; it needs no tracekit.

    Raises:
        UsageError: If the golden has no program.
        CannotRunError: If a package the program needs is missing, or the program fails or does not end.
        InputError: If the program is gone, or the trace cannot be written there.
    """
    program = program_of(golden, python)
    make_directory(output.parent, "name another directory")
    check_output(output, force=True)
    # Beside the trace, so that renaming it is one step; a run that fails leaves nothing, and nothing is lost by it.
    with (
        tempfile.TemporaryDirectory(prefix="harness-marks-") as marks,
        tempfile.TemporaryDirectory(prefix=".harness-", dir=output.parent) as beside,
    ):
        recorded = Path(beside) / output.name
        environment = dict(os.environ)
        if python != sys.executable:
            environment[MARKS] = str(_marks(Path(marks)))
        command = [python, str(program), "--data", str(data)]
        if _status([*command, "--make-only"], environment):
            raise CannotRunError(
                f"{program.name} of the golden {golden.name} could not make its data set in {data}",
                "see its message above",
            )
        environment[KEPT_AS] = str(output)
        record = [*recorder(), "-o", str(recorded), "--include", f"{glob.escape(str(data))}/*", "--"]
        status = _status([*record, *command, *arguments], environment)
        if status:
            raise CannotRunError(
                f"{program.name} of the golden {golden.name} ended with status {status}", "see its message above"
            )
        recorded.replace(output)


@contextmanager
def _held_back(folder: str) -> Iterator[IO[bytes]]:
    """A file for what a command of ours says, which is said here when it has ended; not where an interrupt ended both."""
    with tempfile.TemporaryFile(dir=folder) as said:
        try:
            yield said
        except KeyboardInterrupt:
            # It came to the command as well: what that was at, and could not end, is no news to who pressed Ctrl-C.
            said.truncate(0)
            raise
        finally:
            said.seek(0)
            console.pass_on(said.read().decode(errors="replace").rstrip())


def _status(command: Sequence[str], environment: Mapping[str, str], said: IO[bytes] | None = None) -> int:
    with subprocess.Popen(command, stdout=said or sys.stderr, stderr=said, env=dict(environment)) as process:
        try:
            return process.wait(PROGRAM_LIMIT_S)
        except subprocess.TimeoutExpired:
            stop(process)
            raise CannotRunError(
                f"the golden's program did not end within {PROGRAM_LIMIT_S} s and was stopped",
                f"find out what it waits for: {shlex.join(command)}",
            ) from None
        except BaseException:
            stop(process)
            raise


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a command, and what it has started: a recorder passes the signal on, which it could not do with SIGKILL."""
    process.terminate()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()


def program_of(golden: Golden, python: str = sys.executable) -> Path:
    """The program a golden is recorded from (errors as of `record_program`)."""
    name = golden.profile.get("program")
    if not isinstance(name, str):
        raise UsageError(f"the golden {golden.name} has no program to run", "give a TRACE to check")
    path = golden.directory / name
    if not path.is_file():
        raise InputError(f"the golden {golden.name} names {name}, which is not in {golden.directory}", "put it there")
    needs = golden.profile.get("needs") or []
    absent = missing([needs] if isinstance(needs, str) else [str(package) for package in needs], python)
    if absent:
        where = "here" if python == sys.executable else f"for {python}"
        install = golden.profile.get("install") or f"pip install {' '.join(absent)}"
        raise CannotRunError(
            f"the program of {golden.name} needs {' and '.join(absent)}, which {'is' if len(absent) == 1 else 'are'} not installed {where}",
            f"{install}, name an interpreter that has it with --python, or give a TRACE to check",
        )
    return path


def missing(packages: Sequence[str], python: str = sys.executable) -> list[str]:
    """Which of these packages an interpreter cannot import.

    Raises:
        CannotRunError: If there is no such interpreter.
    """
    if python == sys.executable:
        return [name for name in packages if importlib.util.find_spec(name) is None]
    try:
        asked = subprocess.run(
            [python, "-c", _ASK, *packages], capture_output=True, text=True, check=False, timeout=ASK_LIMIT_S
        )
    except OSError as error:
        raise CannotRunError(f"{python} cannot be started: {error.strerror}", "name a Python with --python") from None
    except subprocess.TimeoutExpired:
        raise CannotRunError(
            f"{python} did not say within {ASK_LIMIT_S} s what it can import and was stopped",
            "name another with --python",
        ) from None
    if asked.returncode:
        raise CannotRunError(f"{python} is no Python that works", "name another with --python")
    return asked.stdout.split()


def recorder() -> list[str]:
    """The command that records, as this interpreter runs it."""
    return [*itself.command("tracekit.cli"), "record"]


def _marks(directory: Path) -> Path:
    """A directory whose only package is what a program says about itself: any Python can import it, whatever it lacks."""
    source = Path(str(tracekit.__file__)).parent
    for name in _MARKS_FILES:
        target = directory / "tracekit" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)
    return directory
