"""Which framework a job imitates, and dl-driver's own sections about it: `pytorch_config`, `framework_profiles.pytorch` and theirs."""

from __future__ import annotations

from typing import Any

from tracekit.errors import nearest
from tracekit.workload.dlio.findings import ERROR, NOTE
from tracekit.workload.dlio.settings import Settings

_NO_TENSOR = "no tensor goes into a model"
# What a key of the sections becomes, or why nothing.
_ACTS: dict[str, tuple[str, type, int]] = {
    "batch_size": ("batch_size", int, 1), "num_workers": ("num_workers", int, 0), "prefetch_factor": ("prefetch", int, 1),
    "prefetch_buffer_size": ("prefetch", int, -1), "num_parallel_calls": ("num_workers", int, -1),
    "shuffle": ("shuffle", bool, 0), "seed": ("seed", int, 0), "drop_last": ("drop_last", bool, 0),
    "drop_remainder": ("drop_last", bool, 0),
}  # fmt: skip
_INERT = {
    "pin_memory": _NO_TENSOR, "return_type": _NO_TENSOR, "writable": _NO_TENSOR,
    "persistent_workers": "readers live as long as the run",
    "distributed": "ranks are started by --ranks or mpirun",
    "shuffle_buffer_size": "a shuffle is over everything, not over a buffer",
    "deterministic": "a loader hands batches over in order",
    "reshuffle_each_iteration": "train.seed_change_epoch says it",
}  # fmt: skip
_FRAMEWORKS = ("pytorch", "tensorflow", "jax")


def name(settings: Settings) -> str:
    """`pytorch`, `tensorflow` or `jax`: by `framework`, else by the loader, else by the only section there is."""
    if "framework" in settings.values:
        return str(settings["framework"])
    if settings["reader.data_loader"] in _FRAMEWORKS and "reader.data_loader" in settings.values:
        return str(settings["reader.data_loader"])
    own = [framework for framework in _FRAMEWORKS if f"{framework}_config" in settings.extra]
    return own[0] if len(own) == 1 else str(settings["framework"])


def loader(settings: Settings) -> str:
    """Whose loader reads: as the file says, else the framework's, as DLIO 3.x takes it."""
    if "reader.data_loader" in settings.values:
        return str(settings["reader.data_loader"])
    return name(settings)


def tuning(settings: Settings) -> dict[str, Any]:
    """What the sections of the job's framework set, under the names of loader and training; the more special wins.

    -1 is TensorFlow's AUTOTUNE: what the file says otherwise stays. Wrong keys become findings.
    """
    framework = name(settings)
    found: dict[str, Any] = {}
    profiles = settings.extra.get("framework_profiles")
    if profiles is not None:
        for other, node in profiles.value.items() if isinstance(profiles.value, dict) else ():
            if other not in _FRAMEWORKS:
                settings.findings.add(
                    ERROR,
                    f"framework_profiles.{other}",
                    node,
                    "there is no such framework",
                    f"there are: {', '.join(_FRAMEWORKS)}",
                )
            _section(settings, f"framework_profiles.{other}", node, found if other == framework else None)
    for other in _FRAMEWORKS:
        node = settings.extra.get(f"{other}_config")
        if node is not None:
            _section(settings, f"{other}_config", node, found if other == framework else None)
    return found


def _section(settings: Settings, title: str, node: Any, found: dict[str, Any] | None) -> None:
    """Take a section's values into `found`; None where it is another framework's."""
    if not isinstance(node.value, dict):
        settings.findings.add(ERROR, title, node, "is not a section with keys", "indent its keys below it")
        return
    if found is None:
        settings.findings.add(NOTE, title, node, "does nothing here: the job's framework is another")
        return
    for key, child in node.value.items():
        path = f"{title}.{key}"
        if key in _INERT:
            settings.findings.add(NOTE, path, child, f"does nothing here: {_INERT[key]}")
        elif key not in _ACTS:
            near = nearest(key, [*_ACTS, *_INERT], 0.5)
            settings.findings.add(
                ERROR,
                path,
                child,
                "there is no such key",
                f"did you mean {near}?" if near else f"there are: {', '.join(sorted(_ACTS))}",
            )
        else:
            _take(settings, path, child, found)


def _take(settings: Settings, path: str, node: Any, found: dict[str, Any]) -> None:
    target, kind, least = _ACTS[path.rpartition(".")[2]]
    value = node.value
    if value is None:
        return
    if type(value) is not kind or (isinstance(value, int) and value < least):
        wanted = "True or False" if kind is bool else f"a whole number from {least}"
        settings.findings.add(ERROR, path, node, f"{node.text or value} is not {wanted}", f"write {wanted}")
    elif value != -1 or kind is bool:
        found[target] = value
