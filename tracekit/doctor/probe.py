"""How the doctor looks: files of /proc and /sys, system calls that have no wrapper in Python, capabilities."""

from __future__ import annotations

import ctypes
from pathlib import Path


def system_call(number: int, *arguments: int) -> tuple[int, int]:
    """The result and errno of a system call that has no wrapper in Python."""
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    result = int(call(ctypes.c_long(number), *(ctypes.c_void_p(argument) for argument in arguments)))
    return result, ctypes.get_errno()


def has_capability(number: int) -> bool:
    """Whether this process has a capability, by its number in capabilities(7)."""
    line = next((line for line in text("/proc/self/status").splitlines() if line.startswith("CapEff:")), "")
    return bool(line) and bool(int(line.split()[1], 16) >> number & 1)


def text(path: str) -> str:
    """What a small file says; empty where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def reason(error: OSError) -> str:
    """The system's words for an error."""
    return error.strerror or str(error)
