"""What pyproject.toml and the workflow say: the native extensions, the versions of Python."""

import ast
import os
import re
import subprocess

import pytest
import yaml

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11 pytest brings it under this name
    import tomli as tomllib


@pytest.fixture(scope="module")
def extensions(repository):
    """The tables of the extensions, by name."""
    tables = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]["ext-modules"]
    return {table["name"].rpartition(".")[2]: table for table in tables}


def test_both_extensions_hold_the_same_recorder(extensions):
    """What is put into other programs is the core's recorder and its own start, file by file in the same order."""
    own, *recorder = extensions["_preload"]["sources"]
    assert own == "tracekit/_native/preload.c"
    assert extensions["_core"]["sources"][-len(recorder) :] == recorder


def test_every_file_is_compiled_into_something(extensions, repository):
    """No C file is left behind, none is named twice, and every header that changes makes the core be built again."""
    core, preload = extensions["_core"]["sources"], extensions["_preload"]["sources"]
    native = repository / "tracekit" / "_native"
    assert {f"tracekit/_native/{path.name}" for path in native.glob("*.c")} == {*core, *preload}
    assert len(set(core)) == len(core)
    assert {f"tracekit/_native/{path.name}" for path in native.glob("*.h")} == set(extensions["_core"]["depends"])


@pytest.fixture(scope="module")
def versions(repository):
    """The versions of Python that the classifiers promise, oldest first."""
    classifiers = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["classifiers"]
    return [found[1] for text in classifiers if (found := re.fullmatch(r".* :: Python :: (3\.\d+)", text))]


def test_the_oldest_python_that_is_promised_is_the_one_asked_for(repository, versions):
    """Classifiers are in order without a gap, and begin with `requires-python`, the stable ABI's and ruff's version."""
    told = tomllib.loads((repository / "pyproject.toml").read_text())
    minors = [int(version.partition(".")[2]) for version in versions]
    assert minors == list(range(minors[0], minors[0] + len(minors)))
    assert told["project"]["requires-python"] == f">={versions[0]}"
    assert told["tool"]["distutils"]["bdist_wheel"]["py_limited_api"] == f"cp3{minors[0]}"
    assert told["tool"]["ruff"]["target-version"] == f"py3{minors[0]}"
    assert told["tool"]["mypy"]["python_version"] == versions[0]


def test_every_source_is_syntax_of_the_oldest_python(repository, versions):
    """Nothing that is shipped is written in a newer Python than the oldest that is promised."""
    oldest = tuple(int(part) for part in versions[0].split("."))
    listed = subprocess.run(
        ["git", "-C", repository, "ls-files", "tracekit/*.py*", "harness/*.py", "golden/*.py"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(listed) > 300
    for name in listed:
        ast.parse((repository / name).read_text(), name, feature_version=oldest)


def test_the_workflow_runs_what_is_run_here(repository, versions):
    """It is YAML, calls the scripts of .ci that are there to be run, and tries every version that is promised."""
    workflow = yaml.safe_load((repository / ".github" / "workflows" / "ci.yml").read_text())
    jobs = workflow["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert commands == [".ci/run", ".ci/smoke python"]
    assert all(os.access(repository / command.split()[0], os.X_OK) for command in commands)
    assert jobs["smoke"]["strategy"]["matrix"]["python"] == versions
    # `on` is a word for true in YAML 1.1.
    assert set(workflow[True]) == {"push", "pull_request"}
