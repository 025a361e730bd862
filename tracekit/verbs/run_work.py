"""What `tracekit run` is asked to run: a profile, the loader by itself, a file of ours or of DLIO's, with what the command line changes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from tracekit import console
from tracekit.errors import InputError, UsageError
from tracekit.units import counted
from tracekit.uri import scheme_of
from tracekit.verbs.run_driving import Work
from tracekit.workload.options import LoaderOptions

if TYPE_CHECKING:
    from tracekit.workload.custom import Custom
    from tracekit.workload.job import DataSet, Job

# Options of the loader that a framework's requests leave nothing to do.
_IDLE = {"reader_mode", "loading_mode", "target_request_bytes", "pool"}
# What says nothing about checkpoints alone.
_OF_TRAINING = {
    "option": "-O", "epochs": "--epochs", "max_epochs": "--max-epochs", "max_steps": "--max-steps", "compute": "--compute",
    "decode": "--decode", "seed": "--seed", "cache_policy": "--cache-policy", "drop_cache": "--drop-cache",
}  # fmt: skip


def found(args: argparse.Namespace, scratch: str, ranks: int) -> Work | None:
    """The job that the arguments name, with its data; None where making the data was all there was to do.

    Args:
        args: The command line.
        scratch: Where data goes that nobody keeps.
        ranks: How many ranks share it.

    Raises:
        TracekitError: If the arguments or the workload are wrong, or there is no data.
    """
    _check_policy(args, args.data)
    work = _named(args, scratch, ranks)
    if work is not None:
        _check_policy(args, work.job.data.uri)
    train = None if work is None else work.job.train
    if work is None or train is None or args.max_epochs is None:
        return work
    return replace(work, job=replace(work.job, train=replace(train, epochs=min(train.epochs, args.max_epochs))))


def _check_policy(args: argparse.Namespace, uri: str | None) -> None:
    """Refuse `--cache-policy` for objects, by the name it was typed by: the loader has another for it."""
    if uri is not None and args.cache_policy not in (None, "default") and not scheme_of(uri).local:
        raise UsageError(f"--cache-policy {args.cache_policy}: objects ({uri}) have no page cache here", "leave it out")


def _named(args: argparse.Namespace, scratch: str, ranks: int) -> Work | None:
    from tracekit.workload import custom, profiles

    if args.workload is not None and (args.profile or args.dlio_config) and "=" in args.workload:
        # argparse takes the first value for WORKLOAD.
        args.overrides, args.workload = [args.workload, *args.overrides], None
    named = [word for word in (args.workload, args.profile, args.dlio_config) if word is not None]
    if len(named) != 1:
        known = ", ".join(sorted(profiles.PRESETS))
        raise UsageError(
            "name one workload" if named else "no workload was named", f"a file, custom, or one of: {known}"
        )
    if args.dlio_config is None and named[0] in (*profiles.PRESETS, "custom"):
        return _of_own(args, custom.Custom(profile=None if named[0] == "custom" else named[0]), scratch)
    if args.profile is not None:
        profiles.find(args.profile)
    path = named[0]
    if args.dlio_config is None and os.path.isfile(path) and custom.is_custom(path):
        return _of_own(args, custom.load(path), scratch)
    return _of_dlio(args, path, ranks)


def _of_own(args: argparse.Namespace, said: Custom, scratch: str) -> Work:
    from tracekit.workload import profiles, run

    if args.checkpoint is not None:
        raise UsageError("--checkpoint is for DLIO files", "leave it out")
    if args.overrides:
        raise UsageError(
            f"{args.overrides[0]!r} sets a value of a DLIO file", "use -O NAME=VALUE for options of the loader"
        )
    uri = args.data or said.data
    form = args.form or said.form or "preset"
    own = said.own
    if own is None and said.profile is None:
        return _of_options(args, said, uri)
    if own is not None and (args.form or said.form):
        raise UsageError("--as is for profiles", "leave it out")
    profile = own or profiles.find(str(said.profile), form)
    seed = next((seed for seed in (args.seed, said.seed) if seed is not None), 0)
    place = uri or os.path.join(scratch, "data")
    # What is wrong with options is said before data is made.
    _with(args, said, profile.job(place, seed))
    for name in sorted({*said.loader, *_options(args.option)} & _IDLE):
        console.warn(f"{name} does nothing here: the profile says by which requests files are read")
    evaluation = said.evaluation
    trained = place if evaluation is None else f"{place.rstrip('/')}/{evaluation.folders[0]}"
    job, dataset, made = run.of_profile(profile, trained, seed=seed)
    evaluate = None
    if evaluation is not None:
        where = f"{place.rstrip('/')}/{evaluation.folders[1]}"
        _, evaluate, more = run.of_profile(replace(profile, recipe=evaluation.files), where)
        job, made = replace(job, data=replace(job.data, uri=place), evaluate=evaluation.asked), made + more
    if made:
        console.say(f"{made} files of the data set were made in {uri or 'a temporary directory'}")
    return Work(_with(args, said, job), profile.shape, dataset, evaluate, whole=evaluate is None)


def _of_options(args: argparse.Namespace, said: Custom, uri: str | None) -> Work:
    """The loader by itself, on data that is there."""
    from tracekit.workload.dataset import create_dataset
    from tracekit.workload.job import DataSet, Job, Train

    if uri is None:
        raise UsageError("custom reads data that is there", "say where with --data")
    if args.form is not None or said.form is not None:
        raise UsageError("--as is for profiles", "leave it out")
    train = create_dataset(uri)
    job = Job(
        said.name,
        DataSet(uri, "files", len(train.places), split=False),
        train=Train(batch_size=LoaderOptions().batch_size),
    )
    return Work(_with(args, said, job), None, train)


def _of_dlio(args: argparse.Namespace, path: str, ranks: int) -> Work | None:
    from tracekit.workload import dlio, run
    from tracekit.workload.dlio import reading, shipped
    from tracekit.workload.dlio.findings import ERROR, refuse

    if args.form is not None:
        raise UsageError("--as is for profiles", "leave it out")
    job, settings = dlio.load(shipped.path_of(path), args.overrides, args.data)
    from tracekit.workload.custom import Custom

    if args.checkpoint is not None:
        if job.checkpoint is None:
            raise UsageError(f"{path} writes no checkpoints (workflow.checkpoint is off)", "set ++workload.workflow.checkpoint=True, or leave --checkpoint out")  # fmt: skip
        job = replace(job, checkpoint=replace(job.checkpoint, uri=args.checkpoint))
    if job.generates:
        _made(job.data)
    if job.train is None:
        nothing = job.checkpoint is None and job.generates
        return None if nothing else _untrained(args, path, job)
    try:
        train, evaluate = reading.made_up(job.data) if reading.is_synthetic(job) else run.of_job(job)
    except InputError as error:
        if args.data is None:  # the file says where
            settings.add(ERROR, "dataset.data_folder", str(error.cause), error.way_out)
            refuse(settings.findings)
        raise
    job = _with(args, Custom(), job)
    if asked := sorted(set(_options(args.option)) & _IDLE):
        console.say(f"files are read by the loader's own requests, as {asked[0]} was asked for")
        return Work(job, None, train, evaluate)
    read = reading.reading(job, train, evaluate, ranks)
    console.say(read.how)
    return Work(read.job, read.shape, train, evaluate, read.train, read.evaluate, whole=False)


def _made(data: DataSet) -> None:
    """Make what is missing of a data set (errors: as of `generate`)."""
    from tracekit.verbs.generate import make
    from tracekit.workload.datagen import survey

    try:
        outlook = survey(data)
    except InputError:
        if not _there(data.uri):
            raise
        console.say(f"{data.uri} holds files that tracekit did not make; they are taken as they are")
        return
    make(outlook)
    if outlook.missing:
        console.say(
            f"{counted(len(outlook.missing), 'file')} of the data set made in {data.uri}, as workflow.generate_data asks for"
        )


def _there(uri: str) -> bool:
    """Whether training files are at a place, whoever made them."""
    from tracekit.workload.dataset import create_dataset

    try:
        return bool(create_dataset(f"{uri.rstrip('/')}/train").places)
    except InputError:
        return False


def _untrained(args: argparse.Namespace, path: str, job: Job) -> Work:
    """The checkpoints of a job that does nothing else."""
    from tracekit.storage import storage_for
    from tracekit.workload.dataset import Dataset

    if job.checkpoint is None:
        raise UsageError(f"{path} has neither training nor checkpoints (workflow.train and workflow.checkpoint are off)", "set ++workload.workflow.train=True")  # fmt: skip
    if idle := [name for name in _OF_TRAINING if getattr(args, name) not in (None, [], False)]:
        raise UsageError(f"{path} does not train (workflow.train is off), so {_OF_TRAINING[idle[0]]} does nothing", "leave it out")  # fmt: skip
    return Work(job, None, Dataset(storage_for(job.data.uri), [], []))


def _with(args: argparse.Namespace, said: Custom, job: Job) -> Job:
    """A job with what a file and, over it, the command line change."""
    from tracekit.workload.custom import duration

    options = {**said.loader, **_options(args.option)}
    base = {one.name: getattr(job.loader, one.name) for one in fields(LoaderOptions)}
    if args.seed is not None or said.seed is not None:
        base["seed"] = args.seed if args.seed is not None else said.seed
    if args.cache_policy is not None:
        options["page_cache_mode"] = args.cache_policy
    loader = LoaderOptions.of({**base, **options})
    assert job.train is not None
    train = replace(job.train, seed=loader.seed, batch_size=loader.batch_size)
    if {"shuffle", "random_index_mode"} & set(options):
        train = replace(train, shuffle_files=loader.shuffle, shuffle_samples=loader.shuffle)
    changes: dict[str, Any] = {
        "epochs": args.epochs or said.epochs,
        "total_steps": said.steps,
        "compute_seconds": duration(args.compute) if args.compute is not None else said.compute,
        "preprocess_seconds": duration(args.decode) if args.decode is not None else said.decode,
    }
    train = replace(train, **{name: value for name, value in changes.items() if value is not None})
    return replace(job, loader=loader, train=train)


def _options(words: Sequence[str]) -> Mapping[str, Any]:
    import yaml

    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"-O {word!r} has no value", "write NAME=VALUE")
        try:
            found[name.strip()] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise UsageError(f"the value of -O {word!r} cannot be read", "brackets and quotes match") from None
    return found
