"""A workload written as DLIO YAML: for 3.x, or for 2.0.0 with its names and without what it does not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from tracekit.errors import UnknownNameError
from tracekit.workload.distribution import Distribution
from tracekit.workload.dlio.dialects import BY_PATH, V2, V3
from tracekit.workload.dlio.schema import KEYS
from tracekit.workload.dlio.settings import Settings
from tracekit.workload.job import Job

DIALECTS = (V2, V3)
_SECTIONS = (
    "model", "framework", "workflow", "storage", "dataset", "reader", "train", "evaluation", "checkpoint", "metric", "output",
    "profiling",
)  # fmt: skip
# dlio_benchmark 2.0.0, utils/config.py: what LoadConfig reads, under 3.x's names.
_IN_V2 = {
    "framework", "model.name", "model.model_size_bytes", "model.num_layers", "model.layer_parameters",
    "model.optimization_groups", "model.parallelism.tensor", "model.parallelism.pipeline", "storage.storage_root",
    "storage.storage_type", "dataset.record_length_bytes", "dataset.record_length_bytes_stdev",
    "dataset.record_length_bytes_resize", "dataset.num_files_train", "dataset.num_files_eval", "dataset.num_samples_per_file",
    "dataset.data_folder", "dataset.num_subfolders_train", "dataset.num_subfolders_eval", "dataset.file_prefix",
    "dataset.format", "dataset.keep_files", "dataset.generation_buffer_size", "dataset.enable_chunking", "dataset.chunk_size",
    "dataset.compression", "dataset.compression_level", "reader.data_loader", "reader.data_loader_classname",
    "reader.reader_classname", "reader.data_loader_sampler", "reader.batch_size", "reader.batch_size_eval",
    "reader.read_threads", "reader.computation_threads", "reader.prefetch_size", "reader.file_shuffle",
    "reader.sample_shuffle", "reader.shuffle_size", "reader.read_type", "reader.file_access", "reader.transfer_size",
    "reader.preprocess_time", "reader.preprocess_time_stdev", "reader.pin_memory", "train.epochs",
    "train.total_training_steps", "train.computation_time", "train.computation_time_stdev", "train.seed",
    "train.seed_change_epoch", "evaluation.eval_time", "evaluation.eval_time_stdev", "evaluation.eval_after_epoch",
    "evaluation.epochs_between_evals", "checkpoint.checkpoint_folder", "checkpoint.checkpoint_after_epoch",
    "checkpoint.epochs_between_checkpoints", "checkpoint.steps_between_checkpoints", "checkpoint.type",
    "checkpoint.checkpoint_mechanism_classname", "output.folder", "output.log_file", "workflow.train",
    "workflow.generate_data", "workflow.evaluation", "workflow.checkpoint", "workflow.profiling", "profiling.profiler",
    "profiling.iostat_devices", "metric.au",
}  # fmt: skip
# Read as numbers only there.
_NUMBERS_IN_V2 = ("train.computation_time", "evaluation.eval_time", "reader.preprocess_time")
_TO_V2 = {other.means: path for path, other in BY_PATH.items() if other.dialect == V2}


def text(values: Mapping[str, Any], dialect: str) -> tuple[str, list[str]]:
    """YAML of values under 3.x's names.

    Args:
        values: By `section.key`.
        dialect: `3.x` or `2.0.0`.

    Returns:
        The text, and the keys that the dialect has not and that were left out.

    Raises:
        UnknownNameError: If there is no such dialect.
    """
    if dialect not in DIALECTS:
        raise UnknownNameError("DLIO version", dialect, DIALECTS)
    left_out: list[str] = []
    tree: dict[str, Any] = {}
    for path, value in values.items():
        if dialect == V2 and (path not in _IN_V2 or (path in _NUMBERS_IN_V2 and isinstance(value, Mapping))):
            left_out.append(path)
            continue
        _put(tree, _TO_V2.get(path, path) if dialect == V2 else path, _plain(value))
    if dialect == V2 and isinstance(tree.get("model"), dict):
        tree["model"] = tree["model"]["name"]
    ordered = {name: tree[name] for name in sorted(tree, key=_SECTIONS.index)}
    lines = yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120)
    return f"# DLIO {dialect}\n{lines}", left_out


def of_settings(settings: Settings) -> dict[str, Any]:
    """The values that a file gives, as they were read; what no version of DLIO reads is left out."""
    return {path: value for path, value in settings.values.items() if KEYS[path].kind != "any"}


def of_job(job: Job) -> dict[str, Any]:
    """The values of a job, as DLIO would have them; URIs stay URIs.

    Sizes that are neither fixed nor normal become normal ones of the same mean: DLIO has no others.
    """
    data, train = job.data, job.train
    values: dict[str, Any] = {
        "model.name": job.model or job.name,
        "framework": job.framework if job.framework in ("pytorch", "tensorflow") else "pytorch",
        "workflow.generate_data": job.generates,
        "workflow.train": train is not None,
        "workflow.evaluation": job.evaluate is not None,
        "workflow.checkpoint": job.checkpoint is not None,
        "dataset.data_folder": data.uri,
        "dataset.format": data.format,
        "dataset.num_files_train": data.files_train,
        "dataset.num_files_eval": data.files_eval,
        "dataset.num_samples_per_file": data.samples_per_file,
        "dataset.record_length_bytes": _whole(data.record_bytes.mean),
        "dataset.record_length_bytes_stdev": _whole(data.record_bytes.parameters.get("stdev", 0.0)),
        "dataset.num_subfolders_train": data.subfolders_train,
        "dataset.num_subfolders_eval": data.subfolders_eval,
        "dataset.file_prefix": data.file_prefix,
        "dataset.compression": data.compression,
        "reader.data_loader": "tensorflow" if job.framework == "tensorflow" else "pytorch",
        "reader.batch_size": train.batch_size if train else job.loader.batch_size,
        "reader.read_threads": job.loader.num_workers,
        "reader.prefetch_size": job.loader.prefetch,
        "reader.file_shuffle": "seed" if job.loader.shuffle else "off",
        "reader.sample_shuffle": "seed" if job.loader.shuffle else "off",
        "reader.odirect": job.loader.page_cache_mode == "direct",
    }
    if job.loader.reader_mode == "range":
        values["reader.transfer_size"] = job.loader.target_request_bytes
    if train is not None:
        values |= {
            "train.epochs": train.epochs,
            "train.total_training_steps": train.total_steps or -1,
            "train.computation_time": _time(train.compute_seconds),
            "reader.preprocess_time": _time(train.preprocess_seconds),
            "train.seed": train.seed,
            "train.seed_change_epoch": train.seed_changes,
        }
    if job.evaluate is not None:
        values |= {
            "reader.batch_size_eval": job.evaluate.batch_size,
            "evaluation.eval_time": _time(job.evaluate.compute_seconds),
            "evaluation.eval_after_epoch": job.evaluate.first_epoch,
            "evaluation.epochs_between_evals": job.evaluate.every_epochs,
        }
    if job.checkpoint is not None:
        values |= {
            "checkpoint.checkpoint_folder": job.checkpoint.uri,
            "checkpoint.checkpoint_after_epoch": job.checkpoint.first_epoch,
            "checkpoint.epochs_between_checkpoints": job.checkpoint.every_epochs,
            "checkpoint.steps_between_checkpoints": job.checkpoint.every_steps or -1,
        }
    if job.au_target is not None:
        values["metric.au"] = job.au_target
    return values


def _time(seconds: Distribution) -> Any:
    """A number, or the map that 3.x reads; a lognormal, which it has not, as the normal of the same mean and deviation."""
    p = dict(seconds.parameters)
    if seconds.kind == "fixed":
        return p["value"]
    return {"type": "normal" if seconds.kind == "lognormal" else seconds.kind, **p}


def _whole(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *sections, key = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[key] = value


class _Dumper(yaml.SafeDumper):
    """Writes `True` as DLIO's files do, and floats so that YAML 1.1 reads them again: PyYAML's 1e-05 would be text."""


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.Node:
    written = repr(value)
    if "e" in written and "." not in written:
        written = written.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", written)


_Dumper.add_representer(float, _float)
_Dumper.add_representer(bool, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:bool", str(value)))
