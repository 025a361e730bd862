"""Pieces of a trace, each with its own or growing string tables, brought to one set of tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tracekit.trace import NULL, IntArray, StringTable, Trace, name_code


class Recoder:
    """Translates the codes of one source's pieces.

    Args:
        tables: The tables to translate into, one for each column that has strings; they grow.
    """

    def __init__(self, tables: Mapping[str, StringTable]) -> None:
        self._tables = tables
        self._mappings: dict[str, tuple[StringTable, IntArray]] = {}

    def columns(self, piece: Trace) -> dict[str, IntArray]:
        """The piece's columns, with codes into the common tables."""
        return {name: self._recoded(piece, name, array) for name, array in piece.columns.items()}

    def _recoded(self, piece: Trace, name: str, codes: IntArray) -> IntArray:
        if name not in piece.tables:
            return codes
        mapping = self._mapping(name, piece.tables[name])
        if name != "sample_id":
            recoded: IntArray = mapping[codes]
            return recoded
        named = codes < NULL
        out: IntArray = codes.copy()
        out[named] = name_code(mapping[name_code(codes[named])].astype(np.int64))
        return out

    def _mapping(self, name: str, table: StringTable) -> IntArray:
        """The common code of each of a table's own; NULL, which is -1, is the last. A table may have grown."""
        known, mapping = self._mappings.get(name, (None, np.array([NULL], np.int32)))
        if known is not table:
            mapping = np.array([NULL], np.int32)
        if len(mapping) <= len(table):
            added = [self._tables[name].code(text) for text in table.strings[len(mapping) - 1 :]]
            mapping = np.concatenate([mapping[:-1], np.array([*added, NULL], np.int32)])
            self._mappings[name] = (table, mapping)
        return mapping
