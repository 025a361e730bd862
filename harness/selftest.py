"""`harness selftest`: the harness judged by its own rates, golden by golden."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import alarms, calibration, detection
from harness.detection import Cell
from harness.figures import Figures
from harness.score import Tally, by, together
from harness.standard import Standard
from harness.verdict import Outcome
from tracekit import __version__
from tracekit.trace import Trace

# 1: the first published layout.
SELFTEST_VERSION = 1
# What passes more often than that is a blind spot.
BLIND = 0.05
EDGE_PASS = 0.05


@dataclass(frozen=True)
class Subject:
    """A golden to be tested.

    Args:
        name: Its name.
        standard: What it asks for.
        specimens: Traces of its job, to be edited.
        fresh: Figures of runs of its job that it was not made of.
    """

    name: str
    standard: Standard
    specimens: Sequence[Trace] = ()
    fresh: Sequence[Figures] = ()


@dataclass(frozen=True)
class Plan:
    """How much is tried.

    Args:
        checks: True-repeat checks over all goldens.
        moves: Splits of each golden for the calibration.
        seeds: Seeds of each dialled edit of each trace.
        levels: Levels of the dialled edits.
    """

    checks: int = 300
    moves: int = 12
    seeds: Sequence[int] = (1,)
    levels: Sequence[float] = detection.LEVELS


@dataclass
class Report:
    """What was found.

    Args:
        subjects: Name and number of runs of each golden.
        repeats: True repeats by golden: intent and overlap.
        environment: True repeats by golden, three runs, environment criteria.
        fresh: Fresh runs by golden.
        others: By golden and whose runs they are.
        moved: Calibration by golden, criterion and level.
        cells: Edited traces.
    """

    subjects: Mapping[str, int] = field(default_factory=dict)
    repeats: dict[str, Tally] = field(default_factory=dict)
    environment: dict[str, Tally] = field(default_factory=dict)
    fresh: dict[str, Tally] = field(default_factory=dict)
    others: dict[tuple[str, str], Tally] = field(default_factory=dict)
    moved: dict[tuple[str, str, str], Tally] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)

    def group(self, name: str) -> list[Cell]:
        """The cells of a group: dialled, always, unseen or harmless."""
        return [cell for cell in self.cells if cell.group == name]

    def levels(self) -> dict[str, Tally]:
        """The calibration by level."""
        return by({(level,): tally for level, tally in self._by_level()}, 0)

    def _by_level(self) -> Iterator[tuple[str, Tally]]:
        for level in dict.fromkeys(key[2] for key in self.moved):
            yield level, together(tally for key, tally in self.moved.items() if key[2] == level)

    def detected(self, level: float, *, near: bool = True) -> Tally:
        """Dialled edits at a level: FAIL where it failed by the right name, INCONCLUSIVE where it failed by another.

        Args:
            level: How many tolerances.
            near: Those that could be set to the level; false for those whose effect moves in steps and lies above it.
        """
        tally = Tally()
        for cell in self.group("dialled"):
            if cell.level == level and cell.near is near:
                tally.add(
                    cell.outcome if cell.named or cell.outcome is not Outcome.FAIL else Outcome.INCONCLUSIVE,
                    cell.failed,
                )
        return tally

    def blind_spots(self) -> list[dict[str, Any]]:
        """Edits that do not fail: by name, with where and why."""
        spots: dict[tuple[str, str], list[Cell]] = {}
        for cell in self.cells:
            if cell.group != "harmless":
                spots.setdefault((cell.mode, cell.edit), []).append(cell)
        return [_spot(mode, edit, found) for (mode, edit), found in spots.items() if _unseen(found)]

    def targets(self) -> list[tuple[str, bool]]:
        """What is asked of the harness, and whether it holds."""
        return [(title, holds) for title, holds in _targets(self) if holds is not None]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "selftest": SELFTEST_VERSION,
            "made_by": f"harness {__version__}",
            "goldens": dict(self.subjects),
            "true_repeats": _parts(self.repeats),
            "environment": _parts(self.environment),
            "fresh_runs": _parts(self.fresh),
            "other_goldens": [
                {"golden": mine, "runs_of": theirs, **tally.to_json()} for (mine, theirs), tally in self.others.items()
            ],
            "calibration": [
                {"golden": name, "criterion": criterion, "level": float(level), **tally.to_json()}
                for (name, criterion, level), tally in self.moved.items()
            ],
            "levels": {level: tally.to_json() for level, tally in self._by_level()},
            "edits": [cell.to_json() for cell in self.cells],
            "detection": {f"{level:g}": self.detected(level).to_json() for level in sorted(_levels(self))},
            "in_steps": {f"{level:g}": self.detected(level, near=False).to_json() for level in sorted(_levels(self))},
            "blind_spots": self.blind_spots(),
            "targets": [{"target": title, "met": met} for title, met in self.targets()],
        }


def run(
    subjects: Sequence[Subject], plan: Plan, seed: int = 0, say: Callable[[str], None] = lambda _text: None
) -> Report:
    """Try everything.

    Args:
        subjects: The goldens.
        plan: How much.
        seed: Of all that is random.
        say: Told what is being done.
    """
    report = Report({subject.standard.name: len(subject.standard.envelope.runs) for subject in subjects})
    each = -(-plan.checks // max(1, len(subjects)))
    for subject in subjects:
        name, standard = subject.name, subject.standard
        say(f"{name}: true repeats")
        report.repeats[name] = alarms.of_own_runs(standard, each, seed)
        report.environment[name] = alarms.of_environment(standard, each, seed)
        if subject.fresh:
            report.fresh[name] = alarms.of_fresh_runs(standard, subject.fresh)
        say(f"{name}: calibration")
        for (criterion, level), tally in calibration.calibrate(standard, plan.moves, seed).items():
            report.moved[name, criterion, level] = tally
        for number, trace in enumerate(subject.specimens):
            say(f"{name}: edits of trace {number + 1} of {len(subject.specimens)}")
            seeds = [seed + 1000 * number + one for one in plan.seeds]
            report.cells += detection.cells(name, standard, trace, seeds, plan.levels)
    report.others.update(alarms.of_others([subject.standard for subject in subjects]))
    return report


def _levels(report: Report) -> set[float]:
    return {cell.level for cell in report.group("dialled") if cell.level is not None}


def _parts(tallies: Mapping[str, Tally]) -> dict[str, Any]:
    return {"all": together(tallies.values()).to_json(), **{name: tally.to_json() for name, tally in tallies.items()}}


def _unseen(found: Sequence[Cell]) -> bool:
    return sum(cell.outcome is not Outcome.FAIL for cell in found) > BLIND * len(found)


def _spot(mode: str, edit: str, found: Sequence[Cell]) -> dict[str, Any]:
    unseen = [cell for cell in found if cell.outcome is not Outcome.FAIL]
    return {
        "mode": mode,
        "edit": edit,
        "kind": found[0].kind,
        "goldens": sorted({cell.golden for cell in unseen}),
        "not_failed": len(unseen),
        "of": len(found),
        "why": next((cell.why for cell in unseen if cell.why), ""),
    }


def _targets(report: Report) -> Iterator[tuple[str, bool | None]]:
    repeats = together([*report.repeats.values(), *report.fresh.values()])
    yield f"no FAIL in {repeats.trials} true-repeat checks", _no(repeats, Outcome.FAIL)
    environment = together(report.environment.values())
    yield (
        "at most 1 % FAIL with environment criteria",
        environment.share(Outcome.FAIL) <= 0.01 if environment.trials else None,
    )
    levels = dict(report._by_level())
    if "1" in levels:
        yield "at most 1 % FAIL at half the tolerance", levels["0.5"].share(Outcome.FAIL) <= 0.01
        yield "at most 5 % PASS at the edge of the tolerance", levels["1"].share(Outcome.PASS) <= EDGE_PASS
        yield "the same of each golden by itself", max(_at_the_edge(report).values()) <= EDGE_PASS
    for level, least in ((1.5, 0.9), (2.0, 1.0)):
        # What moves in steps lies further out, and is asked no less.
        found = report.detected(level)
        steps = report.detected(level, near=False)
        wanted = "all edits" if least == 1 else f"at least {100 * least:g} % of the edits"
        yield (
            f"{wanted} at {level:g} × tolerance FAIL by name",
            min(each.share(Outcome.FAIL) for each in (found, steps) if each.trials) >= least
            if found.trials or steps.trials
            else None,
        )
    always, harmless = report.group("always"), report.group("harmless")
    yield (
        "shuffled, halved streams, smoothed cadence: always FAIL by name",
        all(cell.named for cell in always) if always else None,
    )
    yield "harmless edits never FAIL", all(cell.outcome is not Outcome.FAIL for cell in harmless) if harmless else None
    others = together(report.others.values())
    yield (
        "every golden's runs FAIL against every other golden",
        others.outcomes[Outcome.FAIL] == others.trials if others.trials else None,
    )


def _at_the_edge(report: Report) -> dict[str, float]:
    """The share of PASS at the edge, by golden."""
    edge: dict[tuple[str, ...], Tally] = {
        (name, criterion): tally for (name, criterion, level), tally in report.moved.items() if level == "1"
    }
    return {name: tally.share(Outcome.PASS) for name, tally in by(edge, 0).items()}


def _no(tally: Tally, outcome: Outcome) -> bool:
    return tally.outcomes[outcome] == 0
