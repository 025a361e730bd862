"""CSV, as pandas reads it, and Parquet, as pyarrow reads row groups."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from tracekit.workload.readers.buffered import Buffered
from tracekit.workload.shape import Request

# The pieces in which pandas' tokenizer asks for text; and pyarrow's for what stands at a Parquet file's end.
_PIECE, _FOOTER = 1 << 18, 1 << 16
# Row groups that DLIO's reader holds.
_GROUPS = 4
Facts = list[list[int]]


def csv(facts: Facts, size: int, number: int, samples: int) -> list[Request]:
    """The whole file from front to back, whichever sample is asked for, until a piece is empty."""
    del facts, number, samples
    file = Buffered(size)
    while file.read(_PIECE):
        pass
    return file.requests


def look_parquet(place: str, size: int) -> Facts | None:
    """Of each row group its first row, and where its columns begin and end; None where it is no Parquet file."""
    del size
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        footer = pq.read_metadata(place)
    except (pa.ArrowException, OSError):
        return None
    groups, first = [], 0
    for group in range(footer.num_row_groups):
        one = footer.row_group(group)
        columns = [one.column(number) for number in range(one.num_columns)]
        begins = [
            column.data_page_offset if column.dictionary_page_offset is None else min(column.dictionary_page_offset, column.data_page_offset)
            for column in columns
        ]  # fmt: skip
        ends = [begin + column.total_compressed_size for begin, column in zip(begins, columns, strict=True)]
        groups.append([first, min(begins), max(ends)])
        first += one.num_rows
    return groups or None


def parquet(facts: Facts, size: int, number: int, samples: int) -> list[Request]:
    """The file's end, and the row group that the sample is in, in one request: its columns lie one after the other."""
    del samples
    footer = min(size, _FOOTER)
    return [(size - footer, footer), group_of(facts, number)]


def group_of(facts: Facts, number: int) -> Request:
    """The request for the row group that a row is in."""
    _, begin, end = facts[bisect_right(facts, number, key=lambda group: group[0]) - 1]
    return begin, end - begin


@dataclass
class Held:
    """What DLIO's reader of Parquet files holds: one open file, some of its row groups, and the ends of all it has met."""

    file: int = -1
    groups: list[Request] = field(default_factory=list)
    met: set[int] = field(default_factory=set)

    def lacking(self, facts: Facts, size: int, file: int, number: int) -> list[Request]:
        """The requests for a row, without what is held."""
        end, group = parquet(facts, size, number, 0)
        if file != self.file:
            self.file, self.groups = file, []
        asked = [] if file in self.met else [end]
        self.met.add(file)
        if group in self.groups:
            self.groups.remove(group)
        else:
            asked.append(group)
        self.groups = [*self.groups[-_GROUPS + 1 :], group]
        return asked
