"""The files a verdict can be written to: their options, whether they can be written, and writing them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tracekit.output import check_output, write_text

if TYPE_CHECKING:
    # Their imports would make --help slow.
    from harness.report.timeline import Timeline
    from harness.verdict import Verdict


@dataclass(frozen=True)
class Outputs:
    """Where a verdict goes beside the terminal; empty is nowhere. `json` may be `-`, standard output."""

    html: str = ""
    json: str = ""
    csv: str = ""
    junit: str = ""
    markdown: str = ""
    github: bool = False
    force: bool = False
    inconclusive: str = ""

    @classmethod
    def of(cls, args: argparse.Namespace) -> Outputs:
        """The outputs of parsed options (see `configure`)."""
        files = {name: str(getattr(args, name, None) or "") for name in ("html", "json", "csv", "junit", "markdown")}
        return cls(**files, github=args.github, force=args.force, inconclusive=getattr(args, "inconclusive", ""))

    def check(self) -> None:
        """Fail now, before anything is judged, if something could not be written at the end.

        Raises:
            OutputExistsError: If a file exists and `force` is false.
            InputError: If a place cannot be written.
            UsageError: If there is no job page to write to.
        """
        from harness.report.csv import check_directory
        from harness.report.markdown import check_job_page

        for path in (self.html, self.json, self.junit, self.markdown):
            if path and path != "-":
                check_output(path, force=self.force)
        if self.csv:
            check_directory(Path(self.csv), force=self.force)
        if self.github:
            check_job_page()

    def write(self, verdict: Verdict, timelines: Callable[[], tuple[Sequence[Timeline], bool]]) -> None:
        """Write all that was asked for.

        Args:
            verdict: The verdict.
            timelines: Makes the traces over time, and says whether the first is the reference's; only a page asks for them.
        """
        from harness.report import csv, json, junit, markdown

        if self.json and self.json != "-":
            write_text(self.json, json.render(verdict), force=self.force)
        if self.csv:
            csv.write(verdict, Path(self.csv), force=self.force)
        if self.junit:
            write_text(self.junit, junit.render(verdict, inconclusive=self.inconclusive), force=self.force)
        if self.markdown:
            write_text(self.markdown, markdown.render(verdict), force=self.force)
        if self.html:
            from harness.report import html

            lines, of_golden = timelines()
            write_text(self.html, html.render(verdict, lines, of_golden=of_golden), force=self.force)
        if self.github:
            markdown.to_job_page(verdict)

    def written(self) -> list[tuple[str, str]]:
        """What is where, for the last lines of a command."""
        named = {
            "report": self.html,
            "summary": self.json,
            "tables": self.csv,
            "JUnit": self.junit,
            "Markdown": self.markdown,
        }
        return [(what, where) for what, where in named.items() if where and where != "-"]


def add_json(options: argparse._ActionsContainer, what: str) -> None:
    """Add `--json [FILE]`, which other verbs take alone: so it may stand here, too."""
    how = f"write {what}; alone, or with -, to standard output instead of the table"
    options.add_argument("--json", metavar="FILE", nargs="?", const="-", help=how)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options, under a heading of their own."""
    reports = parser.add_argument_group("reports")
    reports.add_argument("--html", metavar="FILE", help="write a report with pictures: one page that needs no network")
    add_json(reports, "the summary")
    reports.add_argument("--csv", metavar="DIR", help="write criteria.csv and hist_*.csv")
    reports.add_argument("--junit", metavar="FILE", help="write JUnit XML, a testcase per criterion")
    reports.add_argument("--markdown", metavar="FILE", help="write Markdown for the page of a CI job")
    reports.add_argument(
        "--github",
        action="store_true",
        help="append the Markdown to the page of the GitHub Actions job and print ::error and ::warning lines",
    )
    reports.add_argument("--force", action="store_true", help="replace outputs that exist")
