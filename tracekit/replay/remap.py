"""Other names for the same data: prefixes of URIs or paths, the longest first."""

from __future__ import annotations

from collections.abc import Sequence

from tracekit.errors import TracekitError
from tracekit.uri import file_uri, local_path, scheme_of, utf8


class Remap:
    """A set of (from, to) prefixes.

    A prefix ends at a `/`: `/data` covers `/data/a`, not `/database`. One without a scheme is a path and covers local URIs
    of every scheme; a target without a scheme is a local path, and a direct:// URI stays direct.

    Args:
        pairs: The prefixes.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._pairs = sorted(pairs, key=lambda pair: len(pair[0]), reverse=True)
        self.used: set[str] = set()

    @property
    def unused(self) -> list[str]:
        """Prefixes that no URI had."""
        return sorted({source for source, _ in self._pairs} - self.used)

    def apply(self, uri: str) -> str | None:
        """The new URI; None where no prefix fits."""
        for source, target in self._pairs:
            whole = uri if "://" in source else _path(uri)
            rest = None if whole is None else _rest(whole, source)
            if rest is not None:
                self.used.add(source)
                return _joined(uri, source, target, rest)
        return None


def _path(uri: str) -> str | None:
    try:
        return local_path(uri)
    except TracekitError:
        return None


def _rest(whole: str, prefix: str) -> str | None:
    if not whole.startswith(prefix):
        return None
    rest = whole[len(prefix) :]
    return rest if not rest or prefix.endswith("/") or rest.startswith("/") else None


def _joined(uri: str, source: str, target: str, rest: str) -> str:
    """Put target and rest together: as a path where one of them is a path, percent-encoded where a URI needs it."""
    # Local URIs are percent-encoded; paths and the names of objects stand as they are.
    encoded = "://" in source and _is_local(source)
    rest = rest.lstrip("/")
    if "://" in target and _is_local(target):
        rest = rest if encoded or not rest else file_uri(f"/{rest}").removeprefix("file:///")
        return f"{target.rstrip('/')}/{rest}" if rest else target
    name = local_path(f"file:///{rest}").lstrip("/") if encoded and rest else rest
    whole = f"{target.rstrip('/')}/{name}" if name else target
    if "://" in target:
        return utf8(whole)
    return file_uri(whole, "direct" if _is_direct(uri) else "file")


def _is_local(uri: str) -> bool:
    try:
        return scheme_of(uri).local
    except TracekitError:
        return True


def _is_direct(uri: str) -> bool:
    try:
        return scheme_of(uri).direct
    except TracekitError:
        return False
