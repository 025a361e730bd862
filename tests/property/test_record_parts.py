"""Whatever state a killed process leaves its parts in, they can be read, and what was complete is there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.record import spool
from tracekit.record.lines import Lines, encode
from tracekit.record.merge import merge_parts
from tracekit.record.spool import CODE, over

Spool = over(Lines)

SAMPLES = st.one_of(st.integers(-(2**70), 2**70), st.text(max_size=5))
OPS = st.lists(
    st.tuples(
        st.integers(1, 3), st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, 133), SAMPLES
    ),
    max_size=60,
)  # fmt: skip


def _written(directory, ops):
    writer = Spool(directory)
    for number in (1, 2, 3):
        writer.line(file=number, path=f"/f{number}")
    for time, (file, offset, length, ret, err, sample) in enumerate(ops):
        writer.context.set((-1, -1, -1, writer.sample_code(sample), 0))
        writer.record(CODE["read"], file, offset, length, time, time + 1, ret, err, 0)


@settings(max_examples=60, deadline=None)
@given(OPS)
def test_any_ops_survive_the_way_through_the_parts(ops):
    """File, offset, length, result and sample of any op come back from the parts unchanged and in order."""
    with tempfile.TemporaryDirectory() as directory:
        _written(directory, ops)
        trace, parts = merge_parts(directory, 0)
    got = [(int(op.uri[-1]), op.offset, op.len, op.ret, op.sample_id) for op in trace]
    wanted = [(f, o, n, r, s if isinstance(s, int) and 0 <= s < 2**63 else str(s)) for f, o, n, r, _, s in ops]
    assert got == wanted
    assert sum(part.lost for part in parts) == 0


@settings(max_examples=60, deadline=None)
@given(OPS, st.integers(0, 5000), st.integers(0, 200), st.sets(st.integers(1, 100), max_size=10))
def test_torn_parts_are_read_as_far_as_they_go(ops, cut, line_cut, torn):
    """Cut files, half lines and slots without their last byte never fail a merge nor invent an op."""
    with tempfile.TemporaryDirectory() as directory:
        _written(directory, ops)
        for path in Path(directory).iterdir():
            data = bytearray(path.read_bytes())
            if path.suffix == ".ops":
                for slot in torn:
                    end = (slot + 1) * spool.SLOT_BYTES - 1
                    if end < len(data):
                        data[end] = 0
                path.write_bytes(data[: max(len(data) - cut, 0)])
            else:
                path.write_bytes(data[: max(len(data) - line_cut, 0)])
        trace, _ = merge_parts(directory, 0)
    possible = {(time, offset, length) for time, (_, offset, length, *_rest) in enumerate(ops)}
    assert {(op.t_submit, op.offset, op.len) for op in trace} <= possible


@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
        max_leaves=20,
    )
)
def test_encoder_writes_json(value):
    """What the recorder's encoder writes, json reads as the same value, on one line of ASCII."""
    import json

    text = encode(value)
    assert text.isascii()
    assert "\n" not in text
    assert json.loads(text) == value
