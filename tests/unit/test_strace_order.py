"""Lines of strace in orders that only several threads or processes make: who a thread is, and what a number stands for."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from strace_machine import READERS

from tracekit.formats import imported
from tracekit.formats.descriptors import Descriptors

CLONE3 = "clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD} <unfinished ...>"
OPENS_A = 'openat(AT_FDCWD</w>, "a", O_RDONLY) = 3</w/a> <0.1>'


@pytest.fixture(params=READERS, ids=lambda reader: reader.__name__)
def reads(tmp_path, request):
    """The (pid, tid, name, offset) of the reads in lines of strace, given as (thread, all of the call)."""

    def found(*calls):
        path = tmp_path / "source.strace"
        path.write_text("".join(f"{tid} 1700000000.{n:06d} {call}\n" for n, (tid, call) in enumerate(calls)))
        trace = imported.load(request.param(str(path)))
        return [(op.pid, op.tid, op.uri.rpartition("/")[2], op.offset) for op in trace if op.op == "read"]

    return found


def read(fd, name):
    """A read of 10 bytes."""
    return f'read({fd}</w/{name}>, ""..., 10) = 10 <0.1>'


@pytest.mark.parametrize("taker", ['openat(AT_FDCWD</w>, "b", O_RDONLY', "dup(4</w/b>"])
def test_a_number_is_taken_again_before_its_close_is_seen_to_end(reads, taker):
    """The kernel gives a number away as soon as it is free, however late the closing thread goes on."""
    assert reads(
        (7, OPENS_A),
        (7, 'openat(AT_FDCWD</w>, "b", O_RDONLY) = 4</w/b> <0.1>'),
        (7, "clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD}) = 8 <0.1>"),
        (7, "close(3</w/a> <unfinished ...>"),
        (8, taker + ") = 3</w/b> <0.1>"),
        (7, "<... close resumed>) = 0 <0.1>"),
        (8, read(3, "b")),
        (8, read(3, "b")),
    ) == [(7, 8, "b", 0), (7, 8, "b", 10)]


def test_what_is_copied_is_what_the_number_stood_for_at_the_beginning(reads):
    """A dup that ends late has not copied the file that took the number meanwhile."""
    assert reads(
        (7, OPENS_A),
        (7, read(3, "a")),
        (7, "clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD}) = 8 <0.1>"),
        (8, "dup(3</w/a> <unfinished ...>"),
        (7, "close(3</w/a>) = 0 <0.1>"),
        (7, 'openat(AT_FDCWD</w>, "b", O_RDONLY) = 3</w/b> <0.1>'),
        (8, "<... dup resumed>) = 4</w/a> <0.1>"),
        (8, read(4, "a")),
        (7, read(3, "b")),
    ) == [(7, 7, "a", 0), (7, 8, "a", 10), (7, 7, "b", 0)]


def test_a_range_is_closed(reads):
    """close_range takes what it names, not what was opened since it began, and nothing where it only marks."""
    assert reads(
        (7, OPENS_A),
        (7, "close_range(3, 10, CLOSE_RANGE_CLOEXEC) = 0 <0.1>"),
        (7, 'read(3, ""..., 10) = 10 <0.1>'),
        (7, "clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD}) = 8 <0.1>"),
        (7, "close_range(3, 4294967295, 0 <unfinished ...>"),
        (8, 'openat(AT_FDCWD</w>, "b", O_RDONLY) = 3</w/b> <0.1>'),
        (7, "<... close_range resumed>) = 0 <0.1>"),
        (7, 'read(3, ""..., 10) = 10 <0.1>'),
        (7, "close_range(3, 3, CLOSE_RANGE_UNSHARE) = 0 <0.1>"),
        (7, 'read(3, ""..., 10) = 10 <0.1>'),
    ) == [(7, 7, "a", 0), (7, 7, "b", 0)]


def test_where_a_forked_child_stands_is_not_guessed(reads):
    """A number that was another file when the fork began may be either in the child: its name is shown, its position null."""
    assert reads(
        (7, OPENS_A),
        (7, "clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD}) = 8 <0.1>"),
        (7, "clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>"),
        (8, "close(3</w/a>) = 0 <0.1>"),
        (8, 'openat(AT_FDCWD</w>, "a", O_RDONLY) = 3</w/a> <0.1>'),
        (7, "<... clone resumed>) = 9 <0.1>"),
        (9, read(3, "a")),
        (8, read(3, "a")),
    ) == [(9, 9, "a", None), (7, 8, "a", 0)]


def test_it_is_read_on_to_know_who_made_a_thread(reads):
    """Where a thread and a process are being made at once, the ends of both calls say which is which."""
    assert reads(
        (7, OPENS_A),
        (7, "clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD}) = 8 <0.1>"),
        (7, "vfork( <unfinished ...>"),
        (8, CLONE3),
        (9, read(3, "a")),
        (10, read(3, "a")),
        (8, "<... clone3 resumed>) = 9 <0.1>"),
        (7, "<... vfork resumed>) = 10 <0.1>"),
    ) == [(7, 9, "a", 0), (10, 10, "a", 10)]


@pytest.mark.parametrize("ends", ["= -1 EAGAIN (Resource temporarily unavailable)", "= ?"])
def test_a_call_that_made_nobody_made_nobody(reads, ends):
    """A fork that failed is no parent of what another made."""
    assert reads(
        (7, OPENS_A),
        (7, "clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD}) = 8 <0.1>"),
        (7, "vfork( <unfinished ...>"),
        (8, CLONE3),
        (9, read(3, "a")),
        (7, f"<... vfork resumed>) {ends} <0.1>"),
        (8, "<... clone3 resumed>) = 9 <0.1>"),
    ) == [(7, 9, "a", 0)]


def test_threads_made_at_once_are_told_apart_by_their_ends(reads):
    """Two threads of a process make threads, the one begun second ends first, and the next to be made is still known."""
    assert reads(
        (7, OPENS_A),
        (7, "clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD}) = 8 <0.1>"),
        (7, CLONE3),
        (8, CLONE3),
        (9, read(3, "a")),
        (7, "<... clone3 resumed>) = 10 <0.1>"),
        (7, "vfork( <unfinished ...>"),
        (11, read(3, "a")),
        (8, "<... clone3 resumed>) = 9 <0.1>"),
        (7, "<... vfork resumed>) = 11 <0.1>"),
        (10, read(3, "a")),
    ) == [(7, 9, "a", 0), (11, 11, "a", 10), (7, 10, "a", 20)]


def test_a_thread_that_executes_takes_the_place_of_the_first(reads):
    """The process goes on under its own number, with its descriptors, and is nobody's child."""
    assert reads(
        (5, OPENS_A),
        (7, OPENS_A),
        (7, "clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD}) = 8 <0.1>"),
        (5, "vfork( <unfinished ...>"),
        (8, 'execve("/bin/x", ["x"], 0x7f /* 3 vars */ <unfinished ...>'),
        (7, "+++ superseded by execve in pid 8 +++"),
        (7, "<... execve resumed>) = 0 <0.1>"),
        (7, read(3, "a")),
        (9, read(3, "a")),
        (5, "<... vfork resumed>) = 9 <0.1>"),
    ) == [(7, 7, "a", 0), (9, 9, "a", 0)]


def test_a_program_has_its_descriptors_for_itself(reads):
    """A process that shares descriptors with another does so until it executes something."""
    assert reads(
        (7, OPENS_A),
        (7, "clone(child_stack=0x1, flags=CLONE_VM|CLONE_FILES|SIGCHLD) = 8 <0.1>"),
        (8, "close(3</w/a>) = 0 <0.1>"),
        (8, 'openat(AT_FDCWD</w>, "b", O_RDONLY) = 3</w/b> <0.1>'),
        (8, 'execve("/bin/x", ["x"], 0x7f /* 3 vars */) = 0 <0.1>'),
        (8, "close(3</w/b>) = 0 <0.1>"),
        (7, 'read(3, ""..., 10) = 10 <0.1>'),
    ) == [(7, 7, "b", 0)]


def test_a_descriptor_nobody_opened_has_no_place():
    """What was there before the source begins has no name and no position, and its copies share what is learnt of it."""
    descriptors = Descriptors()
    descriptors.copied(7, 3, 4)
    assert (descriptors.path(7, 4), descriptors.file(7, 4).position) == (None, None)
    descriptors.file(7, 3).position = 5
    assert descriptors.file(7, 4).advanced(10) == 5
