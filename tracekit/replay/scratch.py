"""Where a replay writes: a directory of its own, gone afterwards. Recorded data is never written to, never deleted."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from tracekit.errors import CannotRunError, InputError, TracekitError
from tracekit.replay.plan import Plan
from tracekit.units import format_bytes

_NAME_BYTES = 80


def is_needed(plan: Plan) -> bool:
    """Whether the plan writes, flushes or deletes anything."""
    return any(file.changed for file in plan.files)


def problems(plan: Plan, base: str) -> list[TracekitError]:
    """What would keep the plan's writes from being made under `base`."""
    if not is_needed(plan):
        return []
    way_out = "name a directory with --scratch DIR, or pass --writes skip"
    if not os.path.isdir(base):
        return [InputError(f"the scratch directory {base} does not exist", way_out)]
    if not os.access(base, os.W_OK | os.X_OK):
        return [CannotRunError(f"the scratch directory {base} may not be written by this user", way_out)]
    state = os.statvfs(base)
    free, need = state.f_bavail * state.f_frsize, _written(plan)
    if need > free:
        text = f"the trace writes {format_bytes(need)} and {format_bytes(free)} are free at {base}"
        return [InputError(text, way_out)]
    return []


def path(plan: Plan, number: int) -> str:
    """Where the changes to a file of the plan go."""
    # In bytes: a name has room for 255 of them, and a letter may take four.
    name = os.fsdecode(os.fsencode(os.path.basename(plan.files[number].place))[-_NAME_BYTES:])
    return os.path.join(plan.scratch_root, f"{number}-{name}")


@contextmanager
def made(plan: Plan, base: str) -> Iterator[None]:
    """A new directory under `base` as the plan's scratch, if it needs one; removed at the end whatever happens.

    Raises:
        CannotRunError: If it cannot be made.
    """
    if not is_needed(plan):
        yield
        return
    try:
        root = tempfile.mkdtemp(prefix="tracekit-scratch-", dir=base)
    except OSError as error:
        raise CannotRunError(
            f"no scratch directory under {base}: {error.strerror}", "name one with --scratch"
        ) from None
    plan.scratch_root = root
    try:
        yield
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _written(plan: Plan) -> int:
    """At most this many bytes: the end of the furthest write of each file, appended writes added up."""
    uses = plan.program.uses
    return int(uses.written.sum()) + uses.appended * plan.options.loop
