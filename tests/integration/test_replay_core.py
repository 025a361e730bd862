"""The replay core without Python, under sanitizers: random plans, every promise checked by the driver itself."""

import errno
import os
import re
import shutil
import subprocess

import pytest

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11 pytest brings it under this name
    import tomli as tomllib

PARTS = re.compile(r'include "(engine|hand|helpers)\.h"')  # of the engine, but for two that need nothing of it
SANITIZERS = {"addresses": "address,undefined", "threads": "thread"}

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc here")


def sources(repository):
    """The core's files that need no Python, without the recorder's."""
    tables = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]["ext-modules"]
    core, preload = (set(table["sources"]) for table in tables)
    files = [repository / source for source in sorted(core - preload)]
    return [path for path in files if path.name not in ("module.c", "connects.c") and not path.name.endswith("_door.c")]


def engine(repository):
    """Those of them that are the replay engine's."""
    return [path for path in sources(repository) if path.stem in ("pace", "ring") or PARTS.search(path.read_text())]


def need_sanitizer(folder, names):
    """Skip where gcc cannot build with them."""
    (empty := folder / "empty.c").write_text("int main(void) { return 0; }\n")
    build = ["gcc", f"-fsanitize={names}", str(empty), "-o", str(folder / "empty")]
    if subprocess.run(build, capture_output=True, check=False).returncode:
        pytest.skip(f"gcc cannot build with -fsanitize={names} here")


@pytest.fixture(scope="module", params=sorted(SANITIZERS))
def driver(request, repository, tmp_path_factory):
    """The driver, built with a sanitizer."""
    target = tmp_path_factory.mktemp("driver") / "driver"
    files = [repository / "tests" / "native" / "engine_driver.c", *sources(repository)]
    flags = ["-std=c11", "-g", "-O1", f"-fsanitize={SANITIZERS[request.param]}", "-fno-sanitize-recover=undefined"]
    # What threads have not handed over is looked for all the time, so that it meets every state of theirs.
    flags.append("-DTRACEKIT_SWEEP_NS=100000")
    need_sanitizer(target.parent, SANITIZERS[request.param])
    # Beyond that a driver that cannot be built is a failure: skipped, it was not missed.
    subprocess.run(["gcc", *flags, *map(str, files), "-o", str(target), "-lpthread", "-lm"], check=True)
    probe = subprocess.run([str(target), "/", "1", "0", "native"], capture_output=True, text=True, check=False)
    if "unexpected memory mapping" in probe.stderr:
        pytest.skip("this kernel's address layout does not suit the sanitizer")
    return target


def run(driver, folder, runs, how, seed=1):
    """Run the driver; it says how many of its checks failed."""
    return subprocess.run(
        [str(driver), str(folder), str(seed), str(runs), how], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("how", ["native", "uring"])
def test_random_plans_keep_every_promise(driver, tmp_path, how):
    """Order, moments, caps, results and an orderly end, with nothing for the sanitizer to say."""
    done = run(driver, tmp_path, 40, how)
    if how == "uring" and "seed 1: the run broke" in done.stderr:
        pytest.skip("io_uring is not permitted here")
    assert (done.stdout, done.stderr, done.returncode) == ("40 runs, 0 failures\n", "", 0)


@pytest.mark.long
@pytest.mark.parametrize("how", ["native", "uring"])
def test_a_thousand_random_plans_keep_every_promise(driver, tmp_path, how):
    """The same, long enough for rare interleavings."""
    done = run(driver, tmp_path, 1000, how, seed=100_000)
    assert (done.stdout, done.stderr, done.returncode) == ("1000 runs, 0 failures\n", "", 0)


def test_what_is_foreseen_of_a_schedule_is_in_it(repository, tmp_path):
    """The moment of the sleep after the next one is the first that lies far enough behind all that come before it."""
    target, native = tmp_path / "driver", repository / "tracekit" / "_native"
    files = [repository / "tests" / "native" / "foresee_driver.c", native / "streams.c", native / "waits.c"]
    flags = ["-std=c11", "-g", "-O1", "-D_GNU_SOURCE"]
    subprocess.run(["gcc", *flags, *map(str, files), "-o", str(target)], check=True)
    done = subprocess.run([str(target), "500"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("500 plans, 0 failures\n", 0)


def test_looks_and_sleeps_are_as_often_and_as_long_as_they_pay(repository, tmp_path):
    """Who is idle looks at a sentinel's moments, more often after an op was overdue; to look at the clock replaces sleeps that cost as much."""
    target = tmp_path / "driver"
    files = [repository / "tests" / "native" / "looks_driver.c", *engine(repository)]
    flags = ["-std=c11", "-g", "-O1", "-DTRACEKIT_NO_RAW"]
    subprocess.run(["gcc", *flags, *map(str, files), "-o", str(target), "-lpthread", "-lm"], check=True)
    done = subprocess.run([str(target)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("0 failures\n", "", 0)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core")
def test_when_who_watches_loses_his_core_another_worker_goes_on(repository, tmp_path):
    """While one worker watches for all streams and his sleep does not end, the ops are done by another, each once and in order."""
    target = tmp_path / "driver"
    files = [repository / "tests" / "native" / "standby_driver.c", *engine(repository)]
    flags = ["-std=c11", "-DTRACEKIT_NO_RAW", "-Wl,--wrap=tk_wake_for", "-Wl,--wrap=tk_worker_relief"]
    subprocess.run(["gcc", *flags, *map(str, files), "-o", str(target), "-lpthread", "-lm"], check=True)
    done = subprocess.run([str(target), str(tmp_path)], capture_output=True, text=True, check=True)
    if done.stdout == "no real-time priority\n":
        pytest.skip("real-time priority is not permitted here, and without it nobody watches for others")
    assert done.stdout == "overslept 1, many meanwhile, 0 wrong\n"


def test_a_ring_that_breaks_waits_for_its_helpers(repository, tmp_path):
    """While a helper thread is in an op the ring ends in an error: the run frees nothing that the helper still uses."""
    target = tmp_path / "driver"
    files = [repository / "tests" / "native" / "broken_ring_driver.c", *engine(repository)]
    flags = [
        "-std=c11",
        "-g",
        "-fsanitize=address",
        "-DTRACEKIT_NO_RAW",
        "-Wl,--wrap=tk_issue_op",
        "-Wl,--wrap=tk_ring_enter",
    ]
    need_sanitizer(tmp_path, "address")
    subprocess.run(["gcc", *flags, *map(str, files), "-o", str(target), "-lpthread", "-lm"], check=True)
    # What was in the ring may still be written to by the kernel, so it is left: that is no leak.
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run([str(target), str(tmp_path)], capture_output=True, text=True, check=False, env=environment)
    if done.stdout == "no io_uring\n":
        pytest.skip("io_uring is not permitted here")
    broken = f"error 0, stopped 3, trouble {errno.EIO}, 1 op ended before the run and 0 behind it\n"
    assert (done.stdout, done.stderr, done.returncode) == (broken, "", 0)
