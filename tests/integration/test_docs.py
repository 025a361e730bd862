"""The documentation does what it says: every `sh` and `python` block of every page is run, page by page, in order.

A page finds what a reader has: a training script `train.py` that reads the files of `data/` through a PyTorch DataLoader.
A block that names `train.jsonl` or `again.jsonl` before the page has made it finds a recording of that script, and its replay.
Blocks in `console` and `text` are transcripts and are not run.
"""

import os
import re
import shutil
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
# What they record or replay is judged by its times, too.
JUDGED = {
    "README.md",
    *(
        f"docs/howto/{name}.md"
        for name in (
            "check-a-run",
            "check-in-pytest",
            "gate-a-ci-job",
            "judge-your-own-job",
            "make-a-golden",
            "replay-a-trace",
        )
    ),
}
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
# `harness selftest` as it stands takes minutes: test_goldens runs it, among the long tests. Here it is one golden and few checks.
NOT_VALID_IS_NO_FAILURE = """
tracekit() { command tracekit "$@" || [ $? = 3 ]; }
harness() {
  [ "$*" != selftest ] || set -- selftest --golden tf-like --quick --checks 24
  command harness "$@" || [ $? = 3 ]
}
"""
GIVEN = {
    "train.jsonl": ["tracekit", "record", "-o", "train.jsonl", "--", sys.executable, "train.py"],
    "again.jsonl": ["tracekit", "replay", "train.jsonl", "-o", "again.jsonl"],
}


def environment():
    """What commands and programs of a page are run with."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONWARNINGS": "default", "NO_COLOR": "1"}
    return {name: value for name, value in os.environ.items() if name != "CI"} | own


@pytest.fixture(scope="session")
def reader(tmp_path_factory):
    """The one directory in which every page is run, and beside it what readers have there: made and recorded once.

    The traces name the files by their paths, so no page can have a directory of its own.
    """
    pytest.importorskip("torch", reason="the pages' training script needs PyTorch")
    here = tmp_path_factory.mktemp("reader") / "here"
    (here / "data").mkdir(parents=True)
    (here / "train.py").write_text(TRAIN)
    for index in range(96):
        (here / "data" / f"{index:03}.bin").write_bytes(os.urandom(60_000 + 997 * index))
    for name, make in GIVEN.items():
        done = subprocess.run(make, cwd=here, env=environment(), capture_output=True, text=True, check=False)
        assert (here / name).exists(), done.stderr
    return here, here.rename(here.with_name("kept"))


@pytest.fixture
def reader_directory(reader):
    """The directory as the reader of a page finds it."""
    here, kept = reader
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(kept, here, ignore=shutil.ignore_patterns(*GIVEN, "__pycache__"))
    return here


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.serial) if page in JUDGED else page for page in PAGES]
)
def test_every_block_of_the_page_runs(page, reader, reader_directory):
    """Each block ends with status 0 (a block that shows a failure says so itself, with `|| true`)."""
    for language, text in BLOCK.findall((REPOSITORY / page).read_text()):
        for name in GIVEN:
            if name in text and f"-o {name}" not in text and not (reader_directory / name).exists():
                shutil.copy2(reader[1] / name, reader_directory / name)
        command = (
            ["bash", "-euo", "pipefail", "-c", NOT_VALID_IS_NO_FAILURE + text]
            if language == "sh"
            else [sys.executable, "-c", text]
        )
        done = subprocess.run(
            command, cwd=reader_directory, env=environment(), capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"{page}:\n{text}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
