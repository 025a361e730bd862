"""Every error tracekit raises on purpose, in one tree.

    TracekitError                      exit 2
    ├── UsageError                     exit 2    an option or argument that cannot be honoured
    │   ├── UnknownNameError           exit 2    a name that does not exist, with the nearest that do
    │   └── OutputExistsError          exit 2    an output that would be overwritten
    ├── InputError                     exit 2    a file that is not what it should be
    │   ├── TraceFormatError           exit 2    a trace line, with file:line and key
    │   └── UnknownSchemeError         exit 2    a URI whose scheme nobody owns
    ├── CannotRunError                 exit 4    the target is unreachable, or permission is missing
    └── RecorderError                  exit 125  the recorder itself failed, not the program it ran

An error has a slug (the anchor of its entry in the reference), a cause, and a way out. Its text is one sentence:
what is wrong, where, and after a semicolon what to do.
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable, Sequence
from typing import ClassVar

EXIT_PASS = 0
EXIT_FAIL = 1
EXIT_INPUT = 2
EXIT_INCONCLUSIVE = 3
EXIT_CANNOT_RUN = 4
EXIT_INTERRUPTED = 130
EXIT_RECORDER = 125
EXIT_NOT_FOUND = 127
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class TracekitError(Exception):
    """Base of everything tracekit raises on purpose.

    Args:
        cause: What is wrong and where, without a full stop.
        way_out: What the user can do about it; may be empty where there is nothing to do.
        slug: What the entry in docs/reference/errors.md is called, where it is not that of the class.
    """

    slug: str = "error"
    exit_code: ClassVar[int] = EXIT_INPUT

    def __init__(self, cause: str, way_out: str = "", *, slug: str = "") -> None:
        super().__init__(cause, way_out)
        self.slug = slug or self.slug
        self.cause = cause
        self.way_out = way_out

    def __str__(self) -> str:
        return f"{self.cause}; {self.way_out}" if self.way_out else self.cause


class UsageError(TracekitError):
    """An option or argument that cannot be honoured."""

    slug = "usage"


class UnknownNameError(UsageError):
    """A name (golden, criterion, option, column) that does not exist.

    Args:
        kind: What sort of name it is, as it stands in the sentence ("golden").
        name: What the user gave.
        known: The names that exist; one that is near is proposed, else all are listed.
    """

    slug = "unknown-name"

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind = kind
        self.name = name
        self.known = sorted(known)
        super().__init__(f"there is no {kind} {name!r}", _proposal(kind, name, self.known))


class OutputExistsError(UsageError):
    """An output that exists and would be overwritten."""

    slug = "output-exists"

    def __init__(self, path: object) -> None:
        super().__init__(f"{path} exists already", "pass --force to replace it, or choose another name")


class InputError(TracekitError):
    """A file that is missing, unreadable or not what it should be."""

    slug = "bad-input"


class TraceFormatError(InputError):
    """A line of a trace that breaks the format.

    Args:
        path: The trace file.
        line: Its line number, from 1; 0 where the whole file is meant.
        problem: What is wrong, naming the key where there is one.
        way_out: What to do about it.
    """

    slug = "trace-format"

    def __init__(self, path: object, line: int, problem: str, way_out: str = "") -> None:
        self.path = str(path)
        self.line = line
        place = f"{path}:{line}" if line else str(path)
        super().__init__(f"{place}: {problem}", way_out)


class UnknownSchemeError(InputError):
    """A URI whose scheme no storage owns."""

    slug = "unknown-scheme"

    def __init__(self, uri: str, scheme: str, known: Iterable[str]) -> None:
        self.uri = uri
        names = sorted(known)
        near = nearest(scheme, names, 0.5)  # s4 and s3 have no more in common
        supported = ", ".join(f"{name}://" for name in names)
        hint = f"did you mean {near}://? Supported are {supported}" if near else f"supported are {supported}"
        super().__init__(f"the scheme {scheme!r} of {uri!r} is not one tracekit knows", hint)


class CannotRunError(TracekitError):
    """The run could not start: target unreachable, permission or a needed package missing."""

    slug = "cannot-run"
    exit_code = EXIT_CANNOT_RUN


def refusal(error: OSError) -> CannotRunError:
    """What the operating system refused, where nobody foresaw it, as one sentence."""
    why = error.strerror or str(error) or type(error).__name__
    if error.errno in NO_ROOM:
        what = "the output" if error.filename is None else os.fsdecode(error.filename)
        return CannotRunError(f"{what} could not be written: {why}", "make room, or write elsewhere")
    if "temporary directory" in why:  # as tempfile says it, with every place it tried
        return CannotRunError(
            "there is no directory for temporary files", "set TMPDIR to a directory that may be written"
        )
    what = f"the system refused {error.filename}" if error.filename is not None else "the system refused something"
    return CannotRunError(f"{what}: {why}", "look whether it is there and may be used, and try again")


class RecorderError(TracekitError):
    """The recorder itself failed; the program's own status is not known to be wrong."""

    slug = "recorder"
    exit_code = EXIT_RECORDER


def nearest(name: str, known: Sequence[str], likeness: float = 0.6) -> str:
    """The known name that is most like this one; empty where none is.

    Args:
        name: What was given.
        known: The names that exist.
        likeness: How much they must have in common, 0 to 1; with less than the default, 'auto' would be proposed for 'fast'.
    """
    matches = difflib.get_close_matches(name, known, n=1, cutoff=likeness)
    return matches[0] if matches else ""


def _proposal(kind: str, name: str, known: list[str]) -> str:
    near = nearest(name, known)
    if near:
        return f"did you mean {near!r}?"
    if not known:
        return f"no {kind} is available here"
    return f"there are: {', '.join(known)}"
