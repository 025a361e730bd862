"""What the pages about checking say is what the code does."""

import re
import shlex

import pytest

from harness import cli, criteria, validity
from harness.measures import END_SLACK_NS, SHIFT_SLACK_NS
from tracekit import formats
from tracekit.testing import training_trace


@pytest.fixture
def explanation(repository):
    """The page on verdicts."""
    return (repository / "docs/explanation/verdicts.md").read_text()


def test_the_shell_block_runs(repository, capsys):
    """Every command of the how-to's blocks passes on a trace and its copy."""
    trace = training_trace()
    for name in ("train.jsonl", "again.jsonl"):
        formats.save(trace, name)
    blocks = re.findall(
        r"^```sh\n(.*?)^```", (repository / "docs/howto/check-a-run.md").read_text(), re.DOTALL | re.MULTILINE
    )
    for line in "".join(blocks).splitlines():
        program, *words = shlex.split(line)
        assert program == "harness"
        assert cli.main(words) == 0, line
    assert '"verdict": "PASS"' in capsys.readouterr().out


def test_the_options_named_exist(repository, capsys):
    """The page names no option that no verb of `harness` has."""
    text = (repository / "docs/howto/check-a-run.md").read_text()
    known = ""
    for verb in cli.VERBS:
        with pytest.raises(SystemExit):
            cli.main([verb, "--help"])
        known += capsys.readouterr().out
    # Of a golden's program, and of `tracekit run`.
    for option in set(re.findall(r"(--[a-z][a-z-]+)", text)) - {"--make-only", "--as"}:
        assert option in known, option


def test_criteria_named_exist(explanation):
    """Every criterion the page names is in a table, and every validity finding in the code's own list."""
    known = {name for table in criteria.CRITERIA.values() for name in table}
    for name in re.findall(r"`((?:size|order|streams|depth|step|ops|time|arrival)\.[a-z0-9-]+)`", explanation):
        assert name in known, name
    for name in re.findall(r"`(valid\.[a-z]+)`", explanation):
        assert name in str(validity.__doc__), name


def test_numbers_named_are_the_code_s(explanation):
    """Slacks, limits and bands on the page are those in force."""
    assert END_SLACK_NS == 25_000_000
    assert "up to 25 ms late" in explanation
    assert SHIFT_SLACK_NS == {"time.shift-p50": 20_000_000, "time.shift-p99": 100_000_000}
    paired = criteria.PAIRED_CRITERIA
    assert (paired["time.shift-p50"].tolerance, paired["time.shift-p99"].tolerance) == (0.01, 0.05)
    assert (paired["arrival.rate"].tolerance, paired["time.duration"].tolerance) == (0.15, 0.10)
    assert (paired["order.stream"].tolerance, paired["ops.missing"].tolerance) == (0.01, 0.001)
