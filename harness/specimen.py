"""The specimen of a golden: one of its runs as a trace, small and without anything of the machine, for `harness selftest` to edit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.golden import Golden
from tracekit import formats
from tracekit.errors import InputError
from tracekit.trace import StringTable, Trace, Trailer
from tracekit.uri import file_uri, local_path

SPECIMEN = "specimen.parquet"
# A golden as a whole is to stay below 1 MB.
SIZE_LIMIT = 500_000
DATA = "/data"


def write(golden: Golden, trace: Trace) -> Path:
    """Keep a run as the golden's specimen.

    Args:
        golden: The golden.
        trace: The run.

    Raises:
        InputError: If it would be larger than 500 kB.
    """
    path = golden.directory / SPECIMEN
    part = path.with_name(f".{SPECIMEN}")
    formats.save(nameless(trace), part, form="parquet")
    size = part.stat().st_size
    if size > SIZE_LIMIT:
        part.unlink()
        raise InputError(f"the specimen would be {size} bytes, more than {SIZE_LIMIT}", "make the program shorter")
    os.replace(part, path)
    return path


def load(golden: Golden) -> Trace | None:
    """The specimen; None where there is none (errors as of `formats.load`)."""
    path = golden.directory / SPECIMEN
    return formats.load(str(path)) if path.exists() else None


def nameless(trace: Trace) -> Trace:
    """The trace without places and names of the machine it comes from; the directory of all its files is called /data."""
    uris = StringTable(_below_data(list(trace.uris)))
    header = trace.header
    if header is not None:
        command = [os.path.basename(word) if os.path.isabs(word) else word for word in header.command]
        producer = {
            name: header.producer[name] for name in ("tool", "version", "verb", "engine") if name in header.producer
        }
        host = {name: value for name, value in header.host.items() if name not in {"name", "filesystem"}}
        header = replace(header, producer=producer, command=command, host=host, filters={})
    trailer = trace.trailer
    if trailer is not None:
        trailer = Trailer(ops=trailer.ops, bytes=trailer.bytes, lost=trailer.lost)
    return Trace(trace.columns, {**trace.tables, "uri": uris}, trace.marks, header, trailer)


def _below_data(uris: Sequence[str]) -> list[str]:
    if not all(uri.startswith("file://") for uri in uris):
        return list(uris)
    paths = [local_path(uri) for uri in uris]
    place = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else "/"
    return [file_uri(os.path.join(DATA, os.path.relpath(path, place))) for path in paths]
