"""What a rank did, handed to rank 0 piece by piece: one piece is asked for while the one before is being written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tracekit.errors import TracekitError
from tracekit.replay.ranks import Ranks
from tracekit.trace import StringTable, Trace

_MORE, _OPS, _END = "more", "ops", "end"


class FailedError(Exception):
    """A rank failed in the middle of its run, or while it handed over.

    Args:
        problems: What it said.
    """

    def __init__(self, problems: Iterable[TracekitError]) -> None:
        super().__init__("; ".join(map(str, problems)))


def pushed(ranks: Ranks, pieces: Iterable[Trace], end: Callable[[], Any]) -> None:
    """Hand pieces to rank 0, each when it asks for one.

    Args:
        ranks: All of them.
        pieces: The pieces; they share their tables, which grow, so only strings that are new are sent.
        end: What is to be sent after the last.
    """
    sent: dict[str, int] = {}
    for piece in pieces:
        ranks.take(0, _MORE)
        new = {name: table.strings[sent.get(name, 0) :] for name, table in piece.tables.items()}
        sent = {name: len(table) for name, table in piece.tables.items()}
        ranks.post(0, _OPS, (piece.columns, new))
    ranks.take(0, _MORE)
    ranks.post(0, _END, end())
    ranks.flush()


def pulled(ranks: Ranks, rank: int, ended: Callable[[Any], None]) -> Iterator[Trace]:
    """The pieces of a rank, as `pushed` sends them.

    Args:
        ranks: All of them.
        rank: Whose.
        ended: Hears what came after the last.

    Raises:
        LostError: If it no longer answers.
        FailedError: If it failed.
    """
    tables: dict[str, StringTable] = {}
    while True:
        ranks.post(rank, _MORE)
        kind, body = ranks.take(rank, _OPS, _END, "failed")
        if kind == "failed":
            raise FailedError(body)
        if kind == _END:
            ended(body)
            return
        columns, new = body
        for name, strings in new.items():
            table = tables.setdefault(name, StringTable())
            for text in strings:
                table.code(text)
        yield Trace(columns, dict(tables))
