"""Every way an interpreter of a recorded program can be started, and what becomes of those that cannot be reached."""

import os
import subprocess
import sys
import textwrap
import venv
import zipapp
from pathlib import Path

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "native"))
from native_programs import needs_native, record  # see there

from tracekit.record import pth
from tracekit.trace import Trace
from tracekit.uri import local_path

READER = "import sys; open(sys.argv[1], 'rb').read()"


def _names_read(trace: Trace) -> list[str]:
    names = {os.path.basename(local_path(op.uri)) for op in trace if op.op == "read" and op.ret}
    return sorted(name for name in names if name.startswith("data"))


def _data(directory: Path, count: int) -> None:
    for number in range(count):
        (directory / f"data{number:02}").write_bytes(os.urandom(1000 + number))


@needs_native
def test_isolated_and_stripped_interpreters_are_followed(tmp_path):
    """-I, -E, a wiped environment, env -i, and both at once: our .pth file leads all of them to the recorder, each once."""
    _data(tmp_path, 7)
    done, trace = record(
        tmp_path,
        f"""
        import os, subprocess, sys
        run, reader = [sys.executable], {READER!r}
        def go(number, *words, **more): subprocess.run([*words, "-c", reader, f"data{{number:02}}"], check=True, **more)
        go(0, sys.executable, "-I"); go(1, sys.executable, "-E"); go(2, sys.executable, "-I", env={{}})
        go(3, "/usr/bin/env", "-i", sys.executable, "-I"); go(4, sys.executable, "-I", close_fds=False, restore_signals=False)
        os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-E", "-c", reader, "data05"], {{}}), 0)
        os.system(f'{{sys.executable}} -I -c "{{reader}}" data06')
        """,
    )
    assert done.returncode == 0, done.stderr
    assert _names_read(trace) == [f"data{number:02}" for number in range(7)]
    reads = [op.ret for op in trace if op.op == "read" and op.ret and "/data0" in op.uri]
    assert sorted(reads) == list(range(1000, 1007))
    assert not [entry for entry in trace.trailer.coverage["not_followed"] if "python" in entry["argv"][0]]


@needs_native
def test_shells_and_scripts_in_between_are_no_hindrance(tmp_path):
    """A shell script, a pipe of shells and an exec from a shell still lead to recorded interpreters, also with -I."""
    _data(tmp_path, 3)
    (tmp_path / "between.sh").write_text(
        '#!/bin/sh\n"$1" -I -c "$2" data00\n( "$1" -c "$2" data01 ) | cat\nexec "$1" -E -c "$2" data02\n'
    )
    done, trace = record(
        tmp_path,
        f"import subprocess, sys; subprocess.run(['/bin/sh', 'between.sh', sys.executable, {READER!r}], check=True)",
    )
    assert done.returncode == 0, done.stderr
    assert _names_read(trace) == ["data00", "data01", "data02"]


@needs_native
def test_a_venv_inside_is_followed_unless_isolated(tmp_path):
    """An interpreter without tracekit comes in by PYTHONPATH; with -I it cannot, nor any with -S: named, with the reason."""
    _data(tmp_path, 3)
    venv.create(tmp_path / "inner", with_pip=False)
    inner = str(tmp_path / "inner" / "bin" / "python")
    done, trace = record(
        tmp_path,
        f"""
        import subprocess, sys
        subprocess.run([{inner!r}, "-c", {READER!r}, "data00"], check=True)
        subprocess.run([{inner!r}, "-I", "-c", {READER!r}, "data01"], check=True)
        subprocess.run([sys.executable, "-S", "-c", {READER!r}, "data02"], check=True)
        """,
    )
    assert done.returncode == 0, done.stderr
    assert _names_read(trace) == ["data00"]
    named = {tuple(entry["argv"][:2]): entry["why"] for entry in trace.trailer.coverage["not_followed"]}
    assert "not installed beside it" in named[inner, "-I"]
    assert "-S" in named[sys.executable, "-S"]


def test_the_python_engine_comes_in_the_same_way(tmp_path):
    """An interpreter with -I is recorded by the Python engine too, and not called lost."""
    _data(tmp_path, 1)
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-I', '-c', {READER!r}, 'data00'], check=True)"
    done, trace = record(tmp_path, program, options=["--engine", "python"])
    assert done.returncode == 0, done.stderr
    assert _names_read(trace) == ["data00"]
    assert trace.trailer.coverage["not_followed"] == []


@pytest.mark.parametrize("engine", ["python", pytest.param("native", marks=needs_native)])
def test_nothing_is_loaded_twice_and_nothing_stays_on_the_path(tmp_path, engine):
    """Two ways in lead to one recorder: one part for the process, no entry of ours on sys.path, no extra module."""
    plain = _modules(tmp_path)
    program = """
        import sys
        ours = [name for name in sys.modules if "tracekit" in name and not name.startswith("_tracekit_")]
        print(*ours, *[entry for entry in sys.path if "parts" in entry], sep="|")
        print(*sorted(name for name in sys.modules if not name.startswith("_tracekit_")))
    """
    done, trace = record(tmp_path, program, options=["--engine", engine])
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == ""
    assert len(trace.trailer.processes) == 1
    assert not {"typing", "re", "collections", "json"} & (set(second.split()) - plain)
    if engine == "native":
        assert set(second.split()) <= plain


def _modules(directory):
    command = [sys.executable, "-c", "import sys; print(*sys.modules)"]
    return set(subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True).stdout.split())


def test_a_bundle_for_other_bytecode_is_left_alone(tmp_path, monkeypatch):
    """An interpreter that finds no code compiled for it reads the sources: the same ops are recorded."""
    program = textwrap.dedent("""
        import os, sys
        from tracekit.record import bundle, launch, signals
        bundle.MAGIC_NUMBER = b"none"
        run = launch.prepare(launch.Plan([sys.executable, *sys.argv[1:]], output="t.jsonl", force=True))
        with signals.held(): launch.follow(run)
        from tracekit.record.finish import finish
        print(finish(run).tally.count, *sorted(os.listdir(run.parts + "/start")))
    """)
    _data(tmp_path, 1)
    (tmp_path / "record.py").write_text(program)
    for flag in ("-B", "-I"):
        command = [sys.executable, str(tmp_path / "record.py"), flag, "-c", READER, "data00"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        count, *names = done.stdout.split()
        assert int(count) >= 3, done.stderr
        assert "code-6e6f6e65" in names


# -- the file itself --------------------------------------------------------------------------------------------------


def test_the_pth_file_is_one_plain_line():
    """Any Python's `site` takes it as one line of code, in ASCII, and any Python parses it."""
    line = pth.line()
    assert line.startswith("import ")
    assert line.count("\n") == 1
    assert line.isascii()
    assert not set("fb").intersection(line.split("exec(")[1][:1])  # a plain literal, as every version has it
    compile(line, "x.pth", "exec")


def _with(variable, *flags, code="print('here')"):
    environment = {**os.environ, pth.VARIABLE: str(variable)}
    return subprocess.run(
        [sys.executable, *flags, "-c", code], env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def test_a_variable_that_leads_nowhere_is_not_noticed(tmp_path):
    """A run that is over, a file, rubbish and a directory that is none of a run's: the program starts as ever."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "start").mkdir()
    for place in (tmp_path / "gone", tmp_path / "file", "\udcff", "relative", tmp_path):
        for flags in ((), ("-I",)):
            done = _with(os.fsencode(place).decode(errors="surrogateescape"), *flags)
            assert (done.returncode, done.stdout, done.stderr) == (0, "here\n", "")


def test_code_of_somebody_else_is_never_run(tmp_path):
    """A directory that others may write to, or that belongs to another user, leads no interpreter anywhere."""
    start = tmp_path / "start"
    start.mkdir()
    (start / "sitecustomize.py").write_text("print('stranger')\n_settings = None\ndef _begin(*_): pass\n")
    tmp_path.chmod(0o700)
    assert "stranger" in _with(tmp_path, "-I").stdout
    tmp_path.chmod(0o777)
    assert _with(tmp_path, "-I").stdout == "here\n"
    if os.geteuid() == 0:
        tmp_path.chmod(0o700)
        os.chown(tmp_path, 12345, 12345)
        assert _with(tmp_path, "-I").stdout == "here\n"


def test_damaged_code_is_not_noticed(tmp_path):
    """Code cut short, as a full disk leaves it, is an interpreter that is not recorded and not disturbed."""
    import importlib.util

    (tmp_path / "start").mkdir()
    tmp_path.chmod(0o700)
    (tmp_path / "start" / f"code-{importlib.util.MAGIC_NUMBER.hex()}").write_bytes(b"\xfb\x05")
    done = _with(tmp_path, "-I")
    assert (done.returncode, done.stdout, done.stderr) == (0, "here\n", "")


@needs_native
def test_a_zipped_program_is_followed(tmp_path):
    """A zipapp is recorded like a script, its own archive left out or in as any file."""
    _data(tmp_path, 1)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text("open('data00', 'rb').read()")
    zipapp.create_archive(tmp_path / "app", tmp_path / "app.pyz")
    program = "import subprocess, sys; subprocess.run([sys.executable, '-I', 'app.pyz'], check=True)"
    done, trace = record(tmp_path, program)
    assert done.returncode == 0, done.stderr
    assert "data00" in _names_read(trace)
