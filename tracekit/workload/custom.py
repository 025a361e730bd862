"""Workloads of your own: a YAML file with the loader's options and the training around it.

data: /data/train              # or --data
profile: torch-like            # whose requests; left out, the loader's own
as: recorded                   # preset where left out
shape: {unit: file, smallest: 65536, largest: 65536}     # in place of a profile: requests of your own (`Shape`),
files: {count: 512, sizes: [65536, 262144]}              # and files of your own (`Recipe.of`)
loader: {batch_size: 16, num_workers: 4, target_request_bytes: 128KiB}
epochs: 2
compute: normal(0.02, 0.002)   # seconds of a step
decode: 0.001                  # seconds of a sample
evaluation: {files: {count: 64, sizes: 65536}, batch_size: 8, first_epoch: 1, every_epochs: 1, compute: 0.01}   # beside shape and files

A file of DLIO's may hold the same below `tracekit`: what `tracekit distil` writes is read by both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tracekit.errors import InputError, TracekitError, UnknownNameError, UsageError
from tracekit.workload.distribution import KINDS, Distribution
from tracekit.workload.job import Evaluate
from tracekit.workload.madedata import Recipe
from tracekit.workload.profiles import Profile
from tracekit.workload.shape import Shape

KEYS = (
    "name", "profile", "as", "shape", "files", "framework", "data", "loader", "epochs", "steps", "compute", "decode", "seed",
    "evaluation",
)  # fmt: skip
_OF_EVALUATION = ("folders", "files", "batch_size", "shuffle", "first_epoch", "every_epochs", "compute")
# The section of a DLIO file that holds them.
SECTION = "tracekit"
# Longer than a step of any training; clocks and generators have limits, too.
_LONGEST_S = 86400
_CALL = re.compile(r"\s*([a-z]+)\s*\(([^()]*)\)\s*")


@dataclass(frozen=True)
class Evaluation:
    """An evaluation between epochs, on files of its own.

    Args:
        files: Which.
        asked: When, in which batches, and how long its steps compute.
        folders: Where training files and its own are, below the data.
    """

    files: Recipe
    asked: Evaluate
    folders: tuple[str, str] = ("train", "valid")


@dataclass(frozen=True)
class Custom:
    """What a file of your own says; None where it says nothing.

    Args:
        source: The file.
        name: What to call the job.
        profile: Whose requests it makes.
        form: `preset` or `recorded`.
        data: Where its data is.
        loader: Options of the loader, as they stand there.
        epochs: Passes over the data.
        steps: Steps in all.
        compute: Seconds of a step.
        decode: Seconds of a sample.
        seed: Of shuffles and times.
        shape: Requests of its own.
        files: Files of its own.
        framework: Whose loader it imitates.
        evaluation: Its evaluation; None for none.
    """

    source: str = ""
    name: str = "custom"
    profile: str | None = None
    form: str | None = None
    data: str | None = None
    loader: Mapping[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    steps: int | None = None
    compute: Distribution | None = None
    decode: Distribution | None = None
    seed: int | None = None
    shape: Shape | None = None
    files: Recipe | None = None
    framework: str = ""
    evaluation: Evaluation | None = None

    @property
    def own(self) -> Profile | None:
        """The profile that the file describes; None where it names one, or has none."""
        if self.shape is None or self.files is None:
            return None
        return Profile(
            self.name,
            self.source,
            self.framework,
            self.shape,
            self.files,
            workers=1,
            prefetch=1,
            epochs=1,
            shuffle=False,
        )


def is_custom(path: str) -> bool:
    """Whether a YAML file is one of these, or has them as a section, and is not only one of DLIO's.

    Raises:
        InputError: If it cannot be read.
    """
    tree = _tree(path)
    if SECTION in tree:
        return True
    return bool(tree) and bool(set(tree) & set(KEYS)) and not set(tree) & {"workload", "dataset", "reader", "workflow"}


def load(path: str) -> Custom:
    """Read such a file.

    Raises:
        InputError: If something in it is wrong, with file and line.
    """
    tree = _tree(path)
    if SECTION in tree:
        tree = tree[SECTION]
        if not isinstance(tree, Mapping):
            raise InputError(f"{_at(path, SECTION)}: {SECTION} is no section with keys", "indent its keys below it")
    for key in tree:
        if key not in KEYS:
            raise InputError(f"{_at(path, key)}: {UnknownNameError('key', str(key), KEYS)}")
    try:
        loader = _options(tree)
        return Custom(
            path, str(tree.get("name") or "custom"), _text(tree, "profile"), _text(tree, "as"), _text(tree, "data"), loader,
            _count(tree, "epochs"), _count(tree, "steps"), _seconds(tree, "compute"), _seconds(tree, "decode"),
            _count(tree, "seed", 0), _made(tree, "shape", Shape.of), _made(tree, "files", Recipe.of),
            _text(tree, "framework") or "", _evaluation(tree),
        )  # fmt: skip
    except _KeyedError as error:
        raise InputError(f"{_at(path, error.key)}: {error.cause}", error.way_out) from None


class _KeyedError(UsageError):
    def __init__(self, key: str, cause: str, way_out: str) -> None:
        self.key = key
        super().__init__(cause, way_out)


def _tree(path: str) -> Mapping[Any, Any]:
    try:
        with open(path, "rb") as file:
            tree = yaml.safe_load(file)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "check the name") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not YAML ({' '.join(str(error).split())})", "mend it there") from None
    if not isinstance(tree, Mapping):
        raise InputError(f"{path} holds no keys", "write key: value, one a line")
    return tree


def _at(path: str, key: Any) -> str:
    """The file with the line of a key at its top."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if re.match(rf"\s*['\"]?{re.escape(str(key))}['\"]?\s*:", line):
                return f"{path}:{number}"
    return path


def _text(tree: Mapping[Any, Any], key: str) -> str | None:
    value = tree.get(key)
    return None if value is None else str(value)


def _options(tree: Mapping[Any, Any]) -> Mapping[str, Any]:
    loader = tree.get("loader") or {}
    if not isinstance(loader, Mapping):
        raise _KeyedError("loader", "loader is no mapping", "write option: value below it")
    return loader


def _made(tree: Mapping[Any, Any], key: str, make: Callable[[Mapping[str, Any]], Any]) -> Any:
    """A shape or files of one's own; one without the other says too little."""
    given = tree.get(key)
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise _KeyedError(key, f"{key} is no mapping", "write setting: value below it")
    if tree.get("profile") is not None:
        raise _KeyedError(key, f"{key} and profile exclude each other", "leave one of them out")
    if tree.get("files" if key == "shape" else "shape") is None:
        raise _KeyedError(key, f"{key} stands alone", "describe both, shape and files")
    try:
        return make(given)
    except TracekitError as error:
        raise _KeyedError(key, error.cause, error.way_out) from None


def _evaluation(tree: Mapping[Any, Any]) -> Evaluation | None:
    """The evaluation of a workload that describes its files."""
    given = tree.get("evaluation")
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise _KeyedError("evaluation", "evaluation is no mapping", "write setting: value below it")
    if tree.get("files") is None:
        raise _KeyedError("evaluation", "evaluation stands without files to train on", "describe shape and files, too")
    for name in given:
        if name not in _OF_EVALUATION:
            error = UnknownNameError("setting of the evaluation", str(name), _OF_EVALUATION)
            raise _KeyedError("evaluation", error.cause, error.way_out)
    try:
        files = Recipe.of(given.get("files") or {})
    except TracekitError as error:
        raise _KeyedError("evaluation", f"evaluation: {error.cause}", error.way_out) from None
    shuffle = given.get("shuffle", False)
    if not isinstance(shuffle, bool):
        raise _KeyedError("evaluation", f"shuffle of the evaluation is {shuffle!r}", "write true or false")
    counts = [_count(given, name) or 1 for name in ("batch_size", "first_epoch", "every_epochs")]
    compute = _seconds(given, "compute") or Distribution.fixed(0.0)
    return Evaluation(
        files, Evaluate(counts[0], compute, counts[1], counts[2], shuffle), _folders(given.get("folders"))
    )


def _folders(given: Any) -> tuple[str, str]:
    if given is None:
        return Evaluation.folders
    names = [name for name in given if isinstance(name, str) and name.strip("/")] if isinstance(given, list) else []
    if len(names) != 2 or names[0] == names[1] or any(".." in name.split("/") for name in names):
        raise _KeyedError(
            "evaluation", f"folders of the evaluation are {given!r}", "write two names, as in [train, valid]"
        )
    return names[0].strip("/"), names[1].strip("/")


def _count(tree: Mapping[Any, Any], key: str, least: int = 1) -> int | None:
    value = tree.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _KeyedError(key, f"{key} is {value!r}", f"write a whole number, {least} or more")
    return value


def _seconds(tree: Mapping[Any, Any], key: str) -> Distribution | None:
    value = tree.get(key)
    if value is None:
        return None
    try:
        return duration(str(value))
    except TracekitError as error:
        raise _KeyedError(key, f"{key}: {error.cause}", error.way_out) from None


def duration(text: str) -> Distribution:
    """Seconds as people write them: `0.02`, or a distribution with its parameters in order, `gamma(2, 0.01)`.

    Raises:
        UsageError: If it is neither.
    """
    match = _CALL.fullmatch(text)
    kind, words = (match[1], match[2].split(",")) if match else ("fixed", [text])
    if kind not in KINDS:
        raise UnknownNameError("distribution", kind, KINDS)
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        shown = f"{kind}({', '.join(KINDS[kind])})"
        raise UsageError(f"{text!r} is no time", f"write seconds, or as in {shown}" if match else "write seconds, or as in normal(0.02, 0.002)") from None  # fmt: skip
    if len(numbers) > len(KINDS[kind]):
        raise UsageError(f"{text!r} has too many numbers", f"{kind} has {', '.join(KINDS[kind])}")
    found = Distribution(kind, dict(zip(KINDS[kind], numbers, strict=False)))
    if max(found.mean, *numbers) > _LONGEST_S:
        raise UsageError(f"{text!r} is longer than a day", "write seconds")
    return found
