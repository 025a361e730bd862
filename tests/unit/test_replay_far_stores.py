"""Stores that do not answer: each question costs a timeout, so none is asked again for every object."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest

from tracekit.errors import CannotRunError
from tracekit.replay import prepare, scratch
from tracekit.replay.plan import File
from tracekit.storage.base import Look
from tracekit.storage.keys import StoreError


class Store:
    """A store that answers every question in one way."""

    local = False

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def look(self, place):
        """The answer, raised where it is an error."""
        self.asked.append(place)
        answer = self.answer(place)
        if isinstance(answer, Exception):
            raise answer
        return answer

    delete = look


def plan_on(store, *, changed=False):
    """A plan about twenty objects."""
    files = [File(f"s3://b/{n}", f"s3://b/{n}", store, needed=not changed, changed=changed) for n in range(20)]
    return SimpleNamespace(files=files, object_scratch="s3://b/scratch")


def test_a_store_that_refuses_is_asked_once_what_is_missing():
    """Twenty objects on a store that cannot be reached: one question, and nothing is taken for missing."""
    store = Store(lambda _: CannotRunError("s3://b cannot be reached"))
    assert prepare.missing(plan_on(store)) == []
    assert store.asked == ["s3://b/0"]


def test_missing_objects_are_those_that_are_not_there():
    """Each object's own answer counts: there, not there, or not to be said."""

    def answer(place):
        if place.endswith("/7"):
            return OSError(errno.ENOENT, "none", place)
        return StoreError(500) if place.endswith("/8") else Look("file", 1)

    assert [file.uri for file in prepare.missing(plan_on(Store(answer)))] == ["s3://b/7"]


@pytest.mark.parametrize(
    ("error", "asked"),
    [(StoreError(404), 20), (StoreError(errno.ETIMEDOUT), 1), (CannotRunError("no credentials"), 1)],
)
def test_scratch_objects_are_removed_as_long_as_the_store_answers(error, asked):
    """One that was never written keeps none of the others; a server that is gone is not waited for twenty times."""
    store = Store(lambda _: error)
    scratch._remove_objects(plan_on(store, changed=True))
    assert len(store.asked) == asked
