"""Reads a Darshan log through the `darshan` package, in a process of its own: `python darshan_log.py LOG OUT`.

The package's C library ends the process on many damaged logs, and removes files by names that it takes from them: so it
is run apart, in an empty directory. OUT gets JSON Lines: what the log says of the job, then a line a record. It imports nothing
of tracekit, whose modules have names that others have too.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

# How it ends where the package said what is wrong; the sentence is in OUT. 2 is Python's own.
REFUSED = 3
MISSING = 4
# MPI-IO goes down through POSIX: both would count every byte twice.
_MODULES = ("DXT_POSIX", "DXT_MPIIO")


def main(path: str, out: str) -> int:
    """Write the records of a log; how it went is the exit status."""
    here = os.path.dirname(os.path.realpath(__file__))
    sys.path[:] = [folder for folder in sys.path if os.path.realpath(folder) != here]
    with open(out, "w", encoding="ascii") as file:
        try:
            import darshan
        except ImportError:
            return MISSING
        try:
            _write(darshan.DarshanReport(path, read_all=False), file)
        except Exception as error:
            file.seek(0)
            file.truncate()
            file.write(" ".join(str(error).encode("ascii", "replace").decode().split())[:200])
            return REFUSED
    return 0


def _write(report: Any, file: Any) -> None:
    present = [module for module in _MODULES if module in report.modules][:1]
    for module in present:
        report.mod_read_all_dxt_records(module, dtype="dict")
    report.read_name_records()
    job = report.metadata.get("job", {})
    first = {
        "module": present[0] if present else None,
        "start": int(job["start_time_sec"]) * 10**9 + int(job.get("start_time_nsec", 0)),
        "version": str(job.get("metadata", {}).get("lib_ver", "")),
        "command": str(report.metadata.get("exe", "")),
    }
    file.write(json.dumps(first) + "\n")
    for module in present:
        for record in report.records.get(module, ()):
            file.write(json.dumps(_plain(record, report.name_records)) + "\n")


def _plain(record: Any, names: Any) -> dict[str, Any]:
    segments = {
        kind: [
            [int(part["offset"]), int(part["length"]), float(part["start_time"]), float(part["end_time"])]
            for part in record[f"{kind}_segments"]
        ]
        for kind in ("read", "write")
    }
    name = str(names.get(record["id"], f"darshan:{record['id']}"))
    return {"name": name, "rank": int(record["rank"]), "host": str(record["hostname"]), **segments}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
