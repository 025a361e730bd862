"""How fast data sets are made: against DLIO's own generator, same format, sizes and processes, and against what the disk takes.

DLIO is not a dependency (it wants TensorFlow, PyTorch and MPI, 2.6 GB). Where `dlio_benchmark` 2.0.0 is installed in an environment of
its own, name it: `python tests/bench/bench_generate.py --dlio /path/to/venv`. Without it only our side and the ceiling are shown.

The ceiling is plain write(2) of one block over and over, by as many processes, to the same file system, in the same run. Both sides
leave their data in the page cache, as DLIO does. What each side takes to make a file of a few bytes, its start, is taken off, once as
the least of the rounds: DLIO's is half a minute of imports.

What DLIO does: draws every sample from NumPy's random numbers and hands it to the format's library: Pillow encodes each JPEG file
(quality 75, a grey image whose pixels are as many as the bytes asked for, so that its files are 0.56 of that), TensorFlow writes
TFRecords (which it needs installed in that environment). Then it calls DALI's `tfrecord2idx` for an index, which is in no package of that
environment: a stand-in that does nothing takes its place, which saves DLIO that time.
"""

import argparse
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# format: (files, samples per file, bytes of a sample)
CASES = {
    "npz": (8, 1, 48 << 20),
    "npy": (8, 1, 48 << 20),
    "tfrecord": (4, 512, 114660),
    "hdf5": (8, 4, 12 << 20),
    "csv": (8, 16, 65536),
    # As many as it takes for DLIO's start not to hide them.
    "jpeg": (16384, 1, 262144),
    "png": (256, 1, 262144),
    "indexed_binary": (4, 256, 65536),
}  # fmt: skip
WRITE = """\
import os, sys
block = os.urandom(1 << 20)
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
for _ in range(int(sys.argv[2])):
    os.write(fd, block)
"""


def size_below(folder):
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def timed(command, folder, environment=None):
    """(seconds, bytes) of a command that fills a folder."""
    begin = time.monotonic()
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=os.path.dirname(folder))
    return time.monotonic() - begin, size_below(folder)


def ours(folder, case, processes):
    """`tracekit generate`."""
    name, files, samples, size = case
    command = [
        sys.executable,
        "-I",
        "-m",
        "tracekit",
        "generate",
        "minimal",
        "-q",
        "--data",
        folder,
        "--processes",
        str(processes),
    ]
    command += [
        f"++dataset.format={name}",
        f"++dataset.num_files_train={files}",
        f"++dataset.num_samples_per_file={samples}",
    ]
    return timed([*command, f"++dataset.record_length_bytes={size}", "++reader.batch_size=1"], folder)


def theirs(folder, case, processes, venv):
    """`dlio_benchmark` with generate_data."""
    name, files, samples, size = case
    os.makedirs(folder, exist_ok=True)
    command = [
        f"{venv}/bin/mpirun",
        "--allow-run-as-root",
        "--oversubscribe",
        "-np",
        str(processes),
        f"{venv}/bin/dlio_benchmark",
        "workload=default",
    ]
    words = {
        "workflow.generate_data": True, "workflow.train": False, "workflow.evaluation": False, "dataset.data_folder": folder,
        "dataset.format": name, "dataset.num_files_train": files, "dataset.num_files_eval": 0, "dataset.num_subfolders_train": 0,
        "dataset.num_subfolders_eval": 0, "dataset.num_samples_per_file": samples, "dataset.record_length": size,
    }  # fmt: skip
    if name == "tfrecord":
        # DLIO refuses the format for PyTorch, before it makes anything.
        words |= {"framework": "tensorflow", "reader.data_loader": "tensorflow"}
    command += [f"++workload.{key}={value}" for key, value in words.items()]
    stands_in = Path(f"{folder}-bin", "tfrecord2idx")
    stands_in.parent.mkdir()
    stands_in.write_text("#!/bin/sh\n")
    stands_in.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{venv}/bin:{os.environ['PATH']}:{stands_in.parent}",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "DFTRACER_ENABLE": "0",
    }
    return timed([*command, f"hydra.run.dir={folder}-log"], folder, environment)


def ceiling(folder, processes, total):
    """Bytes per second of plain writes by as many processes."""
    os.makedirs(folder, exist_ok=True)
    count = max(1, total // processes >> 20)
    begin = time.monotonic()
    jobs = [
        subprocess.Popen([sys.executable, "-c", WRITE, f"{folder}/{number}", str(count)]) for number in range(processes)
    ]
    for job in jobs:
        job.wait()
    return (count << 20) * processes / (time.monotonic() - begin)


def main():
    """Print a line per format: the median of the rounds, both sides in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dlio", help="an environment with dlio_benchmark 2.0.0")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--formats", nargs="*", default=list(CASES))
    options = parser.parse_args()
    if not options.dlio:
        print("DLIO is not measured: name an environment that has dlio_benchmark 2.0.0 with --dlio")
    print(
        f"{'format':22}{'ours':>12}{'ceiling':>12}{'DLIO':>12}{'times faster':>14}   (MB/s of what lies there, start taken off)"
    )
    for name in options.formats:
        print(line(name, options), flush=True)


def line(name, options):
    """The figures of a format."""
    whole, tiny = (name, *CASES[name]), (name, options.processes, 1, 64)
    rates, floors, peers = [], [], []
    starts = {"ours": math.inf, "dlio": math.inf}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as place:
            starts["ours"] = min(starts["ours"], ours(f"{place}/tiny", tiny, options.processes)[0])
            seconds, total = ours(f"{place}/ours", whole, options.processes)
            rates.append((seconds, total))
            shutil.rmtree(f"{place}/ours")
            floors.append(ceiling(f"{place}/plain", options.processes, total) / 1e6)
            shutil.rmtree(f"{place}/plain")
            if not options.dlio:
                continue
            try:
                starts["dlio"] = min(
                    starts["dlio"], theirs(f"{place}/tinier", tiny, options.processes, options.dlio)[0]
                )
                peers.append(theirs(f"{place}/dlio", whole, options.processes, options.dlio))
            except subprocess.CalledProcessError as error:
                words = error.stderr.decode(errors="replace").strip().splitlines()
                return f"{name:22}{'':36}DLIO fails here: {words[-1] if words else error.returncode}"
    mine = statistics.median(total / max(0.001, seconds - starts["ours"]) / 1e6 for seconds, total in rates)
    text = f"{name:22}{mine:12.0f}{statistics.median(floors):12.0f}"
    if not peers:
        return f"{text}{'–':>12}{'–':>14}"
    other = statistics.median(total / max(0.001, seconds - starts["dlio"]) / 1e6 for seconds, total in peers)
    return f"{text}{other:12.0f}{mine / other:13.1f}×   starts {starts['ours']:.1f} s and {starts['dlio']:.1f} s"


if __name__ == "__main__":
    main()
