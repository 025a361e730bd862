"""What of each file was in the page cache before its first read: noted by both engines, restored by the replayer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from tracekit.errors import RecorderError
from tracekit.pages import Bitmap, Recorded
from tracekit.record.engine import choose
from tracekit.storage import cache, restore
from tracekit.storage.restore import PAGE
from tracekit.trace import Trace
from tracekit.uri import file_uri

pytestmark = pytest.mark.pages

SIZE = 12 << 20  # longer than what the kernel reads ahead
TRACEKIT = [sys.executable, "-m", "tracekit"]


def _engines() -> list[str]:
    try:
        choose("native")
    except RecorderError:
        return ["python"]
    return ["native", "python"]


ENGINES = _engines()
every_engine = pytest.mark.parametrize("engine", ENGINES)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four flushed files; making them for every test would be most of the time."""
    folder = tmp_path_factory.mktemp("residency") / "data"
    folder.mkdir()
    for name in "abcd":
        with (folder / name).open("wb") as file:
            file.write(os.urandom(SIZE))
            os.fsync(file.fileno())
            cached = cache.cached_pages(file.fileno())
    if cached is None:
        pytest.skip("this kernel has no cachestat")
    return folder


def wanted() -> dict[str, Bitmap]:
    """All, nothing, two stretches, every fifth page of the first 200 and the last page."""
    pages = SIZE // PAGE
    maps = {name: np.zeros(pages, np.bool_) for name in "abcd"}
    maps["a"][:] = True
    maps["c"][100:700] = maps["c"][2500] = True
    maps["d"][:200:5] = maps["d"][-1] = True
    return maps


def set_pages(data: Path) -> None:
    """Bring the files into that state."""
    for name, bitmap in wanted().items():
        found = restore.restore(str(data / name), bitmap)
        assert found is not None
        assert found.share == 1.0


def record(data: Path, tmp_path: Path, program: str, *options: str, engine: str) -> Trace:
    """Record a program that finds the files as `data`."""
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(program))
    output = tmp_path / "trace.jsonl"
    command = [*TRACEKIT, "record", "-o", str(output), "--force", "--engine", engine, *options, "--", sys.executable]
    done = subprocess.run([*command, str(script)], cwd=data.parent, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return Trace.read(output)


def recorded(trace: Trace) -> Recorded:
    """The trailer's table."""
    assert trace.trailer is not None
    found = Recorded.of_trailer(trace.trailer.residency)
    assert found is not None
    return found


def as_set(trace: Trace, data: Path) -> list[str]:
    """The files whose pages are in the trace one by one, and as they were set."""
    table = recorded(trace)
    assert trace.trailer is not None
    total = sum(int(bitmap.sum()) for bitmap in wanted().values())
    assert trace.trailer.residency["before"] == {"pages": 4 * SIZE // PAGE, "resident": total}
    states = {name: table.of(file_uri(data / name), SIZE) for name in wanted()}
    return [
        name
        for name, state in states.items()
        if state is not None and state.is_exact and state.bitmap(SIZE).tolist() == wanted()[name].tolist()
    ]


READERS = {
    "read": "for n in 'abcd':\n    with open(f'data/{n}', 'rb', buffering=0) as f: f.read(1 << 20); f.read()",
    "pread": "import os\nfor n in 'abcd':\n    fd = os.open(f'data/{n}', os.O_RDONLY); os.pread(fd, 1 << 20, 5 << 20); os.close(fd)",
    "sendfile": """
        import os
        sink = os.open("/dev/null", os.O_WRONLY)
        for n in "abcd":
            os.sendfile(sink, os.open(f"data/{n}", os.O_RDONLY), 0, 12 << 20)
    """,
    "update": "for n in 'abcd':\n    with open(f'data/{n}', 'r+b', buffering=0) as f: f.write(bytes(9 << 20)); f.read()",
    "mmap": """
        import mmap
        for n in "abcd":
            with open(f"data/{n}", "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m: sum(m[::4096])
    """,
    "numpy": "import numpy as np\nfor n in 'abcd': np.fromfile(f'data/{n}', np.uint8).sum()",
    "advice": """
        import os
        for n in "abcd":
            fd = os.open(f"data/{n}", os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
            os.read(fd, 12 << 20)
    """,
}


CASES = [("native", reader) for reader in READERS] + [
    ("python", reader) for reader in ("read", "mmap", "numpy", "update")
]


@pytest.mark.parametrize(("engine", "reader"), [case for case in CASES if case[0] in ENGINES])
def test_the_pages_before_the_first_read_are_in_the_trace(data: Path, tmp_path: Path, reader: str, engine: str) -> None:
    """Whatever the first touch is, the look comes before it, and it is exact page by page."""
    set_pages(data)
    assert as_set(record(data, tmp_path, READERS[reader], engine=engine), data) == list("abcd")


@every_engine
def test_the_first_of_many_processes_counts(data: Path, tmp_path: Path, engine: str) -> None:
    """Workers that read the same files after another find them cached; what the first one found is in the trace."""
    set_pages(data)
    program = """
        import multiprocessing, subprocess, sys
        def work(k):
            for n in "abcd":
                with open(f"data/{n}", "rb") as f: f.read()
        if __name__ == "__main__":
            work(0)
            for method in ("fork", "spawn"):
                with multiprocessing.get_context(method).Pool(2) as pool: pool.map(work, range(4))
            subprocess.run([sys.executable, "-c", "print(len(open('data/b','rb').read()))"], check=True)
    """
    assert as_set(record(data, tmp_path, program, engine=engine), data) == list("abcd")


@every_engine
def test_what_is_recorded_can_be_restored(data: Path, tmp_path: Path, engine: str) -> None:
    """Record, warm everything up, replay --cache-start recorded: at least 99.9 % of the pages are as they were."""
    set_pages(data)
    record(data, tmp_path, READERS["read"], engine=engine)
    for name in "abcd":
        cache.fill(str(data / name))
    command = [*TRACEKIT, "replay", "trace.jsonl", "--cache-start", "recorded", "-o", "again.jsonl"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode in (0, 3), done.stderr
    again = Trace.read(tmp_path / "again.jsonl").trailer
    assert again is not None
    verified = again.residency["verified"]
    assert verified["pages"] == 4 * SIZE // PAGE
    assert verified["missing"] + verified["extra"] <= 0.001 * verified["pages"]
    assert "(recorded start: 100.000 % of them as asked)" in done.stderr


@every_engine
def test_a_data_root_is_looked_at_before_the_run(data: Path, tmp_path: Path, engine: str) -> None:
    """Also when the program drops or warms the files before it opens them for reading."""
    set_pages(data)
    program = """
        import subprocess
        subprocess.run("cat data/[abcd] > /dev/null", shell=True, check=True)
        for n in "abcd":
            with open(f"data/{n}", "rb") as f: f.read()
    """
    trace = record(data, tmp_path, program, "--data-root", "data", engine=engine)
    assert as_set(trace, data) == list("abcd")
    assert trace.trailer is not None
    assert trace.trailer.residency["start"] == "before-run"


@every_engine
def test_off_notes_nothing(data: Path, tmp_path: Path, engine: str) -> None:
    """--residency off leaves the trailer as if nobody had looked."""
    trace = record(data, tmp_path, READERS["read"], "--residency", "off", engine=engine)
    assert trace.trailer is not None
    assert trace.trailer.residency == {}


@every_engine
def test_redaction_reaches_the_table(data: Path, tmp_path: Path, engine: str) -> None:
    """No name is left in it, and it still belongs to the trace's own uris."""
    set_pages(data)
    trace = record(data, tmp_path, READERS["read"], "--redact-uris", engine=engine)
    assert trace.trailer is not None
    assert str(data) not in json.dumps(trace.trailer.residency)
    assert set(recorded(trace).listed) <= set(trace.uris)
    assert len(recorded(trace).listed) == 3


@every_engine
def test_what_the_program_made_itself_was_not_cached(data: Path, tmp_path: Path, engine: str) -> None:
    """A file written and read back had no pages; a second name of a file has that file's."""
    set_pages(data)
    for name in ("new", "c2"):
        (data / name).unlink(missing_ok=True)
    os.link(data / "c", data / "c2")
    program = """
        with open("data/new", "wb") as f: f.write(bytes(100_000))
        for n in ("new", "c", "c2"):
            with open(f"data/{n}", "rb") as f: f.read()
    """
    table = recorded(record(data, tmp_path, program, engine=engine))
    new = table.of(file_uri(data / "new"), 100_000)
    assert new is not None
    assert new.resident == 0
    state = table.of(file_uri(data / "c2"), SIZE)
    assert state is not None
    assert state.bitmap(SIZE).tolist() == wanted()["c"].tolist()


@every_engine
def test_scattered_pages_are_at_least_counted(data: Path, tmp_path: Path, engine: str) -> None:
    """A file cached page by page at random: the native engine knows each page, the Python engine how many."""
    bits = np.random.default_rng(3).random(SIZE // PAGE) < 0.4
    restore.restore(str(data / "a"), bits)
    state = recorded(record(data, tmp_path, "open('data/a', 'rb').read()", engine=engine)).of(
        file_uri(data / "a"), SIZE
    )
    assert state is not None
    assert state.resident == int(bits.sum())
    assert state.is_exact == (engine == "native")
    if state.is_exact:
        assert state.bitmap(SIZE).tolist() == bits.tolist()


def test_a_full_table_leaves_files_unknown_and_says_so(data: Path, tmp_path: Path) -> None:
    """What nobody looked at is listed as not known, never taken for cold."""
    if "native" not in ENGINES:
        pytest.skip("the native engine cannot be used here")
    program = f"""
        import os, glob
        # Every slot taken, as by a run of very many files.
        table = glob.glob("{tmp_path}/.tracekit-*.parts/residence")[0]
        with open(table, "r+b") as f: f.write(b"\\1" * os.path.getsize(table))
        for n in "abcd":
            with open("data/" + n, "rb") as f: f.read()
    """
    first = "open('data/a', 'rb').read()\n"
    trace = record(data, tmp_path, first + textwrap.dedent(program), engine="native")
    table = recorded(trace)
    assert table.of(file_uri(data / "a"), SIZE) is not None
    assert table.of(file_uri(data / "b"), SIZE) is None
    assert {file_uri(data / name) for name in "bcd"} <= table.unknown


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--data-root", "nowhere"], "does not exist"),
        (["--data-root", ".", "--residency", "off"], "leave one out"),
    ],
)
def test_bad_options_are_one_sentence(tmp_path: Path, options: list[str], sentence: str) -> None:
    """Before the program starts."""
    command = [*TRACEKIT, "record", *options, "--", sys.executable, "-c", "print('ran')"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 125
    assert sentence in done.stderr
    assert "ran" not in done.stdout
    assert os.listdir(tmp_path) == []
