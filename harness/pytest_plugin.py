"""A pytest plugin: `assert_golden(trace, golden)` holds a trace against a golden, and a failing test shows the criteria that failed.

It is loaded wherever tracekit is installed, also in test suites that have nothing to do with it: nothing heavy is imported before a
test asks for the fixture.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.verdict import Verdict
    from tracekit.trace import Trace

    Given = str | os.PathLike[str] | Trace

CHOICES = ("skip", "fail", "ok")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what can be chosen for a whole run."""
    group = parser.getgroup("harness", "I/O traces against goldens (harness)")
    group.addoption(
        "--harness-inconclusive",
        choices=CHOICES,
        default=None,
        help="what assert_golden does when nothing can be decided (default: the ini option, else skip)",
    )
    group.addoption(
        "--harness-reports",
        metavar="DIR",
        default=None,
        help="write an HTML report and a summary of every assert_golden",
    )
    parser.addini(
        "harness_inconclusive", "what assert_golden does when nothing can be decided: skip, fail or ok", default="skip"
    )


@pytest.fixture
def assert_golden(request: pytest.FixtureRequest) -> Callable[..., Verdict]:
    """A function that holds traces against a golden or a recording; see `Asserting.__call__`."""
    return Asserting(request)


class Asserting:
    """What the fixture gives: called as often as a test likes."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._request = request
        self._calls = 0

    def __call__(
        self,
        trace: Given | Sequence[Given],
        golden: Given,
        *,
        mode: str = "auto",
        remap: Sequence[tuple[str, str]] = (),
        inconclusive: str = "",
    ) -> Verdict:
        """Fail the test where the verdict is FAIL or ERROR.

        Args:
            trace: What is judged: a file, a `Trace`, or several of them, which are then runs of one job.
            golden: What it is held against: a golden's name or directory, a recording's file, or a `Trace`.
            mode: `paired`, `repeat` or `auto`.
            remap: (FROM, TO) prefixes of uris where a replay's data lay elsewhere.
            inconclusive: `skip`, `fail` or `ok`; unless given, the command line's choice, or the ini file's.

        Returns:
            The verdict, for those who want to look further.
        """
        chosen = self._chosen(inconclusive)
        verdict = self._judged(trace, golden, mode, remap)
        self._calls += 1
        self._request.node.user_properties.append(("harness", f"{verdict.outcome.value} {verdict.golden['name']}"))
        self._settle(verdict, chosen)
        return verdict

    def _chosen(self, inconclusive: str) -> str:
        config = self._request.config
        chosen = inconclusive or config.getoption("--harness-inconclusive") or config.getini("harness_inconclusive")
        if chosen not in CHOICES:
            raise pytest.UsageError(f"harness_inconclusive is one of {', '.join(CHOICES)}, not {chosen!r}")
        return str(chosen)

    def _judged(self, trace: Any, golden: Any, mode: str, remap: Sequence[tuple[str, str]]) -> Verdict:
        from harness.check import check
        from tracekit.errors import TracekitError

        given = list(trace) if isinstance(trace, (list, tuple)) else [trace]
        try:
            paths = [self._path(one, f"trace{number}") for number, one in enumerate(given, 1)]
            against = self._path(golden, "recording")
            verdict = check(paths, against, mode=mode, remap=remap)
            self._report(verdict, against, paths)
        except TracekitError as error:
            # A golden that is missing, a trace that cannot be read: never a pass, and no traceback of ours.
            pytest.fail(f"harness: {error}", pytrace=False)
        return verdict

    def _path(self, given: Given, name: str) -> str:
        if isinstance(given, (str, os.PathLike)):
            return os.fspath(given)
        from tracekit import formats

        folder: Path = self._request.getfixturevalue("tmp_path")
        path = folder / f"{name}.{self._calls}.jsonl"
        formats.save(given, path)
        return str(path)

    def _report(self, verdict: Verdict, against: str, paths: Sequence[str]) -> None:
        folder = self._request.config.getoption("--harness-reports")
        if not folder:
            return
        from harness.report.outputs import Outputs
        from harness.report.timeline import of_check
        from tracekit.output import make_directory

        place = Path(folder)
        make_directory(place, "name another directory with --harness-reports")
        name = re.sub(r"[^\w.-]+", "-", f"{self._request.node.nodeid}-{self._calls + 1}")
        wanted = Outputs(html=str(place / f"{name}.html"), json=str(place / f"{name}.json"), force=True)
        wanted.write(verdict, lambda: of_check(verdict, against, paths))

    def _settle(self, verdict: Verdict, inconclusive: str) -> None:
        from harness.report.text import unsatisfied
        from harness.verdict import Outcome

        if verdict.outcome is Outcome.PASS:
            return
        if verdict.outcome is not Outcome.INCONCLUSIVE or inconclusive == "fail":
            pytest.fail(unsatisfied(verdict), pytrace=False)
        elif inconclusive == "skip":
            first = next(
                (found for found in verdict.findings if found.gates and found.outcome is Outcome.INCONCLUSIVE), None
            )
            pytest.skip(
                f"INCONCLUSIVE: {first.id}: {first.reason}" if first else "INCONCLUSIVE: nothing could be decided"
            )
