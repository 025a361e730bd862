"""Errors: one sentence, a slug, an exit code, a way out."""

from __future__ import annotations

import pytest

from tracekit import errors
from tracekit.errors import OutputExistsError, TraceFormatError, TracekitError, UnknownNameError


def _all(kind=TracekitError):
    return [
        kind,
        *(
            child
            for direct in kind.__subclasses__()
            if direct.__module__ == "tracekit.errors"
            for child in _all(direct)
        ),
    ]


def test_every_error_has_a_slug_of_its_own():
    """Slugs name entries of the reference: all different, all lower-case words."""
    slugs = [kind.slug for kind in _all()]

    assert len(set(slugs)) == len(slugs)
    assert all(slug.replace("-", "").isalpha() and slug.islower() for slug in slugs)


def test_the_tree_at_the_top_is_the_tree():
    """The drawing in the module names every class with its exit code."""
    for kind in _all():
        lines = [line for line in errors.__doc__.splitlines() if f" {kind.__name__} " in line]
        assert len(lines) == 1, kind
        assert f"exit {kind.exit_code}" in lines[0]


def test_text_is_cause_and_way_out():
    """Cause and way out are one sentence, and both are kept apart too."""
    error = TracekitError("the disk is full", "free some space")

    assert str(error) == "the disk is full; free some space"
    assert (error.cause, error.way_out) == ("the disk is full", "free some space")
    assert str(TracekitError("it is so")) == "it is so"


@pytest.mark.parametrize(
    ("name", "known", "text"),
    [
        ("torch-lik", ["torch-like", "webdataset-like"], "there is no golden 'torch-lik'; did you mean 'torch-like'?"),
        ("fast", ["auto", "asap"], "there is no golden 'fast'; there are: asap, auto"),
        ("zzz", ["b", "a"], "there is no golden 'zzz'; there are: a, b"),
        ("zzz", [], "there is no golden 'zzz'; no golden is available here"),
    ],
)
def test_unknown_names_are_answered(name, known, text):
    """The nearest name is proposed, else all are listed, else it is said that there are none."""
    assert str(UnknownNameError("golden", name, known)) == text


def test_format_errors_name_the_place():
    """File and line come first; line 0 is the whole file."""
    assert str(TraceFormatError("t.jsonl", 3, "bad", "mend it")) == "t.jsonl:3: bad; mend it"
    assert str(TraceFormatError("t.jsonl", 0, "bad")) == "t.jsonl: bad"


def test_an_existing_output_says_how_to_replace_it():
    """The way out names --force."""
    assert (
        str(OutputExistsError("x.jsonl"))
        == "x.jsonl exists already; pass --force to replace it, or choose another name"
    )
