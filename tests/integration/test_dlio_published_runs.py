"""Every published workload of DLIO and MLPerf Storage, run: scaled down by overrides, it demands what it demands at full size."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from dlio_published import BATCH, STEPS, V2, WORKLOADS, in_v2, scaled

from tracekit.cli import main

# A handful of formats, loaders and spellings in every run of the tests; the others in the long ones.
ALWAYS = {"unet3d_h100", "dlrm_argonne", "dlrm_mlperf_b200", "bert_v100", "llama_8b_zero3", "2.0.0 resnet50_h100"}
TRAINED = {name: sections for name, (sections, demand) in WORKLOADS.items() if demand and not name.endswith("_s3")}
FILES = {**TRAINED, **{f"2.0.0 {name}": in_v2(sections) for name, sections in V2.items()}}
# Eight files in ./d, read once and not computed on.
FEW = [
    "--data",
    "d",
    "++dataset.num_files_train=8",
    "++dataset.num_files_eval=0",
    "++train.computation_time=0",
    "++train.epochs=1",
]


def chosen(names):
    """The names as parameters, most of them long."""
    return [pytest.param(name, marks=() if name in ALWAYS else pytest.mark.long) for name in names]


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


ALONE = {name: sections for name, (sections, demand) in WORKLOADS.items() if demand is None}
# Two layers of a model that fits anywhere, on as many ranks as each kind of parallelism has at most two of.
TINY = {
    "model.num_layers": 2, "model.transformer.hidden_size": 64, "model.transformer.ffn_hidden_size": 128, "model.transformer.vocab_size": 1000,
    "checkpoint.num_checkpoints_write": 3, "checkpoint.num_checkpoints_read": 2, "checkpoint.time_between_checkpoints": 0,
}  # fmt: skip


@pytest.mark.parametrize("name", chosen(ALONE))
def test_a_published_workload_of_checkpoints_runs(name, capsys):
    """A file without training writes its checkpoints and reads them back, by as many ranks as its parallelism asks for, and no more bytes than `lint` says."""
    Path("w.yaml").write_text(yaml.safe_dump(ALONE[name], sort_keys=False))
    dealt = {
        f"model.parallelism.{kind}": min(2, ALONE[name]["model"]["parallelism"][kind])
        for kind in ("tensor", "pipeline")
    }
    overrides = [f"++workload.{key}={value}" for key, value in {**TINY, **dealt}.items()]
    size = told(capsys, "dlio", "lint", "w.yaml", "--json", *overrides)["sizing"]
    assert size["checkpoint_ranks"] == dealt["model.parallelism.tensor"] * dealt["model.parallelism.pipeline"]
    words = ["--ranks", str(size["checkpoint_ranks"]), "--checkpoint", "saved", "-q", "--format", "json"]
    run = told(capsys, "run", "w.yaml", *words, *overrides)
    assert (run["completed"], run["steps"], run["ranks"]) == (True, 0, size["checkpoint_ranks"])
    for what, number in (("write", 3), ("read", 2)):
        moved = run["checkpoints"][what]
        assert (moved["checkpoints"], moved["bytes"]) == (number, number * size["checkpoint_bytes"])
    assert sum(path.stat().st_size for path in Path("saved").rglob("*.pt")) == 3 * size["checkpoint_bytes"]


def test_a_run_makes_the_data_that_the_file_asks_for(capsys):
    """With generate_data a run makes what is missing first; where nothing else is switched on it ends there, and says so."""
    Path("w.yaml").write_text(yaml.safe_dump(FILES["default"] | {"workflow": {"generate_data": True, "train": False}}))
    assert main(["run", "w.yaml", *FEW]) == 0
    assert "8 files of the data set made in d, as workflow.generate_data asks for" in capsys.readouterr().err
    made = {path: path.stat().st_mtime_ns for path in Path("d").rglob("*.npz")}
    assert len(made) == 8
    next(iter(made)).unlink()
    run = told(capsys, "run", "w.yaml", "++workflow.train=True", *FEW, "--format", "json")
    assert run["steps"] == 2
    again = {path: path.stat().st_mtime_ns for path in Path("d").rglob("*.npz")}
    assert set(again) == set(made)
    assert sum(made[path] != moment for path, moment in again.items()) == 1


def test_data_that_somebody_else_made_is_taken_as_it_is(capsys):
    """With generate_data and files that are not tracekit's (DLIO's own): nothing is made or refused, they are read."""
    Path("w.yaml").write_text(yaml.safe_dump(FILES["default"] | {"workflow": {"generate_data": True, "train": True}}))
    assert main(["generate", "w.yaml", "-q", *FEW]) == 0
    for path in Path("d").iterdir():
        if path.is_file():
            path.unlink()  # what says that it is tracekit's
    assert main(["run", "w.yaml", *FEW]) == 0
    assert "they are taken as they are" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("workflow", "words", "said"),
    [
        ({}, [], r"w\.yaml:\d+: dataset\.data_folder: there is nothing at"),
        ({"train": False}, [], "has neither training nor checkpoints"),
        (
            {"train": False, "checkpoint": True},
            ["--epochs", "2"],
            "does not train \\(workflow.train is off\\), so --epochs does nothing",
        ),
    ],
)
def test_what_cannot_be_run_is_said(workflow, words, said, capsys):
    """A file in which nothing is switched on, or an option of training where none is, is refused in a sentence."""
    dataset = FILES["default"]["dataset"] | {"data_folder": "none"}
    Path("w.yaml").write_text(yaml.safe_dump(FILES["default"] | {"workflow": workflow, "dataset": dataset}))
    assert main(["run", "w.yaml", *words]) == 2
    assert re.search(said, capsys.readouterr().err)
