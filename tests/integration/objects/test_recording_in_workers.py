"""Clients of objects in loader workers: each request has its sample, worker and step, and none is lost when a worker ends."""

from __future__ import annotations

from collections import Counter

import pytest
from recording import recorded

PROGRAM = """
    import os
    import boto3, obstore, s3fs
    from obstore.store import S3Store
    from torch.utils.data import DataLoader, Dataset
    bucket, endpoint = os.environ["BUCKET"], os.environ["AWS_ENDPOINT_URL"]

    class Objects(Dataset):
        kept = None
        def __len__(self):
            return 8
        def __getitem__(self, index):
            if self.kept is None:
                self.client = boto3.client("s3")
                self.kept = self.client.get_object(Bucket=bucket, Key="kept")["Body"]
                self.store = S3Store(bucket, endpoint=endpoint, client_options={{"allow_http": True}})
                self.files = s3fs.S3FileSystem(endpoint_url=endpoint)
            part = self.store.get_range(f"{{index:02}}", start=0, length=100 + index)
            whole = self.client.get_object(Bucket=bucket, Key=f"{{index:02}}")["Body"].read()
            return len(part) + len(whole) + len(self.files.cat_file(f"{{bucket}}/{{index:02}}"))

    if __name__ == "__main__":
        client = boto3.client("s3")
        client.put_object(Bucket=bucket, Key="kept", Body=bytes(3_000_000))
        for index in range(8):
            client.put_object(Bucket=bucket, Key=f"{{index:02}}", Body=bytes(1000 + index))
        body = client.get_object(Bucket=bucket, Key="kept")["Body"]  # open here while workers are forked
        loader = DataLoader(Objects(), batch_size=2, num_workers=2, multiprocessing_context="{method}")
        print(sum(int(batch.sum()) for batch in loader), flush=True)
        os._exit(0)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_with_clients_of_both_levels_lose_nothing(s3, tmp_path, method):
    """obstore, s3fs, boto3 and bodies nobody reads, in forked and spawned workers: all are there once, each read with its sample."""
    pytest.importorskip("torch")
    out, ops, trace = recorded(tmp_path, PROGRAM.format(method=method), environment={"BUCKET": s3})
    assert int(out) == sum(2100 + 3 * index for index in range(8))
    reads = [op for op in ops if op.op == "read" and not op.uri.endswith("kept")]
    samples = set(range(8))
    for level, first, clients in (("logical", 100, 1), ("wire", 1000, 2)):
        found = [op for op in reads if op.level == level]
        assert {(op.sample_id, op.uri[-2:], op.ret) for op in found} == {
            (index, f"{index:02}", first + index) for index in samples
        }
        assert Counter(op.step for op in found) == dict.fromkeys(range(4), 2 * clients)
        assert {op.worker for op in found} == {0, 1}
        assert len(found) == 8 * clients
    kept = [op for op in ops if op.op == "read" and op.uri.endswith("kept")]
    assert len({op.pid for op in kept}) == len(kept) == 3  # this process and two workers
    assert {(op.len, op.ret, op.err) for op in kept} == {(3_000_000, 0, None)}
    assert trace.trailer.lost == 0
