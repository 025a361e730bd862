"""What must work wherever the package is installed: run by .ci/smoke with each Python, in an empty directory, without any variable.

The standard library only; raises where something is wrong, whatever the machine is busy with.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = """
import os
for name in sorted(os.listdir("data")):
    with open(os.path.join("data", name), "rb") as file:
        file.read()
"""


def run(*words, ends=(0,)):
    """A command's output; it must end with one of these statuses and without a traceback."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    said = done.stdout + done.stderr
    if done.returncode not in ends or "Traceback" in said:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{said}")
    return done.stdout


def main():
    """Record, look, convert, replay, judge; then say so in a line."""
    begin = time.monotonic()
    Path("data").mkdir()
    for number in range(20):
        Path("data", f"{number:02}.bin").write_bytes(bytes(10_000))
    Path("program.py").write_text(PROGRAM)

    core = any(line.split()[:3] == ["native", "core", "ok"] for line in run("tracekit", "doctor").splitlines())
    run("tracekit", "record", "-o", "t.jsonl", "--", sys.executable, "program.py")
    stats = json.loads(run("tracekit", "stats", "t.jsonl", "--json"))
    if stats["files"] != 20 or stats["bytes"] != 200_000:
        raise SystemExit(f"recorded {stats['bytes']} bytes of {stats['files']} files, not 200,000 of 20")
    run("tracekit", "convert", "t.jsonl", "t.parquet")
    run("tracekit", "replay", "t.parquet", "-o", "again.jsonl", ends=(0, 3))
    # On a busy machine times may be off; what was read may not.
    run("harness", "check", "again.jsonl", "--golden", "t.parquet", "--json", "verdict.json", ends=(0, 1, 3))
    criteria = {one["id"]: one["verdict"] for one in json.loads(Path("verdict.json").read_text())["criteria"]}
    for name in ("ops.missing", "ops.extra", "ops.errors", "size.match", "order.stream"):
        if criteria[name] != "PASS":
            raise SystemExit(f"{name} is {criteria[name]}: see {Path('verdict.json').absolute()}")
    run("harness", "list")
    took = time.monotonic() - begin
    engine = "native core" if core else "without the core"
    print(f"smoke: Python {sys.version.split()[0]}, {engine}: recorded, replayed, judged in {took:.1f} s")


if __name__ == "__main__":
    main()
