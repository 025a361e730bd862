"""From a recording to the description of its workload: every value is the truth, or says how far it may be off."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import yaml

from tracekit import formats
from tracekit.cli import main
from tracekit.errors import InputError
from tracekit.testing import MS, training_trace
from tracekit.trace import Header, Mark, Op, Trace
from tracekit.workload import custom
from tracekit.workload.distil import description, requests, text, timing
from tracekit.workload.distil.describe import describe
from tracekit.workload.distil.found import LEVELS
from tracekit.workload.distil.visits import visits
from tracekit.workload.dlio import checks, settings
from tracekit.workload.shape import Shape

KIB = 1024


def _values(trace):
    """Every value of our section by path."""
    return {path: found.value for path, found in description.paths(describe(trace, "t.jsonl").own)}


@pytest.mark.parametrize(("workers", "batch", "shuffle"), [(2, 4, True), (3, 8, False), (1, 16, True)])
def test_a_training_job_is_described_as_it_is(workers, batch, shuffle):
    """Files and their size, requests, batch, workers, order, epochs and compute of an ideal job are those it was made with."""
    found = _values(training_trace(workers=workers, batch=batch, shuffle=shuffle, epochs=3, compute_ns=7 * MS))
    assert (found["files.count"], found["files.sizes"], found["epochs"]) == (48, 100_000, 3)
    assert (found["shape.unit"], found["shape.largest"], found["shape.ending"]) == ("file", 65_536, "again")
    assert (found["loader.batch_size"], found["loader.num_workers"]) == (batch, workers)
    assert found["loader.shuffle"] is shuffle
    assert custom.duration(found["compute"]).mean == pytest.approx(0.007, rel=0.01)
    assert "steps" not in found


_SHAPES = (
    Shape("file"),
    Shape("file", smallest=8192, largest=8192, ending="again"),
    Shape("file", smallest=30_000, largest=30_000, ending="short"),
    Shape("file", whole=True, beyond=1, ending="retry"),
    Shape("file", whole=True),
    Shape("file", smallest=64 * KIB, largest=64 * KIB, head=(4096, 61440), ending="buffered"),
    Shape("stream", cycle=(4096, 4096, 8192), ending="retry"),
    Shape("stream", smallest=256 * KIB, largest=256 * KIB, ending="retry"),
)


def _read_by(shape, sizes):
    """A visit of a file of each size, read by a shape."""
    ops, clock = [], 0
    for number, size in enumerate(sizes):
        for offset, length in shape.requests(size):
            ops.append(Op(f"file:///d/{number:03d}", offset, length, clock, t_complete=clock + 1, ret=max(0, min(length, size - offset)), pid=1, tid=1))  # fmt: skip
            clock += 10
    return visits(Trace.of(ops))


@pytest.mark.parametrize("shape", _SHAPES, ids=[f"{shape.unit}-{shape.ending}-{number}" for number, shape in enumerate(_SHAPES)])  # fmt: skip
def test_a_shape_is_found_by_its_requests(shape):
    """Whatever the settings, those that are found make the same requests for files of any size."""
    chance = random.Random(1)
    fit = requests.fit(_read_by(shape, [chance.randint(40_000, 900_000) for _ in range(60)]), shape.unit)
    assert fit.share == 1
    found = Shape.of({"unit": shape.unit, **fit.settings})
    for size in (1, 4096, 65_536, 77_777, 262_144, 500_001):
        if size >= 40_000:
            assert found.requests(size) == shape.requests(size)


def test_drawn_sizes_are_described_by_their_distribution():
    """Where no rule predicts the requests, their bounds are found, and the confidence says so."""
    shape = Shape("file", smallest=128 * KIB, largest=256 * KIB)
    ops, clock = [], 0
    for number in range(200):
        for offset, length in shape.requests(900_000, number):
            ops.append(Op(f"file:///d/{number:03d}", offset, length, clock, ret=length, pid=1, tid=1))
            clock += 1
    fit = requests.fit(visits(Trace.of(ops)), "file")
    assert fit.settings["smallest"] == pytest.approx(128 * KIB, rel=0.05)
    assert fit.settings["largest"] == pytest.approx(256 * KIB, rel=0.05)
    assert {found.confidence for found in fit.found().values()} == {"low"}


def _map_style(order, *, batch=4, compute_ns=5 * MS, prefix="file:///d/"):
    """A job with one worker that reads samples of 1,000 bytes in this order, a list for each epoch."""
    ops, marks, clock, step = [], [], 0, 0
    for epoch, samples in enumerate(order):
        for first in range(0, len(samples), batch):
            for sample in samples[first : first + batch]:
                ops.append(Op(f"{prefix}{sample:05d}", 0, 1000, clock, t_complete=clock + 1000, ret=1000, pid=2, tid=2, worker=0, epoch=epoch, step=step, sample_id=sample))  # fmt: skip
                clock += 2000
            marks += [Mark("step", clock, clock + compute_ns, step, epoch, 1), Mark("compute", clock, clock + compute_ns, step, epoch, 1)]  # fmt: skip
            clock, step = clock + compute_ns, step + 1
    return Trace.of(ops, marks=marks)


def _of_two_ranks(shares):
    """A recording of two ranks, one of them a pass behind, by the samples of each of their passes."""
    ops, marks = [], []
    for rank, late in ((0, 0), (1, 50 * MS)):
        alone = _map_style(shares[rank])
        # A loader that is made anew for each pass calls each its first.
        ops += [
            replace(op, t_submit=op.t_submit + late, t_complete=op.t_complete + late, pid=10 + rank, rank=rank, epoch=0)
            for op in alone
        ]
        marks += [Mark(one.mark, one.t + late, one.t_end + late, one.step, 0, 20 + rank) for one in alone.marks]
    return Trace.of(ops, marks=marks)


def test_ranks_share_every_pass_however_far_apart_they_are():
    """Each of two ranks has another half of the samples in each pass, one is a pass behind: both read the same data, shuffled, three times."""
    chance, shares = np.random.default_rng(11), ([], [])
    for _ in range(3):
        whole = chance.permutation(48).tolist()
        for rank in range(2):
            shares[rank].append(whole[rank::2])
    found = describe(_of_two_ranks(shares), "t")
    own = found.own
    told = (found.ranks, own["epochs"].value, own["files"]["count"].value, own["loader"]["batch_size"].value)
    assert told == (2, 3, 48, 4)
    assert own["loader"]["shuffle"].value is True
    assert "steps" not in own
    assert not {"drop_last", "shard_mode"} & set(own["loader"])


@pytest.mark.parametrize(
    ("shares", "mode", "sure"),
    [
        ([range(0, 48, 2), range(1, 48, 2)], "strided", "exact"),
        ([range(24), range(24, 48)], "blocks", "exact"),
        ([[*range(12), *range(36, 48)], range(12, 36)], "strided", "low"),
    ],
)
def test_ranks_with_samples_of_their_own_are_told_apart(shares, mode, sure):
    """Where each rank has the same samples in every pass, which they are is found; by no known rule it is a guess that says so."""
    chance = np.random.default_rng(5)
    passes = [[chance.permutation(np.array(own)).tolist() for _ in range(3)] for own in shares]
    found = describe(_of_two_ranks(passes), "t").own
    assert (found["loader"]["shard_mode"].value, found["loader"]["shard_mode"].confidence) == (mode, sure)
    assert (found["loader"]["shuffle"].value, found["epochs"].value, found["files"]["count"].value) == (True, 3, 48)


def test_one_pass_does_not_tell_whose_samples_they_are():
    """Two ranks that read once each another half may have dealt the pass or not: nothing is said."""
    assert "shard_mode" not in describe(_of_two_ranks([[list(range(24))], [list(range(24, 48))]]), "t").own["loader"]


@pytest.mark.parametrize("theta", [0.6, 0.99, 1.4])
def test_favourites_are_described_by_their_exponent(theta):
    """Draws with replacement in proportion to r^-theta: the exponent is found within what the description says it may be off."""
    chance = np.random.default_rng(7)
    share = np.arange(1, 401, dtype=float) ** -theta
    names = chance.permutation(400)
    epochs = [names[chance.choice(400, 400, p=share / share.sum())].tolist() for _ in range(4)]
    epochs[0][0] = 399  # so that the number of samples shows
    found = describe(_map_style(epochs), "t").own["loader"]["random_index_mode"]
    off = float(found.off.rpartition("±")[2])
    assert abs(float(found.value[8:-1]) - theta) < 3 * off < 1


def test_even_draws_with_replacement_are_told_from_a_shuffle():
    """Some 63 % of a pass are different: drawn evenly; and where all are, shuffled."""
    chance = np.random.default_rng(3)
    drawn = _values(_map_style([chance.integers(0, 300, 300).tolist() for _ in range(3)]))
    shuffled = _values(_map_style([chance.permutation(300).tolist() for _ in range(3)]))
    assert drawn["loader.random_index_mode"] == "uniform"
    assert shuffled["loader.shuffle"] is True
    assert "loader.random_index_mode" not in shuffled


def test_a_loader_for_each_epoch_makes_passes():
    """Where every pass calls itself the first, what comes again tells them apart."""
    trace = _map_style([list(range(64)), list(range(64))])
    again = Trace({**trace.columns, "epoch": np.zeros_like(trace.columns["epoch"])}, trace.tables, trace.marks)
    assert _values(again)["epochs"] == 2


def test_a_run_that_ends_early_says_so():
    """Where the last pass is not whole, the number of steps is part of the description."""
    found = _values(_map_style([list(range(64)), list(range(20))]))
    assert (found["epochs"], found["steps"]) == (2, 21)


def test_the_last_batch_tells_whether_it_is_dropped():
    """A smaller last batch is kept, and where there is none although samples do not go into batches it is dropped."""
    kept = _values(_map_style([list(range(30)), list(range(30))]))
    dropped = _values(_map_style([list(range(28)), [28, 29, *range(26)]]))
    assert kept["loader.drop_last"] is False
    assert dropped["loader.drop_last"] is True


def test_checkpoints_are_described():
    """Writes of many bytes between steps: how large they are, and how many steps lie between them."""
    trace = _map_style([list(range(80))])
    ends = [mark.t_end for mark in trace.marks if mark.mark == "step"]
    writes = [
        Op(f"file:///ckpt/{step}.pt", offset, 1 << 20, ends[step] - 1, op="write", ret=1 << 20, pid=1, tid=1)
        for step in (4, 9, 14, 19)
        for offset in (0, 1 << 20)
    ]
    logs = [Op("file:///log", 0, 80, end, op="write", ret=80, pid=1, tid=1) for end in ends]
    whole = Trace.of([*trace, *writes, *logs], marks=trace.marks)
    found = describe(whole, "t")
    assert (found.checkpoints.number.value, found.checkpoints.steps.value) == (4, 5)
    assert found.checkpoints.bytes.value == 2 << 20
    assert yaml.safe_load(text.workload(found))["checkpoint"]["model_size"] == 2 << 20
    assert any("checkpoint" in sentence for sentence in found.unsaid())


def test_what_is_beside_the_data_is_said(tmp_path, capsys):
    """Reads and writes of other files, which a check would count against the run, are counted and named with the way out."""
    path, stray = tmp_path / "t.jsonl", tmp_path / "stray.jsonl"
    trace = training_trace()
    formats.save(trace, path)
    locks = [Op(f"file:///tmp/lock{n}", 0, 4, n, op="write", ret=4, pid=1, tid=1) for n in range(3)]
    formats.save(Trace.of([*trace, *locks], marks=trace.marks), stray)
    assert main(["distil", str(path), "-o", str(tmp_path / "a.yaml")]) == 0
    assert "of other files" not in capsys.readouterr().err
    assert main(["distil", str(stray), "-o", str(tmp_path / "b.yaml")]) == 0
    said = capsys.readouterr().err
    assert "3 reads and writes of other files are not in the workload" in said
    assert "--include" in said


def test_writes_of_the_data_itself_are_said_to_be_that(tmp_path, capsys):
    """A job that makes its data first: no other files are spoken of, no --include proposed that it was recorded with, no checkpoint seen."""
    trace = training_trace().shifted(1000 * MS)
    first = {uri: n for n, uri in enumerate(trace.uris)}
    made = [Op(uri, 0, 100_000, n, op="write", ret=100_000, pid=1, tid=1) for uri, n in first.items()]
    formats.save(Trace.of([*made, *trace], marks=trace.marks), tmp_path / "t.jsonl")
    assert main(["distil", str(tmp_path / "t.jsonl"), "-o", str(tmp_path / "a.yaml")]) == 0
    said = capsys.readouterr().err
    assert "48 writes of the data itself are not in the workload" in said
    assert "record again now that the data is there" in said
    assert "other files" not in said
    assert "--include" not in said
    assert "checkpoint" not in said


@pytest.mark.parametrize("key", [str, lambda name: int(name.rpartition("f")[2])], ids=["plain", "by number"])
def test_both_orders_of_names_are_orders(key):
    """A job that reads f1, f10, f11 as sorted() has them, and one that reads f1, f2, f3: neither shuffles."""
    names = sorted((f"file:///data/f{n}" for n in range(1, 49)), key=key)
    trace = training_trace(shuffle=False, workers=1)
    renamed = dict(zip(sorted(trace.uris), names, strict=True))
    found = describe(Trace.of([replace(op, uri=renamed[op.uri]) for op in trace], marks=trace.marks), "t").own
    shuffle = found["loader"]["shuffle"]
    assert (shuffle.value, shuffle.confidence) == (False, "high")
    assert "in order of names, jumps 0%" in shuffle.how


def test_one_visit_that_jumps_is_one():
    """Two streams read by turns, one from end to end and one to and fro: of the visits of the second none is sequential, of the first all."""
    ops = []
    for file in range(6):
        for turn, place in enumerate((0, 2, 1)):
            clock = (file * 3 + turn) * 10
            ops.append(Op(f"/straight{file}", turn * 10, 10, clock, ret=10, pid=1, tid=1))
            ops.append(Op(f"/jumping{file}", place * 10, 10, clock + 1, ret=10, pid=1, tid=2))
    found = visits(Trace.of(ops))
    names = [found.reads.uris[code] for code in found.of("uri").tolist()]
    assert {name: bool(so) for name, so in zip(names, found.sequential, strict=True)} == {
        name: name.startswith("/straight") for name in names
    }


def test_evaluation_is_told_from_training():
    """Steps that read a folder called val: training is described without them, and both parts have them."""
    trace = _map_style([list(range(48)), list(range(16)), list(range(48)), list(range(16))], prefix="file:///d/train/")
    moved = [
        replace(op, uri=op.uri.replace("train", "val" if op.epoch % 2 else "train"), epoch=op.epoch // 2)
        for op in trace
    ]
    marks = [Mark(mark.mark, mark.t, mark.t_end, mark.step, mark.epoch // 2, mark.pid) for mark in trace.marks]
    found = describe(Trace.of(moved, marks=marks), "t")
    assert (found.own["files"]["count"].value, found.own["epochs"].value, found.mode) == (48, 2, "repeat")
    tree = yaml.safe_load(text.workload(found))
    assert (tree["workflow"]["evaluation"], tree["dataset"]["num_files_eval"], tree["reader"]["batch_size_eval"]) == (
        True,
        16,
        4,
    )
    assert (tree["evaluation"]["eval_after_epoch"], tree["evaluation"]["epochs_between_evals"]) == (1, 1)
    assert tree["evaluation"]["eval_time"] == pytest.approx(0.005)
    own = tree["tracekit"]["evaluation"]
    assert {name: own[name] for name in ("folders", "batch_size", "first_epoch", "every_epochs")} == {
        "folders": ["train", "val"], "batch_size": 4, "first_epoch": 1, "every_epochs": 1,
    }  # fmt: skip
    assert own["files"]["count"] == 16
    assert not any("evaluation" in sentence for sentence in found.unsaid())


@pytest.mark.parametrize(
    "kind", ["fixed", "normal", "gamma", "exponential", "lognormal"]
)  # fmt: skip
def test_times_are_described_by_the_kind_that_fits(kind):
    """The distribution that is found lies as near to the times as the one they were drawn from."""
    from tracekit.workload.distribution import Distribution

    parameters = {
        "fixed": {"value": 0.02}, "normal": {"mean": 0.02, "stdev": 0.002}, "gamma": {"shape": 1.5, "scale": 0.01},
        "exponential": {"scale": 0.02}, "lognormal": {"mean": 0.02, "stdev": 0.02},
    }  # fmt: skip
    truth = Distribution(kind, parameters[kind])
    found = timing.fitted(truth.draw(np.random.default_rng(2), 3000))
    assert found.mean == pytest.approx(truth.mean, rel=0.1)
    mine, theirs = (np.sort(one.draw(np.random.default_rng(5), 4000)) for one in (found, truth))
    assert np.abs(np.searchsorted(mine, theirs) / 4000 - np.arange(4000) / 4000).max() < 0.08 or kind == "fixed"


# -- the file --------------------------------------------------------------------------------------------------------------


def test_the_file_is_read_by_us_and_by_dlio(tmp_path):
    """Our section is what `tracekit run` takes; DLIO's sections are 2.0.0's and have no error; every value has a remark."""
    file = tmp_path / "workload.yaml"
    written = text.workload(describe(training_trace(), "t.jsonl"))
    file.write_text(written)
    said = custom.load(str(file))
    assert (said.epochs, said.loader["batch_size"], said.files.files, said.shape.ending) == (2, 4, 48, "again")
    assert custom.is_custom(str(file))
    read = settings.read(str(file))
    checks.check(read)
    assert [str(finding) for finding in read.findings if finding.level == "error"] == []
    assert (read.dialect, read["reader.batch_size"], read["dataset.record_length_bytes"]) == ("2.0.0", 4, 100_000)
    values = [
        line for line in written.splitlines() if ":" in line and not line.startswith("#") and not line.endswith(":")
    ]
    assert all("#" in line for line in values if "[" not in line)


def test_dlio_s_own_rules_read_the_file(tmp_path):
    """OmegaConf, which DLIO reads with, has every value as it was meant: numbers as numbers, `off` as a word."""
    from omegaconf import OmegaConf

    file = tmp_path / "dlio.yaml"
    file.write_text(text.dlio_text(describe(training_trace(shuffle=False), "t.jsonl")))
    tree = OmegaConf.to_container(OmegaConf.load(file))
    assert "tracekit" not in tree
    assert (tree["reader"]["file_shuffle"], tree["reader"]["read_threads"]) == ("off", 2)
    assert isinstance(tree["train"]["computation_time"], float)
    assert tree["dataset"]["record_length"] == 100_000


def test_json_says_how_sure_every_value_is(tmp_path, capsys):
    """Each key has a value, a level, how it was found, from how many observations, and how far it may be off."""
    formats.save(training_trace(), tmp_path / "t.jsonl")
    assert main(["distil", str(tmp_path / "t.jsonl"), "--json", "-o", str(tmp_path / "w.yaml")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["distil"] == 1
    assert told["mode"] == "repeat"
    assert {key["confidence"] for key in told["keys"].values()} <= set(LEVELS)
    assert all(key["how"] and set(key) == {"value", "confidence", "how", "observations", "off"} for key in told["keys"].values())  # fmt: skip
    assert told["keys"]["tracekit.loader.batch_size"]["value"] == 4
    assert told["keys"]["dlio.reader.batch_size"]["observations"] == 24


# -- bad input -------------------------------------------------------------------------------------------------------------

_BARE = [Op("file:///d/a", 0, 10, time, ret=10) for time in range(5)]
_STEPPED = {"epoch": 0, "step": 0, "pid": 1, "tid": 1}


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        (Trace.of([]), "holds no reads; record the job with tracekit record"),
        (Trace.of([Op("file:///d/a", 0, 10, 0, op="write", ret=10)]), "holds no reads"),
        (Trace.of(_BARE), "a recording by another tool, has no steps: nothing says what is read for one batch"),
        (Trace.of(_BARE, header=Header(producer={"tool": "tracekit"})), "a recording, has no steps"),
        (
            Trace.of([Op(uri, 0, 10, 0, ret=10, **_STEPPED) for uri in ("s3://b/k", "file:///d/k")]),
            "reads its data from files and s3:// objects, and a run reads from one place; choose one with --select",
        ),
        (Trace.of([Op("file:///d/a", None, 10, 0, ret=10, **_STEPPED)]), "does not say where in its files was read"),
    ],
)
def test_what_is_not_enough_is_one_sentence(trace, said):
    """A trace without what a description needs is refused with what is missing and what to do."""
    with pytest.raises(InputError) as caught:
        describe(trace, "t.jsonl")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.jsonl"], "none.jsonl"),
        (["t.jsonl", "-o", "t.jsonl"], "t.jsonl exists already"),
        (["t.jsonl", "-o", "w.yaml", "--dlio", "w.yaml"], "both files are to be w.yaml"),
        (["t.jsonl", "--select", "opp=read"], "did you mean 'op'"),
        (["t.jsonl", "--select", "uri=*/none/*"], "no op of the trace is left to describe"),
    ],
)
def test_wrong_words_are_one_sentence(words, said, tmp_path, monkeypatch, capsys):
    """Whatever is wrong on the command line is said in a sentence with status 2, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    formats.save(training_trace(), tmp_path / "t.jsonl")
    assert main(["distil", *words]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err
    assert [path.name for path in tmp_path.iterdir()] == ["t.jsonl"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "shape: {unit: fil}\nfiles: {count: 2}\n",
            "w.yaml:1: there is no unit of a shape 'fil'; did you mean 'file'?",
        ),
        ("shape: {unit: file}\n", "w.yaml:1: shape stands alone; describe both"),
        ("shape: {largest: 0}\nfiles: {count: 2}\n", "largest of the shape is 0; write a whole number, 1 or more"),
        ("shape: {smallest: 9, largest: 5}\nfiles: {count: 2}\n", "smallest is 9 and largest 5; exchange them"),
        ("shape: {cycle: 4}\nfiles: {count: 2}\n", "cycle of the shape is 4; write a list of sizes"),
        ("shape: {whole: 1}\nfiles: {count: 2}\n", "whole of the shape is 1; write true or false"),
        ("shape: {}\nfiles: {cuont: 2}\n", "w.yaml:2: there is no setting of files 'cuont'; did you mean 'count'?"),
        ("shape: {}\nfiles: {count: 0}\n", "count of the files is 0; write a whole number, 1 or more"),
        ("shape: {}\nfiles: {sizes: [1, x]}\n", "sizes of the files are [1, 'x']; write bytes, or a list of them"),
        ("shape: {}\nfiles: {pattern: same.bin}\n", "write names with their number, as in file_{:06d}.bin"),
        ("shape: {}\nfiles: {pattern: '../{:d}'}\n", "write names with their number"),
        ("shape: {}\nfiles: {count: 2}\nprofile: torch-like\n", "shape and profile exclude each other"),
        ("tracekit: 4\n", "w.yaml:1: tracekit is no section with keys"),
        ("tracekit:\n  epoch: 4\n", "w.yaml:2: there is no key 'epoch'; did you mean 'epochs'?"),
    ],
)
def test_a_wrong_edit_of_the_file_is_one_sentence(body, said, tmp_path):
    """What is wrong in the sections of a description is said with file and line."""
    (tmp_path / "w.yaml").write_text(body)
    with pytest.raises(InputError) as caught:
        custom.load(str(tmp_path / "w.yaml"))
    assert said in str(caught.value)
