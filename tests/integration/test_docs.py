"""The documentation does what it says: every `sh` and `python` block of every page is run, page by page, in order.

A page finds what a reader has: a training script `train.py` that reads the files of `data/` through a PyTorch DataLoader.
A block that names `train.jsonl` or `again.jsonl` before the page has made it finds a recording of that script, and its replay.
Blocks in `console` and `text` are transcripts and are not run.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    str(page.relative_to(REPOSITORY))
    for page in [REPOSITORY / "README.md", *REPOSITORY.glob("docs/**/*.md")]
    if "_build" not in page.parts and re.search(r"^```(sh|python)$", page.read_text(), re.MULTILINE)
)
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

TRAIN = """\
import argparse
import os

import torch
from torch.utils.data import DataLoader, Dataset


class Files(Dataset):
    def __init__(self, folder):
        self.paths = sorted(os.path.join(folder, name) for name in os.listdir(folder))

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with open(self.paths[index], "rb") as file:
            return torch.frombuffer(bytearray(file.read()[:4096]), dtype=torch.uint8).float()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="data")
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    for epoch in range(options.epochs):
        for batch in DataLoader(Files(options.data), batch_size=8, shuffle=True, num_workers=2):
            (batch @ batch.T).sum()
"""

# On a busy machine a replay may be late; it says so with status 3, and what the page shows was shown all the same.
NOT_VALID_IS_NO_FAILURE = """
tracekit() { command tracekit "$@" || [ $? = 3 ]; }
harness() { command harness "$@" || [ $? = 3 ]; }
"""
GIVEN = {
    "train.jsonl": ["tracekit", "record", "-o", "train.jsonl", "--", sys.executable, "train.py"],
    "again.jsonl": ["tracekit", "replay", "train.jsonl", "-o", "again.jsonl"],
}


@pytest.fixture
def reader_directory(tmp_path):
    """A directory as the reader of a page has it."""
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "data").mkdir()
    for index in range(96):
        (tmp_path / "data" / f"{index:03}.bin").write_bytes(os.urandom(60_000 + 997 * index))
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_the_page_runs(page, reader_directory):
    """Each block ends with status 0 (a block that shows a failure says so itself, with `|| true`)."""
    pytest.importorskip("torch", reason="the pages' training script needs PyTorch")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONWARNINGS": "default",
        "NO_COLOR": "1",
    }
    environment.pop("CI", None)
    for language, text in BLOCK.findall((REPOSITORY / page).read_text()):
        for name, make in GIVEN.items():
            if name in text and f"-o {name}" not in text and not (reader_directory / name).exists():
                subprocess.run(make, cwd=reader_directory, env=environment, capture_output=True, check=False)
                assert (reader_directory / name).exists()
        command = (
            ["bash", "-euo", "pipefail", "-c", NOT_VALID_IS_NO_FAILURE + text]
            if language == "sh"
            else [sys.executable, "-c", text]
        )
        done = subprocess.run(
            command, cwd=reader_directory, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"{page}:\n{text}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
