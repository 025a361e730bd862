"""Which program was recorded: its name, its framework, where its files were."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tracekit.trace import Trace
from tracekit.uri import scheme_of
from tracekit.workload.distil.found import HIGH, UNKNOWN, Found

_FRAMEWORKS = {"torch": "pytorch", "tensorflow": "tensorflow", "jax": "jax"}


def where(uris: Sequence[str]) -> str:
    """The folder that holds all files, or the URI of the prefix that holds all objects."""
    where = os.path.commonpath([os.path.dirname(uri.partition("://")[2]) for uri in uris])
    scheme = scheme_of(uris[0])
    return where if scheme.local else f"{scheme.name}://{where}"


def name(trace: Trace, source: str) -> str:
    """What to call the workload: the program's name, else the recording's."""
    words = list(trace.header.command) if trace.header else []
    scripts = [os.path.basename(word) for word in words if word.endswith(".py")]
    return os.path.splitext(scripts[0] if scripts else os.path.basename(source))[0]


def framework(trace: Trace) -> Found:
    """The framework that was loaded, as DLIO calls it."""
    versions = trace.header.frameworks if trace.header else {}
    for module, called in _FRAMEWORKS.items():
        if module in versions:
            return Found(called, HIGH, f"{module} {versions[module]} was loaded")
    return Found("", UNKNOWN, "no framework is named in the recording")
