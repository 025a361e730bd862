"""By which requests files are read, who reads them, and which sizes a profile's own files have."""

import numpy as np
import pytest

from tracekit.errors import CannotRunError, InputError, UnknownNameError
from tracekit.storage import MemoryStorage
from tracekit.workload import imitate, lanes, madedata, profiles
from tracekit.workload.dataset import Dataset, create_dataset
from tracekit.workload.shape import Shape

KIB = 1024


def _dataset(sizes):
    return Dataset(MemoryStorage({}), [f"m{index}" for index in range(len(sizes))], sizes)


@pytest.mark.parametrize(
    ("shape", "size", "requests"),
    [
        # As PyTorch's golden reads: cut to what is there, nothing beyond.
        (Shape("file"), 150_000, [(0, 65536), (65536, 65536), (131072, 18928)]),
        (Shape("file"), 65536, [(0, 65536)]),
        (Shape("file"), 0, []),
        # As tf.data does: whole buffers, a short one, and the rest once more.
        (Shape("stream", largest=100, smallest=100, ending="retry"), 250, [(0, 100), (100, 100), (200, 100), (250, 50)]),
        (Shape("stream", largest=100, smallest=100, ending="retry"), 200, [(0, 100), (100, 100), (200, 100)]),
        # As Pillow does through a buffer of 4 KiB: the header, the rest of 64 KiB, blocks of what is lacking.
        (Shape("file", head=(4096, 61440), ending="buffered"), 44_732, [(0, 4096), (4096, 61440), (44732, 20480)]),
        (Shape("file", head=(4096, 61440), ending="buffered"), 64_299, [(0, 4096), (4096, 61440), (64299, 4096)]),
        (Shape("stream", cycle=(4, 8), ending="retry"), 14, [(0, 4), (4, 8), (12, 4), (14, 2)]),
    ],
)  # fmt: skip
def test_a_file_is_read_as_its_framework_reads_it(shape, size, requests):
    """The requests for a file of a size are those of the recorded framework, its end included."""
    assert shape.requests(size) == requests


@pytest.mark.parametrize("size", [1, 100, 131_071, 131_072, 400_000, 1_000_000])
def test_drawn_sizes_lie_between_their_bounds(size):
    """Sizes that vary cover the file without a gap, every one within the bounds unless the file is smaller."""
    shape = Shape("file", smallest=128 * KIB, largest=256 * KIB)
    for seed in range(20):
        requests = shape.requests(size, seed)
        assert [offset for offset, _ in requests] == np.cumsum([0, *[length for _, length in requests]])[:-1].tolist()
        assert sum(length for _, length in requests) == size
        if size >= 256 * KIB:
            assert all(128 * KIB <= length <= 256 * KIB for _, length in requests)
    assert size < 300_000 or shape.requests(size, 1) != shape.requests(size, 2)


def _job(name, form="recorded"):
    return profiles.find(name, form).job("m")


def test_batches_of_files_are_dealt_to_workers_in_turn():
    """Batch k is read whole by worker k mod W, which is never more than its share of the prefetch ahead."""
    job = _job("torch-like")
    first, second = lanes.passes(job, Shape("file"), _dataset([10] * 100))
    assert [made_of for _, made_of in first.batches] == [[(k % 2, k // 2)] for k in range(7)]
    assert [lane.needs for lane in first.lanes] == [[16, 32, 48, 52], [16, 32, 48]]
    assert [lane.allowed for lane in first.lanes] == [[32, 48, 52, 52], [32, 48, 48]]
    samples = [item.sample for lane in first.lanes for item in lane.items]
    assert sorted(samples) == list(range(100))
    assert samples != [item.sample for lane in second.lanes for item in lane.items]


def test_shards_are_dealt_to_workers_and_read_through():
    """A stream's samples take the requests up to their last byte; all requests of a shard are made, in order."""
    profile = profiles.find("webdataset-like", "recorded")
    dataset = _of_recipe(profile.recipe)
    first, _ = lanes.passes(profile.job("m"), profile.shape, dataset)
    for lane in first.lanes:
        assert len(lane.items) == 16 * 12
        for shard in dict.fromkeys(item.file for item in lane.items):
            items = [item for item in lane.items if item.file == shard]
            requests = [request for item in items for request in item.requests]
            assert requests == profile.shape.requests(int(dataset.sizes[shard]), shard)
            assert [item.opens for item in items] == [True] + [False] * 11
            assert [item.closes for item in items] == [False] * 11 + [True]
        # A buffer of 32 is filled before the first batch of 16.
        assert lane.needs[:3] == [48, 64, 80]
        assert lane.needs[-1] == 192
    assert len(first.batches) == 24


def test_readers_that_work_together_feed_every_batch():
    """Where all workers feed each batch, it needs its share of each of them; epochs follow each other without a stop."""
    profile = profiles.find("tf-like", "recorded")
    (whole,) = lanes.passes(profile.job("m"), profile.shape, _of_recipe(profile.recipe))
    assert len(whole.batches) == 128
    assert [epoch for epoch, _ in whole.batches] == [0] * 32 + [1] * 32 + [2] * 32 + [3] * 32
    assert whole.lanes[0].needs[:2] == [40, 48]
    assert not whole.tagged


def _of_recipe(recipe):
    sizes = [recipe.size(number) for number in range(recipe.files)]
    whole = Dataset(MemoryStorage({}), [f"m/{name}" for name in recipe.names()], sizes)
    return madedata.dataset(recipe, whole)


@pytest.mark.parametrize("name", sorted(profiles.PRESETS))
@pytest.mark.parametrize("form", profiles.FORMS)
def test_every_batch_can_come(name, form):
    """Whatever the profile, no batch needs more than its workers are allowed to read, and the last allows everything."""
    profile = profiles.find(name, form)
    for dealt in lanes.passes(profile.job("m"), profile.shape, _of_recipe(profile.recipe)):
        for lane in dealt.lanes:
            assert all(need <= allowed for need, allowed in zip(lane.needs, lane.allowed, strict=True))
            assert lane.needs[-1] <= len(lane.items) == lane.allowed[-1]


@pytest.mark.parametrize("name", ["torch-like", "imagenet-like"])
def test_prefetch_is_twice_the_workers(name):
    """The seed's preset for PyTorch: two batches ahead for each worker."""
    profile = profiles.find(name)
    assert profile.prefetch == 2 * profile.workers
    assert profile.job("m").loader.shuffle


def test_the_recorded_sizes_are_the_goldens(repository):
    """The files that profiles make are as large as those the goldens were recorded on: to the byte, or within a block or 2 KiB."""
    from tracekit.trace import Trace

    slack = {"torch-like": 0, "tf-like": 0, "jax-like": 65536, "imagenet-like": 2200, "webdataset-like": 10240}
    for name, most in slack.items():
        trace = Trace.read(str(repository / "golden" / name / "specimen.parquet"))
        recipe = profiles.find(name, "recorded").recipe
        mine = {file: recipe.size(number) for number, file in enumerate(recipe.names())}
        ends = {}
        for op in trace:
            if op.op == "read":
                ends[op.uri] = max(ends.get(op.uri, 0), op.offset + (op.ret or 0))
        assert len(ends) == recipe.files
        for uri, end in ends.items():
            assert abs(mine["/".join(uri.split("/")[4:])] - end) <= most, uri


def test_a_data_set_is_made_once(tmp_path):
    """What is there is left alone; what is missing is made again; a file of another size is somebody's, and nothing is written."""
    recipe = madedata.Recipe("f{:d}.bin", files=4, samples=3, smallest=100, largest=200, framing=8, header=16)
    assert madedata.make(recipe, str(tmp_path)) == 4
    assert madedata.make(recipe, str(tmp_path)) == 0
    (tmp_path / "f3.bin").unlink()
    assert madedata.make(recipe, str(tmp_path)) == 1
    samples = madedata.dataset(recipe, create_dataset(str(tmp_path)))
    assert len(samples) == 12
    assert int(samples.offset[0]) == 16
    assert all(108 <= length <= 208 for length in samples.length)
    (tmp_path / "f2.bin").write_bytes(b"short")
    (tmp_path / "f3.bin").unlink()
    with pytest.raises(InputError, match=r"f2\.bin has 5 bytes, and this profile's own has"):
        madedata.make(recipe, str(tmp_path))
    assert (tmp_path / "f2.bin").read_bytes() == b"short"
    assert not (tmp_path / "f3.bin").exists()
    with pytest.raises(InputError, match=r"f2\.bin has 5 bytes, and this profile's own has"):
        madedata.dataset(recipe, create_dataset(str(tmp_path)))


def test_other_peoples_files_are_a_sample_each(tmp_path):
    """A data set that no recipe made is taken file by file."""
    (tmp_path / "mine.bin").write_bytes(b"1234")
    assert len(madedata.dataset(profiles.find("tf-like").recipe, create_dataset(str(tmp_path)))) == 1


def test_unknown_profiles_and_forms_are_proposed():
    """A misspelt name is answered with the nearest."""
    with pytest.raises(UnknownNameError, match="did you mean 'torch-like'"):
        profiles.find("torch-lik")
    with pytest.raises(UnknownNameError, match="did you mean 'recorded'"):
        profiles.find("torch-like", "recoded")


def test_a_worker_without_memory_is_an_error(monkeypatch):
    """Where a worker's buffer cannot be had, the consumer is told, and does not wait for ever."""

    def none(_size):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(imitate, "Buffer", none)
    dataset = Dataset(MemoryStorage({"m0": b"x"}), ["m0"], [1])
    with pytest.raises(CannotRunError, match="there is no memory for requests of"):
        next(imitate.imitate(_job("torch-like"), Shape("file"), dataset))


def test_what_is_looked_at_and_gone_is_one_sentence():
    """A file that went away after listing is named, also where a framework looks at all files first."""
    dataset = Dataset(MemoryStorage({}), ["m0"], [1])
    with pytest.raises(CannotRunError, match="m0 cannot be read: No such file"):
        next(imitate.imitate(_job("tf-like"), Shape("stream", looks="stat"), dataset))
