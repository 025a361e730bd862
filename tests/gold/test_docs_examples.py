"""The Python examples of the pages about traces and metrics run as they stand."""

from __future__ import annotations

import re

import pytest

from tracekit import cli, formats
from tracekit.testing import training_trace


def _blocks(repository, page, language):
    text = (repository / "docs" / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["trace.md", "metrics.md"])
def test_python_blocks_run(repository, page, capsys):
    """Every block runs, in order, one after the other in one directory."""
    blocks = _blocks(repository, page, "python")
    names = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)

    assert len(blocks) >= 2
    assert capsys.readouterr().out


def test_shell_blocks_run(repository, capsys):
    """Every command of the metrics page works on a trace of that name."""
    formats.save(training_trace(), "train.jsonl")
    (block,) = _blocks(repository, "metrics.md", "sh")
    for line in block.splitlines():
        program, *arguments = line.split()
        assert program == "tracekit"
        assert cli.main(arguments) == 0, line
    assert "288 ops" in capsys.readouterr().out


def test_json_blocks_are_traces(repository, tmp_path):
    """The example lines of the trace page are a whole trace."""
    (block,) = _blocks(repository, "trace.md", "json")
    path = tmp_path / "t.jsonl"
    path.write_text(block)
    trace = formats.load(path)

    assert (len(trace), len(trace.marks), trace.is_complete, trace.warnings) == (1, 1, True, [])
