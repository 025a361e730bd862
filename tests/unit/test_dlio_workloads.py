"""Every published workload of DLIO and MLPerf Storage: its values parse, translate, demand what the arithmetic says, and go back."""

import dataclasses
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from dlio_published import V2, WORKLOADS, in_v2, unet3d

from tracekit.workload.dlio import export
from tracekit.workload.dlio.sizing import sizing
from tracekit.workload.dlio.translate import load


def written(tmp_path, sections, name="w"):
    """The sections as a YAML file."""
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(sections, sort_keys=False))
    return str(path)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_published_workload_translates_and_demands_what_the_arithmetic_says(name, tmp_path):
    """Every value is taken over, and one accelerator's demand is batch × record / compute time to the reference's digits."""
    sections, demand = WORKLOADS[name]
    job, settings = load(written(tmp_path, sections))
    assert not settings.findings.of("error")
    if demand is None:
        assert job.train is None
        assert job.checkpoint.settings["num_checkpoints_write"] == 10
        assert job.checkpoint.settings["fsync"] is True
        return
    data = sections["dataset"]
    assert (job.data.files_train, job.data.samples_per_file) == (data["num_files_train"], data["num_samples_per_file"])
    assert job.data.record_bytes.mean == data["record_length_bytes"]
    assert job.data.record_bytes.parameters.get("stdev", 0) == data["record_length_bytes_stdev"]
    assert job.train.compute_seconds.mean == sections["train"]["computation_time"]
    assert job.train.epochs == sections["train"]["epochs"]
    assert (job.loader.num_workers, job.loader.batch_size) == (
        sections["reader"]["read_threads"],
        sections["reader"]["batch_size"],
    )
    assert job.loader.shuffle == any(sections["reader"].get(f"{what}_shuffle") for what in ("file", "sample"))
    # The reference rounds to two or three digits.
    assert sizing(job).demand == pytest.approx(demand, rel=0.008)


@pytest.mark.parametrize("name", V2)
def test_the_names_of_2_0_0_say_the_same(name, tmp_path):
    """A workload in the names of 2.0.0 is the same job as in those of 3.x, but for the model's name."""
    old, settings = load(written(tmp_path, in_v2(V2[name]), "old"))
    new, _ = load(written(tmp_path, V2[name], "new"))
    assert settings.dialect == "2.0.0"
    assert dataclasses.replace(old, name=new.name, model=new.model) == new


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_exported_for_3_x_is_the_same_job(name, tmp_path):
    """Written for 3.x and read again, a file is the same job."""
    job, settings = load(written(tmp_path, WORKLOADS[name][0]))
    text, left_out = export.text(export.of_settings(settings), "3.x")
    again = tmp_path / "again.yaml"
    again.write_text(text)
    assert load(str(again))[0] == job
    assert not left_out


@pytest.mark.parametrize("name", V2)
def test_a_workload_exported_for_2_0_0_is_the_same_job(name, tmp_path):
    """Written for 2.0.0 and read again, a file is the same job in the other names."""
    job, settings = load(written(tmp_path, V2[name]))
    text, _ = export.text(export.of_settings(settings), "2.0.0")
    again = tmp_path / "again.yaml"
    again.write_text(text)
    found, settings = load(str(again))
    assert found == job
    assert "record_length_bytes" not in text
    assert "record_length:" in text


def test_what_2_0_0_has_not_is_left_out_and_said(tmp_path):
    """Keys that 2.0.0 does not read are named, not written."""
    _, settings = load(written(tmp_path, WORKLOADS["llama_70b"][0]))
    text, left_out = export.text(export.of_settings(settings), "2.0.0")
    assert "model.transformer.hidden_size" in left_out
    assert "checkpoint.fsync" in left_out
    assert "transformer" not in text.replace("transformer_", "")


@pytest.mark.parametrize("name", ["unet3d_h100", "bert_v100", "resnet50_h100", "default", "flux_b200"])
def test_a_job_goes_to_yaml_and_back(name, tmp_path):
    """A job written as DLIO YAML is read as one with the same data, loader and training."""
    job, _ = load(written(tmp_path, WORKLOADS[name][0]))
    text, _ = export.text(export.of_job(job), "3.x")
    again = tmp_path / "again.yaml"
    again.write_text(text)
    found, settings = load(str(again))
    assert not settings.findings.of("error")
    for part in ("uri", "format", "files_train", "files_eval", "samples_per_file", "record_bytes", "file_prefix"):
        assert getattr(found.data, part) == getattr(job.data, part), part
    assert found.loader == job.loader
    assert found.train.compute_seconds == job.train.compute_seconds
    assert (found.train.epochs, found.train.total_steps, found.train.seed_changes) == (
        job.train.epochs,
        job.train.total_steps,
        job.train.seed_changes,
    )


def test_the_figures_of_a_recorded_mlperf_submission_come_out(tmp_path):
    """60,000 U-Net files on 15 accelerators: 41 GB/s at 293 samples/s, as that submission's summary.json has them."""
    job, _ = load(written(tmp_path, unet3d(7, 0.323, dataset__num_files_train=60000)))
    figures = sizing(job, 15)
    assert figures.steps_per_epoch == 571
    # summary.json: 293.21 samples/s and 40993.5 MiB/s at 91.226 % utilisation.
    assert 293.21 * figures.sample_bytes / 2**20 == pytest.approx(40993.5, rel=0.001)
    assert 15 * figures.demand * 0.91226 / figures.sample_bytes == pytest.approx(293.21, rel=0.02)


def test_mlperf_asks_for_five_hundred_steps_or_five_memories(tmp_path):
    """The larger of 500 × batch × accelerators and 5 × memory / record: Rules 3.1.2."""
    job, _ = load(written(tmp_path, WORKLOADS["unet3d_h100"][0]))
    assert sizing(job, 8).mlperf_samples(0) == 500 * 7 * 8
    assert sizing(job, 1).mlperf_samples(512 << 30) == -(-5 * (512 << 30) // 146600628)
