"""How many threads of a loader read at once, what they share, and how far ahead they go: every option about that acts."""

import threading
import time

import pytest

from tracekit.storage import MemoryStorage
from tracekit.workload.dataset import Dataset
from tracekit.workload.loader import create_async_loader

LARGE = 1 << 20
PATIENCE_S = 60


class _Watched(MemoryStorage):
    """Notes what is opened, and by how many at once; each waits there until `together` have come."""

    def __init__(self, objects, together=1):
        super().__init__(objects)
        self.opened, self.now, self.most = [], 0, 0
        self._lock, self._barrier = threading.Lock(), threading.Barrier(together)

    def open(self, place, access):
        with self._lock:
            self.opened.append(place)
            self.now += 1
            self.most = max(self.most, self.now)
        self._barrier.wait(PATIENCE_S)
        with self._lock:
            self.now -= 1
        return super().open(place, access)


def _loader(count, size, options, together=1):
    objects = {f"s3://b/{index:03d}": bytes(size) for index in range(count)}
    storage = _Watched(objects, together)
    return storage, create_async_loader(Dataset(storage, list(objects), [size] * count), options)


@pytest.mark.parametrize(
    ("options", "count"),
    [({"num_workers": 3}, 3), ({"pool": {"pool_size": 20}}, 20), ({"pool": {"pool_size": 8, "max_inflight": 3}}, 3)],
)
def test_as_many_read_at_once_as_asked(options, count):
    """Workers, the threads of the pool, or what it may have under way: so many meet in one batch of as many samples, and never one more."""
    storage, loader = _loader(3 * count, LARGE, {"batch_size": count, **options}, together=count)
    assert sum(map(len, loader)) == 3 * count
    assert storage.most == count


@pytest.mark.parametrize(("mode", "readers"), [("sequential", 1), ("range", 2)])
def test_a_sample_is_read_by_one_thread_or_by_several(mode, readers):
    """`range` lets the requests of one sample be made by both threads at once, `sequential` by one."""
    options = {"batch_size": 1, "num_workers": 2, "reader_mode": mode, "target_request_bytes": 65536}
    storage, loader = _loader(1, 2 * LARGE, options, together=readers)
    assert [len(sample) for batch in loader for sample in batch] == [2 * LARGE]
    assert len(storage.opened) == readers


@pytest.mark.parametrize("options", [{"prefetch": 3}, {"prefetch": 9, "pool": {"readahead_batches": 3}}])
def test_so_many_batches_are_made_ahead(options):
    """While the consumer has the first batch, three more are read and not a fourth."""
    storage, loader = _loader(20, 100, {"batch_size": 2, **options})
    batches = iter(loader)
    next(batches)
    end = time.monotonic() + PATIENCE_S
    while len(storage.opened) < 8 and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(0.05)  # for one that should not come
    assert len(storage.opened) == 8
    batches.close()
