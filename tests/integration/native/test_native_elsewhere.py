"""The recorder's C on another processor and with another C library: built, run, and what it noted looked at.

Detours are written for x86-64 with glibc; elsewhere the tables through which libraries call each other are rewritten.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import HERE, RECORDER  # see there

from tracekit.record import chunkfile

READ, CONTEXT = 1, 35
# Debian's musl-gcc has no kernel headers of its own.
KERNEL = ("-idirafter", "/usr/include", "-idirafter", f"/usr/include/{os.uname().machine}-linux-gnu")
PLACES = {
    "aarch64": ("aarch64-linux-gnu-gcc", (), ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")),
    "musl": ("musl-gcc", KERNEL, ()),
    "glibc": ("cc", (), ()),
}
# What 24 threads of the driver do: reads of 4096 bytes at 0, and changes of context.
CHURN = 3 * 8 * 200


def _driver(directory: Path, compiler: str, flags: tuple[str, ...]) -> Path:
    """The C driver with the recorder as a library of its own, whose table of calls is left alone."""
    libraries = ("-lpthread", "-lrt", "-ldl")
    common = [compiler, "-O1", "-std=gnu11", "-w", "-DWITHOUT_RAWS", *flags]
    library, target = directory / "librecorder.so", directory / "driver"
    commands = [
        [*common, "-shared", "-fPIC", *RECORDER, "-o", str(library), *libraries],
        [*common, RECORDER[0], str(HERE / "driver.c"), "-o", str(target), f"-L{directory}", "-lrecorder",
         f"-Wl,-rpath,{directory}", *libraries],
    ]  # fmt: skip
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    return target


@pytest.mark.parametrize("place", PLACES)
def test_the_tables_are_rewritten(tmp_path, place):
    """Programs get what they would get, and what went through the tables is in the spool: each of the churn's reads."""
    compiler, flags, runner = PLACES[place]
    for tool in (compiler, *runner[:1]):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    driver = _driver(tmp_path, compiler, flags)
    (tmp_path / "data").write_bytes(os.urandom(65536))
    (tmp_path / "spool").mkdir()
    arguments = [str(driver), str(tmp_path / "spool"), str(tmp_path / "data"), "got"]
    done = subprocess.run([*runner, *arguments], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("0 wrong, 0 lost, 0 positions corrected\n")
    noted = [chunkfile.Chunk.read(path) for path in (tmp_path / "spool").glob("*.ops")]
    churned = sum(
        int(((r["len"] == 4096) & (r["ret"] == 4096) & (r["offset"] == 0)).sum())
        for r in (chunk.records[chunk.indices(READ)] for chunk in noted)
    )
    assert churned >= CHURN
    assert sum(len(chunk.indices(CONTEXT)) for chunk in noted) >= CHURN


@pytest.mark.parametrize("place", ["aarch64", "musl"])
def test_no_warnings_elsewhere(place):
    """Each source compiles there as strictly as here."""
    compiler, flags, _ = PLACES[place]
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    strict = ("-std=gnu11", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror")
    for source in RECORDER[1:]:
        command = [compiler, *strict, *flags, RECORDER[0], source]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
