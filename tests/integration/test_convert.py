"""`tracekit convert` as a command: from every core format into every other, streaming, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tracekit import Trace, formats
from tracekit.testing import training_trace

TRACEKIT = [sys.executable, "-m", "tracekit"]


def _convert(*arguments, **rest):
    return subprocess.run(
        [*TRACEKIT, "convert", *map(str, arguments)], capture_output=True, text=True, timeout=600, **rest
    )


def test_a_round_through_all_core_formats_loses_nothing(tmp_path):
    """Lines to Parquet to compressed lines to lines: the last file is the first, byte for byte."""
    first = tmp_path / "a.jsonl"
    formats.save(training_trace(), first)
    for source, target in (("a.jsonl", "b.parquet"), ("b.parquet", "c.jsonl.zst"), ("c.jsonl.zst", "d.jsonl")):
        done = _convert(tmp_path / source, tmp_path / target)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert "wrote 288 ops to " in done.stderr
    assert (tmp_path / "d.jsonl").read_bytes() == first.read_bytes()


def test_formats_can_be_named_and_lines_go_to_standard_output(tmp_path):
    """--from and --to overrule names; - is standard input and output."""
    formats.save(training_trace(), tmp_path / "a.parquet")
    lines = _convert(tmp_path / "a.parquet", "-")
    assert len([line for line in lines.stdout.splitlines() if "uri" in json.loads(line)]) == 288
    done = _convert("-", tmp_path / "b.data", "--from", "jsonl", "--to", "parquet", input=lines.stdout)
    assert done.returncode == 0, done.stderr
    assert list(Trace.read(tmp_path / "b.data")) == list(training_trace())


def test_a_bare_list_in_another_unit_becomes_nanoseconds(tmp_path):
    """--time-unit is for files without a header; --skip-bad leaves bad lines out and says so."""
    (tmp_path / "a.jsonl").write_text('{"uri":"/a","offset":0,"len":1,"t_submit":1.5}\nnonsense\n')
    done = _convert(tmp_path / "a.jsonl", tmp_path / "b.parquet", "--time-unit", "ms", "--skip-bad")
    assert "1 bad line was left out" in done.stderr
    assert Trace.read(tmp_path / "b.parquet")[0].t_submit == 1_500_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no.jsonl", "b.parquet"], "there is no trace no.jsonl"),
        (["a.jsonl", "b.orc"], "does not say which format to write; end its name in .jsonl, "),
        (["a.jsonl", "a.jsonl"], "would be written onto itself"),
        (["a.jsonl", "taken.parquet"], "exists already; pass --force"),
        (["a.jsonl", "b.parquet", "--to", "orc"], "there is no 'orc' for --to"),
        (["a.jsonl", "-", "--to", "parquet"], "cannot go to standard output"),
        (["short.parquet", "b.jsonl"], "damaged or cut short"),
    ],
)
def test_what_cannot_be_converted_is_one_sentence(tmp_path, arguments, said):
    """Every refusal exits with 2, says why in one line, and leaves no output."""
    formats.save(training_trace(), tmp_path / "a.jsonl")
    (tmp_path / "taken.parquet").write_bytes(b"precious")
    (tmp_path / "short.parquet").write_bytes(b"PAR1 and no end")
    done = _convert(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "taken.parquet").read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "short.parquet", "taken.parquet"]


def test_converting_needs_no_memory_for_the_trace(tmp_path):
    """Ten times as many ops through the same conversion raise its peak memory by less than half of their size."""
    program = """
import sys
import numpy as np
from tracekit import formats
from tracekit.trace import StringTable, Trace
from tracekit.verbs import convert
def piece(start, count):
    t = np.arange(start, start + count) * 1000
    columns = {"uri": (t % 50).astype(np.int32), "op": np.zeros(count, np.int32), "offset": t, "len": t % 4096,
               "t_submit": t, "t_complete": t + 500, "ret": t % 4096}
    return Trace(columns, {"uri": StringTable(map(str, range(1000))), "op": StringTable(["read"])})
count = int(sys.argv[1])
with formats.writing("a.parquet") as writer:
    for start in range(0, count, 1 << 17):
        writer.ops(piece(start, min(1 << 17, count - start)))
with formats.writing("b.parquet") as writer:
    writer.pieces(formats.chunks("a.parquet"))
# Not getrusage: its peak is at least what the parent had when it started this.
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
    peak = {}
    for count in (400_000, 4_000_000):
        done = subprocess.run(
            [sys.executable, "-c", program, str(count)], capture_output=True, text=True, timeout=600, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        peak[count] = int(done.stdout)
    in_memory = 3_600_000 * 48 // 1024
    # What allocators and threads keep differs from run to run by some 40 MB, whatever the length.
    assert peak[4_000_000] - peak[400_000] < in_memory / 2
