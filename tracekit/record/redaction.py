"""Names replaced by digests of them: suffixes stay, equal names stay equal."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tracekit.trace import Header, StringTable, Trace, Trailer


class Veil:
    """Redacts a trace piece by piece."""

    def __init__(self) -> None:
        self._uris = StringTable()
        self._samples = StringTable()

    def ops(self, piece: Trace) -> Trace:
        """The piece with digests for names; the same name has the same digest in every piece."""
        tables = dict(piece.tables)
        for name, hidden, how in (("uri", self._uris, _redacted_uri), ("sample_id", self._samples, _digest)):
            if name in tables:
                _follow(hidden, tables[name], how)
                tables[name] = hidden
        return Trace(piece.columns, tables, piece.marks, piece.header, piece.trailer, piece.warnings)

    def header(self, header: Header) -> Header:
        """The header without arguments, globs and names of the machine."""
        producer = {**header.producer, "options": {}}
        return replace(
            header, command=_first(header.command), filters={}, redacted=True, producer=producer,
            host=_anonymous(header.host),
        )  # fmt: skip

    def trailer(self, trailer: Trailer) -> Trailer:
        """The trailer without arguments of processes and names of files."""
        extra = dict(trailer.extra)
        if "files" in extra:
            extra["files"] = {**extra["files"], "uri": [_redacted_uri(uri) for uri in extra["files"]["uri"]]}
        residency = dict(trailer.residency)
        if "files" in residency:
            names = {key: [_redacted_uri(uri) for uri in residency["files"].get(key, ())] for key in ("uri", "unknown")}
            residency["files"] = {**residency["files"], **names}
        processes = [{**process, "argv": _first(process["argv"])} for process in trailer.processes]
        coverage = dict(trailer.coverage)
        for key in ("not_followed", "native_children", "unseen_in_processes"):
            if key in coverage:
                coverage[key] = [{**entry, "argv": _first(entry["argv"])} for entry in coverage[key]]
        if "missing" in coverage and "native_children" in coverage:
            coverage["missing"] = "incomplete: see native_children"
        return replace(trailer, coverage=coverage, processes=processes, extra=extra, residency=residency)


def _follow(hidden: StringTable, table: StringTable, how: Callable[[str], str]) -> None:
    """Bring a table of digests up to a table that has grown."""
    for text in table.strings[len(hidden) :]:
        before = len(hidden)
        if hidden.code(how(text)) != before:
            raise AssertionError("two names have one digest")


def _anonymous(host: Any) -> dict[str, Any]:
    facts = {key: value for key, value in host.items() if key != "name"}
    systems = facts.get("filesystem", {}).values()
    if systems:
        facts["filesystem"] = {_digest(system["device"]): {"type": system["type"]} for system in systems}
    return facts


def _first(argv: Sequence[str]) -> list[str]:
    return [os.path.basename(word) for word in argv[:1]]


def _redacted_uri(uri: str) -> str:
    suffix = os.path.splitext(uri)[1]
    return f"file:///redacted/{_digest(uri)}{suffix if len(suffix) <= 6 else ''}"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
