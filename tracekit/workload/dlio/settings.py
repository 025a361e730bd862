"""The values of a workload file under 3.x's names, each held to what its key may hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tracekit.errors import nearest
from tracekit.workload.distribution import POSITIVE
from tracekit.workload.dlio import document, overrides
from tracekit.workload.dlio.dialects import Canonical, canonical
from tracekit.workload.dlio.document import Node
from tracekit.workload.dlio.findings import ERROR, NOTE, WARNING, Findings
from tracekit.workload.dlio.schema import FREE, KEYS, Key, is_section

_LARGEST = 1 << 62
_SECTIONS = "write sections with keys, as in dataset, reader and train, or set values with ++workload.KEY=VALUE"


@dataclass(frozen=True)
class Settings:
    """One workload.

    Args:
        source: The file.
        dialect: What it is written in.
        given: The nodes of the file by 3.x's path.
        values: The values that could be read, by path.
        spelled: How keys were spelled where it was not 3.x's way.
        findings: What there is to say.
        extra: dl-driver's own sections as they are.
    """

    source: str
    dialect: str
    given: dict[str, Node]
    values: dict[str, Any]
    spelled: dict[str, str]
    findings: Findings
    extra: dict[str, Node]

    def __getitem__(self, path: str) -> Any:
        """The value, or DLIO's default."""
        return self.values.get(path, KEYS[path].default)

    def name(self, path: str) -> str:
        """The key as the file spells it."""
        return self.spelled.get(path, path)

    def add(self, level: str, path: str, problem: str, way_out: str = "") -> None:
        """A remark about a key, at the place it stands; at the file where it does not."""
        node = self.given.get(path) or Node(None, 0, source=self.source)
        self.findings.add(level, self.name(path), node, problem, way_out)


def read(path: str, words: Sequence[str] = ()) -> Settings:
    """The settings of a file with overrides carried out; what is wrong with them is in `findings`.

    Raises:
        InputError: If the file is not YAML, or no mapping.
        UsageError: If an override is none.
    """
    return of(canonical(overrides.apply(document.read(path), words)), path)


def of(file: Canonical, source: str) -> Settings:
    """The settings of a file in 3.x's spelling."""
    findings, values, given = Findings(), {}, {}
    extra = {name: node for name, node in file.tree.value.items() if name in FREE}
    for path, shown, node in file.clashes:
        findings.add(ERROR, shown, node, f"says again what {file.spelled.get(path, path)} says", "keep one of the two")
    reader = _Reader(file.spelled, findings)
    for path, node in _leaves(file.tree):
        key = KEYS.get(path)
        if key is None:
            reader.unknown(path, node)
            continue
        given[path] = node
        if node.value is None:
            continue  # ~: DLIO's default
        if key.inert:
            findings.add(NOTE, file.spelled.get(path, path), node, f"does nothing here: {key.inert}")
        if not (key.inert and isinstance(node.value, str) and "${" in node.value):
            value = reader.value(key, node)
            if value is not None:
                values[path] = value
    if not given and not findings and not any(node.value and isinstance(node.value, dict) for node in extra.values()):
        # DLIO's defaults are a workload, which nobody who wrote such a file means.
        findings.add(
            ERROR, "", replace(file.tree, line=file.tree.line or 1), "there is nothing of a workload in it", _SECTIONS
        )
    return Settings(source, file.dialect, given, values, file.spelled, findings, extra)


def _leaves(tree: Node) -> list[tuple[str, Node]]:
    """Keys with their nodes; maps that are one key's value stay whole."""
    found: list[tuple[str, Node]] = []

    def visit(node: Node, path: str) -> None:
        for name, child in node.value.items():
            inner = f"{path}.{name}" if path else name
            if inner in FREE or inner in ("defaults", "hydra"):
                continue
            if isinstance(child.value, dict) and inner not in KEYS:
                visit(child, inner)
            elif not (is_section(inner) and child.value is None):
                found.append((inner, child))

    visit(tree, "")
    return found


class _Reader:
    """Holds values to their keys."""

    def __init__(self, spelled: dict[str, str], findings: Findings) -> None:
        self._spelled = spelled
        self._findings = findings

    def unknown(self, path: str, node: Node) -> None:
        shown = self._spelled.get(path, path)
        if is_section(path):
            self._findings.add(
                ERROR,
                shown,
                node,
                f"{node.text or 'a list'} stands where a section with keys is meant",
                "indent its keys below it",
            )
            return
        self._findings.add(ERROR, shown, node, "there is no such key", _nearest(path))

    def value(self, key: Key, node: Node) -> Any:
        """The value, or None with a finding."""
        if isinstance(node.value, str) and "${" in node.value:
            problem, way_out, value = (
                f"there is no value for {node.value}",
                "write the value, or set it with ++workload.key=value",
                None,
            )
        else:
            problem, way_out, value = _READERS[key.kind](key, node)
        if problem:
            self._findings.add(ERROR, self._spelled.get(key.path, key.path), node, problem, way_out)
            return None
        if key.kind == "bytes" and isinstance(value, float):
            text = f"{node.text} is a mean: each sample has a whole number of bytes, drawn so that the mean is kept"
            self._findings.add(WARNING, self._spelled.get(key.path, key.path), node, text)
        return value


def _nearest(path: str) -> str:
    section, _, name = path.rpartition(".")
    inside = [known.rpartition(".")[2] for known in KEYS if known.rpartition(".")[0] == section]
    elsewhere = [known for known in KEYS if known.rpartition(".")[2] == name]
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    near = nearest(name, inside, 0.5) or nearest(path, list(KEYS))
    if near:
        return f"did you mean {near}?"
    return (
        f"{section} has: {', '.join(sorted(inside))}"
        if inside
        else "see docs/howto/run-a-dlio-workload.md for the keys"
    )


Read = tuple[str, str, Any]  # problem, way out, value


def _whole(least: int) -> Any:
    def read(key: Key, node: Node) -> Read:
        value = node.value
        if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST:
            return (
                f"{node.text} is the float {value!r} as OmegaConf reads it, where a whole number is meant",
                f"write {int(value)}",
                None,
            )
        if isinstance(value, bool) or not isinstance(value, int):
            return f"{_shown(node)} is not a whole number", _example(key), None
        if not least <= value < _LARGEST:
            return f"{value} is out of range", f"write a whole number from {least}", None
        return "", "", value

    return read


def _number(key: Key, node: Node) -> Read:
    value = node.value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"{_shown(node)} is not a number", _example(key), None
    if not math.isfinite(value) or not 0 <= value < _LARGEST:
        return f"{node.text or value} is out of range", "write a number from 0", None
    return "", "", value


def _bytes(key: Key, node: Node) -> Read:
    problem, way_out, value = _number(key, node)
    if not problem and isinstance(value, float) and value.is_integer():
        value = int(value)
    return problem, way_out, value


def _share(key: Key, node: Node) -> Read:
    problem, way_out, value = _number(key, node)
    if problem or value <= 1:
        return problem, way_out, value
    # dl-driver writes 90 for 0.90
    return (
        ("", "", value / 100)
        if value <= 100
        else (f"{value} is more than all of the time", "write a share, as in 0.9", None)
    )


def _bool(key: Key, node: Node) -> Read:  # noqa: ARG001 -- one signature for all kinds
    if isinstance(node.value, bool):
        return "", "", node.value
    return f"{_shown(node)} is neither True nor False", "write True or False, without quotes", None


def _word(key: Key, node: Node) -> Read:
    if isinstance(node.value, str) and node.value:
        return "", "", node.value
    if isinstance(node.value, (dict, list)) or node.value == "" or isinstance(node.value, bool):
        return f"{_shown(node)} is not a word", _example(key), None
    return "", "", node.text or str(node.value)


def _choice(key: Key, node: Node) -> Read:
    value = node.value
    if value is False and "off" in key.choices and not node.quoted:
        text = f"{node.text} without quotes is the boolean False in YAML 1.1, which DLIO does not take for the word off: it would shuffle"
        return text, "write 'off' in quotes", None
    if isinstance(value, str) and value in key.choices:
        return "", "", value
    near = nearest(str(value), key.choices)
    way_out = f"did you mean {near}?" if near else f"there are: {', '.join(key.choices)}"
    return f"{_shown(node)} is not one of its values", way_out, None


def _shape(key: Key, node: Node) -> Read:  # noqa: ARG001 -- one signature for all kinds
    items = node.value if isinstance(node.value, list) else [node]
    values = [item.value for item in items]
    if any(isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _LARGEST for value in values):
        return f"{_shown(node)} is not a list of whole numbers", "write [64, 64]", None
    return "", "", tuple(values)


def _map(key: Key, node: Node) -> Read:  # noqa: ARG001 -- one signature for all kinds
    return "", "", node.plain()


_PARAMETERS = {
    "normal": ("mean", "stdev"), "uniform": ("min", "max"), "gamma": ("shape", "scale"), "exponential": ("scale",),
    "poisson": ("lam",),
}  # fmt: skip
_OPTIONAL = {"stdev"}


def _time(key: Key, node: Node) -> Read:
    if not isinstance(node.value, dict):
        return _number(key, node)
    kind = node.value.get("type")
    name = "normal" if kind is None else kind.value
    if not isinstance(name, str) or name not in _PARAMETERS:
        return f"{name!r} is no distribution", f"there are: {', '.join(sorted(_PARAMETERS))}", None
    wanted = _PARAMETERS[name]
    wrong = [word for word in node.value if word != "type" and word not in wanted]
    missing = [word for word in wanted if word not in node.value and word not in _OPTIONAL]
    if wrong or missing:
        return (
            f"a {name} distribution has {' and '.join(wanted)}, not {', '.join(wrong) or 'nothing'}",
            f"write type, {', '.join(wanted)}",
            None,
        )
    found: dict[str, Any] = {"type": name}
    for word in wanted:
        if word in node.value:
            problem, way_out, value = _number(key, node.value[word])
            if problem:
                return f"{word}: {problem}", way_out, None
            found[word] = value
    zero = [word for word in POSITIVE.get(name, ()) if found[word] == 0]
    if zero:
        return f"the {zero[0]} of a distribution of kind {name} is 0", "write a number above 0", None
    if name == "uniform" and found["min"] > found["max"]:
        return f"min {found['min']} is above max {found['max']}", "exchange them", None
    return "", "", found


def _shown(node: Node) -> str:
    if isinstance(node.value, dict):
        return "a mapping"
    if isinstance(node.value, list):
        return "a list" if node.value else "an empty list"
    return repr(node.value) if node.quoted or not node.text else node.text


_EXAMPLES = {
    "count": "write a number without a point, as in 8", "positive": "write a number from 1, without a point, as in 8",
    "whole": "write a number without a point; -1 is none", "bytes": "write bytes, as in 65536", "number": "write a number, as in 0.5",
    "time": "write seconds, as in 0.323, or a distribution", "word": "write a word",
}  # fmt: skip


def _example(key: Key) -> str:
    return _EXAMPLES.get(key.kind, "")


_READERS = {
    "count": _whole(0), "positive": _whole(1), "whole": _whole(-1), "bytes": _bytes, "number": _number, "share": _share,
    "bool": _bool, "word": _word, "choice": _choice, "time": _time, "shape": _shape, "map": _map, "any": _map,
}  # fmt: skip
