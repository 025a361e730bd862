"""Python's buffered file, and the one without a file."""

import io

from hypothesis import given
from hypothesis import strategies as st

from tracekit.workload.readers.buffered import Buffered

CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 20000)),
        st.tuples(st.just("readinto"), st.integers(0, 20000)),
        st.tuples(st.just("seek"), st.integers(0, 5000)),
        st.tuples(st.just("seek_end"), st.integers(-5000, 0)),
        st.tuples(st.just("read_all"), st.just(0)),
    ),
    max_size=12,
)


class Noting(io.RawIOBase):
    """A file of zeros that notes what it is asked for."""

    def __init__(self, size):
        self.size, self.at, self.asked = size, 0, []

    def readable(self):
        """It is read."""
        return True

    def seekable(self):
        """It is gone to and fro in."""
        return True

    def seek(self, to, whence=0):
        """Go to a byte."""
        self.at = max(0, to + (0, self.at, self.size)[whence])
        return self.at

    def readinto(self, into):
        """Give what there is of that, and note it."""
        got = max(0, min(len(into), self.size - self.at))
        self.asked.append((self.at, len(into)))
        self.at += got
        return got

    def readall(self):
        """Ask for one byte more than there is until there is none, as `io.FileIO` does."""
        while True:
            left = max(0, self.size - self.at)
            self.asked.append((self.at, left + 1))
            self.at += left
            if not left:
                return b""


@given(st.integers(5000, 25000), CALLS)
def test_requests_are_those_of_pythons_buffered_file(size, calls):
    """Whatever is asked for in whatever order, the requests are the ones that `io.BufferedReader` makes of a file of that size."""
    raw = Noting(size)
    real, ours = io.BufferedReader(raw, 4096), Buffered(size, 4096)
    for name, count in calls:
        if name == "read":
            real.read(count), ours.read(count)
        elif name == "readinto":
            real.readinto(bytearray(count)), ours.readinto(count)
        elif name == "seek":
            real.seek(count), ours.seek(count)
        elif name == "seek_end":
            real.seek(count, 2), ours.seek(count, from_end=True)
        else:
            real.read(), ours.read_all()
        assert ours.requests == raw.asked, (name, count)
