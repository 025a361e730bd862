"""The core's reader of strace's text gives and says exactly what the readable one gives and says, on any input."""

import random
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
from drivers import sanitized
from strace_machine import ByRows, printed

from tracekit.errors import TracekitError
from tracekit.formats import foreign_lines, imported
from tracekit.formats.strace import READS, Strace

pytest.importorskip("tracekit._core", reason="the native core is not built here")

LINES = rb"""
openat(AT_FDCWD</w>, "a\303\251/../b", O_RDWR|O_CREAT|O_APPEND, 0666) = 3</w/b> <0.000007>
openat(AT_FDCWD</w>, "a", O_WRONLY|O_DIRECT|O_SYNC|O_TRUNC) = 4 <0.000007>
openat(5</w\x20x>, ".././../y/./z", O_RDONLY) = 3</w/d\\ (deleted)> <0.000007>
open("/dev/null", O_RDWR) = 5</dev/null<char 1:3>> <0.000001>
openat2(AT_FDCWD, "rel", {flags=O_RDONLY|O_CLOEXEC, resolve=0}, 24) = 6 <0.1>
creat("/w/c", 0600) = 7 <0.000001>
openat(AT_FDCWD</w>, "none", O_RDONLY) = -1 ENOENT (No such file or directory) <0.000002>
read(3</w/b>, "\0\1ab\"), 7) = 9"..., 100) = 60 <0.000120>
read(3, ""..., 10) = 10 <1.5>
read(9, "", 1) = 0
read(4</w/a>(deleted), "", 18446744073709551615) = -1 EFAULT (Bad address) <0.000001>
readv(3</w/b>, [{iov_base="a", iov_len=5}, {iov_base="b", iov_len=7}], 2) = 9 <0.000009>
pread64(3</w/b>, "x"..., 4096, 8192) = 4096 <0.000003>
pread64(3</w/b>, "x"..., 0x1000, -5) = -1 EINVAL (Invalid argument) <0.000003>
preadv2(3</w/b>, [{iov_base="a", iov_len=5}], 1, 77, RWF_HIPRI) = 5 <0.000004>
write(4</w/a>, "data"..., 50) = 50 <0.000005>
pwrite64(7</w/c>, "data", 4, 9223372036854775807) = 4 <0.000005>
pwritev(7</w/c>, [{iov_base="a", iov_len=4}], 1, 12) = ? ERESTARTSYS (To be restarted) <0.000005>
lseek(3</w/b>, 5, SEEK_CUR) = 70 <0.000001>
lseek(3, -1, SEEK_SET) = -1 EINVAL (Invalid argument) <0.000001>
dup(3</w/b>) = 8</w/b> <0.000001>
dup2(3, 4) = 4 <0.000001>
fcntl(3</w/b>, F_DUPFD_CLOEXEC, 0) = 9</w/b> <0.000001>
fcntl(3</w/b>, F_GETFL) = 0x8000 (flags O_RDONLY|O_LARGEFILE) <0.000001>
close(3</w/b>) = 0 <0.000001>
close(8) = -1 EBADF (Bad file descriptor) <0.000001>
close_range(3, 4294967295, 0) = 0 <0.000001>
close_range(4, 6, CLOSE_RANGE_UNSHARE|CLOSE_RANGE_CLOEXEC) = 0 <0.000001>
fsync(4</w/a>) = 0 <0.010001>
getdents64(3</w>, 0x55d0 /* 9 entries */, 32768) = 240 <0.000011>
newfstatat(AT_FDCWD</w>, "x/../y", {st_mode=S_IFREG|0644, st_size=12, ...}, 0) = 0 <0.000002>
newfstatat(3</w/b>, "", {st_mode=S_IFREG|0644, st_size=12, ...}, AT_EMPTY_PATH) = 0 <0.000002>
unlink("/w/b") = 0 <0.000002>
rename("a", "b") = 0 <0.000002>
sendfile(1<socket:[1]>, 3</w/b>, [64] => [164], 100) = 100 <0.000002>
sendfile(4</w/a>, 3, NULL, 100) = 100 <0.000002>
copy_file_range(3</w/b>, [0] => [10], 4</w/a>, NULL, 9223372035781033984, 0) = 10 <0.000002>
splice(3</w/b>, NULL, 6<pipe:[8]>, NULL, 100, 0) = 100 <0.000002>
mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3</w/b>, 0x1000) = 0x7f00 <0.000001>
mmap(NULL, 4096, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f00 <0.000001>
fadvise64(3</w/b>, 0, 0, POSIX_FADV_SEQUENTIAL) = 0 <0.000001>
read(6<pipe:[8]>, "x", 1) = 1 <0.000001>
recvfrom(7<TCP:[127.0.0.1:1->127.0.0.1:2]>, "x", 1, 0, NULL, NULL) = 1 <0.000001>
futex(0x7f, FUTEX_WAIT, 2, NULL) = 0 <0.000001>
execve("/bin/x", ["x", "3"], 0x7f /* 3 vars */) = 0 <0.000001>
clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD) = 8 <0.000001>
clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD, exit_signal=0} => {parent_tid=[9]}, 88) = 9 <0.000001>
clone(child_stack=0x1, flags=CLONE_VM|CLONE_FILES|SIGCHLD) = 10 <0.000001>
vfork() = 11 <0.000001>
fork() = -1 EAGAIN (Resource temporarily unavailable) <0.000001>
--- SIGCHLD {si_signo=SIGCHLD, si_pid=8} ---
+++ exited with 0 +++
+++ killed by SIGKILL +++
+++ superseded by execve in pid 8 +++
exit_group(0) = ?
read(3</w/b>, <unfinished ...>
clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD} <unfinished ...>
vfork( <unfinished ...>
<... read resumed>"x"..., 4096) = 4096 <0.000120>
<... clone3 resumed> => {parent_tid=[9]}, 88) = 9 <0.000001>
<... vfork resumed>) = 11 <0.000001>
""".strip().split(b"\n")
# What only several lines together show: (thread, call).
SCENES = {
    "a table is shared no more": [
        (7, 'openat(AT_FDCWD</w>, "a", O_RDONLY) = 3'), (7, "clone(child_stack=0x1, flags=CLONE_VM|CLONE_FILES|SIGCHLD) = 8"),
        (8, "close_range(3, 9, CLOSE_RANGE_UNSHARE) = 0"), (7, 'read(3, "", 5) = 5'), (8, 'read(3, "", 5) = 5'),
    ],
    "what is appended has no place": [
        (7, 'openat(AT_FDCWD</w>, "a", O_RDWR|O_APPEND) = 3</w/a>'), (7, 'write(3, "", 5) = 5'), (7, 'read(3, "", 5) = 5'),
        (7, "lseek(3, 0, SEEK_END) = 10"), (7, 'read(3, "", 5) = 5'), (7, 'write(3, "", 5) = 5'),
    ],
    "a number is given again": [
        (7, 'openat(AT_FDCWD</w>, "a", O_RDONLY) = 3</w/a>'), (7, "clone3({flags=CLONE_VM|CLONE_THREAD}) = 8"),
        (8, 'read(3, "", 5) = 5'), (8, "+++ exited with 0 +++"), (7, "vfork( <unfinished ...>"), (8, 'read(3, "", 5) = 5'),
        (7, "<... vfork resumed>) = 8"), (8, 'read(3, "", 5) = 5'), (8, "+++ exited with 0 +++"),
        (7, "clone(flags=SIGCHLD) = 8"), (8, 'read(3, "", 5) = 5'),
    ],
    "names that lead to devices": [
        (7, 'stat("/w/a", {}) = 0'), (7, 'newfstatat(AT_FDCWD</w>, "../dev/x", {}, 0) = 0'), (7, 'unlinkat(3</>, "./dev/../w/./b/..", 0) = 0'),
        (7, 'unlinkat(3<w>, "../../b", 0) = 0'), (7, 'read(3</dev/urandom<char 1:9>>, "", 5) = 5'), (7, 'read(4</w/a<char 1:9>>, "", 5) = 5'),
    ],
    "numbers of other kinds": [
        (7, 'read(3</w/a>, "", 010) = 5'), (7, 'read(3</w/a>, "", 0x10) = 5'), (7, 'read(3</w/a>, "",  7 ) = 5'), (7, 'read(3</w/a>, "", x) = 5'),
        (7, "readv(3</w/a>, [{iov_len=9999999999999999999}, {iov_len=5}], 2) = 5"), (7, 'pread64(3</w/a>, "", 5, 99999999999999999999) = 5'),
        (7, "lseek(3</w/a>, 0, SEEK_END) = 4611686018427387904"), (7, 'read(3</w/a>, "", 5) = 5'), (7, 'read(3</w/a>, "", 5) = 5'),
        (7, 'read(3</w/a>, "", 5) = 99999999999999999999'), (7, 'read(3</w/a>, "", 5) = 5 <4611686018.000000001>'),
        (7, 'read(3</w/a>, "", 5) = 5 <99999999999999999999.5>'), (7, 'read(3</w/a>, "", 5) = 5 <0.1234567890>'),
    ],
    "brackets hold together": [
        (7, "splice(3</w/a>, [1, 2], 4</w/b>, NULL, 9, 0) = 9"), (7, "copy_file_range(3</w/a>, [5], 4</w/b>, [6], 9, 0) = 9"),
        (7, "mmap(NULL, 4096, [a, b], MAP_PRIVATE, 3</w/a>, 0x1000) = 0x7f"), (7, "mmap(NULL, 4096, a], MAP_PRIVATE, 3</w/a>, 0) = 0x7f"),
    ],
}  # fmt: skip
SPITE = [
    b"<", b">", b"(", b")", b"[", b"]", b'"', b"\\", b", ", b",", b" ", b"=", b"?", b"-", b"-1", b"0", b"0x", b"9" * 19, b"9" * 31, b"\t",
    b"\r", b"\n", b"\0", b"\xff", b" = 5", b") = 3</w/q", b" (deleted)", b"/", b"//", b"../", b"\\0", b"\\x41", b"\\400", b"O_APPEND",
    b" <unfinished ...>", b"<... read resumed>", b"[pid  7] ", b"+++", b"---", b"strace: ", b" <0.1>", b".", b"_", b"4611686018427387904",
]  # fmt: skip
STAMPS = [
    b"1700000000.%06d",
    b"1700000000.%06d",
    b"1700000000.%06d",
    b"12:01:02.%06d",
    b"99999999999999.%06d",
    b"%d",
    b"0.%06d",
]


def drawn(rng):
    """A file of a few lines, each perhaps damaged, of a few threads."""
    out = []
    for number in range(rng.randint(1, 25)):
        line = rng.choice(LINES)
        cut = rng.randrange(len(line)) if rng.random() < 0.15 else None
        stamp = rng.choice(STAMPS if rng.random() < 0.1 else STAMPS[:1]) % number
        who = rng.choice([b"7 ", b"8 ", b"9 ", b"10 ", b"11 ", b"[pid     8] ", b""])
        body = line if cut is None else line[:cut] + b" <unfinished ...>"
        out.append(edited(who + stamp + b" " + body, rng) if rng.random() < 0.3 else who + stamp + b" " + body)
    return b"\n".join(out) + b"\n" * rng.randint(0, 2)


def edited(line, rng):
    """A line with one to three of its places changed."""
    for _ in range(rng.randint(1, 3)):
        at, length = rng.randrange(len(line) + 1), rng.choice([0, 0, 1, 3])
        line = line[:at] + rng.choice([*SPITE, b"", b""]) + line[at + length :]
    return line


def outcome(reader, path, *, skip_bad):
    """What reading gives: ops, header, trailer and warnings, or the error's text."""
    try:
        trace = imported.load(reader(str(path), skip_bad=skip_bad))
    except TracekitError as error:
        return str(error)
    # What was left out stands in the trailer; the warning has it in an order of its own where counts are equal.
    warnings = [warning for warning in trace.warnings if "left out as no op" not in warning]
    return [list(trace), replace(trace.header, created=""), trace.trailer, warnings]


def assert_same(path, block, *, skip_bad):
    """Both readers agree on a file that is read in blocks of this size."""
    before, foreign_lines._BLOCK_BYTES = foreign_lines._BLOCK_BYTES, block
    try:
        ours, theirs = (outcome(reader, path, skip_bad=skip_bad) for reader in (Strace, ByRows))
    finally:
        foreign_lines._BLOCK_BYTES = before
    assert ours == theirs, path.read_bytes()


@given(random=st.randoms(use_true_random=False), names=st.booleans(), block=st.sampled_from([100, 1000, 1 << 20]))
def test_runs_of_a_small_kernel_are_read_alike(random, names, block, tmp_path_factory):
    """Threads, forks and calls cut in two, in blocks that end anywhere: every op, and all that is counted."""
    _, path = printed(random, tmp_path_factory.mktemp("strace"), names=names)
    assert_same(path, block, skip_bad=False)


@pytest.mark.parametrize("seconds", [0, pytest.param(60, marks=pytest.mark.long)])
def test_damaged_files_are_read_alike(tmp_path, seconds):
    """Three hundred files, or as many as a minute takes, of every kind of call and every kind of damage."""
    seed = random.randrange(2**32) if seconds else 20_26
    rng, count, until = random.Random(seed), 0, time.monotonic() + seconds
    while count < 300 or time.monotonic() < until:
        (tmp_path / "f").write_bytes(drawn(rng))
        assert_same(tmp_path / "f", rng.choice([40, 300, 1 << 20]), skip_bad=rng.random() < 0.8)
        count += 1


def test_every_kind_of_call_is_among_the_lines():
    """What the importer knows is what the other tests damage: each name of a read, and each line as it stands gives no bad one."""
    known = {re.match(rb"\w*", line)[0] for line in LINES}

    assert {b"read", b"readv", b"pread64", b"preadv2"} <= known & set(READS)


def test_each_line_is_read_alike_as_it_stands(tmp_path):
    """One by one, and all in one file."""
    stamped = [b"7 1700000000.%06d %s\n" % (number, line) for number, line in enumerate(LINES)]
    for text in [*stamped, b"".join(stamped), b"".join(stamped) * 3]:
        (tmp_path / "f").write_bytes(text)
        assert_same(tmp_path / "f", 1 << 20, skip_bad=True)


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
@pytest.mark.parametrize("block", [60, 1 << 20])
def test_scenes_are_read_alike(tmp_path, scene, block):
    """What hangs on lines before, on odd numbers and on odd names; strace's own words between them are nothing."""
    lines = [
        f"{tid} 1700000000.{number:06d} {call}\nstrace: Process {tid} attached\n"
        for number, (tid, call) in enumerate(scene)
    ]
    (tmp_path / "f").write_text("".join(lines))
    assert_same(tmp_path / "f", block, skip_bad=False)
    assert len(imported.load(Strace(str(tmp_path / "f")))) > 1


def test_thousands_that_fork_at_once_are_nothing_special(tmp_path):
    """Each is the child of the one before, whose fork has not ended, and has its descriptors: nobody is looked for among all."""
    first = '7 1700000000.5 openat(AT_FDCWD</w>, "a", O_RDONLY) = 3</w/a> <0.1>\n'
    forks = "".join(f"{number} 1700000000.5 vfork( <unfinished ...>\n" for number in range(8, 50_000))
    (tmp_path / "f").write_text(
        f'{first}7 1700000000.5 vfork( <unfinished ...>\n{forks}49999 1700000001.5 read(3, "", 1) = 1 <0.1>\n'
    )

    ops = [(op.op, op.pid, op.uri) for op in imported.load(Strace(str(tmp_path / "f")))]
    assert ops == [("open", 7, "file:///w/a"), ("read", 49_999, "file:///w/a")]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc here")
def test_the_reader_is_clean_under_sanitizers(repository, tmp_path):
    """Damaged files in blocks of exact size, under ASan and UBSan: no access outside, no leak, no undefined behaviour."""
    parts = ("strace", "strace_threads", "strace_calls", "strace_files", "strace_words", "intmap", "strings")
    driver, rng = sanitized(repository, tmp_path / "driver", "strace", parts), random.Random(7)
    files = b"".join(b"%d\n%s" % (len(text), text) for text in (drawn(rng) for _ in range(1000)))
    done = subprocess.run([str(driver)], input=files, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    read, ops, bad = map(int, done.stdout.split())
    assert read == 1000
    assert min(ops, bad) > 400
