"""Every way a C program reads a file, and what may happen around a read: seen once, at its true place, without a change."""

import ctypes
import os
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import HERE, compiled, covers_once, needs_compiler, needs_native, reads_of, record  # see there

pytestmark = [needs_native, needs_compiler]
SIZE = 65536
CASES = re.findall(r"^long (\w+)\(", (HERE / "hazards.c").read_text(), re.MULTILINE)
UNSEEN = {"in_another_namespace"}
PROGRAM = """
    import ctypes, os, sys
    library = ctypes.CDLL(sys.argv[1], mode=getattr(os, sys.argv[2]) | os.RTLD_NOW)
    for path in sys.argv[3:]:
        case = library[os.path.basename(path)]
        case.restype = ctypes.c_long
        print(os.path.basename(path), case(os.fsencode(path)), flush=True)
"""


def _files(directory: Path, cases=CASES) -> list[str]:
    paths = []
    for case in cases:
        path = directory / "data" / case
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(SIZE))
        paths.append(str(path))
    return paths


@pytest.fixture(scope="module")
def hazards(tmp_path_factory):
    """All cases run in one recorded process: (output by case, trace, directory)."""
    directory = tmp_path_factory.mktemp("hazards")
    library = compiled(HERE / "hazards.c", directory / "hazards.so")
    done, trace = record(directory, PROGRAM, str(library), "RTLD_LOCAL", *_files(directory))
    assert done.returncode == 0, done.stderr
    return dict(line.split() for line in done.stdout.splitlines()), trace, directory / "data"


@pytest.mark.parametrize("case", CASES)
def test_the_program_gets_what_it_would_get(hazards, case):
    """Each way of reading returns all bytes in a recorded process, as it does in any other."""
    assert hazards[0][case] == str(SIZE)


@pytest.mark.parametrize("case", [case for case in CASES if case not in UNSEEN])
def test_every_byte_is_seen_once_at_its_place(hazards, case):
    """The trace has reads that cover the file exactly once, with the offsets they really had."""
    _, trace, data = hazards
    assert covers_once(reads_of(trace, data / case), SIZE), reads_of(trace, data / case)[:40]


def test_what_cannot_be_seen_is_not_invented(hazards):
    """Reads by a second C library do not appear at all; the file's opening does."""
    _, trace, data = hazards
    assert reads_of(trace, data / "in_another_namespace") == []
    assert any(op.op == "open" and op.uri.endswith("/in_another_namespace") for op in trace)


def test_appended_writes_have_their_true_offsets(hazards):
    """Writes of two descriptors that append to one file lie one behind the other."""
    _, trace, _ = hazards
    writes = [(op.offset, op.ret) for op in trace if op.op == "write" and op.uri.endswith(".appended")]
    assert writes == [(at * 100, 100) for at in range(SIZE // 4096)]


def test_copies_are_a_read_and_a_write(hazards):
    """copy_file_range is in the trace as what it did to both files."""
    _, trace, _ = hazards
    writes = [(op.offset, op.ret) for op in trace if op.op == "write" and op.uri.endswith("range.copy") and op.ret]
    assert writes == [(at, 4096) for at in range(0, SIZE, 4096)]


def test_nothing_is_lost_and_positions_are_right(hazards):
    """No op was lost, and the check of positions against the kernel found none wrong."""
    assert hazards[1].trailer.lost == 0


@pytest.mark.parametrize("flags", [("-fno-plt",), ("-Wl,-z,now",), ("-Wl,-Bsymbolic",), ("-D_FORTIFY_SOURCE=2",)])
def test_however_the_library_was_linked(tmp_path, flags):
    """How a library's calls are bound makes no difference."""
    cases = ["by_read", "by_pread", "by_fread", "by_preadv2"]
    library = compiled(HERE / "hazards.c", tmp_path / "hazards.so", *flags)
    done, trace = record(tmp_path, PROGRAM, str(library), "RTLD_LOCAL", *_files(tmp_path, cases))
    assert done.returncode == 0, done.stderr
    for case in cases:
        assert covers_once(reads_of(trace, tmp_path / "data" / case), SIZE)


def test_deep_binding(tmp_path):
    """A library loaded with RTLD_DEEPBIND, which defeats preloaded recorders, is seen."""
    library = compiled(HERE / "hazards.c", tmp_path / "hazards.so")
    done, trace = record(tmp_path, PROGRAM, str(library), "RTLD_DEEPBIND", *_files(tmp_path, ["by_read", "by_getline"]))
    assert done.returncode == 0, done.stderr
    for case in ("by_read", "by_getline"):
        assert covers_once(reads_of(trace, tmp_path / "data" / case), SIZE)


def test_runpath_of_the_caller_still_counts(tmp_path):
    """A library that loads another by its own RUNPATH finds it: no recorder stands between it and dlopen."""
    inner, outer = tmp_path / "inner.c", tmp_path / "outer.c"
    inner.write_text("int answer(void) { return 42; }\n")
    outer.write_text(
        '#include <dlfcn.h>\nint ask(void) { void *l = dlopen("libinner.so", RTLD_NOW);'
        ' return l ? ((int (*)(void))dlsym(l, "answer"))() : -1; }\n'
    )  # fmt: skip
    (tmp_path / "sub").mkdir()
    compiled(inner, tmp_path / "sub" / "libinner.so")
    library = compiled(outer, tmp_path / "libouter.so", "-Wl,-rpath,$ORIGIN/sub", "-Wl,--enable-new-dtags")
    done, _ = record(tmp_path, "import ctypes, sys\nprint(ctypes.CDLL(sys.argv[1]).ask())", str(library))
    assert done.stdout.strip() == "42"


def test_the_cases_are_right_without_us(tmp_path):
    """The C program itself reads all bytes when nobody records it: what the other tests hold against is true."""
    library = ctypes.CDLL(str(compiled(HERE / "hazards.c", tmp_path / "hazards.so")))
    for path in _files(tmp_path, ["by_read", "by_aio", "with_errors_between", "in_a_signal_handler"]):
        case = library[os.path.basename(path)]
        case.restype = ctypes.c_long
        assert case(os.fsencode(path)) == SIZE
