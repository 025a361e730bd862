"""What is to be run: a data set, how it is read, and the training around it. Frozen records, sizes in bytes, times in seconds.

A profile, a translation from DLIO's YAML or a program makes a `Job`; `tracekit generate` makes its data set, and
`tracekit run` drives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tracekit.workload.distribution import Distribution
from tracekit.workload.options import LoaderOptions


def _nothing() -> Distribution:
    return Distribution.fixed(0.0)


@dataclass(frozen=True)
class DataSet:
    """The files of a job.

    Args:
        uri: Where they are: a directory or prefix of any scheme.
        format: The name of their format, as `tracekit generate` knows it.
        files_train: Files for training, below `train/` where there are files for evaluation too or `split` is set.
        files_eval: Files for evaluation, below `valid/`.
        samples_per_file: Samples in each.
        record_bytes: The size of a sample.
        subfolders_train: Folders that the training files are dealt to; 0 for none.
        subfolders_eval: Folders of the evaluation files.
        file_prefix: What names of files begin with.
        compression: `none`, or what its format knows.
        compression_level: As the compression has it.
        split: Whether training files lie below `train/` although there are none for evaluation, as in DLIO.
        settings: What only its format knows (chunks, columns, element type), by name.
    """

    uri: str
    format: str = "npz"
    files_train: int = 8
    files_eval: int = 0
    samples_per_file: int = 1
    record_bytes: Distribution = field(default_factory=lambda: Distribution.fixed(65536))
    subfolders_train: int = 0
    subfolders_eval: int = 0
    file_prefix: str = "img"
    compression: str = "none"
    compression_level: int = 4
    split: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Train:
    """The training.

    Args:
        epochs: Passes over the data.
        steps_per_epoch: Steps of each; None for as many as the data has.
        total_steps: Steps in all; None for no such limit.
        batch_size: Samples of a step, of one rank.
        compute_seconds: How long a step computes.
        preprocess_seconds: How long a worker prepares a sample.
        seed: Of shuffles and times.
        seed_changes: Whether each epoch has an order of its own.
        shuffle_files: Whether files are read in random order.
        shuffle_samples: Whether samples are.
        shuffle_buffer: Samples that are held to be shuffled, where a framework has such a buffer.
    """

    epochs: int = 1
    steps_per_epoch: int | None = None
    total_steps: int | None = None
    batch_size: int = 1
    compute_seconds: Distribution = field(default_factory=_nothing)
    preprocess_seconds: Distribution = field(default_factory=_nothing)
    seed: int = 123
    seed_changes: bool = True
    shuffle_files: bool = False
    shuffle_samples: bool = False
    shuffle_buffer: int = 1024


@dataclass(frozen=True)
class Evaluate:
    """The evaluation between epochs.

    Args:
        batch_size: Samples of a step.
        compute_seconds: How long a step computes.
        first_epoch: After which epoch it first happens, from 1.
        every_epochs: Epochs from one to the next.
        shuffle: Whether its samples come in random order; None for as in training.
    """

    batch_size: int = 1
    compute_seconds: Distribution = field(default_factory=_nothing)
    first_epoch: int = 1
    every_epochs: int = 1
    shuffle: bool | None = None


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoints of a run.

    Args:
        uri: Where they go.
        first_epoch: After which epoch the first is written, from 1.
        every_epochs: Epochs from one to the next; 0 for the first only.
        every_steps: Steps of an epoch from one to the next; epochs then do not count. None for none between steps.
        settings: Everything else that a checkpoint knows, by name.
    """

    uri: str
    first_epoch: int = 1
    every_epochs: int = 1
    every_steps: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """A job.

    Args:
        name: What to call it.
        data: Its data set.
        loader: How that is read.
        train: The training; None for none.
        model: The model's name; empty where nobody knows.
        framework: `pytorch`, `tensorflow`, `jax` or what else it imitates; empty for none.
        evaluate: Evaluation; None for none.
        checkpoint: Checkpoints; None for none.
        output: Where results go; None for nowhere by itself.
        au_target: The accelerator utilisation that is asked for, 0 to 1; None for none.
        exclude_start_steps: First steps of an epoch that are left out of utilisation.
        exclude_end_steps: Last steps that are.
        data_loader: Whose loader reads, as DLIO names it: `pytorch`, `tensorflow`, ...; empty where nobody says.
        generates: Whether what is missing of the data set is made first.
    """

    name: str
    data: DataSet
    loader: LoaderOptions = field(default_factory=LoaderOptions)
    train: Train | None = field(default_factory=Train)
    model: str = ""
    framework: str = ""
    evaluate: Evaluate | None = None
    checkpoint: Checkpoint | None = None
    output: str | None = None
    au_target: float | None = None
    exclude_start_steps: int = 1
    exclude_end_steps: int = 0
    data_loader: str = ""
    generates: bool = False
