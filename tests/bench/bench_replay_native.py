"""The native engines against fio and against the Python engine, on the same trace, alternately.

    python tests/bench/bench_replay_native.py [--rounds N] [--data DIR] [--check] [PART…]
    parts: timed direct bursts asap depth memory think, and by name only: drift (ten minutes)

With --check what is asked of the replayer is held against the medians, and the exit code is 1 where something is missed or was not
measured (replay_targets.py).

The figures are medians over the rounds; a run during which the hypervisor took more than 1 % of the CPU time is set aside and
counted. fio's lateness is taken from its latency log, whose times are milliseconds. Peers that are not installed are left
out, and that is said.
"""

from __future__ import annotations

import argparse
import ctypes
import heapq
import json
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from replay_targets import Figures, Tables, report

from tracekit.machine import CpuTimes
from tracekit.replay import native
from tracekit.replay.engines import Outcome
from tracekit.replay.options import Options
from tracekit.replay.session import Replay, replay
from tracekit.replay.wakefulness import processors_awake
from tracekit.trace import StringTable, Trace
from tracekit.uri import file_uri

FILES, FILE_BYTES, BLOCK = 64, 16 << 20, 4096
SECONDS = 1.5
THINK_TURNS = 3
DRIFT_SECONDS = 600.0
LIBC = ctypes.CDLL(None, use_errno=True)
HELD: dict[str, mmap.mmap] = {}
FIO = shutil.which("fio")
TABLES: Tables = {}


def main() -> None:
    """Run the parts and print a table for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, help="where the data is made (default: a temporary directory)")
    parser.add_argument("--check", action="store_true", help="say what is missed of what is asked, and fail then")
    parser.add_argument("parts", nargs="*", default=[part for part in PARTS if part != "drift"])
    arguments = parser.parse_args()
    if FIO is None:
        print("fio is not installed: the native engines are measured without it")
    with tempfile.TemporaryDirectory(dir=arguments.data) as folder:
        data = Path(folder)
        for number in range(FILES):
            (data / str(number)).write_bytes(np.random.Generator(np.random.SFC64(number)).bytes(FILE_BYTES))
        os.sync()
        for part in arguments.parts:
            print(f"\n== {part}", flush=True)
            PARTS[part](data, arguments.rounds)
    if arguments.check:
        print("\n== asked")
        sys.exit(0 if report(TABLES) else 1)


# -- traces -----------------------------------------------------------------------------------------------------------


def reads(data: Path, times: np.ndarray, lengths: np.ndarray | int, streams: int, seed: int = 1) -> Trace:
    """Aligned reads at random places at these times, ops dealt out to the streams in turn."""
    rng = np.random.default_rng(seed)
    count = len(times)
    sizes = np.broadcast_to(np.asarray(lengths, np.int64), count).copy()
    times = (times - times[0]).astype(np.int64)
    columns = {
        "uri": rng.integers(0, FILES, count).astype(np.int32),
        "offset": rng.integers(0, (FILE_BYTES - int(sizes.max())) // BLOCK, count) * BLOCK,
        "len": sizes,
        "t_submit": times,
        "op": np.zeros(count, np.int32),
        "pid": np.zeros(count, np.int32),
        "tid": (np.arange(count) % streams).astype(np.int32),
    }
    uris = StringTable(file_uri(data / str(number)) for number in range(FILES))
    return Trace(columns, {"uri": uris, "op": StringTable(["read"])})


def poisson(data: Path, rate: float, streams: int, seconds: float = SECONDS, seed: int = 1) -> Trace:
    """4 KiB reads at random moments."""
    gaps = np.random.default_rng(seed).exponential(1e9 / rate, int(rate * seconds))
    return reads(data, np.cumsum(gaps), BLOCK, streams, seed)


# -- one run ----------------------------------------------------------------------------------------------------------


def measured(trace: Trace, engine: str, **options: object) -> tuple[Figures, Replay]:
    """One replay's figures; CPU is that of the whole process from plan to result, and that of the run alone (as fio states it)."""
    before = CpuTimes.now()
    done = replay(trace, Options(engine=engine, **options))  # type: ignore[arg-type]  # by name
    after = CpuTimes.now()
    run = done.run
    figures = {
        "steal": run["steal"],
        "cpu us/op": (after.own_s - before.own_s) * 1e6 / len(trace),
        "run cpu us/op": run["own_cpu_s"] * 1e6 / len(trace),
        "kops/s": len(trace) / run["duration_s"] / 1e3,
        "service p50 us": run["service_us"]["p50"],
    }
    if "lateness_us" in run:
        figures |= {f"late {name}": run["lateness_us"][name] for name in ("p50", "p99", "p99.9")}
    if run.get("standstills"):
        figures |= {
            "late p99.9 apart": run["lateness_apart_us"]["p99.9"],
            "stood still ms": run["standstills"]["total_ms"],
            "one core, at most ms": run["standstills"]["one_core_longest_ms"],
        }
    if "makespan_error" in run:
        figures["makespan %"] = 100 * run["makespan_error"]
    return figures, done


def fio_replay(trace: Trace, folder: Path) -> Figures:
    """The same ops by fio's read_iolog, one job, psync."""
    log, paths = folder / "iolog", [uri.removeprefix("file://") for uri in trace.uris]
    with open(log, "w") as file:
        file.write("fio version 3 iolog\n")
        file.writelines(f"0 {path} add\n0 {path} open\n" for path in paths)
        rows = zip(*(trace.col(name).tolist() for name in ("t_submit", "uri", "offset", "len")), strict=True)
        file.writelines(f"{t // 1000} {paths[uri]} read {offset} {size}\n" for t, uri, offset, size in rows)
    job = fio("--ioengine=psync", f"--read_iolog={log}", f"--write_lat_log={folder}/lat", "--log_offset=1")
    ends, latencies = np.loadtxt(next(folder.glob("lat_lat*.log")), delimiter=",", usecols=(0, 1)).T
    for name in folder.iterdir():
        name.unlink()
    issued = ends * 1e6 - latencies
    late = (issued - trace.col("t_submit")[: len(issued)]) / 1e3
    span = float(trace.col("t_submit")[-1])
    return {
        "steal": job["steal"],
        "cpu us/op": job["cpu_s"] * 1e6 / len(trace),
        "kops/s": job["kops"],
        "late p50": float(np.quantile(late, 0.5)),
        "late p99": float(np.quantile(late, 0.99)),
        "late p99.9": float(np.quantile(late, 0.999)),
        "makespan %": 100 * (float(issued.max()) - span) / span,
    }


def fio(*options: str) -> Figures:
    """Run one fio job; its thousands of ops per second and CPU seconds."""
    assert FIO is not None
    command = [FIO, "--name=x", "--invalidate=0", "--group_reporting", "--output-format=json", *options]
    start = CpuTimes.now()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    steal, _ = CpuTimes.now().since(start)
    job = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]
    seconds = job["job_runtime"] / 1e3
    cpu = (job["usr_cpu"] + job["sys_cpu"]) / 100 * seconds
    return {"steal": steal, "kops": job["read"]["iops"] / 1e3, "cpu_s": cpu, "ops": float(job["read"]["total_ios"])}


def rounds(count: int, candidates: dict[str, Callable[[], Figures]]) -> dict[str, Figures]:
    """Run the candidates in turn, several times; the medians, and how many runs were set aside."""
    runs: dict[str, list[Figures]] = defaultdict(list)
    aside = 0
    for _ in range(count):
        for name, run in candidates.items():
            figures = run()
            if figures.pop("steal") > 0.01:
                aside += 1
            else:
                runs[name].append(figures)
    if aside:
        print(f"   ({aside} runs set aside for steal)")
    return {name: {key: statistics.median(one[key] for one in many) for key in many[0]} for name, many in runs.items()}


def show(title: str, table: dict[str, Figures]) -> None:
    """Print one line per candidate."""
    TABLES[title] = table
    print(f"-- {title}")
    for name, figures in table.items():
        print(f"   {name:22}" + "  ".join(f"{key} {value:.4g}" for key, value in figures.items()), flush=True)


def warm(data: Path) -> None:
    """Have every page in the cache, and keep it there: a machine may drop pages that nobody reads for a while."""
    for number in range(FILES):
        with open(data / str(number), "rb") as file:
            # Also where locking is not permitted they are read.
            mapped = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, prot=mmap.PROT_READ)
        address = np.frombuffer(mapped, np.uint8).ctypes.data
        LIBC.mlock(ctypes.c_void_p(address), ctypes.c_size_t(FILE_BYTES))
        HELD[str(data / str(number))] = mapped


# -- the parts --------------------------------------------------------------------------------------------------------


def timed(data: Path, count: int) -> None:
    """Poisson arrivals of warm 4 KiB reads."""
    for rate, streams in ((20_000, 1), (20_000, 8), (100_000, 8), (200_000, 8)):
        warm(data)
        trace = poisson(data, rate, streams)
        candidates: dict[str, Callable[[], Figures]] = {
            engine: lambda trace=trace, engine=engine: measured(trace, engine)[0]  # type: ignore[misc]  # bound now
            for engine in ("native", "uring", "threads")
        }
        candidates |= {
            f"floor, {how}": bind_floor(data, rate, us) for how, us in (("sleeping", 0), ("10 us early", 10))
        }
        candidates["the machine's own gaps"] = own_gaps(data)
        if FIO and streams == 1:
            candidates["fio read_iolog psync"] = lambda trace=trace: in_folder(fio_replay, trace)  # type: ignore[misc]
        show(f"{rate} ops/s, {streams} streams", rounds(count, candidates))


def bind_floor(data: Path, rate: int, early_us: int) -> Callable[[], Figures]:
    """What one thread of C that only waits, reads and looks at the clock has here; see timed_floor.c."""
    program = data / "timed_floor"
    if not program.exists():
        compile_c("timed_floor", data)
    command = [str(program), str(data), str(FILES), str(FILE_BYTES), str(rate), str(SECONDS), str(early_us), "1"]

    def run() -> Figures:
        start = CpuTimes.now()
        found = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
        figures = dict(zip(("late p50", "late p99", "late p99.9", "cpu us/op"), found, strict=True))
        return {"steal": CpuTimes.now().since(start)[0], **figures}

    return run


def own_gaps(data: Path) -> Callable[[], Figures]:
    """What the machine takes from threads that only read the clock; see core_gaps.c."""
    program = data / "core_gaps"
    if not program.exists():
        compile_c("core_gaps", data)

    def run() -> Figures:
        start = CpuTimes.now()
        found = map(
            float,
            subprocess.run([str(program), str(SECONDS)], capture_output=True, text=True, check=True).stdout.split(),
        )
        figures = dict(zip(("on all cores", "ms in all", "longest ms", "longest of one core ms"), found, strict=True))
        return {"steal": CpuTimes.now().since(start)[0], **figures}

    return run


def in_folder(run: Callable[[Trace, Path], Figures], trace: Trace) -> Figures:
    """Run with a scratch directory."""
    with tempfile.TemporaryDirectory() as folder:
        return run(trace, Path(folder))


def direct(data: Path, count: int) -> None:
    """O_DIRECT at 20,000 ops/s."""
    trace = poisson(data, 20_000, 64)
    candidates: dict[str, Callable[[], Figures]] = {
        engine: lambda engine=engine: measured(trace, engine, cache="direct")[0]  # type: ignore[misc]  # bound now
        for engine in ("uring", "native", "threads")
    }
    candidates["floor, 8 threads of C"] = lambda: lateness(*by_threads_of_c(data, trace, 8, "direct"))
    show("O_DIRECT 4 KiB, 20000 ops/s, 64 streams", rounds(count, candidates))


def drift(data: Path, count: int) -> None:
    """Ten minutes of 5,000 ops/s: lateness from one 100 s to the next, and how much later than planned the last op was."""
    del count
    warm(data)
    figures, done = measured(poisson(data, 5_000, 8, DRIFT_SECONDS), "native")
    due, submit = done.trace.col("t_due"), done.trace.col("t_submit")
    order = np.argsort(due, kind="stable")
    for number, part in enumerate(np.array_split((submit - due)[order] / 1e3, 6)):
        p50, p99, most = np.quantile(part, (0.5, 0.99, 1))
        print(f"   sixth {number + 1}: late p50 {p50:.2f}  p99 {p99:.2f}  at most {most:.1f} us", flush=True)
    print(
        f"   {len(due)} ops planned for {due.max() / 1e9:.3f} s; the last was submitted {(submit.max() - due.max()) / 1e3:+.1f} us later"
    )
    run = done.run
    print(
        f"   {run['verdict']}; steal {100 * run['steal']:.2f} %, others {100 * run['foreign_cpu']:.0f} % of the CPU time; {figures}"
    )


def bursts(data: Path, count: int) -> None:
    """Simultaneous ops of mixed sizes; what is late is held against what the cores allow."""
    rng = np.random.default_rng(3)
    for name, choices, rate in (("4 KiB", [4096], 20_000), ("mixed", [4096, 16_384, 65_536, 1 << 20], 5_000)):
        sizes = np.array([int(s) for s in rng.integers(32, 129, 10_000)])
        sizes = sizes[: int(np.searchsorted(np.cumsum(sizes), rate * SECONDS))]
        moments = np.cumsum(rng.exponential(1e9 * 80 / rate, len(sizes)))
        times = np.concatenate([moment + np.arange(size) * 1000 for moment, size in zip(moments, sizes, strict=True)])
        lengths = rng.choice(choices, len(times), p=None if len(choices) == 1 else [0.5, 0.3, 0.17, 0.03])
        order = np.argsort(times, kind="stable")
        trace = reads(data, times[order], lengths[order], 128)
        warm(data)
        cores = len(os.sched_getaffinity(0))
        best = {"alone": service_times(trace, 1), "together": service_times(trace, cores)}
        for how, times_of in best.items():
            print(
                f"   a read takes {how} "
                + ", ".join(f"{size >> 10} KiB {ns / 1e3:.2f} us" for size, ns in times_of.items())
            )
        candidates: dict[str, Callable[[], Figures]] = {
            engine: lambda engine=engine, trace=trace, best=best: excess(trace, engine, best)  # type: ignore[misc]  # bound now
            for engine in ("native", "uring", "threads")
        }
        candidates[f"floor, {cores} threads of C"] = burst_floor(data, trace, best)
        show(f"bursts of 32 to 128 ops, {name}, {rate} ops/s in the mean", rounds(count, candidates))


def excess(trace: Trace, engine: str, best: dict[str, dict[int, float]]) -> Figures:
    """By how much ops complete after the moment at which so many cores could have completed them at best.

    Three bounds: with the time a read of its size takes while the other cores are idle, which no machine can keep whose cores
    share their memory's bandwidth, with the time it takes while every core reads, and with the time each read of this run took:
    what is beyond that is dispatch, and reads that took longer are not in it.
    """
    figures, done = measured(trace, engine)
    each = beyond(done.trace, best)
    if engine == "uring":
        # Reads in the ring wait for one another: the time from submission is not what a core was busy for.
        each = {name: value for name, value in each.items() if "as they took" not in name}
    return figures | each


def beyond(done: Trace, best: dict[str, dict[int, float]]) -> Figures:
    """Response times, and how far completions lie beyond each bound."""
    due, submit, complete, size = (done.col(name) for name in ("t_due", "t_submit", "t_complete", "len"))
    figures = {f"response {q}": float(np.quantile(complete - due, q)) / 1e3 for q in (0.5, 0.99)}
    took = {how: np.array([times_of[int(one)] for one in size]) for how, times_of in best.items()}
    for how, times in (took | {"as they took": (complete - submit).astype(float)}).items():
        late = complete - bound(due, times)
        figures |= {f"excess {how} {q}": float(np.quantile(late, q)) / 1e3 for q in (0.5, 0.99)}
    return figures


def by_threads_of_c(data: Path, trace: Trace, threads: int, storage: str) -> tuple[Trace, float, float]:
    """The trace done by threads of C that only take ops, wait, read and look at the clock: what was done, steal, CPU seconds.

    See burst_floor.c.
    """
    program = data / "burst_floor"
    if not program.exists():
        compile_c("burst_floor", data)
    due, file, offset, size = (trace.col(name).astype(np.int64) for name in ("t_submit", "uri", "offset", "len"))
    ops = np.stack([due, file, offset, size], axis=1).tobytes()
    command = [str(program), str(data), str(FILES), str(threads), "10", storage]
    start = CpuTimes.now()
    done = subprocess.run(command, input=ops, capture_output=True, check=True)
    steal = CpuTimes.now().since(start)[0]
    moments = np.frombuffer(done.stdout, np.int64).reshape(-1, 2)
    columns = {"t_due": due, "t_submit": moments[:-1, 0], "t_complete": moments[:-1, 1], "len": size}
    return Trace(trace.columns | columns, trace.tables), steal, float(moments[-1, 0]) / 1e9


def lateness(done: Trace, steal: float, cpu_s: float) -> Figures:
    """How late the ops of a run were, and what they took."""
    late, service = done.col("t_submit") - done.col("t_due"), done.col("t_complete") - done.col("t_submit")
    figures = {f"late p{100 * q:g}": float(np.quantile(late, q)) / 1e3 for q in (0.5, 0.99, 0.999)}
    return {
        "steal": steal,
        "cpu us/op": cpu_s * 1e6 / len(done),
        "service p50 us": float(np.median(service)) / 1e3,
        **figures,
    }


def burst_floor(data: Path, trace: Trace, best: dict[str, dict[int, float]]) -> Callable[[], Figures]:
    """What as many threads of C as there are cores have of the same bursts."""

    def run() -> Figures:
        done, steal, _ = by_threads_of_c(data, trace, len(os.sched_getaffinity(0)), "cached")
        return {"steal": steal, **beyond(done, best)}

    return run


def bound(due: np.ndarray, times: np.ndarray) -> np.ndarray:
    """When each op could be complete: in the order of their due times, each on the first core that is free."""
    cores = [0.0] * len(os.sched_getaffinity(0))
    ends = np.zeros(len(due))
    for row in np.argsort(due, kind="stable"):
        ends[row] = max(float(due[row]), heapq.heappop(cores)) + float(times[row])
        heapq.heappush(cores, float(ends[row]))
    return ends


def service_times(trace: Trace, streams: int) -> dict[int, float]:
    """How long a read of each size takes when so many streams read one op after another, ns.

    The mean, because a burst waits for the sum of its ops, and without the slowest hundredth: those were disturbed.
    """
    tids = (np.arange(len(trace)) % streams).astype(np.int32)
    done = replay(Trace(trace.columns | {"tid": tids}, trace.tables), Options(engine="native", pace="asap")).trace
    service, size = done.col("t_complete") - done.col("t_submit"), done.col("len")
    means = {}
    for value in np.unique(size):
        mine = np.sort(service[size == value])
        means[int(value)] = float(mine[: max(1, len(mine) * 99 // 100)].mean())
    return means


def asap(data: Path, count: int) -> None:
    """As fast as possible, warm 4 KiB, our per-op times on, against fio with its clock reduced as far as it goes.

    Both read the same files at uniformly random blocks, without access times, into one buffer per thread. fio takes the files
    in turn where ours takes a random one, as is its default and no harder for it. The ceiling is a C loop of reads, clock
    readings and records without anything else; see read_ceiling.c.
    """
    common = ["--rw=randread", "--bs=4k", f"--filename={file_names(data)}", "--norandommap", "--randrepeat=0"]
    common += ["--time_based", "--runtime=1"]
    tuned = ["--gtod_reduce=1", "--numjobs=2"]
    ring = ["--iodepth=256", "--iodepth_batch=64", "--iodepth_batch_complete=64", "--fixedbufs=1", "--registerfiles=1"]
    peers = {
        "fio psync, 1 job": ["--ioengine=psync"],
        "fio psync, 2 jobs, tuned": ["--ioengine=psync", *tuned],
        "fio io_uring, 2, tuned": ["--ioengine=io_uring", *ring, *tuned],
    }
    candidates: dict[str, Callable[[], Figures]] = {}
    for streams in (1, 2):
        trace = poisson(data, 1_000_000, streams, seconds=1)
        candidates[f"native, {streams} streams"] = lambda trace=trace: core_rate(trace, "native")  # type: ignore[misc]
        candidates[f"ceiling, {streams}"] = lambda streams=streams: ceiling(data, streams)  # type: ignore[misc]
    candidates["threads, 1 stream"] = lambda: core_rate(poisson(data, 300_000, 1, seconds=1), "threads")
    for name, options in peers.items() if FIO else ():
        candidates[name] = lambda options=options: fio_rate(*common, *options)  # type: ignore[misc]  # bound now
    compile_c("read_ceiling", data)
    warm(data)
    show("as fast as possible, warm 4 KiB", rounds(count, candidates))


def file_names(data: Path) -> str:
    """The data files as fio takes them."""
    return ":".join(str(data / str(number)) for number in range(FILES))


def compile_c(name: str, folder: Path) -> Path:
    """Compile a program that lies beside this file."""
    program = folder / name
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run(["gcc", "-O2", str(source), "-o", str(program), "-lpthread", "-lm"], check=True)
    return program


def ceiling(data: Path, processes: int) -> Figures:
    """What reading alone reaches, with two clock readings and a record per op."""
    start = CpuTimes.now()
    command = [str(data / "read_ceiling"), str(data), str(FILES), str(FILE_BYTES), "1000000", str(processes)]
    rate, cpu = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    return {"steal": CpuTimes.now().since(start)[0], "kops/s": rate, "cpu us/op": cpu}


def depth(data: Path, count: int) -> None:
    """As fast as possible under O_DIRECT, 4 KiB, 64 in flight, against fio's io_uring: the device decides."""
    options = ["--rw=randread", "--bs=4k", f"--filename={file_names(data)}", "--norandommap", "--randrepeat=0"]
    options += ["--time_based", "--runtime=2", "--direct=1", "--ioengine=io_uring", "--iodepth=64"]
    trace = poisson(data, 100_000, 64, seconds=1)
    candidates: dict[str, Callable[[], Figures]] = {
        engine: lambda engine=engine: core_rate(trace, engine, cache="direct")  # type: ignore[misc]  # bound now
        for engine in ("uring", "native")
    }
    if FIO:
        candidates["fio io_uring, 64"] = lambda: fio_rate(*options)
    show("as fast as possible, O_DIRECT 4 KiB, 64 in flight", rounds(count, candidates))


def fio_rate(*options: str) -> Figures:
    """What fio reaches."""
    job = fio(*options)
    return {"steal": job["steal"], "kops/s": job["kops"], "cpu us/op": job["cpu_s"] * 1e6 / job["ops"]}


def core_rate(trace: Trace, engine: str, **options: object) -> Figures:
    """What an engine reaches, and the CPU time of its run alone."""
    from tracekit.replay import engines
    from tracekit.replay.engines import Control
    from tracekit.replay.plan import make_plan

    plan = make_plan(trace, Options(engine=engine, pace="asap", **options))  # type: ignore[arg-type]  # by name
    chosen = engines.choose(engine, plan).engine
    before = CpuTimes.now()
    outcome = chosen.run(plan, Control())
    after = CpuTimes.now()
    first, last = span_of(outcome)
    cpu, steal = after.own_s - before.own_s, after.since(before)[0]
    return {"steal": steal, "kops/s": len(trace) * 1e6 / (last - first), "cpu us/op": cpu * 1e6 / len(trace)}


def span_of(outcome: Outcome) -> tuple[int, int]:
    """When the first op began and the last one ended."""
    if outcome.results is None:
        return min(int(log.submit[0]) for log in outcome.logs), max(int(log.complete[-1]) for log in outcome.logs)
    records = outcome.results.read(0, len(outcome.results))
    return int(records["submit"].min()), int(records["complete"].max())


MEMORY = """
import sys, numpy as np
from tracekit import _core
from tracekit.replay import native
folder, count = sys.argv[1], int(sys.argv[2])
def peak(reset=False):
    if reset:
        open("/proc/self/clear_refs", "w").write("5")
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
path = f"{folder}/0".encode() + b"\\0"
names = np.frombuffer(path, np.uint8)
files = np.zeros(1, native.FILE); files["path"] = names.ctypes.data; files["advice"] = -1
streams = np.zeros(4, native.STREAM); streams["count"] = count // 4
streams["first"] = np.arange(4) * (count // 4); streams["after"] = -1
ops = np.memmap(f"{folder}/ops", native.OP, "r", shape=count)
answer = np.zeros(1, native.OUTCOME)
idle = peak(reset=True)
with open(f"{folder}/log", "wb") as log:
    _core.replay_run(how=int(sys.argv[3]), pace=2, ops=ops.ctypes.data, op_count=count, streams=streams.ctypes.data,
        stream_count=4, files=files.ctypes.data, file_count=1, results=0, results_fd=log.fileno(), chunks=64, turns=1, period=1,
        max_ops=0, max_bytes=0, max_errors=-1, workers=4, handles=8, keys=8, spare_bytes=1 << 20, in_order=False, release=True,
        realtime=False, helped=False, outcome=answer.ctypes.data, report=None)
print(int(answer["done"][0]), (peak() - idle) / 1024, int(answer["stalls"][0]))
"""


def memory(data: Path, count: int) -> None:
    """Resident memory of a run of ten million ops above the idle process: ops from a mapped file, records to a file."""
    table: dict[str, Figures] = {}
    for ops in (1_000_000, 10_000_000):
        rows = np.zeros(ops, native.OP)
        rows["length"], rows["order"] = BLOCK, np.arange(ops)
        rows["offset"] = np.random.default_rng(1).integers(0, FILE_BYTES // BLOCK - 1, ops) * BLOCK
        rows.tofile(data / "ops")
        for name, how in (("native", 0), ("uring", 1)):
            command = [sys.executable, "-I", "-c", MEMORY, str(data), str(ops), str(how)]
            done = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            records = os.path.getsize(data / "log") // native.RESULT.itemsize
            assert int(done[0]) == records == ops
            table[f"{name}, {ops} ops"] = {"MiB above idle": float(done[1]), "stalls": float(done[2])}
            (data / "log").unlink()
        (data / "ops").unlink()
    show("memory", table)


def think(data: Path, count: int) -> None:
    """A closed-loop program, replayed on the storage it was recorded on and on another, against the program there.

    Each replay has a run of the program on the same storage before and behind it, with the same seed: what two runs of it differ
    by is what a replay may differ by. Runs are short, because a device is another one a few seconds later, and many.
    """
    program = compile_c("closed_loop", data)
    warm(data)
    for recorded, other in (("cached", "direct"), ("direct", "cached")):
        table: dict[str, list[Figures]] = defaultdict(list)
        for seed in range(THINK_TURNS * count):
            here = loop_trace(data, program, recorded, seed)
            for storage, paces in ((recorded, ["think"]), (other, ["think", "recorded", "asap"])):
                cache = "direct" if storage == "direct" else "default"
                before = loop_trace(data, program, storage, seed)
                for pace in paces:
                    done = replay(here, Options(pace=pace, cache=cache)).trace
                    after = loop_trace(data, program, storage, seed)
                    table[f"replayed on {storage}, {pace}"].append(against(done, here, before, after))
                    table[f"program on {storage}"].append(shape(after) | off(shape(after), shape(before)))
                    before = after
        medians = {
            name: {key: statistics.median(one[key] for one in many) for key in many[0]} for name, many in table.items()
        }
        show(f"recorded on {recorded}", medians)


def against(done: Trace, recording: Trace, before: Trace, after: Trace) -> Figures:
    """A replay's figures, and by how much they differ from those of the program around it; its think times, from the recording's."""
    one, two = shape(before), shape(after)
    figures = shape(done)
    figures |= off(figures, {key: (one[key] + two[key]) / 2 for key in one})
    return figures | {"think time %": 100 * (pauses(done) / pauses(recording) - 1)}


def off(figures: Figures, of: Figures) -> Figures:
    """By how much makespan, depth and service time differ, %."""
    return {
        f"{name} %": 100 * (figures[key] / of[key] - 1)
        for name, key in (("makespan", "makespan s"), ("depth", "mean depth"), ("service", "service mean us"))
    }


def pauses(trace: Trace) -> float:
    """What all workers spent between their ops, ns."""
    order = np.lexsort((trace.col("t_submit"), trace.col("tid")))
    worker, submit, complete = (trace.col(name)[order] for name in ("tid", "t_submit", "t_complete"))
    return float((submit[1:] - complete[:-1])[worker[1:] == worker[:-1]].sum())


def loop_trace(data: Path, program: Path, storage: str, seed: int) -> Trace:
    """Run the program; the trace of what it did.

    It runs as a replay does, with real-time priority and processors kept awake where that is permitted. Otherwise others that
    take the cores from it lengthen its ops and not those of the replay, and the comparison is one of priorities.
    """
    command = [str(program), str(data), str(FILES), str(FILE_BYTES), "500", storage, str(seed)]
    with processors_awake(wanted=True):
        done = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=first_of_all)
    rows = np.array(done.stdout.split(), np.int64).reshape(-1, 5)
    rows = rows[np.argsort(rows[:, 1], kind="stable")]
    zero, count = rows[0, 1], len(rows)
    columns = {
        "uri": rows[:, 3].astype(np.int32), "offset": rows[:, 4], "len": np.full(count, 65_536), "t_submit": rows[:, 1] - zero,
        "op": np.zeros(count, np.int32), "t_complete": rows[:, 2] - zero, "ret": np.full(count, 65_536),
        "pid": np.zeros(count, np.int32), "tid": rows[:, 0].astype(np.int32),
    }  # fmt: skip
    uris = StringTable(file_uri(data / str(number)) for number in range(FILES))
    return Trace(columns, {"uri": uris, "op": StringTable(["read"])})


def first_of_all() -> None:
    """Take real-time priority where it is permitted."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def shape(trace: Trace) -> Figures:
    """Throughput, mean queue depth and service time of a trace."""
    submit, complete = trace.col("t_submit"), trace.col("t_complete")
    span = float(complete.max() - submit.min())
    return {
        "makespan s": span / 1e9,
        "kops/s": len(trace) * 1e6 / span,
        "mean depth": float((complete - submit).sum()) / span,
        "service mean us": float((complete - submit).mean()) / 1e3,
    }


PARTS: dict[str, Callable[[Path, int], None]] = {
    "timed": timed, "direct": direct, "bursts": bursts, "asap": asap, "depth": depth, "memory": memory, "think": think,
    "drift": drift,
}  # fmt: skip


if __name__ == "__main__":
    main()
