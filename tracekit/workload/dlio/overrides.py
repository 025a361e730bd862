"""Values from the command line, written as Hydra has them: `++workload.dataset.num_files_train=8`.

`++key=value` sets, `+key=value` adds what must not be there, `key=value` changes what must be there, `~key` removes. Values follow
Hydra's grammar, not YAML's: `off` is a word here, `010` too, and lists and maps are `[1,2]` and `{type:normal,mean:1}`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tracekit.errors import UsageError
from tracekit.workload.dlio.document import Node

SOURCE = "the command line"
_FORM = re.compile(
    r"(?P<kind>\+\+|\+|~)?(?P<key>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)(?:=(?P<value>.*))?", re.DOTALL
)
# hydra/grammar/OverrideLexer.g4
_WHOLE = re.compile(r"[+-]?(?:0|[1-9](?:_?[0-9])*)")
_POINT = r"(?:(?:0|[1-9](?:_?[0-9])*)?\.[0-9](?:_?[0-9])*|(?:0|[1-9](?:_?[0-9])*)\.)"
_REAL = re.compile(
    rf"[+-]?(?:{_POINT}|(?:0|[1-9](?:_?[0-9])*|{_POINT})[eE][+-]?[0-9](?:_?[0-9])*|inf|nan)", re.IGNORECASE
)
_WORDS = {"true": True, "false": False, "null": None}


def apply(tree: Node, words: Sequence[str]) -> Node:
    """The tree with each override carried out, in order.

    Raises:
        UsageError: If a word is no override, or names a key that must (not) be there.
    """
    for word in words:
        tree = _applied(tree, word)
    return tree


def value_of(text: str) -> Any:
    """The value of an override's right-hand side.

    Raises:
        UsageError: If brackets or quotes do not match.
    """
    parser = _Values(text)
    try:
        value = parser.value(stops="")
    except RecursionError:
        raise UsageError(f"{text[:40]!r}… is nested deeper than a value can be", "write it flat") from None
    if parser.rest():
        raise UsageError(f"{text!r} is not a value", "lists are [1,2], maps {type:normal,mean:1}, and quotes match")
    return value


def _applied(tree: Node, word: str) -> Node:
    match = _FORM.fullmatch(word)
    if match is None or (match["value"] is None) != (match["kind"] == "~"):
        raise UsageError(f"{word!r} is not an override", "write ++workload.section.key=value, or ~workload.section.key")
    path = match["key"].removeprefix("workload.").split(".")
    is_there = _find(tree, path) is not None
    if match["kind"] in (None, "~") and not is_there:
        raise UsageError(f"{match['key']} of {word!r} is not in the file", f"write ++{match['key']}=… to set it anyway")
    if match["kind"] == "+" and is_there:
        raise UsageError(f"{match['key']} of {word!r} is in the file already", f"write ++{match['key']}=… to change it")
    if match["kind"] == "~":
        return _with(tree, path, None)
    text = match["value"]
    return _with(tree, path, _noded(value_of(text), text))


def _find(tree: Node, path: Sequence[str]) -> Node | None:
    node: Node | None = tree
    for key in path:
        node = node.value.get(key) if node is not None and isinstance(node.value, dict) else None
    return node


def _with(tree: Node, path: Sequence[str], new: Node | None) -> Node:
    value = dict(tree.value) if isinstance(tree.value, dict) else {}
    if len(path) > 1:
        value[path[0]] = _with(value.get(path[0]) or Node({}, 0, source=SOURCE), path[1:], new)
    elif new is None:
        value.pop(path[0], None)
    else:
        value[path[0]] = new
    return replace(tree, value=value)


def _noded(value: Any, text: str) -> Node:
    if isinstance(value, dict):
        value = {key: _noded(inner, str(inner)) for key, inner in value.items()}
    elif isinstance(value, list):
        value = [_noded(inner, str(inner)) for inner in value]
    return Node(value, 0, text, text[:1] in ("'", '"'), SOURCE)


class _Values:
    """Reads one value after the other from the left."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def rest(self) -> str:
        return self._text[self._at :].strip()

    def value(self, stops: str) -> Any:
        self._skip_space()
        first = self._text[self._at : self._at + 1]
        if first == "[":
            return self._sequence()
        if first == "{":
            return self._mapping()
        if first in ("'", '"') and first:
            return self._quoted(first)
        return self._bare(stops)

    def _skip_space(self) -> None:
        while self._text[self._at : self._at + 1] in (" ", "\t"):
            self._at += 1

    def _took(self, sign: str) -> bool:
        self._skip_space()
        if self._text.startswith(sign, self._at):
            self._at += len(sign)
            return True
        return False

    def _sequence(self) -> list[Any]:
        self._at += 1
        found: list[Any] = []
        if self._took("]"):
            return found
        while True:
            found.append(self.value(stops=",]"))
            if self._took("]"):
                return found
            self._need(",")

    def _mapping(self) -> dict[str, Any]:
        self._at += 1
        found: dict[str, Any] = {}
        if self._took("}"):
            return found
        while True:
            key = str(self.value(stops=":"))
            self._need(":")
            found[key] = self.value(stops=",}")
            if self._took("}"):
                return found
            self._need(",")

    def _need(self, sign: str) -> None:
        if not self._took(sign):
            raise UsageError(
                f"{self._text!r} lacks a {sign!r} at {self._text[self._at :]!r}", "see where brackets and commas stand"
            )

    def _quoted(self, quote: str) -> str:
        match = re.compile(rf"{quote}((?:[^{quote}\\]|\\.)*){quote}").match(self._text, self._at)
        if match is None:
            raise UsageError(f"{self._text!r} has a quote without its partner", "close it")
        self._at = match.end()
        # Hydra: only the quote itself, and backslashes before one, are escaped.
        return re.sub(rf"\\(\\|{quote})", r"\1", match[1])

    def _bare(self, stops: str) -> Any:
        end = self._at
        while end < len(self._text) and self._text[end] not in stops:
            end += 1
        word, self._at = self._text[self._at : end].strip(), end
        if word.lower() in _WORDS:
            return _WORDS[word.lower()]
        if _WHOLE.fullmatch(word):
            return int(word)
        return float(word) if _REAL.fullmatch(word) else word
