"""The verdict as JUnit XML: one testcase per criterion, so that a CI server lists them beside the other tests."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from harness.report import rows
from harness.report.rows import Row
from harness.verdict import Outcome, Verdict

# What XML 1.0 has no way to write, not even escaped.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAGS = {Outcome.FAIL: "failure", Outcome.ERROR: "error", Outcome.INCONCLUSIVE: "skipped", Outcome.NA: "skipped"}


def render(verdict: Verdict, *, inconclusive: str = "") -> str:
    """The text of the XML file: the same bytes for the same input, so without times.

    Args:
        verdict: The verdict.
        inconclusive: `fail` makes criteria that could not be decided failures, as it does for the exit status; otherwise
            they are skipped, with what would settle them as the message.
    """
    tags = _TAGS | ({Outcome.INCONCLUSIVE: "failure"} if inconclusive == "fail" else {})
    suite = ET.Element("testsuite", name=_text(f"harness: {rows.heading(verdict)}"))
    _properties(suite, verdict)
    for row in rows.tabulate(verdict).rows:
        _case(suite, row, str(verdict.golden["name"]), tags)
    number = {"tests": len(suite.findall("testcase"))}
    number |= {f"{tag}s": len(suite.findall(f"testcase/{tag}")) for tag in ("failure", "error")}
    number["skipped"] = len(suite.findall("testcase/skipped"))
    suite.attrib.update({name: str(count) for name, count in number.items()})
    suites = ET.Element("testsuites", suite.attrib)
    suites.append(suite)
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def _properties(suite: ET.Element, verdict: Verdict) -> None:
    facts = {
        "verdict": verdict.outcome.value,
        "mode": verdict.mode,
        "golden": str(verdict.golden["name"]),
        "candidates": ", ".join(str(side["name"]) for side in verdict.candidates),
        **{f"note {number}": note for number, note in enumerate(verdict.notes, 1)},
    }
    properties = ET.SubElement(suite, "properties")
    for name, value in facts.items():
        ET.SubElement(properties, "property", name=name, value=_text(value))


def _case(suite: ET.Element, row: Row, golden: str, tags: dict[Outcome, str]) -> None:
    finding = row.finding
    case = ET.SubElement(suite, "testcase", classname=_text(f"{golden}.{finding.klass}"), name=_text(finding.id))
    tag = tags.get(finding.outcome)
    if tag and not finding.gates:
        # It does not count in the verdict, so it must not turn a build red.
        tag = "skipped"
    if tag is None:
        return
    message = _text("; ".join([rows.reason(finding), *finding.notes]))
    told = ET.SubElement(case, tag, message=message)
    if tag != "skipped":
        told.set("type", finding.outcome.value)
        told.text = _text(f"{finding.title}: {row.golden} → {row.measured}, effect {row.effect}, accepted {row.band}")


def _text(text: str) -> str:
    return _UNWRITABLE.sub("�", text)
