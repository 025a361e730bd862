"""A consumer that starves and one that is fed: what is judged, and what the published queue-depth rule says of the two."""

import json
import subprocess
import sys

import pytest

from harness import repeat
from harness.envelope import Envelope
from harness.standard import Standard
from harness.verdict import Outcome
from tracekit import formats
from tracekit.testing import MS, training_trace

# A loader of its own: reader threads fill a queue of batches, each of them one large read. Only the time a step computes differs.
PROGRAM = """
import queue, sys, threading, time
import tracekit

path, steps, compute_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
SIZE, READERS, AHEAD = 8 << 20, 3, 6
wanted, ready = queue.Queue(), queue.Queue(AHEAD)

def read():
    buffer = bytearray(SIZE)
    with open(path, "rb", buffering=0) as file:
        while (number := wanted.get()) is not None:
            file.seek(number % 4 * SIZE)
            file.readinto(buffer)
            ready.put(number)

for number in [*range(steps), *[None] * READERS]:
    wanted.put(number)
readers = [threading.Thread(target=read) for _ in range(READERS)]
for reader in readers:
    reader.start()
for batch in tracekit.step(ready.get() for _ in range(steps)):
    if compute_s:
        time.sleep(compute_s)
for reader in readers:
    reader.join()
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Record the loader with a computing time per step; the trace."""
    place = tmp_path_factory.mktemp("loader")
    (place / "loader.py").write_text(PROGRAM)
    (place / "data.bin").write_bytes(bytes(32 << 20))

    def record(name, compute_s, steps=20):
        words = ["record", "--engine", "python", "--force", "-o", f"{name}.jsonl", "--include", "*data.bin", "--"]
        program = [sys.executable, "loader.py", "data.bin", str(steps), str(compute_s)]
        subprocess.run([sys.executable, "-m", "tracekit.cli", *words, *program], cwd=place, check=True, timeout=600)
        return formats.load(str(place / f"{name}.jsonl"))

    return record


def judged(golden, trace):
    """A run against one golden run of a compute-bound job."""
    return repeat.judge(Standard("fed", Envelope.of([golden]), "compute_bound"), [trace], ["run"])


def finding(verdict, name):
    """One finding of a verdict."""
    return next(found for found in verdict.findings if found.id == name)


@pytest.mark.serial
def test_a_real_loader_that_starves_fails_and_one_that_is_fed_passes(recorded):
    """The same reads with 100 ms of compute per step and with none: only the second keeps its consumer waiting.

    A consumer that computes nothing waits for nearly all of the time, however quick the machine is. Where it is busy, a step may
    look long because its thread was put aside, and a golden that starves itself is no standard: both may take another attempt.
    """
    golden = recorded("golden", 0.1)
    for _attempt in range(4):
        starving = judged(golden, recorded("starving", 0))
        if finding(starving, "stall.share").outcome is Outcome.FAIL:
            break
        golden = recorded("golden", 0.1)
    assert finding(starving, "stall.share").outcome is Outcome.FAIL, finding(starving, "stall.share")
    assert starving.outcome is Outcome.FAIL
    for _attempt in range(4):
        fed = judged(golden, recorded("fed", 0.1))
        if finding(fed, "stall.share").outcome is Outcome.PASS:
            break
        golden = recorded("golden", 0.1)
    assert finding(fed, "stall.share").outcome is Outcome.PASS
    # By the published rule the one that is fed has failed: its queue is empty behind full buffers.
    assert finding(fed, "depth.fed").outcome is Outcome.FAIL
    assert not finding(fed, "depth.fed").gates


JOB = {"files": 256, "batch": 16}
# Of steps of 50 ms 37 are computed, while both workers read all the time; or 49.5, and reading takes a fifth of the time.
STARVING = {**JOB, "compute_ns": 37 * MS, "wait_ns": 13 * MS, "read_ns": 2 * MS}
FED = {**JOB, "compute_ns": 49_500_000, "wait_ns": 500_000, "read_ns": 200_000}


@pytest.mark.parametrize(
    ("job", "busy", "rule", "outcome"),
    [(STARVING, 0.74, Outcome.PASS, Outcome.FAIL), (FED, 0.99, Outcome.FAIL, Outcome.PASS)],
)
def test_the_published_rule_has_it_backwards(job, busy, rule, outcome):
    """An accelerator that is 74 % busy passes the published rule and fails here, one at 99 % the other way round."""
    golden = Standard("fed@1", Envelope.of([training_trace(**FED, seed=seed) for seed in range(6)]), "compute_bound")
    verdict = repeat.judge(golden, [training_trace(**job, seed=50)], ["run"], presets=["seed"])
    assert finding(verdict, "stall.share").measured == pytest.approx(1 - busy)
    assert finding(verdict, "seed:depth.fed").outcome is rule
    assert verdict.outcome is outcome
    assert {found.id for found in verdict.failed} <= {"stall.share", "stall.starved", "stall.hungry"}


def test_the_rule_counts_where_a_golden_is_bound_by_storage():
    """Against an I/O-bound golden the same rule gates: the run whose queue runs empty fails by name."""
    golden = Standard("bound@1", Envelope.of([training_trace(**STARVING, seed=seed) for seed in range(6)]), "io_bound")
    assert repeat.judge(golden, [training_trace(**STARVING, seed=50)], ["run"]).outcome is Outcome.PASS
    failed = {found.id for found in repeat.judge(golden, [training_trace(**FED, seed=50)], ["run"]).failed}
    assert "depth.fed" in failed


def test_a_summary_says_the_same_in_the_same_bytes():
    """Judged twice, the summary with presets is byte-identical."""
    from harness.report import json as json_report

    golden = Standard("fed@1", Envelope.of([training_trace(**FED, seed=seed) for seed in range(5)]), "compute_bound")
    texts = {
        json_report.render(repeat.judge(golden, [training_trace(**FED, seed=9)], ["run"], presets=["seed"]))
        for _ in range(2)
    }
    assert len(texts) == 1
    assert json.loads(texts.pop())["verdict"] == "PASS"
