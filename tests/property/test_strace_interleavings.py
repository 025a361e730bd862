"""A small kernel whose calls are printed as strace prints them: whatever order it runs them in, names and offsets come out right."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
from strace_machine import EPOCH, READERS, printed

from tracekit.formats import imported
from tracekit.record.files import Filter
from tracekit.record.straced import straced


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@given(random=st.randoms(use_true_random=False), names=st.booleans())
def test_every_order_of_calls_gives_the_files_and_offsets_there_were(reader, random, names, tmp_path_factory):
    """Threads and processes that reuse each other's descriptor numbers: every read has its process, file and offset."""
    machine, path = printed(random, tmp_path_factory.mktemp("strace"), names=names)
    trace = imported.load(reader(str(path)))
    found = Counter(
        (op.pid, op.tid, op.uri.removeprefix("file://"), op.offset, op.ret) for op in trace if op.op == "read"
    )
    assert found == machine.truth, "\n".join(machine.lines)
    assert trace.trailer.coverage.get("left_out", {}).keys() <= {
        "calls on descriptors whose opening is not in the file"
    }


@given(random=st.randoms(use_true_random=False))
def test_parts_of_a_run_have_them_too(random, tmp_path_factory):
    """What record makes of the same lines: each process a part, with the same files and offsets."""
    directory = tmp_path_factory.mktemp("parts")
    machine, _ = printed(random, directory, names=True, before=['execve("/bin/x", ["x"], 0x7f /* 3 vars */) = 0 <0.1>'])
    found = Counter()
    for part in straced(directory, [], Filter(), EPOCH):
        for source in part.sources:
            slots, _, tids = source.read()
            for slot, tid in zip(slots, tids, strict=True):
                if slot["op"] == 1:
                    path = os.fsdecode(part.paths[int(slot["file"])])
                    found[part.pid, int(tid), path, int(slot["offset"]), int(slot["ret"])] += 1
    assert found == machine.truth, "\n".join(machine.lines)
