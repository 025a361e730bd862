"""What can be seen to be wrong with a workload before it is run, from several keys together."""

from __future__ import annotations

from tracekit.units import format_bytes, format_count
from tracekit.workload.dlio.findings import ERROR, WARNING
from tracekit.workload.dlio.settings import Settings

ELEMENT_BYTES = {
    "uint8": 1, "int8": 1, "bool": 1, "uint16": 2, "int16": 2, "float16": 2, "bf16": 2, "fp16": 2, "uint32": 4, "int32": 4,
    "float32": 4, "fp32": 4, "uint64": 8, "int64": 8, "float64": 8, "fp64": 8,
}  # fmt: skip
# hdf5_opt is a way of reading, the files are the same.
FORMATS = {"hdf5_opt": "hdf5"}
COMPRESSES = {
    "npz": ("zip",), "hdf5": ("gzip", "lzf"), "csv": ("gzip", "bz2", "zip", "xz"),
    "parquet": ("snappy", "gzip", "lz4", "zstd"), "tfrecord": ("gzip",),
}  # fmt: skip
_MOST_BYTES = 1 << 60


def check(settings: Settings) -> None:
    """Add what is wrong to the findings."""
    _data(settings)
    _compression(settings)
    _steps(settings)
    _evaluation(settings)
    _model(settings)
    _columns(settings)
    if settings["storage.storage_type"] == "aistore":
        settings.add(
            ERROR,
            "storage.storage_type",
            "aistore is not a storage of tracekit",
            "use its S3 gateway with storage_type: s3",
        )


def _sample_bytes(settings: Settings) -> float:
    dims = settings["dataset.record_dims"]
    if not dims:
        return float(settings["dataset.record_length_bytes"])
    count = ELEMENT_BYTES.get(settings["dataset.record_element_type"], 1)
    for extent in dims:
        count *= extent
    return float(count)


def _data(settings: Settings) -> None:
    size = _sample_bytes(settings)
    kind = settings["dataset.record_element_type"]
    if kind not in ELEMENT_BYTES:
        settings.add(
            ERROR,
            "dataset.record_element_type",
            f"{kind!r} is no element type",
            f"there are: {', '.join(ELEMENT_BYTES)}",
        )
    if settings["dataset.record_dims"] and "dataset.record_length_bytes" in settings.values:
        settings.add(
            WARNING,
            "dataset.record_length_bytes",
            f"record_dims says the size of a record: {format_bytes(size)}",
            "leave one of the two out",
        )
    if size < 1:
        settings.add(ERROR, "dataset.record_length_bytes", "a sample has no bytes", "write its size in bytes")
    stdev = settings["dataset.record_length_bytes_stdev"]
    if stdev > size:
        settings.add(
            WARNING,
            "dataset.record_length_bytes_stdev",
            f"{stdev} is more than the mean of {size:g}: many sizes are turned round at 0",
            "write a smaller one",
        )
    files = settings["dataset.num_files_train"]
    total = size * settings["dataset.num_samples_per_file"] * (files + settings["dataset.num_files_eval"])
    if total > _MOST_BYTES:
        settings.add(
            ERROR,
            "dataset.num_samples_per_file",
            f"the data set would have {total / 2**60:.3g} EiB",
            "see the numbers of files and samples",
        )
    if settings["workflow.train"] and files == 0:
        settings.add(
            ERROR,
            "dataset.num_files_train",
            "there is no file to train on",
            "write how many there are, or workflow.train: False",
        )
    for split in ("train", "eval"):
        folders, count = settings[f"dataset.num_subfolders_{split}"], settings[f"dataset.num_files_{split}"]
        if folders > max(count, 1):
            settings.add(
                WARNING,
                f"dataset.num_subfolders_{split}",
                f"{folders} folders for {count} files: some stay empty",
                "write fewer",
            )
    if settings["dataset.format"] in ("jpeg", "png") and settings["dataset.num_samples_per_file"] > 1:
        settings.add(
            ERROR, "dataset.num_samples_per_file", f"a {settings['dataset.format']} file is one sample", "write 1"
        )


def _compression(settings: Settings) -> None:
    wanted = settings["dataset.compression"]
    name = FORMATS.get(settings["dataset.format"], settings["dataset.format"])
    known = COMPRESSES.get(name, ())
    if wanted != "none" and wanted not in known:
        text = f"{name} has {', '.join(known)} or none" if known else f"{name} is written without"
        settings.add(ERROR, "dataset.compression", f"{name} files are not compressed with {wanted}", text)


def _steps(settings: Settings) -> None:
    if not settings["workflow.train"]:
        return
    samples = settings["dataset.num_files_train"] * settings["dataset.num_samples_per_file"]
    batch, epochs = settings["reader.batch_size"], settings["train.epochs"]
    if samples and batch > samples:
        settings.add(
            ERROR,
            "reader.batch_size",
            f"a batch of {batch} is more than the {samples} samples there are: no step is full",
            "write a smaller one, or more files",
        )
        return
    steps, wanted = samples // batch * epochs, settings["train.total_training_steps"]
    if wanted > steps:
        settings.add(
            ERROR, "train.total_training_steps",
            f"{format_count(wanted)} steps are more than the data has: {format_count(samples)} samples / {batch} × {epochs} epochs = {format_count(steps)}",
            "write fewer, or more epochs or files",
        )  # fmt: skip
    if wanted == 0:
        settings.add(
            ERROR, "train.total_training_steps", "0 steps are no training", "write -1 for as many as there are"
        )


def _evaluation(settings: Settings) -> None:
    if not settings["workflow.evaluation"] or not settings["evaluation.epochs_between_evals"]:
        return
    files = settings["dataset.num_files_eval"]
    samples = files * settings["dataset.num_samples_per_file"]
    if not files:
        settings.add(
            ERROR,
            "workflow.evaluation",
            "there is no file to evaluate on",
            "write dataset.num_files_eval, or evaluation: False",
        )
    elif settings["reader.batch_size_eval"] > samples:
        settings.add(
            ERROR,
            "reader.batch_size_eval",
            f"a batch of {settings['reader.batch_size_eval']} is more than the {samples} samples there are",
            "write a smaller one",
        )


def _model(settings: Settings) -> None:
    if settings.spelled.get("model.model_size_bytes") == "model.model_size":
        text = "DLIO 3.x does not read it, and writes a model of 10240 bytes; here it is the size of the model"
        settings.add(WARNING, "model.model_size_bytes", text, "write model_size_bytes")
    if settings["model.parallelism.zero_stage"] > 3:
        settings.add(
            ERROR,
            "model.parallelism.zero_stage",
            f"there is no stage {settings['model.parallelism.zero_stage']}",
            "write 0 to 3",
        )
    if settings["model.parallelism.zero_stage"] == 3 and settings["model.parallelism.pipeline"] > 1:
        settings.add(
            ERROR,
            "model.parallelism.pipeline",
            "ZeRO stage 3 shards over data-parallel ranks and takes no pipeline",
            "write pipeline: 1",
        )
    heads, kv = settings["model.transformer.num_attention_heads"], settings["model.transformer.num_kv_heads"]
    given = settings.given
    if "model.transformer.num_kv_heads" in given and heads % kv:
        settings.add(
            ERROR,
            "model.transformer.num_kv_heads",
            f"{heads} attention heads cannot share {kv} key-value heads evenly",
            "write a divisor",
        )
    for path in ("model.model_datatype", "model.optimizer_datatype"):
        if settings[path] not in ELEMENT_BYTES:
            settings.add(ERROR, path, f"{settings[path]!r} is no data type", f"there are: {', '.join(ELEMENT_BYTES)}")


def _columns(settings: Settings) -> None:
    columns = settings["dataset.parquet.columns"]
    if columns is None:
        return
    path = "dataset.parquet.columns"
    if not isinstance(columns, list) or not all(
        isinstance(column, dict) and isinstance(column.get("name"), str) for column in columns
    ):
        settings.add(ERROR, path, "columns are a list of {name, dtype, size, read}", "write one item per column")
        return
    names = [column["name"] for column in columns]
    if len(set(names)) < len(names):
        settings.add(ERROR, path, "a column is there twice", "give each a name of its own")
    for column in columns:
        wrong = set(column) - {"name", "dtype", "size", "read"}
        if wrong:
            settings.add(
                ERROR, path, f"column {column['name']} has no {min(wrong)}", "there are: name, dtype, size, read"
            )
        if str(column.get("dtype", "float32")) not in ELEMENT_BYTES:
            settings.add(
                ERROR,
                path,
                f"column {column['name']} has the dtype {column.get('dtype')!r}",
                f"there are: {', '.join(ELEMENT_BYTES)}",
            )
        size = column.get("size", 1)
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            settings.add(ERROR, path, f"column {column['name']} has the size {size!r}", "write a whole number from 1")
