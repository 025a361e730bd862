"""What interpreters load of the recorder: compiled beforehand, without what only type checkers need."""

import marshal
import os
import sys

import pytest

from tracekit.record import bundle, startup

PACKAGE = os.path.dirname(bundle.__file__)


def _run(source):
    names = {}
    exec(bundle.lean(source), names)
    return names


def test_annotations_and_docstrings_are_gone_and_the_rest_stays():
    """Arguments, results and variables lose their annotations, classes and functions their docstrings; values stay."""
    names = _run('''"""doc"""
from __future__ import annotations
from typing import TYPE_CHECKING, Any
if TYPE_CHECKING:
    from nowhere import Thing
    Alias = dict[str, Any]
empty: int
full: Alias = {"a": 1}
class Kept:
    """doc"""
    value: Thing = 5
    other: Thing
    def method(self, first: Thing, *rest: Any, key: Alias = None) -> Thing:
        """doc"""
        inner: Thing = first
        return inner
''')
    assert names["full"] == {"a": 1}
    assert "empty" not in names
    assert names["Kept"].value == 5
    assert names["Kept"]().method(3, key=1) == 3
    assert names["Kept"].method.__annotations__ == {}
    assert names["Kept"].__doc__ is None
    assert not {"Any", "TYPE_CHECKING", "annotations"} & set(names)


def test_what_is_used_is_imported():
    """A name that code needs at run time keeps its import, wherever it comes from."""
    assert _run("from collections.abc import Callable\nkind = Callable")["kind"].__name__ == "Callable"


@pytest.mark.parametrize("name", startup.MODULES)
def test_no_module_needs_typing(name):
    """Every module of the recorder loses its imports for type checkers: none of them is dear at an interpreter's start."""
    with open(os.path.join(PACKAGE, name + ".py"), encoding="utf-8") as file:
        code = bundle.lean(file.read())
    assert not {"typing", "__future__", "collections.abc"} & set(code.co_names)


def test_files_hold_what_was_written(tmp_path):
    """One file has what every process needs, and each other module its own; what is read back is code."""
    bundle.write(str(tmp_path), PACKAGE, startup.MODULES, "x = 1")
    suffix = bundle.MAGIC_NUMBER.hex()
    first = marshal.loads((tmp_path / f"code-{suffix}").read_bytes())
    assert set(first["modules"]) == set(bundle.AT_ONCE)
    assert {path.name for path in tmp_path.iterdir()} == {f"code-{suffix}"} | {
        f"{name}-{suffix}" for name in startup.MODULES if name not in bundle.AT_ONCE
    }
    names = {}
    exec(first["start"], names)
    assert names["x"] == 1
    code = marshal.loads((tmp_path / f"structure-{suffix}").read_bytes())
    assert code.co_filename == bundle.FILE
    assert sys.version_info >= (3, 10)
