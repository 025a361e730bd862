"""What a loader is told, and what a job is made of."""

import dataclasses

import numpy as np
import pytest

from tracekit.errors import UnknownNameError, UsageError
from tracekit.workload.distribution import KINDS, Distribution
from tracekit.workload.job import DataSet, Job, Train
from tracekit.workload.options import LoaderOptions, PoolConfig


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"bach_size": 4}, "there is no loader option 'bach_size'; did you mean 'batch_size'?"),
        ({"pool": {"pool_sise": 4}}, "there is no pool option 'pool_sise'; did you mean 'pool_size'?"),
        ({"reader_mode": "ranges"}, "there is no reader_mode 'ranges'; did you mean 'range'?"),
        ({"page_cache_mode": "dirct"}, "there is no page_cache_mode 'dirct'; did you mean 'direct'?"),
        ({"random_index_mode": "zipf"}, "there is no random_index_mode 'zipf'; did you mean 'zipfian'?"),
        ({"random_index_mode": "zipfian(0)"}, "random_index_mode is 'zipfian(0)'; theta lies above 0 and at most at 16"),
        ({"random_index_mode": "zipfian(1e)"}, "theta lies above 0"),
        ({"batch_size": 0}, "batch_size is 0; write a whole number, 1 or more"),
        ({"num_workers": True}, "num_workers is True; write a whole number, 0 or more"),
        ({"shuffle": "yes"}, "shuffle is 'yes'; write true or false"),
        ({"shard_mode": "block"}, "there is no shard_mode 'block'; did you mean 'blocks'?"),
        ({"shard_rank": 2, "shard_world_size": 2}, "shard_rank is 2 of 2 shards; ranks count from 0"),
        ({"target_request_bytes": "1 lot"}, "'1 lot' is not a size"),
        ({"page_cache_mode": "direct", "target_request_bytes": 1000}, "O_DIRECT reads multiples of 4096; round it"),
        ({"target_request_bytes": "8MiB", "max_bytes_in_flight": "8MiB"}, "need twice their sum, 64 MiB"),
        ({"shuffle": True, "random_index_mode": "uniform"}, "exclude each other"),
        ({"pool": {"batch_timeout_s": "soon"}}, "batch_timeout_s is 'soon'; write seconds above 0"),
        ({"pool": {"batch_timeout_s": float("inf")}}, "batch_timeout_s is inf"),
        ({"pool": 4}, "pool is 4; write its options, as in {pool_size: 8}"),
        ({"pool": {"batch_timeout_s": 0}}, "batch_timeout_s is 0; write seconds above 0"),
    ],
)  # fmt: skip
def test_a_wrong_option_is_one_sentence_with_a_way_out(given, said):
    """Whatever is wrong with an option, the error names it and says what to write instead."""
    with pytest.raises(UsageError) as caught:
        LoaderOptions.of(given)
    assert said in str(caught.value)


def test_options_come_from_text_and_mappings():
    """Sizes may be text and the pool a mapping; what they amount to is whole numbers."""
    options = LoaderOptions.of({"target_request_bytes": "128KiB", "pool": {"pool_size": 8, "readahead_batches": 3}})
    assert (options.target_request_bytes, options.threads, options.ahead) == (131072, 8, 3)
    assert options.pool == PoolConfig(pool_size=8, readahead_batches=3)


def test_without_a_pool_workers_and_prefetch_count():
    """`num_workers` threads read `prefetch` batches ahead; none means the consumer reads by itself."""
    assert LoaderOptions(num_workers=3, prefetch=5).threads == 3
    assert LoaderOptions(num_workers=3, prefetch=5).ahead == 5
    assert LoaderOptions(num_workers=0).threads == 1


@pytest.mark.parametrize(("text", "mode", "theta"), [("none", "none", 0.99), ("zipfian", "zipfian", 0.99), ("zipfian(1.2)", "zipfian", 1.2)])  # fmt: skip
def test_a_zipfian_index_carries_its_exponent(text, mode, theta):
    """`zipfian(theta)` is the mode and its exponent in one."""
    options = LoaderOptions(random_index_mode=text)
    assert (options.index_mode, options.theta) == (mode, theta)


def test_a_request_never_needs_more_than_the_cap_allows():
    """Where no size is asked for, a request is no larger than half the cap over all threads."""
    options = LoaderOptions(num_workers=4, max_bytes_in_flight=16 << 20)
    assert options.request_bytes == 2 << 20
    assert 2 * options.threads * options.request_bytes <= options.max_bytes_in_flight


DRAWN = [
    Distribution("fixed", {"value": 3}),
    Distribution("normal", {"mean": 100, "stdev": 5}),
    Distribution("lognormal", {"mean": 100, "stdev": 50}),
    Distribution("uniform", {"min": 1, "max": 3}),
    Distribution("gamma", {"shape": 2, "scale": 3}),
    Distribution("exponential", {"scale": 4}),
    Distribution("poisson", {"lam": 7}),
]


@pytest.mark.parametrize("distribution", DRAWN, ids=lambda d: d.kind)
def test_draws_have_the_mean_they_claim(distribution):
    """The mean of 100,000 draws from a fixed seed is the distribution's mean within 2 %, and none is below 0."""
    draws = distribution.draw(np.random.default_rng(1), 100_000)
    assert draws.mean() == pytest.approx(distribution.mean, rel=0.02)
    assert (draws >= 0).all()


def test_every_kind_is_drawn_above():
    """The list above leaves out no kind of distribution."""
    assert {distribution.kind for distribution in DRAWN} == set(KINDS)


def test_the_same_seed_draws_the_same():
    """Draws depend on nothing but the generator's state."""
    first, again = (DRAWN[4].draw(np.random.default_rng(7), 10) for _ in range(2))
    assert first.tolist() == again.tolist()


@pytest.mark.parametrize(
    ("kind", "parameters", "said"),
    [
        ("norml", {"mean": 1}, "there is no distribution 'norml'; did you mean 'normal'?"),
        ("normal", {"men": 1}, "there is no parameter of a normal distribution 'men'; did you mean 'mean'?"),
        ("gamma", {"shape": 1}, "a gamma distribution has no scale"),
        ("gamma", {"shape": 0, "scale": 1}, "the shape of a gamma distribution is 0; write a number above 0"),
        ("normal", {"mean": "1"}, "the mean of a normal distribution is '1'; write a number"),
        ("uniform", {"min": 2, "max": 1}, "a uniform distribution has a min above its max"),
    ],
)
def test_an_impossible_distribution_is_refused(kind, parameters, said):
    """A distribution that cannot be drawn from is refused when it is made, naming what is wrong."""
    with pytest.raises(UsageError) as caught:
        Distribution(kind, parameters)
    assert said in str(caught.value)


def test_a_normal_without_deviation_is_fixed():
    """Nothing varies where the standard deviation is 0, however it is written."""
    assert Distribution.normal(5).kind == "fixed"
    assert not Distribution("normal", {"mean": 5}).varies
    assert Distribution.normal(5, 1).varies


def test_a_job_is_made_of_frozen_parts():
    """A job needs a name and a data set only; nothing of it can be changed in place."""
    job = Job("unet3d", DataSet("/data"))
    assert (job.train, job.evaluate, job.checkpoint) == (Train(), None, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        job.data.uri = "/other"


def test_unknown_names_are_usage_errors():
    """An unknown option ends a command with exit code 2."""
    with pytest.raises(UnknownNameError) as caught:
        LoaderOptions.of({"prefetsh": 2})
    assert caught.value.exit_code == 2
