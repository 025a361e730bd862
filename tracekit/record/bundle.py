"""What a recorded interpreter loads: the modules of the recorder, compiled for it beforehand.

Annotations and what only they need are taken out: `typing` alone would cost an interpreter more than all the rest of its
start. A Python with another kind of bytecode finds no file made for it and reads the sources instead.
"""

from __future__ import annotations

import ast
import marshal
import os
from _frozen_importlib_external import MAGIC_NUMBER
from collections.abc import Sequence
from typing import Any

# What frames of ours are called in tracebacks; there is no such file.
FILE = "<tracekit record>"
# What every process of the native engine needs is in one file.
AT_ONCE = ("bootstrap", "native", "lines", "imports")
# Whatever is imported from these is for annotations, unless the name is used.
_FOR_TYPES = ("__future__", "typing", "collections.abc")


def write(home: str, package: str, names: Sequence[str], start: str) -> None:
    """Write the files for interpreters with this one's bytecode: what each needs, and one for every other module.

    Args:
        home: Where to.
        package: Directory of the modules.
        names: The modules, without suffix.
        start: The text that starts them.

    Raises:
        OSError: If that is not possible.
    """
    modules = {}
    for name in names:
        with open(os.path.join(package, name + ".py"), encoding="utf-8") as file:
            modules[name] = lean(file.read())
    first = {name: modules.pop(name) for name in AT_ONCE}
    code = compile(start, FILE, "exec", dont_inherit=True, optimize=2)
    bundles: dict[str, Any] = {"code": {"start": code, "modules": first}, **modules}
    for name, content in bundles.items():
        with open(os.path.join(home, f"{name}-{MAGIC_NUMBER.hex()}"), "wb") as file:
            file.write(marshal.dumps(content))


def lean(source: str) -> Any:
    """Code of a module's text without docstrings, annotations, and the imports that only annotations need."""
    tree = _Bare().visit(ast.parse(source))
    tree.body = [node for node in tree.body if not _for_checkers(node)]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    tree.body = [node for node in tree.body if not _only_for_types(node, used)]
    return compile(ast.fix_missing_locations(tree), FILE, "exec", dont_inherit=True, optimize=2)


def _for_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _only_for_types(node: ast.stmt, used: set[str]) -> bool:
    if not isinstance(node, ast.ImportFrom) or node.module not in _FOR_TYPES:
        return False
    return not {alias.asname or alias.name for alias in node.names} & used


class _Bare(ast.NodeTransformer):
    """Takes annotations out."""

    def visit_arg(self, node: ast.arg) -> Any:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Any:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> Any:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        value = self.visit(node.value)
        return ast.copy_location(ast.Assign([node.target], value, lineno=node.lineno), node)
