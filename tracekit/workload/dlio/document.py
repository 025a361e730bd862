"""A workload file as a tree that knows its lines, with scalars read as OmegaConf reads them.

DLIO reads its files through Hydra, and Hydra through OmegaConf, whose loader is PyYAML's (YAML 1.1) with other rules for floats
and none for dates: `1e6` is the float 1000000.0 (to plain PyYAML it is a string), `off` is False, `010` is 8, `1:30` is 90.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import yaml

from tracekit.errors import InputError

# omegaconf/_utils.py, get_yaml_loader (2.3): what counts as a float.
_FLOAT = re.compile(
    r"""^(?:[-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
        |[-+]?[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)
        |\.[0-9]+(?:_[0-9]+)*(?:[eE][-+][0-9]+)?
        |[-+]?[0-9]+(?:_[0-9]+)*(?::[0-5]?[0-9])+\.[0-9_]*
        |[-+]?\.(?:inf|Inf|INF)
        |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)
_MAX_BYTES = 1 << 20
_MAX_NODES = 20_000
_MAX_DEPTH = 40
_MAX_TEXT = 1 << 16
_REFERENCE = re.compile(r"\$\{([A-Za-z0-9_.]+)\}")


@dataclass(frozen=True)
class Node:
    """One value of the file.

    Args:
        value: A scalar, a `dict` of nodes by key, or a `list` of nodes.
        line: Where it stands, from 1; 0 for one from the command line.
        text: The scalar as it was written.
        quoted: Whether the scalar stood in quotes.
        source: The file, or `command line`.
    """

    value: Any
    line: int
    text: str = ""
    quoted: bool = False
    source: str = ""

    @property
    def place(self) -> str:
        """`file:line`, for a sentence."""
        return f"{self.source}:{self.line}" if self.line else self.source

    def plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def read(path: str) -> Node:
    """The file as a tree; a file that holds everything below `workload` is taken as what stands there.

    Raises:
        InputError: If it cannot be read, is no YAML, or its top is no mapping.
    """
    try:
        with open(path, "rb") as file:
            body = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "name a workload file") from None
    if len(body) > _MAX_BYTES:
        raise InputError(f"{path} is larger than 1 MiB", "a workload file has some dozen lines; name that")
    return parse(body, path)


def parse(body: bytes | str, source: str) -> Node:
    """The tree of a YAML text (errors: see `read`)."""
    try:
        loader = _Loader(body)
        try:
            top = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        raise InputError(f"{source}:{line}: {error.problem}", "see the YAML around that line") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{source} is not YAML: {str(error).splitlines()[0]}", "name a workload file") from None
    except RecursionError:
        raise InputError(f"{source} is nested deeper than a workload can be", "name a workload file") from None
    if top is None:
        raise InputError(f"{source} is empty", "a workload file has sections dataset, reader, train …")
    node = _Builder(loader, source).node(top, 0)
    if not isinstance(node.value, dict):
        raise InputError(
            f"{source}:{node.line}: the top of a workload file is a mapping of sections", "see its first lines"
        )
    return _resolved(_unwrapped(node))


def walk(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Node]]:
    """Every key below a mapping with its path, mappings before what they hold."""
    for key, child in node.value.items():
        yield (*path, key), child
        if isinstance(child.value, dict):
            yield from walk(child, (*path, key))


class _Loader(yaml.SafeLoader):
    """PyYAML's with OmegaConf's rules; used as far as nodes and scalars only."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_Loader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0] != "tag:yaml.org,2002:timestamp"]
    for first, rules in _Loader.yaml_implicit_resolvers.items()
}


class _Builder:
    """Makes nodes of PyYAML's, within bounds that no honest file meets (aliases can unfold without end)."""

    def __init__(self, loader: yaml.SafeLoader, source: str) -> None:
        self._loader = loader
        self._source = source
        self._count = 0

    def node(self, raw: yaml.Node, depth: int) -> Node:
        self._count += 1
        line = raw.start_mark.line + 1
        if self._count > _MAX_NODES or depth > _MAX_DEPTH:
            raise InputError(f"{self._source}:{line}: more values than a workload can have", "write it without aliases")
        if isinstance(raw, yaml.MappingNode):
            return Node(self._mapping(raw, depth), line, source=self._source)
        if isinstance(raw, yaml.SequenceNode):
            return Node([self.node(child, depth + 1) for child in raw.value], line, source=self._source)
        style = getattr(raw, "style", None)
        return Node(self._scalar(raw, line), line, str(raw.value), style in ("'", '"'), self._source)

    def _mapping(self, raw: yaml.MappingNode, depth: int) -> dict[str, Node]:
        found: dict[str, Node] = {}
        for key, value in raw.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                raise InputError(f"{self._source}:{line}: keys are words here", "write the keys out")
            if key.value in found:
                raise InputError(
                    f"{self._source}:{line}: {key.value} is there twice, first in line {found[key.value].line}",
                    "keep one of them",
                )
            # The line of the key: a mapping or a list may begin below it.
            found[key.value] = replace(self.node(value, depth + 1), line=line)
        return found

    def _scalar(self, raw: yaml.Node, line: int) -> Any:
        try:
            return self._loader.construct_object(raw)
        except (yaml.YAMLError, ValueError, OverflowError):
            raise InputError(
                f"{self._source}:{line}: {raw.value!r} cannot be read as {raw.tag.rpartition(':')[2]}",
                "put it in quotes",
            ) from None


def _unwrapped(node: Node) -> Node:
    inner = node.value.get("workload")
    if inner is not None and isinstance(inner.value, dict) and set(node.value) <= {"workload", "defaults", "hydra"}:
        return Node(inner.value, inner.line, source=inner.source)
    return node


def _resolved(top: Node) -> Node:
    """The tree with `${section.key}` replaced by what stands there, as OmegaConf does when a value is asked for."""
    values = {".".join(path): node for path, node in walk(top)}

    @cache
    def looked_up(name: str, depth: int) -> Any:
        node = values.get(name.removeprefix("workload."))
        if node is None or isinstance(node.value, (dict, list)) or depth > _MAX_DEPTH:
            raise KeyError(name)
        return value_of(node, depth + 1)

    def value_of(node: Node, depth: int) -> Any:
        if not isinstance(node.value, str) or "${" not in node.value:
            return node.value
        whole = _REFERENCE.fullmatch(node.value)
        try:
            value = (
                looked_up(whole[1], depth)
                if whole
                else _REFERENCE.sub(lambda match: str(looked_up(match[1], depth)), node.value)
            )
        except KeyError:
            return node.value  # OmegaConf, too, minds only when somebody asks for it
        return node.value if isinstance(value, str) and len(value) > _MAX_TEXT else value

    def copy(node: Node) -> Node:
        if isinstance(node.value, dict):
            new: Any = {key: copy(child) for key, child in node.value.items()}
        elif isinstance(node.value, list):
            new = [copy(child) for child in node.value]
        else:
            new = value_of(node, 0)
        return Node(new, node.line, node.text, node.quoted, node.source)

    return copy(top)
