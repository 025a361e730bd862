"""Trace files: what is read, what is written, and what is said about lines that are wrong."""

from __future__ import annotations

import bz2
import gzip
import json
import os

import jsonlines
import numpy as np
import pyarrow as pa
import pytest

from tracekit import Header, Mark, Op, Trace, Trailer, formats
from tracekit.errors import InputError, OutputExistsError, TraceFormatError, UsageError
from tracekit.formats import jsonl
from tracekit.formats.reader import Reader
from tracekit.testing import training_trace
from tracekit.trace import NULL

GOOD = '{"uri":"/a","offset":0,"len":10,"t_submit":1}'
HEADER = '{"tracekit":1,"clock":{"t0_unix_ns":5}}'


@pytest.fixture
def write(tmp_path):
    """Write a trace file of these lines (text or bytes) and give its path."""

    def made(*lines, name="t.jsonl", end="\n"):
        path = tmp_path / name
        path.write_bytes(
            b"".join((line if isinstance(line, bytes) else line.encode()) + end.encode() for line in lines)
        )
        return str(path)

    return made


# -- what is read -----------------------------------------------------------------------------------------------------


def test_bare_seed_lines_are_a_trace(write):
    """Lines of uri, offset, len and t_submit, with and without sample_id, need nothing else."""
    trace = formats.load(
        write(
            GOOD,
            '{"uri":"s3://b/k","offset":4096,"len":7,"t_submit":9,"sample_id":12}',
            '{"uri":"/a","len":1,"t_submit":9}',
        )
    )

    assert list(trace) == [
        Op("/a", 0, 10, 1),
        Op("s3://b/k", 4096, 7, 9, sample_id=12),
        Op("/a", None, 1, 9),
    ]
    assert (trace.header, trace.trailer, trace.warnings) == (None, None, [])


@pytest.mark.parametrize(
    ("unit", "text", "ns"),
    [
        ("ns", "1500", 1500),
        ("us", "1.5", 1500),
        ("us", "0.0005", 0),
        ("ms", "2", 2_000_000),
        ("s", "1.000000001", 1_000_000_001),
        ("s", "1e-3", 1_000_000),
    ],
)
def test_times_in_other_units(write, unit, text, ns):
    """--time-unit scales every time of a file without a header, fractions included, and rounds to the nanosecond."""
    op = f'{{"uri":"/a","offset":0,"len":1,"t_submit":{text},"t_complete":{text}}}'
    mark = f'{{"mark":"step","t":{text},"t_end":{text},"step":3}}'
    trace = formats.load(write(op, mark), time_unit=unit)

    assert (trace[0].t_submit, trace[0].t_complete) == (ns, ns)
    assert trace.marks == [Mark("step", ns, ns, 3)]


def test_a_header_fixes_the_unit(write):
    """A header says its times are nanoseconds, whatever --time-unit is, and fractions are refused then."""
    assert formats.load(write(HEADER, GOOD), time_unit="s")[0].t_submit == 1
    with pytest.raises(TraceFormatError, match="`t_submit`: expected `int`, got `float`"):
        formats.load(write(HEADER, GOOD.replace(":1}", ":1.5}")), time_unit="s")


def test_an_unknown_time_unit_is_refused(write):
    """The error lists the units there are."""
    with pytest.raises(UsageError, match="there is no time unit 'fortnight'; there are: min, ms, ns, s, us"):
        formats.load(write(GOOD), time_unit="fortnight")


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + GOOD.encode() + b"\n",
        GOOD.encode(),
        GOOD.encode() + b"\r\n",
        b"\n\n  \n" + GOOD.encode() + b"\n\n",
        GOOD.replace(":", " : ").encode() + b"\n",
        GOOD.replace('"offset"', '"\\u006fffset"').encode() + b"\n",
        GOOD.replace("}", ',"shiny":{"new":[1,{}]},"op":null,"err":null,"tid":null}').encode() + b"\n",
    ],
    ids=["bom", "no newline", "crlf", "blank lines", "spaces", "escaped key", "unknown and null keys"],
)
def test_json_as_people_write_it(tmp_path, text):
    """BOM, CRLF, blank lines, spaces, escaped keys, unknown keys and nulls change nothing."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(text)

    assert list(formats.load(path)) == [Op("/a", 0, 10, 1)]


def test_null_is_not_zero(write):
    """A null or missing number is None, in the middle of numbers that are there."""
    lines = [
        '{"uri":"/a","offset":null,"len":0,"t_submit":0,"ret":null,"pid":4}',
        '{"uri":"/a","offset":0,"len":0,"t_submit":0,"ret":0}',
    ]
    trace = formats.load(write(*lines * 3))

    assert [op.offset for op in trace] == [None, 0] * 3
    assert [op.ret for op in trace] == [None, 0] * 3
    assert [op.pid for op in trace] == [4, None] * 3


def test_sample_ids_are_integers_or_names(write):
    """The number 5 and the text "5" are different samples; negative and huge integers stay what they are, as text."""
    ids = ["5", '"5"', '"cat.jpg"', "null", "0", "-1", "-7", str(2**63), str(2**63 - 1)]
    lines = [GOOD.replace("}", f',"sample_id":{value}}}') for value in ids]
    trace = formats.load(write(*lines))

    assert [op.sample_id for op in trace] == [5, "5", "cat.jpg", None, 0, "-1", "-7", str(2**63), 2**63 - 1]
    assert [op.sample_id for op in formats.load(write(*lines[3:5]))] == [None, 0]
    assert [op.sample_id for op in formats.load(write(*lines[5:6]))] == ["-1"]
    assert [op.sample_id for op in formats.load(write(lines[3], lines[5]))] == [None, "-1"]


def test_what_is_no_op_is_found_anywhere(write):
    """Marks among the ops and a trailer before the end are put where they belong; unknown trailer keys are kept."""
    trace = formats.load(
        write(
            HEADER,
            GOOD,
            '{"mark":"step","t":1,"t_end":2,"step":0,"epoch":1,"pid":9}',
            '{"end":{"ops":2,"bytes":20,"lost":1,"coverage":{"x":1},"mood":"good"}}',
            GOOD,
        )
    )

    assert len(trace) == 2
    assert trace.marks == [Mark("step", 1, 2, 0, 1, 9)]
    assert trace.trailer == Trailer(2, 20, 1, coverage={"x": 1}, extra={"mood": "good"})
    assert trace.header == Header(clock={"t0_unix_ns": 5})


def test_mark_times_keep_their_nanoseconds(write):
    """A mark's time is not sent through a double: 2^53 + 1 stays odd."""
    trace = formats.load(write(GOOD, f'{{"mark":"step","t":{2**53 + 1},"t_end":{2**62 + 1}}}'))

    assert trace.marks == [Mark("step", 2**53 + 1, 2**62 + 1)]


def test_standard_input_is_a_trace(write, monkeypatch):
    """`-` reads standard input."""
    with open(write(GOOD), "rb") as file:
        monkeypatch.setattr("sys.stdin", type("Fake", (), {"buffer": file}))
        assert len(formats.load("-")) == 1


def test_a_trace_without_trailer_says_so(write):
    """A header without a trailer means the recording was cut short: readable, with a warning."""
    trace = formats.load(write(HEADER, GOOD))

    assert not trace.is_complete
    assert trace.warnings == [f"{write(HEADER, GOOD)} has no trailer: the trace was cut short"]


def test_a_header_alone_is_an_empty_trace(write):
    """A recording that saw no I/O is a trace of no ops, not an error."""
    assert len(formats.load(write(HEADER, '{"end":{"ops":0,"bytes":0,"lost":0}}'))) == 0


def test_a_last_line_that_is_cut_is_left_out(write):
    """A crash in the middle of a line loses that line only, and the warning names it."""
    path = write(HEADER, GOOD, GOOD[:-9], end="\n").removesuffix("\n")
    with open(path, "rb+") as file:
        file.seek(-1, os.SEEK_END)
        file.truncate()
    trace = formats.load(path)

    assert len(trace) == 1
    assert trace.warnings[0] == f"{path}:3: the last line is cut short and was left out"


# -- what is wrong ----------------------------------------------------------------------------------------------------

BAD_LINES = {
    "not json": ("hello", "the line is not JSON"),
    "array": ("[1, 2]", "the line is not a JSON object"),
    "number": ("7", "the line is not a JSON object"),
    "unquoted": ("{uri: 1}", "the line is not JSON"),
    "nul bytes": (b"\0\0\0", "the line is not JSON"),
    "nul inside": (GOOD.encode() + b"\0", "the line is not JSON"),
    "not utf-8": (GOOD.encode().replace(b"/a", b"/\xff\xfe"), "not UTF-8"),
    "surrogate bytes": (GOOD.encode().replace(b"/a", b"/\xed\xa0\x80"), "not UTF-8"),
    "lone surrogate": (GOOD.replace("/a", "\\ud800"), "the line is not JSON"),
    "two objects": (GOOD + GOOD, "the line is not JSON"),
    "NaN": (GOOD.replace(":10", ":NaN"), "the line is not JSON"),
    "Infinity": (GOOD.replace(":10", ":Infinity"), "the line is not JSON"),
    "huge float": (GOOD.replace(":10", ":1e999"), "`len`"),
    "float": (GOOD.replace(":10", ":10.5"), "`len`: expected `int`, got `float`"),
    "bool": (GOOD.replace(":10", ":true"), "`len`: expected `int`, got `bool`"),
    "text": (GOOD.replace(":10", ':"10"'), "`len`: expected `int`, got `str`"),
    "object": (GOOD.replace(":10", ":{}"), "`len`: expected `int`, got `object`"),
    "negative len": (GOOD.replace(":10", ":-10"), "`len`: expected `int` >= 0"),
    "negative offset": (GOOD.replace('"offset":0', '"offset":-1'), "`offset`: expected `int` >= 0"),
    "negative time": (GOOD.replace('"t_submit":1', '"t_submit":-1'), "`t_submit`: expected `int` >= 0"),
    "huge int": (GOOD.replace(":10", f":{2**63}"), "`len`: expected `int` <= 9223372036854775807"),
    "huger int": (GOOD.replace(":10", f":{10**40}"), "`len`"),
    "pid too large": (GOOD.replace("}", f',"pid":{2**31}}}'), "`pid`: expected `int` <= 2147483647"),
    "uri is a number": (GOOD.replace('"/a"', "5"), "`uri`: expected `str`, got `int`"),
    "sample_id is a bool": (GOOD.replace("}", ',"sample_id":true}'), "`sample_id`: expected `int | str`, got `bool`"),
    "no len": ('{"uri":"/a","offset":0,"t_submit":1}', "the op has no `len`"),
    "null len": (GOOD.replace(":10", ":null"), "the op has no `len`"),
    "no t_submit": ('{"uri":"/a","offset":0,"len":1}', "the op has no `t_submit`"),
    "no uri": ('{"offset":0,"len":1,"t_submit":1}', "the op has no `uri`"),
    "nothing known": ('{"foo":1}', "the line is no op, no mark, no header and no trailer"),
    "empty object": ("{}", "the line is no op"),
    "mark without time": ('{"mark":"step"}', "the mark has no `t`"),
    "mark with text": ('{"mark":"step","t":"x"}', "`t`: expected `float`, got `str`"),
    "mark with fraction": ('{"mark":"step","t":1.5}', "`t`: expected `int`, got `float`"),
    "mark beyond 2^63": ('{"mark":"step","t":1e30}', "`t`: expected `int`"),
    "late header": (HEADER, "the header is not the first line"),
    "broken trailer": ('{"end":{"ops":"many"}}', "`ops`: expected `int`, got `str`"),
    "trailer is a list": ('{"end":[]}', "`end`: expected `object`, got `array`"),
    "nested bomb": ('{"uri":"/a","x":' + "[" * 100_000 + "]" * 100_000 + "}", "the line is not JSON"),
    "deep trailer": ('{"end":' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "}", "the line is not JSON"),
}


@pytest.mark.parametrize(("line", "problem"), BAD_LINES.values(), ids=BAD_LINES.keys())
def test_a_bad_line_is_named_and_can_be_left_out(write, line, problem):
    """Every error names file, line and key in one sentence; --skip-bad keeps the rest and counts."""
    path = write(GOOD, GOOD, line, GOOD)
    with pytest.raises(TraceFormatError) as caught:
        formats.load(path)

    assert str(caught.value).startswith(f"{path}:3: ")
    assert problem in str(caught.value)
    assert str(caught.value).endswith("; mend the line, or pass --skip-bad to leave it out")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(path)
    kept = formats.load(path, skip_bad=True)
    assert list(kept) == [Op("/a", 0, 10, 1)] * 3
    assert kept.warnings[0].startswith(f"1 bad line was left out; the first: {path}:3: ")


@pytest.mark.parametrize("key", ["t_submit", "t_complete", "t_due"])
def test_a_scaled_time_beyond_the_range_is_named(write, key):
    """A time that does not fit 63 bits of nanoseconds is a bad line, not a wrapped number."""
    path = write(
        GOOD,
        GOOD.replace("}", ',"t_complete":2}').replace(f'"{key}":', f'"{key}":9e300,"x":')
        if key != "t_due"
        else GOOD.replace("}", ',"t_due":1e10}'),
    )
    with pytest.raises(TraceFormatError, match=r":2: a time is beyond 2\^63 ns"):
        formats.load(path, time_unit="s")


def test_a_bad_line_far_down_is_named(write):
    """The line number is right beyond the first block, and chunks before it are not lost on the way."""
    lines = [GOOD] * 40_000
    lines[33_332] = GOOD.replace(":10", ":-1")
    path = write(*lines)

    with pytest.raises(TraceFormatError, match=r":33333: `len`"):
        formats.load(path)
    assert len(formats.load(path, skip_bad=True)) == 39_999


def test_marks_far_down_do_not_disturb(write):
    """Blocks with marks among thousands of ops give the same ops."""
    lines = [GOOD] * 50_000
    lines[40_001] = '{"mark":"epoch","t":3}'
    trace = formats.load(write(*lines))

    assert len(trace) == 49_999
    assert trace.marks == [Mark("epoch", 3)]


def test_a_line_of_20_mb_is_refused_not_swallowed(write):
    """A line beyond the limit is named; with --skip-bad the lines after it keep their numbers."""
    path = write(GOOD, '{"uri":"' + "x" * 20_000_000 + '"}', GOOD, "oops")

    with pytest.raises(TraceFormatError, match=r":2: the line is longer than 16 MiB"):
        formats.load(path)
    kept = formats.load(path, skip_bad=True)
    assert len(kept) == 2
    assert "2 bad lines" in kept.warnings[0]
    assert ":2:" in kept.warnings[0]


def test_ops_far_below_bad_lines_are_a_trace(write, monkeypatch):
    """Where the first block of a file is bad throughout, the ops after it count."""
    monkeypatch.setattr(jsonl, "_BLOCK_BYTES", 64)
    for reader in (lambda path, unit, skip_bad: Reader(path, unit, skip_bad=skip_bad), jsonl._reader):
        monkeypatch.setattr(jsonl, "_reader", reader)
        assert len(formats.load(write(*["x" * 30] * 3, *[GOOD] * 5), skip_bad=True)) == 5


def test_only_bad_lines_is_no_trace(write):
    """When nothing is left after --skip-bad, that is an error with the first reason."""
    path = write("one", "two")
    with pytest.raises(InputError, match=r"holds no op; the first bad line: .*t\.jsonl:1: the line is not JSON"):
        formats.load(path, skip_bad=True)


def test_a_file_that_is_no_trace_is_told_what_a_trace_is(write):
    """The first line of something else is answered with what belongs there."""
    with pytest.raises(TraceFormatError, match="a trace is JSON Lines with `uri`, `offset`, `len` and `t_submit`"):
        formats.load(write("PK\x03\x04 whatever"))


def test_two_headers_are_a_bad_line(write):
    """Files glued together are noticed."""
    with pytest.raises(TraceFormatError, match=":2: a second header"):
        formats.load(write(HEADER, HEADER))


@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_newer_schema_is_refused(write, skip_bad):
    """A schema version this reader does not know is an error with a way out, even with --skip-bad."""
    with pytest.raises(
        TraceFormatError, match="schema version 2, this tracekit reads version 1; use the tracekit that wrote it"
    ):
        formats.load(write('{"tracekit":2}', GOOD), skip_bad=skip_bad)


def test_missing_empty_and_unreadable_files(tmp_path):
    """What is not there, empty, a directory or without permission is one sentence each."""
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(InputError, match=r"there is no trace .*nothing\.jsonl"):
        formats.load(tmp_path / "nothing.jsonl")
    with pytest.raises(InputError, match="is empty"):
        formats.load(empty)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="holds no trace"):
        formats.load(tmp_path / "folder")
    with pytest.raises(InputError, match="cannot be read"):
        formats.load(tmp_path / ("x" * 300))


def test_a_trace_without_permission_says_so(tmp_path, monkeypatch):
    """The way out of a file one may not read is its permissions (asked of `open`, so that root can test it too)."""

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError, match="cannot be read: Permission denied; check its permissions"):
        formats.load(tmp_path / "t.jsonl")


def test_blank_lines_only_is_no_trace(write):
    """A file of blank lines holds no op."""
    with pytest.raises(InputError, match="holds no op"):
        formats.load(write("", "  ", ""))


# -- compressed -------------------------------------------------------------------------------------------------------


def test_a_zst_file_that_is_none(write):
    """Wrong magic is said to be so."""
    with pytest.raises(InputError, match="cannot be decompressed"):
        formats.load(write(GOOD, name="t.jsonl.zst"))


def test_a_truncated_zst_keeps_what_came_before(tmp_path):
    """A compressed trace cut in the middle gives the ops before the cut and says that it is damaged."""
    whole = tmp_path / "whole.jsonl.zst"
    chance = np.random.default_rng(1)
    times = np.cumsum(chance.integers(0, 10**6, 60_000))
    columns = {
        "uri": ["/a"] * 60_000,
        "offset": chance.integers(0, 2**40, 60_000).tolist(),
        "len": [1] * 60_000,
        "t_submit": times.tolist(),
    }
    formats.save(Trace.from_values(columns, header=Header(), trailer=Trailer(60_000)), whole)
    cut = tmp_path / "cut.jsonl.zst"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    trace = formats.load(cut)

    assert 0 < len(trace) < 60_000
    assert np.array_equal(trace.columns["t_submit"], times[: len(trace)])
    assert any("damaged or cut short" in warning for warning in trace.warnings)
    assert not trace.is_complete


@pytest.mark.parametrize("name", ["t.jsonl.gz", "t.jsonl", "t"])
def test_what_gzip_made_is_read(tmp_path, name):
    """Under any name, in one member or in several that were put together, with zeros behind the last or without."""
    formats.save(training_trace(), tmp_path / "plain.jsonl")
    lines = (tmp_path / "plain.jsonl").read_bytes()
    path = tmp_path / name
    for packed in (gzip.compress(lines), gzip.compress(lines[:9_999]) + gzip.compress(lines[9_999:]) + bytes(512)):
        path.write_bytes(packed)
        assert list(formats.load(path)) == list(training_trace())


def test_a_gzip_file_cut_short_keeps_what_came_before(tmp_path):
    """And says that it is damaged."""
    chance = np.random.default_rng(1)
    lines = [f'{{"uri":"/a","offset":{offset},"len":1,"t_submit":1}}\n' for offset in chance.integers(0, 2**40, 60_000)]
    packed = gzip.compress("".join(lines).encode())
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    trace = formats.load(tmp_path / "cut.jsonl.gz")

    assert 0 < len(trace) < 60_000
    assert any("damaged or cut short" in warning for warning in trace.warnings)


def test_a_gzip_file_that_is_none(tmp_path):
    """What begins like one and is none is said to be so."""
    (tmp_path / "t.jsonl.gz").write_bytes(b"\x1f\x8b\x08nonsense" * 9)
    with pytest.raises(InputError, match="cannot be decompressed"):
        formats.load(tmp_path / "t.jsonl.gz")


def test_other_compressions_are_not_mistaken(tmp_path):
    """A bzip2 file under a plain name is no trace."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(bz2.compress(GOOD.encode()))
    with pytest.raises(TraceFormatError, match=":1: the line is not"):
        formats.load(path)


# -- what is written --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.zst"])
def test_everything_comes_back(tmp_path, name):
    """Ops, marks, header and trailer of a full trace survive writing and reading, compressed or not."""
    trace = training_trace()
    path = tmp_path / name
    formats.save(trace, path)
    again = formats.load(path)

    assert list(again) == list(trace)
    assert again.marks == trace.marks
    assert again.header == trace.header
    assert again.trailer == trace.trailer
    assert again.warnings == []


def test_zst_is_zstd(tmp_path):
    """The compressed file is what any zstd tool reads."""
    path = tmp_path / "t.jsonl.zst"
    formats.save(training_trace(), path)
    with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as file:
        first = file.read().split(b"\n")[0]

    assert path.read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
    assert json.loads(first)["tracekit"] == 1


def test_any_trace_is_readable_with_jsonlines(tmp_path):
    """The jsonlines package reads every line: header first, trailer last, ops with the documented keys."""
    trace = training_trace()
    path = tmp_path / "t.jsonl"
    formats.save(trace, path)
    with jsonlines.open(path) as reader:
        rows = list(reader)

    assert rows[0]["tracekit"] == 1
    assert rows[-1]["end"]["ops"] == len(trace)
    ops = [row for row in rows if "uri" in row]
    assert [(op["uri"], op["offset"], op["len"], op["t_submit"], op["op"]) for op in ops] == [
        (op.uri, op.offset, op.len, op.t_submit, op.op) for op in trace
    ]


def test_nulls_are_left_out_but_for_the_offset(tmp_path):
    """A missing value has no key; a missing offset is written as null, so that nobody reads it as 0."""
    path = tmp_path / "t.jsonl"
    formats.save(Trace.of([Op("/a", None, 5, 0, pid=3), Op("/a", 0, 5, 1)]), path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]

    assert rows == [
        {"uri": "/a", "offset": None, "len": 5, "t_submit": 0, "op": "read", "pid": 3},
        {"uri": "/a", "offset": 0, "len": 5, "t_submit": 1, "op": "read"},
    ]


def test_what_is_not_utf8_is_written_escaped(tmp_path):
    """Lone surrogates, which name files that are not UTF-8, become backslash escapes instead of an error."""
    path = tmp_path / "t.jsonl"
    header = Header(command=["cat", "\udcff"], producer={"\udcfe": ["\udcfd", 1]})
    formats.save(Trace.of([Op("/\udcff", 0, 1, 0, sample_id="\udcff")], header=header, trailer=Trailer(1)), path)
    trace = formats.load(path)

    assert trace.uris == ["/\\udcff"]
    assert trace[0].sample_id == "\\udcff"
    assert trace.header.command == ["cat", "\\udcff"]
    assert trace.header.producer == {"\\udcfe": ["\\udcfd", 1]}


def test_writing_checks_the_name_first(tmp_path):
    """An unknown suffix, an existing file without force, and a missing directory are refused before any work."""
    trace = Trace.of([Op("/a", 0, 1, 0)])
    taken = tmp_path / "taken.jsonl"
    taken.write_text("precious")

    with pytest.raises(UsageError, match=r"end its name in \.jsonl, "):
        formats.save(trace, tmp_path / "t.docx")
    with pytest.raises(OutputExistsError):
        formats.save(trace, taken, force=False)
    with pytest.raises(InputError, match=r"the directory .* does not exist"):
        formats.check_save(tmp_path / "no" / "t.jsonl")
    assert taken.read_text() == "precious"


def test_standard_output_is_a_trace(capfdbinary):
    """`-` writes to standard output."""
    formats.save(Trace.of([Op("/a", 0, 1, 0)]), "-")

    assert json.loads(capfdbinary.readouterr().out)["uri"] == "/a"


# -- piece by piece ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 100, 287, 288, 289, 10_000])
def test_chunks_are_the_trace(tmp_path, size):
    """Pieces of any size are the whole trace in order, no larger than asked, with shared tables and one trailer."""
    trace = training_trace()
    path = tmp_path / "t.jsonl"
    formats.save(trace, path)
    pieces = list(formats.chunks(path, ops=size))

    assert [op for piece in pieces for op in piece] == list(trace)
    assert max(map(len, pieces)) <= size
    assert [mark for piece in pieces for mark in piece.marks] == trace.marks
    assert [piece.trailer for piece in pieces][:-1] == [None] * (len(pieces) - 1)
    assert pieces[-1].trailer == trace.trailer
    assert all(piece.header == trace.header for piece in pieces)


def test_a_column_that_begins_late_is_null_before(write):
    """A key that first appears far down gives a column that is NULL above it."""
    lines = [GOOD] * 60_000 + [GOOD.replace("}", ',"worker":3,"err":"EIO"}')]
    trace = formats.load(write(*lines))

    assert trace.columns["worker"][-1] == 3
    assert (trace.columns["worker"][:-1] == NULL).all()
    assert trace[0].err is None
    assert trace[60_000].err == "EIO"


# -- piece by piece ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.zst"])
def test_written_in_pieces_it_is_the_same_file(tmp_path, name):
    """Pieces of a trace that share growing tables make the file that writing it whole makes, byte for byte."""
    whole = training_trace()
    formats.save(whole, tmp_path / f"whole-{name}")
    with formats.writing(tmp_path / name) as writer:
        writer.header(whole.header)
        writer.marks(whole.marks)
        for piece in formats.chunks(tmp_path / f"whole-{name}", ops=7):
            writer.ops(piece)
        writer.trailer(whole.trailer)

    assert formats.load(tmp_path / name).uris == whole.uris
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole-{name}").read_bytes()


def test_pieces_may_bring_their_own_tables(tmp_path):
    """Codes are read against the table of the piece they came with."""
    with formats.writing(tmp_path / "t.jsonl") as writer:
        writer.ops(Trace.of([Op("/a", 0, 1, 1), Op("/b", 0, 1, 2)]))
        writer.ops(Trace.of([Op("/c", 0, 1, 3)]))

    assert [op.uri for op in formats.load(tmp_path / "t.jsonl")] == ["/a", "/b", "/c"]


def test_a_failed_writing_leaves_nothing(tmp_path):
    """When the block raises, neither the file nor a part of it stays."""
    with pytest.raises(RuntimeError), formats.writing(tmp_path / "t.jsonl") as writer:
        writer.ops(Trace.of([Op("/a", 0, 1, 1)]))
        raise RuntimeError

    assert os.listdir(tmp_path) == []
