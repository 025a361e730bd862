"""The public workload files of DLIO and MLPerf Storage: their values, and what one accelerator demands by the arithmetic of the reference."""

GB, MB = 1e9, 1e6
# Of a workload scaled down: bytes of a record and samples of a batch at the most, steps at the least.
LARGEST, BATCH, STEPS = 100_000, 4, 3


def train(fmt, files, samples, size, stdev, loader, threads, batch, compute, shuffle="seed", epochs=5, **other):
    """The facts of a training workload as sections under 3.x's names."""
    sections = {
        "framework": "tensorflow" if loader == "tensorflow" else "pytorch",
        "workflow": {"generate_data": False, "train": True},
        "dataset": {
            "format": fmt, "num_files_train": files, "num_samples_per_file": samples, "record_length_bytes": size,
            "record_length_bytes_stdev": stdev,
        },
        "reader": {"data_loader": loader, "read_threads": threads, "batch_size": batch},
        "train": {"epochs": epochs, "computation_time": compute},
    }  # fmt: skip
    if shuffle:
        sections["reader"] |= {"file_shuffle": shuffle, "sample_shuffle": shuffle}
    for path, value in other.items():
        section, _, key = path.partition("__")
        sections.setdefault(section, {})[key] = value
    return sections


def unet3d(batch, compute, stdev=68341808, **other):
    """3D U-Net."""
    return train(
        "npz",
        168,
        1,
        146600628,
        stdev,
        "pytorch",
        4,
        batch,
        compute,
        dataset__record_length_bytes_resize=2097152,
        **other,
    )


def resnet50(batch, compute, **other):
    """ResNet-50."""
    more = {"dataset__record_length_bytes_resize": 150528, "reader__computation_threads": 8, **other}
    return train("tfrecord", 1024, 1251, 114660.07, 0, "tensorflow", 8, batch, compute, None, **more)


def cosmoflow(compute, shuffle="seed", **other):
    """CosmoFlow."""
    return train("tfrecord", 524288, 1, 2828486, 71311, "tensorflow", 4, 1, compute, shuffle, **other)


def s3(**other):
    """Storage of the S3 variants."""
    options = {
        "endpoint_url": "http://localhost:9020",
        "region": "us-east-1",
        "s3_force_path_style": False,
        "s3_max_attempts": 5,
    }
    return {
        "storage__storage_type": "s3",
        "storage__storage_root": "bucket",
        "storage__storage_options": options,
        **other,
    }


def llama(layers, hidden, ffn, heads, kv, vocab, tensor, pipeline, stage):
    """A checkpoint-only workload."""
    return {
        "model": {
            "name": "llama", "type": "transformer", "num_layers": layers, "model_datatype": "fp16", "optimizer_datatype": "fp32",
            "parallelism": {"tensor": tensor, "pipeline": pipeline, "zero_stage": stage},
            "transformer": {"vocab_size": vocab, "hidden_size": hidden, "ffn_hidden_size": ffn, "num_attention_heads": heads, "num_kv_heads": kv},
        },
        "framework": "pytorch",
        "workflow": {"generate_data": False, "train": False, "checkpoint": True},
        "checkpoint": {
            "checkpoint_folder": "checkpoints/llama", "time_between_checkpoints": 5, "num_checkpoints_write": 10,
            "num_checkpoints_read": 10, "fsync": True,
        },
    }  # fmt: skip


FLUX = [{"name": name, "dtype": "float32", "size": size} for name, size in
        (("t5_encodings", 524328), ("clip_encodings", 409), ("mean", 8232), ("logvar", 8232), ("timestamp", 7))]  # fmt: skip
DLRM = [
    {"name": f"feature_{i:03}", "dtype": ("float16", "float32", "float64", "int8")[i % 4], "read": i % 4 == 1}
    for i in range(200)
]
CHECKPOINT = {
    "checkpoint__checkpoint_folder": "checkpoints/x",
    "checkpoint__checkpoint_after_epoch": 5,
    "checkpoint__epochs_between_checkpoints": 2,
}

# name: (sections, bytes per second that one accelerator demands, or None where the reference has no figure)
WORKLOADS = {
    "unet3d_a100": (unet3d(7, 0.636, metric__au=0.90, workflow__checkpoint=True, model__model_size=499153191, **CHECKPOINT), 1.61 * GB),
    "unet3d_h100": (unet3d(7, 0.323, metric__au=0.90, workflow__checkpoint=True, model__model_size=499153191, **CHECKPOINT), 3.18 * GB),
    "unet3d_v100": (unet3d(4, 1.3604), 4 * 146600628 / 1.3604),
    "unet3d_a100_s3": (unet3d(7, 0.636, 0, **s3()), 1.61 * GB),
    "unet3d_h100_s3": (unet3d(7, 0.323, 0, epochs=7, **s3()), 3.18 * GB),
    "unet3d_v100_s3": (unet3d(4, 1.3604, 0, dataset__format="npy", **s3()), 4 * 146600628 / 1.3604),
    "unet3d_b200": (unet3d(7, 0.162, metric__au=0.90, dataset__num_files_train=7200), 6.33 * GB),
    "resnet50_a100": (resnet50(400, 0.435, metric__au=0.90), 400 * 114660.07 / 0.435),
    "resnet50_h100": (resnet50(400, 0.224, metric__au=0.90), 205 * MB),
    "resnet50_v100": (resnet50(64, 0.195), 64 * 114660.07 / 0.195),
    "resnet50_tf": (resnet50(64, 0.098, epochs=1), 64 * 114660.07 / 0.098),
    "cosmoflow_a100": (cosmoflow(0.00551, metric__au=0.70, reader__shuffle_size=2), 2828486 / 0.00551),
    "cosmoflow_h100": (cosmoflow(0.00350, metric__au=0.70, reader__shuffle_size=2), 808 * MB),
    "cosmoflow_v100": (cosmoflow(0.00936, None), 2828486 / 0.00936),
    "bert_v100": (
        train("tfrecord", 500, 313532, 2500, 0, "tensorflow", 1, 48, 0.968, epochs=1, dataset__file_prefix="part",
              reader__transfer_size=262144, reader__computation_threads=1, train__total_training_steps=1000,
              train__seed_change_epoch=False, workflow__checkpoint=True, model__model_size_bytes=4034713312,
              checkpoint__checkpoint_folder="checkpoints/bert", checkpoint__steps_between_checkpoints=250), 48 * 2500 / 0.968),
    "dlrm_argonne": (
        train("indexed_binary", 1, 1024, 671088640, 0, "pytorch", 1, 1, 0.064296, None, 1, reader__sample_shuffle="random",
              dataset__num_files_eval=1, workflow__do_eval=True, dataset__eval_num_samples_per_file=91681240,
              train__total_eval_steps=2048, evaluation__steps_between_evals=16384), 671088640 / 0.064296),
    "dlrm_mlperf_b200": (
        train("parquet", 1024, 4718592, 761, 0, "pytorch", 4, 16384, 0.000375, None, 1, reader__prefetch_size=2, metric__au=0.70,
              dataset__parquet={"columns": DLRM, "row_group_size": 6144, "read_mode": "row_group"}), 33 * GB),
    "dlrm_mlperf_mi355": (
        train("parquet", 1024, 4718592, 761, 0, "pytorch", 4, 16384, 0.0005625, None, 1, metric__au=0.70,
              dataset__parquet={"columns": DLRM, "row_group_size": 6144}), 16384 * 761 / 0.0005625),
    "flux_b200": (
        train("parquet", 4296, 288, 2164832, 0, "pytorch", 8, 48, 1.35, None, 1, metric__au=0.90, dataset__parquet={"columns": FLUX}), 77 * MB),
    "flux_mi355": (
        train("parquet", 4296, 288, 2164832, 0, "pytorch", 8, 72, 2.025, None, 1, metric__au=0.90, dataset__parquet={"columns": FLUX}), 77 * MB),
    "retinanet_b200": (train("jpeg", 1170301, 1, 322957, 0, "pytorch", 8, 24, 0.04755, epochs=8, metric__au=0.85), 163 * MB),
    "retinanet_mi355": (train("jpeg", 1170301, 1, 322957, 0, "pytorch", 8, 32, 0.0634, epochs=8, metric__au=0.85), 163 * MB),
    "megatron_deepspeed_LLNL": (
        train("mmap_indexed_binary", 1, 277203535, 2048, 0, "pytorch", 1, 16, 2.44, epochs=3, train__total_training_steps=1000,
              workflow__checkpoint=True, checkpoint__checkpoint_folder="checkpoints/megatron", checkpoint__steps_between_checkpoints=1000,
              checkpoint__type="all_ranks", model__name="megatron_deepspeed", model__type="megatron_deepspeed", model__model_size=30102,
              model__num_layers=40, model__optimization_groups=[1009254400, 865075200, 793600],
              model__layer_parameters=[52583936, 209715200], model__parallelism={"pipeline": 8, "tensor": 4, "zero_stage": 1}),
        16 * 2048 / 2.44),
    "default": (
        train("npz", 64, 1, 4096, 0, "pytorch", 1, 4, 1.0, None, 10, dataset__num_files_eval=8, dataset__num_subfolders_train=2,
              dataset__num_subfolders_eval=2, reader__batch_size_eval=1, workflow__evaluation=True, evaluation__eval_time=0.5,
              evaluation__epochs_between_evals=1, metric__au=0.90, profiling__profiler="iostat"), 16384.0),
    "llama_7b": (llama(32, 4096, 11008, 32, 32, 32000, 1, 1, 1), None),
    "llama_7b_zero3": (llama(32, 4096, 11008, 32, 32, 32000, 1, 1, 3), None),
    "llama_8b_zero3": (llama(32, 4096, 14336, 32, 8, 128256, 1, 1, 3), None),
    "llama_70b": (llama(80, 8192, 28672, 128, 8, 128256, 8, 4, 1), None),
    "llama_70b_zero3": (llama(80, 8192, 28672, 128, 8, 128256, 8, 1, 3), None),
    "llama_405b": (llama(126, 16384, 53248, 128, 8, 128256, 8, 32, 1), None),
    "llama_1t": (llama(128, 25872, 98304, 192, 32, 128256, 8, 64, 1), None),
}  # fmt: skip
# What is public in the names of 2.0.0, too: it has neither record sizes of a map nor transformers.
V2 = {
    "dlrm": train("indexed_binary", 1, 4195198976, 327680, 0, "pytorch", 1, 2048, 0.064296, None, 1, reader__sample_shuffle="random",
                  train__total_training_steps=32768),
    **{name: WORKLOADS[name][0] for name in ("unet3d_a100", "unet3d_h100", "unet3d_v100", "resnet50_a100", "resnet50_h100",
       "resnet50_tf", "resnet50_v100", "cosmoflow_a100", "cosmoflow_h100", "cosmoflow_v100", "default")},
}  # fmt: skip


def in_v2(sections):
    """Sections in the names of 2.0.0."""
    sections = {name: dict(section) if isinstance(section, dict) else section for name, section in sections.items()}
    data = sections["dataset"]
    for key in list(data):
        if key.startswith("record_length_bytes"):
            data[key.replace("_bytes", "", 1)] = data.pop(key)
    model = sections.pop("model", {})
    if "model_size" in model:
        sections.setdefault("checkpoint", {})["model_size"] = model["model_size"]
    return {"model": "a-name", **sections}


def scaled(sections):
    """Overrides that make a workload small: record, batch and compute time by the same factors, so that the demand stays."""
    data, batch = sections["dataset"], min(sections["reader"]["batch_size"], BATCH)
    suffix = "_bytes" if "record_length_bytes" in data else ""
    record = data[f"record_length{suffix}"]
    # Of Parquet the columns say how long a record is.
    factor = 1 if data["format"] == "parquet" else min(1, LARGEST / record)
    samples = min(data["num_samples_per_file"], 2 * batch)
    seconds = sections["train"]["computation_time"] * factor * batch / sections["reader"]["batch_size"]
    return {
        f"dataset.record_length{suffix}": record * factor if factor < 1 else record,
        f"dataset.record_length{suffix}_stdev": data.get(f"record_length{suffix}_stdev", 0) * factor,
        "dataset.num_samples_per_file": samples,
        "dataset.num_files_train": -(-STEPS * batch // samples),
        "reader.batch_size": batch,
        "train.computation_time": seconds,
        "train.epochs": 1,
        "train.total_training_steps": -1,
        "workflow.checkpoint": False,
    }
