"""Drivers of the native core in C, built with sanitizers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path


def sanitized(repository: Path, target: Path, name: str, parts: Iterable[str]) -> Path:
    """The driver `tests/native/NAME_driver.c` with some of the core's files, under ASan and UBSan, which end it at what they find."""
    build = ["gcc", "-std=c11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    core = [repository / "tracekit" / "_native" / f"{part}.c" for part in parts]
    sources = [repository / "tests" / "native" / f"{name}_driver.c", *core]
    subprocess.run([*build, *map(str, sources), "-lm", "-o", str(target)], check=True)
    return target
