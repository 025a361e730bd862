"""Where a replay writes: a directory of its own, gone afterwards. Recorded data is never written to, never deleted."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tracekit import claims
from tracekit.errors import CannotRunError, InputError, TracekitError
from tracekit.replay.plan import Plan
from tracekit.storage.failures import is_status
from tracekit.units import format_bytes
from tracekit.uri import scheme_of

_NAME_BYTES = 80
_PREFIX = "tracekit-scratch-"


def is_needed(plan: Plan) -> bool:
    """Whether the plan writes, flushes or deletes anything."""
    return any(file.changed for file in plan.files)


def problems(plan: Plan, base: str) -> list[TracekitError]:
    """What would keep the plan's writes from being made under `base`."""
    if not is_needed(plan):
        return []
    far = [file.uri for file in plan.files if file.changed and not file.local and file.error is None]
    if far and not _is_object(plan.options.scratch):
        cause = f"the trace writes objects ({far[0]}), and recorded data is never written to"
        return [InputError(cause, "name a place for them with --scratch s3://bucket/prefix, or pass --writes skip")]
    if not any(file.changed and file.local for file in plan.files):
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
    file = plan.files[number]
    # In bytes: a name has room for 255 of them, and a letter may take four.
    name = os.fsdecode(os.fsencode(os.path.basename(file.place))[-_NAME_BYTES:])
    return os.path.join(plan.scratch_root if file.local else plan.object_scratch, f"{number}-{name}")


def abandoned(base: str) -> list[str]:
    """What killed replays left under `base`, a sentence each: directories that no process holds any more."""
    return [
        f"an earlier replay was killed and left {root} behind: rm -r {shlex.quote(root)}"
        for root in claims.abandoned(_PREFIX, base)
    ]


@contextmanager
def made(plan: Plan, base: str) -> Iterator[None]:
    """A new directory under `base` as the plan's scratch, and a new object prefix, as far as it needs them.

    Both are removed at the end whatever happens.

    Raises:
        CannotRunError: If it cannot be made.
    """
    if not is_needed(plan):
        yield
        return
    with ExitStack() as holding:
        try:
            plan.scratch_root = root = holding.enter_context(claims.claimed(_PREFIX, base))
        except OSError as error:
            raise CannotRunError(
                f"no scratch directory under {base}: {error.strerror}", "name one with --scratch"
            ) from None
        if _is_object(plan.options.scratch):
            plan.object_scratch = f"{str(plan.options.scratch).rstrip('/')}/{os.path.basename(root)}"
            holding.callback(_remove_objects, plan)
        yield


def local_base(plan: Plan, otherwise: str) -> str:
    """Where the plan's local scratch directory is made."""
    asked = plan.options.scratch
    return otherwise if asked is None or _is_object(asked) else asked


def _is_object(base: str | None) -> bool:
    return base is not None and not scheme_of(base).local


def _remove_objects(plan: Plan) -> None:
    for number, file in enumerate(plan.files):
        if file.changed and not file.local and file.storage is not None:
            try:
                file.storage.delete(path(plan, number))
            except TracekitError:
                return
            except OSError as error:
                # Never written, perhaps. A server that does not answer is not asked for each of them how long that takes.
                if error.errno is None or not is_status(error.errno):
                    return


def _written(plan: Plan) -> int:
    """At most this many bytes: the end of the furthest write of each file, appended writes added up."""
    uses = plan.program.uses
    # As Python's numbers: ends of files may add up to more than a column holds.
    ends: list[int] = uses.written.tolist()
    return sum(ends) + int(uses.appended) * plan.options.loop
