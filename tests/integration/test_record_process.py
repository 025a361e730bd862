"""A recorded program behaves as it would without us: status, signals, terminal, standard streams, start-up files."""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from record_programs import TRACEKIT, run_recorded  # beside this file, which is no package

from tracekit.metrics import Metrics
from tracekit.trace import Trace

RECORD = [*TRACEKIT, "record"]


def _record(tmp_path, *command, options=(), **rest):
    output = tmp_path / "trace.jsonl"
    rest = {"cwd": tmp_path, "capture_output": True, "text": True, "timeout": 60, **rest}
    done = subprocess.run([*RECORD, "-o", str(output), *options, "--", *command], **rest)
    return done, output


@pytest.mark.parametrize("code", [0, 1, 2, 42, 125, 255])
def test_exit_status_is_the_programs(tmp_path, code):
    """Whatever status the program ends with is the status of record."""
    done, output = _record(tmp_path, sys.executable, "-c", f"raise SystemExit({code})")
    assert done.returncode == code
    assert Trace.read(output).trailer.processes[0]["exit"] == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGINT])
def test_killed_program_gives_the_shells_status(tmp_path, number):
    """A program killed by signal n gives 128+n, and a readable trace."""
    program = f"import os; os.kill(os.getpid(), {int(number)}) if {int(number)} != 2 else None; import signal; \
signal.signal(2, signal.SIG_DFL); os.kill(os.getpid(), {int(number)})"
    done, output = _record(tmp_path, sys.executable, "-c", program)
    assert done.returncode == 128 + number
    assert Trace.read(output).is_complete


def test_missing_program_is_127_and_unexecutable_126(tmp_path):
    """A command that is not found gives 127, a file that may not be executed 126; nothing is left behind."""
    (tmp_path / "data.txt").write_text("no program")
    done, _ = _record(tmp_path, "no-such-command-here")
    assert (done.returncode, done.stdout) == (127, "")
    assert "Traceback" not in done.stderr
    assert "no-such-command-here" in done.stderr
    assert _record(tmp_path, "./no/such/file")[0].returncode == 127
    assert _record(tmp_path, "./data.txt")[0].returncode == 126
    assert os.listdir(tmp_path) == ["data.txt"]


@pytest.mark.parametrize(
    "options", [["-o", "missing/t.jsonl"], ["-o", "t.doc"], ["-o", "-"], ["-o", "old.jsonl"], ["--engine", "magic"]]
)
def test_own_failure_is_125_before_the_program_starts(tmp_path, options):
    """What record itself cannot do ends in 125 and one sentence, before the program has run."""
    (tmp_path / "old.jsonl").write_text("kept")
    command = [*RECORD, *options, "--", sys.executable, "-c", "open('ran', 'w')"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 125
    assert len(done.stderr.strip().splitlines()) == 1
    assert os.listdir(tmp_path) == ["old.jsonl"]
    assert (tmp_path / "old.jsonl").read_text() == "kept"


def test_no_command_is_a_usage_error(tmp_path):
    """Record without a command says how to write one."""
    done = subprocess.run([*RECORD, "--"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 125
    assert "tracekit record -- python train.py" in done.stderr


def test_standard_streams_pass_through(tmp_path):
    """Stdin reaches the program and its stdout and stderr come out unchanged, stdout with nothing of ours."""
    program = "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.stderr.write('E')"
    done, _ = _record(tmp_path, sys.executable, "-c", program, input="some text\n")
    assert done.stdout == "SOME TEXT\n"
    assert done.stderr.startswith("E")
    assert done.stderr.strip().splitlines()[-1].startswith("next: tracekit stats ")


def test_default_name_and_arguments(tmp_path):
    """Without -o the trace is named after script and pid, and options after -- are the program's."""
    (tmp_path / "train.py").write_text("import os, sys; print(os.getpid(), sys.argv[1:])")
    command = [*RECORD, "--", sys.executable, "train.py", "-o", "x", "--", "--force"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    pid, _, argv = done.stdout.partition(" ")
    assert argv.strip() == "['-o', 'x', '--', '--force']"
    assert sorted(os.listdir(tmp_path)) == [f"tracekit-train.{pid}.jsonl", "train.py"]


TTY = """
import os, sys, signal
try:
    print(sys.stdin.isatty(), sys.stdout.isatty(), os.getpgrp() == os.tcgetpgrp(0), os.getsid(0) == os.getsid(os.getppid()), flush=True)
    signal.pause()
except KeyboardInterrupt:
    open("seen", "w").write("interrupted")
    sys.exit(7)
"""


def test_terminal_belongs_to_the_program(tmp_path):
    """On a terminal the program is in the foreground; Ctrl-C reaches it once, and the trace is whole afterwards."""
    (tmp_path / "tty.py").write_text(TTY)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv(sys.executable, [*RECORD, "-o", "trace.jsonl", "--", sys.executable, "tty.py"])
    text = _until(terminal, b"\n")
    os.write(terminal, b"\x03")
    text += _drain(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status == 7, text.decode()
    assert text.startswith(b"True True True True")
    assert (tmp_path / "seen").read_text() == "interrupted"
    trace = Trace.read(tmp_path / "trace.jsonl")
    assert trace.is_complete
    assert any(op.op == "write" and op.uri.endswith("/seen") for op in trace)


def _until(fd, wanted):
    text = b""
    while wanted not in text:
        text += os.read(fd, 1000)
    return text


def _drain(fd):
    text = b""
    while True:
        try:
            part = os.read(fd, 1000)
        except OSError:
            return text
        if not part:
            return text
        text += part


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_signals_sent_to_record_reach_the_program(tmp_path, number):
    """A signal sent to the launcher alone is passed on, and the program decides what becomes of it."""
    program = f"""
import signal, sys
signal.signal({int(number)}, lambda *_: sys.exit(9))
print("ready", flush=True)
while True: signal.pause()
"""
    command = [*RECORD, "-o", "trace.jsonl", "--", sys.executable, "-c", program]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    process.communicate(timeout=600)
    assert process.returncode == 9
    assert Trace.read(tmp_path / "trace.jsonl").is_complete


def test_own_sitecustomize_usercustomize_and_pythonpath_work(tmp_path):
    """A program's own sitecustomize on PYTHONPATH runs, stands in sys.modules, and our directory is not on sys.path."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("import builtins; builtins.MARK = __file__")
    (site / "mine.py").write_text("X = 1")
    program = "import sys, mine, json; print(json.dumps([MARK, sys.modules['sitecustomize'].__file__, sys.path]))"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    with_us, _ = _record(tmp_path, sys.executable, "-c", program, env=environment)
    without = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    assert json.loads(with_us.stdout) == json.loads(without.stdout)


@pytest.mark.parametrize("text", ["import no_such_module_at_all", "raise ValueError('broken')", "def ("])
def test_broken_sitecustomize_fails_as_without_us(tmp_path, text):
    """A sitecustomize that fails gives the message and the behaviour it gives without us."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    program = [sys.executable, "-c", "import sys; print('sitecustomize' in sys.modules)"]
    with_us, _ = _record(tmp_path, *program, env=environment)
    without = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert (with_us.returncode, with_us.stdout) == (without.returncode, without.stdout)
    ours = [
        line
        for line in with_us.stderr.splitlines()
        if not line.startswith(("recorded", "the kernel", "next", "warning"))
    ]
    # Twice: the launcher is a Python program too, and meets the same file.
    assert ours == 2 * without.stderr.splitlines()


def test_venv_without_tracekit_is_recorded(tmp_path):
    """A program in a bare venv, where neither tracekit nor numpy is installed, is recorded."""
    venv.create(tmp_path / "env", with_pip=False)
    (tmp_path / "data.bin").write_bytes(b"x" * 100)
    done, trace = run_recorded(tmp_path, "open('data.bin', 'rb').read()", python=str(tmp_path / "env/bin/python"))
    assert done.returncode == 0, done.stderr
    assert [(op.len, op.ret) for op in trace if op.op == "read"] == [(101, 100), (1, 0)]


def test_child_has_only_our_private_modules(tmp_path):
    """In a recorded process no tracekit package and no third-party module is loaded by us, and no descriptor is ours."""
    program = "import os, sys, json; print(json.dumps([sorted(sys.modules), sorted(os.listdir('/proc/self/fd'))]))"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    with_us, _ = _record(tmp_path, sys.executable, "-c", program, env=environment)
    without = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
    )
    (ours, our_fds), (theirs, their_fds) = json.loads(with_us.stdout), json.loads(without.stdout)
    more = set(ours) - set(theirs)
    private = {name for name in more if name.startswith("_tracekit_")}
    assert "_tracekit_recorder" in private
    assert not any(name.split(".")[0] in ("tracekit", "numpy", "json", "re", "threading") for name in more)
    standard = set(sys.stdlib_module_names)
    assert {name.split(".")[0] for name in more - private} <= standard
    assert len(our_fds) == len(their_fds)


COUNTING = """
import os, sys
data = os.open(sys.argv[1], os.O_RDONLY)
count = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)
import posix
n = 0
while True:
    os.pread(data, 10, n % 1000)
    n += 1
    posix.pwrite(count, n.to_bytes(8, "little"), 0)
"""


def test_sigkill_loses_at_most_the_op_in_flight(tmp_path):
    """A program killed at a random moment has every op it completed in its trace, but for at most the last."""
    (tmp_path / "data").write_bytes(b"x" * 2000)
    (tmp_path / "program.py").write_text(COUNTING)
    chance = random.Random(5)
    for _ in range(4):
        command = [*RECORD, "--force", "-o", "trace.jsonl", "--", sys.executable, "program.py", "data", "count"]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        count = tmp_path / "count"
        deadline = time.monotonic() + 6000
        while not (count.exists() and count.stat().st_size == 8) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.3)
        os.kill(_child_of(process.pid), signal.SIGKILL)
        _, talk = process.communicate(timeout=600)
        assert process.returncode == 137, talk
        done = int.from_bytes(count.read_bytes(), "little")
        trace = Trace.read(tmp_path / "trace.jsonl")
        seen = sum(op.op == "read" and op.uri.endswith("/data") for op in trace)
        assert done <= seen <= done + 1
        count.unlink()


def _child_of(pid):
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def test_full_disk_never_hurts_the_program(tmp_path):
    """Where the parts cannot grow the program still runs to its end, and what was lost is counted."""
    program = """
        import os, resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
        fd = os.open("data", os.O_RDONLY)
        for n in range(20_000):
            os.pread(fd, 1, 0)
        print("done")
    """
    (tmp_path / "data").write_bytes(b"x")
    done, trace = run_recorded(tmp_path, program)
    assert (done.returncode, done.stdout) == (0, "done\n")
    recorded = sum(op.op == "read" for op in trace)
    assert recorded < 20_000
    assert 0 <= recorded + trace.trailer.lost - 20_000 < 10
    assert "ops could not be recorded" in done.stderr


def test_children_of_every_kind_are_followed(tmp_path):
    """fork, spawn, Pool workers killed by SIGTERM, subprocess and exec are followed; what is not is named with the reason."""
    program = """
        import multiprocessing, os, subprocess, sys
        def read(name):
            with open("data", "rb") as file: file.read()
            return name
        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                with multiprocessing.get_context(method).Pool(2) as pool:
                    pool.map(read, range(4), chunksize=1)
            code = "open('data', 'rb').read()"
            subprocess.run([sys.executable, "-c", code])
            subprocess.run(["sh", "-c", f'"{sys.executable}" -c "{code}"'])
            subprocess.run([sys.executable, "-c", code], env={"PATH": "/bin"})
            subprocess.run([sys.executable, "-I", "-c", code])
            subprocess.run(["cat", "data"], stdout=subprocess.DEVNULL)
            os.execv(sys.executable, [sys.executable, "-c", code])
    """
    (tmp_path / "data").write_bytes(b"x" * 5000)
    done, trace = run_recorded(tmp_path, program)
    assert done.returncode == 0, done.stderr
    whole = [op for op in trace if op.op == "read" and op.ret == 5000]
    assert len(whole) == 4 + 4 + 1 + 1 + 1 + 1
    whys = {entry["argv"][0]: entry["why"] for entry in trace.trailer.coverage["not_followed"]}
    assert "no Python" in whys["cat"]
    reasons = [entry["why"] for entry in trace.trailer.coverage["not_followed"]]
    assert sum("environment of its own" in why for why in reasons) == 1
    assert not any("-I" in why for why in reasons)
    assert not os.path.exists(tmp_path / ".tracekit-x.parts")
    assert [name for name in os.listdir(tmp_path) if name.endswith(".parts")] == []


def test_daemon_that_closes_all_descriptors_lives(tmp_path):
    """A daemon that closes every descriptor and opens its own is neither hurt nor recorded into."""
    program = """
        import os, sys, time
        if os.fork() == 0:
            os.setsid()
            os.closerange(0, 4096)
            for number in range(12):
                fd = os.open(f"out{number}", os.O_WRONLY | os.O_CREAT)
                os.write(fd, b"%d" % fd)
            open("data", "rb").read()
            os._exit(0)
        os.wait()
    """
    (tmp_path / "data").write_bytes(b"x" * 5000)
    done, trace = run_recorded(tmp_path, program)
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / f"out{number}").read_text() for number in range(12)] == [str(number) for number in range(12)]
    assert any(op.op == "read" and op.ret == 5000 for op in trace)


def test_background_child_that_outlives_the_command_is_said(tmp_path):
    """A child still at work when the command ends is merged as far as it got, marked running, and not hurt."""
    program = """
        import os, select, subprocess, sys
        child = "import os, time; open('data', 'rb').read(); open('ready', 'w').close(); time.sleep(3); open('data', 'rb').read(); \
open('alive', 'w').close()"
        subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        import time
        while not os.path.exists("ready"): time.sleep(0.01)
    """
    (tmp_path / "data").write_bytes(b"x" * 5000)
    done, trace = run_recorded(tmp_path, program)
    assert done.returncode == 0, done.stderr
    assert [process.get("running") for process in trace.trailer.processes] == [None, True]
    assert sum(op.op == "read" and op.ret == 5000 for op in trace) == 1
    assert "still running" in done.stderr
    deadline = time.monotonic() + 600
    while not (tmp_path / "alive").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_reused_descriptor_is_never_misattributed(tmp_path):
    """When a descriptor is closed behind our back and its number used again, the reads go to the new file."""
    program = """
        import os, posix
        fd = os.open("a", os.O_RDONLY)
        os.read(fd, 1)
        posix.close(fd)
        again = posix.open("b", os.O_RDONLY)
        assert again == fd
        os.read(fd, 2)
    """
    for name in "ab":
        (tmp_path / name).write_bytes(b"x" * 10)
    done, trace = run_recorded(tmp_path, program)
    assert done.returncode == 0, done.stderr
    assert [(op.uri[-1], op.len) for op in trace if op.op == "read"] == [("a", 1), ("b", 2)]


def test_public_api_marks_steps_samples_and_epochs(tmp_path):
    """tracekit.step(), sample() and epoch() tag the ops of their blocks and leave marks; explicit steps count once."""
    program = """
        import tracekit
        assert tracekit.recording()
        for epoch in range(2):
            with tracekit.epoch(epoch):
                for number in range(3):
                    with tracekit.step():
                        for name in ("a", "b"):
                            with tracekit.sample(f"item-{name}"):
                                open(name, "rb").read()
        for batch in tracekit.step(["a", "b"]):
            with tracekit.step(), tracekit.sample(7):
                open(batch, "rb").read()
    """
    for name in "ab":
        (tmp_path / name).write_bytes(b"x" * 10)
    done, trace = run_recorded(tmp_path, program)
    assert done.returncode == 0, done.stderr
    got = [(op.epoch, op.step, op.sample_id) for op in trace if op.op == "read" and op.ret]
    expected = [(step // 3, step, f"item-{name}") for step in range(6) for name in "ab"]
    assert got == [*expected, (None, 6, 7), (None, 7, 7)]
    assert [mark.step for mark in trace.marks if mark.mark == "step"] == list(range(8))
    assert [mark.epoch for mark in trace.marks if mark.mark == "epoch"] == [0, 1]
    assert [mark.step for mark in trace.marks if mark.mark == "compute"] == [6, 7]
    assert all(mark.t_end >= mark.t for mark in trace.marks)


def test_include_exclude_and_redaction(tmp_path):
    """--include limits, --exclude wins, and --redact-uris leaves no name in the file."""
    program = """
        for name in ("one.dat", "two.dat", "three.txt", "program.py"):
            open(name, "rb").read()
    """
    for name in ("one.dat", "two.dat", "three.txt"):
        (tmp_path / name).write_bytes(b"x" * 10)
    options = ("--include", "*.dat", "--include", "program.*", "--exclude", "two*")
    _, trace = run_recorded(tmp_path, program, options=options)
    assert {os.path.basename(uri) for uri in trace.uris} == {"one.dat", "program.py"}
    _, trace = run_recorded(tmp_path, program, options=("--redact-uris",))
    text = (tmp_path / "trace.jsonl").read_text()
    assert trace.header.redacted
    assert "one.dat" not in text
    assert str(tmp_path) not in text
    assert sorted(uri[-4:] for uri in trace.uris) == [".dat", ".dat", ".txt"]


def test_parts_stay_when_the_trace_cannot_be_written(tmp_path):
    """If the output's directory goes away the parts are kept, and --merge makes the trace of them later."""
    out = tmp_path / "out"
    out.mkdir()
    program = "import os; open('data', 'rb').read(); os.rename('out', 'moved')"
    (tmp_path / "data").write_bytes(b"x" * 10)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [*RECORD, "-o", "out/trace.jsonl", "--", sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 125
    assert "Traceback" not in done.stderr
    assert "--merge" in done.stderr
    parts = next((tmp_path / "moved").iterdir())
    again = subprocess.run(
        [*RECORD, "--merge", str(parts), "-o", "late.jsonl"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert again.returncode == 0, again.stderr
    assert any(op.op == "read" and op.ret == 10 for op in Trace.read(tmp_path / "late.jsonl"))
    assert not parts.exists()


def test_unwritable_working_directory_and_odd_environments(tmp_path):
    """HOME missing, a relative TMPDIR and a program that changes directory do not disturb the recording."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "data").write_bytes(b"x" * 10)
    environment = {name: value for name, value in os.environ.items() if name != "HOME"} | {"TMPDIR": "other"}
    done, trace = run_recorded(
        tmp_path, "import os; os.environ.clear(); os.chdir('other'); open('data', 'rb').read()", env=environment
    )
    assert done.returncode == 0, done.stderr
    assert next(op.uri for op in trace if op.op == "read") == f"file://{other}/data"


def test_program_without_python_gives_an_empty_trace_and_says_so(tmp_path):
    """A command in which no Python runs keeps its status; the trace is empty and a warning says why."""
    done, output = _record(tmp_path, "sh", "-c", "exit 3")
    assert done.returncode == 3
    assert len(Trace.read(output)) == 0
    assert "no Python interpreter" in done.stderr


def test_the_files_counted_at_the_end_are_those_read_or_written(tmp_path):
    """Names that were only looked at are ops; `record` counts the files as `tracekit stats` does."""
    (tmp_path / "data.bin").write_bytes(b"1")
    program = "import os; os.stat('data.bin'); os.listdir('.'); os.path.exists('none'); open('data.bin', 'rb').read()"
    done, trace = run_recorded(tmp_path, program)
    assert len(trace.uris) > Metrics.of(trace).files == 1
    assert " on 1 file by 1 process " in done.stderr
