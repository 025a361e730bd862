"""Programs that are no Python, started by a recorded one: their bytes to within 2 %, and nothing of the program changed."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import needs_compiler, needs_native, record  # see there

import tracekit
from tracekit.trace import Trace

pytestmark = needs_native

SIZES = {"a": 8_000_000, "b": 5_000_000}
READER = r"""
#include <fcntl.h>
#include <unistd.h>
int main(int n, char **words)
{ static char b[65536]; int fd = open(words[1], O_RDONLY); while (read(fd, b, sizeof b) > 0); return 7; }
"""


def _data(directory):
    for name, size in SIZES.items():
        (directory / name).write_bytes(os.urandom(size))


def _children(trace):
    return {" ".join(entry["argv"]): entry["bytes"] for entry in trace.trailer.coverage["native_children"]}


def _near(found, true):
    return abs(found - true) <= 0.02 * true


def _nobody(place):
    """How to start tracekit as a user without any right: the first words, and more arguments of `subprocess.run`."""
    rest = {"cwd": place, "capture_output": True, "text": True, "timeout": 600}
    if os.geteuid() != 0:
        return [sys.executable, "-m", "tracekit"], rest
    place.chmod(0o777)
    rest |= {"user": 65534, "group": 65534, "extra_groups": []}
    rest["env"] = {"PATH": os.defpath, "PYTHONPATH": str(Path(tracekit.__file__).parents[1])}
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            if (
                subprocess.run([python, "-c", "import tracekit._core, numpy.linalg"], **rest, check=False).returncode
                == 0
            ):
                return [python, "-m", "tracekit"], rest
    pytest.skip("no Python here that another user may run has tracekit's packages")


def test_the_certificate_takes_no_privilege():
    """Any user has the kernel's count, and children named with their bytes: of a process that has ended /proc tells root only."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        _data(place)
        words, rest = _nobody(place)
        program = "import subprocess; open('a', 'rb').read(); subprocess.run(['cat', 'b'], stdout=subprocess.DEVNULL)"
        done = subprocess.run([*words, "record", "-o", "t.jsonl", "--", words[0], "-c", program], **rest, check=False)
        trace = Trace.read(place / "t.jsonl")

    coverage = trace.trailer.coverage
    assert coverage["kernel_read_bytes"] >= sum(SIZES.values())
    assert _near(_children(trace)["cat b"], SIZES["b"])
    assert _near(coverage["missing_bytes"], SIZES["b"])
    assert "the kernel counted " in done.stderr


def test_every_program_is_named_with_its_bytes(tmp_path):
    """cat, md5sum, dd, shells and what they start, a pipe of several: each within 2 %, the sum of all within 0.5 %."""
    _data(tmp_path)
    done, trace = record(
        tmp_path,
        """
        import os, subprocess, sys
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["cat", "a"], **quiet)
        subprocess.run(["md5sum", "b"], close_fds=False, **quiet)
        subprocess.run(["dd", "if=a", "of=/dev/null", "bs=64k"], env={"PATH": os.environ["PATH"]}, **quiet)
        subprocess.run(["sh", "-c", "cat a; cat b"], **quiet)
        subprocess.run("cat a | md5sum", shell=True, **quiet)
        subprocess.run(["sh", "-c", f"cat b; {sys.executable} -I -c 'open(\\"a\\", \\"rb\\").read()'; true"], **quiet)
        first = subprocess.Popen(["cat", "b"], stdout=subprocess.PIPE)
        subprocess.run(["wc", "-c"], stdin=first.stdout, **quiet); first.wait()
        os.waitpid(os.posix_spawn("/bin/cat", ["cat", "b", "b"], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]), 0)
        os.system("head -c 4000000 a > /dev/null")
        open("a", "rb").read()
        """,
    )
    assert done.returncode == 0, done.stderr
    found, (a, b) = _children(trace), SIZES.values()
    assert _near(found["cat a"], a)
    assert _near(found["md5sum b"], b)
    assert _near(found["dd if=a of=/dev/null bs=64k"], a)
    assert _near(found["sh -c cat a; cat b"], a + b)
    assert _near(found["/bin/sh -c cat a | md5sum"], 2 * a)
    assert _near(next(size for argv, size in found.items() if "open(" in argv), b)
    assert _near(found["cat b"], b)
    assert _near(found["wc -c"], b)
    assert _near(found["cat b b"], 2 * b)
    assert _near(next(size for argv, size in found.items() if "head" in argv), 4_000_000)
    coverage = trace.trailer.coverage
    assert not coverage["complete"]
    named = sum(found.values())
    assert abs(named - coverage["missing_bytes"]) <= 0.005 * coverage["missing_bytes"]
    seen = coverage["kernel_read_bytes"] - coverage["missing_bytes"]
    assert abs(coverage["share"] - seen / coverage["kernel_read_bytes"]) < 1e-3
    assert "cat a" in done.stderr
    assert "incomplete" in done.stderr


@needs_compiler
def test_a_program_of_ones_own_and_the_command_itself(tmp_path):
    """A C program below Python, and a shell script as the command, with an interpreter that is recorded in it."""
    _data(tmp_path)
    (tmp_path / "reader.c").write_text(READER)
    subprocess.run(["cc", "-O1", "-o", "reader", "reader.c"], cwd=tmp_path, check=True)
    (tmp_path / "run.sh").write_text(f"#!/bin/sh\n./reader a\n{sys.executable} program.py\ncat b > /dev/null\nexit 9\n")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "program.py").write_text(
        "import subprocess; assert subprocess.call(['./reader', 'b']) == 7; open('a', 'rb').read()"
    )
    output = tmp_path / "t.jsonl"
    command = [sys.executable, "-m", "tracekit", "record", "--engine", "native", "-o", str(output), "--", "./run.sh"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 9
    from tracekit.trace import Trace

    found = _children(Trace.read(output))
    assert _near(found["./reader b"], SIZES["b"])
    assert _near(found["./run.sh"], SIZES["a"] + SIZES["b"])


def test_complete_runs_are_complete(tmp_path):
    """With daemons, orphans and children that nobody waits for, a run without other programs is 99.5 to 100 per cent."""
    _data(tmp_path)
    done, trace = record(
        tmp_path,
        """
        import multiprocessing, os, signal, subprocess, sys, time
        def read(): open("a", "rb").read()
        if __name__ == "__main__":
            read()
            if os.fork() == 0:                        # a daemon, by two forks: an orphan that ends before the program
                if os.fork() == 0: os.setsid(); read(); os._exit(0)
                os._exit(0)
            os.wait()
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            if os.fork() == 0: read(); os._exit(0)    # nobody waits
            time.sleep(0.3)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            with multiprocessing.get_context("spawn").Pool(2) as pool: pool.apply(read); pool.apply(read)
            subprocess.Popen([sys.executable, "-c", "open('b', 'rb').read(); import time; time.sleep(3)"], start_new_session=True)
            time.sleep(0.5)                           # one that outlives the program
        """,
    )
    assert done.returncode == 0, done.stderr
    coverage = trace.trailer.coverage
    assert 0.995 <= coverage["share"] <= 1.0, coverage
    assert coverage["complete"]
    assert "incomplete" not in done.stderr
    assert sum(op.ret for op in trace if op.op == "read" and op.uri.endswith("/a")) == 5 * SIZES["a"]


def test_off_looks_at_nobody(tmp_path):
    """With --native-children off nothing is said about programs; the header says that it was so."""
    _data(tmp_path)
    done, trace = record(
        tmp_path, "import subprocess; subprocess.run(['cat', 'a'], stdout=-3)", options=["--native-children", "off"]
    )
    assert done.returncode == 0, done.stderr
    assert "native_children" not in trace.trailer.coverage
    assert trace.header.producer["options"]["native_children"] == "off"


WAITS = """
    import errno, os, select, signal, subprocess, sys, threading, time
    def child(code=0, pause=0.0):
        pid = os.fork()
        if pid == 0:
            time.sleep(pause); os._exit(code)
        return pid
    def say(*what): print(*what)
    pid = child(3); say(os.waitpid(pid, 0)[1])
    pid = child(4, 0.2); say(os.waitpid(pid, os.WNOHANG)); say(os.waitstatus_to_exitcode(os.waitpid(-1, 0)[1]))
    pid = child(5); time.sleep(0.1); say(os.waitpid(0, os.WNOHANG)[0] == pid)
    pid = child(6); info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT); say(info.si_status, info.si_code)
    info = os.waitid(os.P_PID, pid, os.WEXITED); say(info.si_status)
    pid = child(7); say(os.wait3(0)[1], ); pid = child(8); say(os.wait4(pid, 0)[1], os.wait4 is not None)
    for call in (os.wait, lambda: os.waitpid(-1, 0), lambda: os.waitpid(999999, 0), lambda: os.waitid(os.P_ALL, 0, os.WEXITED)):
        try: call()
        except OSError as error: say(errno.errorcode[error.errno])
    pid = child(0, 5); os.kill(pid, signal.SIGSTOP); say(os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1]))
    os.kill(pid, signal.SIGCONT); say(os.WIFCONTINUED(os.waitpid(pid, os.WCONTINUED)[1]))
    os.kill(pid, signal.SIGKILL); say(os.waitpid(pid, 0)[1])
    seen = []
    def reap(*_):
        try:
            while True:
                found = os.waitpid(-1, os.WNOHANG)
                if not found[0]: break
                seen.append(os.waitstatus_to_exitcode(found[1]))
        except ChildProcessError: pass
    signal.signal(signal.SIGCHLD, reap)
    for code in range(5): child(code, 0.05 * code)
    while len(seen) < 5: time.sleep(0.02)
    say(sorted(seen)); signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    def interrupted(*_): raise KeyError("in the handler")
    signal.signal(signal.SIGALRM, interrupted); pid = child(0, 5); signal.setitimer(signal.ITIMER_REAL, 0.2)
    try: os.waitpid(pid, 0)
    except KeyError: say("interrupted")
    os.kill(pid, 9); os.waitpid(pid, 0)
    results = []
    def run(n): results.append(subprocess.run(["sh", "-c", f"exit {n}"]).returncode)
    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    [t.start() for t in threads]; [t.join() for t in threads]; say(sorted(results))
    say(subprocess.Popen(["sh", "-c", "exit 3"]).wait(), os.system("exit 4"), os.popen("exit 5").close())
    import asyncio
    async def main():
        p = await asyncio.create_subprocess_exec("sh", "-c", "exit 6"); say(await p.wait())
    asyncio.run(main())
    if hasattr(os, "pidfd_open"):
        pid = child(9); fd = os.pidfd_open(pid); say(os.waitid(os.P_PIDFD, fd, os.WEXITED).si_status); os.close(fd)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN); pid = child(0)
    try: os.waitpid(pid, 0)
    except ChildProcessError: say("nobody to wait for")
"""


def test_waiting_is_as_without_us(tmp_path):
    """Every way to wait, its results and its errors, stops, signals, threads and asyncio: the same output as unrecorded."""
    script = textwrap.dedent(WAITS)
    plain = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600)
    done, trace = record(tmp_path, WAITS)
    assert (plain.returncode, plain.stderr) == (0, "")
    assert done.stdout == plain.stdout
    assert done.returncode == 0
    assert trace.trailer.lost == 0


@needs_compiler
def test_waits_of_c_code_are_seen(tmp_path):
    """A shell started by C code through system(3), which waits inside the C library, is named like any other."""
    _data(tmp_path)
    (tmp_path / "c.c").write_text('#include <stdlib.h>\nint by_system(void) { return system("cat a > /dev/null"); }')
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "libwaits.so", "c.c"], cwd=tmp_path, check=True)
    done, trace = record(tmp_path, "import ctypes; ctypes.CDLL('./libwaits.so').by_system()")
    assert done.returncode == 0, done.stderr
    assert _near(sum(size for argv, size in _children(trace).items() if "cat a" in argv), SIZES["a"])


@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace")
def test_a_debugger_below_is_not_disturbed(tmp_path):
    """A tracer started by the program waits for stops of its own child: it ends as it should."""
    done, _ = record(
        tmp_path,
        "import subprocess; print(subprocess.run(['strace', '-f', '-o', 's', 'sh', '-c', 'true; exit 5']).returncode)",
    )
    assert done.stdout == "5\n"
