"""A run: what each rank is to do, and what came of it. Starting the ranks is the verb's, which may do so under the recorder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from tracekit import itself
from tracekit.errors import EXIT_CANNOT_RUN, InputError, UsageError
from tracekit.storage import cache
from tracekit.uri import scheme_of
from tracekit.workload import madedata
from tracekit.workload.adapters import shared
from tracekit.workload.datagen.registry import FORMATS
from tracekit.workload.dataset import Dataset, create_dataset
from tracekit.workload.drive import Plan, Result
from tracekit.workload.job import DataSet, Job
from tracekit.workload.options import LoaderOptions
from tracekit.workload.profiles import Profile


def of_profile(profile: Profile, uri: str, *, seed: int = 0) -> tuple[Job, Dataset, int]:
    """A profile's job on a data set, which is made where nothing is; and how many files were made.

    Raises:
        InputError, CannotRunError: If the data set cannot be made or read.
    """
    made = madedata.make(profile.recipe, uri) if _is_ours(profile, uri) else 0
    return profile.job(uri, seed), madedata.dataset(profile.recipe, create_dataset(uri)), made


def _is_ours(profile: Profile, uri: str) -> bool:
    """Whether a place is empty, or holds (a part of) the profile's own data set."""
    try:
        places = create_dataset(uri).places
    except InputError:
        return True
    names = set(profile.recipe.names())
    depth = 2 if profile.recipe.folders else 1
    return all("/".join(place.split("/")[-depth:]) in names for place in places)


def of_job(job: Job) -> tuple[Dataset, Dataset | None]:
    """What training and evaluation of a job read.

    Raises:
        InputError: If it is not there, or holds less than the job says.
    """
    data = job.data
    folders = data.split or data.files_eval
    train = _samples_of(f"{data.uri.rstrip('/')}/train" if folders else data.uri, data)
    if data.files_train and len(train.places) < data.files_train:
        raise InputError(
            f"{data.uri} holds {len(train.places)} training files, and {job.name} has {data.files_train}",
            "make them with tracekit generate",
        )
    evaluate = _samples_of(f"{data.uri.rstrip('/')}/valid", data) if job.evaluate and data.files_eval else None
    return madedata.cut(train, data.samples_per_file), None if evaluate is None else madedata.cut(
        evaluate, data.samples_per_file
    )


def _samples_of(uri: str, data: DataSet) -> Dataset:
    """What is below a place, without the files beside that say where records are, and what a killed run left."""
    whole = create_dataset(uri)
    made = FORMATS.get(data.format)
    beside = tuple(pattern.partition("{name}")[2] for pattern in made.beside) if made else ()
    kept = [index for index, place in enumerate(whole.places) if not place.endswith((*beside, ".part"))]
    if len(kept) == len(whole.places) or not kept:
        return whole
    return Dataset(whole.storage, [whole.places[index] for index in kept], whole.sizes[kept], scheme=whole.scheme)


def plans(whole: Plan, ranks: int, directory: str) -> list[Plan]:
    """The plans of all ranks.

    Args:
        whole: What is to be done; its loader options are those of one rank.
        ranks: How many there are.
        directory: Where their results go.

    Raises:
        UsageError: If there are no ranks, or less than a batch for each of them.
    """
    if ranks < 1:
        raise UsageError(f"--ranks is {ranks}", "write 1 or more")
    loader = whole.job.loader
    if whole.job.train is not None:
        _check_shares(whole.train.samples, ranks, loader)
    return [
        replace(
            whole,
            job=replace(whole.job, loader=shared(loader, rank, ranks)),
            rank=rank,
            ranks=ranks,
            result=os.path.join(directory, f"result{rank}.json"),
            standing=os.path.join(directory, f"standing{rank}"),
        )
        for rank in range(ranks)
    ]


def _check_shares(samples: int, ranks: int, loader: LoaderOptions) -> None:
    if samples < ranks:
        raise UsageError(f"{ranks} ranks cannot share {samples} samples", "lower --ranks, or make more data")
    if loader.drop_last and samples // (ranks * loader.shard_world_size) < loader.batch_size:
        raise UsageError(
            f"{samples} samples are no full batch of {loader.batch_size} for each of {ranks} ranks, and others are dropped",
            "lower --ranks or the batch size, or make more data",
        )


def command(given: Sequence[Plan], directory: str, line: int | None = None) -> list[str]:
    """The command that runs plans, which are written into a directory for it.

    Args:
        given: The plans.
        directory: Where they go.
        line: The descriptor of a line to where other ranks are known, see `rendezvous.Line`.
    """
    paths = [] if line is None else ["--line", str(line)]
    for plan in given:
        path = os.path.join(directory, f"plan{plan.rank}.json")
        Path(path).write_bytes(msgspec.json.encode(plan))
        paths.append(path)
    return [*itself.command("tracekit.workload.drive"), *paths]


def check_checkpoints(whole: Plan, ranks: int) -> None:
    """Refuse checkpoints that cannot be, before the first step.

    Raises:
        UsageError: If the model does not go into so many ranks.
        InputError: If there is no room for them.
    """
    if whole.job.checkpoint is None:
        return
    from tracekit.workload.checkpoint import check
    from tracekit.workload.schedule import places_of

    if due := places_of(whole.job, whole.train.samples, ranks, whole.max_steps):
        check(whole.job.checkpoint, ranks, len(due), "--checkpoint")


def results(given: Sequence[Plan]) -> list[Result]:
    """What came of plans; of a rank that died before it could say, that."""
    return [
        msgspec.json.decode(Path(plan.result).read_bytes(), type=Result)
        if os.path.exists(plan.result)
        else lost(plan.rank, "ended without a result")
        for plan in given
    ]


def lost(rank: int, why: str) -> Result:
    """What came of a rank that says nothing any more."""
    return Result(rank, error=f"rank {rank} {why}; see its message above", exit_code=EXIT_CANNOT_RUN)


def drop_cache(dataset: Dataset) -> str:
    """Take the data set's files out of the page cache; why that is not possible, or nothing.

    Only clean pages go: a data set that was just made is written out first by fsync.
    """
    if not dataset.storage.local:
        return "objects have no page cache here"
    try:
        for place in dataset.places:
            cache.drop(place)
    except OSError as error:
        return f"{place} cannot be opened: {error.strerror}"
    left = cache.residency(dataset.places)
    if left is not None and left.share > 0.01:
        return f"{left.share:.0%} of the data is still in the page cache"
    return ""


def folder(uri: str) -> str | None:
    """The local folder of a data set; None where it is elsewhere."""
    from tracekit.uri import local_path

    return os.path.abspath(local_path(uri)) if scheme_of(uri).local else None
