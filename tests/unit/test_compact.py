"""The compact form: exact both ways, small, read as far as it goes, and never trusted."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit import Header, Mark, Op, Trace, Trailer, formats
from tracekit.errors import InputError, TracekitError
from tracekit.formats import compact, planes, ranked
from tracekit.testing import training_trace
from tracekit.trace import StringTable

WORDS = st.integers(-1, 2**63 - 1)
ROWS = st.lists(st.tuples(st.integers(0, 3), WORDS, WORDS, WORDS), min_size=1, max_size=40)


@given(ROWS, st.sampled_from(range(planes.LAST_WAY + 1)))
def test_every_way_of_predicting_is_exact(rows, way):
    """Any values, missing ones too, come back through any way and its planes."""
    uri, size, time, values = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    others = {"uri": uri, "len": size, "t_submit": time, "tid": uri, planes.SERVICE: size}
    left = planes.residue(way, values, others)
    again = planes.from_planes(*planes.to_planes(left), len(rows))
    assert np.array_equal(again, left)
    assert np.array_equal(planes.restored(way, again, others), values)


def _squeezed(data):
    return compact.zlib.compress(data) if data else b""


def _expanded(data, size):
    plain = compact.zlib.decompress(data) if size else b""
    assert len(plain) == size
    return plain


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=300), st.integers(8, 40))
def test_ranks_of_a_table_are_exact(values, times):
    """Words that come eight times each or more, in any order, come back from their ranks."""
    words = np.array(values * times, np.uint64)
    np.random.default_rng(len(values)).shuffle(words)
    found = ranked.tabled(words, _squeezed)
    assert found is not None
    assert np.array_equal(ranked.looked_up(*found, len(words), _expanded), words)


def test_words_that_seldom_repeat_get_no_table():
    """No table where it would be as long as the column, nor for nothing."""
    words = np.arange(9000, dtype=np.uint64)
    for few in (words, words // np.uint64(3), words[:0]):
        assert ranked.tabled(few, _squeezed) is None


def test_the_most_frequent_word_has_rank_0():
    """So that ranks are small numbers."""
    words = np.repeat(np.array([1 << 40, 7, 9], np.uint64), [10, 100, 20])
    width, _data = ranked.tabled(words, _squeezed)
    assert width == 1
    width, _data = ranked.tabled(np.repeat(words[:1], 50), _squeezed)
    assert width == 0


@pytest.mark.parametrize("damage", ["no head", "many entries", "wide", "long", "beyond"])
def test_a_table_that_lies_is_refused(damage):
    """Lengths are checked before memory is taken, ranks before they are used."""
    width, data = ranked.tabled(np.repeat(np.arange(3, dtype=np.uint64), 50), _squeezed)
    entries, table_width, size = ranked._HEAD.unpack_from(data)
    rows, body = 150, data[ranked._HEAD.size :]
    heads = {
        "no head": b"", "many entries": ranked._HEAD.pack(151, table_width, size), "wide": ranked._HEAD.pack(entries, 9, size),
        "long": ranked._HEAD.pack(entries, table_width, len(body) + 1),
        "beyond": ranked._HEAD.pack(1, table_width, len(_squeezed(b"x"))),
    }  # fmt: skip
    if damage == "beyond":
        body = _squeezed(b"x") + body[size:]
    with pytest.raises(ValueError, match=r"table|rank"):
        ranked.looked_up(width, heads[damage] + (body if damage != "no head" else b""), rows, _expanded)


def test_a_coarse_clock_takes_less_than_its_bytes(tmp_path):
    """Times in steps of ten ns with two thousand values of noise take their entropy (11 bits each) and a tenth, not two planes."""
    count = 1 << 16
    chance = np.random.default_rng(1)
    service = 900 + 10 * chance.integers(0, 2000, count)
    submitted = np.cumsum(np.roll(service, 1) + 10 * chance.integers(0, 2000, count))
    columns = {
        "uri": np.zeros(count, np.int32), "op": np.zeros(count, np.int32), "offset": np.zeros(count, np.int64),
        "len": np.full(count, 4096), "ret": np.full(count, 4096), "t_submit": submitted, "t_complete": submitted + service,
    }  # fmt: skip
    trace = Trace(columns, {"uri": StringTable(["/a"]), "op": StringTable(["read"])})
    formats.save(trace, tmp_path / "t.tkc")
    assert (tmp_path / "t.tkc").stat().st_size / count < 2 * 11 / 8 * 1.1 + 0.2
    again = Trace.read(tmp_path / "t.tkc")
    assert all(np.array_equal(again.columns[name], values) for name, values in columns.items())


def test_files_of_the_first_layout_are_read(tmp_path, monkeypatch):
    """What was written before there were tables: the same blocks, without any."""
    monkeypatch.setattr(compact, "MAGIC", b"TKC\x01")
    monkeypatch.setattr(ranked, "tabled", lambda *_: None)
    formats.save(training_trace(), tmp_path / "t.tkc")
    monkeypatch.undo()
    assert (tmp_path / "t.tkc").read_bytes()[:4] == b"TKC\x01"
    assert list(Trace.read(tmp_path / "t.tkc")) == list(training_trace())


def test_sequential_reads_of_many_files_leave_nothing():
    """Where every op begins at the end of the one before it on its file, in any interleaving, only first offsets are left."""
    chance = random.Random(3)
    ends, rows = dict.fromkeys(range(5), 0), []
    for _ in range(200):
        file, size = chance.randrange(5), chance.randrange(1, 9)
        rows.append((file, size, ends[file]))
        ends[file] += size
    uri, size, offset = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    assert not planes.residue(planes.PER_FILE, offset, {"uri": uri, "len": size}).any()
    assert not planes.residue(planes.PER_THREAD, offset, {"tid": uri, planes.SERVICE: size}).any()


def test_blocks_and_pieces_of_any_size_give_the_trace(tmp_path, monkeypatch):
    """Pieces larger and smaller than a block, and chunks of any size, are the same trace."""
    monkeypatch.setattr(compact, "BLOCK_ROWS", 100)
    trace = training_trace()
    with formats.writing(tmp_path / "t.tkc") as writer:
        writer.header(trace.header)
        writer.marks(trace.marks)
        for start, stop in ((0, 7), (7, 250), (250, 288)):
            writer.ops(trace.select(slice(start, stop)))
        writer.trailer(trace.trailer)
    whole = Trace.read(tmp_path / "t.tkc")
    assert list(whole) == list(trace)
    assert (whole.header, whole.marks, whole.trailer, whole.warnings) == (trace.header, trace.marks, trace.trailer, [])
    pieces = list(formats.chunks(tmp_path / "t.tkc", ops=30))
    assert max(map(len, pieces)) <= 30
    assert [op for piece in pieces for op in piece] == list(trace)
    assert [mark for piece in pieces for mark in piece.marks] == trace.marks
    assert pieces[-1].trailer == trace.trailer


def test_names_that_utf8_cannot_tell_apart_do_not_shift_others(tmp_path):
    """A name that is escaped to one that exists already is that one; names after it are themselves."""
    names = ["/\udcff", "/\\udcff", "/b"]
    formats.save(Trace.of([Op(name, 0, 1, place) for place, name in enumerate(names)]), tmp_path / "t.tkc")
    assert [op.uri for op in Trace.read(tmp_path / "t.tkc")] == ["/\\udcff", "/\\udcff", "/b"]


def test_a_plain_loop_takes_few_bytes(tmp_path):
    """A hundred thousand reads with noise of some hundred ns in their times take less than three and a quarter bytes each."""
    count = 100_000
    chance = np.random.default_rng(1)
    times = np.cumsum(chance.integers(1200, 1700, count))
    columns = {
        "uri": np.zeros(count, np.int32), "op": np.zeros(count, np.int32), "offset": np.arange(count) % 256 * 4096,
        "len": np.full(count, 4096), "ret": np.full(count, 4096), "t_submit": times,
        "t_complete": times + chance.integers(300, 600, count), "pid": np.full(count, 7, np.int32),
    }  # fmt: skip
    formats.save(Trace(columns, {"uri": StringTable(["/a"]), "op": StringTable(["read"])}), tmp_path / "t.tkc")
    assert (tmp_path / "t.tkc").stat().st_size / count < 3.25


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file_gives_what_came_before(tmp_path, keep, monkeypatch):
    """Whole blocks before the cut are read, nothing else, and the cut is said."""
    monkeypatch.setattr(compact, "BLOCK_ROWS", 20)
    path = tmp_path / "t.tkc"
    formats.save(training_trace(), path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    trace = Trace.read(path)
    assert list(trace) == list(training_trace())[: len(trace)]
    assert len(trace) % 20 == 0 or len(trace) == 288
    assert trace.trailer is None
    assert any("damaged or cut short" in text for text in trace.warnings)


def test_damage_anywhere_is_noticed(tmp_path, monkeypatch):
    """A byte turned over anywhere gives ops that were there, with a warning, or one sentence."""
    monkeypatch.setattr(compact, "BLOCK_ROWS", 50)
    path = tmp_path / "t.tkc"
    formats.save(training_trace(), path)
    data, ops = path.read_bytes(), list(training_trace())
    for place in range(0, len(data), 37):
        broken = bytearray(data)
        broken[place] ^= 0x55
        path.write_bytes(broken)
        try:
            trace = Trace.read(path)
        except TracekitError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert list(trace) == ops[: len(trace)]
            assert trace.warnings


def test_blocks_that_lie_are_refused(tmp_path, monkeypatch):
    """Blocks with right checksums and wrong content, made by a writer gone mad, are damage like any other; no crash."""
    path = tmp_path / "t.tkc"
    chance = random.Random(5)
    right = compact.zlib.crc32
    whole = compact.CompactWriter._write

    def mad(self, kind, data):
        broken = bytearray(data)
        if kind == b"OPSS" and broken:
            broken[chance.randrange(min(len(broken), 400))] ^= 1 << chance.randrange(8)
        whole(self, kind, bytes(broken))

    monkeypatch.setattr(compact.CompactWriter, "_write", mad)
    for _ in range(150):
        formats.save(training_trace(), path)
        try:
            trace = Trace.read(path)
        except TracekitError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            list(trace)
    assert right is compact.zlib.crc32


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PAR1", "does not begin with TKC"),
        (b"TKC\x03", "has layout 3, this tracekit reads layouts 1 to 2"),
        (b"TKC\x00", "has layout 0, this tracekit reads layouts 1 to 2"),
        (b"TK", "does not begin with TKC"),
        (b"TKC\x01", "damaged or cut short"),
        (b"TKC\x01OPSS\xff\xff\xff\xff0000", "a block is too large"),
    ],
)
def test_what_is_no_compact_trace_is_one_sentence(tmp_path, data, said):
    """Another file, another layout, nothing at all, and lengths beyond reason."""
    (tmp_path / "t.tkc").write_bytes(data)
    with pytest.raises(InputError, match=said):
        Trace.read(tmp_path / "t.tkc")


def test_header_trailer_and_marks_without_ops(tmp_path):
    """A recording that saw nothing is a file too."""
    trace = Trace.of([], header=Header(created="now"), marks=[Mark("step", 1)], trailer=Trailer())
    formats.save(trace, tmp_path / "t.tkc")
    back = Trace.read(tmp_path / "t.tkc")
    assert (len(back), back.header, back.marks, back.trailer, back.warnings) == (
        0,
        trace.header,
        trace.marks,
        Trailer(),
        [],
    )
