"""The page cache at the start of a run: brought into the state asked for, and looked at afterwards, page by page.

What could not be reached is said, never silently accepted: the run's reasons and the trailer have it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tracekit.errors import CannotRunError, InputError, TracekitError
from tracekit.pages import PAGE_BYTES, PageState, Recorded
from tracekit.replay.options import Options
from tracekit.replay.plan import File, Plan
from tracekit.replay.remap import Remap
from tracekit.storage import cache
from tracekit.storage.local import ADVICE
from tracekit.storage.restore import Agreement, look, restore
from tracekit.units import counted

# Of all pages; missing and extra ones count alike.
AGREEMENT = 0.999
_THREADS = 4
Warn = Callable[[str], None]


def is_cold(plan: Plan) -> bool:
    """Whether some of the plan's reads are meant to reach the device although they go through the page cache."""
    return plan.options.cache_start in ("cold", "recorded") or plan.options.drop_cache


def problems(plan: Plan, recorded: Recorded | None) -> list[TracekitError]:
    """What keeps the page cache from being what the options ask for."""
    if plan.files and not any(file.local for file in plan.files) and (words := _about_cache(plan.options)):
        are, out = ("is", "it") if len(words) == 1 else ("are", "them")
        cause = f"{' and '.join(words)} {are} about the page cache, and this trace reads objects only"
        return [InputError(cause, f"leave {out} out", slug="no-page-cache")]
    if plan.options.cache_start != "recorded" or recorded is not None:
        return []
    return [
        InputError(
            "the trace does not say what was in the page cache when it was recorded",
            "record again with --residency first-read, or start with --cache-start cold, warm or as-is",
            slug="no-residency",
        )
    ]


def _about_cache(options: Options) -> list[str]:
    """The options given that do something to the page cache, as they are typed."""
    said = {
        f"--cache {options.cache}": options.cache != "default",
        f"--cache-start {options.cache_start}": options.cache_start != "as-is",
        "--drop-cache": options.drop_cache,
    }
    return [word for word, given in said.items() if given]


def of_recording(residency: Any, plan: Plan) -> Recorded | None:
    """What a recording's trailer says of the page cache, under the plan's names; None where it says nothing."""
    recorded = Recorded.of_trailer(residency)
    if recorded is None or not plan.options.remap:
        return recorded
    remap = Remap(plan.options.remap)
    known = [*recorded.listed, *recorded.unknown]
    return recorded.renamed({uri: new for uri in known if (new := remap.apply(uri)) is not None})


def set_state(plan: Plan, recorded: Recorded | None, warn: Warn) -> dict[str, Any]:
    """Bring the page cache into the state asked for, for the files that the plan reads, and measure it.

    Args:
        plan: The plan, its files all there.
        recorded: From `of_recording`.
        warn: Called with what the user should know before the run.

    Returns:
        The trailer's `residency`: `start`, `before` (pages and resident ones when the run begins), where a state was asked
        for `verified` (pages, missing, extra; None where nobody tells), and `notes` on what was not reached.

    Raises:
        CannotRunError: If a file cannot be read or flushed.
    """
    start = plan.options.cache_start
    if plan.options.drop_cache:
        start = "recorded" if start == "recorded" else "cold"
        if problem := cache.drop_everything():
            warn(f"{problem}; the trace's own files were dropped one by one")
    facts: dict[str, Any] = {"start": start}
    if start != "as-is":
        targets = [_target(file, start, recorded) for file in read_files(plan)]
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(_reach, targets))
            found = list(pool.map(_checked, targets))
        facts |= _verified(found)
        facts["notes"] = _notes(start, facts["verified"]) + _remarks(targets)
        if recorded is not None and start == "recorded":
            facts["files"] = dict(Counter(target.how for target in targets))
        for note in facts["notes"]:
            warn(note)
    return facts | {"before": measured(plan)}


def hints(plan: Plan) -> dict[str, int]:
    """Files of which the page cache is told something, by posix_fadvise's word; `restored` are brought into a recorded state."""
    told: Counter[str] = Counter()
    through = [file for file in plan.files if file.read and file.local and not file.direct]
    if ADVICE[plan.options.cache] is not None:
        told[plan.options.cache] += len({file.place for file in through})
    if is_cold(plan):
        told["restored" if plan.options.cache_start == "recorded" else "dontneed"] += len(read_files(plan))
    return {word: count for word, count in told.items() if count}


def measured(plan: Plan) -> dict[str, int] | None:
    """Pages of the files that the plan reads, and how many of them are in the page cache now; None where nobody tells."""
    files = read_files(plan)
    if not files and plan.files:
        return {"pages": 0, "resident": 0}
    found = cache.residency(sorted(file.place for file in files))
    return None if found is None else {"pages": found.pages, "resident": found.resident}


def read_files(plan: Plan) -> list[File]:
    """The local files that the plan reads and that were there before it, each place once."""
    return list({file.place: file for file in plan.files if file.read and file.needed and file.local}.values())


@dataclass(frozen=True)
class _Target:
    """A file and the state it is to be in; `how` well that is known: whole, exact, scaled, number or unknown."""

    path: str
    state: PageState | None
    how: str


def _target(file: File, start: str, recorded: Recorded | None) -> _Target:
    try:
        size = os.stat(file.place).st_size
    except OSError:  # gone since preflight: the run will say so
        return _Target(file.place, None, "unknown")
    if start != "recorded":
        return _Target(file.place, PageState(size, 0 if start == "cold" else -(-size // PAGE_BYTES)), "whole")
    state = recorded.of(file.uri, size) if recorded is not None else None
    if state is None:
        return _Target(file.place, None, "unknown")
    exact = "exact" if state.is_exact else "number"
    return _Target(file.place, state, "whole" if state.whole else exact if state.size == size else "scaled")


def _reach(target: _Target) -> None:
    if target.state is None:
        return
    try:
        if target.state.whole == "none":
            cache.drop(target.path)
        elif target.state.whole == "all":
            cache.fill(target.path)
        else:
            restore(target.path, target.state.bitmap(os.stat(target.path).st_size))
    except OSError as error:
        raise CannotRunError(f"the page cache of {target.path} cannot be set: {error.strerror}") from None


def _checked(target: _Target) -> Agreement | None:
    """How the file's pages are now; None where nobody tells."""
    if target.state is None:
        return Agreement()
    try:
        if not target.state.whole:
            found = look(target.path)
            size = os.stat(target.path).st_size
            return None if found is None else Agreement.between(target.state.bitmap(size), found)
        whole = cache.of_file(target.path)
    except OSError:
        return None
    if whole is None:
        return None
    if target.state.whole == "none":
        return Agreement(whole.pages, 0, whole.resident)
    return Agreement(whole.pages, whole.pages - whole.resident, 0)


def _verified(found: Sequence[Agreement | None]) -> dict[str, Any]:
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return {"verified": None}
    total = sum(known, Agreement())
    return {"verified": {"pages": total.pages, "missing": total.missing, "extra": total.extra}}


def _notes(start: str, verified: dict[str, int] | None) -> list[str]:
    if verified is None:
        text = f"asked to start {_NAMES[start]}, but the kernel does not tell whether the page cache is in that state"
        return [text + " (nor does it ever tell a user who neither owns the files nor may write to them)"]
    agreement = Agreement(**verified)
    if agreement.share >= AGREEMENT:
        return []
    of = f"of {agreement.pages} pages"
    if start == "cold":
        return [f"asked to start cold, but {agreement.extra} {of} stayed in the page cache"]
    if start == "warm":
        return [
            f"asked to start warm, but {agreement.missing} {of} are not in the page cache; do the files fit into memory?"
        ]
    wrong = f"{agreement.missing} are missing in the page cache and {agreement.extra} should not be there"
    return [f"asked to start as recorded, but {of} {wrong}"]


_NAMES = {"cold": "cold", "warm": "warm", "recorded": "as recorded"}


def _remarks(targets: Sequence[_Target]) -> list[str]:
    kinds = Counter(target.how for target in targets)
    remarks = []
    if kinds["unknown"]:
        text = "was in the page cache when it was recorded is not known; that stays as it is"
        remarks.append(f"what of {counted(kinds['unknown'], 'file')} {text}")
    if kinds["scaled"]:
        text = "another size than recorded: each page was given the state of the recorded page at the same share of the file"
        remarks.append(f"{counted(kinds['scaled'], 'file')} of {text}")
    if kinds["number"]:
        text = "only the number of resident pages is known: that many were chosen at even distances"
        remarks.append(f"of {counted(kinds['number'], 'file')} {text}")
    return remarks
