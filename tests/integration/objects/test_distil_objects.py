"""Distil a recording of requests for objects, run what comes of it on the store, and hold the run against the recording."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import yaml
from recording import recorded

from harness import check
from harness.verdict import Outcome
from tracekit.cli import main
from tracekit.errors import UnknownSchemeError
from tracekit.record.launch import _glob
from tracekit.storage import storage_for
from tracekit.trace import Op, Trace
from tracekit.workload.distil.describe import describe

SIZES = [20_000 + 977 * index for index in range(32)]
BOTO = """
    import os, random
    import boto3, tracekit
    bucket, ranged = os.environ["PLACE"].removeprefix("s3://"), bool(os.environ["RANGED"])
    client = boto3.client("s3")
    names = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket, Prefix="d/")["Contents"]]
    get = lambda **words: client.get_object(Bucket=bucket, **words)["Body"].read()
    for epoch in range(2):
        random.Random(epoch).shuffle(names)
        for first in range(0, len(names), 4):
            with tracekit.step():
                for name in names[first : first + 4]:
                    if not ranged:
                        get(Key=name)
                        continue
                    size = client.head_object(Bucket=bucket, Key=name)["ContentLength"]
                    for at in range(0, size, 16384):
                        get(Key=name, Range=f"bytes={at}-{min(at + 16384, size) - 1}")
"""
OBSTORE = """
    import os, random
    import obstore, tracekit
    from obstore.store import AzureStore
    words = {"account_name": os.environ["AZURE_STORAGE_ACCOUNT_NAME"], "account_key": os.environ["AZURE_STORAGE_ACCOUNT_KEY"]}
    store = AzureStore(os.environ["PLACE"].removeprefix("az://"), endpoint=os.environ["AZURE_STORAGE_ENDPOINT"], client_options={"allow_http": True}, **words)
    names = [entry["path"] for entry in obstore.list_with_delimiter(store, "d")["objects"]]
    for epoch in range(2):
        random.Random(epoch).shuffle(names)
        for first in range(0, len(names), 4):
            with tracekit.step():
                for name in names[first : first + 4]:
                    obstore.get(store, name).bytes()
"""


def failing(run, recording):
    """What counts and fails of a run that is held against a recording."""
    mode = describe(Trace.read(str(recording)), "t").mode
    verdict = check.check([str(run)], str(recording), mode=mode)
    assert verdict.outcome is not Outcome.ERROR
    return {finding.id for finding in verdict.findings if finding.gates and finding.outcome is Outcome.FAIL}


@pytest.mark.parametrize(
    ("store", "program", "ranged", "shape"),
    [
        ("s3", BOTO, "", {"whole": True, "beyond": 0, "looks": "names"}),
        ("s3", BOTO, "yes", {"smallest": 16384, "largest": 16384, "stats": 1}),
        ("az", OBSTORE, "", {"whole": True, "beyond": 0, "looks": "names"}),
    ],
    indirect=["store"],
    ids=["whole by boto3", "ranges by boto3", "whole by obstore"],
)
def test_what_is_distilled_of_requests_for_objects_runs_like_them(store, program, ranged, shape, tmp_path):
    """Whole objects and ranges, heads and listings, wire and logical: the requests are found, and the run passes; it names no store."""
    for index, size in enumerate(SIZES):
        storage_for(store).write(f"{store}/d/{index:03}.bin", bytes(size))
    words = ("--include", f"{store}/d*")
    recorded(tmp_path, program, *words, environment={"PLACE": store, "RANGED": ranged})
    recording, file = tmp_path / "t.jsonl", tmp_path / "w.yaml"
    assert main(["-q", "distil", str(recording), "-o", str(file)]) == 0
    own = yaml.safe_load(file.read_text())["tracekit"]
    assert {name: own["shape"].get(name) for name in shape} == shape
    assert (own["files"]["count"], own["files"]["sizes"], own["loader"]["batch_size"], own["epochs"]) == (
        32,
        SIZES,
        4,
        2,
    )
    assert not [line for line in file.read_text().splitlines() if store in line and not line.startswith("#")]
    assert "127.0.0.1" not in file.read_text()
    command = [
        sys.executable,
        "-m",
        "tracekit.cli",
        "-q",
        "run",
        str(file),
        "--data",
        f"{store}/made",
        "--compute",
        "0.001",
        "--decode",
        "0",
    ]
    failed = None
    # An order of chance may lie apart from one other; three do not.
    for seed in ("1", "2", "3"):
        run = tmp_path / "r.jsonl"
        done = subprocess.run(
            [*command, "--seed", seed, "-o", str(run), "--force"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Exception" not in done.stderr
        found = failing(run, recording)
        failed = found if failed is None else failed & found
        if not failed:
            break
    assert failed == set()


def test_requests_that_were_made_again_count_once():
    """Failed attempts are no reads, and where another tool has calls beside their requests, the calls are described."""
    reads = []
    for step in range(8):
        at = {"epoch": 0, "step": step, "pid": 1, "tid": 1, "layer": "s3"}
        for index in range(4):
            uri, t = f"s3://b/d/{4 * step + index}", 10**9 * step + 10**6 * index
            reads.append(Op(uri, 0, 500, t, t_complete=t + 10, err="503", attempts=1, level="wire", **at))
            reads.append(Op(uri, 0, 500, t + 100, t_complete=t + 200, ret=500, attempts=2, level="wire", **at))
    wire = describe(Trace.of(reads), "t")
    both = describe(
        Trace.of([*reads, *(Op(**{**vars_of(op), "level": "logical", "attempts": None}) for op in reads[1::2])]), "t"
    )
    for found in (wire, both):
        assert (found.own["files"]["count"].value, found.own["loader"]["batch_size"].value) == (32, 4)
        assert (found.own["shape"]["whole"].value, found.places) == (True, "s3://b/d")


def vars_of(op):
    """What an op is made of."""
    return {
        name: getattr(op, name)
        for name in ("uri", "offset", "len", "t_submit", "t_complete", "ret", "epoch", "step", "pid", "tid", "layer")
    }


def test_a_glob_of_a_uri_is_not_made_a_path():
    """`--include s3://bucket/x*` is held against URIs; what is relative begins where the run does."""
    assert _glob("s3://bucket/x*", "/here") == "s3://bucket/x*"
    assert _glob("az://c/*", "/here") == "az://c/*"
    assert _glob("data/*", "/here") == os.path.join("/here", "data/*")
    assert _glob("file:///a%20b/*", "/here") == _glob("direct:///a%20b/*", "/here") == "/a b/*"
    assert _glob("*://bucket/x", "/here") == "*://bucket/x"
    with pytest.raises(UnknownSchemeError, match="the scheme 'ftp'"):
        _glob("ftp://host/*", "/here")
