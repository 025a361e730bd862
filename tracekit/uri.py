"""What a URI means: one table of schemes, and the way between paths and `file://` URIs.

A trace names data by URI. A path without a scheme is a local file. `direct://` is a local file read with O_DIRECT;
`directio://` is its alias. Local URIs are percent-encoded as RFC 3986 has it, over the raw bytes of the name, so that
every file name, also one that is not UTF-8, has exactly one URI.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_to_bytes

from tracekit.errors import InputError, UnknownSchemeError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SAFE = "/~!$&'()*+,;=:@"


@dataclass(frozen=True)
class Scheme:
    """One row of the table: who owns a scheme and what it implies."""

    name: str
    local: bool
    direct: bool
    meaning: str


SCHEMES = {
    "file": Scheme("file", local=True, direct=False, meaning="local file through the page cache"),
    "direct": Scheme("direct", local=True, direct=True, meaning="local file with O_DIRECT"),
    "s3": Scheme("s3", local=False, direct=False, meaning="S3 object: s3://bucket/key"),
    "az": Scheme("az", local=False, direct=False, meaning="Azure blob: az://container/blob"),
}
_ALIASES = {"directio": "direct"}


def scheme_of(uri: str) -> Scheme:
    """The scheme of a URI; a path without one is `file`.

    Raises:
        UnknownSchemeError: If no storage owns the scheme; the nearest known one is proposed.
    """
    match = _SCHEME.match(uri)
    if match is None:
        return SCHEMES["file"]
    name = match[1].lower()
    scheme = SCHEMES.get(_ALIASES.get(name, name))
    if scheme is None:
        raise UnknownSchemeError(uri, name, SCHEMES)
    return scheme


def file_uri(path: str | os.PathLike[str], scheme: str = "file") -> str:
    """The URI of a local path, made absolute against the working directory but not resolved."""
    return f"{scheme}://{quote_from_bytes(os.fsencode(os.path.abspath(path)), safe=_SAFE)}"


def local_path(uri: str) -> str:
    """The local path of a `file://` or `direct://` URI, or of a bare path.

    Raises:
        UnknownSchemeError: If no storage owns the scheme.
        InputError: If the URI is not local, names a host, or holds a NUL.
    """
    if not scheme_of(uri).local:
        raise InputError(f"{uri!r} is not a local file", "only file:// and direct:// have a path")
    match = _SCHEME.match(uri)
    if match is None:
        path = uri
    else:
        rest = uri[match.end() :].removeprefix("localhost")
        if not rest.startswith("/"):
            raise InputError(f"{uri!r} has no absolute path", f"write {match[0]}/absolute/path, with three slashes")
        path = os.fsdecode(unquote_to_bytes(rest))
    if "\0" in path or not path:
        raise InputError(f"{uri!r} is not a usable file name", "names are not empty and hold no NUL")
    return path


def utf8(text: str) -> str:
    """The text, with what UTF-8 cannot say written as backslash escapes."""
    # Names that are not UTF-8 reach Python as lone surrogates, which JSON cannot carry.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def path_of(uri: str) -> str:
    """What a URI names among those of its scheme: a local path, or `/container/key` (errors: see `local_path`)."""
    return local_path(uri) if scheme_of(uri).local else f"/{uri.partition('://')[2]}"
