"""URIs: one table of schemes, and paths to and fro."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracekit.errors import InputError, UnknownSchemeError
from tracekit.uri import SCHEMES, file_uri, local_path, scheme_of


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("/a/b", "file"),
        ("a:b", "file"),
        ("file:///a", "file"),
        ("FILE:///a", "file"),
        ("direct:///a", "direct"),
        ("directio:///a", "direct"),
        ("s3://b/k", "s3"),
        ("az://c/b", "az"),
    ],
)
def test_schemes_are_known(uri, name):
    """Every scheme of the table is found, in any case; directio is direct; no scheme is a file."""
    assert scheme_of(uri) is SCHEMES[name]


def test_an_unknown_scheme_is_refused_with_a_proposal():
    """The error names the scheme, the nearest and all there are."""
    with pytest.raises(
        UnknownSchemeError,
        match=r"'s4' of 's4://b'.*did you mean s3://\? Supported are az://, direct://, file://, s3://",
    ):
        scheme_of("s4://b")


@given(st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name))
def test_every_file_name_has_a_uri(name):
    """Any bytes a file can be called survive the way to a URI and back; the URI is ASCII."""
    path = os.path.abspath(b"/" + name)
    uri = file_uri(os.fsdecode(path))

    assert uri.isascii()
    assert os.fsencode(local_path(uri)) == path


@pytest.mark.parametrize("uri", ["s3://b/k", "file://host/a", "file://", "file:///a%00b", "direct://x", ""])
def test_what_is_no_local_file_is_refused(uri):
    """Objects, hosts, empty names and NULs have no path."""
    with pytest.raises(InputError):
        local_path(uri)


def test_localhost_is_here():
    """file://localhost/a is /a, as RFC 8089 has it."""
    assert local_path("file://localhost/a") == "/a"
    assert local_path("relative/name") == "relative/name"


def test_relative_paths_are_made_absolute(tmp_path, monkeypatch):
    """A URI does not depend on the working directory it is read in."""
    monkeypatch.chdir(tmp_path)

    assert file_uri("a b.bin", "direct") == f"direct://{tmp_path}/a%20b.bin"
