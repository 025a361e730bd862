"""What works on this machine, what does not, and why: checks that look and change nothing that stays.

Every check gives an outcome: `ok`, `limited` (tracekit works, but something is slower, coarser or not seen) or `missing`
(what it names cannot be used here), with the reason and what to do.
"""

from __future__ import annotations

from collections.abc import Callable

from tracekit.doctor.check import OUTCOMES, Check
from tracekit.doctor.machine import (
    check_core,
    check_drop_caches,
    check_frameworks,
    check_home,
    check_io_uring,
    check_memory,
    check_open_files,
    check_python,
    check_shared_memory,
    check_temporary,
)
from tracekit.doctor.place import check_direct, check_file_system, check_residency, resolved
from tracekit.doctor.recording import check_mapped_pages, check_proc_io, check_recorder, check_strace
from tracekit.doctor.store import check_store
from tracekit.doctor.timing import check_clock, check_cores, check_realtime, check_timer, check_wakefulness
from tracekit.errors import CannotRunError
from tracekit.storage import CLIENTS
from tracekit.uri import scheme_of

__all__ = ["MACHINE_CHECKS", "OUTCOMES", "PLACE_CHECKS", "Check", "examine"]

MACHINE_CHECKS: tuple[Callable[[], Check], ...] = (
    check_python,
    check_core,
    check_recorder,
    check_mapped_pages,
    check_strace,
    check_proc_io,
    check_clock,
    check_timer,
    check_cores,
    check_realtime,
    check_wakefulness,
    check_io_uring,
    check_drop_caches,
    check_memory,
    check_shared_memory,
    check_open_files,
    check_temporary,
    check_home,
    check_frameworks,
)
PLACE_CHECKS: tuple[Callable[[str], Check], ...] = (check_file_system, check_direct, check_residency)


def examine(uri: str = "") -> list[Check]:
    """Every check of this machine, and of the place a URI names.

    Args:
        uri: A file, directory, object or bucket that traces refer to; without it the current directory's file system is
            looked at.

    Raises:
        UnknownSchemeError: If no storage owns the URI's scheme.
        InputError: If nothing is there.
        CannotRunError: If it cannot be read.
    """
    if uri and not scheme_of(uri).local:
        stores = [check_store(uri, client) for client in CLIENTS]
        if all(check.outcome == "missing" for check in stores):
            raise CannotRunError(stores[0].finding, stores[0].way_out)
        return [*(check() for check in MACHINE_CHECKS), *stores]
    path = resolved(uri)
    checks = [check() for check in MACHINE_CHECKS]
    return [*checks, *(check(path) for check in PLACE_CHECKS)]
