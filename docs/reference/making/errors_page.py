"""The page of everything that messages, reports and JSON outputs name, with cause and way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.criteria import MATRIX_CRITERIA
from making import problems

_HEAD = """\
# Errors and remarks

Every error is one sentence: what is wrong, where, and after a semicolon what to do; its slug stands in brackets at the end. The
library raises the same as exceptions (`tracekit.errors`), with `slug`, `cause` and `way_out`. Verdicts, reports and JSON outputs
carry the other names on this page.

| exit code | means |
|---|---|
| 0 | done; of a check: PASS; of a replay: VALID |
| 1 | FAIL: of a check, of norms that were asked for, of the demonstration |
| 2 | bad input: an argument, a file, a trace that is not valid |
| 3 | INCONCLUSIVE: of a check; of a replay, that the load was not delivered undisturbed |
| 4 | it cannot be run here: unreachable, not permitted, a package is missing |
| 125 | `record` itself failed; otherwise it exits as the program did (126 it cannot be executed, 127 it was not found, 128+n by signal n) |
| 130 | interrupted; what was done is written |
"""


def page() -> str:
    """The page."""
    parts = [
        _HEAD,
        _section("Errors", "The slug in brackets.", "error", problems.ERRORS),
        _section("Findings about a trace", _VALIDITY, "valid", problems.VALIDITY, ("verdict",)),
        _section("What a cache matrix decides", _MATRIX, "matrix", MATRIX_CRITERIA),
        _section("What a replay says of itself", _RUNS, "run", problems.RUNS),
        _section("What a replay warns of", _WARNINGS, "warning", problems.WARNINGS),
        _section("Failed requests for objects", _REQUESTS, "request", problems.REQUESTS),
        _section("How sure a distilled value is", _CONFIDENCES, "distil", problems.CONFIDENCES),
        _section("Findings about a DLIO file", "`level` in `tracekit dlio lint --json`.", "dlio", problems.LEVELS),
    ]
    parts.append(_section("What the doctor looks at", _DOCTOR, "doctor", problems.DOCTOR))
    return "\n".join(parts)


_DOCTOR = "`name` in `tracekit doctor --json`; the cause is that of an outcome that is not `ok`. `way_out` says it for this machine."
_VALIDITY = "They come before every criterion: what is not fit to be judged is not judged. [Criteria](criteria.md) has the criteria."
_RUNS = "`verdict` of the run's statement (`tracekit replay --json`, the trailer's `run`); `reasons` are sentences."
_MATRIX = "The criteria of `harness matrix`; the cause is that of a FAIL. [Compare cache scenarios](../howto/compare-cache-scenarios.md) has the scenarios."
_WARNINGS = "Words of the sentence after `warning:`; the run goes on."
_REQUESTS = "Kinds in a run's statement and in warnings; `err` of an op has the status or errno itself."
_CONFIDENCES = "`confidence` in `tracekit distil --json`, and the first word of the comment beside a value."


def _section(
    title: str, about: str, anchor: str, entries: Mapping[str, Sequence[str]], before: Sequence[str] = ()
) -> str:
    head = ["", *before, "cause", "way out"]
    lines = [f"## {title}\n", f"{about}\n", _row(head), _row(["---"] * len(head))]
    # The word is a target of its own, so that a message can be linked to.
    lines += [_row([_target(anchor, name), *texts]) for name, texts in entries.items()]
    return "\n".join([*lines, ""])


def _target(anchor: str, name: str) -> str:
    identifier = f"{anchor}-{name}".lower().replace(" ", "-").replace(".", "-").strip("/").replace("/", "-")
    return f'<a id="{identifier}"></a>`{name}`'


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
