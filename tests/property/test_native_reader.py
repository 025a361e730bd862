"""The native reader takes and says exactly what the Python reader takes and says, on any input."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
from drivers import sanitized

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


@given(st.binary(max_size=9_000), st.integers(0, 20))
def test_lines_are_counted_as_bytes_counts_them(data, skip):
    """Sixteen bytes at a time or one by one: the newlines of a text, wherever it begins and ends."""
    lanes = data.replace(b"a", b"\n")[skip:]
    assert native_reader("x", skip_bad=False).lines_in(memoryview(lanes + b"\n")) == lanes.count(b"\n") + 1


@pytest.mark.parametrize("length", [15, 16, 255 * 16 - 1, 255 * 16, 255 * 16 + 1, 100_000])
def test_a_text_of_nothing_but_newlines_is_counted(length):
    """No lane of the count runs over, however many newlines lie in it."""
    assert native_reader("x", skip_bad=False).lines_in(memoryview(b"\n" * length)) == length


@pytest.mark.parametrize("digits", range(1, 22))
def test_numbers_of_every_width_are_taken_alike(tmp_path, digits):
    """Up to a word, two words and beyond, at the end of a block or not; too large ones are refused with the same words."""
    rng = random.Random(digits)
    for number in [
        "9" * digits,
        "1" + "0" * (digits - 1),
        "0" * digits,
        *(str(rng.randrange(10**digits)) for _ in range(20)),
    ]:
        for behind in ["", " ", ".0", "e1", "x", "\x00", ":", "/"]:
            line = f'{{"uri":"/a","len":{number}{behind},"t_submit":1}}\n{{"t_submit":{number}{behind},"uri":"/a","len":3}}'
            assert_same(line.encode(), 1 << 20, tmp_path / "t.jsonl", skip_bad=True)


@pytest.mark.parametrize(
    "names", [['a\\"b', "a"], ['a\\"b', 'a"b'], ["\\u0041", "A", "AB", "A"], ["", "a", "", "\\n"], ["a", "a\n", "a"]]
)
def test_a_name_like_the_one_before_is_not_taken_for_it(tmp_path, names):
    """A text that begins as the last one did, is written with an escape, or has what an escape stood for, is looked at."""
    lines = [
        f'{{"uri":"{name}","len":1,"t_submit":1,"err":"{name}","sample_id":"{name}"}}' for name in [*names, *names]
    ]
    assert_same("\n".join(lines).encode(), 1 << 20, tmp_path / "t.jsonl", skip_bad=True)


@given(st.lists(st.permutations(OP_KEYS).map(lambda keys: keys[:12]), min_size=1, max_size=8))
def test_keys_come_in_any_order_and_number(tmp_path_factory, orders):
    """What is guessed from the line before is never believed: columns that begin late, stop or move have the same values."""
    values = {name: '"/a"' if COLUMNS[name].category else str(number + 7) for number, name in enumerate(OP_KEYS)}
    texts = [",".join(f'"{key}":{values[key]}' for key in {**dict.fromkeys(["uri", "len", "t_submit"]), **dict.fromkeys(keys)})
             for keys in orders]  # fmt: skip
    data = "\n".join(f"{{{text}}}" for text in texts).encode()
    assert_same(data, 150, tmp_path_factory.getbasetemp() / "both.jsonl", skip_bad=False)


@pytest.fixture(name="recorded", scope="module")
def recorded_lines(tmp_path_factory):
    """Lines as the recorder writes them: reads, opens, a write, a failure."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "data").write_bytes(bytes(65_536))
    (folder / "program.py").write_text(
        "import os\nfd = os.open('data', os.O_RDONLY)\nfor i in range(6): os.pread(fd, 512, i * 4096)\nos.read(fd, 70_000)\n"
        "open('copy', 'wb').write(b'x' * 99)\nos.stat('data')\nos.close(fd)\n"
        "try: open('gone')\nexcept OSError: pass\n"
    )
    tracekit = [sys.executable, "-m", "tracekit.cli", "record", "-o", "t.jsonl", "--data-root", str(folder), "--"]
    subprocess.run([*tracekit, sys.executable, "program.py"], cwd=folder, check=True, capture_output=True)
    found = (folder / "t.jsonl").read_bytes().splitlines()
    assert sum(b'"op":"read"' in line for line in found) >= 7
    return found


def rewritten(line, rng):
    """A line with its pairs moved, doubled, left out or given another value, and other blanks."""
    pairs = [*json.loads(line).items()]
    for _ in range(rng.randint(0, 2)):
        place = rng.randrange(len(pairs))
        key, value = pairs.pop(place)
        choice = rng.randrange(6)
        if choice == 0:
            pairs.insert(rng.randint(0, len(pairs)), (key, value))
        elif choice == 1:
            pairs += [(key, value)] * 2
        elif choice == 2:
            pairs.insert(place, (key, rng.randrange(10 ** rng.randint(1, 20))))
        elif choice == 3:
            pairs.insert(place, (rng.choice(KEYS), value))
        elif choice == 4:
            pairs.insert(place, (key, "".join(rng.choices('ab"\\\n/é\u2028 ', k=rng.randint(0, 20)))))
        if not pairs:
            break
    comma, colon = rng.choice([(",", ":"), (",", ":"), (", ", ": "), (" ,\t", " :\r")])
    wide = rng.random() < 0.5
    body = comma.join(f"{json.dumps(key)}{colon}{json.dumps(value, ensure_ascii=wide)}" for key, value in pairs)
    return f"{{{body}}}".encode()


@pytest.mark.long
def test_both_readers_agree_after_forty_thousand_edits(tmp_path, recorded):
    """A fuzzer of a minute and more: recorded lines taken apart and put together otherwise, random bytes changed."""
    rng = random.Random(20_261_122)
    kinds = ["insert", "remove", "replace"]
    alphabet = b'{}[]",:\\ \t\r\n0123456789.eE-+nultrfas\x00\x1f\x7f\x80\xc3\xff'
    lines = [GOOD, FULL, *recorded[1:-1]]
    for number in range(40_000):
        parts = [] if number % 16 else [recorded[0]]
        for _ in range(rng.randint(1, 5)):
            line = rng.choice(lines)
            line = rewritten(line, rng) if rng.random() < 0.5 else line
            edits = [(rng.randint(0, 400), rng.choice(alphabet), rng.choice(kinds)) for _ in range(rng.randint(0, 3))]
            parts.append(edited(line, edits) if rng.random() < 0.7 else line)
        parts += [] if number % 16 else [recorded[-1]]
        assert_same(
            b"\n".join(parts) + b"\n" * rng.randint(0, 2), rng.choice([30, 100, 1 << 20]), tmp_path / "t.jsonl",
            skip_bad=rng.random() < 0.5,
        )  # fmt: skip


def test_recorded_lines_rewritten_are_read_alike(tmp_path, recorded):
    """The fuzzer's first five hundred files of rewritten lines, in every run of the tests."""
    rng = random.Random(7)
    for _ in range(500):
        parts = [rewritten(rng.choice(recorded[1:-1]), rng) for _ in range(3)]
        assert_same(b"\n".join(parts), rng.choice([100, 1 << 20]), tmp_path / "t.jsonl", skip_bad=rng.random() < 0.5)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc here")
def test_the_parser_is_clean_under_sanitizers(repository, tmp_path):
    """Mutated lines in blocks of exact size, under ASan and UBSan: no access outside, no undefined behaviour."""
    driver = sanitized(repository, tmp_path / "driver", "parse", ("parse", "scan", "strings"))
    done = subprocess.run([str(driver), "1", "200000"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    taken, refused = map(int, done.stdout.split())
    assert min(taken, refused) > 10_000
