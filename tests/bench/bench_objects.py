"""Ranged GETs of 4 KiB from a server on loopback: requests a second by client, and how well a schedule is held.

    python tests/bench/bench_objects.py [ROUNDS [rate] [processes] [cadence] [tls]]

`rate` replays as fast as possible with 8 streams through the core's own client (auto), obstore and boto3, interleaved; `processes` does so with one and two
processes; `cadence` replays a Poisson schedule of 1,000 and 5,000 GET/s by 32 streams, the latter by one process and by `--processes auto`, and says what of the
lateness is the replayer's own; `tls` does so over TLS, which obstore speaks (it takes OpenSSL's headers). The server (range_server.c, with real-time
priority where that is permitted, as another machine's would be undisturbed) runs on the same cores, so its share is in every figure.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tracekit import formats, itself
from tracekit.replay.options import Options
from tracekit.replay.session import replay
from tracekit.trace import Op, Trace

SIZE, OBJECT = 4096, 1 << 22


@contextlib.contextmanager
def server(key_and_chain: Path | None = None) -> Iterator[str]:
    """The range server, over TLS where it has a certificate; its endpoint."""
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/range_server"
        source = str(Path(__file__).with_name("range_server.c"))
        secure = ["-DTLS", "-lssl", "-lcrypto"] if key_and_chain else []
        subprocess.run(["cc", "-O2", "-pthread", "-o", program, source, *secure], check=True)
        with subprocess.Popen([program, "1", str(key_and_chain)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            with contextlib.suppress(OSError):
                os.sched_setscheduler(process.pid, os.SCHED_FIFO, os.sched_param(20))
            try:
                place = "https://localhost" if key_and_chain else "http://127.0.0.1"
                yield f"{place}:{process.stdout.readline().strip()}"
            finally:
                process.kill()


def trace(count: int, rate: float, streams: int) -> Trace:
    """Poisson arrivals of reads at random places of 64 objects."""
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.exponential(1e9 / rate, count)).astype(np.int64)
    places = rng.integers(0, OBJECT - SIZE, count)
    return Trace.of(
        Op(
            f"s3://bucket/{i % 64}",
            int(places[i]),
            SIZE,
            int(times[i]),
            t_complete=int(times[i]) + 1000,
            ret=SIZE,
            pid=1,
            tid=i % streams,
        )
        for i in range(count)
    )


def rate(rounds: int) -> None:
    """GET/s and CPU per GET of all clients, interleaved."""
    counts = {"auto": 20_000, "obstore": 20_000, "sdk": 1_000}
    found: dict[str, list[tuple[float, float]]] = {client: [] for client in counts}
    for _ in range(rounds):
        for client, count in counts.items():
            before = os.times()
            run = replay(trace(count, 1e6, 8), Options(pace="asap", client=client))
            after = os.times()
            seconds = run.run["duration_s"]
            cpu = after.user + after.system - before.user - before.system
            found[client].append((count / seconds, cpu / count * 1e6))
    for client, figures in found.items():
        rates, costs = zip(*figures, strict=True)
        print(f"{client:8} {statistics.median(rates):10,.0f} GET/s  {statistics.median(costs):8,.0f} µs of CPU a GET")
    for client in ("auto", "obstore"):
        ratios = [one[0] / other[0] for one, other in zip(found[client], found["sdk"], strict=True)]
        print(
            f"{client} / boto3: median ×{statistics.median(ratios):.1f}, of {rounds} pairs {min(ratios):.1f} to {max(ratios):.1f}"
        )


def cadence(rounds: int) -> None:
    """Lateness of a schedule, the parts interleaved."""
    parts = ((1_000, "1"), (5_000, "1"), (5_000, "auto"))
    found: dict[tuple[int, str], list[dict[str, Any]]] = {part: [] for part in parts}
    for per_second in (1_000, 5_000):
        formats.save(trace(per_second * 3, per_second, 32), f"{per_second}.jsonl")
    for _ in range(rounds):
        for (per_second, count), runs in found.items():
            runs.append(_replayed(f"{per_second}.jsonl", "--processes", count))
    for (per_second, count), runs in found.items():
        p50, p99 = ([run["lateness_us"][level] for run in runs] for level in ("p50", "p99"))
        own = statistics.median(run["lateness_by_cause_us"]["replayer"]["p99"] for run in runs)
        answer = statistics.median(run["service_us"]["p50"] for run in runs)
        cpu = statistics.median(run["own_cpu_s"] / run["ops"] * 1e6 for run in runs)
        print(
            f"{per_second:6,} GET/s by {count}  lateness p50 {statistics.median(p50):6,.0f}  p99 {statistics.median(p99):8,.0f} µs "
            f"({min(p99):,.0f} to {max(p99):,.0f}), the replayer's own {own:,.0f}; an answer takes {answer:,.0f} µs, "
            f"{cpu:,.0f} µs of CPU a GET; {', '.join(sorted({run['verdict'] for run in runs}))}"
        )


def tls(rounds: int) -> None:
    """The same over TLS."""
    sys.path.append(str(Path(__file__).parents[1] / "integration/objects"))
    from servers import certificate

    with tempfile.TemporaryDirectory() as folder:
        authority, key_and_chain = certificate(Path(folder), "localhost")
        before = dict(os.environ)
        with server(key_and_chain) as endpoint:
            os.environ |= {"AWS_ENDPOINT_URL": endpoint, "AWS_CA_BUNDLE": str(authority)}
            cadence(rounds)
        os.environ.clear()
        os.environ.update(before)


def _replayed(*words: str) -> dict[str, Any]:
    """The statement of a replay by the command."""
    command = [*itself.command("tracekit"), "replay", *words, "-o", "r.jsonl", "--force", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return dict(json.loads(done.stdout))


def processes(rounds: int) -> None:
    """GET/s of one and of two processes, interleaved."""
    formats.save(trace(40_000, 1e6, 16), "t.jsonl")
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for count, rates in found.items():
            run = _replayed("t.jsonl", "--pace", "asap", "--processes", str(count))
            rates.append(run["ops"] / run["duration_s"])
    for count, rates in found.items():
        print(f"{count} processes {statistics.median(rates):10,.0f} GET/s ({min(rates):,.0f} to {max(rates):,.0f})")


def main() -> None:
    """What was asked for, on one server."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    parts = {"rate": rate, "processes": processes, "cadence": cadence, "tls": tls}
    os.environ |= {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
    with server() as endpoint, tempfile.TemporaryDirectory() as directory:
        os.environ["AWS_ENDPOINT_URL"] = endpoint
        os.chdir(directory)
        for name in sys.argv[2:] or parts:
            parts[name](rounds)


if __name__ == "__main__":
    main()
