"""How fast data sets are made: against DLIO's own generator, same format, sizes and processes, and against what the disk takes.

DLIO is not a dependency (it wants TensorFlow, PyTorch and MPI, 2.6 GB). Where `dlio_benchmark` 2.0.0 is installed in an environment of
its own, name it: `python tests/bench/bench_generate.py --dlio /path/to/venv`. Without it only our side and the ceiling are shown.

The ceiling is open(2) and write(2) of one block over and over into as many files as large, by as many processes, to the same file
system, in the same run. All leave their data in the page cache, as DLIO does; before each, what is there is written out, and nothing is
removed before the last: ext4 looks for a free inode among those of files just removed for half a millisecond. What each side takes to make a file of
a few bytes, its start, is taken off, once as the least of the rounds: DLIO's is ten seconds of imports.

What DLIO does: draws every sample from NumPy's random numbers and hands it to the format's library: Pillow encodes each JPEG file
(quality 75, a grey image whose pixels are as many as the bytes asked for, so that its files are 0.56 of that), TensorFlow writes
TFRecords (which it needs installed in that environment). Then it calls DALI's `tfrecord2idx` for an index, which is in no package of that
environment: a stand-in that does nothing takes its place, which saves DLIO that time.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# format: (files, samples per file, bytes of a sample), as many as it takes for neither side's start to hide them.
CASES = {
    "npz": (32, 1, 48 << 20),
    "npy": (32, 1, 48 << 20),
    "tfrecord": (16, 1024, 114660),
    "hdf5": (8, 4, 12 << 20),
    "csv": (8, 32, 65536),
    "jpeg": (8192, 1, 262144),
    "png": (2048, 1, 262144),
    "indexed_binary": (16, 256, 65536),
}
WRITE = """\
import os, sys
block, (name, files, size) = os.urandom(1 << 20), sys.argv[1:]
for number in range(int(files)):
    fd, left = os.open(f"{name}.{number}", os.O_CREAT | os.O_WRONLY | os.O_EXCL), int(size)
    while left:
        left -= os.write(fd, block[:left])
    os.close(fd)
"""


def size_below(folder):
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def timed(command, folder, environment=None):
    """(seconds, bytes) of a command that fills a folder."""
    os.sync()
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


def ceiling(folder, files, processes, total):
    """Bytes per second of plain writes by as many processes."""
    os.makedirs(folder)
    count, size = max(1, files // processes), total // files
    os.sync()
    begin = time.monotonic()
    jobs = [
        subprocess.Popen([sys.executable, "-I", "-c", WRITE, f"{folder}/{number}", str(count), str(size)])
        for number in range(processes)
    ]
    for job in jobs:
        job.wait()
    return count * size * processes / (time.monotonic() - begin)


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
        f"{'format':22}{'ours':>12}{'ceiling':>12}{'DLIO':>12}{'times faster':>14}{'of ceiling':>12}   (MB/s of what lies there, start taken off)"
    )
    for name in options.formats:
        print(line(name, options), flush=True)


def line(name, options):
    """The figures of a format."""
    whole, tiny = (name, *CASES[name]), (name, options.processes, 1, 64)
    rates, floors, peers = [], [], []
    starts = {"ours": math.inf, "dlio": math.inf}
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as place:
        for turn in range(options.rounds):
            starts["ours"] = min(starts["ours"], ours(f"{place}/tiny{turn}", tiny, options.processes)[0])
            rates.append(ours(f"{place}/ours{turn}", whole, options.processes))
            floors.append(ceiling(f"{place}/plain{turn}", whole[1], options.processes, rates[-1][1]) / 1e6)
            if not options.dlio:
                continue
            try:
                tinier = theirs(f"{place}/tinier{turn}", tiny, options.processes, options.dlio)
                peers.append(theirs(f"{place}/dlio{turn}", whole, options.processes, options.dlio))
            except subprocess.CalledProcessError as error:
                words = error.stderr.decode(errors="replace").strip().splitlines()
                return f"{name:22}{'':36}DLIO fails here: {words[-1] if words else error.returncode}"
            starts["dlio"] = min(starts["dlio"], tinier[0])
    mine = statistics.median(total / max(0.001, seconds - starts["ours"]) / 1e6 for seconds, total in rates)
    floor = statistics.median(floors)
    text = f"{name:22}{mine:12.0f}{floor:12.0f}"
    if not peers:
        return f"{text}{'–':>12}{'–':>14}{mine / floor:11.0%}"
    other = statistics.median(total / max(0.001, seconds - starts["dlio"]) / 1e6 for seconds, total in peers)
    return f"{text}{other:12.0f}{mine / other:13.1f}×{mine / floor:11.0%}    starts {starts['ours']:.1f} s and {starts['dlio']:.1f} s"


if __name__ == "__main__":
    main()
