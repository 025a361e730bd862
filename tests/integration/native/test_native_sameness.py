"""A program that the native engine records finds everything as it would without it."""

import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import needs_native, record  # see there

pytestmark = needs_native

LOOK = """
    import builtins, io, json, os, signal, subprocess, sys, threading
    def look():
        return {
            "environ": {k: v for k, v in sorted(os.environ.items()) if k not in ("_", "OLDPWD", "PWD", "SHLVL")},
            "path": sys.path, "argv": sys.argv, "flags": str(sys.flags), "open": repr(builtins.open), "io": repr(io.FileIO),
            "os": [repr(f) for f in (os.open, os.read, os.stat, os.fork)], "threads": threading.active_count(),
            "fds": sorted(os.listdir("/proc/self/fd")), "mask": str(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
            "handlers": [str(signal.getsignal(n)) for n in range(1, 32)], "umask": os.umask(0o22), "cwd": os.getcwd(),
            "foreign": sorted(n for n in sys.modules if n.startswith(("numpy", "tracekit", "re", "json.tool", "ctypes", "_ctypes", "mmap"))),
            "lowest": os.open(os.devnull, os.O_RDONLY),
        }
    if len(sys.argv) > 1:
        print(json.dumps(look())); sys.exit()
    children = [
        subprocess.run([sys.executable, __file__, "child"], capture_output=True, text=True, **kind).stdout
        for kind in ({}, {"env": {}}, {"env": {"PYTHONPATH": "/nowhere", "A": "b"}}, {"preexec_fn": lambda: None})
    ]
    print(json.dumps([look(), *map(json.loads, children)]))
"""


def test_nothing_looks_different(tmp_path):
    """Environment, modules, functions, descriptors, signals and threads are the same, in the program and its children."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    done, trace = record(ours, LOOK)
    assert done.returncode == 0, done.stderr
    (theirs / "program.py").write_text((ours / "program.py").read_text())
    plain = subprocess.run(
        [sys.executable, str(theirs / "program.py")], cwd=theirs, capture_output=True, text=True, timeout=600
    )
    assert done.stdout.replace(str(ours), "@") == plain.stdout.replace(str(theirs), "@")
    assert len({process["pid"] for process in trace.trailer.processes}) == 5
    assert trace.trailer.coverage["not_followed"] == []


@pytest.mark.parametrize("given", ["", "/a:/b", "/a"])
def test_pythonpath_is_as_it_was(tmp_path, given):
    """Whatever PYTHONPATH said, it says to the program and to what it starts."""
    program = """
        import os, subprocess, sys
        print(os.environ.get("PYTHONPATH"))
        print(subprocess.run([sys.executable, "-c", "import os; print(os.environ.get('PYTHONPATH'))"], capture_output=True, text=True).stdout)
        print(subprocess.run(["sh", "-c", f"{sys.executable} -c 'import os; print(os.environ.get(\\"PYTHONPATH\\"))'"], capture_output=True, text=True).stdout)
    """
    environment = (
        {**os.environ, "PYTHONPATH": given} if given else {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    )
    done, trace = record(tmp_path, program, environment=environment)
    assert done.stdout.split() == [given or "None"] * 3, done.stderr
    assert len(trace.trailer.processes) == 3


def test_late_threads_are_refused_cleanly(tmp_path):
    """In a process that has threads already nothing is patched; a table is rewritten, or nothing, with the reason."""
    program = """
        import os, sys, threading
        from tracekit import _core
        stop = threading.Event(); threading.Thread(target=stop.wait).start()
        way, reason, count, left = _core.record_start(os.getcwd(), False, True, False)
        print(way, "thread" in reason); stop.set()
    """
    script = tmp_path / "p.py"
    import textwrap

    script.write_text(textwrap.dedent(program))
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.stdout.split() == ["none", "True"], done.stderr
