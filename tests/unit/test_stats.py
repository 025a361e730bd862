"""`tracekit stats`: text, JSON, CSV, Markdown, and what it says about bad input."""

from __future__ import annotations

import json

import pytest

from tracekit import Header, Mark, Op, Trace, Trailer, cli, formats
from tracekit.analysis.snapshot import Analysis
from tracekit.metrics import Metrics
from tracekit.testing import MS, training_trace
from tracekit.verbs import stats_text


@pytest.fixture
def trace_file(tmp_path):
    """A full trace on disk."""
    path = tmp_path / "t.jsonl"
    formats.save(training_trace(wait_ns=2 * MS), path)
    return str(path)


def test_the_text_names_what_matters(trace_file, capsys):
    """Ops, bytes, files, sizes, service time, queue depth, starvation and order are in the text; next comes last."""
    assert cli.main(["stats", trace_file]) == 0
    found = capsys.readouterr()

    assert found.out.splitlines()[0] == f"{trace_file}: 288 ops, 9.16 MiB from 48 files in 163 ms"
    for text in (
        "yes: trailer present, no op lost",
        "96 short reads, 96 reads that returned nothing",
        "2 that moved data in 2 processes, 2 loader workers (busiest 1.00 × mean)",
        "100.0 %  288",
        "p50 200 µs",
        "max 1, mean 0.35",
        "23 of 23 (100.0 %): wait > max(1 ms, 5 % of compute)",
        "28.6 % of the time (without 1 first step)",
        "66.7 % within files",
    ):
        assert text in found.out, text
    assert found.err == f"next: tracekit replay {trace_file}\n"


def test_json_is_the_snapshot_and_the_analysis(trace_file, capsys):
    """--json prints Metrics.to_json with the analysis under a key of its own, and nothing else."""
    assert cli.main(["stats", trace_file, "--json"]) == 0
    found = capsys.readouterr()

    trace = formats.load(trace_file)
    expected = Metrics.of(trace).to_json() | {"analysis": Analysis.of(trace).to_json()}
    assert json.loads(found.out) == json.loads(json.dumps(expected))
    assert found.err == ""


def read(name, block, at, took=100_000, **rest):
    """A read of a block of 64 KiB, at microseconds."""
    size = 65_536
    return Op(f"file:///data/{name}", block * size, size, at * 1000, t_complete=at * 1000 + took, ret=size, **rest)


def test_what_stands_out_is_said(tmp_path, capsys):
    """A hot file read again and again, a slow moment, a busy worker and a checkpoint are named, each in a line."""
    ops = [read("hot.bin", i % 8, i * 1000, pid=1, tid=1, worker=0) for i in range(800)]
    ops += [read(f"f{i}.bin", 0, 800_000 + i * 1000, pid=1, tid=2, worker=1) for i in range(190)]
    ops += [read("slow.bin", i, 990_000 + i * 1000, 50_000_000, pid=1, tid=2, worker=1) for i in range(10)]
    ops.append(Op("file:///ck", 0, 8 << 20, 2 * 10**9, "write", 2 * 10**9 + 10**8, 8 << 20, pid=1, tid=1, worker=0))
    formats.save(Trace.of(ops, marks=[Mark("checkpoint", 2 * 10**9, 21 * 10**8)]), tmp_path / "t.jsonl")

    assert cli.main(["stats", str(tmp_path / "t.jsonl")]) == 0
    section = capsys.readouterr().out.split("what stands out")[1].split("\nrecorded")[0]
    lines = dict(line.strip().split("  ", 1) for line in section.splitlines()[1:])
    found = {label: text.strip() for label, text in lines.items()}

    assert found["hot file"] == "71 % of all bytes: file:///data/hot.bin"
    assert found["read again"] == "every byte 4.8 times: 62.5 MiB of 13 MiB (how far the files were read)"
    assert found["page cache"] == "512 KiB would serve 71 % of reads, 13 MiB all that come again (79 %)"
    assert "91 % file:///data/slow.bin (91 × its share)" in found["slowest 1 %"]
    assert found["uneven"] == "the busiest of 2 workers moved 1.6 × the mean"
    assert found["checkpoints"] == "1 burst of writing, 8 MiB, up to 83.9 MB/s, at 2.0 s"
    assert found["storage busy"].startswith("12 % of the time, longest pause 951 ms")


def test_what_does_not_stand_out_is_not_said(tmp_path, capsys):
    """Files read once, evenly and equally fast, have nothing to say but how busy the storage was."""
    ops = [read(f"f{i:03d}.bin", 0, i * 1000, pid=1, tid=i % 2, worker=i % 2) for i in range(200)]
    formats.save(Trace.of(ops), tmp_path / "t.jsonl")

    assert cli.main(["stats", str(tmp_path / "t.jsonl")]) == 0
    section = capsys.readouterr().out.split("what stands out")[1].split("\nrecorded")[0]
    assert [line.split("  ")[1] for line in section.splitlines() if line.startswith("  ")] == ["storage busy"]


def test_the_tables_of_the_analysis_are_whole(tmp_path, capsys):
    """files.csv has every file, also where JSON has the first hundred; every table has its header."""
    formats.save(Trace.of(read(f"f{i:03d}.bin", 0, i * 1000) for i in range(150)), tmp_path / "t.jsonl")
    assert cli.main(["stats", str(tmp_path / "t.jsonl"), "--csv", str(tmp_path / "out")]) == 0
    rows = {path.name: path.read_text().splitlines() for path in (tmp_path / "out").iterdir()}

    assert len(rows["files.csv"]) == 151
    assert rows["files.csv"][0].startswith("name,files,ops,read_bytes,written_bytes,extent_bytes,size_bytes,")
    assert rows["size_latency.csv"][1:] == ["65536,64,150"]
    assert rows["bursts.csv"] == ["start_ns,end_ns,ops,bytes,files,reads_bytes,mb_s,checkpoint"]
    assert "amplification.ratio,1.0," in rows["analysis.csv"]
    assert capsys.readouterr().out.count("\n") == len(rows)


def test_csv_lists_its_files(trace_file, tmp_path, capsys):
    """--csv prints the names it wrote; a second time it needs --force."""
    folder = tmp_path / "out"
    assert cli.main(["stats", trace_file, "--csv", str(folder)]) == 0
    assert sorted(capsys.readouterr().out.split()) == sorted(map(str, folder.iterdir()))
    assert cli.main(["stats", trace_file, "--csv", str(folder)]) == 2
    assert "exists already; pass --force" in capsys.readouterr().err
    assert cli.main(["stats", trace_file, "--csv", str(folder), "--force"]) == 0


def test_markdown_is_one_table(trace_file, capsys):
    """--markdown has the same lines in three columns, with bars escaped."""
    assert cli.main(["stats", trace_file, "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].startswith("### ")
    assert all(line.replace("\\|", "").count("|") == 4 for line in lines[2:])


def test_weaknesses_are_said_aloud(tmp_path, capsys):
    """A bare trace shows dashes and a list of what cannot be known."""
    path = tmp_path / "t.jsonl"
    path.write_text('{"uri":"/a","offset":0,"len":5,"t_submit":0}\n')
    assert cli.main(["stats", str(path)]) == 0
    found = capsys.readouterr().out

    assert "what these numbers do not say\n  - no op has t_complete" in found
    assert "by        not known: the file has no header" in found
    assert "in flight" not in found


@pytest.mark.parametrize(
    ("text", "extra", "problem"),
    [
        ("", [], "is empty"),
        ("\x89PNG\r\n\x1a\n\0\0", [], "a trace is JSON Lines"),
        ("3, 3786419, 0, 65536, 196608, 0\n", [], "or another tool's file that `tracekit convert --help` lists"),
        ('{"uri":"/a","len":-1,"t_submit":0}\n', [], ":1: `len`: expected `int` >= 0"),
        ('{"uri":"/a","len":1,"t_submit":0}\n', ["--time-unit", "days"], "there is no time unit 'days'"),
        ('{"uri":"/a","len":1,"t_submit":0}\n', ["--force"], "--force is for --csv"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(tmp_path, capsys, text, extra, problem):
    """No traceback: the place, the problem, a way out, a slug."""
    path = tmp_path / "t.jsonl"
    path.write_text(text)
    assert cli.main(["stats", str(path), *extra]) == 2
    found = capsys.readouterr()

    assert found.out == ""
    assert found.err.startswith("tracekit: error: ")
    assert found.err.count("\n") == 1
    assert problem in found.err


def test_skip_bad_is_counted(tmp_path, capsys):
    """Lines left out are said with the numbers."""
    path = tmp_path / "t.jsonl"
    path.write_text('{"uri":"/a","len":1,"t_submit":0}\noops\n')
    assert cli.main(["stats", str(path), "--skip-bad"]) == 0

    assert "1 bad line was left out; the first:" in capsys.readouterr().out


def test_a_replay_shows_its_own_verdict():
    """Lateness, response time and the run's statement have sections of their own."""
    ops = [
        Op("/a", 0, 1, 10, t_due=5, t_complete=20, err="EIO"),
        Op("/a", 0, 1, 30, t_due=30, t_complete=90, worker=1, rank=0),
    ]
    header = Header(
        producer={"tool": "tracekit"}, command=["x"], host={"cpu": "C", "cores": 2, "kernel": "6"}, created="now"
    )
    trailer = Trailer(
        2, lost=1, run={"verdict": "DEGRADED", "reasons": ["steal"]}, coverage={"bytes_elsewhere": 12345, "ok": True}
    )
    trace = Trace.of(ops, header=header, trailer=trailer, marks=[Mark("step", 0, 5, 0)])
    text = stats_text.text("t", trace, Metrics.of(trace))
    strange = Trace(trace.columns, trace.tables, trailer=Trailer(2, run={"verdict": "DEGRADED", "reasons": 5}))
    assert "DEGRADED" in stats_text.text("t", strange, Metrics.of(strange))

    for expected in (
        "lateness",
        "response time",
        "DEGRADED",
        "steal",
        "no: 1 op lost",
        "12,345",
        "C, 2 cores, Linux 6",
        "EIO 1",
        "1 failed",
    ):
        assert expected in text, expected


def test_what_the_recorder_could_not_see_is_said():
    """Coverage is a share of the kernel's count; blind spots and unknown completeness are weaknesses, one line each."""
    coverage = {
        "engine": "python", "known": False, "why": "hooks only", "share": 0.825, "kernel_read_bytes": 1 << 20,
        "mapped_bytes": 4096, "blind": ["mapped files", "native code"], "missing": "1 KiB is " + 40 * "very " + "missing",
        "not_followed": ["pid 7", {"argv": ["uname", "-p"], "why": "it is no Python program", "times": 3}],
    }  # fmt: skip
    trace = Trace.of([Op("/a", 0, 1, 0)], trailer=Trailer(1, coverage=coverage))
    text = stats_text.text("t", trace, Metrics.of(trace))

    for expected in (
        "82.5 % of the 1 MiB that the kernel counted as read",
        "4 KiB: what of them was touched cannot be seen",
        "- how complete the trace is cannot be known: hooks only",
        "- not seen by the recorder: native code",
        "- not followed: pid 7",
        "- not followed: uname -p (it is no Python program, 3 times)",
        "very very missing",
    ):
        assert expected in text, expected


def test_a_program_that_is_no_python_is_said_once():
    """What it read and that it was not followed is one line; what an importer left out is in words, and nothing is not said."""
    once, never = {"argv": ["uname", "-p"], "why": "it is no Python program"}, {"argv": ["su"], "why": "set-user-ID"}
    coverage = {
        "known": True, "native_children": [{**once, "bytes": 2048}], "not_followed": [once, never],
        "left_out": {"access": 1, "calls on /dev": 1234}, "imported": "strace", "unread": {},
    }  # fmt: skip
    trace = Trace.of([Op("/a", 0, 1, 0)], trailer=Trailer(1, coverage=coverage))
    lines = [line.strip() for line in stats_text.text("t", trace, Metrics.of(trace)).splitlines()]

    assert [line for line in lines if "uname" in line] == ["- 2 KiB were read by uname -p (it is no Python program)"]
    assert "- not followed: su (set-user-ID)" in lines
    assert [line.split(None, 2) for line in lines if line.startswith("left out")] == [
        ["left", "out", "access 1, calls on /dev 1,234"]
    ]
    assert not [line for line in lines if "unread" in line]


def test_a_trace_without_reads_and_writes_has_no_throughput():
    """What only looks at files moved nothing: neither a rate nor streams of reads are shown, and no zero."""
    trace = Trace.of([Op("/a", 0, 0, 0, op="stat", t_complete=5), Op("/b", 0, 0, 9, op="stat", t_complete=12)])
    text = stats_text.text("t", trace, Metrics.of(trace))

    assert "stat" in text
    assert "throughput" not in text
    assert "streams" not in text


def test_many_sizes_are_shown_by_octave():
    """More than eight sizes are grouped by powers of two; zero has a row of its own."""
    trace = Trace.of(Op("/a", 0, size, size) for size in [0, *range(1000, 1020), 5000])
    text = stats_text.text("t", trace, Metrics.of(trace))

    for expected in ("0 B", "512 B to 1 KiB", "4 KiB to 8 KiB"):
        assert expected in text, expected


def test_the_help_has_examples(capsys):
    """--help shows how to use it and exits 0."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["stats", "--help"])

    assert caught.value.code == 0
    assert "tracekit stats train.jsonl --json" in capsys.readouterr().out
