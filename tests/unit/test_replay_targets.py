"""The benchmark's own check: a target that was missed or not measured is not met."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
import replay_targets
from replay_targets import TARGETS, Target, report

TABLES = {
    "20000 ops/s, 1 streams": {"native": {"late p99": 29.0, "makespan %": -0.2}, "fio psync": {"late p99": 9e4, "kops/s": 5.0}},
    "20000 ops/s, 8 streams": {"native": {"late p99": 50.0, "kops/s": 6.0}, "fio uring": {"kops/s": 4.0}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("target", "values", "met"),
    [
        (Target("ops/s", "native", "late p99", 50), [29.0, 50.0], True),
        (Target("ops/s", "native", "late p99", 49.9), [29.0, 50.0], False),
        (Target("8 streams", "native", "late p99", 49.9), [50.0], False),
        (Target("ops/s", "native", "makespan %", 0.05), [0.2], False),
        (Target("8 streams", "native", "kops/s", least=1.5, of="fio"), [1.5], True),
        (Target("8 streams", "native", "kops/s", least=1.6, of="fio"), [1.5], False),
        (Target("8 streams", "native", "kops/s", least=1.5, of="nobody"), [], False),
        (Target("think", "native", "late p99", 50), [], False),
    ],
)
def test_a_target_is_met_where_all_its_values_are(
    target: Target, values: list[float], met: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the sign, in every table that its pattern names; without a value it is not."""
    assert [value for _, value in target.values(TABLES)] == values
    assert report(TABLES, [target]) == met
    assert ("not measured" in capsys.readouterr().out) == (not values)


def test_nothing_measured_meets_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Every line of the issue is asked for, and missed when it is not there."""
    assert not report({})
    assert capsys.readouterr().out.count("MISSED") == len(TARGETS)


def test_the_figures_asked_for_are_those_that_are_made() -> None:
    """A name that the benchmark does not write would never be met."""
    made = (Path(replay_targets.__file__).with_name("bench_replay_native.py")).read_text()
    for target in TARGETS:
        words = target.figure.replace(" alone 0.99", "").replace(" %", "").split(" p")[0]
        assert words in made, target
