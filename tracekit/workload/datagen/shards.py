"""WebDataset shards: tar files in which the members of a sample share a key, `00000012.bin` and `00000012.cls`."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

from tracekit.workload.datagen.content import Content
from tracekit.workload.datagen.layout import Plan

_RECORD = 10240


def webdataset(plan: Plan, content: Content) -> Iterator[bytes | memoryview]:
    """A shard: for each sample its bytes and its label (always 0)."""
    at, number = 0, plan.index * plan.data.samples_per_file
    key = plan.key
    for sizes in plan.sizes():
        for size in sizes.tolist():
            yield _header(f"{number:010}.bin", size)
            yield from content.blocks(key, size)
            label = _header(f"{number:010}.cls", 1) + b"0".ljust(512, b"\0")
            yield b"\0" * (-size % 512) + label
            at += 512 + size + (-size % 512) + 1024
            number, key = number + 1, key + 1
    yield b"\0" * (1024 + (-(at + 1024) % _RECORD))


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    # A size of 8 GiB and more needs the GNU form.
    return member.tobuf(tarfile.GNU_FORMAT)
