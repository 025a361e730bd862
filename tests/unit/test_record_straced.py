"""Parts made of what strace wrote: which program did what, and what is counted without being an op."""

import os

import pytest

from tracekit.record.files import Filter
from tracekit.record.merge import Merge
from tracekit.record.parts import Part
from tracekit.record.straced import straced

EPOCH = 1_700_000_000_000_000_000
ATTACHED = (7, "lseek(-1, 0, SEEK_CUR) = -1 EBADF (Bad file descriptor) <0.000001>")
EXEC = (7, 'execve("/bin/sh", ["sh", "-c", "x"], 0x7f /* 3 vars */) = 0 <0.000001>')


def written(directory, *calls, name="7-1.strace"):
    """A file as strace leaves it: one call per millisecond of the run's clock, from 1 ms on, of (thread, call)."""
    lines = [f"{tid} 1700000000.{1_000_000 * (n + 1):09d} {call}\n" for n, (tid, call) in enumerate(calls)]
    (directory / name).write_text("".join(lines))


def parts_of(directory, *recorded, chosen=None):
    """The parts of programs; `recorded` has (pid, ms of its birth) of processes that recorded themselves."""
    others = [Part(f"{pid}-{born * 1_000_000:x}") for pid, born in recorded]
    return straced(directory, others, chosen or Filter(), EPOCH)


def ops_of(part):
    """(op, file, offset, result, ms of its start, thread) of every op."""
    found = []
    for source in part.sources:
        slots, contexts, tids = source.read()
        assert contexts.shape == (len(slots), 5)
        assert source.begins == slots["t0"].min()
        for slot, tid in zip(slots, tids, strict=True):
            ran = (int(slot["offset"]), int(slot["ret"]), int(slot["t0"]) // 1_000_000, int(tid))
            found.append((int(slot["op"]), part.paths[int(slot["file"])], *ran))
    return found


def test_ops_begin_with_the_program(tmp_path):
    """What the process did before it became the program is not strace's; what it did then has its words, offsets and times."""
    written(
        tmp_path,
        ATTACHED,
        (7, 'openat(AT_FDCWD</w>, "/w/python", O_RDONLY) = 3</w/python> <0.000001>'),
        EXEC,
        (7, 'openat(AT_FDCWD</w>, "/w/a", O_RDONLY) = 3</w/a> <0.000001>'),
        (7, 'read(3</w/a>, ""..., 100) = 60 <0.000002>'),
        (7, 'read(3</w/a>, "", 100) = -1 EIO (Input/output error) <0.000002>'),
    )
    (part,) = parts_of(tmp_path)
    assert ops_of(part) == [(3, "/w/a", 0, 0, 4, 7), (1, "/w/a", 0, 60, 5, 7), (1, "/w/a", 60, 0, 6, 7)]
    assert (part.pid, part.born, part.layer) == (7, 3_000_000, "strace")
    assert part.about["argv"] == ["sh", "-c", "x"]
    slots = part.sources[0].read().slots
    assert slots["t1"].tolist() == [4_001_000, 5_002_000, 6_002_000]
    assert slots["err"].tolist() == [0, 0, 5]


def test_children_and_programs_in_one_process_are_told_apart(tmp_path):
    """A forked child is what its parent was until it executes something; each program has its own part and ancestors."""
    written(
        tmp_path,
        EXEC,
        (7, "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD) = 8 <0.000001>"),
        (8, 'openat(AT_FDCWD</w>, "/w/a", O_RDONLY) = 3</w/a> <0.000001>'),
        (8, 'execve("/bin/cat", ["cat"], 0x7f /* 3 vars */) = 0 <0.000001>'),
        (8, 'read(3</w/a>, ""..., 100) = 60 <0.000002>'),
    )
    shell, fork, cat = parts_of(tmp_path)
    assert [part.about["argv"][0] for part in (shell, fork, cat)] == ["sh", "sh", "cat"]
    assert (ops_of(shell), len(ops_of(fork)), len(ops_of(cat))) == ([], 1, 1)
    assert cat.about["above"] == [7]
    assert fork.about["ppid"] == 7


def test_processes_that_record_themselves_are_left_out(tmp_path):
    """From the execve that became the interpreter to the next, and in its forked children, strace's ops are not taken."""
    written(
        tmp_path,
        EXEC,
        (7, 'openat(AT_FDCWD</w>, "/w/shell", O_RDONLY) = 3</w/shell> <0.000001>'),
        (7, 'execve("/bin/python", ["python"], 0x7f /* 3 vars */) = 0 <0.000001>'),
        (7, 'openat(AT_FDCWD</w>, "/w/early", O_RDONLY) = 3</w/early> <0.000001>'),
        (7, 'openat(AT_FDCWD</w>, "/w/late", O_RDONLY) = 4</w/late> <0.000001>'),
        (7, "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD) = 8 <0.000001>"),
        (8, 'openat(AT_FDCWD</w>, "/w/worker", O_RDONLY) = 5</w/worker> <0.000001>'),
        (7, 'execve("/bin/cat", ["cat"], 0x7f /* 3 vars */) = 0 <0.000001>'),
        (7, 'openat(AT_FDCWD</w>, "/w/cat", O_RDONLY) = 3</w/cat> <0.000001>'),
    )
    found = parts_of(tmp_path, (7, 5))
    assert [path for part in found for path in part.paths.values()] == ["/w/shell", "/w/cat"]
    assert [part.about["argv"] for part in found] == [["sh", "-c", "x"], ["cat"]]


def test_reads_that_are_no_op_are_counted(tmp_path):
    """Pipes and files left out are counted as read; what splice moves into a recorded op the kernel does not count."""
    written(
        tmp_path,
        EXEC,
        (7, 'read(0<pipe:[5]>, ""..., 100) = 11 <0.000001>'),
        (7, 'read(3</lib/libc.so.6>, ""..., 832) = 832 <0.000001>'),
        (7, 'pread64(3</w/not>, ""..., 100, 5) = 100 <0.000001>'),
        (7, "sendfile(1<pipe:[6]>, 3</w/not>, NULL, 50) = 50 <0.000001>"),
        (7, "copy_file_range(3</w/a>, [10], 4</w/b>, NULL, 30, 0) = 30 <0.000001>"),
        (7, "splice(3</w/a>, [0], 1<pipe:[6]>, NULL, 30, 0) = 30 <0.000001>"),
        (7, "splice(3</w/not>, [0], 1<pipe:[6]>, NULL, 30, 0) = 30 <0.000001>"),
        (7, "read(0<pipe:[5]>, 0x7f, 100) = -1 EAGAIN (Resource temporarily unavailable) <0.000001>"),
    )  # fmt: skip
    (part,) = parts_of(tmp_path, chosen=Filter(exclude=["not"]))
    assert part.ignored_bytes == 11 + 832 + 100 + 50
    assert part.uncounted_bytes == 30
    assert {path for _, path, *_ in ops_of(part)} == {"/w/a", "/w/b"}


def test_an_execve_of_a_thread_is_its_process(tmp_path):
    """A program executed by a thread goes on under the number of its process."""
    written(
        tmp_path,
        (7, "clone3({flags=CLONE_VM|CLONE_THREAD, exit_signal=0} => {parent_tid=[9]}, 88) = 9 <0.000001>"),
        (9, 'execve("/bin/cat", ["cat"], 0x7f /* 3 vars */ <unfinished ...>'),
        (7, "+++ superseded by execve in pid 9 +++"),
        (7, "<... execve resumed>) = 0 <0.000001>"),
        (7, 'openat(AT_FDCWD</w>, "/w/a", O_RDONLY) = 3</w/a> <0.000001>'),
    )
    (part,) = parts_of(tmp_path)
    assert part.about["argv"] == ["cat"]
    assert ops_of(part) == [(3, "/w/a", 0, 0, 5, 7)]


def test_a_line_cut_short_is_said(tmp_path):
    """A tracer may have been killed in the middle of a line: the others count, and it is said."""
    written(tmp_path, EXEC, (7, "close(3</w/a>) = 0 <0.000001>"))
    with open(tmp_path / "7-1.strace", "a") as file:
        file.write("7 1700000000.9 clo")
    (part,) = parts_of(tmp_path)
    assert len(ops_of(part)) == 1
    (problem,) = part.problems
    assert "1 lines of strace were not understood" in problem


@pytest.mark.parametrize("text", ["", "7 1700", "\0\xff" * 50])
def test_a_file_with_nothing_in_it_is_no_part(tmp_path, text):
    """A strace that never came to write leaves nothing, and breaks nothing."""
    (tmp_path / "7-1.strace").write_text(text)
    assert parts_of(tmp_path) == []


def test_ops_are_merged_in_order_of_time(tmp_path):
    """Ops of several files come out as one trace, in pieces, with their layer, on the run's clock."""
    for pid in (7, 8):
        run = [
            (pid, call) for _, call in [EXEC, *[(0, f'pread64(3</w/a>, "", 1, {n}) = 1 <0.000001>') for n in range(9)]]
        ]
        written(tmp_path, *run, name=f"{pid}-1.strace")
    merge = Merge(tmp_path, 1_000_000, epoch=EPOCH)
    pieces = list(merge.pieces(4))
    merge.settle()
    ops = [op for piece in pieces for op in piece]
    assert [op.t_submit for op in ops] == sorted(n * 1_000_000 for n in range(1, 10) for _ in range(2))
    assert {(op.layer, op.uri, op.worker) for op in ops} == {("strace", "file:///w/a", None)}
    assert [part.read_bytes for part in merge.parts] == [9, 9]
    assert not [name for name in os.listdir(tmp_path) if not name.endswith(".strace")]
