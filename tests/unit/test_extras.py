"""Packages that an extra brings: without them everything else works, and what needs one says in a sentence which extra it is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tracekit import formats
from tracekit.errors import CannotRunError
from tracekit.testing import training_trace
from tracekit.workload.datagen.content import Content

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11 pytest brings it under this name
    import tomli as tomllib


def _draw(tmp_path):
    from tracekit.analysis.plots import plot

    plot(training_trace(), tmp_path / "x.png")


def _torch(_):
    from tracekit.workload.adapters import torch_stream

    torch_stream("data", {})


def _objects(_):
    from tracekit.storage.sdk_client import needed

    needed("boto3", lambda: __import__("boto3"))


def _ranks(_):
    from tracekit.replay.wire import mpi_wire

    mpi_wire(2)


def _jpeg(_):
    from tracekit.workload.datagen.images import _encoded

    _encoded(Content(1), 1, 8, 8)


@pytest.mark.parametrize(
    ("package", "extra", "use"),
    [
        ("pandas", "pandas", lambda _: training_trace().to_pandas()),
        ("matplotlib.figure", "plots", _draw),
        ("tracekit.workload.torch_stream", "torch", _torch),
        ("boto3", "objects", _objects),
        ("mpi4py", "mpi", _ranks),
        ("PIL", "torch", _jpeg),
    ],
)
def test_what_is_missing_is_one_sentence_with_the_extra(monkeypatch, tmp_path, package, extra, use):
    """Where a package is not installed the error names it and the extra that brings it."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CannotRunError) as caught:
        use(tmp_path)

    assert f"pip install 'tracekit-io[{extra}]'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_extra_has_them_all(repository):
    """`all` names every other extra, so that none is forgotten."""
    extras = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (whole,) = extras.pop("all")
    assert whole.partition("[")[2].rstrip("]").split(",") == list(extras)


# What an install without extras has not.
WITHOUT = """
import sys
for name in ("pandas", "torch", "darshan", "matplotlib", "obstore", "boto3", "azure", "dotenv", "mpi4py", "h5py", "PIL"):
    sys.modules[name] = None
from tracekit import cli
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "words", [["stats", "t.parquet"], ["convert", "t.parquet", "u.jsonl"], ["replay", "s.parquet", "-o", "r.jsonl"]]
)
def test_nothing_else_needs_them(tmp_path, words):
    """Without any extra Parquet is read, converted and replayed; pyarrow's own conversions would want pandas."""
    formats.save(training_trace(), tmp_path / "t.parquet")
    (tmp_path / "data.bin").write_bytes(bytes(100))
    (tmp_path / "lines.jsonl").write_text(f'{{"uri":"file://{tmp_path}/data.bin","offset":0,"len":100,"t_submit":0}}\n')
    formats.save(formats.load(tmp_path / "lines.jsonl"), tmp_path / "s.parquet")
    done = subprocess.run([sys.executable, "-I", "-c", WITHOUT, *words], capture_output=True, text=True)

    assert done.returncode in ((0, 3) if words[0] == "replay" else (0,)), done.stderr
