"""What calls of dftracer say of themselves, as columns: what each asked for, what it got, and what it did to its file's position."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, IntFlag, auto

import numpy as np

from tracekit.formats.dftracer_events import ABSENT, UNUSABLE
from tracekit.trace import NULL, IntArray, Mask

_OPS = {
    "read": "read", "pread": "read", "pread64": "read", "readv": "read", "preadv": "read", "preadv2": "read", "fread": "read",
    "fread_unlocked": "read", "write": "write", "pwrite": "write", "pwrite64": "write", "writev": "write", "fwrite": "write",
    "open": "open", "open64": "open", "openat": "open", "openat64": "open", "creat": "open", "creat64": "open",
    "fopen": "open", "fopen64": "open", "close": "close", "fclose": "close", "fsync": "fsync", "fdatasync": "fdatasync",
    "unlink": "delete", "remove": "delete", "unlinkat": "delete", "rmdir": "delete", "rename": "rename",
    "opendir": "list", "fdopendir": "list", "readdir": "list", "mmap": "mmap", "mmap64": "mmap", "truncate": "truncate",
    "ftruncate": "truncate", "ftruncate64": "truncate",
}  # fmt: skip
_SEEKS = ("lseek", "lseek64", "fseek", "fseeko")
_AT = ("pread", "pread64", "pwrite", "pwrite64", "preadv", "preadv2")
_SEEK_SET, _SEEK_CUR = 0, 1
_O_APPEND = 0o2000
_MOST = 2**63 - 1


class Trait(IntFlag):
    """What is known of a function by its name."""

    OP = auto()
    READ = auto()
    WRITE = auto()
    OPEN = auto()
    MMAP = auto()
    SEEK = auto()
    AT = auto()  # it says where
    STREAM = auto()  # of the C library's streams: sizes are of members, seeks answer 0


class Step(IntEnum):
    """What a call does to a position."""

    NONE = 0
    OPEN = auto()
    OPEN_APPENDING = auto()
    TOUCH = auto()  # it is about the file, and leaves it where it is
    SET = auto()  # to an amount, NULL where that is not known
    SHIFT = auto()  # by an amount
    READ = auto()
    WRITE = auto()


def op_of(name: str) -> str | None:
    """What a trace calls a function; None for what is no op of a file."""
    return _OPS.get(name) or ("stat" if "stat" in name or name == "access" else None)


def traits_of(name: str) -> Trait:
    """What a function is."""
    if name in _SEEKS:
        return Trait.SEEK | (Trait.STREAM if name.startswith("f") else Trait(0))
    op = op_of(name)
    traits = Trait.OP if op else Trait(0)
    traits |= {"read": Trait.READ, "write": Trait.WRITE, "open": Trait.OPEN, "mmap": Trait.MMAP}.get(op or "", Trait(0))
    traits |= Trait.AT if name in _AT else Trait(0)
    return traits | (Trait.STREAM if name.startswith("f") else Trait(0))


class Calls:
    """Calls, as columns; NULL where they do not say.

    Args:
        cells: Their events' columns.
        traits: What their functions are.
    """

    def __init__(self, cells: Mapping[str, IntArray], traits: IntArray) -> None:
        self._cells = cells
        self._traits = traits
        answer = np.where(cells["ret"] == ABSENT, cells["size"], cells["ret"])
        self.answered: Mask = answer > UNUSABLE
        self._result = np.where(self.answered, answer, 0)
        self.moved = np.maximum(self._result, 0)
        self.moves = self._any(Trait.READ | Trait.WRITE)
        given = cells["offset"] > UNUSABLE
        self._placed = given | self._any(Trait.AT)
        self._maps = self._any(Trait.MMAP)

    def _any(self, traits: Trait) -> Mask:
        return np.asarray((self._traits & int(traits)) != 0)

    def given_offsets(self) -> IntArray:
        """Where calls say that they were, and 0 of those that are nowhere."""
        offset = self._cells["offset"]
        at = np.where((offset > UNUSABLE) & ((offset >= 0) | self._maps), offset, NULL)
        return np.where(self.moves | self._maps, at, 0)

    def followed(self) -> Mask:
        """The reads and writes whose place is where their file stood."""
        return self.moves & ~self._placed

    def sizes(self) -> IntArray:
        """How much was asked for; -2 where no number is that large."""
        cells = self._cells
        asked = np.where(cells["count"] == ABSENT, cells["size"], cells["count"])
        known, members = asked > UNUSABLE, cells["nmemb"]
        each = np.where(self._any(Trait.STREAM) & (members > UNUSABLE) & (members != 0), members, 1)
        asked = np.where(known, asked, self.moved)
        each = np.where(known, each, 1)
        beyond = np.abs(asked) > _MOST // np.abs(each)
        product = np.where(beyond, 0, asked) * each
        product = np.where(beyond, np.where((asked < 0) == (each < 0), NULL - 1, 0), np.maximum(product, 0))
        mapped = np.maximum(cells["length"], 0)
        return np.where(self.moves, product, np.where(self._maps, mapped, 0))

    def failures(self) -> tuple[Mask, IntArray]:
        """Which calls failed, and the error number of each that did; 0 where it says none."""
        failed = self.answered & (self._result < 0)
        numbers = self._cells["error"][failed]
        return failed, np.where(numbers > UNUSABLE, numbers, 0)

    def steps(self) -> tuple[IntArray, IntArray]:
        """What each call does to the position of its file, and by how much or whereto."""
        step = np.full(len(self._traits), int(Step.NONE), np.int64)
        amount = self.moved.copy()
        step[self._any(Trait.READ)] = Step.READ
        step[self._any(Trait.WRITE)] = Step.WRITE
        step[self.moves & self._placed] = Step.TOUCH
        flags = self._cells["flags"]
        # One that failed opens nothing.
        opens = self._any(Trait.OPEN) & (self._by_name() | (self._result >= 0))
        appending = (flags > UNUSABLE) & ((flags & _O_APPEND) != 0)
        step[opens] = np.where(appending[opens], int(Step.OPEN_APPENDING), int(Step.OPEN))
        self._seek(step, amount)
        return step, amount

    def _seek(self, step: IntArray, amount: IntArray) -> None:
        seeks = np.flatnonzero(self._any(Trait.SEEK))
        if not len(seeks):
            return
        answer, offset, whence = (self._cells[name][seeks] for name in ("ret", "offset", "whence"))
        # What fseek answers is no place.
        landed = (answer >= 0) & ~self._any(Trait.STREAM)[seeks]
        given = offset > UNUSABLE
        shifts = ~landed & (whence == _SEEK_CUR)
        placed = np.where((whence == _SEEK_SET) & (offset >= 0), offset, NULL)
        step[seeks] = np.where(shifts, int(Step.SHIFT), int(Step.SET))
        amount[seeks] = np.where(landed, answer, np.where(shifts, np.where(given, offset, 0), placed))

    def _by_name(self) -> Mask:
        """Whether an open says no descriptor: its file is known by its name alone."""
        return np.asarray((self._cells["size"] != ABSENT) | ~self.answered)

    def descriptors(self) -> IntArray:
        """The descriptor that each call is about or that an open answered, ABSENT where its file is known by its name alone."""
        opened = np.where(self._by_name(), ABSENT, self._result)
        about = self._cells["fd"]
        return np.where(self._any(Trait.OPEN), opened, np.where(about > UNUSABLE, about, ABSENT))
