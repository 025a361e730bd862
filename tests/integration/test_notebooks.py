"""Every notebook runs from top to bottom, and what is stored in it belongs to it."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# The first two are run each time; those that take longer, in the long run.
QUICK = ("01", "02")


def cells_of(notebook, kind="code"):
    """The cells of a notebook."""
    return [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def digest(notebook):
    """What the script that stores outputs calls the code of a notebook."""
    spec = importlib.util.spec_from_file_location("notebooks", ROOT / "docs" / "reference" / "notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.digest(notebook)


@pytest.mark.parametrize(
    "notebook",
    [
        path if path.name.startswith(QUICK) else pytest.param(path, marks=pytest.mark.long, id=path.stem)
        for path in NOTEBOOKS
    ],
    ids=lambda path: path.stem,
)
def test_the_notebook_runs(notebook, tmp_path):
    """Its code cells run in order in a fresh interpreter, in the folder of the notebooks."""
    program = "\n".join("".join(cell["source"]) for cell in cells_of(notebook))
    environment = os.environ | {"TMPDIR": str(tmp_path), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=notebook.parent, env=environment, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_stored_belongs_to_the_notebook(notebook):
    """Every cell has run, in order, without an error; the code is that which was run; nothing of the machine is in it; it is small."""
    cells = cells_of(notebook)
    stored = json.loads(notebook.read_text(encoding="utf-8"))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert stored["metadata"]["tracekit"]["code"] == digest(stored), "run docs/reference/notebooks.py again"
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 1
    words = json.dumps(
        [{key: text for key, text in one.get("data", one).items() if key != "image/png"} for one in outputs]
    )
    assert not re.search(r"/(?:tmp|home|root|work|var|usr|private)/", words)
    assert notebook.stat().st_size < 400_000


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_leads_on(notebook):
    """It begins with its title, ends with what to do next, and is on the page of notebooks."""
    words = ["".join(cell["source"]) for cell in cells_of(notebook, "markdown")]
    assert words[0].startswith("# ")
    assert "## What to do next" in words[-1]
    assert f"(../notebooks/{notebook.name})" in (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
