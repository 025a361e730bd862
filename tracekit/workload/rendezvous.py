"""Where the processes of a run wait for each other: each says that it is there, and hears whether all others are, too.

A rank has its standard input and output for that, so that nothing of it is seen in a recording.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from tracekit import itself
from tracekit.errors import CannotRunError

HERE, GO, LEFT = "here", "go", "left"
# What ends a rank after what it is at; a rank starts with them blocked, until it can tell what it has done.
ENDING = (signal.SIGINT, signal.SIGTERM)


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
        try:
            sys.stdout.write(f"{HERE}\n")
            sys.stdout.flush()
            word = sys.stdin.readline().strip()
        except BrokenPipeError:  # nobody listens: who started the ranks has died
            word = LEFT
        if word != GO:
            raise LeftError(self._rank)


class Line:
    """A line to who starts ranks elsewhere, and knows whether all of them are there.

    Args:
        end: This end of it.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._file = end.makefile("r", encoding="ascii")

    def ask(self) -> bool:
        """Say that all are there on this side, and wait: whether all are on the other, too."""
        self.say(HERE)
        return self.heard() == GO

    def say(self, word: str) -> None:
        """Send a word; where nobody listens any more, that is noticed when an answer is waited for."""
        with suppress(OSError):
            self._end.sendall(f"{word}\n".encode("ascii"))

    def close(self) -> None:
        """Give it back."""
        self._file.close()
        self._end.close()

    def heard(self) -> str:
        """The next word; empty where there will be none."""
        try:
            return self._file.readline().strip()
        except OSError:
            return ""


def conduct(module: str, words: Sequence[str], line: Line | None = None) -> int:
    """Start a process for each word, and let all go on whenever all that still run are there; the worst of their statuses.

    Args:
        module: What each of them runs.
        words: What each is given.
        line: Whom to ask where there are ranks elsewhere; then the environment says which rank this is.
    """
    # Who is started inherits this, and takes what came when it can: an interpreter that still imports would end in a traceback.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    processes = [_started(module, word, None if line else (rank, len(words))) for rank, word in enumerate(words)]

    def pass_on(number: int, _frame: FrameType | None) -> None:
        # It may have come to this process alone; where it came to all of them, they take it once.
        for process in processes:
            process.send_signal(number)

    for one in ENDING:
        signal.signal(one, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    failed = False
    running = processes
    while running:
        there = [process for process in running if _is_there(process)]
        failed = failed or any(process.wait() != 0 for process in running if process not in there)
        failed = failed or not (line is None or not there or line.ask())
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


def _started(module: str, word: str, place: tuple[int, int] | None) -> subprocess.Popen[str]:
    environment = dict(os.environ)
    if place is not None:
        environment |= {"RANK": str(place[0]), "WORLD_SIZE": str(place[1]), "LOCAL_RANK": str(place[0])}
    command = [*itself.command(module), word]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _is_there(process: subprocess.Popen[str]) -> bool:
    assert process.stdout is not None
    return process.stdout.readline() != ""
