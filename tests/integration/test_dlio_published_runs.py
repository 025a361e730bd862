"""Every published workload of DLIO and MLPerf Storage, run: scaled down by overrides, it demands what it demands at full size."""

import json
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from dlio_published import V2, WORKLOADS, in_v2

from tracekit.cli import main

# A handful of formats, loaders and spellings in every run of the tests; the others in the long ones.
ALWAYS = {"unet3d_h100", "dlrm_argonne", "dlrm_mlperf_b200", "bert_v100", "2.0.0 resnet50_h100"}
TRAINED = {name: sections for name, (sections, demand) in WORKLOADS.items() if demand and not name.endswith("_s3")}
FILES = {**TRAINED, **{f"2.0.0 {name}": in_v2(sections) for name, sections in V2.items()}}
LARGEST, BATCH, STEPS = 100_000, 4, 3


def chosen(names):
    """The names as parameters, most of them long."""
    return [pytest.param(name, marks=() if name in ALWAYS else pytest.mark.long) for name in names]


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


def told(capsys, *words):
    """The JSON that a command shows."""
    capsys.readouterr()
    assert main(list(words)) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", chosen(FILES))
def test_a_published_workload_runs(name, capsys):
    """Its data is made and read to the end, each step computes as long as it asks for, and the demand is that of the full size."""
    sections = FILES[name]
    Path("w.yaml").write_text(yaml.safe_dump(sections, sort_keys=False))
    overrides = [f"++workload.{key}={value}" for key, value in scaled(sections).items()]
    whole = told(capsys, "dlio", "lint", "w.yaml", "--json")["sizing"]
    small = told(capsys, "dlio", "lint", "w.yaml", "--json", *overrides)["sizing"]
    assert small["demand_bytes_per_second"] == pytest.approx(whole["demand_bytes_per_second"])
    assert main(["generate", "w.yaml", "--data", "d", "-q", *overrides]) == 0
    run = told(capsys, "run", "w.yaml", "--data", "d", "-q", "--format", "json", *overrides)
    assert (run["completed"], run["steps"]) == (True, small["steps_per_epoch"])
    assert run["steps"] >= STEPS
    assert run["samples"] == run["steps"] * min(sections["reader"]["batch_size"], BATCH)
    assert run["stages"]["compute_s"]["total"] >= 0.999 * run["steps"] * small["compute_seconds"]
    # Headers, indices and an archive's directory are read for each sample; the footer and a group of Parquet by each worker.
    disk = sum(path.stat().st_size for path in Path("d/train").rglob("*") if path.is_file())
    readers = sections["reader"]["read_threads"] if sections["dataset"]["format"] == "parquet" else 1
    assert 0.95 * disk <= run["bytes"] <= readers * (disk + 8192 * run["samples"])
