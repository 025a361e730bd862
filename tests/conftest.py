"""What all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import tracekit

REPOSITORY = Path(__file__).parents[1]

# Deadlines measure the machine, not the code. The same examples every time, so that a change is judged by what it changed;
# make check-long looks for others.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", parent=settings.get_profile("explore"), derandomize=True)
settings.load_profile("explore" if os.environ.get("TRACEKIT_TESTS_EXPLORE") else "same")


def pytest_configure(config):
    """Refuse to test the source folder when the installed wheel is meant."""
    installed = Path(tracekit.__file__).resolve()
    if os.environ.get("TRACEKIT_TESTS_USE_INSTALLED") and installed.parent == REPOSITORY / "tracekit":
        raise pytest.UsageError(f"the tests are to run against the installed wheel, but tracekit is {installed}")


@pytest.fixture(scope="session")
def repository():
    """The checkout these tests stand in."""
    return REPOSITORY


@pytest.fixture(autouse=True)
def _own_directory(tmp_path, monkeypatch):
    # Commands that tests start must not find the source folder as their working directory: `python -m tracekit` would
    # import from it.
    monkeypatch.chdir(tmp_path)
    # A copy of standard input is a process's for good; of a test it must not be the next one's.
    monkeypatch.setattr("tracekit.pipes._copies", {})
    # Without credentials the S3 clients would ask an address on the link for them.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


_TURNS = 3


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run a test marked `pages` again when it fails: nobody but the kernel decides how long a page stays cached.

    Measured on a machine with free memory, without any of our code in between: a page read into the cache was gone within
    0.1 s once in some hundred files. A defect of ours fails every turn.
    """
    if pyfuncitem.get_closest_marker("pages") is None:
        return None
    wanted = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    for turn in range(_TURNS):
        try:
            pyfuncitem.obj(**wanted)
        except AssertionError:  # noqa: PERF203  # three rounds
            if turn == _TURNS - 1:
                raise
        else:
            break
    return True
