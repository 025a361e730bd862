"""Run the notebooks and keep what they show: `python docs/reference/notebooks.py [NOTEBOOK…]`. It needs nbclient and ipykernel.

A notebook is stored with its outputs, so that it can be read where it lies. Beside them stands a digest of the cells they came from:
a test holds the two together.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "notebooks"
# Of a cell that takes longer something is wrong.
PATIENCE_S = 600


def main(names: list[str]) -> None:
    """Run those that are named, or all."""
    for path in [Path(name) for name in names] or sorted(FOLDER.glob("*.ipynb")):
        _run(path)
        sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes\n")


def digest(notebook: dict[str, Any]) -> str:
    """What the code of a notebook is, as a short text."""
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256("\n".join(code).encode()).hexdigest()[:16]


def _run(path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=PATIENCE_S,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    shown = json.loads(nbformat.writes(notebook))
    shown["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "tracekit": {"code": digest(shown)},
    }
    path.write_text(json.dumps(shown, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
