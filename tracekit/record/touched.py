"""What a process says about its mapped files, beside its ops (tracekit/_native/touched.h and ending.h)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

MODES = ("map", "pagemap", "exact")
# Where in the head of a process the facts stand.
_TOUCHES_AT, _RINGS_AT = 1024, 2048
_TOUCHES = Struct("<8sIIQQQQQII")
_MAGIC = b"tktouch\0"
_RINGS = Struct("<II")
# As in touched.h; what the reader of a trace is told.
_LEFT = {
    1: "executable",
    2: "populated by the kernel as a whole",
    3: "shared memory, huge pages or DAX",
    4: "more maps than can be watched",
    5: "refused by the kernel",
}
_PYTHON = "the Python engine records maps of files, not what is touched in them; the native engine can"
_NO_PYTHON = "programs that are no Python are not looked into"
_NATIVE_CHILD = "a forked process got no userfaultfd of its own"
_CLOSED = "the program closed the descriptor that the kernel needs to tell pages apart"


def facts(head: bytes) -> dict[str, Any]:
    """What the head of a process says about looking for touched pages; empty where nobody looked.

    Returns:
        mode, ended (whether the last look was taken), maps (watched), privately (of those, mapped as private instead of
        shared), looks, look_ticks, pages, refused, closed.
    """
    if len(head) < _TOUCHES_AT + _TOUCHES.size:
        return {}
    magic, mode, ended, maps, privately, looks, ticks, pages, refused, closed = _TOUCHES.unpack_from(head, _TOUCHES_AT)
    if magic != _MAGIC or mode >= len(MODES):
        return {}
    return {
        "mode": MODES[mode], "ended": bool(ended), "maps": maps, "privately": privately, "looks": looks,
        "look_ticks": ticks, "pages": pages, "refused": refused, "closed": closed,
    }  # fmt: skip


def rings(head: bytes) -> int:
    """How many io_urings a process was seen to have."""
    return max(_RINGS.unpack_from(head, _RINGS_AT)) if len(head) >= _RINGS_AT + _RINGS.size else 0


def coverage(parts: Sequence[Any], touched_bytes: int, wanted: str) -> dict[str, Any]:
    """What the trailer's `coverage` says about mapped files and rings.

    Args:
        parts: The parts of a run.
        touched_bytes: Bytes of the touch ops in the trace.
        wanted: What was asked for with --mmap.
    """
    found: dict[str, Any] = {}
    if count := sum(part.rings for part in parts):
        found["io_uring"] = count
    if wanted == "map":
        return found
    modes = sorted({part.touches["mode"] if part.touches else "map" for part in parts}, key=MODES.index)
    found.update(mmap=",".join(modes) or "map", mapped_touched_bytes=touched_bytes)
    if reasons := _reasons(parts, modes, wanted):
        found["mmap_why"] = "; ".join(reasons)
    looked = [part.touches for part in parts if part.touches]
    if looked:
        found.update(
            watched_maps=sum(each["maps"] for each in looked), private_maps=sum(each["privately"] for each in looked),
            touched_looks=sum(each["looks"] for each in looked),
            touched_look_ns=sum(part.look_ns for part in parts),
        )  # fmt: skip
    if killed := sum(1 for each in looked if each["maps"] and not each["ended"]):
        found["touches_cut_short"] = killed
    left: dict[str, int] = {}
    for part in parts:
        for reason, count in part.left_maps.items():
            left[_LEFT.get(reason, f"reason {reason}")] = left.get(_LEFT.get(reason, f"reason {reason}"), 0) + count
    if left:
        found["unwatched_maps"] = left
    return found


def _reasons(parts: Sequence[Any], modes: Sequence[str], wanted: str) -> list[str]:
    reasons = sorted({part.about["mmap_why"] for part in parts if part.about.get("mmap_why")})
    if not reasons and "map" in modes and wanted != "map":
        native = all(part.layer != "python" for part in parts if not part.touches)
        reasons.append(_NO_PYTHON if native and parts else _PYTHON)
    if any(part.touches.get("refused") for part in parts):
        reasons.append(_NATIVE_CHILD)
    if any(part.touches.get("closed") for part in parts):
        reasons.append(_CLOSED)
    return reasons


def sentences(coverage: Mapping[str, Any]) -> list[str]:
    """What the user is told after a recording that looked for touched pages, or was to."""
    said = []
    if coverage.get("mmap_why"):
        said.append(f"mapped files were recorded as with --mmap {coverage['mmap']}: {coverage['mmap_why']}")
    if count := coverage.get("touches_cut_short"):
        said.append(
            f"{count} of the processes with watched maps did not end by themselves: what they touched last is not in the trace"
        )
    if left := coverage.get("unwatched_maps"):
        said.append("maps not watched: " + ", ".join(f"{count} {reason}" for reason, count in sorted(left.items())))
    return said
