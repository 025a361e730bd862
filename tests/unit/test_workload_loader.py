"""The loader on local files: what it hands over, in which order, by which requests."""

import asyncio
import errno
import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from descriptors import open_descriptors

from tracekit.errors import CannotRunError, InputError, UsageError
from tracekit.storage import MemoryStorage
from tracekit.workload import fetch, plan
from tracekit.workload.dataset import Dataset, create_dataset
from tracekit.workload.distribution import Distribution
from tracekit.workload.loader import Loader, create_async_loader
from tracekit.workload.memory import Arenas, pages
from tracekit.workload.options import LoaderOptions
from tracekit.workload.order import order, zipfian

SIZES = [0, 1, 4096, 4097, 70_000, 200_000, 12_345, 3]
MODES = ("default", "random", "sequential")


def _content(index, size):
    return np.random.default_rng(index).bytes(size)


@pytest.fixture
def folder(tmp_path):
    """Eight files of sizes from nothing to 200 kB, in two folders."""
    for index, size in enumerate(SIZES):
        place = tmp_path / "data" / f"part{index % 2}" / f"file{index}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(_content(index, size))
    return str(tmp_path / "data")


def _by_name(loader):
    return {os.path.basename(sample.uri): bytes(sample.data) for batch in loader for sample in batch}


EXPECTED = {f"file{index}": _content(index, size) for index, size in enumerate(SIZES)}


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("reader", ["sequential", "range"])
@pytest.mark.parametrize("mode", MODES)
def test_every_sample_comes_whole_and_once(folder, workers, reader, mode):
    """However it is read, an epoch hands over every file once, with its bytes."""
    options = {"batch_size": 3, "num_workers": workers, "reader_mode": reader, "page_cache_mode": mode, "target_request_bytes": 4096, "shuffle": True}  # fmt: skip
    loader = create_async_loader(folder, options)
    assert _by_name(loader) == EXPECTED
    assert _by_name(loader) == EXPECTED


@pytest.mark.parametrize(
    ("mode", "advice"), [("default", -1), ("random", os.POSIX_FADV_RANDOM), ("sequential", os.POSIX_FADV_SEQUENTIAL)]
)
def test_the_page_cache_mode_is_told_to_who_reads(folder, mode, advice, monkeypatch):
    """Each file is read with the advice that the mode stands for."""
    core, told = pytest.importorskip("tracekit._core"), []

    class Told:
        @staticmethod
        def fetch(*words):
            told.append(words[3])
            return core.fetch(*words)

    monkeypatch.setattr(fetch, "_core", lambda: Told)
    assert _by_name(create_async_loader(folder, {"page_cache_mode": mode})) == EXPECTED
    assert set(told) == {advice}


def test_direct_reads_give_the_same(folder):
    """Rounded outwards to blocks and cut back, reads by O_DIRECT hand over the same bytes; `direct://` means the same."""
    if not _takes_direct_file(os.path.join(folder, "part0", "file4")):
        pytest.skip("the temporary directory refuses O_DIRECT")
    options = {"batch_size": 3, "target_request_bytes": 8192}
    assert _by_name(create_async_loader(folder, options | {"page_cache_mode": "direct"})) == EXPECTED
    loader = create_async_loader(f"direct://{folder}", options)
    assert _by_name(loader) == EXPECTED
    assert next(iter(loader))[0].uri.startswith("direct://")
    assert loader.fetcher.name == "core"


def test_records_inside_files_are_samples(tmp_path):
    """A file cut into records is read record by record, also directly at offsets that are no block's."""
    body = _content(1, 10_000)
    (tmp_path / "data").write_bytes(body)
    records = create_dataset(str(tmp_path / "data")).records(1500)
    modes = ["default", *(["direct"] if _takes_direct_file(tmp_path / "data") else [])]
    for mode in modes:
        loader = create_async_loader(records, {"batch_size": 2, "page_cache_mode": mode, "target_request_bytes": 4096})
        got = [bytes(sample.data) for batch in loader for sample in batch]
        assert got == [body[at : at + 1500] for at in range(0, 9000, 1500)]
    with pytest.raises(InputError, match="no file of 1 holds a record of 10001 bytes"):
        create_dataset(str(tmp_path / "data")).records(10_001)


def _takes_direct_file(path):
    from tracekit.storage import direct

    handle = direct.open_direct(str(path))
    if handle is not None:
        handle.close()
    return handle is not None


def test_core_and_twin_read_the_same(folder):
    """The core and the storage seam fill memory, results and times alike."""
    dataset = create_dataset(folder)
    loader = create_async_loader(dataset, {"batch_size": 8, "num_workers": 0, "target_request_bytes": 4096})
    batch = next(iter(loader))
    read = {name: [] for name in ("core", "twin")}
    for name, way in (("core", fetch.choose(dataset, "default").fetch), ("twin", lambda r: fetch.by_storage(dataset, "default", r))):  # fmt: skip
        layout = plan.lay_out(dataset, batch.indices, 1 << 20, 4096, direct=False, discard=False)
        memory = np.zeros(layout.bytes, np.uint8)
        ranges = plan.ranges(dataset, batch.indices, layout, memory)
        way(ranges)
        assert (ranges.rows["completed"] >= ranges.rows["submitted"]).all()
        assert (ranges.rows["submitted"] > 0).all()
        read[name] = (memory.tobytes(), ranges.rows["result"].tolist())
    assert read["core"] == read["twin"]


@pytest.fixture
def direct_files(tmp_path):
    """Files of sizes around blocks and requests, and a dataset of them; skipped where O_DIRECT is refused."""
    for index, size in enumerate([0, 1, 511, 4096, 4097, 70_000, 200_000, 65_536, 3, *range(5000, 5040)]):
        (tmp_path / f"{index:03d}").write_bytes(_content(index, size))
    if not _takes_direct_file(tmp_path / "005"):
        pytest.skip("the temporary directory refuses O_DIRECT")
    return create_dataset(str(tmp_path))


def _direct_ranges(dataset, order):
    layout = plan.lay_out(dataset, order, 1 << 22, 8192, direct=True, discard=False)
    ranges = plan.ranges(dataset, order, layout, pages(layout.bytes))
    return layout, ranges


@pytest.mark.parametrize("depth", [1, 2, 5, 32, 4096])
def test_however_many_are_under_way_direct_reads_bring_the_same(direct_files, depth):
    """Results and memory are those of reading one by one through the seam, files are closed, and no more are under way than asked."""
    order = np.random.default_rng(depth).permutation(len(direct_files))
    layout, ranges = _direct_ranges(direct_files, order)
    _, twins = _direct_ranges(direct_files, order)
    before = open_descriptors()
    fetch.choose(direct_files, "direct", depth).fetch(ranges)
    assert open_descriptors() <= before
    fetch.by_storage(direct_files, "direct", twins)
    assert ranges.rows["result"].tolist() == twins.rows["result"].tolist()
    fetch.check(direct_files, ranges)
    for start, index in zip(layout.starts.tolist(), order.tolist(), strict=True):
        size = int(direct_files.length[index])
        assert bytes(ranges.memory[start : start + size]) == _content(index, size)
    rows = ranges.rows
    begins, ends = rows["submitted"], rows["completed"]
    assert (begins > 0).all()
    assert (ends >= begins).all()
    moments = np.concatenate([begins, ends])
    steps = np.concatenate([np.ones(len(rows), int), -np.ones(len(rows), int)])
    assert np.cumsum(steps[np.lexsort((steps, moments))]).max() <= depth


def test_direct_reads_are_under_way_together_where_a_ring_is_permitted(direct_files):
    """As many as asked, or as there are; one by one where there is only one, without O_DIRECT, and without a ring."""
    core = pytest.importorskip("tracekit._core")
    permitted = core.uring_probe()[0] == 0
    _, ranges = _direct_ranges(direct_files, np.arange(len(direct_files)))
    ranges.rows["name"] = direct_files.name_at[ranges.files]

    def most(count, advice, depth):
        return core.fetch(direct_files.names, ranges.rows.ctypes.data, count, advice, depth)

    assert most(20, -2, 8) == (8 if permitted else 1)
    assert most(20, -2, 32) == (20 if permitted else 1)
    assert most(1, -2, 32) == most(20, -2, 1) == most(20, -1, 32) == 1
    with pytest.raises(ValueError, match="a depth from 1 to 4096"):
        most(20, -2, 0)


def test_a_missing_file_fails_alone_among_direct_reads(direct_files):
    """Its requests say why, those of the others come."""
    order = np.arange(len(direct_files))
    _, ranges = _direct_ranges(direct_files, order)
    os.remove(direct_files.places[6])
    fetch.choose(direct_files, "direct").fetch(ranges)
    gone = ranges.files == 6
    assert (ranges.rows["result"][gone] == -errno.ENOENT).all()
    assert (ranges.rows["result"][~gone] >= ranges.wanted[~gone]).all()
    with pytest.raises(CannotRunError, match=r"006 cannot be read: No such file or directory"):
        fetch.check(direct_files, ranges)


@pytest.mark.parametrize(("pool", "depth"), [(None, 32), ({}, 4), ({"pool_size": 2, "max_inflight": 6}, 3),
                                             ({"pool_size": 8, "max_inflight": 4}, 1), ({"pool_size": 1, "max_inflight": 500}, 32)])  # fmt: skip
def test_the_pool_bounds_direct_reads_under_way(pool, depth):
    """`max_inflight` is over all threads."""
    assert LoaderOptions.of({"pool": pool} if pool is not None else {}).direct_depth == depth


def test_memory_storage_serves_too():
    """Whatever has the seam can be read from: here objects in memory."""
    objects = {f"s3://b/{index}": _content(index, size) for index, size in enumerate(SIZES)}
    dataset = Dataset(MemoryStorage(objects), list(objects), [len(body) for body in objects.values()])
    loader = create_async_loader(dataset, {"batch_size": 3})
    assert {sample.uri: bytes(sample.data) for batch in loader for sample in batch} == objects
    assert loader.fetcher.reason == "objects are read by their clients"


def test_requests_are_no_larger_than_asked(folder):
    """`target_request_bytes` is the most that one request asks for; together they ask for every byte once."""
    loader = create_async_loader(folder, {"batch_size": 4, "target_request_bytes": 65536}, metrics=True)
    list(loader)
    trace = loader.trace()
    sizes = trace.col("len")
    assert int(sizes.max()) == 65536
    assert int(sizes.sum()) == sum(SIZES)
    assert sorted(sizes.tolist()) == sorted([0, 1, 4096, 4097, 65536, 70_000 - 65536, *[65536] * 3, 200_000 - 3 * 65536, 12_345, 3])  # fmt: skip
    metrics = loader.metrics()
    assert (metrics.data_ops, metrics.bytes, metrics.files) == (len(trace), sum(SIZES), len(SIZES))
    assert metrics.peak_inflight > 0


def test_without_metrics_a_loader_says_so(folder):
    """A loader that keeps no record does not make one up."""
    with pytest.raises(UsageError, match="metrics=True"):
        create_async_loader(folder).metrics()


def test_the_order_is_the_seeds_and_the_epochs():
    """The same seed and epoch give the same permutation, another of either another one."""
    options = LoaderOptions(shuffle=True, seed=5)
    assert order(options, 1000, 0).tolist() == order(options, 1000, 0).tolist()
    assert order(options, 1000, 0).tolist() != order(options, 1000, 1).tolist()
    assert order(options, 1000, 0).tolist() != order(options.but(seed=6), 1000, 0).tolist()
    assert sorted(order(options, 1000, 0)) == list(range(1000))
    assert order(options.but(shuffle=False), 5, 3).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_ranks_share_one_order(world):
    """The shards of all ranks together are the whole order, none twice; with drop_last all are equally long."""
    options = LoaderOptions(shuffle=True, shard_world_size=world)
    shards = [order(options.but(shard_rank=rank), 100, 2) for rank in range(world)]
    assert sorted(np.concatenate(shards).tolist()) == list(range(100))
    even = [len(order(options.but(shard_rank=rank, drop_last=True), 100, 2)) for rank in range(world)]
    assert even == [100 // world] * world


@pytest.mark.parametrize(("mode", "first"), [("strided", {1, 4, 7, 10}), ("blocks", {4, 5, 6, 7})])
def test_ranks_may_keep_samples_of_their_own(mode, first):
    """Every third sample, or neighbours: the same in each epoch in another order, of all ranks together everything once."""
    options = LoaderOptions(shuffle=True, shard_world_size=3, shard_mode=mode)
    for epoch in range(3):
        shards = [order(options.but(shard_rank=rank), 11, epoch) for rank in range(3)]
        assert set(shards[1].tolist()) == first
        assert sorted(np.concatenate(shards).tolist()) == list(range(11))
    many = [order(options.but(shard_rank=1), 300, epoch).tolist() for epoch in range(2)]
    assert many[0] != many[1]
    assert [len(order(options.but(shard_rank=rank, drop_last=True), 11, 0)) for rank in range(3)] == [3, 3, 3]
    assert set(order(options.but(shard_rank=1, shuffle=False), 11, 0).tolist()) == first


@pytest.mark.parametrize("theta", [0.5, 0.99, 1.5])
def test_zipfian_draws_follow_their_exponent(theta):
    """The share of the samples of rank 1 to 10 is that of the weights r ** -theta, within five standard deviations."""
    count = 20_000
    drawn = zipfian(np.random.default_rng(1), np.random.default_rng(2), count, theta)
    weights = np.arange(1, count + 1) ** -theta
    expected = weights[:10] / weights.sum()
    hottest = np.random.default_rng(2).permutation(count)[:10]
    seen = np.array([(drawn == sample).mean() for sample in hottest])
    assert (abs(seen - expected) < 5 * np.sqrt(expected / count) + 1e-4).all()


def test_random_indices_draw_with_replacement():
    """A uniform index draws as many as there are: about 1 / e of the samples are left out."""
    drawn = order(LoaderOptions(random_index_mode="uniform"), 20_000, 0)
    assert len(drawn) == 20_000
    assert 1 - len(set(drawn.tolist())) / 20_000 == pytest.approx(np.exp(-1), abs=0.02)
    hot = order(LoaderOptions(random_index_mode="zipfian(1.2)"), 1000, 0)
    assert len(set(hot.tolist())) < 500


def test_a_last_batch_is_kept_or_dropped(folder):
    """Eight samples in batches of three are three batches, or two when the last is dropped."""
    assert [len(batch) for batch in create_async_loader(folder, {"batch_size": 3})] == [3, 3, 2]
    assert [len(batch) for batch in create_async_loader(folder, {"batch_size": 3, "drop_last": True})] == [3, 3]
    assert len(create_async_loader(folder, {"batch_size": 3})) == 3


def test_it_can_be_gone_through_asynchronously(folder):
    """`async for` gives what `for` gives, and other tasks run meanwhile."""

    async def go():
        ticks, got = [], {}

        async def tick():
            while True:
                ticks.append(1)
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        async for batch in create_async_loader(folder, {"batch_size": 2}):
            got.update({os.path.basename(sample.uri): bytes(sample.data) for sample in batch})
        ticking.cancel()
        return got, ticks

    got, ticks = asyncio.run(go())
    assert got == EXPECTED
    assert ticks


def test_what_is_discarded_is_read_and_not_shown(folder):
    """`discard` reads every byte and hands over samples without them, saying why."""
    loader = create_async_loader(folder, {"batch_size": 3, "loading_mode": "discard"}, metrics=True)
    batches = list(loader)
    assert loader.metrics().bytes == sum(SIZES)
    with pytest.raises(UsageError, match="were thrown away; loading_mode: data keeps"):
        _ = batches[0][0].data
    with pytest.raises(UsageError, match="were thrown away"):
        batches[0][0].pieces()


@pytest.mark.parametrize("mode", ["default", "direct"])
def test_a_sample_beyond_the_cap_comes_in_pieces(tmp_path, mode):
    """What does not fit under the cap is not held: its data is refused with a way out, its pieces are its bytes."""
    body = _content(1, 3 << 20)
    for name, content in (("a", body), ("b", b"small"), ("c", body[: 1 << 20])):
        (tmp_path / name).write_bytes(content)
    if mode == "direct" and not _takes_direct_file(tmp_path / "a"):
        mode = "default"
    options = {"num_workers": 1, "max_bytes_in_flight": 1 << 20, "target_request_bytes": 65536, "page_cache_mode": mode}
    (batch,) = create_async_loader(str(tmp_path), options)
    assert [sample.held for sample in batch] == [False, True, False]
    assert b"".join(bytes(piece) for piece in batch[0].pieces()) == body
    assert all(len(piece) <= 65536 for piece in batch[0].pieces())
    assert bytes(batch[1].data) == b"".join(batch[1].pieces()) == b"small"
    with pytest.raises(
        InputError, match=r"does not fit under max_bytes_in_flight; go through its pieces\(\), or raise"
    ):
        _ = batch[0].data


def test_what_the_consumer_keeps_stays(tmp_path):
    """Batches that are kept are not read over, whatever comes after them; more than the cap is the consumer's own choice."""
    for index in range(40):
        (tmp_path / f"{index:02d}").write_bytes(_content(index, 100_000))
    options = {"batch_size": 2, "max_bytes_in_flight": 1 << 20, "target_request_bytes": 65536, "num_workers": 2}
    kept = list(create_async_loader(str(tmp_path), options))
    assert [bytes(sample.data) for batch in kept for sample in batch] == [
        _content(index, 100_000) for index in range(40)
    ]


def test_a_pass_that_is_left_ends_its_threads(folder):
    """Leaving a pass early leaves no thread behind, and the next pass is whole."""
    loader = create_async_loader(folder, {"batch_size": 1, "num_workers": 3})
    run = iter(loader)
    next(run)
    assert len(run._run.threads) == 3
    run.close()
    assert not any(thread.is_alive() for thread in run._run.threads)
    assert list(run) == []
    assert _by_name(loader) == EXPECTED


def test_a_pass_that_is_forgotten_ends_its_threads(folder):
    """A loop left by `break` lets its threads end once nobody refers to it."""
    run = iter(create_async_loader(folder, {"batch_size": 1, "num_workers": 3}))
    next(run)
    threads = run._run.threads
    del run
    gc.collect()
    for thread in threads:
        thread.join(600)
    assert not any(thread.is_alive() for thread in threads)


def test_decoding_is_time_of_the_workers(folder):
    """Seconds of decoding are spent for each sample, and the batch says how many."""
    dataset = create_dataset(folder)
    for workers in (0, 2):
        loader = Loader(dataset, LoaderOptions(batch_size=4, num_workers=workers), decode=Distribution.fixed(0.001))
        assert [batch.decode_s for batch in loader] == pytest.approx([0.004, 0.004])


def test_a_file_that_is_gone_is_one_sentence(folder):
    """A file that vanished after listing ends the pass with its name, and with the workers."""
    loader = create_async_loader(folder, {"batch_size": 2})
    os.unlink(os.path.join(folder, "part1", "file3"))
    with pytest.raises(CannotRunError, match="file3 cannot be read: No such file or directory; check that it is there"):
        list(loader)


def test_a_file_that_shrank_is_one_sentence(folder):
    """A file that is shorter than when it was listed is not handed over as if it were whole."""
    loader = create_async_loader(folder, {"batch_size": 2})
    os.truncate(os.path.join(folder, "part1", "file5"), 100_000)
    with pytest.raises(
        InputError, match="file5 gave 100000 of 200000 bytes at 0: it is shorter than when it was listed"
    ):
        list(loader)


def test_a_batch_that_does_not_come_is_an_error():
    """A consumer waits `batch_timeout_s` for a batch and no longer."""
    import threading

    release = threading.Event()

    class Stuck(MemoryStorage):
        def open(self, place, access):
            release.wait()
            return super().open(place, access)

    dataset = Dataset(Stuck({"s3://b/a": b"x"}), ["s3://b/a"], [1])
    run = iter(create_async_loader(dataset, {"pool": {"pool_size": 1, "batch_timeout_s": 0.05}}))
    try:
        with pytest.raises(CannotRunError, match=r"batch 0 did not come within 0\.05 s"):
            next(run)
    finally:
        release.set()


def test_a_task_that_is_cancelled_while_it_waits_ends(monkeypatch):
    """Cancelling an asynchronous loop in the middle of a wait cancels it, and lets go of the thread that waits for it."""
    import threading

    opened, release = threading.Event(), threading.Event()

    class Stuck(MemoryStorage):
        def open(self, place, access):
            opened.set()
            release.wait()
            return super().open(place, access)

    dataset = Dataset(Stuck({"s3://b/a": b"x"}), ["s3://b/a"], [1])

    async def go():
        async def through():
            async for _ in create_async_loader(dataset, {"num_workers": 1}):
                pass

        task = asyncio.create_task(through())
        await asyncio.to_thread(opened.wait)
        task.cancel()
        # Closing waits for the request that is under way.
        threading.Timer(0.2, release.set).start()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("nothing", "there is nothing at nothing; check the name"),
        ("s4://b", "did you mean s3://"),
        ("az:///x", "names no container"),
    ],
)
def test_a_data_set_that_is_not_there_is_one_sentence(uri, said, monkeypatch):
    """A wrong place is named, with what to do."""
    monkeypatch.delenv("AZURE_BLOB_CONTAINER", raising=False)
    with pytest.raises(InputError) as caught:
        create_dataset(uri)
    assert said in str(caught.value)


def test_an_empty_folder_is_one_sentence(tmp_path):
    """A folder without files is no data set."""
    with pytest.raises(InputError, match="holds no files; name a folder with data"):
        create_dataset(str(tmp_path))


def test_samples_beyond_a_files_end_are_refused():
    """Samples are checked against the sizes of their files when the data set is made."""
    with pytest.raises(InputError, match="sample 0 would end at byte 20 of a, which has 10"):
        Dataset(MemoryStorage({}), ["a"], [10], np.zeros(1, np.int64), np.full(1, 10), np.full(1, 10))


def test_direct_needs_whole_blocks(folder):
    """A request size that O_DIRECT cannot read is refused for `direct://` as it is for the option."""
    with pytest.raises(UsageError, match="direct:// reads multiples of 4096; round it"):
        create_async_loader(f"direct://{folder}", {"target_request_bytes": 5000})


def test_cache_modes_are_for_files():
    """Telling the page cache what to expect of objects is refused: it has no effect there."""
    dataset = Dataset(_Far({}), [], [])
    with pytest.raises(UsageError, match="objects have no page cache here"):
        create_async_loader(dataset, {"page_cache_mode": "random"})


class _Far(MemoryStorage):
    local = False


_PEAK = """
import sys
from tracekit.workload.loader import create_async_loader
cap = 64 << 20
loader = create_async_loader(sys.argv[1], {"batch_size": 8, "num_workers": 4, "prefetch": 4, "max_bytes_in_flight": cap,
    "reader_mode": sys.argv[2], "loading_mode": sys.argv[3], "page_cache_mode": sys.argv[4]})
total = 0
for batch in loader:
    for sample in batch:
        total += sum(map(len, sample.pieces())) if sys.argv[3] == "data" else len(sample)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(total, peak * 1024 - cap)
"""


def test_idle_arrays_make_room():
    """Arrays that are kept for later count: with those in use they never hold more than the cap."""
    arenas = Arenas(1 << 20)
    first = arenas.take(200 << 10, 0)
    arenas.give(first, 0)
    assert arenas._arrays
    arenas.take(500 << 10, 600 << 10)
    assert not arenas._arrays
    arenas.give(first, 900 << 10)
    assert not arenas._arrays


_MANY = """
import sys
from tracekit.workload.loader import create_async_loader
cap = 128 << 20
loader = create_async_loader(sys.argv[1], {"batch_size": 1, "num_workers": 24, "prefetch": 4, "max_bytes_in_flight": cap,
    "reader_mode": "range"})
total = sum(len(batch[0]) for batch in loader)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(total, peak * 1024 - cap)
"""


def test_threads_that_wait_hold_no_memory(tmp_path):
    """Of 24 threads some have nothing to do for long: what they read last does not stay in memory beside the batches ahead."""
    for index in range(24):
        with open(tmp_path / f"{index:02d}", "wb") as file:
            file.truncate(30 << 20)
    done = subprocess.run([sys.executable, "-c", _MANY, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    total, above = map(int, done.stdout.split())
    assert total == 24 * (30 << 20)
    assert above < 64 << 20


@pytest.mark.parametrize(
    ("reader", "loading", "cache"),
    [
        ("sequential", "data", "default"),
        ("range", "data", "random"),
        ("range", "discard", "default"),
        ("sequential", "data", "direct"),
    ],
)
def test_memory_stays_below_the_cap(tmp_path, reader, loading, cache):
    """A process that reads small files, files near the cap and one far above it peaks below the cap and 64 MiB."""
    sizes = [1000] * 20 + [12 << 20] * 12 + [200 << 20] + [40 << 20] * 3
    for index, size in enumerate(sizes):
        with open(tmp_path / f"{index:03d}", "wb") as file:
            file.truncate(size)
    if cache == "direct" and not _takes_direct_file(tmp_path / "032"):
        cache = "default"
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(tmp_path), reader, loading, cache], capture_output=True, text=True, check=True
    )
    total, above = map(int, done.stdout.split())
    assert total == sum(sizes)
    assert above < 64 << 20
