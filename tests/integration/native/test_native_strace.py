"""Programs that are no Python, followed by strace where that was asked for."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import covers_once, needs_compiler, needs_native, reads_of, record  # see there

from tracekit.errors import RecorderError
from tracekit.record import engine
from tracekit.trace import Trace

try:
    WHY_NOT = engine.strace_words() and ""
except RecorderError as error:
    WHY_NOT = error.cause
pytestmark = [needs_native, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]
STRACE = ("--native-children", "strace")
SIZE = 3_000_000


@pytest.fixture
def data(tmp_path):
    """A file to read, called a."""
    (tmp_path / "a").write_bytes(os.urandom(SIZE))
    return tmp_path / "a"


def _bytes(trace, path):
    return sum(got for _, _, got in reads_of(trace, path))


def _of(trace, word):
    """The pids of the processes whose command begins with `word`."""
    return {process["pid"] for process in trace.trailer.processes if process["argv"][:1] == [word]}


def test_programs_are_recorded_and_the_certificate_is_complete(tmp_path, data):
    """cat, md5sum, dd, pipelines, os.system, posix_spawn, a wiped environment: every read is an op, each once."""
    done, trace = record(
        tmp_path,
        """
        import os, subprocess, sys
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["cat", "a"], check=True, **quiet)
        subprocess.run(["md5sum", "a"], check=True, close_fds=False, **quiet)
        subprocess.run(["dd", "if=a", "of=copy", "bs=100000", "skip=10", "count=5"], check=True, **quiet)
        subprocess.run(["sh", "-c", "cat a | md5sum; (cat < a) | wc -c"], check=True, env={}, **quiet)
        os.system("head -c 200000 a > /dev/null")
        to_null = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
        os.waitpid(os.posix_spawn("/bin/cat", ["cat", "a"], os.environ, file_actions=to_null), 0)
        pid = os.fork()
        if pid == 0:
            os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
            os.execv("/bin/cat", ["cat", "a"])
        os.waitpid(pid, 0)
        open("copy", "rb").read()
        print([name for name in ("TRACEKIT_RECORD", "LD_PRELOAD") if name in os.environ])
        """,
        options=STRACE,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    assert "incomplete" not in done.stderr
    found = reads_of(trace, data)
    head = sum(got for _, _, got in found) - 6 * SIZE - 500_000
    assert 200_000 <= head <= 210_000  # head reads whole blocks
    assert [span for span in found if span[1] == 100_000] == [
        (1_000_000 + n * 100_000, 100_000, 100_000) for n in range(5)
    ]
    assert min(offset for offset, _, _ in found) == 0
    assert sum(op.ret for op in trace if op.op == "write" and op.uri.endswith("/copy")) == 500_000
    coverage = trace.trailer.coverage
    assert 0.995 <= coverage["share"] <= 1.0, coverage
    assert coverage["complete"]
    assert trace.header.producer["options"]["native_children"] == "strace"
    assert {op.layer for op in trace} == {"libc", "strace"}


def test_an_interpreter_below_is_not_recorded_twice(tmp_path, data):
    """Below a shell Python records itself, and cat beside it, before it and in its place is strace's."""
    done, trace = record(
        tmp_path,
        f"""
        import subprocess
        python = {sys.executable!r}
        inner = 'import os; open("a", "rb").read(); os.system("cat a >/dev/null"); os.execvp("md5sum", ["md5sum", "a"])'
        script = f"cat a > /dev/null; {{python}} -c '{{inner}}'; exec {{python}} -c 'open(\\"a\\", \\"rb\\").read()'"
        subprocess.run(["sh", "-c", script], check=True, stdout=subprocess.DEVNULL)
        """,
        options=STRACE,
    )
    assert done.returncode == 0, done.stderr
    layers = Counter()
    for op in trace:
        if op.op == "read" and op.uri.endswith("/a"):
            layers[op.layer] += op.ret
    assert layers == {"libc": 2 * SIZE, "strace": 3 * SIZE}
    coverage = trace.trailer.coverage
    assert 0.995 <= coverage["share"] <= 1.0, coverage
    assert coverage["complete"]


def test_the_command_itself_is_followed(tmp_path, data):
    """A command that is no Python is followed from its start, with its status; one that is not there is said."""
    output = tmp_path / "t.jsonl"
    command = [sys.executable, "-m", "tracekit", "record", *STRACE, "-o", str(output), "--"]
    rest = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 60}
    done = subprocess.run([*command, "sh", "-c", "md5sum a; exit 3"], **rest)
    assert done.returncode == 3, done.stderr
    trace = Trace.read(output)
    assert covers_once(reads_of(trace, data), SIZE)
    assert trace.trailer.coverage["complete"]
    (process,) = [process for process in trace.trailer.processes if "exit" in process]
    assert process["exit"] == 3
    output.unlink()
    assert subprocess.run([*command, "no-such-program"], **rest).returncode == 127
    assert subprocess.run([*command, str(data)], **rest).returncode == 126
    assert subprocess.run([*command, "sh", "-c", "kill -TERM $$"], **rest).returncode == 143


THREADS = r"""
    #include <fcntl.h>
    #include <pthread.h>
    #include <signal.h>
    #include <unistd.h>
    static char *path;
    static void *work(void *number)
    { static __thread char b[1000]; int fd = open(path, O_RDONLY);
      lseek(fd, 100000 * (long)number, SEEK_SET); for (int i = 0; i < 20; i++) read(fd, b, 1000);
      int copy = dup(fd); read(copy, b, 1000); close(copy); close(fd); return 0; }
    int main(int n, char **words)
    { pthread_t t[4]; path = words[1];
      for (long i = 0; i < 4; i++) pthread_create(t + i, 0, work, (void *)(i + 1));
      for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
      char b[10]; int fd = open(path, O_RDONLY); pread(fd, b, 10, 5000); read(fd, b, 7); raise(SIGKILL); }
"""


def _compiled(tmp_path, *flags):
    (tmp_path / "reader.c").write_text(THREADS)
    subprocess.run(["cc", "-O1", "-w", *flags, "-o", "reader", "reader.c", "-lpthread"], cwd=tmp_path, check=True)


def _reads_of_threads(trace, times=1):
    """The reads, which must be those of four threads and what came after them, each as often as the program ran."""
    reads = [op for op in trace if op.op == "read" and op.uri.endswith("/a")]
    spans = Counter((op.offset, op.len, op.ret) for op in reads)
    threads = {(100_000 * t + 1000 * i, 1000, 1000) for t in range(1, 5) for i in range(21)}
    assert spans == Counter(dict.fromkeys(threads | {(5000, 10, 10), (0, 7, 7)}, times))
    return reads


@needs_compiler
@pytest.mark.parametrize("flags", [(), ("-static",)], ids=["dynamic", "static"])
def test_threads_positions_and_a_sudden_end(tmp_path, data, flags):
    """A C program with threads, pread and lseek that is killed leaves what it had read, with offsets and threads."""
    _compiled(tmp_path, *flags)
    done, trace = record(tmp_path, "import subprocess; print(subprocess.call(['./reader', 'a']))", options=STRACE)
    assert done.stdout == "-9\n"
    reads = _reads_of_threads(trace)
    assert len({op.tid for op in reads}) == 5
    assert {op.pid for op in reads} == _of(trace, "./reader")
    times = [(op.t_submit, op.t_complete) for op in trace]
    assert times == sorted(times, key=lambda pair: pair[0])
    assert all(start <= end for start, end in times)


@pytest.mark.long
@pytest.mark.timeout(1800)
@needs_compiler
def test_positions_are_right_however_busy_the_machine(tmp_path, data):
    """A hundred runs beside processes that take the cores: threads reuse each other's descriptors in ever other orders."""
    _compiled(tmp_path)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    program = "import subprocess\nfor _ in range(100): subprocess.call(['./reader', 'a'])"
    try:
        done, trace = record(tmp_path, program, options=STRACE, timeout=1500)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert done.returncode == 0, done.stderr
    _reads_of_threads(trace, times=100)


def test_positions_nobody_told_are_null(tmp_path, data):
    """A descriptor that the program inherited is named, but where it stands is not known to strace."""
    program = """
        import subprocess
        with open("a", "rb") as file:
            subprocess.run(["cat"], stdin=file, stdout=subprocess.DEVNULL, check=True)
    """
    done, trace = record(tmp_path, program, options=STRACE)
    assert done.returncode == 0, done.stderr
    reads = [op for op in trace if op.op == "read" and op.uri.endswith("/a")]
    assert sum(op.ret for op in reads) == SIZE
    assert {op.offset for op in reads} == {None}


ENDS = """
    import os, signal, subprocess, sys, time
    print(subprocess.call(["sh", "-c", "exit 7"]), subprocess.call(["sh", "-c", "kill -SEGV $$"]))
    child = subprocess.Popen(["sleep", "30"]); child.kill(); print(child.wait())
    child = subprocess.Popen(["sleep", "30"]); child.terminate(); print(child.wait())
    child = subprocess.Popen(["sleep", "30"], start_new_session=True); os.killpg(child.pid, 15); print(child.wait())
    try: subprocess.run(["sleep", "30"], timeout=0.3)
    except subprocess.TimeoutExpired: print("timeout")
    child = subprocess.Popen(["sh", "-c", "kill -STOP $$; exit 4"])
    print(os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1])); child.send_signal(signal.SIGCONT); print(child.wait())
    for words in (["no-such-program"], ["./a"], ["./no-interpreter"]):
        try: subprocess.run(words)
        except OSError as error: print(type(error).__name__)
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    print(child.communicate(b"text"), child.returncode)
    child = subprocess.Popen(["sh", "-c", "echo $$ $PPID $0"], stdout=subprocess.PIPE, text=True)
    said = child.communicate()[0].split(); print(said[0] == str(child.pid), said[1] == str(os.getpid()), said[2])
    print(subprocess.run(["another name", "-c", "echo $0"], executable="/bin/sh", stdout=subprocess.PIPE).stdout)
    start = time.monotonic()
    script = "sleep 120 > /dev/null 2>&1 < /dev/null & echo $!"
    left = subprocess.run(["sh", "-c", script], capture_output=True).stdout
    print(time.monotonic() - start < 100); os.kill(int(left), 9)
    read, write = os.pipe()
    child = subprocess.Popen(["sh", "-c", f"exec {write}>&-; exec sleep 120"], pass_fds=[write]); os.close(write)
    start = time.monotonic(); print(os.read(read, 1), time.monotonic() - start < 100); child.kill(); child.wait()
    try: os.waitpid(-1, 0)
    except ChildProcessError: print("no other child")
"""


def test_ends_signals_and_descriptors_are_as_without_us(tmp_path, data):
    """Statuses, signals, stops, errors, pids, names and ends of pipes of followed programs are those of an unrecorded run."""
    (tmp_path / "no-interpreter").write_text("#!/no/such/program\n")
    (tmp_path / "no-interpreter").chmod(0o755)
    plain, _ = record(tmp_path, ENDS, options=("--native-children", "off"))
    done, trace = record(tmp_path, ENDS, options=STRACE)
    assert plain.returncode == done.returncode == 0, done.stderr
    assert done.stdout == plain.stdout
    assert done.stdout.endswith("no other child\n")
    assert trace.trailer.coverage["complete"]
    for _ in range(1000):
        left = subprocess.run(["pgrep", "-f", f"strace.*{tmp_path}"], capture_output=True, text=True).stdout
        if not left:
            break
        time.sleep(0.1)
    assert not left


@needs_compiler
def test_a_program_meets_no_child_of_ours(tmp_path):
    """A program that waits for any child, in its first call, has none."""
    (tmp_path / "w.c").write_text("#include <sys/wait.h>\nint main() { return waitpid(-1, 0, __WALL) == -1 ? 5 : 6; }")
    subprocess.run(["cc", "-w", "-D_GNU_SOURCE", "-o", "w", "w.c"], cwd=tmp_path, check=True)
    done, _ = record(tmp_path, "import subprocess; print(subprocess.call('./w'))", options=STRACE)
    assert done.stdout == "5\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make such a file without sudo")
def test_what_gains_privileges_is_left_alone(tmp_path, data):
    """Traced, a set-user-ID program would lose its privileges: it is not followed, and named as missing."""
    shutil.copy("/bin/cat", tmp_path / "mighty")
    (tmp_path / "mighty").chmod(0o4755)
    done, trace = record(tmp_path, "import subprocess; subprocess.run(['./mighty', 'a'], stdout=-3)", options=STRACE)
    assert done.returncode == 0
    assert _bytes(trace, data) == 0
    (entry,) = [entry for entry in trace.trailer.coverage["native_children"] if entry["argv"][0] == "./mighty"]
    assert entry["bytes"] >= SIZE
    assert not trace.trailer.coverage["complete"]


def test_a_debugger_below_is_left_alone(tmp_path):
    """A tracer started by the program is not traced itself: it does its work."""
    program = "import subprocess; print(subprocess.run(['strace', '-f', '-o', 's', 'sh', '-c', 'exit 5']).returncode)"
    done, _ = record(tmp_path, program, options=STRACE)
    assert done.stdout == "5\n"
    assert "execve" in (tmp_path / "s").read_text()


def test_only_what_is_included_is_recorded(tmp_path, data):
    """The globs hold for followed programs as well; the rest is counted."""
    (tmp_path / "b").write_bytes(os.urandom(SIZE))
    program = "import subprocess; subprocess.run(['cat', 'a', 'b'], stdout=-3, check=True)"
    done, trace = record(tmp_path, program, options=(*STRACE, "--include", "b"))
    assert done.returncode == 0, done.stderr
    assert {op.uri.rpartition("/")[2] for op in trace} == {"b"}
    assert trace.trailer.coverage["ignored_read_bytes"] >= SIZE
    assert trace.trailer.coverage["complete"]


def test_many_at_once(tmp_path, data):
    """Programs started from many threads at the same time are followed one by one."""
    program = """
        import subprocess, threading
        def run(): subprocess.run(["sh", "-c", "cat a"], stdout=subprocess.DEVNULL, check=True)
        threads = [threading.Thread(target=run) for _ in range(12)]
        [t.start() for t in threads]; [t.join() for t in threads]
    """
    done, trace = record(tmp_path, program, options=STRACE)
    assert done.returncode == 0, done.stderr
    assert _bytes(trace, data) == 12 * SIZE
    assert trace.trailer.coverage["complete"]


def test_a_program_that_lives_on_is_recorded_so_far(tmp_path, data):
    """What the program leaves running keeps nobody waiting for long, and its reads up to then are in the trace."""
    program = """
        import subprocess, sys
        script = "cat a > /dev/null; echo $$; exec sleep 300"
        print(subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, stderr=-3).stdout.readline().decode())
    """
    start = time.monotonic()
    done, trace = record(tmp_path, program, options=STRACE)
    os.kill(int(done.stdout), signal.SIGKILL)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 250
    assert _bytes(trace, data) == SIZE


@pytest.mark.parametrize(
    ("strace", "sentence"),
    [
        (None, "strace is not on PATH"),
        ("#!/bin/sh\necho 'strace: attach: ptrace(PTRACE_SEIZE, 1): Operation not permitted' >&2; exit 1\n",
         "Operation not permitted"),
    ],
)  # fmt: skip
def test_it_is_refused_before_the_program_starts(tmp_path, strace, sentence):
    """Without strace, and where it may not trace, record says so with status 125 and starts nothing."""
    (tmp_path / "bin").mkdir()
    if strace:
        (tmp_path / "bin" / "strace").write_text(strace)
        (tmp_path / "bin" / "strace").chmod(0o755)
    (tmp_path / "bin" / "touch").symlink_to(shutil.which("touch"))
    (tmp_path / "bin" / "cat").symlink_to(shutil.which("cat"))
    command = [sys.executable, "-m", "tracekit", "record", *STRACE, "--", "touch", "started"]
    environment = {**os.environ, "PATH": str(tmp_path / "bin")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 125
    assert "--native-children strace cannot be used: " in done.stderr
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == ["bin"]


def test_it_needs_the_native_engine(tmp_path):
    """The Python engine does not see programs begin: refused before the program starts."""
    command = [sys.executable, "-m", "tracekit", "record", "--engine", "python", *STRACE, "--", "true"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 125
    assert "needs the native engine" in done.stderr
