"""By which requests a run of DLIO reads its files: those of the libraries behind DLIO's readers, where it can be known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tracekit.workload.dataset import Dataset
from tracekit.workload.job import DataSet, Job
from tracekit.workload.readers import SYNTHETIC, Reader, reader_of
from tracekit.workload.shape import Shape

# What `tf.data.TFRecordDataset` has for a buffer where nobody says, and what its parallel reads hold ahead of the batches.
_TF_BUFFER = 1 << 18
_TF_AHEAD = 8


@dataclass(frozen=True)
class Reading:
    """How a job is read.

    Args:
        job: The job, as that loader runs it.
        shape: Which files are read by whom; None where the loader's own requests are made.
        train: The requests for training samples.
        evaluate: Those for evaluation.
        how: The same in words.
    """

    job: Job
    shape: Shape | None
    train: Reader | None
    evaluate: Reader | None
    how: str


def reading(job: Job, train: Dataset, evaluate: Dataset | None, ranks: int = 1) -> Reading:
    """How DLIO reads a job's files: a file of each format is looked into for where things are.

    Args:
        job: The job.
        train: What it trains on.
        evaluate: What it evaluates on.
        ranks: How many ranks share it.
    """
    data = job.data
    if is_synthetic(job):
        nothing = Reader(SYNTHETIC, 1, [[]])
        return Reading(
            _worked(job), Shape("file"), nothing, nothing, "no file is opened: synthetic samples are made up"
        )
    if why := _unknown(job, train):
        return _own(job, why)
    if data.format == "tfrecord":
        return _streamed(job, train, ranks)
    of_train = reader_of(data.format, data.samples_per_file, train.places, train.sizes)
    of_evaluate = (
        None if evaluate is None else reader_of(data.format, data.samples_per_file, evaluate.places, evaluate.sizes)
    )
    if of_train is None or (evaluate is not None and of_evaluate is None):
        return _own(job, f"{train.places[0]} is not laid out as DLIO's {data.format} files are")
    shape = Shape("file", stats=of_train.stats)
    return Reading(
        _worked(job), shape, of_train, of_evaluate, f"files are read as DLIO's reader of {data.format} reads them"
    )


def is_synthetic(job: Job) -> bool:
    """Whether DLIO reads no file for it."""
    return SYNTHETIC in (job.data_loader, job.data.format)


def _unknown(job: Job, train: Dataset) -> str:
    """Why it is not known what DLIO would ask for; nothing where it is."""
    data, loader = job.data, job.data_loader
    if not train.storage.local:
        return "DLIO takes objects whole"
    if train.scheme == "direct" or job.loader.page_cache_mode == "direct":
        return "with O_DIRECT DLIO takes files whole"
    if loader != ("tensorflow" if data.format == "tfrecord" else "pytorch"):
        return f"what DLIO's {loader or 'own'} loader asks of {data.format} files is not known here"
    if data.compression != "none" and data.format not in ("hdf5", "npz"):
        return f"what is asked of compressed {data.format} files depends on their content"
    return ""


def _own(job: Job, why: str) -> Reading:
    return Reading(job, None, None, None, f"files are read by the loader's own requests: {why}")


def _worked(job: Job) -> Job:
    """The job with the read-ahead that DLIO gives to PyTorch: as many batches for each worker, rounded up."""
    workers = max(job.loader.num_workers, 1)
    ahead = -(-job.loader.prefetch // workers) * workers
    train = None if job.train is None else replace(job.train, shuffle_samples=job.loader.shuffle)
    return replace(job, loader=replace(job.loader, prefetch=ahead), train=train)


def _streamed(job: Job, train: Dataset, ranks: int) -> Reading:
    """TFRecord: shards from front to back by a buffer of `transfer_size`, several at a time, samples shuffled in a buffer."""
    assert job.train is not None
    if len(train.places) < ranks * job.loader.shard_world_size:
        return _own(job, "there are fewer files than ranks, which DLIO lets each read all of them")
    buffer = (job.loader.target_request_bytes if job.loader.reader_mode == "range" else None) or _TF_BUFFER
    shape = Shape(
        "stream", smallest=buffer, largest=buffer, ending="retry", together=True,
        shuffle_buffer=job.train.shuffle_buffer if job.train.shuffle_samples else 0, read_buffer=_TF_AHEAD, looks="names",
    )  # fmt: skip
    held = replace(job.train, shuffle_buffer=shape.shuffle_buffer)
    return Reading(replace(job, train=held), shape, None, None, "files are read as tf.data reads TFRecord files")


def made_up(data: DataSet) -> tuple[Dataset, Dataset | None]:
    """The samples of synthetic data, for training and evaluation: they have sizes and no files."""
    from tracekit.storage import storage_for

    def samples(files: int, split: str) -> Dataset:
        size = max(1, round(data.record_bytes.mean))
        count = files * data.samples_per_file
        return Dataset(storage_for(data.uri), [f"{data.uri}/{split}"] * count, np.full(count, size, np.int64))

    return samples(data.files_train, "train"), samples(data.files_eval, "valid") if data.files_eval else None
