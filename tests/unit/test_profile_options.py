"""Every option acts on a profile: what is read, by whom, in which order or how far ahead changes with it; or it is named as idle."""

from dataclasses import fields, replace

import pytest

from tracekit.storage import MemoryStorage
from tracekit.verbs.run_work import _IDLE
from tracekit.workload import lanes, madedata, profiles
from tracekit.workload.dataset import Dataset
from tracekit.workload.job import Train
from tracekit.workload.options import LoaderOptions, PoolConfig

OPTIONS = {
    "batch_size": 5, "num_workers": 3, "prefetch": 24, "shuffle": None, "seed": 9, "drop_last": True, "reader_mode": "range",
    "loading_mode": "discard", "target_request_bytes": 4096, "max_bytes_in_flight": 1 << 30, "random_index_mode": "zipfian(1.2)",
    "page_cache_mode": "random", "shard_rank": 1, "shard_world_size": 2, "shard_mode": "blocks", "pool": PoolConfig(pool_size=2),
}  # fmt: skip
# What acts while reading, and not on what is dealt: the policy is a plan's, and the cap cuts requests as they are made.
ELSEWHERE = {"page_cache_mode", "max_bytes_in_flight"}
TRAINING = {
    "shuffle_files": {"tf-like", "webdataset-like"}, "shuffle_samples": {"torch-like", "jax-like", "imagenet-like"},
    "shuffle_buffer": {"tf-like", "webdataset-like"}, "seed_changes": set(profiles.PRESETS), "epochs": set(profiles.PRESETS),
}  # fmt: skip


def _dataset(profile):
    """Files of samples of 9,000 bytes that do not go into batches, so that the last one tells."""
    samples = profile.recipe.samples + 1 if profile.recipe.samples > 1 else 1
    count = 29 if samples > 1 else 90
    files = Dataset(MemoryStorage({}), [f"m/{number:03d}" for number in range(count)], [9000 * samples] * count)
    return madedata.cut(files, samples)


def _dealt(profile, dataset, **changes):
    """Everything that is planned of a job, as text."""
    job = profile.job("m")
    train = replace(job.train, **changes.pop("train", {}))
    loader = job.loader.but(**changes)
    if {"shuffle", "random_index_mode"} & set(changes):
        train = replace(train, shuffle_files=loader.shuffle, shuffle_samples=loader.shuffle)
    job = replace(job, loader=loader, train=train)
    return [repr(dealt) for dealt in lanes.passes(job, profile.shape, dataset)]


def test_the_table_has_every_option():
    """A new option of the loader has to be given a value here, and to act or to be named."""
    assert set(OPTIONS) == {field.name for field in fields(LoaderOptions)}


@pytest.mark.parametrize("name", sorted(profiles.PRESETS))
def test_every_option_of_the_loader_acts_on_a_profile(name):
    """Changed by itself, each option changes what is read; those that cannot are the ones that a run warns of."""
    profile = profiles.find(name, "recorded")
    dataset = _dataset(profile)
    before = _dealt(profile, dataset)
    for option, value in OPTIONS.items():
        changes = {option: (not profile.shuffle) if option == "shuffle" else value}
        if option in ("shard_rank", "shard_mode"):
            changes["shard_world_size"] = 2
            assert _dealt(profile, dataset, **changes) != _dealt(profile, dataset, shard_world_size=2), option
        if option == "random_index_mode":
            changes["shuffle"] = False
        acts = _dealt(profile, dataset, **changes) != before
        assert acts is (option not in _IDLE | ELSEWHERE), option


@pytest.mark.parametrize("name", sorted(profiles.PRESETS))
def test_every_value_of_the_training_acts_on_a_profile(name):
    """Orders of files and samples, the shuffle buffer, an order for each epoch: each acts where a framework of this kind has it."""
    profile = profiles.find(name, "recorded")
    dataset = _dataset(profile)
    before = _dealt(profile, dataset)
    values = {"shuffle_files": False, "shuffle_samples": False, "shuffle_buffer": 7, "seed_changes": False, "epochs": 3}
    for value, changed in values.items():
        acts = _dealt(profile, dataset, train={value: changed}) != before
        assert acts is (name in TRAINING[value]), value


def test_training_values_that_a_profile_leaves_to_the_driver_are_these():
    """What is neither in the table above nor done by who drives the steps does not exist."""
    driver = {"steps_per_epoch", "total_steps", "batch_size", "compute_seconds", "preprocess_seconds", "seed"}
    assert {field.name for field in fields(Train)} == set(TRAINING) | driver
