"""The documentation does what it says: every `sh` and `python` block of every page is run, page by page, in order.

What a page shows behind a block as `output` is compared with what was printed, but for figures (`tests/pages.py`). README and
tutorial are followed in a bare environment instead: `test_first_hour.py`.

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

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import TURNS, problem

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    str(page.relative_to(REPOSITORY))
    for page in REPOSITORY.glob("docs/**/*.md")
    if "_build" not in page.parts
    and page.name != "tutorial.md"
    and re.search(r"^```(sh|python)$", page.read_text(), re.MULTILINE)
)
# What they record or replay is judged by its times, too.
JUDGED = {
    f"docs/howto/{name}.md"
    for name in (
        "check-a-run",
        "check-in-pytest",
        "gate-a-ci-job",
        "judge-your-own-job",
        "make-a-golden",
        "replay-a-trace",
    )
}

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
def fresh(reader):
    """Makes the directory what the reader of a page finds."""
    here, kept = reader

    def make():
        shutil.rmtree(here, ignore_errors=True)
        return Path(shutil.copytree(kept, here, ignore=shutil.ignore_patterns(*GIVEN, "__pycache__")))

    return make


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.serial) if page in JUDGED else page for page in PAGES]
)
def test_every_block_of_the_page_runs(page, reader, fresh):
    """Each block ends with status 0 (a block that shows a failure says so itself, with `|| true`) and prints what is shown.

    A page is followed again, up to three times in all, when a block that shows what it prints ended or printed otherwise: verdicts on
    runs rest on chance and on who else is at work.
    """
    for _ in range(TURNS):
        here = fresh()
        said = problem(REPOSITORY / page, lambda block, here=here: run(block, here, reader[1]))
        if said is None:
            break
    assert said is None, said


def run(block, here, kept):
    """Run one block, with the recordings that it names and the page has not made."""
    for name in GIVEN:
        if name in block.text and f"-o {name}" not in block.text and not (here / name).exists():
            shutil.copy2(kept / name, here / name)
    shell = ["bash", "-euo", "pipefail", "-c", NOT_VALID_IS_NO_FAILURE + block.text]
    command = shell if block.language == "sh" else [sys.executable, "-c", block.text]
    # What a page puts into the reader's home goes into the page's directory here.
    home = {"HOME": str(here)} if "~/" in block.text else {}
    done = subprocess.run(
        command, cwd=here, env=environment() | home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0 or block.shown, f"{block.text}\n--- printed\n{done.stdout}"
    return done
