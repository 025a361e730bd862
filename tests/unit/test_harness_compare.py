"""Comparing two sets of runs: effects with intervals from the spread between runs, and never a verdict."""

import json

import pytest

from harness import compare
from harness.cli import main
from harness.envelope import Envelope
from tracekit import formats
from tracekit.testing import training_trace
from tracekit.trace import Op, Trace

JOB = {"files": 256, "batch": 16, "compute_ns": 50_000_000}


def job(seed, **rest):
    """A run of the job."""
    return training_trace(**{**JOB, "seed": seed, **rest})


def runs(seeds, **rest):
    """The envelope of runs."""
    return Envelope.of([job(seed, **rest) for seed in seeds])


def found(a, b, name):
    """One difference."""
    return next(difference for difference in compare.compare(a, b) if difference.criterion.id == name)


def test_equal_jobs_show_no_difference():
    """Two sets of three runs with other seeds: no interval leaves out "no difference", and what varies has an interval."""
    differences = compare.compare(runs(range(3)), runs(range(10, 13)))
    assert [difference.criterion.id for difference in differences if difference.visible] == []
    jump = next(difference for difference in differences if difference.criterion.id == "order.first-touch")
    assert jump.interval[0] < 0 < jump.interval[1]


def test_a_difference_is_a_ratio_with_an_interval():
    """Files half as long again: 1.5 times the bytes, and the interval does not reach 1."""
    difference = found(runs(range(3)), runs(range(3), file_bytes=150_000), "sample.bytes")
    assert difference.effect == pytest.approx(1.5)
    assert difference.visible is True


def test_a_distance_is_beyond_what_a_differs_in_itself():
    """Half the chunk: no request of the one has a counterpart in the other, and A's own runs are 0 apart."""
    difference = found(runs(range(3)), runs(range(3), chunk_bytes=16_384, read_ns=100_000), "size.match")
    assert (difference.a, difference.b, difference.effect) == (0.0, pytest.approx(1.0), pytest.approx(1.0))


def test_the_sides_change_places():
    """B against A is the inverse ratio and the negative difference, as wide as before."""
    a, b = runs(range(3)), runs(range(3), batch=32)
    there, back = found(a, b, "step.ops"), found(b, a, "step.ops")
    assert there.effect * back.effect == pytest.approx(1.0)
    assert found(a, b, "order.first-touch").effect == pytest.approx(-found(b, a, "order.first-touch").effect)


def test_single_runs_have_no_interval_and_it_is_said():
    """One run on each side: effects without intervals; one against three: with the spread of the three."""
    one, three = runs([1]), runs(range(5, 8))
    assert {difference.interval for difference in compare.compare(one, runs([2]))} == {None}
    assert "a single run on each side" in next(compare.remarks(one, runs([2])))
    assert found(one, three, "order.first-touch").interval is not None
    assert any("one side is a single run" in remark for remark in compare.remarks(one, three))


def test_what_one_side_does_not_tell_is_named():
    """Bare requests have no steps: they are left out of the table and named below it."""
    bare = Envelope.of([Trace.of(Op(op.uri, op.offset, op.len, op.t_submit, ret=op.ret) for op in job(1))])
    assert "step.bytes" not in {difference.criterion.id for difference in compare.compare(runs([1]), bare)}
    assert any("step.bytes" in remark for remark in compare.remarks(runs([1]), bare) if "only one side" in remark)


def test_nothing_against_something_is_without_end():
    """Runs that move nothing: the ratio is 0 one way and has no number the other way; JSON says null."""
    full = runs([1])
    empty = Envelope.of(
        [Trace.of([Op("/a", 4096 * i, 4096, 1000 * i, t_complete=1000 * i + 9, ret=0) for i in range(40)])]
    )
    assert found(full, empty, "throughput").effect == 0.0
    assert found(empty, full, "throughput").to_json()["effect"] is None


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A directory with four runs, which is where commands run."""
    for seed in range(4):
        formats.save(job(seed, batch=16 if seed < 3 else 32), tmp_path / f"r{seed}.jsonl")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_compares_and_gives_no_verdict(files, capsys):
    """Status 0 whatever differs, and the words PASS and FAIL do not occur."""
    assert main(["compare", "r0.jsonl", "r3.jsonl"]) == 0
    shown = capsys.readouterr().out
    assert "step.bytes" in shown
    assert "×2" in shown
    assert "PASS" not in shown
    assert "FAIL" not in shown


def test_sets_are_told_apart_by_a_word(files, capsys):
    """`vs` between three runs and one; the JSON names them and has no verdict."""
    assert main(["compare", "r0.jsonl", "r1.jsonl", "r2.jsonl", "vs", "r3.jsonl", "--json", "-"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["compare"], data["a"]["runs"], data["b"]["names"]) == (1, 3, ["r3.jsonl"])
    assert "verdict" not in data
    ops = next(row for row in data["criteria"] if row["id"] == "step.ops")
    assert (ops["effect"], ops["effect_kind"], ops["visible"]) == (2.0, "ratio", True)


def test_the_same_input_gives_the_same_bytes(files):
    """Two runs of the command write the same file."""
    for name in ("one.json", "two.json"):
        assert main(["compare", "r0.jsonl", "r1.jsonl", "vs", "r2.jsonl", "--json", name]) == 0
    assert (files / "one.json").read_bytes() == (files / "two.json").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["r0.jsonl"], "only one side"),
        (["r0.jsonl", "r1.jsonl", "r2.jsonl"], "which belong together"),
        (["r0.jsonl", "vs", "r1.jsonl", "vs", "r2.jsonl"], "2 times"),
        (["vs", "r1.jsonl"], "only one side"),
        (["r0.jsonl", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(files, capsys, words, said):
    """Status 2 and one line that says what is wrong."""
    assert main(["compare", *words]) == 2
    complaint = capsys.readouterr().err
    assert said in complaint
    assert "Traceback" not in complaint


def test_a_golden_can_be_one_side(files, capsys):
    """A shipped golden against a trace: its runs are the one side."""
    assert main(["compare", "torch-like", "vs", "r0.jsonl"]) == 0
    assert "A torch-like (12 runs)" in capsys.readouterr().out
