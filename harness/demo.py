"""The demonstration: record a training loop, replay it, judge a faithful replay and one at twice the speed.

Every command is shown as a user would type it, and run; what is printed is what it said.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import demo_train
from tracekit import console, itself
from tracekit.errors import CannotRunError, UsageError

LIMIT_S = 300
NEEDS = {"torch": "PyTorch", "PIL": "Pillow"}


@dataclass(frozen=True)
class Step:
    """One command of the demonstration, and the exit status it should have."""

    title: str
    words: Sequence[str]
    status: int = 0


def check_packages() -> None:
    """Fail where the training job could not run.

    Raises:
        CannotRunError: If PyTorch or Pillow is missing.
    """
    missing = [what for package, what in NEEDS.items() if importlib.util.find_spec(package) is None]
    if missing:
        raise CannotRunError(
            f"the demonstration trains a model and needs {' and '.join(missing)}",
            "install them: pip install 'tracekit-io[torch]'",
        )


def check_directory(directory: Path) -> None:
    """Make the directory of the demonstration.

    Raises:
        UsageError: If it exists and is not empty: nothing in it should be mistaken for a result.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{directory} exists and is not empty", "name another with --dir")
    directory.mkdir(parents=True, exist_ok=True)


def steps() -> list[Step]:
    """The commands, to be run in the directory of the demonstration."""
    program = Path(demo_train.__file__).name
    return [
        Step("make a small image data set", ["python", program, "--data", "images", "--make"]),
        Step(
            "record a training loop: PyTorch, two loader workers, Pillow",
            [
                "tracekit",
                "record",
                "-o",
                "train.jsonl",
                "--include",
                "*/images/*",
                "--",
                "python",
                program,
                "--data",
                "images",
            ],
        ),
        Step("what did it read?", ["tracekit", "stats", "train.jsonl"]),
        Step(
            "replay it with its own cadence",
            ["tracekit", "replay", "train.jsonl", "-o", "faithful.jsonl", "--pace", "recorded"],
        ),
        Step("is the replay the recording?", _check("faithful")),
        Step(
            "a bad replay: twice the speed", ["tracekit", "replay", "train.jsonl", "-o", "hasty.jsonl", "--speed", "2"]
        ),
        Step("it must not pass", _check("hasty"), status=1),
    ]


def _check(name: str) -> list[str]:
    return ["harness", "check", f"{name}.jsonl", "--golden", "train.jsonl", "--json", f"{name}.summary.json"]


def perform(directory: Path, chosen: Sequence[Step]) -> list[str]:
    """Run the commands in the directory, showing each of them with its output.

    Returns:
        What did not go as it should, as sentences; nothing when all is well.
    """
    source = Path(demo_train.__file__)
    (directory / source.name).write_bytes(source.read_bytes())
    for step in chosen:
        console.show(
            f"\n{console.paint('# ' + step.title, 'dim')}\n{console.paint('$ ' + shlex.join(step.words), 'bold')}"
        )
        status = _run(step, directory)
        # A replay says 3 when it was disturbed; whether it is good enough is what the check is for.
        accepted = {step.status, 3} if step.words[:2] == ["tracekit", "replay"] else {step.status}
        if status not in accepted:
            return [f"`{shlex.join(step.words)}` ended with status {status}, not {step.status}"]
    return []


def _run(step: Step, directory: Path) -> int:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    try:
        return subprocess.run(
            _command(step.words), cwd=directory, env=environment, timeout=LIMIT_S, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        raise CannotRunError(
            f"`{shlex.join(step.words)}` took longer than {LIMIT_S} s", "try again on a quieter machine"
        ) from None


def _command(words: Sequence[str]) -> list[str]:
    """The command as this interpreter runs it, wherever the scripts are installed."""
    modules = {"tracekit": "tracekit.cli", "harness": "harness.cli"}
    real = [sys.executable if word == "python" else word for word in words]
    return [*itself.command(modules[words[0]]), *real[1:]] if words[0] in modules else real
