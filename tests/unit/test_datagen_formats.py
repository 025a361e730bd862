"""Generated files are what they say: each is opened by the library that owns its format, and holds what was asked for."""

import gc
import itertools
import json
import os
import re
import struct
import subprocess
import sys
import tarfile
import warnings
import zlib
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tracekit.errors import UnknownNameError, UsageError
from tracekit.uri import file_uri
from tracekit.workload.datagen import checksum, generate, survey
from tracekit.workload.datagen.content import BLOCK, Content
from tracekit.workload.datagen.layout import Plan
from tracekit.workload.datagen.registry import FORMATS, suffix_of
from tracekit.workload.datagen.sink import gathered
from tracekit.workload.distribution import Distribution
from tracekit.workload.job import DataSet

SIZE = 3000


def made(tmp_path, fmt, seed=3, ratio=1.0, **other):
    """The files of a small data set of a format, in order of their names."""
    facts = {"files_train": 2, "samples_per_file": 5, "record_bytes": Distribution.fixed(SIZE)} | other
    data = DataSet(file_uri(tmp_path / "d"), fmt, **facts)
    generate(survey(data, seed, ratio), processes=1)
    return sorted(
        path for path in (tmp_path / "d" / "train").rglob("*") if path.is_file() and not path.name.endswith(".idx")
    )


def is_noise(data):
    """Whether bytes do not compress and are not all alike."""
    return len(zlib.compress(bytes(data), 9)) > 0.99 * len(data) and len(set(bytes(data))) > 200


def test_npy_is_opened_by_numpy(tmp_path):
    """One array per file, the samples along its last axis, of noise."""
    files = made(tmp_path, "npy")
    arrays = [np.load(path) for path in files]
    assert [path.name for path in files] == ["img_0_of_2.npy", "img_1_of_2.npy"]
    assert all(array.shape == (SIZE, 5) and array.dtype == np.uint8 and is_noise(array.tobytes()) for array in arrays)
    assert not np.array_equal(*arrays)


def test_npz_is_opened_by_numpy(tmp_path):
    """`x` holds the samples and `y` a label for each; the archive's checksums are right."""
    import zipfile

    for path in made(tmp_path, "npz"):
        with np.load(path) as archive:
            assert archive["x"].shape == (SIZE, 5)
            assert archive["y"].tolist() == [0] * 5
        assert zipfile.ZipFile(path).testzip() is None


def test_a_compressed_npz_is_opened_by_numpy_and_smaller(tmp_path):
    """`zip` packs: content that is to halve does."""
    for path in made(tmp_path, "npz", ratio=2.0, compression="zip", record_bytes=Distribution.fixed(1 << 16)):
        with np.load(path) as archive:
            assert archive["x"].shape == (1 << 16, 5)
        assert 0.4 < path.stat().st_size / (5 << 16) < 0.6


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_record_dims_and_element_types_are_kept(tmp_path, dtype):
    """A record of dimensions is an array of them, in the element type asked for."""
    sets = {"dims": (4, 6), "element_type": dtype}
    size = Distribution.fixed(24 * np.dtype(dtype).itemsize)
    array = np.load(made(tmp_path, "npy", settings=sets, record_bytes=size)[0])
    assert (array.shape, array.dtype) == ((4, 6, 5), np.dtype(dtype))
    with h5py.File(made(tmp_path / "h", "hdf5", settings=sets, record_bytes=size)[0]) as file:
        assert (file["records"].shape, file["records"].dtype) == ((5, 4, 6), np.dtype(dtype))


def test_hdf5_is_opened_by_h5py(tmp_path):
    """`records` has a row for each sample, `labels` a number."""
    for path in made(tmp_path, "hdf5"):
        with h5py.File(path) as file:
            assert file["records"].shape == (5, SIZE)
            assert file["labels"].shape == (5,)
            assert is_noise(file["records"][:].tobytes())


@pytest.mark.parametrize(
    ("sets", "compression", "name", "seen"),
    [
        ({"chunk_size": 100}, "none", "records", {"chunks": (1, 100)}),
        ({"chunk_dims": (50,)}, "gzip", "records", {"chunks": (1, 50), "compression": "gzip", "compression_opts": 4}),
        ({"chunk_dims": (50,)}, "lzf", "records", {"compression": "lzf"}),
        ({"max_shape": (9000,)}, "none", "records", {"maxshape": (None, 9000)}),
        ({"datasets_per_record": 3}, "none", "records_2", {"shape": (5, SIZE)}),
    ],
)  # fmt: skip
def test_the_settings_of_hdf5_act(tmp_path, sets, compression, name, seen):
    """Chunks, filters, limits and several data sets per record are in the file."""
    with h5py.File(made(tmp_path, "hdf5", settings=sets, compression=compression)[0]) as file:
        for attribute, value in seen.items():
            assert getattr(file[name], attribute) == value


def examples(path):
    """(offset, length, payload) of each record of a TFRecord file, its checksums verified by the Python twin."""
    body, at = Path(path).read_bytes(), 0
    while at < len(body):
        (length,) = struct.unpack_from("<Q", body, at)
        for data, stored in ((body[at : at + 8], at + 8), (body[at + 12 : at + 12 + length], at + 12 + length)):
            crc = checksum.twin(data)
            assert struct.unpack_from("<I", body, stored)[0] == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        yield at, length + 16, body[at + 12 : at + 12 + length]
        at += length + 16


def test_the_index_of_a_tfrecord_says_where_records_are(tmp_path):
    """DALI's index has the offset and the length of each record, for sizes that vary too."""
    varied = Distribution.normal(2000, 900)
    for path in made(tmp_path, "tfrecord", record_bytes=varied):
        index = tmp_path / "d" / "index" / "train" / f"{path.name}.idx"
        lines = [tuple(map(int, line.split())) for line in index.read_text().splitlines()]
        assert lines == [(at, length) for at, length, _ in examples(path)]


TENSORFLOW = """\
import json, sys
import tensorflow as tf
found = []
for word in sys.argv[1:]:
    packing, _, path = word.partition(":")
    for raw in tf.data.TFRecordDataset(path, compression_type=packing):
        example = tf.train.Example.FromString(raw.numpy()).features.feature
        found.append([len(example["image"].bytes_list.value[0]), example["size"].int64_list.value[0]])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def tensorflow():
    """The interpreter that has TensorFlow."""
    python = Path(sys.prefix) / "peers" / "tensorflow" / "bin" / "python"
    if not python.exists():
        pytest.skip("TensorFlow is not installed beside (make .venv/.goldens)")
    return str(python)


def test_tfrecord_is_opened_by_tensorflow(tmp_path, tensorflow):
    """TensorFlow reads every Example, checks its checksums, and finds image and size; packed by gzip too."""
    plain = made(tmp_path / "a", "tfrecord", record_bytes=Distribution.normal(2000, 900))
    packed = made(tmp_path / "b", "tfrecord", compression="gzip")
    large = made(tmp_path / "c", "tfrecord", record_bytes=Distribution.fixed(3 * BLOCK + 77), samples_per_file=1)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    words = [f":{path}" for path in plain + large] + [f"GZIP:{path}" for path in packed]
    done = subprocess.run(
        [tensorflow, "-c", TENSORFLOW, *words], capture_output=True, text=True, check=True, env=environment
    )
    found = json.loads(done.stdout)
    assert len(found) == 22
    assert all(length == size for length, size in found)
    assert not (tmp_path / "b" / "d" / "index").exists()


@pytest.mark.parametrize(
    ("packing", "suffix"),
    [("none", "csv"), ("gzip", "csv.gz"), ("bz2", "csv.bz2"), ("xz", "csv.xz"), ("zip", "csv.zip")],
)
def test_csv_is_opened_by_pandas(tmp_path, packing, suffix):
    """A row of numbers for each sample, below column numbers; packed as its name says."""
    files = made(tmp_path, "csv", compression=packing, record_bytes=Distribution.fixed(300))
    assert [path.name for path in files] == [f"img_0_of_2.{suffix}", f"img_1_of_2.{suffix}"]
    for path in files:
        frame = pd.read_csv(path)
        assert frame.shape == (5, 300)
        assert frame.to_numpy().min() >= 100
        assert frame.to_numpy().max() <= 355
        assert len(np.unique(frame.to_numpy())) > 150


@pytest.mark.parametrize("fmt", ["jpeg", "png"])
@pytest.mark.parametrize("size", [1200, 5000, 65536, 322957])
def test_images_are_opened_by_pillow_and_are_as_long_as_asked(tmp_path, fmt, size):
    """The whole image decodes, and its file has the bytes of its sample (up to eleven less where nothing fits into the rest)."""
    for path in made(tmp_path, fmt, samples_per_file=1, record_bytes=Distribution.fixed(size)):
        with Image.open(path) as image:
            image.load()
            pixels = np.asarray(image)
        assert pixels.ndim == 2
        assert pixels.std() > 30
        assert size - 12 < path.stat().st_size <= size


@pytest.mark.parametrize("fmt", ["indexed_binary", "mmap_indexed_binary"])
def test_the_indices_of_indexed_binary_say_where_records_are(tmp_path, fmt):
    """Offsets and sizes, as 64-bit words, cover the file from end to end."""
    for path in made(tmp_path, fmt, record_bytes=Distribution.normal(2000, 500)):
        starts = np.fromfile(f"{path}.off.idx", np.uint64)
        sizes = np.fromfile(f"{path}.sz.idx", np.uint64)
        assert starts.tolist() == [0, *np.cumsum(sizes)[:-1].tolist()]
        assert starts[-1] + sizes[-1] == path.stat().st_size
        assert len(set(sizes.tolist())) > 1


def test_parquet_is_opened_by_pyarrow(tmp_path):
    """A row for each sample with its bytes and a label."""
    for path in made(tmp_path, "parquet"):
        table = pq.read_table(path)
        assert table.num_rows == 5
        assert [len(value.as_py()) for value in table["data"]] == [SIZE] * 5
        assert table.schema.field("label").type == pa.int64()


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "lz4", "zstd"])
def test_the_columns_of_a_workload_are_in_the_parquet(tmp_path, codec):
    """Names, types, widths, row groups and codec are those asked for."""
    columns = [
        {"name": "a", "dtype": "float32", "size": 7},
        {"name": "b", "dtype": "int8", "read": False},
        {"name": "c", "dtype": "float16"},
    ]
    sets = {"columns": columns, "row_group_size": 100}
    file = pq.ParquetFile(made(tmp_path, "parquet", samples_per_file=250, compression=codec, settings=sets)[0])
    wide, *narrow = (field.type for field in file.schema_arrow)
    assert (wide.list_size, wide.value_type) == (7, pa.float32())
    assert narrow == [pa.int8(), pa.float16()]
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [100, 100, 50]
    assert file.metadata.row_group(0).column(0).compression == {"none": "UNCOMPRESSED"}.get(codec, codec.upper())
    assert len(file.read()) == 250


def test_webdataset_shards_are_opened_by_webdataset(tmp_path):
    """Every sample has its bytes and a label under one key; the shard is a tar file that ends as tar has it."""
    files = made(tmp_path, "webdataset", record_bytes=Distribution.normal(2000, 500))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files to the garbage collector
        found = list(webdataset.WebDataset([str(path) for path in files], shardshuffle=False, empty_check=False))
        gc.collect()
    assert [sample["__key__"] for sample in found] == [f"{number:010}" for number in range(10)]
    assert all(sample["cls"] == b"0" for sample in found)
    assert len({len(sample["bin"]) for sample in found}) > 1
    for path in files:
        assert path.stat().st_size % 10240 == 0
        with tarfile.open(path) as shard:
            assert len(shard.getmembers()) == 10


def test_synthetic_has_no_files(tmp_path):
    """A format of which there are no files is named, with those there are."""
    with pytest.raises(UnknownNameError, match="there is no format 'synthetic'"):
        made(tmp_path, "synthetic")


def test_sizes_follow_their_distribution():
    """Ten thousand samples have the mean and deviation asked for; a mean with a fraction is kept, in whole bytes."""
    data = DataSet(
        "file:///x",
        "tfrecord",
        samples_per_file=10_000,
        record_bytes=Distribution("lognormal", {"mean": 5000, "stdev": 2000}),
    )
    sizes = np.concatenate(list(Plan(data, "train", 0, "tfrecord", 1).sizes()))
    assert sizes.mean() == pytest.approx(5000, rel=0.05)
    assert sizes.std() == pytest.approx(2000, rel=0.15)
    data = DataSet("file:///x", "tfrecord", samples_per_file=100_000, record_bytes=Distribution.fixed(114660.07))
    sizes = np.concatenate(list(Plan(data, "train", 0, "tfrecord", 1).sizes()))
    assert set(sizes.tolist()) == {114660, 114661}
    assert sizes.mean() == pytest.approx(114660.07, abs=0.01)


def test_a_billion_samples_are_laid_out_without_being_held():
    """A file of 277 million records takes no list of them: its first sizes come at once."""
    data = DataSet(
        "file:///x", "mmap_indexed_binary", samples_per_file=277_203_535, record_bytes=Distribution.fixed(2048)
    )
    assert len(next(Plan(data, "train", 0, "mmap_indexed_binary", 1).sizes())) == 1 << 16


@pytest.mark.parametrize(
    ("folders", "names"),
    [(0, "img_0_of_3.npy img_1_of_3.npy img_2_of_3.npy"), (2, "0/img_0_of_3.npy 0/img_2_of_3.npy 1/img_1_of_3.npy")],
)
def test_files_are_named_as_dlio_names_them(tmp_path, folders, names):
    """Below `train/`, dealt to folders from two on, with as many digits as the number of files has."""
    files = made(tmp_path, "npy", files_train=3, subfolders_train=folders)
    assert " ".join(str(path.relative_to(tmp_path / "d" / "train")) for path in files) == names


def test_evaluation_has_files_of_its_own(tmp_path):
    """They lie below `valid/`, with sizes and content of their own."""
    train = made(tmp_path, "npy", files_eval=1)
    valid = tmp_path / "d" / "valid" / "img_0_of_1.npy"
    assert not np.array_equal(np.load(valid), np.load(train[0]))


@pytest.mark.parametrize("fmt", sorted(FORMATS))
def test_the_same_seed_makes_the_same_bytes_and_another_others(tmp_path, fmt):
    """A data set is known by its seed; every format but HDF5, whose library notes no times either, is the same to the byte."""
    count = 1 if fmt in ("jpeg", "png") else 3
    one, two, other = (
        [path.read_bytes() for path in made(tmp_path / name, fmt, seed=seed, samples_per_file=count)]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one == two
    assert one != other


@pytest.mark.parametrize("fmt", ["npy", "npz", "tfrecord", "indexed_binary", "hdf5", "webdataset", "parquet"])
def test_content_does_not_compress(tmp_path, fmt):
    """Neither a file alone nor all together with a window over both."""
    files = made(tmp_path, fmt, record_bytes=Distribution.fixed(100_000), samples_per_file=8)
    body = b"".join(path.read_bytes() for path in files)
    # The headers of a tar file are mostly zeros.
    assert len(pa.Codec("zstd", 9).compress(body)) > (0.97 if fmt == "webdataset" else 0.99) * len(body)


@pytest.mark.parametrize("ratio", [1.0, 1.5, 2.0, 4.0, 10.0])
def test_content_compresses_as_far_as_asked(ratio):
    """A compressor finds the ratio that was asked for."""
    body = Content(1, ratio).whole(5, 4 << 20)
    assert len(body) / len(pa.Codec("zstd").compress(bytes(body))) == pytest.approx(ratio, rel=0.05)


def test_blocks_are_never_alike():
    """No 4 KiB of one sample stands in another, or at another place of the same: nothing to deduplicate."""
    content = Content(7)
    pages = [
        bytes(body[at : at + 4096])
        for key in range(20)
        for body in [content.whole(key, 1 << 18)]
        for at in range(0, 1 << 18, 4096)
    ]
    pages += [bytes(piece[:4096]) for piece in content.blocks(99, 20 * BLOCK)]
    assert len(set(pages)) == len(pages)


@settings(max_examples=30)
@given(st.integers(0, 3 * BLOCK), st.integers(0, 1 << 40))
def test_content_has_the_size_asked_for_in_pieces_or_whole(size, key):
    """Pieces and the whole are the same bytes."""
    content = Content(3)
    whole = bytes(content.whole(key, size))
    assert len(whole) == size
    assert b"".join(map(bytes, content.blocks(key, size))) == whole


@settings(max_examples=60, deadline=None)
@given(start=st.integers(0, BLOCK), size=st.integers(0, 300_000), key=st.integers(0, 1 << 40))
def test_a_part_of_content_is_that_part_of_the_whole(start, size, key):
    """Noise from some byte on is the same as in the block that it is taken from."""
    end = min(start + size, BLOCK)
    content = Content(4)
    assert content.part(key, start, end).tobytes() == bytes(content.whole(key, end)[start:])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 4096, BLOCK // 2 - 1, BLOCK // 2, BLOCK + 1]), max_size=9))
def test_small_pieces_are_handed_on_together(sizes):
    """The bytes are those of the pieces, whose buffer is used again for each; two that stand side by side are never both small."""
    buffer, source = bytearray(BLOCK + 1), np.random.default_rng(1).bytes(BLOCK + 10)

    def pieces():
        for number, size in enumerate(sizes):
            buffer[:size] = source[number : number + size]
            yield memoryview(buffer)[:size]

    found = [bytes(piece) for piece in gathered(pieces())]
    assert b"".join(found) == b"".join(source[number : number + size] for number, size in enumerate(sizes))
    assert all(map(len, found))
    assert all(max(map(len, pair)) >= BLOCK // 2 for pair in itertools.pairwise(found))


def test_a_ratio_below_one_is_refused():
    """Nothing gets larger by being compressed."""
    with pytest.raises(UsageError, match=re.escape("ratio of 0.5 is impossible")):
        Content(1, 0.5)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_the_checksum_of_core_and_twin_is_one(data, cut):
    """Both are the same, also in two parts and over memory that may not be written."""
    assert checksum.crc32c(data) == checksum.twin(data)
    assert checksum.crc32c(data[cut:], checksum.crc32c(bytearray(data[:cut]))) == checksum.twin(data)


def test_the_checksum_is_castagnolis():
    """RFC 3720, B.4: the test vectors of iSCSI."""
    assert checksum.crc32c(b"123456789") == 0xE3069283
    assert checksum.crc32c(bytes(32)) == 0x8A9136AA
    assert checksum.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert checksum.crc32c(bytes(range(32))) == 0x46DD794E


def test_the_core_refuses_memory_that_cannot_be():
    """No address, or less than nothing."""
    core = pytest.importorskip("tracekit._core")
    for arguments in ((0, 5, 0), (8, -1, 0)):
        with pytest.raises(ValueError, match="crc32c needs"):
            core.crc32c(*arguments)
    assert core.crc32c(0, 0, 0) == 0


def test_every_format_has_its_suffix():
    """Names end as DLIO has them, and packed CSV says by what."""
    assert suffix_of(DataSet("x", "webdataset")) == "tar"
    assert suffix_of(DataSet("x", "csv", compression="xz")) == "csv.xz"
    assert {FORMATS[name].suffix for name in ("npy", "npz", "hdf5", "jpeg")} == {"npy", "npz", "hdf5", "jpeg"}


@pytest.mark.parametrize(
    ("fmt", "packing"),
    [("csv", "gzip"), ("csv", "bz2"), ("csv", "xz"), ("csv", "zip"), ("parquet", "zstd"), ("parquet", "gzip")],
)
def test_the_level_of_compression_acts(tmp_path, fmt, packing):
    """Files of another `compression_level` are other files, for every compression that has levels."""
    made_of = {"ratio": 3.0, "compression": packing, "samples_per_file": 2, "record_bytes": Distribution.fixed(30_000)}
    files = [made(tmp_path / str(level), fmt, compression_level=level, **made_of)[0].read_bytes() for level in (1, 9)]
    assert files[0] != files[1]
