"""Objects in parts, against a store in memory whose every request is seen: what is sent, what is sent again, what becomes of it."""

from __future__ import annotations

import hashlib
import threading

import pytest

from tracekit.storage import uploads
from tracekit.storage.keys import StoreError
from tracekit.storage.uploads import Part, bodies_of, insist, write

PART = 1000


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Parts of a thousand bytes that double every four, and no pauses to speak of."""
    monkeypatch.setattr(uploads, "PART_BYTES", PART)
    monkeypatch.setattr(uploads, "_GROWS_EVERY", 4)
    monkeypatch.setattr(uploads, "_PAUSE_S", 1e-4)


class Upload:
    """One in memory; `fails` gives what to raise for a part, once."""

    def __init__(self, store):
        self.store, self.bodies, self.dropped, self.fails = store, {}, False, {}
        self.lock = threading.Lock()

    @property
    def parts(self):
        """What is there."""
        return {
            n: Part(len(body), hashlib.md5(body, usedforsecurity=False).hexdigest()) for n, body in self.bodies.items()
        }

    def send(self, number, body, part):
        """Keep a part, or fail."""
        with self.lock:
            self.store.sent.append(number)
            failure = self.fails.pop(number, None)
            if failure is not None:
                raise failure
            self.bodies[number] = body
        assert part == Part(len(body), hashlib.md5(body, usedforsecurity=False).hexdigest())

    def finish(self, parts, *, create):
        """Make the object."""
        if create and "x" in self.store.objects:
            raise StoreError(412)
        assert [self.parts[n] for n in range(1, len(parts) + 1)] == parts
        self.store.objects["x"] = b"".join(self.bodies[n] for n in range(1, len(parts) + 1))
        self.store.uploads.remove(self)

    def drop(self):
        """Forget it."""
        self.dropped = True
        self.store.uploads.remove(self)


class Store:
    """A container with one object, or none."""

    def __init__(self):
        self.objects, self.uploads, self.sent, self.whole = {}, [], [], []

    def write(self, name, body, *, create=False):
        """One request."""
        self.whole.append(len(body))
        if create and name in self.objects:
            raise StoreError(412)
        self.objects[name] = bytes(body)

    def begin(self, _):
        """A new one."""
        self.uploads.append(Upload(self))
        return self.uploads[-1]

    def begun(self, _):
        """Those there are."""
        return list(self.uploads)

    def make(self, pieces, *, create=False):
        """What is tested."""
        write(self, lambda: self, "x", pieces, create=create)


BODY = bytes(range(251)) * 45  # 11,295 bytes: four parts of 1,000, three of 2,000, and a rest
PARTS = list(range(1, 9))


def in_pieces(body, size=333):
    """A body as it is made."""
    return (body[at : at + size] for at in range(0, len(body), size))


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART])
def test_what_fits_into_a_part_is_one_request(size):
    """However many pieces it comes in; nothing is begun for it."""
    store = Store()
    store.make(in_pieces(BODY[:size]))
    assert (store.objects["x"], store.whole, store.sent) == (BODY[:size], [size], [])


def test_what_does_not_goes_in_parts_each_once():
    """All but the last of their sizes, and nothing is left of the upload."""
    store = Store()
    store.make(in_pieces(BODY))
    assert store.objects["x"] == BODY
    assert (sorted(store.sent), store.whole, store.uploads) == (PARTS, [], [])
    assert [len(body) for body in bodies_of(in_pieces(BODY))] == [1000] * 4 + [2000] * 3 + [1295]


def test_an_upload_that_broke_off_is_gone_on_with():
    """Parts that are there and right are not sent again; one that is another's or damaged is, and the object is right."""
    store = Store()
    broken = store.begin("x")
    broken.bodies = dict(enumerate(bodies_of([BODY]), 1))
    del broken.bodies[5], broken.bodies[8]
    broken.bodies[3] = bytes(1000)
    store.make(in_pieces(BODY))
    assert (sorted(store.sent), store.objects["x"], store.uploads) == ([3, 5, 8], BODY, [])


def test_an_upload_of_something_else_is_left_alone():
    """Whoever else is writing there keeps his parts; of our own that broke off, the one that is behind is given up."""
    store = Store()
    foreign, behind, ahead = (store.begin("x") for _ in range(3))
    foreign.bodies = {1: b"theirs"}
    parts = dict(enumerate(bodies_of([BODY]), 1))
    behind.bodies, ahead.bodies = {1: parts[1]}, {1: parts[1], 2: parts[2]}
    store.make(in_pieces(BODY))
    assert (sorted(store.sent), store.objects["x"]) == (PARTS[2:], BODY)
    assert (foreign.dropped, behind.dropped, store.uploads) == (False, True, [foreign])


def test_an_object_that_is_there_is_not_replaced():
    """Neither by one request nor by an upload, whose parts are given up."""
    for size in (10, len(BODY)):
        store = Store()
        store.objects["x"] = b"precious"
        with pytest.raises(StoreError):
            store.make(in_pieces(BODY[:size]), create=True)
        assert (store.objects["x"], store.uploads) == (b"precious", [])


def test_what_may_pass_is_sent_again_and_what_stays_ends_it():
    """A part that is throttled once goes on its way; one that is forbidden ends the upload, which is left to the next run."""
    store = Store()
    store.begin("x").bodies = {1: BODY[:PART]}
    store.uploads[0].fails = {2: StoreError(503, "SlowDown"), 4: StoreError(403)}
    with pytest.raises(StoreError, match="403"):
        store.make(in_pieces(BODY))
    assert store.sent.count(2) == 2
    assert (store.sent.count(4), "x" in store.objects, len(store.uploads)) == (1, False, 1)
    before = len(store.sent)
    store.make(in_pieces(BODY))
    assert (store.objects["x"], len(store.sent) - before < len(PARTS)) == (BODY, True)


def test_content_that_fails_leaves_its_parts():
    """Ctrl-C while it is made: no object, and the next run has less to send."""
    store = Store()

    def stopped():
        yield BODY[:5000]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.make(stopped())
    assert ("x" in store.objects, len(store.uploads)) == (False, 1)
    store.make(in_pieces(BODY))
    assert (store.objects["x"], sorted(store.sent)) == (BODY, PARTS)


def test_a_request_is_not_insisted_on_for_ever():
    """Five times, and the last failure is the one that is said; what does not pass is said at once."""
    asked = []

    def failing(number):
        asked.append(number)
        raise StoreError(number)

    for number, times in ((503, 5), (404, 1)):
        asked.clear()
        with pytest.raises(StoreError):
            insist(lambda number=number: failing(number))
        assert len(asked) == times
