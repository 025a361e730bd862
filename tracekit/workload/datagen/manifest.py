"""What a data set was made as, kept beside it, so that going on later makes the same and not something else."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tracekit.errors import CannotRunError, InputError
from tracekit.storage import Access, Buffer, Storage
from tracekit.workload.job import DataSet

# A version per change: 1 is the first.
VERSION = 1
# A leading dot: what lists samples leaves it out.
NAME = ".tracekit-dataset.json"
_MISSING = (errno.ENOENT, 404)
_WORDS = {
    "format": "the format", "files_train": "the number of files", "files_eval": "the number of files to evaluate on",
    "samples_per_file": "the samples per file", "record_bytes": "the size of a sample", "seed": "the seed",
    "ratio": "how well it compresses", "compression": "the compression",
}  # fmt: skip


def described(data: DataSet, seed: int, ratio: float) -> dict[str, Any]:
    """What decides every byte of a data set."""
    facts = asdict(data)
    del facts["uri"]
    # Through JSON, so that what is read again compares equal.
    made: dict[str, Any] = json.loads(json.dumps({"tracekit_dataset": VERSION, **facts, "seed": seed, "ratio": ratio}))
    return made


def read(storage: Storage, root: str) -> dict[str, Any] | None:
    """What the data set at a place was made as; None where nothing says so.

    Raises:
        InputError: If what is there is no such file.
        CannotRunError: If the place cannot be asked.
    """
    place = f"{root}/{NAME}"
    try:
        size = storage.stat(place)
        handle = storage.open(place, Access())
        try:
            buffer = Buffer(size)
            count = handle.pread(buffer, size, 0)
            text = bytes(buffer.view[:count])
        finally:
            handle.close()
    except OSError as error:
        if error.errno in _MISSING or error.errno == errno.ENOTDIR:
            return None
        raise CannotRunError(
            f"{place} cannot be read: {error.strerror}", "check the place and its permissions"
        ) from None
    try:
        found = json.loads(text)
        version = found["tracekit_dataset"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{place} does not say how this data set was made", "remove it, or pass --force") from None
    if version != VERSION:
        raise InputError(f"{place} is of version {version}", "use the tracekit that wrote it, or pass --force")
    return dict(found)


def write(storage: Storage, root: str, facts: Mapping[str, Any]) -> None:
    """Keep what a data set is made as (errors: OSError)."""
    storage.write(f"{root}/{NAME}", json.dumps(facts, indent=1).encode())


def difference(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """What is not the same, in words; empty where all is."""
    for name in wanted:
        if there.get(name) != wanted[name]:
            return f"{_WORDS.get(name, name)} was {_shown(there.get(name))} and is to be {_shown(wanted[name])}"
    return ""


def _shown(value: Any) -> str:
    if isinstance(value, dict) and "kind" in value:
        numbers = ", ".join(f"{name} {number:g}" for name, number in value["parameters"].items())
        return f"{value['kind']} ({numbers})"
    return str(value)
