"""Outcomes, criteria and the way from an effect to a decision."""

import pytest

from harness.criteria import CRITERIA, PAIRED_CRITERIA, REPEAT_CRITERIA, explain
from harness.criterion import ENVIRONMENT, Criterion, format_band
from harness.findings import Measured, finding_of, format_value, without
from harness.measures import MEASURES
from harness.verdict import Finding, Outcome, Verdict, exit_code, worst
from tracekit.errors import UnknownNameError


def ratio(**rest):
    """A criterion of ±10 %."""
    return Criterion(
        "x", "intent", "x", "x", "ratio", 0.10, "", high="{effect} too much", low="{effect} too little", **rest
    )


def verdict(*findings):
    """A verdict of these findings."""
    return Verdict("paired", {"name": "g"}, [{"name": "c", "ops": 1}], findings)


def found(outcome, *, gates=True):
    """A finding that ended so."""
    return Finding("x", "intent", "x", outcome, gates=gates)


def test_the_worst_outcome_is_the_verdict():
    """ERROR over FAIL over INCONCLUSIVE over PASS, wherever they stand."""
    assert worst([Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE]) is Outcome.FAIL
    assert worst([Outcome.FAIL, Outcome.ERROR]) is Outcome.ERROR
    assert worst([Outcome.PASS, Outcome.INCONCLUSIVE]) is Outcome.INCONCLUSIVE
    assert worst([Outcome.PASS, Outcome.NA]) is Outcome.PASS


def test_nothing_decided_is_never_a_pass():
    """No criterion, or N/A throughout, is INCONCLUSIVE."""
    assert worst([]) is Outcome.INCONCLUSIVE
    assert worst([Outcome.NA, Outcome.NA]) is Outcome.INCONCLUSIVE
    assert verdict(found(Outcome.PASS, gates=False)).outcome is Outcome.INCONCLUSIVE


def test_what_does_not_gate_does_not_count():
    """A failure that is shown only leaves a pass a pass, and is counted apart."""
    judged = verdict(found(Outcome.PASS), found(Outcome.FAIL, gates=False))
    assert judged.outcome is Outcome.PASS
    assert judged.failed == []
    assert judged.counts()["report-only"] == 1


@pytest.mark.parametrize(
    ("outcome", "code"), [(Outcome.PASS, 0), (Outcome.FAIL, 1), (Outcome.ERROR, 2), (Outcome.INCONCLUSIVE, 3)]
)
def test_exit_codes_are_the_documented_ones(outcome, code):
    """Every verdict has its own exit status."""
    assert exit_code(outcome) == code


def test_inconclusive_can_be_made_to_pass_or_to_fail():
    """--inconclusive ok|fail changes that one status and no other."""
    assert exit_code(Outcome.INCONCLUSIVE, inconclusive="ok") == 0
    assert exit_code(Outcome.INCONCLUSIVE, inconclusive="fail") == 1
    assert exit_code(Outcome.FAIL, inconclusive="ok") == 1


def test_an_interval_inside_passes_outside_fails_and_across_decides_nothing():
    """The band of ±10 % and intervals of 5 % around 1.0, 1.3 and 1.1."""
    assert ratio().decide(1.0, 0.05, 0.05) is Outcome.PASS
    assert ratio().decide(1.3, 0.05, 0.05) is Outcome.FAIL
    assert ratio().decide(1.1, 0.05, 0.05) is Outcome.INCONCLUSIVE


def test_the_edge_of_the_band_is_too_near_to_pass():
    """9.4 % more passes ±10 %, 9.6 to 10 % is open, anything beyond fails."""
    assert ratio().decide(1.094) is Outcome.PASS
    assert ratio().decide(0.906) is Outcome.PASS
    assert [ratio().decide(effect) for effect in (1.096, 1.1, 0.904, 0.9)] == [Outcome.INCONCLUSIVE] * 4
    assert ratio().decide(1.1001) is Outcome.FAIL
    assert ratio().decide(0.8999) is Outcome.FAIL


def test_a_wider_interval_for_failing_keeps_a_close_call_open():
    """Out of band by the 95 % interval, not by the 99.9 % one."""
    assert ratio().decide(1.2, 0.02, 0.15) is Outcome.INCONCLUSIVE


def test_one_sided_criteria_accept_the_harmless_side():
    """`upper` accepts any less, `lower` any more."""
    assert ratio(direction="upper").decide(0.1) is Outcome.PASS
    assert ratio(direction="lower").decide(9.0) is Outcome.PASS
    assert ratio(direction="upper").decide(1.2) is Outcome.FAIL
    assert ratio(direction="lower").decide(0.5) is Outcome.FAIL


def test_a_ratio_to_nothing_is_one_only_for_nothing():
    """0 against 0 is equal, something against 0 is infinitely more."""
    assert ratio().effect(0.0, 0.0) == 1.0
    assert ratio().decide(ratio().effect(0.0, 5.0)) is Outcome.FAIL
    assert ratio().effect(None, 5.0) is None


def test_the_sentence_names_the_side():
    """Too much and too little read differently, with the effect in them."""
    high = finding_of(ratio(), Measured(10.0, 20.0), 100, gates=True)
    low = finding_of(ratio(), Measured(10.0, 5.0), 100, gates=True)
    assert (high.reason, low.reason) == ("×2 too much", "×0.5 too little")


def test_too_few_ops_are_not_judged():
    """Below its minimum a criterion is N/A and says how many it needs."""
    finding = finding_of(ratio(minimum=50), Measured(1.0, 1.0), 49, gates=True)
    assert finding.outcome is Outcome.NA
    assert "50" in finding.reason


def test_a_finding_that_cannot_be_made_says_why():
    """N/A carries the reason, and no value."""
    finding = without(ratio(), "no clock")
    assert (finding.outcome, finding.reason, finding.measured) == (Outcome.NA, "no clock", None)


def test_every_criterion_is_complete():
    """Each can be explained, has a band and a sentence for every side of it, and the paired ones a measure."""
    for mode, table in CRITERIA.items():
        for name, criterion in table.items():
            lower, upper = criterion.band
            assert name == criterion.id
            assert criterion.klass in {"intent", "overlap", "environment"}
            assert criterion.why, name
            assert upper is None or criterion.high, name
            assert lower is None or criterion.low, name
            assert mode in explain(name)
            assert format_band(criterion.kind, criterion.band, criterion.unit)
    assert set(MEASURES) == set(PAIRED_CRITERIA)


def test_sentences_can_be_filled_in():
    """No text of the tables has a placeholder that nothing fills."""
    for criterion in (*PAIRED_CRITERIA.values(), *REPEAT_CRITERIA.values()):
        for effect in (-1e9, 1e9):
            assert "{" not in criterion.sentence(effect, "1", "2")


def test_environment_never_gates_in_paired_mode():
    """How the machine answered one replay is shown only."""
    gates = {criterion.gate for criterion in PAIRED_CRITERIA.values() if criterion.klass == ENVIRONMENT}
    assert gates == {"never"}


def test_an_unknown_criterion_proposes_the_nearest():
    """`--explain size.matsh` asks whether size.match was meant."""
    with pytest.raises(UnknownNameError, match=r"did you mean 'size\.match'"):
        explain("size.matsh")


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "ns", "–"),
        (2048, "bytes", "2 KiB"),
        (2e6, "ns", "2 ms"),
        (0.25, "share", "25 %"),
        (3.0, "", "3"),
        (2e6, "B/s", "2 MB/s"),
    ],
)
def test_values_are_scaled_for_people(value, unit, text):
    """Base units inside, scaled when shown, a dash for what is not known."""
    assert format_value(value, unit) == text
