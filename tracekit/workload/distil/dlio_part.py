"""The same workload as DLIO has it, in the names of DLIO 2.0.0; what it cannot say becomes the nearest that it can."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracekit.workload.custom import duration
from tracekit.workload.distil.description import Description, Tree
from tracekit.workload.distil.found import EXACT, HIGH, LOW, UNKNOWN, Found

# By suffix; DLIO 2.0.0 has these.
_FORMATS = {
    ".npz": "npz", ".tfrecord": "tfrecord", ".tfrecords": "tfrecord", ".h5": "hdf5", ".hdf5": "hdf5", ".csv": "csv", ".jpg": "jpeg",
    ".jpeg": "jpeg", ".png": "png",
}  # fmt: skip


def dlio(description: Description) -> Tree:
    """Sections and keys of a DLIO file."""
    own = description.own
    loader, files = own["loader"], own["files"]
    tree: Tree = {
        "model": own["name"],
        "framework": _framework(own["framework"]),
        "workflow": {
            "generate_data": Found(True, EXACT, "DLIO reads what it has made itself"),
            "train": Found(True, EXACT, "there are steps", 0),
        },
        "dataset": _dataset(files, own["shape"]["unit"].value),
        "reader": {
            "data_loader": _data_loader(own["framework"]),
            "batch_size": loader["batch_size"],
            "read_threads": loader["num_workers"],
            "prefetch_size": _prefetch(own["framework"], loader),
            "file_shuffle": _shuffled(loader),
            "sample_shuffle": _shuffled(loader),
        },
        "train": {"epochs": own["epochs"], "seed_change_epoch": description.same_order},
    }
    if "steps" in own:
        tree["train"]["total_training_steps"] = own["steps"]
    tree["train"] |= _time("computation_time", own["compute"])
    if own["decode"].value != "0":
        tree["reader"] |= _time("preprocess_time", own["decode"])
    _add_evaluation(tree, description)
    written = _checkpoint(description)
    if written:
        tree["workflow"]["checkpoint"] = Found(True, HIGH, "it writes between steps")
    return tree | written


def _framework(found: Found) -> Found:
    if found.value in ("pytorch", "tensorflow"):
        return found
    return Found("pytorch", LOW, f"DLIO 2.0.0 has no {found.value}" if found.value else found.how)


def _data_loader(found: Found) -> Found:
    return Found(_framework(found).value, found.confidence, "as the framework")


def _prefetch(framework: Found, loader: Tree) -> Found:
    """PyTorch's prefetch factor is for each worker, ours is over all of them."""
    found: Found = loader["prefetch"]
    if _framework(framework).value != "pytorch":
        return found
    return Found(max(1, found.value // loader["num_workers"].value), found.confidence, f"for each worker: {found.how}", found.observations, found.off)  # fmt: skip


def _shuffled(loader: Tree) -> Found:
    found: Found | None = loader.get("shuffle")
    if found is None:
        drawn = loader["random_index_mode"]
        return Found("seed", LOW, f"DLIO has no draws with replacement ({drawn.value})")
    return Found("seed" if found.value else "off", found.confidence, found.how, found.observations, found.off)


def _dataset(files: Tree, unit: str) -> Tree:
    suffix = "." + str(files["pattern"].value).rpartition(".")[2].lower()
    sizes = np.array(files["sizes"].value).reshape(-1)
    samples = files["samples"].value if "samples" in files else 1
    each = sizes if unit == "record" else sizes / samples
    known = suffix in _FORMATS
    found: Tree = {
        "data_folder": Found("data", UNKNOWN, "name a folder; DLIO makes the files there"),
        "format": Found(_FORMATS.get(suffix, "npz"), HIGH if known else LOW, f"by the suffix {suffix}" if known else f"DLIO has no format for {suffix}"),
        "num_files_train": files["count"],
        "num_samples_per_file": files.get("samples") or Found(1, EXACT, "a file is a sample"),
        "record_length": Found(round(float(each.mean())), files["sizes"].confidence, "mean size of a sample", len(sizes)),
        "record_length_stdev": Found(round(float(each.std())), files["sizes"].confidence, "DLIO draws sizes from a normal distribution", len(sizes)),
    }  # fmt: skip
    if "folders" in files:
        found["num_subfolders_train"] = files["folders"]
    return found


def _time(name: str, found: Found) -> Tree:
    seconds = duration(str(found.value))
    spread = float(np.std(seconds.draw(np.random.default_rng(0), 10_000)))
    numbers: Any = {name: float(f"{seconds.mean:.6g}"), f"{name}_stdev": float(f"{spread:.6g}")}
    off = found.off if seconds.kind in ("fixed", "normal") else f"DLIO 2.0.0 has normal times only, here they are {seconds.kind}"  # fmt: skip
    return {
        key: Found(value, found.confidence, found.how, found.observations, off)
        for key, value in numbers.items()
        if value
    } or {name: Found(0.0, found.confidence, found.how)}


def _add_evaluation(tree: Tree, description: Description) -> None:
    found = description.evaluation
    if found is None:
        return
    tree["workflow"]["evaluation"] = Found(True, HIGH, "steps read a folder of their own", found.steps.value)
    tree["dataset"]["num_files_eval"] = found.files
    tree["reader"]["batch_size_eval"] = found.batch_size
    tree["evaluation"] = {
        "eval_after_epoch": description.own["evaluation"]["first_epoch"],
        "epochs_between_evals": description.own["evaluation"]["every_epochs"],
    } | _time("eval_time", found.compute)  # fmt: skip


def _checkpoint(description: Description) -> Tree:
    written = description.checkpoints
    if written is None:
        return {}
    found: Tree = {
        "checkpoint_folder": Found("checkpoints", UNKNOWN, "name a folder"),
        "steps_between_checkpoints": written.steps,
        "model_size": written.bytes,
    }
    return {"checkpoint": found}
