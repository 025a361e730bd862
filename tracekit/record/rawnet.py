"""What a process says about system calls that did not come from the C library (tracekit/_native/rawnet.h)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

_AT = 3072
_FACTS = Struct("<8sQQII")
_MAGIC = b"tknet\0\0\0"
_PYTHON = "the Python engine sees no system calls; the native engine can"


def facts(head: bytes) -> dict[str, int]:
    """What the head of a process says about the net; empty where there was none.

    Returns:
        caught, noted (of those, I/O that went through a hook), withdrawn (whether the program took SIGSYS for itself), let_go
        (threads that made a thread or moved their own storage by a raw call).
    """
    if len(head) < _AT + _FACTS.size:
        return {}
    magic, caught, noted, withdrawn, let_go = _FACTS.unpack_from(head, _AT)
    if magic != _MAGIC:
        return {}
    return {"caught": caught, "noted": noted, "withdrawn": withdrawn, "let_go": let_go}


def coverage(parts: Sequence[Any], *, wanted: bool) -> dict[str, Any]:
    """What the trailer's `coverage` says about raw system calls: sums over the processes, and reasons for seeing less."""
    if not wanted:
        return {}
    nets = [part.net for part in parts if part.net]
    found: dict[str, Any] = {
        name: sum(net[name] for net in nets) for name in ("caught", "noted", "withdrawn", "let_go")
    }
    reasons = sorted({part.about["raw_why"] for part in parts if part.about.get("raw_why")})
    if any(part.layer == "python" for part in parts):
        reasons.append(_PYTHON)
    if reasons:
        found["why"] = "; ".join(reasons)
    return {"raw_syscalls": found}


def is_whole(parts: Sequence[Any]) -> bool:
    """Whether the net was out in every process and stayed so."""
    looked = [part.net for part in parts if part.layer != "strace"]  # which sees every call
    return bool(looked) and all(net and not net["withdrawn"] and not net["let_go"] for net in looked)


def sentences(found: Mapping[str, Any] | None) -> list[str]:
    """What the user is told after a recording with --raw-syscalls that saw less than was asked for."""
    if found is None:
        return []
    said = [f"raw system calls were not caught everywhere: {found['why']}"] if "why" in found else []
    if count := found["withdrawn"]:
        said.append(f"raw system calls were no longer caught in {count} of the processes, which use SIGSYS themselves")
    if count := found["let_go"]:
        said.append(
            f"{count} times a thread made a thread by a raw call, or moved its own storage: its raw calls after that were not "
            "caught"
        )
    return said
