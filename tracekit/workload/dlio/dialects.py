"""Three spellings of the same thing: DLIO 2.0.0, DLIO 3.x (with MLPerf Storage's additions), dl-driver. All become 3.x's.

The names of 2.0.0 were changed in February 2025; both kinds of file are in use, and no reader of one tells about the other's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tracekit.workload.dlio.document import Node

V2, V3, DL_DRIVER = "2.0.0", "3.x", "dl-driver"


@dataclass(frozen=True)
class Other:
    """A spelling of a dialect that is not 3.x's own, and the key it means."""

    path: str
    means: str
    dialect: str


_OTHERS = (
    Other("dataset.record_length", "dataset.record_length_bytes", V2),
    Other("dataset.record_length_stdev", "dataset.record_length_bytes_stdev", V2),
    Other("dataset.record_length_resize", "dataset.record_length_bytes_resize", V2),
    Other("checkpoint.model_size", "model.model_size_bytes", V2),
    Other("checkpoint.num_layers", "model.num_layers", V2),
    Other("checkpoint.layer_parameters", "model.layer_parameters", V2),
    Other("checkpoint.optimization_groups", "model.optimization_groups", V2),
    Other("checkpoint.tensor_parallelism", "model.parallelism.tensor", V2),
    Other("checkpoint.pipeline_parallelism", "model.parallelism.pipeline", V2),
    Other("reader.prefetch", "reader.prefetch_size", DL_DRIVER),
    Other("reader.compute_threads", "reader.computation_threads", DL_DRIVER),
    Other("train.computation_threads", "reader.computation_threads", V2),
    Other("reader.seed", "train.seed", DL_DRIVER),
    Other("checkpoint.model_datatype", "model.model_datatype", V2),
    Other("checkpoint.optimizer_datatype", "model.optimizer_datatype", V2),
    Other("checkpoint.zero_stage", "model.parallelism.zero_stage", V2),
    Other("model.model_size", "model.model_size_bytes", V3),
)
_SECTIONS = {"data_reader": ("reader", V2), "checkpointing": ("checkpoint", DL_DRIVER)}
_MARKS = {
    "endpoint_uris": DL_DRIVER,
    "framework_profiles": DL_DRIVER,
    "pytorch_config": DL_DRIVER,
    "tensorflow_config": DL_DRIVER,
}
BY_PATH = {other.path: other for other in _OTHERS}
_SHUFFLE = "reader.shuffle"


@dataclass(frozen=True)
class Canonical:
    """A file in 3.x's spelling.

    Args:
        tree: The sections.
        dialect: What the file is written in.
        spelled: For keys that were spelled otherwise, how; by 3.x's path.
        clashes: Keys that are there in two spellings: (3.x's path, the other path, the other's node).
    """

    tree: Node
    dialect: str
    spelled: dict[str, str]
    clashes: list[tuple[str, str, Node]]


def canonical(tree: Node) -> Canonical:
    """The file in 3.x's spelling."""
    done = _Renaming()
    for name, node in tree.value.items():
        section, dialect = _SECTIONS.get(name, (name, ""))
        done.saw(dialect or _MARKS.get(name, ""))
        if section == "model" and not isinstance(node.value, dict):
            # 2.0.0: `model: unet3d`
            done.saw(V2)
            done.put("model.name", node, "model")
        elif isinstance(node.value, dict) and section not in {*_MARKS, *_WHOLE}:
            done.section(section, name, node)
        else:
            done.put(section, node, name)
    return Canonical(replace(tree, value=_nested(done.found)), done.dialect, done.spelled, done.clashes)


class _Renaming:
    def __init__(self) -> None:
        self.found: dict[str, Node] = {}
        self.spelled: dict[str, str] = {}
        self.clashes: list[tuple[str, str, Node]] = []
        self._seen: set[str] = set()

    @property
    def dialect(self) -> str:
        """dl-driver's marks are the surest, then 2.0.0's; a file without either is 3.x."""
        return next((dialect for dialect in (DL_DRIVER, V2) if dialect in self._seen), V3)

    def saw(self, dialect: str) -> None:
        self._seen |= {dialect} - {""}

    def section(self, section: str, written: str, node: Node) -> None:
        for key, value in node.value.items():
            path, shown = f"{section}.{key}", f"{written}.{key}"
            if path == _SHUFFLE:
                self._shuffle(value)
                continue
            other = BY_PATH.get(path)
            if other is not None:
                self.saw(other.dialect)
                path = other.means
            if isinstance(value.value, dict) and other is None and path not in _WHOLE:
                self.section(path, shown, value)
            else:
                self.put(path, value, shown)

    def put(self, path: str, node: Node, shown: str) -> None:
        if path in self.found:
            self.clashes.append((path, shown, node))
            return
        self.found[path] = node
        if shown != path:
            self.spelled[path] = shown

    def _shuffle(self, node: Node) -> None:
        """dl-driver's `shuffle: bool` is both of DLIO's."""
        self.saw(DL_DRIVER)
        word = {True: "seed", False: "off"}.get(node.value) if isinstance(node.value, bool) else None
        for key in ("file_shuffle", "sample_shuffle"):
            told = node if word is None else replace(node, value=word, text=word, quoted=True)
            self.put(f"reader.{key}", told, _SHUFFLE)


# Keys whose value is a mapping of its own.
_WHOLE = {
    "generator",
    "logging",
    "distributed",
    "reader.preprocess_time",
    "train.computation_time",
    "evaluation.eval_time",
    "dataset.parquet.columns",
    "profiling.iostat_devices",
}


def _nested(flat: dict[str, Node]) -> dict[str, Any]:
    top: dict[str, Any] = {}
    for path, node in flat.items():
        *sections, key = path.split(".")
        inside = top
        for section in sections:
            holder = inside.get(section)
            if holder is None or not isinstance(holder.value, dict):
                holder = inside[section] = Node({}, node.line, source=node.source)
            inside = holder.value
        inside[key] = node
    return top
