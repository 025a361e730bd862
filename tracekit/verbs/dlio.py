"""`tracekit dlio`: look through a DLIO workload file, show what it becomes here, write it for another version."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tracekit import console
from tracekit.errors import EXIT_INPUT, EXIT_PASS

if TYPE_CHECKING:
    from tracekit.workload.dlio.settings import Settings
    from tracekit.workload.dlio.sizing import Sizing
    from tracekit.workload.job import Job

_DESCRIPTION = """\
Work with workload files of DLIO and MLPerf Storage, in the names of DLIO 2.0.0, of 3.x, or of dl-driver. `lint` says with file and
line what is wrong, what may not be what was meant, and which keys do nothing here and why; then it shows the arithmetic: how much
data, how many steps, how fast it has to come. `export` writes the file again for DLIO 2.0.0 or 3.x. Values can be set as on
Hydra's command line. FILE is a path, or the name of a workload that comes with tracekit.
"""
_EPILOG = """\
examples:
  tracekit dlio lint unet3d                                   one that comes with tracekit
  tracekit dlio lint my.yaml ++workload.reader.batch_size=4   with a value set
  tracekit dlio lint my.yaml --json                           findings and arithmetic as JSON
  tracekit dlio lint my.yaml --to-json                        the job it becomes
  tracekit dlio export my.yaml --for 2.0.0 -o old.yaml        the same for DLIO 2.0.0
"""
_LINT = """\
Say with file and line what is wrong with a workload file, what may not be what was meant, and which keys do nothing here and why;
then show the arithmetic: how much data, how many steps, how fast it has to come. Values can be set as on Hydra's command line.
"""
_LINT_EPILOG = """\
examples:
  tracekit dlio lint unet3d                                   one that comes with tracekit
  tracekit dlio lint my.yaml ++workload.reader.batch_size=4   with a value set
  tracekit dlio lint my.yaml --json                           findings and arithmetic as JSON
  tracekit dlio lint my.yaml --to-json                        the job it becomes
  tracekit dlio lint my.yaml --strict                         in a CI job: warnings are errors

exit codes: 0 it can be run, 2 it has errors, or is no workload file
"""
_EXPORT = """\
Write a workload file again in the names of DLIO 2.0.0 or 3.x, with the values that are set on the command line.
"""
_EXPORT_EPILOG = """\
examples:
  tracekit dlio export my.yaml --for 2.0.0 -o old.yaml        for DLIO 2.0.0
  tracekit dlio export unet3d ++workload.reader.batch_size=4 -o unet3d.yaml

exit codes: 0 done, 2 the file has errors, or the output exists
"""
_STYLES = {"error": "bad", "warning": "warn", "note": "dim"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add description and options."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    actions = parser.add_subparsers(dest="action", metavar="lint|export", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    lint = actions.add_parser(
        "lint",
        help="say what is wrong with a workload file",
        description=_LINT,
        epilog=_LINT_EPILOG,
        formatter_class=raw,
    )
    export = actions.add_parser(
        "export",
        help="write it for a version of DLIO",
        description=_EXPORT,
        epilog=_EXPORT_EPILOG,
        formatter_class=raw,
    )
    for command in (lint, export):
        command.add_argument(
            "file", metavar="FILE", help="a workload file, or the name of one that comes with tracekit"
        )
        command.add_argument(
            "overrides", metavar="++workload.KEY=VALUE", nargs="*", help="set, add (+) or remove (~) a value"
        )
    form = lint.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="findings and arithmetic as one JSON object")
    form.add_argument("--to-json", action="store_true", help="the job that the file becomes, as one JSON object")
    lint.add_argument("--ranks", type=int, default=1, metavar="N", help="accelerators that share the data (default 1)")
    lint.add_argument("--strict", action="store_true", help="take warnings for errors")
    export.add_argument("--for", dest="dialect", default="3.x", metavar="VERSION", help="2.0.0 or 3.x (the default)")
    export.add_argument("-o", "--output", metavar="FILE", help="the file to write (default: standard output)")
    export.add_argument("--force", action="store_true", help="replace the output where it exists")


def run(args: argparse.Namespace) -> int:
    """Lint or export; exit 0, or 2 where the file has errors.

    Raises:
        TracekitError: If the file is no workload, or an argument is wrong.
    """
    return _lint(args) if args.action == "lint" else _export(args)


def _lint(args: argparse.Namespace) -> int:
    from tracekit.errors import UsageError
    from tracekit.workload.dlio import checks, shipped
    from tracekit.workload.dlio.findings import ERROR, WARNING, refuse
    from tracekit.workload.dlio.settings import read
    from tracekit.workload.dlio.sizing import sizing
    from tracekit.workload.dlio.translate import translated

    if args.ranks < 1:
        raise UsageError(f"--ranks is {args.ranks}", "write 1 or more")
    settings = read(shipped.path_of(args.file), args.overrides)
    checks.check(settings)
    job = None if settings.findings.of(ERROR) else translated(settings)
    if settings.findings.of(ERROR):
        job = None
    figures = sizing(job, args.ranks) if job else None
    if args.to_json:
        refuse(settings.findings)
        console.show(json.dumps(_as_json(job), indent=1, ensure_ascii=False))
    elif args.json:
        console.show(json.dumps(_findings_json(settings, figures), indent=1, ensure_ascii=False))
    else:
        _show(args, settings, figures)
    wrong = settings.findings.of(ERROR) + (settings.findings.of(WARNING) if args.strict else [])
    return EXIT_INPUT if wrong else EXIT_PASS


def _export(args: argparse.Namespace) -> int:
    from tracekit.output import write_text
    from tracekit.workload.dlio import export, shipped
    from tracekit.workload.dlio.translate import load

    path = shipped.path_of(args.file)
    _, settings = load(path, args.overrides)
    text, left_out = export.text(export.of_settings(settings), args.dialect)
    for key in left_out:
        console.say(f"left out: {key} is not in DLIO {args.dialect}")
    if args.output:
        write_text(args.output, text, force=args.force)
        console.say(f"next: tracekit dlio lint {shlex.quote(args.output)}")
    else:
        console.show(text.rstrip("\n"))
    return EXIT_PASS


def _findings_json(settings: Settings, figures: Sizing | None) -> dict[str, Any]:
    return {
        "dlio_lint": 1,
        "file": settings.source,
        "dialect": settings.dialect,
        "findings": [finding.to_json() for finding in settings.findings],
        "sizing": figures.to_json() if figures else None,
    }


def _as_json(job: Job | None) -> dict[str, Any]:
    return {"job": 1, **asdict(job)} if job else {}


def _show(args: argparse.Namespace, settings: Settings, figures: Sizing | None) -> None:
    from tracekit.units import counted

    for level, style in _STYLES.items():
        for finding in settings.findings.of(level):
            console.show(f"{console.paint(level, style)}: {finding}")
    counts = [counted(len(settings.findings.of(level)), level) for level in _STYLES]
    console.show(
        f"{settings.source}: DLIO {settings.dialect}, {', '.join(counts)}"
        if settings.dialect != "dl-driver"
        else f"{settings.source}: dl-driver, {', '.join(counts)}"
    )
    if figures:
        console.show(figures.text())
        # A shell would take braces and stars apart.
        words = " ".join(shlex.quote(word) for word in (args.file, *args.overrides))
        console.say(f"next: tracekit {'generate' if figures.trains else 'checkpoint'} {words}")
