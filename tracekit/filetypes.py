"""The table of trace files: which format has which suffixes, and what can be said about it when one is read or written.

It is data and loads no code of a format: help shows it. What reads and writes is `tracekit.formats.registry`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FileType:
    """One row of the table: a format's name, the suffixes of its files, its module, and what it is for."""

    name: str
    suffixes: tuple[str, ...]
    module: str
    meaning: str
    reads: bool = True
    writes: bool = True
    # Whether it can go to standard output and come from standard input.
    streams: bool = False
    # The class that reads it, of another tool's format.
    importer: str = ""
    # Whether columns that nobody wants can be left unread.
    projects: bool = False
    # What the user can say when it is read or written, and what that means.
    reader_options: Mapping[str, str] = field(default_factory=dict)
    writer_options: Mapping[str, str] = field(default_factory=dict)


_OWN = "tracekit.formats."
TYPES = (
    FileType("jsonl", (".jsonl",), _OWN + "jsonl", "the trace format itself: JSON Lines", streams=True),
    FileType("jsonl.zst", (".jsonl.zst",), _OWN + "jsonl_zst", "the same, compressed with zstd"),
    FileType(
        "parquet", (".parquet",), _OWN + "parquet", "the same columns as a table, for DuckDB, Polars, pandas", projects=True
    ),
    FileType("tkc", (".tkc",), _OWN + "compact", "the same in as few bytes as it takes; only tracekit reads it"),
    FileType(
        "csv", (".csv", ".csv.gz"), _OWN + "table", "a table with a header, ours or anyone's", importer="Table",
        reader_options={
            "columns": "which column is which, as OURS=THEIRS,…",
            "delimiter": "what is between columns; default a comma, or a tab where the header has no comma",
        },
    ),
    FileType(
        "oplog", (".tsv", ".tsv.zst", ".csv.zst"), _OWN + "oplog", "request logs of s3dlio and MinIO warp", importer="OpLog",
        reader_options={"bucket": "the bucket of a warp log, which does not name it"},
        writer_options={"layout": "s3dlio (unless said), sai3 (for sai3-bench's replay), warp13 or warp15"},
    ),
    FileType(
        "fio", (".iolog", ".fio"), _OWN + "fio", "fio's I/O log, versions 2 and 3", importer="FioLog",
        reader_options={"time-unit": "the unit of version 3 times: ns, us (fio's own), ms or s"},
    ),
    FileType("strace", (".strace", ".strace.gz"), _OWN + "strace", "strace -f -ttt -T -y", writes=False, importer="Strace"),
    FileType(
        "dftracer", (".pfw", ".pfw.gz"), _OWN + "dftracer", "dftracer's traces, and DLIO's auto-configuration's",
        writes=False, importer="Dftracer",
    ),
    FileType("darshan", (".darshan",), _OWN + "darshan", "Darshan logs with DXT", writes=False, importer="Darshan"),
    FileType("blkparse", (".blkparse",), _OWN + "blkparse", "blkparse's text", writes=False, importer="Blkparse"),
    FileType(
        "chrome", (".json", ".json.gz"), _OWN + "chrome", "a timeline to look at in ui.perfetto.dev", reads=False
    ),
)  # fmt: skip
