"""What a profile's threads hold stays below the cap, whatever the sizes, and what comes short is said."""

import subprocess
import sys

import pytest

from tracekit.errors import InputError
from tracekit.storage import Buffer, MemoryStorage
from tracekit.workload import imitate, profiles
from tracekit.workload.dataset import Dataset, create_dataset

_PEAK = """
import sys
from dataclasses import replace
from tracekit.workload import profiles
from tracekit.workload.dataset import create_dataset
from tracekit.workload.imitate import imitate
cap = 16 << 20
dataset = create_dataset(sys.argv[1])
for table in (profiles.PRESETS, profiles.RECORDED):
    for profile in table.values():
        job = profile.job(sys.argv[1])
        job = replace(job, train=replace(job.train, epochs=1), loader=job.loader.but(max_bytes_in_flight=cap, batch_size=2))
        moved = sum(step.bytes for step in imitate(job, profile.shape, dataset, sys.argv[2]))
        assert moved >= dataset.total_bytes, (profile.name, moved)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak * 1024 - cap)
"""


@pytest.mark.parametrize("policy", ["default", "direct"])
def test_no_profile_holds_more_than_the_cap(tmp_path, policy):
    """A process that goes through all profiles, on files of which one is many times the cap, peaks below the cap and 64 MiB."""
    for index, size in enumerate([1000, 1 << 20, 200 << 20, 70_000]):
        with open(tmp_path / f"{index}", "wb") as file:
            file.truncate(size)
    if policy == "direct":
        try:
            next(
                imitate.imitate(
                    profiles.find("torch-like").job(str(tmp_path)),
                    profiles.find("torch-like").shape,
                    create_dataset(str(tmp_path / "3")),
                    policy,
                )
            )
        except Exception:
            policy = "default"
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(tmp_path), policy], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 << 20


def test_a_large_request_is_one_request(tmp_path, monkeypatch):
    """What does not fit into a thread's memory is asked for in one call all the same."""
    (tmp_path / "a").write_bytes(bytes(300_000))
    calls, plain = [], imitate.os.preadv
    monkeypatch.setattr(
        imitate.os, "preadv", lambda fd, views, at: (calls.append((sum(map(len, views)), at)), plain(fd, views, at))[1]
    )
    handle = create_dataset(str(tmp_path)).storage.open(str(tmp_path / "a"), imitate.Access())
    assert imitate._read(handle, 10_000, 280_000, Buffer(65536), create_dataset(str(tmp_path)), 0) == 280_000
    assert calls == [(280_000, 10_000)]
    handle.close()


@pytest.mark.parametrize("name", ["torch-like", "jax-like", "webdataset-like"])
def test_a_file_that_shrank_is_one_sentence(name):
    """A profile that gets less than was listed says which file gave how much, and does not count what never came."""
    dataset = Dataset(MemoryStorage({"s3://b/a": bytes(90_000)}), ["s3://b/a"], [100_000])
    profile = profiles.find(name)
    with pytest.raises(InputError, match=r"s3://b/a gave .* it is shorter than when it was listed"):
        list(imitate.imitate(profile.job("s3://b"), profile.shape, dataset))
