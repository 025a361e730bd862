"""How fast traces are looked at, beside the analysers that others use on the same files: `python tests/bench/bench_analysis.py`.

Every contender is a process of its own that starts, reads the file, and prints the answer to the same question; contenders take
turns, and the median of processor time, of wall-clock time and of peak memory is shown. Who is not installed is left out and
named. Options: --ops N (of the Parquet file), --turns N, --only QUESTION, --dftracer FILE.

* parquet: ops, bytes, median and 99th percentile of service time for each file, and a table of sizes by service times, from a
  trace in Parquet: tracekit (its accumulators, piece by piece), Polars, DuckDB, pandas.
* warp: ops, bytes, median and 99th percentile for each kind of request, from a MinIO warp log: tracekit, Polars (as polarWarp
  does it: the table decompressed and read whole, times parsed, grouped), pandas.
* dftracer: events and times by name from a .pfw.gz, the one of --dftracer or one made of a quarter of --ops: tracekit,
  dftracer_stats of dftracer-utils (which builds an index first).
* darshan: ops and bytes by file from DXT: tracekit, the darshan package itself.
* csv, fio, blkparse, strace: ops, files and bytes read, median and 99th percentile of sizes and (not fio, which has no ends) of service
  times, the time from first to last, and the most bytes of one file, from a table, fio's log, blkparse's text and strace's (a quarter
  of --ops each): tracekit, and pandas and Polars as one would read such a file with them. All have to say the same to the last digit.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

WIDTH = 24


# -- contenders: each reads a file and prints a figure that all of them must agree on ------------------------------------------


def parquet_tracekit(path):
    """Per file and sizes by service times, from accumulators, of the columns that the others read; the next piece is decoded meanwhile."""
    from tracekit import formats
    from tracekit.analysis.files import Files
    from tracekit.analysis.tail import SizesByLatency
    from tracekit.formats.ahead import ahead
    from tracekit.metrics.view import View

    files, sizes = Files(), SizesByLatency()
    for piece in ahead(formats.chunks(path, ops=1 << 18, columns=("ret", "t_complete"))):
        view = View.of(piece)
        files.update(view, len(piece.uris))
        sizes.update(view)
    table = files.groups(piece.uris, {}).columns()
    return [len(table["p99_us"]), sum(table["read_bytes"]), sum(map(sum, sizes.table()[2]))]


def parquet_polars(path):
    """The same with Polars' lazy frames."""
    import polars as pl

    took = pl.col("t_complete") - pl.col("t_submit")
    frame = pl.scan_parquet(path).select("uri", "op", "ret", "len", took.alias("took")).filter(pl.col("op") == "read")
    by_file = frame.group_by("uri").agg(
        pl.len().alias("ops"),
        pl.col("ret").sum(),
        pl.col("took").quantile(0.5),
        pl.col("took").quantile(0.99).alias("p99"),
    )
    bits = (pl.col("len").log(2).floor().alias("size"), (pl.col("took") // 1000 + 1).log(2).floor().alias("time"))
    files, cells = pl.collect_all([by_file, frame.group_by(*bits).agg(pl.len().alias("ops"))])
    return [len(files), int(files["ret"].sum()), int(cells["ops"].sum())]


def parquet_duckdb(path):
    """The same in SQL."""
    import duckdb

    ops = f"select uri, ret, len, t_complete - t_submit as took from '{path}' where op = 'read'"
    files = duckdb.sql(
        f"select uri, count(*), sum(ret) s, quantile_disc(took, 0.5), quantile_disc(took, 0.99) from ({ops}) group by uri"
    ).fetchall()
    cells = duckdb.sql(
        f"select floor(log2(len)) a, floor(log2(took // 1000 + 1)) b, count(*) n from ({ops}) group by a, b"
    ).fetchall()
    return [len(files), int(sum(row[2] for row in files)), sum(row[2] for row in cells)]


def parquet_pandas(path):
    """The same with pandas."""
    import pandas as pd

    frame = pd.read_parquet(path, columns=["uri", "op", "ret", "len", "t_submit", "t_complete"])
    frame = frame[frame["op"] == "read"]
    frame["took"] = frame["t_complete"] - frame["t_submit"]
    by_file = frame.groupby("uri", observed=True)
    files = by_file["ret"].agg(["size", "sum"])
    by_file["took"].quantile([0.5, 0.99])
    table = frame.groupby([np.floor(np.log2(frame["len"])), np.floor(np.log2(frame["took"] // 1000 + 1))]).size()
    return [len(files), int(files["sum"].sum()), int(table.sum())]


def warp_tracekit(path):
    """Kinds of request from the importer."""
    from tracekit import formats

    trace, found = formats.load(path, options={"bucket": "b"}), {}
    took = trace.col("t_complete") - trace.col("t_submit")
    for name in sorted(trace.strings("op")):
        chosen = trace.mask("op", name)
        np.quantile(took[chosen], [0.5, 0.99])
        found[name] = [int(chosen.sum()), int(trace.col("ret")[chosen].sum())]
    return found


def warp_polars(path):
    """The published way: decompress, read the table whole, parse times, group."""
    import polars as pl

    frame = pl.read_csv(path, separator="\t", columns=["op", "bytes", "start", "end", "duration_ns"])
    form = "%Y-%m-%dT%H:%M:%S%.9fZ"
    frame = frame.with_columns(pl.col(name).str.strptime(pl.Datetime("ns"), form) for name in ("start", "end"))
    found = frame.group_by("op").agg(
        pl.len(), pl.col("bytes").sum(), pl.col("duration_ns").quantile(0.5),
        pl.col("duration_ns").quantile(0.99).alias("p99"), pl.col("start").min(), pl.col("end").max(),
    )  # fmt: skip
    names = {"GET": "read", "PUT": "write"}
    return {names[op]: [n, size] for op, n, size, *_ in sorted(found.rows())}


def warp_pandas(path):
    """The same with pandas."""
    import io

    import pandas as pd
    import pyarrow as pa

    with pa.CompressedInputStream(pa.OSFile(path), "zstd") as plain:
        frame = pd.read_csv(io.BytesIO(plain.read()), sep="\t", usecols=["op", "bytes", "start", "end", "duration_ns"])
    frame["start"], frame["end"] = pd.to_datetime(frame["start"]), pd.to_datetime(frame["end"])
    found = frame.groupby("op").agg({"bytes": ["size", "sum"], "start": "min", "end": "max"})
    frame.groupby("op")["duration_ns"].quantile([0.5, 0.99])
    names = {"GET": "read", "PUT": "write"}
    return {names[op]: [int(row.iloc[0]), int(row.iloc[1])] for op, row in found.iterrows()}


def dftracer_tracekit(path):
    """Ops and times by kind, with offsets followed through seeks."""
    from tracekit import formats

    trace, found = formats.load(path), {}
    took = trace.col("t_complete") - trace.col("t_submit")
    for name in trace.strings("op"):
        chosen = trace.mask("op", name)
        np.quantile(took[chosen], [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99])
        found[name] = int(chosen.sum())
    return found["read"]


def dftracer_stats(path):
    """dftracer-utils' own command, from a file that it has not seen before."""
    beside = Path(sys.executable).parents[1] / "peers" / "dftracer" / "bin" / "dftracer_stats"
    program = os.environ.get("DFTRACER_STATS") or shutil.which("dftracer_stats") or str(beside)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [program, "--files", path, "--index-dir", folder, "--report", "detailed", "--group-by", "name", "--json"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    found = json.JSONDecoder().raw_decode(done.stdout)[0]
    return found[0]["detailed"]["grouped_duration"]["read"]["count"]


def darshan_tracekit(path):
    """Ops and bytes from the importer."""
    from tracekit import formats

    trace = formats.load(path)
    return [len(trace), int(trace.col("len").sum())]


def darshan_package(path):
    """The package that both stand on."""
    import darshan

    report = darshan.DarshanReport(path, read_all=False)
    report.mod_read_all_dxt_records("DXT_POSIX", dtype="pandas")
    frames = [record[f"{op}_segments"] for record in report.records["DXT_POSIX"] for op in ("read", "write")]
    return [sum(map(len, frames)), int(sum(frame["length"].sum() for frame in frames if len(frame)))]


PARTS = (0.5, 0.99)


def text_tracekit(path):
    """From the importer, which makes the whole trace."""
    from tracekit import formats

    trace = formats.load(path)
    trace = trace.select(trace.mask("op", "read"))
    uri, size, begin = trace.col("uri"), trace.col("len"), trace.col("t_submit")
    by_file = np.bincount(uri, size)
    found = [len(trace), int((by_file > 0).sum()), int(size.sum()), *np.quantile(size, PARTS).tolist()]
    if "t_complete" in trace:
        found += np.quantile(trace.col("t_complete") - begin, PARTS).tolist()
    return [*found, int(begin.max() - begin.min()), int(by_file.max())]


def pandas_answer(frame):
    """The same from a frame with file, size, begin and perhaps end, in ns."""
    found = [
        len(frame),
        int(frame["file"].nunique()),
        int(frame["size"].sum()),
        *frame["size"].quantile(PARTS).tolist(),
    ]
    if "end" in frame:
        found += (frame["end"] - frame["begin"]).quantile(PARTS).tolist()
    span = frame["begin"].max() - frame["begin"].min()
    return [*found, int(span), int(frame.groupby("file", observed=True)["size"].sum().max())]


CSV = {"uri": "file", "op": "op", "len": "size", "t_submit": "begin", "t_complete": "end"}


def csv_pandas(path):
    """The columns that the question needs, of a table."""
    import pandas as pd

    frame = pd.read_csv(path, usecols=list(CSV)).rename(columns=CSV)
    return pandas_answer(frame[frame["op"] == "read"])


def csv_pandas_all(path):
    """The columns that the trace has, which all are looked at."""
    import pandas as pd

    frame = pd.read_csv(path, usecols=[*CSV, "offset", "ret", "pid", "tid"]).rename(columns=CSV)
    return pandas_answer(frame[frame["op"] == "read"])


def csv_polars(path):
    """As pandas, with Polars."""
    import polars as pl

    frame = pl.read_csv(path, columns=list(CSV)).rename(CSV).filter(pl.col("op") == "read")
    return polars_answer(frame)


def polars_answer(frame):
    """As pandas_answer, of a frame of Polars."""
    import polars as pl

    took = frame["end"] - frame["begin"]
    parts = [column.quantile(part, "linear") for column in (frame["size"], took) for part in PARTS]
    by_file = frame.group_by("file").agg(pl.col("size").sum())["size"]
    span = int(frame["begin"].max() - frame["begin"].min())
    return [len(frame), len(by_file), int(frame["size"].sum()), *parts, span, int(by_file.max())]


def fio_pandas(path):
    """A table with blanks between its columns, of which lines without a range have fewer."""
    import pandas as pd

    frame = pd.read_csv(path, sep=" ", skiprows=1, names=["begin", "file", "action", "offset", "size"])
    frame = frame[frame["action"] == "read"]
    return pandas_answer(frame.assign(begin=frame["begin"] * 1000))


def blkparse_pandas(path):
    """Issues beside their completions, by sector; of this file no sector comes twice."""
    import pandas as pd

    names = ["file", "cpu", "seq", "time", "pid", "action", "kind", "sector", "plus", "sectors", "who"]
    frame = pd.read_csv(path, sep=r"\s+", names=names)
    # Exact as long as the log is shorter than a month.
    frame["begin"] = (frame["time"] * 1e9).round().astype("int64")
    issues, ends = (frame[frame["action"] == action].set_index(["file", "sector"]) for action in "DC")
    both = issues.join(ends[["begin"]].rename(columns={"begin": "end"}), how="inner").reset_index()
    return pandas_answer(both.assign(size=both["sectors"] * 512))


def strace_pandas(path):
    """The reads by a pattern, without their offsets."""
    import pandas as pd

    pattern = r"^(\d+) (\d+)\.(\d+) read\(\d+<([^>]*)>, .*, (\d+)\) = (\d+) <0\.(\d+)>$"
    lines = pd.Series(Path(path).read_text().splitlines()).str.extract(pattern).dropna()
    numbers = lines[[1, 2, 4, 6]].astype("int64")
    begin = (numbers[1] * 10**6 + numbers[2]) * 1000
    frame = pd.DataFrame({"file": lines[3], "size": numbers[4], "begin": begin, "end": begin + numbers[6] * 1000})
    return pandas_answer(frame)


def strace_rows(path):
    """The importer as it is where there is no native core: a tuple for each op."""
    from tracekit.formats.foreign import Stateful
    from tracekit.formats.strace import Strace

    Strace.batches = Stateful.batches
    return text_tracekit(path)


def strace_polars(path):
    """The same pattern with Polars: a table of one column."""
    import polars as pl

    pattern = r"^(\d+) (\d+)\.(\d+) read\(\d+<([^>]*)>, .*, (\d+)\) = (\d+) <0\.(\d+)>$"
    frame = pl.read_csv(path, has_header=False, separator="\x01", quote_char=None, new_columns=["line"])
    found = frame.select(pl.col("line").str.extract_groups(pattern)).unnest("line").drop_nulls("1")
    numbers = {name: found[name].cast(int) for name in "2357"}
    begin = (numbers["2"] * 10**6 + numbers["3"]) * 1000
    return polars_answer(
        pl.DataFrame({"file": found["4"], "size": numbers["5"], "begin": begin, "end": begin + numbers["7"] * 1000})
    )


QUESTIONS = {
    "parquet": {"tracekit": parquet_tracekit, "polars": parquet_polars, "duckdb": parquet_duckdb, "pandas": parquet_pandas},
    "warp": {"tracekit": warp_tracekit, "polars": warp_polars, "pandas": warp_pandas},
    "dftracer": {"tracekit": dftracer_tracekit, "dftracer_stats": dftracer_stats},
    "darshan": {"tracekit": darshan_tracekit, "darshan": darshan_package},
    "csv": {"tracekit": text_tracekit, "pandas": csv_pandas, "pandas, all columns": csv_pandas_all, "polars": csv_polars},
    "fio": {"tracekit": text_tracekit, "pandas": fio_pandas},
    "blkparse": {"tracekit": text_tracekit, "pandas": blkparse_pandas},
    "strace": {"tracekit": text_tracekit, "rows": strace_rows, "pandas": strace_pandas, "polars": strace_polars},
}  # fmt: skip


# -- files ---------------------------------------------------------------------------------------------------------------------


def trace_of(ops):
    """A training job's reads: thousands of files, a few sizes, log-normal service times."""
    from tracekit.trace import Header, StringTable, Trace, Trailer

    rng = np.random.default_rng(1)
    submit = np.cumsum(rng.integers(500, 3000, ops)).astype(np.int64)
    size = rng.choice(np.array([4096, 65536, 131_072, 262_144]), ops)
    columns = {
        "uri": rng.integers(0, 5000, ops).astype(np.int32), "offset": rng.integers(0, 1000, ops) * 131_072, "len": size,
        "t_submit": submit, "op": np.zeros(ops, np.int32), "ret": size,
        "t_complete": submit + rng.lognormal(11, 1, ops).astype(np.int64), "pid": np.full(ops, 100, np.int32),
        "tid": (100 + rng.integers(0, 8, ops)).astype(np.int32),
    }  # fmt: skip
    uris = StringTable([f"s3://bucket/train/f{number:05}.bin" for number in range(5000)])
    tables = {"uri": uris, "op": StringTable(["read", "write"])}
    return Trace(columns, tables, [], Header("now", {}, {"t0_unix_ns": 1_700_000_000 * 10**9}), Trailer(ops))


TEXTS = {"csv": "csv", "fio": "iolog", "blkparse": "blkparse", "strace": "strace"}


def write_text(question, trace, path):
    """A trace as the text of another tool: by our exporter, or as blkparse and strace write reads."""
    from tracekit import formats
    from tracekit.trace import StringTable

    if question in ("csv", "fio"):
        trace.tables["uri"] = StringTable(uri.replace("s3://bucket", "file:///data") for uri in trace.uris)
        formats.save(trace, path)
        return
    columns = (trace.col(name).tolist() for name in ("len", "t_submit", "t_complete", "tid"))
    line = strace_line if question == "strace" else blkparse_lines
    with open(path, "w", encoding="ascii") as file:
        file.writelines(line(row, *values) for row, values in enumerate(zip(*columns, strict=True)))


def strace_line(_, size, begin, end, tid):
    """A read as strace -f -ttt -T -y shows it, of a file of its thread."""
    when = f"{1_700_000_000 + begin // 10**9}.{begin % 10**9 // 1000:06d}"
    return f'{tid} {when} read(3</d/{tid}>, "\\0\\1ab"..., {size}) = {size} <0.{(end - begin) // 1000:06d}>\n'


def blkparse_lines(row, size, begin, end, tid):
    """A request's issue and its completion."""
    return "".join(
        f"  8,0 {tid % 4:4} {row:8} {time // 10**9:5}.{time % 10**9:09d} {tid:5}  {action}   R {row * 512} + {size // 512} [fio]\n"
        for time, action in ((begin, "D"), (end, "C"))
    )


def write_dftracer(trace, path):
    """A trace as dftracer 2.2.0 writes reads of files that were open: a seek before every eighth of them."""
    head = '{{"name":"FH","cat":"dftracer","type":1,"pid":7,"tid":7,"ph":4,"args":{{"hhash":"6882804a826580cd","name":"{}","value":"{:016x}"}}}}\n'
    with gzip.open(path, "wt", encoding="ascii", compresslevel=6) as file:
        file.write("[\n")
        file.writelines(head.format(f"/d/train/f{number:05}.bin", number * 977) for number in range(len(trace.uris)))
        columns = (trace.col(name).tolist() for name in ("uri", "len", "t_submit", "t_complete", "tid"))
        file.writelines(dftracer_lines(row, *values) for row, values in enumerate(zip(*columns, strict=True)))


def dftracer_lines(row, uri, size, begin, end, tid):
    """A read, behind a seek or not."""
    call = '{{"id":{},"name":"{}","cat":"POSIX","type":3,"pid":7,"tid":{},"ts":{},"dur":{},"ph":1,"args":{{"hhash":"6882804a826580cd",{},"fhash":"{:016x}"}}}}\n'
    ts, seek = 1_795_711_047_718_677 + begin // 1000, ""
    if row % 8 == 0:
        seek = call.format(
            row, "lseek64", tid, ts, 1, f'"whence":0,"offset":{row * 4096},"ret":{row * 4096}', uri * 977
        )
    return seek + call.format(row, "read", tid, ts, (end - begin) // 1000, f'"ret":{size},"count":{size}', uri * 977)


def file_for(question, folder, args):
    """The file that a question is about, and how many ops are in it; None where there is none."""
    from tracekit import formats

    if question == "parquet":
        formats.save(trace_of(args.ops), folder / "t.parquet")
        return folder / "t.parquet", args.ops
    if question == "warp":
        with formats.writing(folder / "log.csv.zst", options={"layout": "warp13"}) as writer:
            writer.whole(trace_of(args.ops // 4))
        return folder / "log.csv.zst", args.ops // 4
    if question in TEXTS:
        path = folder / f"log.{TEXTS[question]}"
        write_text(question, trace_of(args.ops // 4), path)
        return path, args.ops // 4
    if question == "dftracer":
        path = Path(args.dftracer or folder / "t.pfw.gz")
        if not args.dftracer:
            write_dftracer(trace_of(args.ops // 4), path)
        return path, len(formats.load(path))
    if importlib.util.find_spec("darshan") is None:
        return None
    import darshan

    path = Path(darshan.__file__).parent / "examples" / "example_logs" / "dxt.darshan"
    return path, len(formats.load(path))


# -- measuring -----------------------------------------------------------------------------------------------------------------


def measured(question, name, path):
    """What one contender answers, and its processor time and wall-clock time in seconds and peak memory in MiB."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, __file__, "--contender", question, name, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    out, trouble = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        return None, trouble.decode().strip().splitlines()[-1:]
    wall = time.perf_counter() - begin
    answer, memory = json.loads(out)
    return answer, (usage.ru_utime + usage.ru_stime, wall, memory / 1024)


def ask(question, folder, args):
    """One question: all contenders in turn, and a table."""
    found = file_for(question, folder, args)
    if found is None:
        print(f"{question}: no file, left out")
        return
    path, ops = found
    times, answers = {name: [] for name in QUESTIONS[question]}, {}
    for _ in range(args.turns):
        for name in list(times):
            answer, figures = measured(question, name, path)
            if answer is None:
                print(f"{question}: {name} left out ({' '.join(figures)})")
                del times[name]
                continue
            answers[name] = answer
            times[name].append(figures)
    print(f"{question}: {ops:,} ops, {path.stat().st_size / 1e6:.1f} MB, medians of {args.turns}")
    for name, rows in times.items():
        cpu, wall, memory = (statistics.median(column) for column in zip(*rows, strict=True))
        same = "" if answers[name] == answers.get("tracekit") else "   another answer: " + str(answers[name])[:80]
        print(
            f"  {name:{WIDTH}} {cpu:7.2f} s CPU {wall:7.2f} s {ops / wall / 1e6:7.2f} M ops/s {memory:8.0f} MiB{same}"
        )


def main():
    """Ask every question."""
    if sys.argv[1:2] == ["--contender"]:
        question, name, path = sys.argv[2:]
        answer = QUESTIONS[question][name](path)
        # Not ru_maxrss: a child begins with its parent's.
        memory = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
        # A command of another's has a process of its own, which is larger than this one where that was all it started from.
        print(json.dumps([answer, max(int(memory), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ops", type=int, default=4_000_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", choices=QUESTIONS, action="append")
    parser.add_argument("--dftracer", help="a .pfw.gz")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for question in args.only or QUESTIONS:
            ask(question, Path(folder), args)


if __name__ == "__main__":
    main()
