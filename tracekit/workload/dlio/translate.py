"""From a workload file to a job of ours: which key becomes what."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from tracekit.errors import TracekitError
from tracekit.uri import file_uri
from tracekit.workload.distribution import Distribution
from tracekit.workload.dlio import checks, frameworks
from tracekit.workload.dlio.findings import ERROR, NOTE, refuse
from tracekit.workload.dlio.settings import Settings, read
from tracekit.workload.job import Checkpoint, DataSet, Evaluate, Job, Train
from tracekit.workload.options import DIRECT_BYTES, LoaderOptions

_SCHEMES = {"local_fs": "file", "parallel_fs": "file", "direct_fs": "direct", "s3": "s3", "s3dlio": "file"}
# What a worker holds at least to have anything ahead: below, the loader itself refuses.
_LEAST_IN_FLIGHT = 256 << 20


def load(path: str, overrides: Sequence[str] = (), data: str | None = None) -> tuple[Job, Settings]:
    """The job of a workload file.

    Args:
        path: The file.
        overrides: As on Hydra's command line.
        data: Where the data is, instead of where the file says.

    Raises:
        InputError: If something in the file is wrong: the first finding, with its line.
        UsageError: If an override is none.
    """
    settings = read(path, overrides)
    checks.check(settings)
    refuse(settings.findings)
    job = translated(settings, data)
    refuse(settings.findings)
    return job, settings


def translated(settings: Settings, data: str | None = None) -> Job:
    """The job of settings without errors; what only the translation finds is added to their findings."""
    tuned = frameworks.tuning(settings)
    where = _uri(settings, settings["dataset.data_folder"]) if data is None else _schemed(settings, data)
    training = settings["workflow.train"]
    try:
        loader = _loader(settings, tuned)
    except TracekitError as error:
        settings.add(ERROR, "reader.read_threads", str(error.cause), error.way_out)
        loader = LoaderOptions()
    return Job(
        name=settings["model.name"] or "workload",
        data=_data(settings, where),
        loader=loader,
        train=_train(settings, tuned) if training else None,
        model=settings["model.name"] or "",
        framework=frameworks.name(settings),
        evaluate=_evaluate(settings)
        if settings["workflow.evaluation"] and settings["evaluation.epochs_between_evals"]
        else None,
        checkpoint=_checkpoint(settings) if settings["workflow.checkpoint"] else None,
        # DLIO's default is no aim of the file's: models have floors of their own, see `report.AU_FLOORS`.
        au_target=settings.values.get("metric.au"),
        exclude_start_steps=settings["output.metric.exclude_start_steps"],
        exclude_end_steps=settings["output.metric.exclude_end_steps"],
        data_loader=frameworks.loader(settings),
        generates=settings["workflow.generate_data"],
    )


def duration(settings: Settings, path: str) -> Distribution:
    """A time of the file as a distribution: a number with its `_stdev`, or what the map says."""
    value = settings[path]
    if not isinstance(value, Mapping):
        stdev = settings.values.get(f"{path}_stdev", 0.0)
        return Distribution.normal(float(value), float(stdev))
    kind = str(value["type"])
    parameters = {name: number for name, number in value.items() if name != "type"}
    if kind == "normal":
        return Distribution.normal(parameters["mean"], parameters.get("stdev", 0.0))
    return Distribution(kind, parameters)


def sample_bytes(settings: Settings) -> Distribution:
    """The size of a sample: `record_dims` where there are any, else `record_length_bytes` and its standard deviation."""
    dims = settings["dataset.record_dims"]
    if dims:
        count = element_bytes(settings)
        for extent in dims:
            count *= extent
        return Distribution.fixed(count)
    return Distribution.normal(settings["dataset.record_length_bytes"], settings["dataset.record_length_bytes_stdev"])


def element_bytes(settings: Settings) -> int:
    """Bytes of one element of a record, by `record_element_type`."""
    return checks.ELEMENT_BYTES.get(settings["dataset.record_element_type"], 1)


def _uri(settings: Settings, folder: str) -> str:
    """Where a folder of the file lies: a URI as it is, else below the storage's root, which is a bucket or a directory."""
    if "://" in folder:
        return folder
    kind, root = settings["storage.storage_type"], settings["storage.storage_root"]
    if "://" not in root and _SCHEMES.get(kind) == "s3":
        root = f"s3://{root.strip('/')}"
    if "://" in root:
        # An object's name is no path: what a folder says of directories, as the preset ./data does, is worked out here.
        return f"{root.rstrip('/')}/{posixpath.normpath(folder).strip('/')}".removesuffix("/.")
    return file_uri(os.path.join(root, folder), _SCHEMES.get(kind, "file"))


def _schemed(settings: Settings, data: str) -> str:
    """A place given instead of the file's: a plain path keeps the file's way of reading."""
    if "://" in data or _SCHEMES.get(settings["storage.storage_type"]) != "direct":
        return data
    return file_uri(os.path.abspath(data), "direct")


def _data(settings: Settings, where: str) -> DataSet:
    return DataSet(
        uri=where,
        format=checks.FORMATS.get(settings["dataset.format"], settings["dataset.format"]),
        files_train=settings["dataset.num_files_train"],
        files_eval=settings["dataset.num_files_eval"],
        samples_per_file=settings["dataset.num_samples_per_file"],
        record_bytes=sample_bytes(settings),
        subfolders_train=settings["dataset.num_subfolders_train"],
        subfolders_eval=settings["dataset.num_subfolders_eval"],
        file_prefix=settings["dataset.file_prefix"],
        compression=settings["dataset.compression"],
        compression_level=settings["dataset.compression_level"],
        settings=_format_settings(settings),
    )


_FORMAT_KEYS = {
    "dims": "dataset.record_dims", "element_type": "dataset.record_element_type", "chunk_size": "dataset.chunk_size",
    "chunk_dims": "dataset.hdf5.chunk_dims", "datasets_per_record": "dataset.hdf5.num_dset_per_record",
    "max_shape": "dataset.hdf5.max_shape", "columns": "dataset.parquet.columns",
    "row_group_size": "dataset.parquet.row_group_size",
}  # fmt: skip


def _format_settings(settings: Settings) -> dict[str, Any]:
    found = {name: settings.values[path] for name, path in _FORMAT_KEYS.items() if path in settings.values}
    if "chunk_size" in found and not settings["dataset.enable_chunking"]:
        del found["chunk_size"]
    return found


def _train(settings: Settings, tuned: Mapping[str, Any]) -> Train:
    files, samples = (settings[f"reader.{name}_shuffle"] != "off" for name in ("file", "sample"))
    if files != samples and settings["dataset.num_samples_per_file"] > 1 and "shuffle" not in tuned:
        kept, other = ("file", "sample") if files else ("sample", "file")
        settings.add(
            NOTE, f"reader.{kept}_shuffle", f"shuffles samples over all files here, whatever {other}_shuffle says"
        )
    steps = settings["train.total_training_steps"]
    return Train(
        epochs=settings["train.epochs"],
        total_steps=steps if steps > 0 else None,
        batch_size=tuned.get("batch_size", settings["reader.batch_size"]),
        compute_seconds=duration(settings, "train.computation_time"),
        preprocess_seconds=duration(settings, "reader.preprocess_time"),
        seed=tuned.get("seed", settings["train.seed"]),
        seed_changes=settings["train.seed_change_epoch"],
        shuffle_files=tuned.get("shuffle", settings["reader.file_shuffle"] != "off"),
        shuffle_samples=tuned.get("shuffle", settings["reader.sample_shuffle"] != "off"),
        shuffle_buffer=settings["reader.shuffle_size"],
    )


def _loader(settings: Settings, tuned: Mapping[str, Any]) -> LoaderOptions:
    shuffled = any(settings[f"reader.{name}_shuffle"] != "off" for name in ("file", "sample"))
    workers = tuned.get("num_workers", settings["reader.read_threads"])
    transfer = settings["reader.transfer_size"]
    options: dict[str, Any] = {
        "batch_size": tuned.get("batch_size", settings["reader.batch_size"]),
        "num_workers": workers,
        # 0 is none ahead, and one batch has to be made somewhere.
        "prefetch": max(1, tuned.get("prefetch", settings["reader.prefetch_size"])),
        "shuffle": tuned.get("shuffle", shuffled),
        "seed": tuned.get("seed", settings["train.seed"]),
        "drop_last": tuned.get("drop_last", True),
        "page_cache_mode": "direct" if settings["reader.odirect"] else "default",
    }
    if transfer and settings["dataset.format"] != "tfrecord":
        settings.add(
            NOTE, "reader.transfer_size", "acts for TFRecord, as in DLIO, and where the loader's own requests are made"
        )
    if transfer:
        request = -(-transfer // DIRECT_BYTES) * DIRECT_BYTES if settings["reader.odirect"] else transfer
        options |= {"reader_mode": "range", "target_request_bytes": request}
        options["max_bytes_in_flight"] = max(_LEAST_IN_FLIGHT, 2 * max(workers, 1) * request)
    return LoaderOptions(**options)


def _evaluate(settings: Settings) -> Evaluate:
    return Evaluate(
        batch_size=settings["reader.batch_size_eval"],
        compute_seconds=duration(settings, "evaluation.eval_time"),
        first_epoch=max(1, settings["evaluation.eval_after_epoch"]),
        every_epochs=settings["evaluation.epochs_between_evals"],
    )


def _checkpoint(settings: Settings) -> Checkpoint:
    steps = settings["checkpoint.steps_between_checkpoints"]
    names = (
        "type", "mode", "num_checkpoints_write", "num_checkpoints_read", "time_between_checkpoints", "fsync", "rank_sync",
        "recovery_rank_shift", "randomize_tensor",
    )  # fmt: skip
    own = {name: settings[f"checkpoint.{name}"] for name in names}
    model = {path.partition(".")[2]: settings[path] for path in MODEL_KEYS}
    # DLIO's default stands for a model without layers only.
    model["model_size_bytes"] = settings.values.get("model.model_size_bytes")
    return Checkpoint(
        uri=_uri(settings, settings["checkpoint.checkpoint_folder"]),
        first_epoch=max(1, settings["checkpoint.checkpoint_after_epoch"]),
        every_epochs=settings["checkpoint.epochs_between_checkpoints"],
        every_steps=steps if steps > 0 else None,
        settings={**own, "model": model},
    )


MODEL_KEYS = (
    "model.model_size_bytes", "model.optimization_groups", "model.num_layers", "model.layer_parameters", "model.model_datatype",
    "model.optimizer_datatype", "model.parallelism.tensor", "model.parallelism.pipeline", "model.parallelism.data",
    "model.parallelism.zero_stage", "model.transformer.vocab_size", "model.transformer.hidden_size",
    "model.transformer.ffn_hidden_size", "model.transformer.num_attention_heads", "model.transformer.num_kv_heads",
)  # fmt: skip
