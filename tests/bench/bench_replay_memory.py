"""What the replay command needs in memory, and how fast traces are compiled, beside readers that decode lines to objects.

    python tests/bench/bench_replay_memory.py [--ops N] [--rounds N] [--ranks N] [--data DIR] [--check]

The command is a process of its own each time; its peak (VmHWM) is held against that of a process that has only imported the
same modules. With --ranks the command is run by so many ranks under mpirun, and the largest peak of them counts. The rates are per CPU second, contestants taking turns; compiling is all that a replay does before the first op. With --check the exit code is 1 where the command
needs more, or compiles more slowly, than is asked.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from tracekit import formats
from tracekit.formats.lines import OpLine
from tracekit.replay.options import Options
from tracekit.replay.plan import make_plan

FILES, FILE_BYTES, PIECE = 64, 4 << 20, 8192
COMPILED = "compiled for replay"
# What is asked: million ops compiled per CPU second, MiB above the idle process.
LEAST_RATE, MOST_MIB = 2.5, 32.0
# Everything the command imports, and then its own peak.
IDLE = "import numpy, tracekit.cli, tracekit.replay.session, tracekit.replay.native, tracekit.formats.jsonl"
IDLE_RANK = (
    "import tracekit.verbs.replay_ranks; from tracekit.replay.wire import mpi_wire, launched; mpi_wire(launched())"
)
PEAK = "print('PEAK', next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))"
COMMAND = (
    "import sys; from tracekit.cli import main\n"
    "try: main()\nexcept SystemExit: pass\n"
    f"finally: sys.stdout.flush(); {PEAK}"
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ops", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--data", type=Path, help="where data and traces are made (default: a temporary directory)")
    parser.add_argument("--check", action="store_true", help="fail where what is asked is missed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.data) as folder:
        trace = Path(folder) / "trace.jsonl"
        write_trace(Path(folder), trace, arguments.ops)
        rate = rates(trace, arguments.ops, arguments.rounds)[COMPILED]
        used = memory(trace, arguments.ops, arguments.ranks)
    print(
        f"asked: at least {LEAST_RATE} M ops compiled per CPU second (have {rate:.2f}), at most {MOST_MIB:.0f} MiB (have {used:.1f})"
    )
    if arguments.check and (rate < LEAST_RATE or used > MOST_MIB):
        sys.exit(1)


def write_trace(folder: Path, trace: Path, ops: int) -> None:
    """4 KiB reads of eight threads, lines of about 185 bytes."""
    for number in range(FILES):
        (folder / str(number)).write_bytes(np.random.Generator(np.random.SFC64(number)).bytes(FILE_BYTES))
    with open(trace, "w", encoding="utf-8") as file:
        file.write('{"tracekit":1}\n')
        file.writelines(
            f'{{"uri":"file://{folder}/{i * 7919 % FILES}","offset":{i * 37 % 1000 * 4096},"len":4096,"t_submit":{i * 1000},'
            f'"op":"read","t_complete":{i * 1000 + 900},"ret":4096,"pid":4242,"tid":{4243 + i % 8},"worker":{i % 8},'
            f'"epoch":0,"step":{i // 64}}}\n'
            for i in range(ops)
        )
        file.write(f'{{"end":{{"ops":{ops}}}}}\n')


def memory(trace: Path, ops: int, ranks: int) -> float:
    """The command's peak beyond that of an idle process, in MiB."""
    launcher = [
        str(Path(sys.executable).with_name("mpirun")),
        "--allow-run-as-root",
        "--oversubscribe",
        "-n",
        str(ranks),
    ]
    launcher = launcher if ranks > 1 else []
    idle = peak([*launcher, sys.executable, "-I", "-c", f"{IDLE}\n{IDLE_RANK if ranks > 1 else ''}\n{PEAK}"])
    output = str(trace.with_name("out.jsonl"))
    command = [
        *launcher,
        sys.executable,
        "-I",
        "-c",
        COMMAND,
        "-q",
        "replay",
        str(trace),
        "--pace",
        "asap",
        "-o",
        output,
    ]
    begin = time.monotonic()
    used = peak(command)
    print(
        f"replay of {ops:,} ops: {used - idle:.1f} MiB above the {idle:.1f} of an idle process, in {time.monotonic() - begin:.0f} s"
    )
    return used - idle


def peak(command: list[str]) -> float:
    """The largest peak of the processes in MiB, as they say it. -I: in a source folder there is a package without the core."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return max(int(kib) for kib in re.findall(r"PEAK (\d+)", done.stdout)) / 1024


def rates(trace: Path, ops: int, rounds: int) -> dict[str, float]:
    """Million ops per CPU second of each, and ratios."""
    contestants: dict[str, Callable[[], object]] = {
        COMPILED: lambda: make_plan(formats.chunks(trace, ops=PIECE), Options()).close(),
        "read into columns": lambda: sum(map(len, formats.chunks(trace, ops=PIECE))),
        "msgspec, typed": lambda: decoded(trace, msgspec.json.Decoder(OpLine).decode),
        "json": lambda: decoded(trace, json.loads),
    }
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            begin = time.process_time()
            run()
            found[name].append(ops / (time.process_time() - begin) / 1e6)
    medians = {name: statistics.median(values) for name, values in found.items()}
    for name, rate in medians.items():
        print(f"   {name:22} {rate:6.2f} M ops per CPU second   {rate / medians['json']:5.1f} x json")
    return medians


def decoded(trace: Path, decode: Callable[[bytes], object]) -> None:
    """Every line by itself, nothing kept."""
    with open(trace, "rb") as file:
        for line in file:
            decode(line)


if __name__ == "__main__":
    main()
