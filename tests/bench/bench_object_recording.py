"""What recording costs each request for an object: the program's own CPU time and time per GET of 4 KiB, recorded and not, in turns.

    python tests/bench/bench_object_recording.py [ROUNDS]

The server is a process of its own on the same cores, as in bench_objects. Each run counts its own requests after 50 that warm up.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

from bench_objects import server

COUNT = 1000
CLIENTS = {
    "boto3": """
        import boto3
        from botocore.config import Config
        client = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}))
        get = lambda at: client.get_object(Bucket="bucket", Key="x", Range=f"bytes={at}-{at + 4095}")["Body"].read()
    """,
    "obstore": """
        from obstore.store import S3Store
        store = S3Store("bucket", endpoint=endpoint, client_options={"allow_http": True})
        get = lambda at: store.get_range("x", start=at, length=4096)
    """,
    "pyarrow.fs": """
        from pyarrow.fs import S3FileSystem
        file = S3FileSystem(endpoint_override=endpoint.partition("://")[2], scheme="http", region="us-east-1").open_input_file("bucket/x")
        get = lambda at: file.read_at(4096, at)
    """,
    "s3dlio": """
        import s3dlio
        get = lambda at: s3dlio.get_range("s3://bucket/x", at, 4096)
    """,
}
MEASURE = """
import time
def run(count):
    for number in range(count):
        assert len(get(number * 4096 % (1 << 21))) == 4096
run(50)
cpu, wall = time.process_time(), time.perf_counter()
run(COUNT)
print((time.process_time() - cpu) / COUNT * 1e6, (time.perf_counter() - wall) / COUNT * 1e6, flush=True)
os._exit(0)
"""


def once(program: str, directory: str, environment: dict[str, str], *, recorded: bool) -> tuple[float, float]:
    """(CPU µs, µs) per request of one run."""
    words = [sys.executable, "-m", "tracekit", "record", "-o", "t.jsonl", "--force", "--"] if recorded else []
    done = subprocess.run(
        [*words, sys.executable, "-c", program],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    cpu, wall = done.stdout.split()
    return float(cpu), float(wall)


def main() -> None:
    """Print a line per client."""
    import textwrap

    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    print(
        f"{'client':12} {'CPU µs':>8} {'recorded':>9} {'more':>7} {'time µs':>9} {'recorded':>9}   medians of {rounds} rounds"
    )
    with server() as endpoint, tempfile.TemporaryDirectory() as directory:
        keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
        environment = os.environ | keys | {"AWS_ENDPOINT_URL": endpoint, "AWS_EC2_METADATA_DISABLED": "true"}
        for client, text in CLIENTS.items():
            program = f"import os\nendpoint = os.environ['AWS_ENDPOINT_URL']\nCOUNT = {COUNT}\n{textwrap.dedent(text)}{MEASURE}"
            plain, recorded = [], []
            for _ in range(rounds):
                plain.append(once(program, directory, environment, recorded=False))
                recorded.append(once(program, directory, environment, recorded=True))
            (cpu, wall), (more_cpu, more_wall) = (
                map(statistics.median, zip(*runs, strict=True)) for runs in (plain, recorded)
            )
            print(f"{client:12} {cpu:8.1f} {more_cpu:9.1f} {more_cpu - cpu:+7.1f} {wall:9.1f} {more_wall:9.1f}")


if __name__ == "__main__":
    main()
