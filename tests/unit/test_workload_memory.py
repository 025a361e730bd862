"""The memory that batches are read into is used again, and never while somebody looks at it."""

from tracekit.workload.memory import Arenas

SIZE = 1 << 20


def test_memory_that_nobody_looks_at_is_used_again():
    """An array that was given back comes again for a batch of about its size."""
    arenas = Arenas(4 * SIZE)
    array = arenas.take(SIZE)
    address = array.ctypes.data
    arenas.give(array)
    del array
    assert arenas.take(SIZE - 1000).ctypes.data == address


def test_memory_that_somebody_looks_at_is_left_to_him():
    """An array that was given back while a view of it lives is not handed out."""
    arenas = Arenas(4 * SIZE)
    array = arenas.take(SIZE)
    view = array.data[10:20]
    arenas.give(array)
    del array
    other = arenas.take(SIZE)
    other[:] = 1
    assert bytes(view) == bytes(10)


def test_idle_memory_stays_below_its_cap():
    """Arrays given back beyond the cap are let go, the oldest first."""
    arenas = Arenas(2 * SIZE)
    held = [arenas.take(SIZE) for _ in range(4)]
    addresses = [array.ctypes.data for array in held]
    while held:
        arenas.give(held.pop(0))
    assert {arenas.take(SIZE).ctypes.data for _ in range(2)} <= set(addresses[2:])
