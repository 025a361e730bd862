"""The account of who read what: processes that ended, held against what was recorded of them."""

import os

import pytest

from tracekit.record import children
from tracekit.record.children import Ending, account
from tracekit.record.coverage import coverage_of
from tracekit.record.parts import Part
from tracekit.trace import Op, Trace

LAUNCHER = 1000


def part(pid, born, seen, *, above=(LAUNCHER,), **facts):
    """A recorded process of which `seen` bytes are known."""
    made = Part(f"{pid}-{born:x}", **facts)
    made.ignored_bytes, made.layer = seen, "libc"
    made.about = {"above": [pid for pid in above if pid != LAUNCHER], "argv": [f"python{pid}"]}
    return made


def _programs(found):
    return {" ".join(entry["argv"]): entry["bytes"] for entry in found.programs}


def test_a_program_has_what_was_counted_at_its_end():
    """A child that was waited for is taken out of its parent's count, which then has nothing left."""
    python = part(5, 10, 700, execs=[(20, 6, ["/bin/cat", "cat", "a"])], reaps=[(30, 6, 300)])
    found = account([python], [Ending(40, LAUNCHER, 5, 1000)], {})
    assert _programs(found) == {"cat a": 300}
    assert found.processes == []
    assert found.missing == 300


def test_a_recorded_process_below_a_shell_is_the_shells_no_longer():
    """A shell's count holds that of the interpreter it started, and of the program that this one started in turn."""
    inner = part(8, 25, 500, above=(6, 5, LAUNCHER), execs=[(26, 9, ["/bin/dd", "dd"])], reaps=[(27, 9, 50)])
    outer = part(5, 10, 100, execs=[(20, 6, ["/bin/sh", "sh", "x.sh"])], reaps=[(30, 6, 570)])
    found = account([outer, inner], [Ending(40, LAUNCHER, 5, 670)], {})
    assert _programs(found) == {"sh x.sh": 20, "dd": 50}
    assert found.missing == 70


def test_a_process_that_execs_becomes_the_program():
    """What an interpreter had read before it became another program is its own; the rest is the program's."""
    forked = part(6, 15, 40, above=(5, LAUNCHER), execs=[(20, 6, ["/bin/cat", "cat"])])
    outer = part(5, 10, 100, reaps=[(30, 6, 240)])
    assert _programs(account([outer, forked], [Ending(40, LAUNCHER, 5, 340)], {})) == {"cat": 200}


def test_a_pid_that_is_used_again_is_another_process():
    """Two programs with one pid are told apart by when they ended; the same command is one entry."""
    python = part(
        5, 10, 0, execs=[(20, 6, ["/bin/cat", "cat"]), (40, 6, ["/bin/dd", "dd"]), (60, 6, ["/bin/cat", "cat"])],
        reaps=[(30, 6, 1), (50, 6, 10), (70, 6, 100)],
    )  # fmt: skip
    found = account([python], [Ending(80, LAUNCHER, 5, 111)], {})
    assert _programs(found) == {"cat": 101, "dd": 10}
    assert {entry["argv"][0]: entry["times"] for entry in found.programs} == {"cat": 2, "dd": 1}


def test_the_command_itself_may_be_no_python():
    """The program that record started, and orphans it adopted, have names without anybody having seen their start."""
    endings = [Ending(40, LAUNCHER, 5, 70), Ending(30, LAUNCHER, 7, 30, "daemon")]
    assert _programs(account([], endings, {5: ["sh", "run.sh"]})) == {"sh run.sh": 70, "daemon": 30}


def test_children_nobody_waited_for_hide_nothing():
    """An interpreter whose parent ignores its end is in no count: it neither adds to the gap nor fills another's."""
    lost = part(6, 15, 900, above=(5, LAUNCHER))
    outer = part(5, 10, 100)
    found = account([outer, lost], [Ending(40, LAUNCHER, 5, 100)], {})
    assert found.missing == 0
    trace = Trace.of([Op("file:///x", 0, 0, 0, ret=0)])
    assert coverage_of(trace, [outer, lost], 100, account=found)["share"] == 1.0


def test_a_count_the_kernel_keeps_to_itself_is_said():
    """Of a program of another user nothing can be read: it is named, with no bytes."""
    python = part(5, 10, 100, execs=[(20, 6, ["/usr/bin/sudo", "sudo"])], reaps=[(30, 6, -1)])
    (entry,) = account([python], [Ending(40, LAUNCHER, 5, 150)], {}).programs
    assert entry == {"argv": ["sudo"], "bytes": 0, "times": 1, "unknown": 1}


def test_bytes_missing_in_a_recorded_process_are_its_own():
    """What is missing without any other program is named with the process."""
    (entry,) = account([part(5, 10, 100)], [Ending(40, LAUNCHER, 5, 5100)], {}).processes
    assert entry == {"pid": 5, "argv": ["python5"], "bytes": 5000}


def test_the_sentence_names_the_programs():
    """Where programs explain the gap, the sentence names them with their bytes, and no guesses."""
    python = part(5, 10, 100, execs=[(20, 6, ["/bin/cat", "cat", "a"])], reaps=[(30, 6, 1 << 20)])
    found = account([python], [Ending(40, LAUNCHER, 5, 100 + (1 << 20))], {})
    coverage = coverage_of(Trace.of([Op("file:///x", 0, 0, 0, ret=0)]), [python], 100 + (1 << 20), account=found)
    assert coverage["missing"].endswith("by cat a (1 MiB)")
    assert not coverage["complete"]


def test_processes_below_are_found():
    """The tree below a process is walked through the kernel's own lists."""
    pid = os.fork()
    if pid == 0:
        os.read(os.pipe()[0], 1)
    try:
        assert pid in children.descendants(os.getpid())
        assert children.bytes_read(pid) >= 0
        assert children.name_of(pid)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert children.bytes_read(pid) == -1
    assert children.words_of(pid) == []


def test_what_strace_saw_of_a_program_fills_its_gap():
    """A shell that strace followed, and what it started, are known by their parts: only the rest is missing."""
    python = part(5, 10, 100, execs=[(20, 6, ["/bin/sh", "sh", "x.sh"])], reaps=[(30, 6, 1070)])
    shell, inner = part(6, 22, 60, above=(5,)), part(7, 25, 1000, above=(6,))
    shell.layer = inner.layer = "strace"
    found = account([python, shell, inner], [Ending(40, LAUNCHER, 5, 1170)], {})
    assert found.programs == []
    assert found.missing == 10
    trace = Trace.of([Op("file:///x", 0, 0, 0, ret=0)])
    coverage = coverage_of(trace, [python, shell, inner], 1170, account=found)
    assert coverage["complete"]
    assert coverage["not_followed"] == []


@pytest.mark.parametrize("total", [-1, 0])
def test_no_count_is_no_gap(total):
    """A process with no count, or none above what is known, misses nothing."""
    assert account([part(5, 10, 100)], [Ending(40, LAUNCHER, 5, total)], {}).missing == 0
