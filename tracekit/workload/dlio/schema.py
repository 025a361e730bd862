"""The keys of DLIO workload files: what each may hold, what it does here, and why those that do nothing do nothing.

One row per key of the 3.x dialect (dlio_benchmark/utils/config.py, LoadConfig, and what the MLCommons fork adds); `dialects` says
how the others spell them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

FORMATS = (
    "tfrecord", "hdf5", "csv", "npz", "npy", "hdf5_opt", "jpeg", "png", "indexed_binary", "mmap_indexed_binary", "synthetic",
    "parquet", "webdataset",
)  # fmt: skip
COMPRESSIONS = ("none", "gzip", "lzf", "bz2", "zip", "xz", "snappy", "lz4", "zstd")
_SHUFFLES = ("off", "seed", "random")


@dataclass(frozen=True)
class Key:
    """One row.

    Args:
        path: `section.key`.
        kind: What it holds: `count` (whole, 0 or more), `positive` (whole, 1 or more), `whole` (also -1, for none), `bytes` (0 or
            more, a fraction is allowed), `number` (0 or more), `share` (0 to 1, or a percentage), `bool`, `word`, `choice`,
            `time` (seconds, or a distribution), `shape` (whole numbers), `map`, `any`.
        default: DLIO's.
        choices: For `choice`.
        inert: Why it does nothing here; empty for a key that acts.
    """

    path: str
    kind: str
    default: Any = None
    choices: tuple[str, ...] = ()
    inert: str = ""


_NO_TENSOR = "samples are read and decoded, no tensor goes into a model"
_NO_PLUGIN = "classes of DLIO's are not loaded; use the adapters of tracekit.workload with your own"
_NO_MPI_FILE = "files are read by each rank on its own"
_ENVIRONMENT = "the clients take it from the environment; see docs/howto/object-stores.md"
_CLIENT = "the client is tracekit's own; see --client"
_LISTING = "names follow from the numbers of files, nothing is listed"
_SELF_RECORDED = "a run records itself, op by op"
_KSM = "checkpoints are streamed from a small buffer, so no memory has to be merged"


def _rows() -> Iterator[Key]:
    yield from _STORAGE
    yield from _DATASET
    yield from _READER
    yield from _TRAINING
    yield from _CHECKPOINT
    yield from _MODEL
    yield from _REST
    yield from _UNREAD


_STORAGE = (
    Key(
        "storage.storage_type",
        "choice",
        "local_fs",
        ("local_fs", "parallel_fs", "s3", "aistore", "direct_fs", "s3dlio"),
    ),
    Key("storage.storage_root", "word", "./"),
    Key("storage.storage_options.access_key_id", "word", inert=_ENVIRONMENT),
    Key("storage.storage_options.secret_access_key", "word", inert=_ENVIRONMENT),
    Key("storage.storage_options.endpoint_url", "word", inert=_ENVIRONMENT),
    Key("storage.storage_options.region", "word", inert=_ENVIRONMENT),
    Key("storage.storage_options.s3_force_path_style", "bool", False, inert=_CLIENT),
    Key(
        "storage.storage_options.s3_max_attempts",
        "positive",
        5,
        inert="nothing is retried, so that a trace shows every request",
    ),
    Key("storage.storage_options.uri_scheme", "word", inert="storage_type says it"),
    Key("storage.storage_options.prefetch_window", "count", inert=_CLIENT),
    Key("storage.storage_options.storage_library", "word", inert=_CLIENT),
    Key("storage.storage_library", "word", inert=_CLIENT),
    Key("storage.post_generation_settle_seconds", "number", 0, inert="generation ends when every file is there"),
    Key("storage.endpoint_uris", "map", inert="one endpoint is used; it comes from the environment"),
    Key("storage.use_mpi_endpoint_distribution", "bool", False, inert="one endpoint is used"),
    Key("storage.load_balance_strategy", "word", inert="one endpoint is used"),
)
_DATASET = (
    Key("dataset.record_length_bytes", "bytes", 65536),
    Key("dataset.record_length_bytes_stdev", "bytes", 0),
    Key("dataset.record_length_bytes_resize", "bytes", 0, inert=_NO_TENSOR),
    Key("dataset.num_files_train", "count", 8),
    Key("dataset.num_files_eval", "count", 0),
    Key("dataset.num_samples_per_file", "positive", 1),
    Key("dataset.data_folder", "word", "./data/"),
    Key("dataset.num_subfolders_train", "count", 0),
    Key("dataset.num_subfolders_eval", "count", 0),
    Key("dataset.file_prefix", "word", "img"),
    Key("dataset.format", "choice", "tfrecord", FORMATS),
    Key("dataset.keep_files", "bool", True, inert="data is kept; remove it when you no longer need it"),
    Key("dataset.generation_buffer_size", "bytes", 2 << 30, inert="samples are made one after the other, in a few MiB"),
    Key("dataset.enable_chunking", "bool", False),
    Key("dataset.chunk_size", "count", 0),
    Key("dataset.compression", "choice", "none", COMPRESSIONS),
    Key("dataset.compression_level", "count", 4),
    Key("dataset.record_element_type", "word", "uint8"),
    Key("dataset.record_element_bytes", "positive", inert="record_element_type says it"),
    Key("dataset.record_dims", "shape", ()),
    Key("dataset.hdf5.chunk_dims", "shape"),
    Key("dataset.hdf5.num_dset_per_record", "positive", 1),
    Key("dataset.hdf5.max_shape", "shape"),
    Key("dataset.parquet.columns", "map"),
    Key("dataset.parquet.row_group_size", "positive", 1024),
    Key("dataset.parquet.read_mode", "word", inert="columns are read as they are asked for"),
    Key("dataset.parquet.partition_by", "word", inert="files are named by number, as for every format"),
    Key("dataset.parquet.generation_batch_size", "count", inert="a row group is made at a time"),
    Key("dataset.parquet.use_s3dlio_gen", "bool", False, inert="tracekit generates"),
    Key("dataset.skip_listing", "bool", False, inert=_LISTING),
    Key("dataset.listing_validation_interval", "count", 1000, inert=_LISTING),
    Key("dataset.listing_threads", "count", 4, inert=_LISTING),
    Key("dataset.num_files_generated", "count", inert=_LISTING),
    Key("dataset.data_gen_method", "word", inert="tracekit generates"),
)
_READER = (
    Key(
        "reader.data_loader",
        "choice",
        "tensorflow",
        ("tensorflow", "pytorch", "dali", "native_dali", "custom", "none", "synthetic", "jax"),
    ),
    Key("reader.data_loader_classname", "word", inert=_NO_PLUGIN),
    Key("reader.reader_classname", "word", inert=_NO_PLUGIN),
    Key(
        "reader.data_loader_sampler",
        "choice",
        None,
        ("iterative", "index", "none"),
        inert="the profile says in which order",
    ),
    Key("reader.batch_size", "positive", 1),
    Key("reader.batch_size_eval", "positive", 1),
    Key("reader.read_threads", "count", 1),
    Key("reader.computation_threads", "count", 1, inert="a step computes for computation_time, whoever does it"),
    Key("reader.write_threads", "count", 1, inert="tracekit generate --processes says it"),
    Key("reader.prefetch_size", "count", 2),
    Key("reader.file_shuffle", "choice", "off", _SHUFFLES),
    Key("reader.sample_shuffle", "choice", "off", _SHUFFLES),
    Key("reader.shuffle_size", "count", 1024, inert="a shuffle is over everything, not over a buffer"),
    Key(
        "reader.read_type",
        "choice",
        "on_demand",
        ("on_demand", "memory"),
        inert="samples are read when they are asked for",
    ),
    Key(
        "reader.file_access", "choice", "multi", ("multi", "shared", "collective", "mpio", "posix"), inert=_NO_MPI_FILE
    ),
    Key("reader.transfer_size", "count"),
    Key("reader.odirect", "bool", False),
    Key("reader.preprocess_time", "time", 0.0),
    Key("reader.preprocess_time_stdev", "number", 0.0),
    Key("reader.multiprocessing_context", "word", "fork", inert="readers are threads"),
    Key("reader.pin_memory", "bool", True, inert=_NO_TENSOR),
    Key("reader.dont_use_mmap", "bool", False, inert="files are read, not mapped"),
    Key("reader.transformed_record_dims", "shape", inert=_NO_TENSOR),
    Key("reader.transformed_record_element_type", "word", inert=_NO_TENSOR),
)
_TRAINING = (
    Key("train.epochs", "positive", 1),
    Key("train.total_training_steps", "whole", -1),
    Key("train.computation_time", "time", 0.0),
    Key("train.computation_time_stdev", "number", 0.0),
    Key("train.seed", "count", 123),
    Key("train.seed_change_epoch", "bool", True),
    Key("evaluation.eval_time", "time", 0.0),
    Key("evaluation.eval_time_stdev", "number", 0.0),
    Key("evaluation.eval_after_epoch", "count", 1),
    Key("evaluation.epochs_between_evals", "count", 1),
)
_CHECKPOINT = (
    Key("checkpoint.checkpoint_folder", "word", "./checkpoints/"),
    Key("checkpoint.checkpoint_after_epoch", "count", 1),
    Key("checkpoint.epochs_between_checkpoints", "count", 1),
    Key("checkpoint.steps_between_checkpoints", "whole", -1),
    Key("checkpoint.type", "choice", "rank_zero", ("rank_zero", "all_ranks")),
    Key("checkpoint.mode", "choice", "default", ("default", "subset")),
    Key("checkpoint.num_checkpoints_write", "whole", -1),
    Key("checkpoint.num_checkpoints_read", "whole", -1),
    Key("checkpoint.time_between_checkpoints", "whole", -1),
    Key("checkpoint.fsync", "bool", False),
    Key("checkpoint.rank_sync", "bool", False),
    Key("checkpoint.recovery_rank_shift", "bool", False),
    Key("checkpoint.randomize_tensor", "bool", True),
    Key("checkpoint.checkpoint_mechanism_classname", "word", inert=_NO_PLUGIN),
    *(Key(f"checkpoint.ksm.{name}", "count", default, inert=_KSM)
      for name, default in (("madv_mergeable_id", 12), ("high_ram_trigger", 30), ("low_ram_exit", 15), ("await_time", 200))),
)  # fmt: skip
_MODEL = (
    Key("model.name", "word"),
    Key("model.type", "word", inert="the sizes say what it is"),
    Key("model.model_size_bytes", "bytes", 10240),
    Key("model.optimization_groups", "shape", ()),
    Key("model.num_layers", "whole", -1),
    Key("model.layer_parameters", "shape", ()),
    Key("model.model_datatype", "word", "fp16"),
    Key("model.optimizer_datatype", "word", "fp32"),
    Key("model.parallelism.tensor", "positive", 1),
    Key("model.parallelism.pipeline", "positive", 1),
    Key("model.parallelism.data", "whole", -1),
    Key("model.parallelism.zero_stage", "count", 0),
    Key("model.transformer.vocab_size", "positive", 32000),
    Key("model.transformer.hidden_size", "positive", 2048),
    Key("model.transformer.ffn_hidden_size", "positive", 8192),
    Key("model.transformer.num_attention_heads", "positive", 32),
    Key("model.transformer.num_kv_heads", "positive", 8),
)
_REST = (
    Key("endpoint_uris", "any", inert="one endpoint is used; it comes from the environment"),
    Key("framework", "choice", "tensorflow", ("tensorflow", "pytorch", "jax")),
    Key("output.folder", "word", inert="tracekit run --output says it"),
    Key("output.log_file", "word", "dlio.log", inert="talk goes to stderr"),
    Key("output.metric.exclude_start_steps", "count", 1),
    Key("output.metric.exclude_end_steps", "count", 0),
    Key("workflow.train", "bool", True),
    Key("workflow.generate_data", "bool", False),
    Key("workflow.evaluation", "bool", False),
    Key("workflow.checkpoint", "bool", False),
    Key("workflow.profiling", "bool", False, inert=_SELF_RECORDED),
    Key("workflow.debug", "bool", False, inert="there is nothing to debug in DLIO's classes here"),
    Key("profiling.profiler", "choice", "iostat", ("none", "iostat", "darshan", "tensorboard"), inert=_SELF_RECORDED),
    Key("profiling.iostat_devices", "map", inert=_SELF_RECORDED),
    Key("metric.au", "share", 0.90),
)

# In published workload files, and read by no version of DLIO.
_UNREAD = tuple(
    Key(path, "any", inert="no version of DLIO reads it either")
    for path in (
        "workflow.do_eval", "dataset.eval_num_samples_per_file", "train.total_eval_steps", "evaluation.steps_between_evals",
        "storage.storage_options.prefetch_workers", "model.framework", "reader.file_access_type", "generator", "logging",
        "distributed",
    )
)  # fmt: skip

KEYS = {key.path: key for key in _rows()}
# Everything below these is taken as it is: dl-driver's own sections, checked where they are translated, and ours.
FREE = ("framework_profiles", "pytorch_config", "tensorflow_config", "jax_config", "tracekit")


def is_section(path: str) -> bool:
    """Whether a path is a mapping that holds keys, not a key."""
    return any(known.startswith(f"{path}.") for known in KEYS)
