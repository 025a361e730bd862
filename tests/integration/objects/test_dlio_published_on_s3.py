"""The published workloads of DLIO that lie in a bucket, run there: scaled down, with the bucket's name as the only other change."""

import json
import sys
from pathlib import Path

import boto3
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))
from dlio_published import BATCH, STEPS, WORKLOADS, scaled

from tracekit.cli import main


@pytest.mark.parametrize("name", sorted(name for name in WORKLOADS if name.endswith("_s3")))
def test_a_published_workload_in_a_bucket_runs(name, s3, capsys):
    """Its data is made in the bucket and read from there to the end; nothing is written beside the workload file."""
    sections, _ = WORKLOADS[name]
    file = Path("w.yaml")
    file.write_text(yaml.safe_dump(sections, sort_keys=False))
    values = scaled(sections) | {"storage.storage_root": s3}
    overrides = [f"++workload.{key}={value}" for key, value in values.items()]
    assert main(["generate", str(file), "-q", *overrides]) == 0
    made = boto3.client("s3").list_objects_v2(Bucket=s3, Prefix="data/train/")["Contents"]
    assert len(made) == values["dataset.num_files_train"]
    capsys.readouterr()
    assert main(["run", str(file), "-q", "--format", "json", *overrides]) == 0
    run = json.loads(capsys.readouterr().out)
    assert (run["completed"], run["samples"]) == (True, run["steps"] * BATCH)
    assert run["steps"] >= STEPS
    size = sum(each["Size"] for each in made)
    assert 0.95 * size <= run["bytes"] <= size + 8192 * run["samples"]
    assert list(Path().iterdir()) == [file]
