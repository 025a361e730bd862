"""The native reader takes and says exactly what the Python reader takes and says, on any input."""

import random
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.errors import TracekitError
from tracekit.formats import jsonl
from tracekit.formats.quick import QuickReader
from tracekit.formats.reader import OP_KEYS, Reader
from tracekit.trace import COLUMNS

core = pytest.importorskip("tracekit._core", reason="the native core is not built here")

GOOD = b'{"uri":"/a","offset":0,"len":10,"t_submit":1}'
FULL = (
    b'{"uri":"file:///d/x","offset":4096,"len":512,"t_submit":77,"op":"write","t_complete":99,"ret":512,"err":"EIO","t_due":70,'
    b'"t_first_byte":80,"pid":12,"tid":13,"rank":0,"worker":1,"epoch":2,"step":3,"sample_id":4,"layer":"libc","level":"wire",'
    b'"attempts":2,"flags":"direct"}'
)
NUMBERS = ["0", "1", "007", "-1", "-0", "1.0", "1e3", "2147483647", "2147483648", "9223372036854775807",
           "9223372036854775808", "18446744073709551616", "99999999999999999999", "null", "true", "NaN", '"5"', "[]", "{}", ""]  # fmt: skip
TEXTS = [
    '"a"',
    '""',
    '"read"',
    '"\\u0041"',
    '"\\ud800"',
    '"é"',
    '"\\n"',
    '"a\tb"',
    '"\x7f"',
    "null",
    "3",
    "false",
    "[1]",
    '"' + "x" * 40 + '"',
]
KEYS = [*OP_KEYS, "mark", "t", "t_end", "tracekit", "end", "shiny", "", "Uri", "uri "]


def outcome(reader_of, data, block, path, skip_bad):
    """What reading gives: the trace taken apart, or the error's text."""
    path.write_bytes(data)
    previous = jsonl._reader, jsonl._BLOCK_BYTES
    jsonl._reader, jsonl._BLOCK_BYTES = lambda name, unit, skip_bad: reader_of(name, skip_bad), block
    try:
        trace = jsonl.load(str(path), time_unit=1, skip_bad=skip_bad)
    except TracekitError as error:
        return type(error).__name__, str(error)
    finally:
        jsonl._reader, jsonl._BLOCK_BYTES = previous
    columns = {name: array.tolist() for name, array in trace.columns.items()}
    tables = {name: trace.strings(name) for name in (*trace.tables,)}
    return columns, tables, trace.marks, trace.header, trace.trailer, trace.warnings


def python_reader(name, skip_bad):
    """The readable one."""
    return Reader(name, 1, skip_bad=skip_bad)


def native_reader(name, skip_bad):
    """The quick one."""
    return QuickReader(core, name, skip_bad=skip_bad)


def assert_same(data, block, path, skip_bad):
    """Both readers agree on these bytes."""
    theirs = outcome(python_reader, data, block, path, skip_bad)
    ours = outcome(native_reader, data, block, path, skip_bad)
    assert ours == theirs, data


def test_the_columns_are_those_of_the_trace():
    """The core fills the columns of a trace, in their order and with their types."""
    kinds = {
        name: "text" if column.category else "sample" if name == "sample_id" else np.dtype(column.dtype).name
        for name, column in COLUMNS.items()
    }
    assert core.parser_columns() == list(kinds.items())


@st.composite
def lines(draw):
    """Lines that are ops, nearly ops, or something else."""
    pairs = draw(
        st.lists(
            st.one_of(
                st.tuples(st.sampled_from(OP_KEYS), st.sampled_from(["1", "2", '"a"', '"b"', "null"])),
                st.tuples(st.sampled_from(KEYS), st.sampled_from(NUMBERS + TEXTS)),
            ),
            max_size=6,
        )
    )
    space = draw(st.sampled_from(["", "", "", " ", "\t", "\r", "\n", "\f"]))
    text = ("," + space).join(f'"{key}"{space}:{space}{value}' for key, value in pairs)
    required = draw(
        st.sampled_from(['"uri":"/a","len":1,"t_submit":5', '"uri":"/b","offset":null,"len":2,"t_submit":6', ""])
    )
    body = ",".join(part for part in (required, text) if part)
    return f"{{{space}{body}{space}}}{space}".encode("utf-8", "surrogatepass")


def edited(line, edits):
    """A line with single bytes replaced, taken out or put in."""
    data = bytearray(line)
    for place, byte, kind in edits:
        at = place % (len(data) + 1)
        if kind == "insert":
            data.insert(at, byte)
        elif at < len(data):
            data[at : at + 1] = b"" if kind == "remove" else bytes([byte])
    return bytes(data)


EDITS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 255), st.sampled_from(["insert", "remove", "replace"])), max_size=3
)
ANY_LINE = st.one_of(
    st.just(GOOD), st.just(FULL), lines(), st.builds(edited, st.sampled_from([GOOD, FULL]), EDITS),
    st.sampled_from([b"", b"  ", b"\r", b'{"tracekit":1}', b'{"mark":"step","t":1}', b'{"end":{"ops":1}}', b"null", b"[]", b"\xff"]),
)  # fmt: skip


@settings(max_examples=600)
@given(st.lists(ANY_LINE, max_size=12), st.sampled_from([b"\n", b"\r\n", b"\n\n"]), st.booleans(), st.sampled_from([40, 150, 1 << 20]), st.booleans())  # fmt: skip
def test_both_readers_agree(tmp_path_factory, parts, between, ended, block, skip_bad):
    """Whatever the lines and however the file is cut into blocks: the same columns, tables, marks, warnings or error."""
    path = tmp_path_factory.getbasetemp() / "both.jsonl"
    assert_same(between.join(parts) + (between if ended else b""), block, path, skip_bad)


@given(st.binary(max_size=300), st.booleans())
def test_both_readers_agree_on_garbage(tmp_path_factory, data, skip_bad):
    """Bytes of any kind are refused by both with the same words."""
    assert_same(data, 64, tmp_path_factory.getbasetemp() / "both.jsonl", skip_bad)


@pytest.mark.parametrize("text", ["é", "日本", "\U0001f600", "a" * 8 + "ÿ", "\x7f" * 9, "", "x" * 7, "x" * 8, "x" * 9])
def test_texts_of_every_width_come_through(tmp_path, text):
    """Names are whole whatever their length and alphabet, and known again when they come a second time."""
    line = f'{{"uri":"{text}","len":1,"t_submit":1,"sample_id":"{text}"}}\n'.encode()
    path = tmp_path / "t.jsonl"
    assert_same(line * 3 + GOOD + b"\n" + line, 1 << 20, path, skip_bad=False)
    assert jsonl.load(str(path), time_unit=1, skip_bad=False)[4].uri == text


@pytest.mark.parametrize(
    "bad",
    [
        b"\xc3",
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf5\x80\x80\x80",
        b"\xe0\x80\x80",
        b"\xf0\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\x80",
    ],
)
def test_what_is_not_utf8_is_refused_alike(tmp_path, bad):
    """Overlong forms, surrogates, cut sequences: the same line is named with the same words."""
    line = b'{"uri":"' + bad + b'","len":1,"t_submit":1}\n'
    assert_same(GOOD + b"\n" + line, 1 << 20, tmp_path / "t.jsonl", skip_bad=False)
    assert_same(GOOD + b"\n" + line, 1 << 20, tmp_path / "t.jsonl", skip_bad=True)


def test_a_million_names_keep_their_codes(tmp_path):
    """The tables grow as they must: many different names, some met by the core first, some by Python."""
    path = tmp_path / "t.jsonl"
    with open(path, "wb") as file:
        for number in range(60_000):
            name = f"/d/\\u0041{number}" if number % 7 == 0 else f"/d/{number % 30_000}"
            file.write(f'{{"uri":"{name}","len":1,"t_submit":{number}}}\n'.encode())
    assert_same(path.read_bytes(), 1 << 20, path, skip_bad=False)


@pytest.mark.long
def test_both_readers_agree_after_forty_thousand_edits(tmp_path):
    """A fuzzer: good traces with random bytes changed, files of a few lines, both readers, no difference."""
    rng = random.Random(20_261_122)
    kinds = ["insert", "remove", "replace"]
    alphabet = b'{}[]",:\\ \t\r\n0123456789.eE-+nultrfas\x00\x1f\x7f\x80\xc3\xff'
    for _ in range(40_000):
        parts = []
        for _ in range(rng.randint(1, 4)):
            edits = [(rng.randint(0, 400), rng.choice(alphabet), rng.choice(kinds)) for _ in range(rng.randint(0, 3))]
            parts.append(edited(rng.choice([GOOD, FULL]), edits))
        assert_same(
            b"\n".join(parts) + b"\n", rng.choice([30, 100, 1 << 20]), tmp_path / "t.jsonl", skip_bad=rng.random() < 0.5
        )


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc here")
def test_the_parser_is_clean_under_sanitizers(repository, tmp_path):
    """Mutated lines in blocks of exact size, under ASan and UBSan: no access outside, no undefined behaviour."""
    native = repository / "tracekit" / "_native"
    driver = tmp_path / "driver"
    build = ["gcc", "-std=c11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    sources = [repository / "tests" / "native" / "parse_driver.c", native / "parse.c", native / "strings.c"]
    subprocess.run([*build, *map(str, sources), "-o", str(driver)], check=True)
    done = subprocess.run([str(driver), "1", "200000"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    taken, refused = map(int, done.stdout.split())
    assert min(taken, refused) > 10_000
