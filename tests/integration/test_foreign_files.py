"""Files that the tools themselves wrote: counts and bytes are what each tool says of its own file."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tracekit import Op, Trace, formats
from tracekit.errors import InputError
from tracekit.formats import darshan_log, fio, imported
from tracekit.formats.darshan import Darshan
from tracekit.formats.dftracer import Dftracer
from tracekit.formats.fio import FioLog
from tracekit.formats.oplog import OpLog
from tracekit.formats.strace import Strace

# Reads at known places, through a fork, a thread, a copy of a descriptor and a pread, and prints them.
PROGRAM = """
import json, os, sys, threading
path, truth = sys.argv[1], []
fd = os.open(path, os.O_RDONLY)
def note(offset, asked, got):
    truth.append([offset, asked, len(got)])
note(0, 1000, os.read(fd, 1000))
note(1000, 500, os.read(os.dup(fd), 500))
os.lseek(fd, 70000, os.SEEK_SET)
note(70000, 4096, os.read(fd, 4096))
note(123, 77, os.pread(fd, 77, 123))
thread = threading.Thread(target=lambda: note(74096, 10, os.read(fd, 10)))
thread.start(); thread.join()
reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, json.dumps([74106, 20, len(os.read(fd, 20))]).encode())
    os._exit(0)
os.wait()
truth.append(json.loads(os.read(reader, 100)))
note(74126, 30, os.read(fd, 30))
os.lseek(fd, -5, os.SEEK_END)
note(99995, 100, os.read(fd, 100))
with open(path, "rb", buffering=0) as file:
    note(0, 8, file.read(8))
print(json.dumps(truth))
"""


@pytest.fixture(scope="session")
def shared(repository):
    """Other people's traces, where they lie beside the checkout."""
    place = repository.parent / "shared" / "traces"
    if not place.is_dir():
        pytest.skip("no shared/traces beside the checkout")
    return place


def events_of(path):
    """The events of a .pfw file, read with the standard library alone."""
    with gzip.open(path, "rt") as file:
        for line in file:
            text = line.strip().rstrip(",")
            if text.startswith("{"):
                yield json.loads(text)


@pytest.mark.parametrize("name", ["test-trace.pfw.gz", "test.pfw.gz"])
def test_real_dftracer_files(shared, name):
    """Every read, its bytes and its file are those of the events; every offset is found."""
    path = shared / "dftracer" / name
    trace = imported.load(Dftracer(str(path)))
    reads = [event for event in events_of(path) if event["cat"] == "POSIX" and event["name"] == "read"]

    mine = trace.select(trace.mask("op", "read"))
    assert len(mine) == len(reads) > 0
    assert int(mine.col("ret").sum()) == sum(int(event["args"]["ret"]) for event in reads)
    assert {mine.uris[code] for code in mine.col("uri")} == {f"file://{event['args']['fname']}" for event in reads}
    assert int((mine.col("offset") < 0).sum()) == 0


def test_a_real_dftracer_file_of_spans_alone_is_refused(shared):
    """DLIO's events of its own calls are no reads of files: none of them is of POSIX, and the sentence says that there is no op."""
    path = shared / "made_here" / "dlio200_unet3d_8files.pfw.gz"
    events = list(events_of(path))

    assert [event["cat"] for event in events if event["cat"] == "POSIX"] == []
    with pytest.raises(InputError, match="holds no op that could be imported as dftracer"):
        imported.load(Dftracer(str(path)))


def test_offsets_of_a_real_dftracer_file_follow_its_seeks(shared):
    """The reads of each file and thread begin where its lseek events, followed one by one, say that they do."""
    path = shared / "dftracer" / "test-trace.pfw.gz"
    position, expected = {}, []
    for event in events_of(path):
        if event["cat"] != "POSIX":
            continue
        args, key = event["args"], (event["tid"], event["args"].get("fname"))
        if event["name"] == "open64":
            position[key] = 0
        elif event["name"] == "lseek64":
            position[key] = int(args["ret"])
        elif event["name"] == "read":
            expected.append((int(event["tid"]), args["fname"], position[key], int(args["ret"])))
            position[key] += int(args["ret"])
    trace = imported.load(Dftracer(str(path)))
    found = [(op.tid, op.uri.removeprefix("file://"), op.offset, op.ret) for op in trace if op.op == "read"]

    assert Counter(found) == Counter(expected)


def test_a_real_strace_file(shared):
    """Finished reads and their bytes are those that grep finds; what is cut off is counted, not guessed."""
    path = shared / "made_here" / "dlio200_unet3d_8files.strace.gz"
    with gzip.open(path, "rt") as file:
        lines = file.read().splitlines()
    whole = [line for line in lines if " read(" in line and "unfinished" not in line]
    trace = imported.load(Strace(str(path)))

    assert sum(op.op == "read" for op in trace) == len(whole)
    assert trace.trailer.bytes == sum(int(line.rsplit(" = ", 1)[1].split()[0]) for line in whole)
    left = trace.trailer.coverage["left_out"]["calls whose end is not in the file"]
    assert left == sum("unfinished" in line for line in lines) - sum("resumed" in line for line in lines)


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("options", [["-y"], ["-yy"], []], ids=["-y", "-yy", "no names"])
def test_strace_of_a_program_that_knows_what_it_reads(tmp_path, options):
    """Offsets, lengths and results are the program's own, through fork, threads, copies and seeks."""
    data = tmp_path / "data.bin"
    data.write_bytes(os.urandom(100_000))
    run = subprocess.run(
        ["strace", "-f", "-ttt", "-T", *options, "-o", "calls", sys.executable, "-c", PROGRAM, str(data)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    truth = [tuple(row) for row in json.loads(run.stdout)]
    trace = imported.load(Strace("calls"))
    found = [(op.offset, op.len, op.ret) for op in trace if op.op == "read" and op.uri == f"file://{data}"]

    assert Counter(found) == Counter(truth)


def test_real_darshan_logs():
    """Segments, bytes and files of DXT are what the darshan package counts; a log of counters alone is refused."""
    darshan = pytest.importorskip("darshan", reason="darshan is not installed")
    examples = Path(darshan.__file__).parent / "examples" / "example_logs"
    trace = imported.load(Darshan(str(examples / "dxt.darshan")))
    report = darshan.DarshanReport(str(examples / "dxt.darshan"), read_all=False)
    report.mod_read_all_dxt_records("DXT_POSIX", dtype="pandas")
    records = list(report.records["DXT_POSIX"])

    for op in ("read", "write"):
        frames = [record[f"{op}_segments"] for record in records]
        assert int(trace.mask("op", op).sum()) == sum(map(len, frames))
        assert int(trace.col("len")[trace.mask("op", op)].sum()) == sum(
            int(f["length"].sum()) for f in frames if len(f)
        )
    assert trace.header.clock["t0_unix_ns"] // 10**9 == report.metadata["job"]["start_time_sec"]
    with pytest.raises(InputError, match="has no DXT records, only counters"):
        Darshan(str(examples / "noposix.darshan"))


def test_real_traces_take_ten_bytes_an_op_in_parquet(shared, tmp_path):
    """Whole files, footer included, with every column that the sources fill."""
    darshan = pytest.importorskip("darshan", reason="darshan is not installed")
    dxt = Path(darshan.__file__).parent / "examples" / "example_logs" / "dxt.darshan"
    for number, path in enumerate(
        [shared / "dftracer" / "test-trace.pfw.gz", shared / "dftracer" / "test.pfw.gz", dxt]
    ):
        trace = formats.load(path)
        formats.save(trace, tmp_path / f"{number}.parquet")
        assert (tmp_path / f"{number}.parquet").stat().st_size <= 10 * len(trace), path.name
        assert list(formats.load(tmp_path / f"{number}.parquet")) == list(trace)


@pytest.mark.parametrize("name", ["dxt", "ior_hdf5_example", "noposix"])
def test_darshan_logs_without_the_whole_package(name):
    """The package's library alone gives what the package gives: job, names, and segments to the last bit."""
    darshan = pytest.importorskip("darshan", reason="darshan is not installed")
    folder = Path(darshan.__file__).parent
    path = str(folder / "examples" / "example_logs" / f"{name}.darshan")
    quick, whole = io.BytesIO(), io.BytesIO()
    darshan_log._write(darshan_log._Quick(darshan_log._Library.of(str(folder)), path), quick)
    darshan_log._write(darshan_log._Whole(path), whole)

    assert quick.getvalue() == whole.getvalue()


def test_a_darshan_package_that_is_not_as_known_does_it_all(tmp_path):
    """Where its declarations are not found, the package itself is asked: the log is read all the same."""
    darshan = pytest.importorskip("darshan", reason="darshan is not installed")
    path = Path(darshan.__file__).parent / "examples" / "example_logs" / "ior_hdf5_example.darshan"
    code = "import sys\nsys.path.insert(0, {!r})\nimport darshan_log as it\nit._STRUCTS = ('gone',)\nsys.exit(it.main(*sys.argv[1:]))"
    asked = []
    for program in (["-c", code.format(str(Path(darshan_log.__file__).parent))], [darshan_log.__file__]):
        out = tmp_path / str(len(asked))
        subprocess.run([sys.executable, *program, str(path), str(out)], check=True)
        asked.append(out.read_bytes())

    assert asked[0] == asked[1]
    assert asked[0].startswith(b'{"module": "DXT_POSIX"')


def test_a_real_s3dlio_log(tmp_path):
    """What s3dlio logs of a session is imported row by row, with its bytes."""
    s3dlio = pytest.importorskip("s3dlio", reason="s3dlio is not installed")
    code = f"""
import s3dlio
s3dlio.init_op_log({str(tmp_path / "log.tsv.zst")!r})
s3dlio.put_bytes("file://{tmp_path}/a.bin", b"x" * 50000)
for start in range(0, 50000, 1000):
    s3dlio.get_range("file://{tmp_path}/a.bin", start, 1000)
s3dlio.get("file://{tmp_path}/a.bin")
s3dlio.stat("file://{tmp_path}/a.bin")
s3dlio.finalize_op_log()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    trace = imported.load(OpLog(str(tmp_path / "log.tsv.zst")))

    assert s3dlio
    assert Counter(op.op for op in trace) == {"read": 51, "write": 1, "stat": 1}
    assert trace.trailer.bytes == 150_000
    assert {op.uri for op in trace} == {f"file://{tmp_path}/a.bin"}
    assert trace.header.producer["null"]["offset"] == 50


needs_fio = pytest.mark.skipif(not shutil.which("fio"), reason="fio is not installed")


@needs_fio
def test_a_log_that_fio_wrote(tmp_path):
    """Ops and bytes by kind are what fio reports of the job whose log it is."""
    job = subprocess.run(
        ["fio", "--name=j", "--ioengine=psync", "--size=2m", "--bs=64k", "--rw=randrw", f"--directory={tmp_path}",
         f"--write_iolog={tmp_path}/log", "--output-format=json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = json.loads(job.stdout)["jobs"][0]
    trace = imported.load(FioLog(str(tmp_path / "log")))

    for op in ("read", "write"):
        assert int(trace.mask("op", op).sum()) == said[op]["total_ios"]
        assert int(trace.col("len")[trace.mask("op", op)].sum()) == said[op]["io_bytes"]


@needs_fio
def test_fio_replays_what_is_exported(tmp_path):
    """The real fio takes our log and does its reads and writes."""
    data = tmp_path / "data.bin"
    data.write_bytes(bytes(1 << 20))
    uri = f"file://{data}"
    trace = Trace.of(
        [Op(uri, i * 4096, 4096, i * 1000, ret=4096) for i in range(50)] + [Op(uri, 0, 512, 60_000, "write")]
    )
    with fio.writing(tmp_path / "log") as writer:
        writer.whole(trace)
    job = subprocess.run(
        ["fio", "--name=j", "--ioengine=psync", f"--read_iolog={tmp_path}/log", "--output-format=json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = json.loads(job.stdout)["jobs"][0]

    assert (said["read"]["total_ios"], said["read"]["io_bytes"]) == (50, 50 * 4096)
    assert (said["write"]["total_ios"], said["write"]["io_bytes"]) == (1, 512)
