"""What the harness writes and says beside the verdict: columns, explanations, tables, lists."""

import json
import math

import pytest

from harness import cli, validity
from harness.criteria import CRITERIA, explain
from harness.envelope import Envelope
from harness.figures import Figures, Table
from harness.findings import format_value
from harness.paired import judge
from harness.repeat import judge as judge_repeat
from harness.report import csv, text
from harness.standard import Standard
from tracekit.errors import InputError
from tracekit.testing import training_trace
from tracekit.trace import Header, Op, Trace, Trailer


@pytest.fixture(scope="module")
def trace():
    """A small job."""
    return training_trace(files=32, batch=8)


def test_columns_are_named_for_what_they_hold(trace):
    """Paired: recording and replay. Repeat: golden and measured."""
    paired = text.render(judge(trace, trace, names=("a", "b")))
    assert "recording" in paired.splitlines()[2]
    assert "replay" in paired.splitlines()[2]
    assert "golden" not in paired.splitlines()[2]
    repeat = text.render(judge_repeat(Standard("job", Envelope.of([trace])), [trace], ["b"]))
    assert "golden" in repeat.splitlines()[2]
    assert "measured" in repeat.splitlines()[2]


@pytest.mark.parametrize("name", sorted({name for table in CRITERIA.values() for name in table}))
def test_explanations_assume_what_their_mode_does(name):
    """Only repeat mode estimates from runs; paired mode counts, and a criterion's own assumption comes first."""
    for paragraph in explain(name).split("\n\n"):
        if "(paired mode" in paragraph:
            assert "runs are independent" not in paragraph
        assert "1 ops" not in paragraph
        assert "  assumes     \n" not in paragraph


@pytest.mark.parametrize(
    ("value", "shown"), [(1_281_167.0, "1281167"), (2.4375, "2.438"), (0.0, "0"), (12_345.6, "12346")]
)
def test_counts_are_shown_in_digits(value, shown):
    """A million files are a million files, not 1.281e+06."""
    assert format_value(value, "files") == shown


@pytest.mark.parametrize(
    "damage", [{"values": [1.5], "counts": [1]}, {"values": [1], "counts": [2**70]}, {"values": [-1], "counts": [1]}]
)
def test_tables_hold_whole_numbers(damage):
    """A fraction, a number that does not fit and a negative size are damage, not rounded away."""
    with pytest.raises(ValueError, match="whole numbers"):
        Table.from_json(damage)


def test_a_golden_with_an_infinite_figure_is_damaged(trace):
    """An infinite throughput is no reference."""
    data = Envelope.of([trace]).to_json()
    data["runs"][0]["scalars"]["throughput"] = math.inf
    with pytest.raises(InputError, match="finite"):
        Envelope.from_json(data, "x")


def test_a_directory_that_cannot_be_written_is_known_before_anything_is_judged(tmp_path):
    """The place for tables is tried at once, and nothing is left there by trying."""
    csv.check_directory(tmp_path / "new" / "deep", force=False)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="cannot be written"):
        csv.check_directory(tmp_path.__class__("/proc/nowhere"), force=False)


def test_goldens_are_listed_as_json_too(capsys):
    """One object per golden, with what the table shows."""
    assert cli.main(["list", "--json"]) == 0
    listed = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert {"torch-like", "jax-like"} <= listed.keys()
    assert all(each["runs"] >= 5 for each in listed.values())


def test_showing_a_golden_is_short_about_its_commands_and_plain_about_sizes(capsys):
    """Commands that differ in their seed are one line, and memory is in GiB."""
    assert cli.main(["show", "torch-like"]) == 0
    out = capsys.readouterr().out
    assert "more that differ from it)" in out
    assert "memory_bytes" not in out
    assert "GiB" in out


def test_figures_know_failing_ops(trace):
    """No read fails in the job: the share is 0, not unknown."""
    assert Figures.of(trace).scalars["ops.errors"] == 0.0


def test_a_replay_of_something_else_is_said_to_be_one(trace):
    """The header names what was replayed; another name, or another number of ops, is a note."""

    def notes(**options):
        header = Header(producer={"verb": "replay", "options": options})
        replay = Trace(trace.columns, trace.tables, [], header, Trailer(ops=len(trace)))
        return judge(trace, replay, names=("dir/train.jsonl", "again.jsonl")).notes

    assert list(notes(source="elsewhere/train.jsonl", source_ops=len(trace))) == []
    assert list(notes(source="other.jsonl", source_ops=len(trace))) == ["again.jsonl says that it replays other.jsonl"]
    assert "with 7 ops, which is not dir/train.jsonl" in notes(source="train.jsonl", source_ops=7)[0]


def test_counts_and_their_nouns_agree():
    """One op completes before it begins, two complete before they begin."""
    one = Trace.of(
        [
            Op("file:///a", 0, 1, 100, t_complete=50),
            *(Op("file:///a", 0, 1, 200 + n, t_complete=201 + n) for n in range(12)),
        ]
    )
    (finding,) = validity.problems(one, "it.jsonl")
    assert finding.reason.startswith("in it.jsonl 1 op completes before it begins")
    (finding,) = validity.problems(Trace.of([Op("file:///a", 0, 1, 0)]), "it.jsonl")
    assert "holds 1 read or write;" in finding.reason
