"""Programs that take rights, descriptors or space away from themselves run as they would, and what was recorded before stays."""

import ctypes
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from native_programs import needs_native, reads_of, record  # see there

pytestmark = needs_native
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this")
# A filter by number: `kill` or `refuse` (EPERM) for the calls named, all others allowed (x86-64).
SECCOMP = """
    import ctypes, struct
    libc = ctypes.CDLL(None, use_errno=True)
    def confine(action, *numbers, how):
        ret = {"kill": 0x80000000, "refuse": 0x00050001}[action]
        code = [(0x20, 0, 0, 0)]
        for place, number in enumerate(numbers): code.append((0x15, len(numbers) - place, 0, number))
        code += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, ret)]
        text = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in code))
        program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(text)))
        assert libc.prctl(38, 1, 0, 0, 0) == 0
        if how == "prctl": assert libc.prctl(22, 2, program, 0, 0) == 0
        else: assert libc.syscall(317, 1, 0, program) == 0
"""


def _data(directory: Path, size: int = 3000) -> Path:
    data = directory / "data.bin"
    data.write_bytes(bytes(size))
    return data


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the filter is written for x86-64")
@pytest.mark.parametrize("how", ["prctl", "syscall"])
@pytest.mark.parametrize("action", ["kill", "refuse"])
def test_a_seccomp_filter(tmp_path, action, how):
    """After a filter that kills on openat and fallocate the program reads on, unrecorded; the trace says why it ends there."""
    data = _data(tmp_path)
    program = textwrap.dedent(SECCOMP) + textwrap.dedent(f"""
        import os, sys
        fd = os.open(sys.argv[1], os.O_RDONLY)
        for number in range(100): os.pread(fd, 10, number)
        confine({action!r}, 257, 285, 267, 39, how={how!r})
        for number in range(60_000): assert os.pread(fd, 10, number % 1000) == bytes(10)
        print("done", flush=True); os._exit(0)
    """)
    done, trace = record(tmp_path, program, str(data), options=("--include", str(data)))
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert [read[0] for read in reads_of(trace, data)] == list(range(100))
    assert trace.trailer.coverage["confined"] == 1
    assert "seccomp filter" in trace.trailer.coverage["missing"]


def test_a_filter_that_is_refused_changes_nothing(tmp_path):
    """A call of prctl or seccomp that fails leaves the recording on."""
    data = _data(tmp_path)
    program = """
        import ctypes, os, sys
        libc = ctypes.CDLL(None, use_errno=True)
        fd = os.open(sys.argv[1], os.O_RDONLY)
        assert libc.prctl(22, 2, 0, 0, 0) == -1 and ctypes.get_errno() == 14
        assert libc.syscall(317, 1, 99, 0) == -1 and ctypes.get_errno() == 22
        libc.prctl(15, b"renamed", 0, 0, 0)
        assert open("/proc/self/comm").read() == "renamed\\n"
        os.read(fd, 10)
    """
    done, trace = record(tmp_path, program, str(data))
    assert done.returncode == 0, done.stderr
    assert (0, 10, 10) in reads_of(trace, data)
    assert "confined" not in trace.trailer.coverage


@needs_root
def test_another_root_and_another_user(tmp_path):
    """A process that changes its root and gives up its user reads on; what its chunk has room for is in the trace."""
    data = _data(tmp_path)
    program = """
        import os, sys
        fd = os.open(sys.argv[1], os.O_RDONLY)
        os.mkdir("jail"); os.chmod("jail", 0o777); os.chroot("jail"); os.chdir("/"); os.setgid(65534); os.setuid(65534)
        for number in range(40_000): assert os.pread(fd, 10, number % 1000) == bytes(10)
        with open("inside", "wb") as file: file.write(b"x" * 77)
        assert open("inside", "rb").read() == b"x" * 77
        if os.fork() == 0:
            for number in range(5000): os.pread(fd, 10, number % 1000)
            os._exit(0)
        assert os.wait()[1] == 0
        print("done")
    """
    done, trace = record(tmp_path, program, str(data), options=("--include", str(data)))
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    kept = len(reads_of(trace, data))
    assert 1000 < kept < 45_000
    assert kept + trace.trailer.lost >= 40_000


CLOSING = {
    "os.closerange": "os.closerange(3, 60000)",
    "close_range": "assert ctypes.CDLL(None).close_range(3, 2**31 - 1, 0) == 0",
    "closefrom": "ctypes.CDLL(None).closefrom(3)",
    "syscall(close_range)": "assert ctypes.CDLL(None).syscall(436, 3, 2**31 - 1, 0) == 0",
    "one by one": "[os.close(int(n)) for n in os.listdir('/proc/self/fd') if int(n) > 2 and os.path.exists(f'/proc/self/fd/{n}')]",
}


@pytest.mark.parametrize("way", CLOSING)
def test_closing_everything(tmp_path, way):
    """A program that closes all descriptors closes none that the recorder needs, and their numbers mean new files afterwards."""
    data, other = _data(tmp_path), tmp_path / "other.bin"
    other.write_bytes(bytes(500))
    program = f"""
        import ctypes, os, sys
        first = os.open(sys.argv[1], os.O_RDONLY); os.read(first, 100)
        ctypes.CDLL(None)
        {CLOSING[way]}
        fd = os.open(sys.argv[2], os.O_RDONLY)
        for number in range(12_000): os.pread(fd, 5, number % 100)
        os.read(fd, 11); os.read(fd, 12)
    """
    done, trace = record(tmp_path, program, str(data), str(other), options=("--include", str(tmp_path / "*.bin")))
    assert done.returncode == 0, done.stderr
    assert reads_of(trace, data) == [(0, 100, 100)]
    reads = reads_of(trace, other)
    assert len(reads) == 12_002
    assert reads[-2:] == [(0, 11, 11), (11, 12, 12)]
    assert trace.trailer.lost == 0


def test_calls_by_number(tmp_path):
    """What a program does through syscall() is seen like what it does through the functions of that name."""
    data = _data(tmp_path, 9000)
    program = """
        import ctypes, os, struct, sys
        libc = ctypes.CDLL(None, use_errno=True); libc.syscall.restype = ctypes.c_long
        path, call, room = sys.argv[1].encode(), libc.syscall, ctypes.create_string_buffer(4096)
        long = ctypes.c_long
        how = ctypes.create_string_buffer(struct.pack("<QQQ", os.O_RDWR, 0, 0))
        fd = call(437, -100, path, how, long(24))
        assert call(0, fd, room, long(10)) == 10
        assert call(9, None, long(4096), 1, 2, fd, long(4096)) > 0
        assert call(77, fd, long(8000)) == 0
        assert call(262, -100, path, room, 0) == 0
        assert call(332, -100, path, 0, 0x7ff, room) == 0
        where = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
        assert call(217, where, room, long(4096)) > 0
        assert call(82, path, path + b"2") == 0 and call(87, path + b"2") == 0
    """
    done, trace = record(tmp_path, program, str(data), options=("--include", str(tmp_path) + "*"))
    assert done.returncode == 0, done.stderr
    ops = [(op.op, op.offset, op.len) for op in trace if op.uri.endswith("/data.bin")]
    wanted = [("open", 0, 0), ("read", 0, 10), ("mmap", 4096, 4096), ("truncate", 0, 0), ("stat", 0, 0), ("stat", 0, 0)]
    assert [op for op in ops if op in wanted][: len(wanted)] == wanted
    assert {"list", "rename", "delete"} <= {op.op for op in trace}


@needs_root
def test_a_disk_that_is_full(tmp_path):
    """On a file system with no room left, records are lost and counted; stores into mapped chunks never fault."""
    data, small = _data(tmp_path), tmp_path / "small"
    small.mkdir()
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            import os, sys, threading
            from tracekit import _core
            _core.record_start(sys.argv[2], True, True, True)
            fd = os.open(sys.argv[1], os.O_RDONLY)
            def work():
                for number in range(10_000): assert os.pread(fd, 10, number % 1000) == bytes(10)
            threads = [threading.Thread(target=work) for _ in range(6)]
            [t.start() for t in threads]; work(); [t.join() for t in threads]
            with open(sys.argv[2] + "/filling", "wb", 0) as file:
                try:
                    while file.write(bytes(4096)): pass
                except OSError: pass
            work()
            if os.fork() == 0: work(); os._exit(0)
            assert os.wait()[1] == 0
            head = next(n for n in os.listdir(sys.argv[2]) if n.startswith(f"{os.getpid()}.") and n.endswith(".0.ops"))
            print(int.from_bytes(open(f"{sys.argv[2]}/{head}", "rb").read()[65536 + 40 : 65536 + 48], "little"))
        """)
    )
    command = f"mount -t tmpfs -o size=1m none {small} && exec {sys.executable} {program} {data} {small}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, timeout=600)
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("file systems cannot be mounted here")
    assert done.returncode == 0, done.stderr
    assert 30_000 < int(done.stdout) < 80_000


def test_nothing_of_this_depends_on_the_recorder(tmp_path):
    """The confining program itself ends the same way when nobody records it."""
    if os.uname().machine != "x86_64" or ctypes.sizeof(ctypes.c_void_p) != 8:
        pytest.skip("the filter is written for x86-64")
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent(SECCOMP)
        + "import os, sys\nfd = os.open(sys.argv[1], os.O_RDONLY)\nconfine('kill', 257, how='prctl')\n"
        "os.write(1, os.pread(fd, 10, 0))\nos.open(sys.argv[1], os.O_RDONLY)\n"
    )
    done = subprocess.run([sys.executable, str(script), str(_data(tmp_path))], capture_output=True, timeout=600)
    assert (done.returncode, done.stdout) == (-31, bytes(10))


@needs_native
def test_relative_names_keep_their_directory_where_a_chunk_ends(tmp_path):
    """Wherever a chunk of records becomes full, the next one says what relative names are relative to before the first."""
    program = """
        import os
        open("some_name_of_a_file.bin", "wb").write(bytes(100))
        for shift in range(4):
            if os.fork() == 0:
                for _ in range(shift):
                    os.stat(os.getcwd() + "/some_name_of_a_file.bin")
                for _ in range(2_500):
                    fd = os.open("some_name_of_a_file.bin", os.O_RDONLY)
                    os.pread(fd, 1, 0)
                    os.close(fd)
                os._exit(0)
            os.wait()
    """
    done, trace = record(tmp_path, program)
    assert done.returncode == 0, done.stderr
    opens = [op.uri for op in trace if op.op == "open" and op.uri.endswith("some_name_of_a_file.bin")]
    assert set(opens) == {f"file://{tmp_path}/some_name_of_a_file.bin"}
    assert len(opens) == 10_001
