"""`tracekit generate`: resumed, refused where it does not fit, by several processes, straight to object stores."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tracekit.cli import main
from tracekit.errors import CannotRunError, InputError
from tracekit.uri import file_uri
from tracekit.workload.datagen import generate, manifest, room, survey, verify
from tracekit.workload.distribution import Distribution
from tracekit.workload.job import DataSet

ARGUMENTS = ["generate", "minimal", "-q"]


def bytes_below(folder):
    """The digest of every file below a folder, by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }


def data_of(folder, **other):
    """A small data set."""
    return replace(
        DataSet(file_uri(folder), "npy", files_train=12, record_bytes=Distribution.normal(30_000, 9000)), **other
    )


def test_the_command_makes_what_the_workload_says(tmp_path, capsys):
    """`tracekit generate NAME --data` makes the files, says how many, and names the next step."""
    assert main(["generate", "minimal", "--data", str(tmp_path / "d"), "++workload.dataset.num_files_train=3"]) == 0
    said = capsys.readouterr()
    assert "3 made, 1.50 MiB; 0 were there" in said.out
    assert said.err.endswith(
        f"next: tracekit run minimal ++workload.dataset.num_files_train=3 --data {tmp_path / 'd'}\n"
    )
    assert [path.name for path in sorted((tmp_path / "d" / "train").iterdir())] == [
        f"img_{i}_of_3.npz" for i in range(3)
    ]


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    """It says how much would be made and leaves the place as it is."""
    assert main([*ARGUMENTS, "--data", str(tmp_path / "d"), "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["missing"], found["made"], found["bytes"]) == (8, 0, 0)
    assert found["estimated_bytes"] >= 64 * 65536
    assert not (tmp_path / "d").exists()


def test_what_is_there_is_left_and_what_is_missing_is_made_again(tmp_path):
    """After some files are removed, only these are made again, with the same bytes; a whole set makes nothing."""
    data = data_of(tmp_path / "d")
    generate(survey(data, 5))
    before = bytes_below(tmp_path / "d")
    kept = tmp_path / "d" / "train" / "img_01_of_12.npy"
    stamp = kept.stat().st_mtime_ns
    for number in (2, 7):
        (tmp_path / "d" / "train" / f"img_{number:02}_of_12.npy").unlink()
    outlook = survey(data, 5)
    assert [plan.index for plan in outlook.missing] == [2, 7]
    generate(outlook)
    assert bytes_below(tmp_path / "d") == before
    assert kept.stat().st_mtime_ns == stamp
    assert survey(data, 5).missing == []


def test_several_processes_make_the_same_data_set(tmp_path, capfd):
    """One process or three: the same bytes under the same names, and not a word of theirs on the terminal."""
    for name, processes in (("one", 1), ("three", 3)):
        generate(survey(data_of(tmp_path / name, files_eval=5), 5), processes)
    one, three = bytes_below(tmp_path / "one"), bytes_below(tmp_path / "three")
    assert {name: digest for name, digest in one.items() if "json" not in name} == {
        name: digest for name, digest in three.items() if "json" not in name
    }
    assert len(one) == 18
    assert capfd.readouterr() == ("", "")


def test_a_killed_run_leaves_whole_files_only_and_is_gone_on_with(tmp_path):
    """Whenever it is killed, what stands under a file's name is whole; the next run makes the rest and sweeps up."""
    data = data_of(tmp_path / "d", files_train=40, samples_per_file=64, record_bytes=Distribution.fixed(1 << 16))
    generate(survey(replace(data, uri=file_uri(tmp_path / "whole")), 5), 1)
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole" / "train").iterdir()}
    code = f"from tracekit.workload.datagen import *; from tracekit.workload.job import DataSet; from tracekit.workload.distribution import Distribution; generate(survey({data!r}, 5), 1)"
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", code])
        folder = tmp_path / "d" / "train"
        already = len(list(folder.glob("*.npy"))) if folder.exists() else 0
        while process.poll() is None and (not folder.exists() or len(list(folder.glob("*.npy"))) < already + 3):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in folder.glob("*.npy"):
            assert path.read_bytes() == whole[path.name]
    (folder / "img_39_of_40.npy.0123abcd.part").write_bytes(b"half")
    (folder / "img_39_of_40.npy").unlink(missing_ok=True)
    generate(survey(data, 5), 1)
    assert {path.name for path in folder.iterdir()} == set(whole)


def test_halves_of_indices_are_swept_up(tmp_path):
    """What a killed run left of an index beside the data goes with the next run, like what it left of the data."""
    data = data_of(tmp_path / "d", format="tfrecord", files_train=2)
    generate(survey(data, 5), 1)
    folder = tmp_path / "d" / "index" / "train"
    (folder / "img_1_of_2.tfrecord.idx.0123abcd.part").write_bytes(b"half")
    (tmp_path / "d" / "train" / "img_1_of_2.tfrecord").unlink()
    generate(survey(data, 5), 1)
    assert sorted(path.name for path in folder.iterdir()) == ["img_0_of_2.tfrecord.idx", "img_1_of_2.tfrecord.idx"]


HALF_MADE = """
import sys
from tracekit.workload.datagen import *
from tracekit.workload.datagen.maker import Maker
from tracekit.workload.distribution import Distribution
from tracekit.workload.job import DataSet
(_, pieces), = Maker({data!r}, 5, 1.0).pieces("train", 0)
first = next(pieces)
print("half", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_run_left_of_an_hdf5_file_goes_with_the_next(tmp_path, monkeypatch):
    """Such files are made in a temporary directory first: that of a process that lives stays, that of a killed one is removed."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    data = data_of(
        tmp_path / "d", format="hdf5", files_train=1, samples_per_file=16, record_bytes=Distribution.fixed(1 << 20)
    )
    words, environment = [sys.executable, "-c", HALF_MADE.format(data=data)], os.environ | {"TMPDIR": tempfile.tempdir}
    with subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half\n"
        generate(survey(data, 5), 1)
        assert len(os.listdir(tempfile.tempdir)) == 1
        process.kill()
    generate(survey(data, 5, force=True), 1)
    assert os.listdir(tempfile.tempdir) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"record_bytes": Distribution.fixed(31_000)},
            "the size of a sample was normal (mean 30000, stdev 9000) and is to be fixed (value 31000)",
        ),
        ({"files_train": 13}, "the number of files was 12 and is to be 13"),
        ({"format": "npz"}, "the format was npy and is to be npz"),
    ],
)
def test_another_data_set_at_the_place_is_refused(tmp_path, change, sentence):
    """Going on with other sizes would leave a mixture: the difference is named, and `--force` makes all of it anew."""
    data = data_of(tmp_path / "d")
    generate(survey(data, 5))
    with pytest.raises(InputError) as caught:
        survey(replace(data, **change), 5)
    assert sentence in str(caught.value)
    with pytest.raises(InputError, match="the seed was 5 and is to be 6"):
        survey(data, 6)
    outlook = survey(replace(data, **change), 5, force=True)
    assert len(outlook.missing) == outlook.files


def test_files_of_somebody_else_are_not_written_among(tmp_path):
    """A place that holds files and no word of ours is refused."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "photo.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="holds files, and nothing there says that tracekit made them"):
        survey(data_of(tmp_path / "d"))


def test_a_manifest_that_is_none_is_named(tmp_path):
    """What cannot be read as ours is said to be so, also one of a later version."""
    (tmp_path / "d").mkdir()
    for text, sentence in (
        ("[1]", "does not say how"),
        ("{", "does not say how"),
        ('{"tracekit_dataset": 2}', "is of version 2"),
    ):
        (tmp_path / "d" / manifest.NAME).write_text(text)
        with pytest.raises(InputError, match=sentence):
            survey(data_of(tmp_path / "d"))


Room = namedtuple("Room", "f_bavail f_frsize f_files f_favail")  # noqa: PYI024 -- the part of os.statvfs that is looked at


def test_a_terabyte_is_refused_before_the_first_byte(tmp_path, capsys):
    """1.35 TiB of CosmoFlow do not fit into what is free: exit 2 with both numbers, and nothing is written."""
    free = shutil.disk_usage(tmp_path).free
    files = max(524288, 4 * free // 2828486)
    words = [f"++dataset.num_files_train={files}", "++train.epochs=1", "++reader.batch_size=1"]
    assert main(["generate", "cosmoflow", "--data", str(tmp_path / "d"), *words]) == 2
    said = capsys.readouterr().err
    assert "the data set needs" in said
    assert "free; name a larger file system" in said
    assert not (tmp_path / "d").exists()


def test_a_file_system_without_inodes_is_refused(tmp_path, monkeypatch):
    """As many files as there are inodes left do not fit."""
    monkeypatch.setattr(os, "statvfs", lambda _: Room(1 << 40, 4096, 100, 11))
    with pytest.raises(InputError, match=r"has 12 files and .* has 11 inodes left"):
        survey(data_of(tmp_path / "d"))


def test_memory_is_refused_where_the_data_would_fill_it(monkeypatch):
    """On a file system in memory half of what is available is the most; below it a remark is made."""
    if not os.path.isdir("/dev/shm"):
        pytest.skip("there is no file system in memory here")
    available = room._available_memory()
    monkeypatch.setattr(os, "statvfs", lambda _: Room(1 << 40, 4096, 0, 0))
    with pytest.raises(InputError, match=r"is in memory, the data set needs .* of memory are available"):
        room.check("file:///dev/shm/tracekit-none", available, 1)
    assert "never read from a device" in room.check("file:///dev/shm/tracekit-none", 1 << 16, 1)[0]


def test_room_for_files_on_their_way_is_looked_for(tmp_path, monkeypatch):
    """HDF5 files are made in TMPDIR first: where one of them does not fit, that is refused before the first."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    plain = os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda place: Room(1, 4096, 0, 0) if place == str(tmp_path) else plain(place))
    with pytest.raises(InputError, match=r"making its files needs .* free; name a larger file system with TMPDIR"):
        survey(data_of("/", format="hdf5", record_bytes=Distribution.fixed(1000)), force=True)
    assert survey(data_of("/", record_bytes=Distribution.fixed(1000)), force=True).missing


def test_what_is_written_is_never_more_than_was_said(tmp_path):
    """The estimate that room is looked for by covers every format."""
    from tracekit.workload.datagen.registry import FORMATS

    for name in FORMATS:
        samples = 1 if name in ("jpeg", "png") else 7
        data = DataSet(
            file_uri(tmp_path / name),
            name,
            files_train=3,
            samples_per_file=samples,
            record_bytes=Distribution.fixed(5000),
        )
        outlook = survey(data)
        assert generate(outlook, 1) <= outlook.bytes


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    """A file where a folder is to be: one sentence, whether one process makes the data or several."""
    (tmp_path / "d").mkdir()
    outlook = survey(data_of(tmp_path / "d", files_train=4))
    (tmp_path / "d" / "train").write_text("in the way")
    for processes in (1, 2):
        with pytest.raises(CannotRunError, match="cannot be written: "):
            generate(outlook, processes)


def test_a_process_that_is_killed_is_noticed(tmp_path, monkeypatch):
    """The run ends with a sentence, not with waiting."""
    module = sys.modules["tracekit.workload.datagen.generate"]
    plain = module._Worker.__init__

    def killed(self, outlook):
        plain(self, outlook)
        self._process.kill()

    monkeypatch.setattr(module._Worker, "__init__", killed)
    with pytest.raises(CannotRunError, match="ended early; run it again"):
        generate(survey(data_of(tmp_path / "d")), 2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lognormal(mean=1MiB)x", "is not a distribution"), ("lognormal(1MiB)", "is not a distribution"),
        ("lognorm(mean=1MiB)", "did you mean 'lognormal'?"), ("uniform(min=2,max=1)", "min above its max"), ("12q", "is not a size"),
        ("gamma(shape=x,scale=1KiB)", "'x' is not a number"),
    ],
)  # fmt: skip
def test_a_wrong_size_is_named(tmp_path, capsys, text, sentence):
    """`--sample-bytes` that is neither a size nor a distribution: exit 2."""
    assert main([*ARGUMENTS, "--data", str(tmp_path), "--sample-bytes", text]) == 2
    assert sentence in capsys.readouterr().err


def test_sizes_are_drawn_from_the_distribution_asked_for(tmp_path):
    """`--sample-bytes` replaces the workload's size."""
    words = [
        "--sample-bytes",
        "uniform(min=1KiB,max=64KiB)",
        "++dataset.format=npy",
        "++dataset.num_samples_per_file=1",
        "++reader.batch_size=1",
    ]
    assert main([*ARGUMENTS, "--data", str(tmp_path / "d"), *words]) == 0
    sizes = [path.stat().st_size - 128 for path in (tmp_path / "d" / "train").iterdir()]
    assert len(set(sizes)) > 5
    assert all(1024 <= size <= 65536 for size in sizes)


def test_progress_counts_up_to_the_end(tmp_path):
    """The report is called for every file and ends with all of them and all bytes."""
    calls = []
    written = generate(survey(data_of(tmp_path / "d")), 1, lambda *figures: calls.append(figures))
    assert [files for files, _ in calls] == list(range(1, 13))
    assert calls[-1] == (12, written)
    assert written == sum(np.load(path).nbytes + 128 for path in (tmp_path / "d" / "train").iterdir())


@pytest.mark.parametrize(
    "fmt", ["npy", "npz", "hdf5", "tfrecord", "csv", "jpeg", "png", "indexed_binary", "parquet", "webdataset"]
)
def test_what_was_made_is_verified_in_every_format(tmp_path, fmt):
    """Every byte of every file is read, indices included, and is what it was made as, also when it was made long ago."""
    data = data_of(tmp_path / "d", format=fmt, files_train=3)
    written = generate(survey(data, 4), 1)
    for path in (tmp_path / "d").rglob("*.*"):
        os.utime(path, (0, 0))
    calls = []
    assert verify(survey(data, 4), 2, lambda *figures: calls.append(figures)) == written
    assert calls[-1] == (3, written)
    path = min(path for path in (tmp_path / "d").rglob("*") if path.is_file() and not path.name.startswith("."))
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(InputError, match=f"{path.name} has .* bytes and .* were written"):
        verify(survey(data, 4))


def test_verify_names_the_first_byte_that_is_another(tmp_path):
    """Not where the piece begins that it stands in; of a file that was cut short, where it ends."""
    data = data_of(tmp_path / "d", format="npz", files_train=1)
    generate(survey(data, 4), 1)
    (path,) = (tmp_path / "d" / "train").iterdir()
    made = path.read_bytes()
    place = len(made) // 2
    for spoilt in (made[:place] + bytes([made[place] ^ 1]) + made[place + 1 :], made[:place]):
        path.write_bytes(spoilt)
        with pytest.raises(InputError, match=f"does not hold at byte {place} what was written"):
            verify(survey(data, 4))


def test_verify_names_the_next_step(tmp_path, capsys):
    """Data that is as it was made is there to be run."""
    words = ["generate", "minimal", "--data", str(tmp_path / "d"), "++workload.dataset.num_files_train=1"]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert main([*words, "--verify"]) == 0
    assert said.splitlines()[-1] == capsys.readouterr().err.splitlines()[-1]
    assert said.splitlines()[-1].startswith("next: tracekit run minimal ")


def test_verify_makes_nothing(tmp_path, capsys):
    """Where files are missing it says how many and which is the first; options that make something are refused with it."""
    words = [*ARGUMENTS, "--data", str(tmp_path / "d"), "--verify"]
    assert main(words) == 2
    assert "files are missing in" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()
    for option in ("--force", "--dry-run"):
        assert main([*words, option]) == 2
        assert "--verify makes nothing" in capsys.readouterr().err


def test_room_is_looked_for_where_a_relative_place_is(tmp_path, monkeypatch):
    """Of a place that is relative and not there yet, the folder it is to be made in counts, and not the root."""
    monkeypatch.chdir(tmp_path)
    asked, real = [], os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda place: (asked.append(str(place)), real(place))[1])
    room.check("new/data", 1, 1)
    assert asked == [str(tmp_path)]


@pytest.mark.parametrize("ratio", ["0.5", "nan", "5000"])
def test_an_impossible_ratio_leaves_nothing_behind(tmp_path, capsys, ratio):
    """What content cannot be is refused before the place says that a data set was made so."""
    assert main([*ARGUMENTS, "--data", str(tmp_path / "d"), "--compress-ratio", ratio]) == 2
    assert f"--compress-ratio is {float(ratio)}" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_the_level_of_compression_acts_on_npz(tmp_path):
    """Level 0 stores what level 9 makes smaller."""
    sizes = []
    for level in (0, 9):
        data = data_of(tmp_path / str(level), format="npz", files_train=1, compression="zip", compression_level=level)
        sizes.append(generate(survey(data, ratio=4), 1))
    assert sizes[0] > 2 * sizes[1]
