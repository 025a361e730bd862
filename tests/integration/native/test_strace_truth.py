"""The ground truth itself: what strace wrote becomes ops with offsets as the kernel would have them."""

import os
import sys
from collections import Counter

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from strace_truth import compare, ops

LOG = """
7 1.0 openat(AT_FDCWD</d>, "a", O_RDONLY) = 3</d/a>
7 1.1 read(3</d/a>, ""..., 10)  = 10
7 1.2 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD) = 8
8 1.3 read(3</d/a>, ""..., 5)   = 5
8 1.4 dup2(3</d/a>, 9)          = 9</d/a>
8 1.5 lseek(9</d/a>, 100, SEEK_SET) = 100
7 1.6 readv(3</d/a>, [{iov_base=""..., iov_len=3}, {iov_base=""..., iov_len=4}], 2 <unfinished ...>
8 1.7 openat(AT_FDCWD</d>, "b", O_WRONLY|O_CREAT|O_TRUNC|O_APPEND, 0666) = 3</d/b>
7 1.8 <... readv resumed>)      = 7
8 1.9 write(3</d/b>, ""..., 6)  = 6
8 2.0 openat(AT_FDCWD</d>, "b", O_WRONLY|O_APPEND) = 4</d/b>
8 2.1 write(4</d/b>, ""..., 2)  = 2
7 2.2 pread64(3</d/a>, ""..., 50, 1000) = 0
7 2.3 pread64(3</d/a>, 0x7f, 50, -1) = -1 EINVAL (Invalid argument)
7 2.4 copy_file_range(3</d/a>, [20] => [25], 5</d/c>, NULL, 9, 0) = 5
7 2.5 clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_THREAD, exit_signal=0} => {parent_tid=[10]}, 88) = 10
10 2.6 read(3</d/a>, ""..., 1)  = 1
7 2.7 mmap(NULL, 8192, PROT_READ, MAP_SHARED, 3</d/a>, 0x1000) = 0x7f0000000000
7 2.8 read(0<pipe:[5]>, ""..., 1) = 1
7 2.9 +++ exited with 0 +++
"""
EXPECTED = [
    ("open", "a", 0, 0, 0), ("read", "a", 0, 10, 10), ("read", "a", 10, 5, 5), ("open", "b", 0, 0, 0),
    ("read", "a", 100, 7, 7), ("write", "b", 0, 6, 6), ("open", "b", 0, 0, 0), ("write", "b", 6, 2, 2),
    ("read", "a", 1000, 50, 0), ("read", "a", 20, 9, 5), ("write", "c", None, 5, 5), ("read", "a", 107, 1, 1),
    ("mmap", "a", 4096, 8192, 8192),
]  # fmt: skip


def _truth(tmp_path) -> Counter:
    log = tmp_path / "log"
    log.write_text(LOG.replace("/d", str(tmp_path)))
    return ops(log, tmp_path)


def test_positions_are_followed_as_the_kernel_does(tmp_path):
    """Copies, forked children and threads move one position; appending goes to the end; what came otherwise has none."""
    assert _truth(tmp_path) == Counter((kind, f"{tmp_path}/{name}", *rest) for kind, name, *rest in EXPECTED)


@pytest.mark.parametrize("part", range(5))
def test_any_difference_is_found(tmp_path, part):
    """An op that is missing, or has another file, offset, length or result, is missing and invented."""
    truth = _truth(tmp_path)
    wrong = ("read", f"{tmp_path}/a", 10, 5, 5)
    trace = truth - Counter([wrong])
    assert compare(truth, trace).of("read")[2:] == (1, 5)
    changed = (*wrong[:part], "x" if isinstance(wrong[part], str) else wrong[part] + 1, *wrong[part + 1 :])
    coverage = compare(truth, trace + Counter([changed]))
    assert (coverage.missing, coverage.invented) == (Counter([wrong]), Counter([changed]))


def test_an_op_told_twice_is_invented(tmp_path):
    """What is in the trace twice and in the truth once does not pass; an unknown offset matches any."""
    truth = _truth(tmp_path)
    unknown = ("write", f"{tmp_path}/c", None, 5, 5)
    trace = truth - Counter([unknown]) + Counter([("write", f"{tmp_path}/c", 77, 5, 5)])
    assert (compare(truth, trace).missing, compare(truth, trace).invented) == ({}, {})
    twice = Counter([("read", f"{tmp_path}/a", 10, 5, 5)])
    assert compare(truth, trace + twice).invented == twice
