"""Where the processes of a run wait for each other: each says that it is there, and hears whether all others are, too.

A rank has its standard input and output for that, so that nothing of it is seen in a recording.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

from tracekit import itself
from tracekit.errors import CannotRunError

HERE, GO, LEFT = "here", "go", "left"


class LeftError(CannotRunError):
    """Another rank ended early; what it met is the cause, and this is not."""

    slug = "left-alone"

    def __init__(self, rank: int) -> None:
        super().__init__(f"rank {rank} was waiting for the others, and one of them ended early")


class Meeting:
    """A rank's end.

    Args:
        rank: Which it is.
        ranks: How many there are; one alone waits for nobody.
    """

    def __init__(self, rank: int, ranks: int) -> None:
        self._rank, self._alone = rank, ranks == 1

    def __call__(self) -> None:
        """Wait until all are there.

        Raises:
            LeftError: If one of them has ended early.
        """
        if self._alone:
            return
        sys.stdout.write(f"{HERE}\n")
        sys.stdout.flush()
        if sys.stdin.readline().strip() != GO:
            raise LeftError(self._rank)


def conduct(module: str, words: Sequence[str]) -> int:
    """Start a process for each word, and let all go on whenever all that still run are there; the worst of their statuses.

    Args:
        module: What each of them runs.
        words: What each is given.
    """
    processes = [_started(module, word, rank, len(words)) for rank, word in enumerate(words)]
    failed = False
    running = processes
    while running:
        there = [process for process in running if _is_there(process)]
        failed = failed or any(process.wait() != 0 for process in running if process not in there)
        for process in there:
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # it ended, which is seen next
                process.stdin.write(f"{LEFT if failed else GO}\n")
                process.stdin.flush()
        running = there
    for process in processes:
        process.communicate()
    statuses = [abs(int(process.returncode)) for process in processes]
    return max(statuses)


def _started(module: str, word: str, rank: int, ranks: int) -> subprocess.Popen[str]:
    environment = os.environ | {"RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank)}
    command = [*itself.command(module), word]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _is_there(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() != ""
