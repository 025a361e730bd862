"""What the first touch of memory costs here: `python tests/bench/bench_first_touch.py [MiB]`.

Anonymous memory in huge pages, each touched once: when it is first had, when it is had again at once, when it is had again eight
seconds after it was let go of. On a machine of its own the three agree. A virtual machine that gives unused memory back to its
host (free page reporting) pays for each page that has to come back, whatever it is wanted for: also the recorder's chunks, and
every other file that is written to the page cache.
"""

from __future__ import annotations

import mmap
import statistics
import sys
import time

HUGE = 1 << 21
SLOW_NS = 700_000


def touches(count: int) -> list[int]:
    """CPU ns of the first touch of each of so many huge pages."""
    memory = mmap.mmap(-1, (count + 1) * HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    took = []
    for at in range(HUGE, (count + 1) * HUGE, HUGE):
        start = time.thread_time_ns()
        memory[at] = 1
        took.append(time.thread_time_ns() - start)
    memory.close()
    return took


def main(mebibytes: int) -> None:
    """Print the three rows."""
    print(f"{mebibytes} MiB in pages of 2 MiB, first touches; slow: more than {SLOW_NS // 1000} us")
    for title, wait in (("at first", 0), ("again at once", 0), ("after 8 s", 8)):
        time.sleep(wait)
        took = touches(mebibytes // 2)
        slow = sum(ns > SLOW_NS for ns in took)
        print(f"{title:14} median {statistics.median(took) / 1000:6.0f} us, {slow} of {len(took)} slow")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024)
