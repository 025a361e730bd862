"""Workload files as trees with lines, scalars as OmegaConf reads them, overrides as Hydra has them."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracekit.errors import InputError, UsageError
from tracekit.workload.dlio import document, overrides

SCALARS = [
    "1e6", "1.5e6", "1E6", "1e-3", "off", "on", "yes", "y", "n", "No", "0x10", "010", "0o10", "1_000", "1:30", "1:30.5", ".5",
    "+.5", "5.", "-1", "+5", "~", "null", "Null", "114660.07", "1e", "inf", ".inf", "-.inf", ".nan", "2021-01-01", "1.", "1.e3",
    "1_0.5", ".5e3", ".5e+3", "0b11", "08", "0.1e-5", "TRUE", "'off'", '"1e6"', "-0", "00", "1__0", "0x_1",
]  # fmt: skip


def same(left, right):
    """Whether two values are equal and of one type; nan is itself."""
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return type(left) is type(right) and left == right


def read(text):
    """The tree of a text."""
    return document.parse(text, "w.yaml")


@pytest.mark.parametrize("scalar", SCALARS)
def test_a_scalar_is_what_omegaconf_makes_of_it(scalar):
    """Numbers, booleans and dates are read by OmegaConf's rules, not by PyYAML's."""
    omegaconf = pytest.importorskip("omegaconf")
    theirs = omegaconf.OmegaConf.create(f"a: {scalar}")["a"]
    assert same(read(f"a: {scalar}").value["a"].value, theirs)


@given(st.text(alphabet="0123456789.eE+-_xob:", min_size=1, max_size=8))
def test_number_like_text_is_what_omegaconf_makes_of_it(scalar):
    """Whatever looks like a number is the same number, or the same text, or refused by both."""
    omegaconf = pytest.importorskip("omegaconf")
    try:
        theirs = omegaconf.OmegaConf.create(f"a: {scalar}")
        theirs = theirs["a"] if isinstance(theirs, omegaconf.DictConfig) and list(theirs) == ["a"] else ...
    except Exception:
        theirs = ...
    try:
        tree = read(f"a: {scalar}")
        ours = tree.value["a"].value if list(tree.value) == ["a"] else ...
    except InputError:
        ours = ...
    if ours is not ... and theirs is not ... and not isinstance(ours, (dict, list)):
        assert same(ours, theirs)
    else:
        assert ours is ... or theirs is ... or ours == theirs or isinstance(ours, (dict, list))


def test_every_value_knows_its_line():
    """A node says where its key stands, also below other keys."""
    tree = read("a: 1\nb:\n  c: x\n\n  d: [1, 2]\n")
    places = {".".join(path): node.place for path, node in document.walk(tree)}
    assert places == {"a": "w.yaml:1", "b": "w.yaml:2", "b.c": "w.yaml:3", "b.d": "w.yaml:5"}


def test_what_stands_below_workload_is_the_workload():
    """A file that holds everything below `workload`, as Hydra composes it, is the same file."""
    assert read("workload:\n  train: {epochs: 2}\n").plain() == {"train": {"epochs": 2}}


def test_references_are_replaced():
    """`${section.key}` is the value there, whole or inside of text; one that nobody answers stays until it is asked for."""
    tree = read("a: {n: 8, f: 'd/${a.n}'}\nb: {n: '${workload.a.n}', k: '${NOWHERE}'}\n")
    assert tree.plain() == {"a": {"n": 8, "f": "d/8"}, "b": {"n": 8, "k": "${NOWHERE}"}}


def test_references_in_a_circle_end():
    """Two keys that name each other stay references, and nobody waits for them."""
    assert all(value.startswith("${") for value in read("a: '${b}'\nb: '${a}'\n").plain().values())


def test_references_that_grow_without_end_stay_as_they_are():
    """Forty keys of which each holds the next one twice would be a text of 2^40 letters."""
    lines = [f"k{i}: '${{k{i + 1}}}${{k{i + 1}}}'" for i in range(39)]
    assert len(read("\n".join([*lines, "k39: xx"])).plain()["k0"]) < 1 << 20


BAD = [
    ("a: [1\n", "w.yaml:2"),
    ("a: 1\na: 2\n", "w.yaml:2: a is there twice, first in line 1"),
    ("- 1\n", "w.yaml:1: the top of a workload file is a mapping"),
    ("", "w.yaml is empty"),
    ("just words\n", "w.yaml:1: the top"),
    ("a: !!python/object:os.system x\n", "cannot be read as"),
    ("? [1]\n: 2\n", "w.yaml:1: keys are words"),
    ("a: \x00\n", "is not YAML"),
    ("a: &x {b: 1}\n<<: *x\n", "keys are words"),
    ("a: " + "[" * 5000, "nested deeper than a workload can be"),
]


@pytest.mark.parametrize(("text", "sentence"), BAD)
def test_bad_yaml_is_one_sentence_with_its_line(text, sentence):
    """What is no workload file is named with its place, never with a traceback."""
    with pytest.raises(InputError, match=None) as caught:
        read(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_aliases_that_unfold_without_end_are_refused():
    """Ten levels of ten aliases each are ten thousand million values: refused at once."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(InputError, match="more values than a workload can have"):
        read("\n".join(lines))


def test_a_missing_file_and_one_that_is_too_large_are_named(tmp_path):
    """Neither is read any further."""
    with pytest.raises(InputError, match="cannot be read: No such file"):
        document.read(str(tmp_path / "no.yaml"))
    (tmp_path / "large.yaml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(InputError, match="larger than 1 MiB"):
        document.read(str(tmp_path / "large.yaml"))


VALUES = [
    "8", "-1", "010", "1e6", "1.5", ".5", "5.", "true", "False", "off", "null", "NULL", "abc", "a/b", "'8'", '"a b"', "[1,2]",
    "[]", "[a, 'b', 1.5]", "{a:1,b:x}", "{type:normal,mean:0.1}", "1_000", "inf", "nan", "s3://bucket/key", "file:///data",
    "+3", "1e-3", "[[1,2],[3]]", "{a:[1,2]}", "0", "-0.0", "'it\\'s'", "a.b-c_d", "0x10",
]  # fmt: skip


@pytest.mark.parametrize("text", VALUES)
def test_the_value_of_an_override_is_what_hydra_makes_of_it(text):
    """Hydra's own parser gives the same value."""
    pytest.importorskip("hydra")
    from hydra.core.override_parser.overrides_parser import OverridesParser

    theirs = OverridesParser.create().parse_override(f"++k={text}").value()
    assert same(overrides.value_of(text), plain(theirs))


def plain(value):
    """A value of Hydra's without its classes for quoted text."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return getattr(value, "text", value)


def changed(*words):
    """A small file with overrides carried out."""
    return overrides.apply(read("train: {epochs: 2, seed: 1}\nreader: {batch_size: 4}\n"), words).plain()


def test_overrides_set_add_change_and_remove():
    """The four forms do what Hydra's do, with `workload.` in front or without."""
    assert changed("++workload.train.epochs=5")["train"] == {"epochs": 5, "seed": 1}
    assert changed("train.epochs=6")["train"]["epochs"] == 6
    assert changed("+workload.dataset.num_files_train=3")["dataset"] == {"num_files_train": 3}
    assert changed("~workload.train.seed")["train"] == {"epochs": 2}
    assert changed("++train.epochs=1", "++train.epochs=9")["train"]["epochs"] == 9


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("train.epoch=5", "is not in the file; write ++train.epoch=… to set it anyway"),
        ("+train.epochs=5", "is in the file already"),
        ("~train.nothing", "is not in the file"),
        ("--epochs", "is not an override"),
        ("++train.epochs", "is not an override"),
        ("++train.epochs=[1,2", "lacks a ','"),
        ("++train.epochs='1", "has a quote without its partner"),
        ("++train.epochs=[1]x", "is not a value"),
    ],
)
def test_an_override_that_is_none_is_named(word, sentence):
    """Each wrong form is one sentence that says how to write it."""
    with pytest.raises(UsageError) as caught:
        changed(word)
    assert sentence in str(caught.value)


def test_what_comes_from_the_command_line_says_so():
    """A value that was set has no line, and names the command line as its place."""
    tree = overrides.apply(read("train: {epochs: 2}\n"), ["++train.epochs=x"])
    assert tree.value["train"].value["epochs"].place == "the command line"


@settings(max_examples=60)
@given(st.text(max_size=30))
def test_no_text_ends_in_a_traceback(text):
    """Any text after `=` is a value or a usage error."""
    said = ""
    try:
        overrides.value_of(text)
    except UsageError as error:
        said = str(error)
    assert "\n" not in said
