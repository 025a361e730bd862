"""What record shows while the program runs, from what it has written so far."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tracekit import formats
from tracekit.record import spool
from tracekit.record.live import live

sys.path.insert(0, str(Path(__file__).parents[1]))
from terminal import on_terminal  # beside the folder of this file, which is no package

# Reads, says so, and waits for a file that whoever looks on makes.
PROGRAM = """
import os, sys, threading, time
a, b = os.open("data/a.bin", 0), os.open("data/b.bin", 0)
for n in range(1500):
    os.pread(a, 1000, n)
reader = threading.Thread(target=lambda: [os.pread(b, 1000, n) for n in range(500)])
reader.start()
reader.join()
with open("out.bin", "wb", buffering=0) as file:
    file.write(bytes(4000))
print("the program says this", flush=True)
while not os.path.exists("go"):
    time.sleep(0.01)
print("and this", flush=True)
"""
# The command, looking at once and as often as it is asked.
RECORD = """
import sys
from tracekit import cli
from tracekit.verbs import record_live

record_live._FIRST_S = record_live._EVERY_S = record_live._EVERY_ELSEWHERE_S = 0.0
sys.exit(cli.main(sys.argv[1:]))
"""
SEEN = "2,001 ops"


@pytest.fixture
def command(tmp_path):
    """Record the program, with the folders of data that it reads."""
    (tmp_path / "data").mkdir()
    for name in ("a.bin", "b.bin"):
        (tmp_path / "data" / name).write_bytes(bytes(4000))
    (tmp_path / "program.py").write_text(PROGRAM)
    return [sys.executable, "-I", "-c", RECORD, "record", "-o", "t.jsonl", "--force"]


def test_the_lowest_row_shows_what_was_seen_so_far(command, tmp_path):
    """On a terminal a row below the program's output says ops, bytes and the busiest files, and is given back at the end."""

    def when(so_far):
        if f": {SEEN}" in so_far and "top: a.bin 75 %, b.bin 25 %" in so_far:
            (tmp_path / "go").touch()
        return b""

    status, written = on_terminal([*command, "--", sys.executable, "program.py"], 120, rows=30, when=when)
    row = written.rpartition("\x1b[30;1H\x1b[Krecording")[2].partition("\x1b8")[0]

    assert status == 0, written
    assert "\x1b[1;29r" in written
    assert "2 MB read" not in row
    assert "1.91 MiB read · 3.91 KiB written" in row
    assert written.index("\x1b[r\x1b[30;1H\x1b[K") > written.index("recording")
    assert "the program says this\r\n" in written
    assert "and this\r\n" in written
    assert written.index("next: tracekit stats") > written.index("\x1b[r")
    reads = [op for op in formats.load(tmp_path / "t.jsonl") if op.op == "read" and "/data/" in op.uri]
    assert len(reads) == 2000


@pytest.mark.parametrize("engine", ["native", "python"])
def test_elsewhere_it_is_a_line(command, tmp_path, engine):
    """Without a terminal the same is a line on standard error that says whose it is; with --live off nothing is said."""
    command = [*command, "--engine", engine]
    words = [*command, "--", sys.executable, "program.py"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        line = next(line for line in child.stderr if f": {SEEN}" in line)
        (tmp_path / "go").touch()
        rest = child.stderr.read()
        assert child.wait() == 0, rest
    assert line.startswith("tracekit: recording ")
    assert "top: a.bin 75 %, b.bin 25 %" in line
    assert "\x1b" not in line + rest

    words = [*command, "--live", "off", "--", sys.executable, "program.py"]
    quiet = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "recording" not in quiet.stderr


@pytest.mark.parametrize(
    ("words", "there", "absent"),
    [
        (["--include", "*/a.bin"], ": 1,500 ops", "b.bin"),
        (["--redact-uris"], f": {SEEN}", "a.bin"),
        (["--engine", "python", "--include", "*/a.bin"], ": 1,500 ops", "b.bin"),
    ],
)
def test_only_what_is_recorded_is_shown(command, tmp_path, words, there, absent):
    """Files that --include leaves out are not counted; where the trace is to have digests no name is shown."""
    words = [*command, *words, "--", sys.executable, "program.py"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        line = next(line for line in child.stderr if there in line)
        (tmp_path / "go").touch()
        child.stderr.read()
    assert absent not in line


def test_parts_of_the_python_engine_are_counted_as_they_grow(tmp_path):
    """Each op once, whichever look sees it; a chunk that has not begun, is torn or has no name yet counts for nothing."""
    slots = [
        (0, 1, 0, 10, 10, 1, 0, spool.CODE["read"], spool.VALID),
        (2, 3, 0, 7, 7, 1, 0, spool.CODE["write"], spool.VALID),
    ]
    spool.layouts()
    head = bytearray(spool.SLOT_BYTES)
    spool.HEADER.pack_into(head, 0, spool.MAGIC, 1, 1, 0)
    path, lines = tmp_path / "1-a.1.0.ops", tmp_path / "1-a.jsonl"
    looks = live("python", str(tmp_path), {})
    path.write_bytes(bytes(10 * spool.SLOT_BYTES))
    (tmp_path / "1-a.2.0.ops").write_bytes(b"torn")
    looks.look()
    assert looks.sums.ops == 0
    lines.write_text('{"file": 1, "path": "/data/a"}\n')
    for count in (1, 1, 2):
        path.write_bytes(bytes(head) + b"".join(spool.SLOT.pack(*slot) for slot in slots[:count]) + bytes(96))
        looks.look()
        assert looks.sums.ops == count
    assert (looks.sums.read, looks.sums.written, looks.sums.top()) == (10, 7, [("a", 1.0)])
