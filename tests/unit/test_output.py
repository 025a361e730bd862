"""Output files: whole, or not there."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager

import pytest

from tracekit.errors import CannotRunError, InputError, OutputExistsError, refusal
from tracekit.output import check_output, make_directory, replacing, unwritten, write_text


def test_a_file_appears_when_it_is_complete(tmp_path):
    """Until the block ends the name shows the old content, then the new; nothing else stays."""
    path = tmp_path / "out"
    path.write_text("old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"

    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file(tmp_path, error):
    """Any exception, Ctrl-C too, leaves what stood there and no temporary file."""
    path = tmp_path / "out"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as file:
        file.write(b"half")
        raise error

    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    """SIGKILL in the middle of writing leaves the old content under the name."""
    path = tmp_path / "out"
    path.write_text("old")
    code = (
        "import sys, time\nfrom tracekit.output import replacing\n"
        "with replacing(sys.argv[1]) as file:\n file.write(b'half'); file.flush(); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGKILL)

    assert path.read_text() == "old"


def test_permissions_follow_the_umask(tmp_path):
    """The file has the permissions any new file would have, not those of a private temporary file."""
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "out", "ä")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640
    assert (tmp_path / "out").read_bytes() == "ä".encode()


def test_what_cannot_be_written_is_refused_first(tmp_path):
    """An existing file without force, a directory, and a missing directory are one sentence each."""
    (tmp_path / "taken").touch()
    with pytest.raises(OutputExistsError):
        check_output(tmp_path / "taken", force=False)
    with pytest.raises(InputError, match="is a directory"):
        check_output(tmp_path)
    with pytest.raises(InputError, match=r"the directory .* does not exist; create it"):
        check_output(tmp_path / "no" / "out")
    with pytest.raises(InputError, match="does not exist"), replacing(tmp_path / "taken" / "out"):
        pass
    check_output(tmp_path / "taken")


def test_a_directory_without_permission_is_refused(tmp_path, monkeypatch):
    """A directory one may not write is refused before the work (asked of the system, so that root can test it too)."""
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(CannotRunError, match="cannot be written; write somewhere else"):
        check_output(tmp_path / "out")


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path):
    """It is made with all above it and may be there already; a file in its place is refused with the way out."""
    make_directory(tmp_path / "a/b")
    make_directory(tmp_path / "a/b")
    assert (tmp_path / "a/b").is_dir()
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(InputError, match=r"cannot be made: .*; name another with -o"):
            make_directory(place, "name another with -o")


def test_a_wrong_name_is_the_input_s_fault_and_a_refusal_is_not():
    """What a directory cannot be called ends in 2; a missing permission and a full disk in 4, wherever they are met."""
    codes = {code: unwritten("x cannot be written", OSError(code, "why"), "y").exit_code for code in errno.errorcode}
    assert {codes[errno.ENOTDIR], codes[errno.ENAMETOOLONG], codes[errno.EISDIR]} == {2}
    assert {codes[errno.EACCES], codes[errno.EROFS], codes[errno.ENOSPC], codes[errno.EDQUOT], codes[errno.EIO]} == {4}


def test_a_long_name_still_gets_its_temporary_file(tmp_path):
    """A name as long as the file system allows can be written."""
    path = tmp_path / ("x" * 255)
    write_text(path, "x")

    assert path.read_text() == "x"


def test_a_link_is_replaced_where_it_points(tmp_path):
    """Writing to a symbolic link changes the file it points to and keeps the link."""
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_text(tmp_path / "link", "new")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_pipe_is_written_directly(tmp_path):
    """What is no regular file is written to, not renamed over, also without force (tested on a pipe of our own only)."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        try:
            write_text(pipe, "through", force=False)
            assert reader.communicate(timeout=600)[0] == b"through"
        finally:
            reader.kill()

    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_pipe_without_a_name_of_its_own_is_written_too():
    """The shell's `>(CMD)` is a link to something that no directory holds; it is written to like any pipe."""
    reader, writer = os.pipe()
    with open(reader, "rb") as heard:
        with open(writer, "wb"):
            write_text(f"/dev/fd/{writer}", "through")
        assert heard.read() == b"through"


@contextmanager
def files_of_at_most(size):
    """No file of this process may grow larger for the block."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_full_is_named(tmp_path):
    """Of several outputs the one that found no room, by the name that it was given by; nothing of it is left."""
    with files_of_at_most(10_000), pytest.raises(OSError, match="File too large") as caught:
        write_text(tmp_path / "report.html", "x" * 100_000)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / "report.html"))
    assert str(refusal(caught.value)).startswith(
        f"{tmp_path / 'report.html'} could not be written: File too large; make"
    )
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_device_is_named():
    """What is written to directly, too, also where it is noticed at the end only."""
    with pytest.raises(OSError, match="No space left") as caught:
        write_text("/dev/full", "x")
    assert caught.value.filename == "/dev/full"


def test_a_directory_without_room_for_a_name_is_named(tmp_path, monkeypatch):
    """Not the temporary file that could not be made there."""

    def refuse(**_):
        raise OSError(errno.ENOSPC, "No space left on device", "/x/.t.part")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(OSError, match="No space left") as caught:
        write_text(tmp_path / "t", "x")
    assert caught.value.filename == str(tmp_path / "t")
