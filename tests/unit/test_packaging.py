"""What pyproject.toml says of the native extensions."""

import pytest

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
