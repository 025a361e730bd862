"""The pieces that run inside a recorded program, one by one and without a recording."""

from __future__ import annotations

import copy
import io
import os
import pickle
import sys
import types

import numpy as np
import pytest

import tracekit
from tracekit.record import callables, context, launch, startup
from tracekit.record.coverage import not_followed, why_not
from tracekit.record.files import FOREIGN, IGNORED, Files, Filter, interpreter_directories
from tracekit.record.imports import ImportHook
from tracekit.record.lines import Lines
from tracekit.record.parts import read_parts
from tracekit.record.spool import FLAGS, over
from tracekit.record.structure import Loop, Recorder

Spool = over(Lines)


@pytest.fixture
def recorder(tmp_path, monkeypatch):
    """A recorder that tracekit.step() and its kin find, as in a recorded process."""
    found = Recorder(Spool(str(tmp_path)))
    monkeypatch.setitem(sys.modules, context.PRIVATE, types.SimpleNamespace(recorder=found))
    return found


def _marks(tmp_path):
    return [(line["mark"], line.get("step"), line.get("epoch")) for line in read_parts(tmp_path)[0].marks]


def test_filter_by_default_leaves_out_the_interpreters_files():
    """Code and pseudo files are left out, data beside them is not."""
    chosen = Filter(own=["/tmp/parts"], code=["/usr/lib/python3"])
    for path in (
        "/usr/lib/python3/x.txt",
        "/a/b.py",
        "/a/b.so",
        "/a/lib.so.6",
        "/proc/1/io",
        "/dev/shm/x",
        "/tmp/parts/x",
    ):
        assert not chosen.wants(path), path
    for path in ("/data/x.bin", "/usr/lib/python3.tar", "/a/b.pyx", "/tmp/parts-of-it/x", "/home/dev/x"):
        assert chosen.wants(path), path


def test_include_limits_and_exclude_wins():
    """--include records only what matches, also code; --exclude takes out of it; pseudo files never come back."""
    chosen = Filter(["*.py", "/data/*"], ["*secret*"])
    assert chosen.wants("/x/train.py")
    assert chosen.wants("/data/deep/down.bin")
    for path in ("/x/a.bin", "/data/secret.bin", "/proc/a.py"):
        assert not chosen.wants(path), path


def test_globs_without_a_slash_are_about_names():
    """A glob without a slash is held against the name, one with a slash against the whole path."""
    assert Filter(["a*"]).wants("/b/abc")
    assert not Filter(["b*"]).wants("/b/abc")
    assert not Filter(["c/*"]).wants("/b/c/d")


def test_interpreter_directories_are_not_whole_prefixes():
    """Data under a prefix, as in /usr/share, stays data."""
    places = interpreter_directories(["/usr", "/env"], "3.11", ["/std"], lambda path: path)
    chosen = Filter(code=places)
    assert not chosen.wants("/usr/lib/python3.11/os.txt")
    assert not chosen.wants("/env/lib/python3.11/site-packages/pkg/data.bin")
    assert chosen.wants("/usr/share/data/x.bin")
    assert chosen.wants("/env/data/x.bin")


def test_files_tell_regular_ignored_and_foreign(tmp_path):
    """A descriptor is a numbered file, an ignored one, or nothing that is recorded at all."""
    files = Files(Spool(str(tmp_path)), Filter(), FLAGS)
    for name in ("data.bin", "code.py"):
        (tmp_path / name).write_bytes(b"x")
    reader, writer = os.pipe()
    with open(tmp_path / "data.bin", "rb") as data, open(tmp_path / "code.py", "rb") as code:
        assert files.of_fd(data.fileno())[0] == 1
        assert files.of_fd(code.fileno())[0] == IGNORED
        assert files.of_fd(reader)[0] == files.of_fd(-1)[0] == files.of_fd("x")[0] == FOREIGN
    os.close(reader)
    os.close(writer)


def test_flags_of_inherited_descriptors_are_asked_of_the_kernel(tmp_path):
    """A descriptor that was open before the recorder carries o_append where it was opened so."""
    files = Files(Spool(str(tmp_path)), Filter(), FLAGS)
    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    assert files.of_fd(fd) == (1, FLAGS["o_append"])
    os.close(fd)


def test_dotdot_is_resolved_where_links_matter(tmp_path):
    """`link/../x` is beside the link's target, not beside the link."""
    (tmp_path / "real/deep").mkdir(parents=True)
    os.symlink(tmp_path / "real/deep", tmp_path / "link")
    files = Files(Spool(str(tmp_path)), Filter(), FLAGS)
    assert files.absolute(f"{tmp_path}/link/../x") == os.path.realpath(tmp_path / "real/x")
    assert files.absolute(b"/a/b") == "/a/b"


def test_stand_in_is_its_original_in_all_but_the_call():
    """Name, hash, equality, pickle, copy and documentation are the original's, and it binds nothing."""
    stand_in = callables.stand_in(os.getpid, lambda: "called", "os")
    assert stand_in() == "called"
    assert stand_in in {os.getpid, os.getppid}
    assert isinstance(stand_in, types.BuiltinFunctionType)
    assert (stand_in.__name__, stand_in.__doc__, repr(stand_in)) == ("getpid", os.getpid.__doc__, repr(os.getpid))
    assert copy.deepcopy(stand_in) is stand_in

    class Holder:
        call = stand_in

    assert Holder().call() == "called"
    with pytest.raises(TypeError):
        stand_in.__class__ = int


def test_stand_in_pickles_by_name(monkeypatch):
    """A pickle of a stand-in is the name of the function, and needs nothing of ours to be read."""
    stand_in = callables.stand_in(os.getpid, os.getpid, "os")
    monkeypatch.setattr(os, "getpid", stand_in)
    data = pickle.dumps(stand_in)
    assert b"tracekit" not in data
    assert pickle.loads(data) is stand_in


def test_public_names_do_nothing_outside_a_recording():
    """step, sample, epoch and recording are there and harmless when nobody records."""
    assert not tracekit.recording()
    with tracekit.epoch(1), tracekit.step() as step, tracekit.sample("x"):
        assert step is not None
    assert list(tracekit.step([1, 2])) == [1, 2]
    assert list(tracekit.epoch(range(2))) == [0, 1]


def test_epochs_can_be_gone_through_like_steps(recorder, tmp_path):
    """Each pass is a block of its own, left by a break, too; elements that are numbers are the epochs', others are counted."""
    for number in tracekit.epoch(range(3, 9)):
        with tracekit.step():
            assert recorder.context.get()[1] == number
        if number == 4:
            break
    for _ in tracekit.epoch("ab"):
        with tracekit.step():
            pass
    assert [(name, epoch) for name, _, epoch in _marks(tmp_path)] == [
        ("step", 3), ("epoch", 3), ("step", 4), ("epoch", 4), ("step", 0), ("epoch", 0), ("step", 1), ("epoch", 1),
    ]  # fmt: skip


def test_explicit_steps_count_once(recorder, tmp_path):
    """A step inside a step adds nothing, whether the outer one is a block or a loop."""
    with tracekit.step(), tracekit.step():
        assert recorder.context.get()[2] == 0
    for _ in tracekit.step("ab"):
        with tracekit.step(99):
            pass
    assert recorder.context.get()[2] == -1
    assert _marks(tmp_path) == [("step", 0, -1), ("step", 1, -1), ("step", 2, -1)]


def test_step_numbers_go_on_after_an_explicit_one(recorder, tmp_path):
    """A step that was given a number moves the count behind it."""
    with tracekit.step(10):
        pass
    with tracekit.step():
        pass
    assert [step for _, step, _ in _marks(tmp_path)] == [10, 11]


def test_a_step_s_number_may_be_numpy_s_and_batches_an_array(recorder, tmp_path):
    """Both have an `__index__`; only what can be gone through is batches."""
    with tracekit.step(np.int64(7)):
        pass
    assert list(tracekit.step(np.array([1, 2]))) == [1, 2]
    assert [step for _, step, _ in _marks(tmp_path)] == [7, 8, 9]


def test_error_in_a_step_leaves_no_context_behind(recorder):
    """A block that is left by an exception restores what was before."""
    with pytest.raises(KeyError), tracekit.epoch(2), tracekit.step(), tracekit.sample(4):
        raise KeyError
    assert recorder.context.get() == (-1, -1, -1, -1, 0)


def test_loop_without_a_batch_takes_no_number(recorder, tmp_path):
    """Asking for a batch that does not come uses no step number."""
    loop = Loop(recorder)
    loop.ask()
    loop.give()
    loop.ask()
    loop.end()
    loop.ask()
    loop.give()
    part = read_parts(tmp_path)[0]
    assert [line["step"] for line in part.marks] == [0, 1]
    assert list(part.stops) == [0]


def test_loop_inside_an_explicit_step_only_says_its_batches(recorder, tmp_path):
    """A loader inside an explicit step leaves no mark, but its batches are put to that step."""
    loop = Loop(recorder, about={"loader": 1, "run": 1})
    with tracekit.step(5):
        loop.ask()
        loop.give(batch=0)
    part = read_parts(tmp_path)[0]
    assert [line["step"] for line in part.marks] == [5]
    assert [(line["batch"], line["step"]) for line in part.batches] == [(0, 5)]


def test_import_hook_runs_once_per_execution_and_leaves_nothing(tmp_path, monkeypatch):
    """After an import and after a reload the function is called, and loader and spec are as they were."""
    (tmp_path / "hooked_module.py").write_text("X = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    seen, failed = [], []
    hook = ImportHook({"hooked_module": seen.append}, lambda name, error: failed.append(name))
    monkeypatch.setattr(sys, "meta_path", [hook, *sys.meta_path])
    import importlib

    module = importlib.import_module("hooked_module")
    assert importlib.reload(module) is module
    assert seen == [module, module]
    assert "exec_module" not in vars(module.__loader__)
    hook.after["hooked_module"] = lambda _module: 1 / 0
    importlib.reload(module)
    assert failed == ["hooked_module"]
    del sys.modules["hooked_module"]


def test_startup_file_is_python_of_any_age():
    """The generated sitecustomize compiles, is ASCII, and names what it was given."""
    text = startup.sitecustomize_text({"directory": "/tmp/ü", "variable": "V"})
    compile(text, "sitecustomize.py", "exec")
    assert text.isascii()
    assert "\\xfc" in text


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python", "a/train.py", "x"], "train"), (["python3", "-m", "pkg.train", "--x"], "pkg.train"),
        (["./run.sh"], "run.sh"), (["python", "-c", "pass"], "python"), (["/bin/a b"], "a_b"),
    ],
)  # fmt: skip
def test_default_name_is_the_scripts(command, name):
    """The default output is named after the script, the module or the command."""
    assert launch.default_name(command, 7) == f"tracekit-{name}.7.jsonl"


def _launch(*argv, equipped=True):
    return {"launch": list(argv), "executable": argv[0], "equipped": equipped, "cwd": "/"}


@pytest.mark.parametrize(
    ("launch_line", "why"),
    [
        (_launch("python3", "x.py"), ""), (_launch("sh", "-c", "python x.py"), ""), (_launch("/usr/bin/env", "python"), ""),
        (_launch("cat", "x"), "no Python"), (_launch("python", "-I", "x.py"), "-I"), (_launch("python", "-bES", "x"), "-E"),
        (_launch("python", "-S"), "-S"), (_launch("python", "-c", "-I"), ""), (_launch("python", "x.py", "-I"), ""),
        (_launch("python", "x.py", equipped=False), "environment of its own"), (_launch("python", "-Wignore", "x"), ""),
    ],
)  # fmt: skip
def test_reason_for_not_following(launch_line, why):
    """A child that cannot be followed is named with the reason, any other is not named."""
    found = why_not(launch_line)
    assert (why in found) if why else found == ""


def test_not_followed_names_a_command_once(tmp_path):
    """The same command started often is one entry with its count."""
    writer = Spool(str(tmp_path))
    for _ in range(3):
        writer.line(**_launch("cat", "x"))
    assert not_followed(read_parts(tmp_path)) == [{"argv": ["cat", "x"], "why": "it is no Python program", "times": 3}]


def test_originals_are_untouched_by_importing_the_recorder():
    """Importing tracekit.record patches nothing: only a recorded child does."""
    assert isinstance(io.FileIO, type)
    assert io.FileIO.__module__ == "_io"
    assert type(open) is types.BuiltinFunctionType
