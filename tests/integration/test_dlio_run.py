"""Shipped workloads from file to report, scaled down: data made, run, and every step accounted for."""

import json
from pathlib import Path

import pytest

from tracekit.cli import main
from tracekit.workload.dlio import shipped

# As small as each can be and still be itself: few files, small samples, no computing.
SMALL = {
    "bert": ["dataset.num_files_train=2", "dataset.num_samples_per_file=48", "dataset.record_length_bytes=2500", "train.total_training_steps=-1"],
    "cosmoflow": ["dataset.num_files_train=6", "dataset.record_length_bytes=20000", "dataset.record_length_bytes_stdev=500"],
    "minimal": [],
    "resnet50": ["dataset.num_files_train=2", "dataset.num_samples_per_file=8", "dataset.record_length_bytes=4660.07", "reader.batch_size=4"],
    "tf-like": ["dataset.num_files_train=2", "dataset.record_length_bytes=2000"],
    "torch-like": ["dataset.num_files_train=32", "dataset.record_length_bytes=9000", "dataset.record_length_bytes_stdev=900"],
    "trace-replay": ["dataset.num_files_train=8", "dataset.record_length_bytes=9000", "dataset.record_length_bytes_stdev=900"],
    "unet3d": ["dataset.num_files_train=14", "dataset.record_length_bytes=50000", "dataset.record_length_bytes_stdev=9000"],
}  # fmt: skip


@pytest.mark.parametrize("name", shipped.names())
def test_a_shipped_workload_is_made_and_run(name, tmp_path, capsys):
    """`tracekit generate` makes its data and `tracekit run` reads all of it: as many steps as the arithmetic says."""
    words = [f"++workload.{word}" for word in (*SMALL[name], "train.epochs=1", "train.computation_time=0.001")]
    data = str(tmp_path / "data")
    assert main(["generate", name, "--data", data, "-q", *words]) == 0
    assert main(["dlio", "lint", name, "--json", *words]) == 0
    wanted = json.loads(capsys.readouterr().out.split("were there\n")[-1])["sizing"]["steps_per_epoch"]
    assert (
        main(
            [
                "run",
                shipped.path_of(name),
                "--data",
                data,
                "-q",
                "--format",
                "json",
                "--output",
                str(tmp_path / "report.json"),
                *words,
            ]
        )
        == 0
    )
    # Where checkpoints fall within the one epoch, they are written.
    written = {"trace-replay": ["checkpoints/trace-replay/global_epoch1_step2/model_states-0.pt"]}.get(name, [])
    assert [str(path) for path in Path("checkpoints").rglob("*.pt")] == written
    report = json.loads((tmp_path / "report.json").read_text())
    assert wanted > 0
    assert (report["completed"], report["steps"], report["errors"]) == (True, wanted, [])
