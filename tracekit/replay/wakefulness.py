"""Processors kept out of idle states while a schedule is kept.

A processor that sleeps takes its time to wake: tens of microseconds for a virtual one, which the hypervisor must bring back.
Linux lets a permitted process bound that time for as long as it holds /dev/cpu_dma_latency open (kernel documentation,
"PM Quality Of Service Interface"); bound to zero, an idle processor polls instead. It still yields at once to whoever has
work.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from struct import pack

DEVICE = "/dev/cpu_dma_latency"
HELD = "kept awake"


@contextmanager
def processors_awake(*, wanted: bool) -> Iterator[str]:
    """Keep them awake inside the block where that is wanted and permitted; what became of it, in words."""
    if not wanted:
        yield "may sleep: there is no schedule to keep, or --no-realtime was given"
        return
    try:
        held = os.open(DEVICE, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        yield f"may sleep: {DEVICE} cannot be opened ({os.strerror(error.errno or 0)})"
        return
    try:
        os.write(held, pack("=i", 0))
        yield HELD
    finally:
        os.close(held)
