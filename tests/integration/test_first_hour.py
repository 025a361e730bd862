"""The first hour of a new user: README and tutorial, followed word for word where nothing is but an install.

The environment is emptied (`env -i`), HOME is an empty directory, and the wheel is installed in a virtual environment of its own, which has
the packages of this one below it. The long test goes the whole way: a fresh clone, `make demo`, everything built and fetched.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import TURNS, blocks, mismatch, problem, transcript

REPOSITORY = Path(__file__).parents[2]
TUTORIAL, README = REPOSITORY / "docs" / "tutorial.md", REPOSITORY / "README.md"
SYSTEM = "/usr/local/bin:/usr/bin:/bin"
LIMIT_S = 600
# To fetch and install everything takes a minute where nothing else is going on, and many beside much other work.
SETUP_LIMIT_S = 2400


def bare(home, first):
    """All that is in the environment."""
    return {"HOME": str(home), "PATH": f"{first}:{SYSTEM}", "LANG": "C.UTF-8"}


def shell(text, place, environment, limit_s=LIMIT_S):
    """Run a block as pasted into a shell; what it prints, both streams together. What takes too long ends with all it started."""
    words = ["bash", "-euo", "pipefail", "-c", text]
    with subprocess.Popen(
        words, cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as running:  # fmt: skip
        try:
            printed, _ = running.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(words, running.returncode, printed)


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """A home with nothing in it, and an environment whose commands come from the built wheel."""
    pytest.importorskip("torch", reason="the tutorial trains with PyTorch")
    pytest.importorskip("PIL", reason="the tutorial reads photographs")
    place = tmp_path_factory.mktemp("user")
    (place / "home").mkdir()
    wheel = next((Path(sys.prefix) / "wheel").glob("tracekit_io-*.whl"), None)
    assert wheel, "no wheel was built: make .venv/.installed"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / "env"], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(place / "env" / "bin" / "python")]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    below = [path for path in sys.path if path.endswith("site-packages")]
    (next(place.glob("env/lib/python*/site-packages")) / "zz_below.pth").write_text("\n".join(below) + "\n")
    return bare(place / "home", place / "env" / "bin")


@pytest.fixture(scope="module")
def job(user, tmp_path_factory):
    """The tutorial's training script and its photographs, made by the tutorial's own blocks."""
    return make_the_job(tmp_path_factory.mktemp("job"), user)


def make_the_job(place, environment):
    """Run the tutorial's first blocks in a directory."""
    for block in list(blocks(TUTORIAL))[:2]:
        done = shell(block.text, place, environment)
        assert done.returncode == 0, done.stdout
    return place


def empty(place):
    """A directory with nothing in it."""
    place.mkdir()
    return place


def follow(page, environment, fresh):
    """Follow a page where nothing is yet; once more, up to three times in all, when something was not as it says: what that was, or None."""
    said = None
    for turn in range(TURNS):
        place = fresh(turn)
        said = problem(page, lambda block, place=place: shell(block.text, place, environment))
        if said is None:
            break
    return said


@pytest.mark.serial
def test_the_tutorial_word_for_word(user, tmp_path):
    """Every block of the tutorial works in an empty directory, and prints what the page shows."""
    said = follow(TUTORIAL, user, lambda turn: empty(tmp_path / str(turn)))
    assert said is None, said


@pytest.mark.serial
def test_the_readme_word_for_word(user, job, tmp_path):
    """Every block of the README works beside the training script that it speaks of, and prints what the page shows."""
    said = follow(README, user, lambda turn: shutil.copytree(job, tmp_path / str(turn)))
    assert said is None, said


@pytest.mark.long
@pytest.mark.timeout(2 * SETUP_LIMIT_S)
def test_from_a_fresh_clone(tmp_path):
    """In a clone with nothing but git, make and Python `make demo` shows what the README shows, and both pages work with what it made.

    Packages come from pip's cache where they are in it; nothing else of the machine is used.
    """
    cache = subprocess.run([sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=True)
    (tmp_path / "home").mkdir()
    clone = tmp_path / "tracekit"
    subprocess.run(["git", "clone", "-q", REPOSITORY, clone], check=True)
    environment = bare(tmp_path / "home", clone / ".venv" / "bin") | {"PIP_CACHE_DIR": cache.stdout.strip()}
    (typed,) = transcript(README)

    done = shell(typed.text, clone, environment, SETUP_LIMIT_S)
    assert done.returncode == 0, done.stdout
    assert mismatch(typed.shown, done.stdout) is None

    said = follow(TUTORIAL, environment, lambda turn: empty(tmp_path / f"tutorial{turn}"))
    assert said is None, said
    said = follow(README, environment, lambda turn: make_the_job(empty(tmp_path / f"readme{turn}"), environment))
    assert said is None, said
