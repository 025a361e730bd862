"""Which descriptors this process has open, for tests that look for leaks."""

from __future__ import annotations

import gc
import os


def open_descriptors() -> set[str]:
    """Their numbers, that of the look itself among them.

    What earlier tests left to the garbage collector is closed first. Threads of theirs may still close some later, so a leak is
    a number that was not there before, and not a difference of counts.
    """
    gc.collect()
    return set(os.listdir("/proc/self/fd"))
