"""What is wrong with a workload file is one sentence with file and line; every key acts or is said not to."""

import json
import subprocess
import sys

import pytest
import yaml

from tracekit.cli import main
from tracekit.errors import InputError, UnknownNameError
from tracekit.uri import file_uri
from tracekit.workload.dlio import checks, shipped
from tracekit.workload.dlio.schema import KEYS
from tracekit.workload.dlio.settings import read
from tracekit.workload.dlio.translate import load

GOOD = """\
framework: pytorch
dataset:
  format: npz
  num_files_train: 8
  num_samples_per_file: 4
  record_length_bytes: 65536
reader:
  batch_size: 4
train:
  epochs: 2
  computation_time: 0.1
"""


@pytest.fixture
def workload(tmp_path, monkeypatch):
    """A function that writes a workload file, by default a good one with lines replaced or added; relative places are here."""
    monkeypatch.chdir(tmp_path)

    def write(text=GOOD, **lines):
        for old, new in lines.items():
            text = text.replace(next(line for line in text.splitlines() if line.strip().startswith(f"{old}:")), new)
        (tmp_path / "w.yaml").write_text(text)
        return "w.yaml"

    return write


def findings(path, level="error", *words):
    """The findings of a level as sentences."""
    settings = read(path, words)
    checks.check(settings)
    return [str(finding) for finding in settings.findings.of(level)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{}", 1),
        ("# mine\n\n{tracekit: 99}", 3),
        ("train:\n", 1),
        ("workload: {}", 1),
        ("defaults: [_self_]", 1),
        ("pytorch_config: {}", 1),
    ],
)
def test_a_file_with_nothing_of_a_workload_is_an_error(workload, text, line):
    """Nothing known in it: an error with file and line, though DLIO's defaults would be a workload; one value that is set makes it one."""
    sentences = findings(workload(text))
    assert len(sentences) == 1
    assert sentences[0].startswith(f"w.yaml:{line}: there is nothing of a workload in it; write sections with keys")
    assert main(["dlio", "lint", "w.yaml"]) == 2
    assert not findings("w.yaml", "error", "++workload.reader.batch_size=2")


def test_a_top_that_is_no_mapping_is_an_error_with_its_line(workload, capsys):
    """A scalar, or a list, where sections are meant."""
    for text in ("42", "[dataset]"):
        assert main(["dlio", "lint", workload(text)]) == 2
        assert "w.yaml:1: the top of a workload file is a mapping of sections" in capsys.readouterr().err


# What replaces a line of the good file, and the sentence about it.
WRONG = [
    ({"num_files_train": "  num_files_train: 1e6"},
     "w.yaml:4: dataset.num_files_train: 1e6 is the float 1000000.0 as OmegaConf reads it, where a whole number is meant; write 1000000"),
    ({"num_files_train": "  num_files_train: '8'"}, "w.yaml:4: dataset.num_files_train: '8' is not a whole number; write a number without a point, as in 8"),
    ({"num_files_train": "  num_files_train: -8"}, "w.yaml:4: dataset.num_files_train: -8 is out of range; write a whole number from 0"),
    ({"num_files_train": "  num_files_train: 0"}, "w.yaml:4: dataset.num_files_train: there is no file to train on"),
    ({"num_files_train": "  num_file_train: 8"}, "w.yaml:4: dataset.num_file_train: there is no such key; did you mean num_files_train?"),
    ({"num_files_train": "  batch_size: 8"}, "w.yaml:4: dataset.batch_size: there is no such key; did you mean reader.batch_size?"),
    ({"num_files_train": "  xyzzy: 8"}, "w.yaml:4: dataset.xyzzy: there is no such key; dataset has: chunk_size,"),
    ({"batch_size": "  file_shuffle: off"},
     "w.yaml:8: reader.file_shuffle: off without quotes is the boolean False in YAML 1.1, which DLIO does not take for the word off: it would shuffle; write 'off' in quotes"),
    ({"batch_size": "  file_shuffle: sead"}, "w.yaml:8: reader.file_shuffle: sead is not one of its values; did you mean seed?"),
    ({"batch_size": "  batch_size: 33"}, "w.yaml:8: reader.batch_size: a batch of 33 is more than the 32 samples there are"),
    ({"batch_size": "  batch_size: 4.5"}, "w.yaml:8: reader.batch_size: 4.5 is not a whole number"),
    ({"batch_size": "  batch_size: [4]"}, "w.yaml:8: reader.batch_size: a list is not a whole number"),
    ({"batch_size": "  batch_size: true"}, "w.yaml:8: reader.batch_size: true is not a whole number"),
    ({"batch_size": "  odirect: 'yes'"}, "w.yaml:8: reader.odirect: 'yes' is neither True nor False"),
    ({"record_length_bytes": "  record_length_bytes: 64k"}, "w.yaml:6: dataset.record_length_bytes: 64k is not a number; write bytes, as in 65536"),
    ({"record_length_bytes": "  record_length_bytes: .inf"}, "w.yaml:6: dataset.record_length_bytes: .inf is out of range"),
    ({"record_length_bytes": "  record_length_bytes: .nan"}, "w.yaml:6: dataset.record_length_bytes: .nan is out of range"),
    ({"record_length_bytes": "  record_length_bytes: 0.5"}, "w.yaml:6: dataset.record_length_bytes: a sample has no bytes"),
    ({"record_length_bytes": "  record_length_bytes: 4611686018427387903"}, "dataset.num_samples_per_file: the data set would have 128 EiB"),
    ({"record_length_bytes": "  record_length: 5\n  record_length_bytes: 6"}, "w.yaml:7: dataset.record_length_bytes: says again what dataset.record_length says"),
    ({"format": "  format: tfrecords"}, "w.yaml:3: dataset.format: tfrecords is not one of its values; did you mean tfrecord?"),
    ({"format": "  format: jpeg"}, "w.yaml:5: dataset.num_samples_per_file: a jpeg file is one sample; write 1"),
    ({"format": "  format: npz\n  compression: lzf"}, "w.yaml:4: dataset.compression: npz files are not compressed with lzf; npz has zip or none"),
    ({"format": "  format: npy\n  compression: zip"}, "w.yaml:4: dataset.compression: npy files are not compressed with zip; npy is written without"),
    ({"format": "  record_dims: [64, -1]"}, "w.yaml:3: dataset.record_dims: a list is not a list of whole numbers"),
    ({"format": "  record_element_type: float33"}, "w.yaml:3: dataset.record_element_type: 'float33' is no element type"),
    ({"epochs": "  total_training_steps: 17"}, "17 steps are more than the data has: 32 samples / 4 × 1 epochs = 8"),
    ({"epochs": "  total_training_steps: 0"}, "0 steps are no training"),
    ({"computation_time": "  computation_time: {type: normal, mean: 1, scale: 2}"}, "a normal distribution has mean and stdev, not scale"),
    ({"computation_time": "  computation_time: {type: gama, shape: 1}"}, "'gama' is no distribution"),
    ({"computation_time": "  computation_time: {type: uniform, min: 2, max: 1}"}, "min 2 is above max 1"),
    ({"computation_time": "  computation_time: {type: exponential, scale: x}"}, "scale: x is not a number"),
    ({"computation_time": "  computation_time: -0.1"}, "-0.1 is out of range"),
    ({"framework": "workflow: {evaluation: True}"}, "workflow.evaluation: there is no file to evaluate on"),
    ({"framework": "storage: {storage_type: aistore}"}, "aistore is not a storage of tracekit; use its S3 gateway"),
    ({"framework": "train_: 5"}, "w.yaml:1: train_: there is no such key"),
    ({"computation_time": "  computation_time: {type: gamma, shape: 0, scale: 1}"}, "train.computation_time: the shape of a distribution of kind gamma is 0; write a number above 0"),
    ({"computation_time": "  computation_time: {type: exponential, scale: 0.0}"}, "the scale of a distribution of kind exponential is 0"),
    ({"framework": "metric: {au: 900}"}, "w.yaml:1: metric.au: 900 is more than all of the time"),
    ({"framework": "metric: 5"}, "w.yaml:1: metric: 5 stands where a section with keys is meant"),
    ({"framework": "model: {parallelism: {zero_stage: 4}}"}, "model.parallelism.zero_stage: there is no stage 4"),
    ({"framework": "model: {parallelism: {zero_stage: 3, pipeline: 2}}"}, "takes no pipeline"),
    ({"framework": "model: {model_datatype: fp17}"}, "'fp17' is no data type"),
    ({"framework": "model: {transformer: {num_attention_heads: 32, num_kv_heads: 5}}"}, "32 attention heads cannot share 5 key-value heads evenly"),
    ({"format": "  format: parquet\n  parquet: {columns: [{name: a}, {name: a}]}"}, "a column is there twice"),
    ({"format": "  format: parquet\n  parquet: {columns: [{name: a, dtype: int7}]}"}, "column a has the dtype 'int7'"),
    ({"format": "  format: parquet\n  parquet: {columns: [{name: a, dtype: [int8]}]}"}, "column a has the dtype ['int8']"),
    ({"format": "  format: parquet\n  parquet: {columns: [{name: a, size: 0}]}"}, "column a has the size 0"),
    ({"format": "  format: parquet\n  parquet: {columns: [{name: a, width: 1}]}"}, "column a has no width"),
    ({"format": "  format: parquet\n  parquet: {columns: a}"}, "columns are a list of {name, dtype, size, read}"),
    ({"epochs": "  epochs: ${NOWHERE}"}, "w.yaml:10: train.epochs: there is no value for ${NOWHERE}"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "sentence"), WRONG, ids=[next(iter(lines.values())).strip() for lines, _ in WRONG])
def test_what_is_wrong_is_said_with_file_and_line(lines, sentence, workload):
    """Each mistake is one sentence with its place; loading the file raises it."""
    path = workload(**lines)
    assert any(sentence in found for found in findings(path)), findings(path)
    with pytest.raises(InputError):
        load(path)


def test_a_good_file_has_no_findings(workload):
    """Nothing is said about a file in which everything acts."""
    assert read(workload()).findings == []


def test_the_command_fails_with_exit_2_and_one_sentence(workload, capsys):
    """`tracekit dlio lint` of a wrong file ends with 2 and shows the place; `export` refuses it."""
    path = workload(num_files_train="  num_files_train: 1e6")
    assert main(["dlio", "lint", path]) == 2
    assert "error: w.yaml:4: dataset.num_files_train" in capsys.readouterr().out
    assert main(["dlio", "export", path]) == 2
    assert "w.yaml:4" in capsys.readouterr().err
    assert main(["dlio", "lint", path, "--to-json"]) == 2
    assert "w.yaml:4" in capsys.readouterr().err


def test_several_errors_are_counted(workload):
    """A run names the first error and how many more lint shows."""
    with pytest.raises(InputError, match=r"and 1 more: see tracekit dlio lint"):
        load(workload(num_files_train="  num_files_train: -1", batch_size="  batch_size: 0"))


@pytest.mark.parametrize("path", [path for path, key in KEYS.items() if key.inert])
def test_every_key_that_does_nothing_says_so_with_its_line(path, workload):
    """A key that does not act is a note with file and line and the reason."""
    key = KEYS[path]
    tree = {}
    inside = tree
    *sections, name = path.split(".")
    for section in sections:
        inside = inside.setdefault(section, {})
    example = {
        "bool": True,
        "word": "x",
        "choice": key.choices[0] if key.choices else "",
        "map": ["x"],
        "shape": [4],
        "any": "x",
    }
    inside[name] = example.get(key.kind, 1)
    notes = findings(workload(yaml.safe_dump(tree)), "note")
    assert notes == [f"w.yaml:{len(sections) + 1}: {path}: does nothing here: {key.inert}"]


def different(key):
    """A value of a key that is not its default."""
    special = {"storage.storage_type": "s3", "model.parallelism.zero_stage": 2, "dataset.compression_level": 9}
    if key.path in special:
        return special[key.path]
    if key.kind == "choice":
        return next(choice for choice in key.choices if choice not in (key.default, "aistore"))
    samples = {
        "bool": not key.default, "word": "float32" if "type" in key.path else "other", "shape": [4, 4], "share": 0.5,
        "number": 0.25, "time": 0.25, "map": [{"name": "a"}],
    }  # fmt: skip
    return samples.get(key.kind, 4)


# What has to be switched on for a key to show, and the format whose files it is about.
NEEDS = {
    "evaluation": {"workflow.evaluation": True, "dataset.num_files_eval": 2},
    "checkpoint": {"workflow.checkpoint": True},
    "model": {"workflow.checkpoint": True},
    "reader.batch_size_eval": {"workflow.evaluation": True, "dataset.num_files_eval": 8},
    "dataset.chunk_size": {"dataset.enable_chunking": True},
    "dataset.enable_chunking": {"dataset.chunk_size": 64},
    "workflow.evaluation": {"dataset.num_files_eval": 2},
    "dataset.compression": {"dataset.format": "csv"},
    "train.computation_time_stdev": {"train.computation_time": 1},
    "reader.preprocess_time_stdev": {"reader.preprocess_time": 1},
    "evaluation.eval_time_stdev": {"evaluation.eval_time": 1, "workflow.evaluation": True, "dataset.num_files_eval": 2},
}


@pytest.mark.parametrize("path", [path for path, key in KEYS.items() if not key.inert])
def test_every_other_key_changes_the_job(path, workload):
    """A key that is not said to do nothing makes another job when its value is another."""
    need = NEEDS.get(path, NEEDS.get(path.split(".")[0], {}))
    words = [f"++{name}={value}" for name, value in need.items()]
    changed = [*words, f"++{path}={different(KEYS[path])}".replace("'", "").replace(": ", ":").replace(", ", ",")]
    base = workload("dataset: {num_files_train: 64}\nreader: {batch_size: 1}\n")
    assert load(base, words)[0] != load(base, changed)[0]


DL_DRIVER = """\
model: {name: m, framework: pytorch}
framework: pytorch
dataset: {data_folder: "s3://bucket/data", format: npz, num_files_train: 64, record_length_bytes: 4096}
reader: {data_loader: pytorch, batch_size: 32, prefetch: 8, shuffle: true, read_threads: 4, compute_threads: 2, seed: 42}
checkpointing: {checkpoint_folder: "file:///ck"}
metric: {au: 90}
pytorch_config: {batch_size: 16, num_workers: 3, shuffle: false, seed: 7, drop_last: false, prefetch_factor: 5, pin_memory: true}
tensorflow_config: {batch_size: 8, shuffle_buffer_size: 1000}
framework_profiles:
  pytorch: {batch_size: 24, return_type: tensor}
"""


def test_the_sections_of_dl_driver_act(workload):
    """`pytorch_config` wins over `framework_profiles`, and both over `reader`; another framework's section is named as idle."""
    job, settings = load(workload(DL_DRIVER))
    assert settings.dialect == "dl-driver"
    assert (job.loader.batch_size, job.loader.num_workers, job.loader.prefetch) == (16, 3, 5)
    assert (job.loader.shuffle, job.loader.seed, job.loader.drop_last) == (False, 7, False)
    assert (job.train.batch_size, job.train.seed, job.au_target, job.data.uri) == (16, 7, 0.9, "s3://bucket/data")
    notes = [finding.key for finding in settings.findings.of("note")]
    assert {"tensorflow_config", "pytorch_config.pin_memory", "framework_profiles.pytorch.return_type"} <= set(notes)


def test_the_section_of_the_framework_is_the_one_that_acts(workload):
    """The same file for TensorFlow takes its batch from `tensorflow_config`; -1 is AUTOTUNE and changes nothing."""
    job, settings = load(workload(DL_DRIVER), ["framework=tensorflow", "++tensorflow_config.num_parallel_calls=-1"])
    assert (job.framework, job.loader.batch_size, job.loader.num_workers) == ("tensorflow", 8, 4)
    # A loader shuffles over everything; that the buffer does nothing is said.
    assert "tensorflow_config.shuffle_buffer_size" in [finding.key for finding in settings.findings.of("note")]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("++pytorch_config.num_worker=2", "pytorch_config.num_worker: there is no such key; did you mean num_workers?"),
        ("++pytorch_config.batch_size=0", "pytorch_config.batch_size: 0 is not a whole number from 1"),
        ("++pytorch_config.shuffle=1", "pytorch_config.shuffle: 1 is not True or False"),
        ("++pytorch_config=5", "pytorch_config: is not a section with keys"),
        ("++framework_profiles.mxnet.batch_size=5", "framework_profiles.mxnet: there is no such framework"),
    ],
)
def test_a_wrong_key_of_dl_driver_is_named(word, sentence, workload):
    """What stands in its sections is looked at like the rest."""
    with pytest.raises(InputError) as caught:
        load(workload(DL_DRIVER), [word])
    assert sentence in str(caught.value)


PLACES = [
    ([], lambda here: file_uri(f"{here}/data")),
    (["++dataset.data_folder=/a/b"], lambda _: "file:///a/b"),
    (["++dataset.data_folder=x/", "++storage.storage_root=/mnt"], lambda _: "file:///mnt/x"),
    (["++dataset.data_folder=s3://b/k"], lambda _: "s3://b/k"),
    (["++dataset.data_folder=x/y", "++storage.storage_type=s3", "++storage.storage_root=b"], lambda _: "s3://b/x/y"),
    (["++storage.storage_type=s3", "++storage.storage_root=b"], lambda _: "s3://b/data"),
    (["++dataset.data_folder=.", "++storage.storage_root=s3://b/k/"], lambda _: "s3://b/k"),
    (["++dataset.data_folder=x", "++storage.storage_root=az://c/p/"], lambda _: "az://c/p/x"),
    (["++dataset.data_folder=/a", "++storage.storage_type=direct_fs"], lambda _: "direct:///a"),
]


@pytest.mark.parametrize(("words", "uri"), PLACES)
def test_where_the_data_is(words, uri, workload, tmp_path):
    """Folder, root and type of the storage make one URI."""
    assert load(workload(), words)[0].data.uri == uri(tmp_path)


def test_data_named_on_the_command_line_wins(workload):
    """A place that is handed over replaces the file's."""
    assert load(workload(), data="az://c/x")[0].data.uri == "az://c/x"


@pytest.mark.parametrize("name", shipped.names())
def test_what_comes_with_the_package_is_without_fault(name, capsys):
    """Every shipped workload lints clean and shows its demand."""
    assert main(["dlio", "lint", name]) == 0
    assert "demand of one accelerator that never waits" in capsys.readouterr().out


def test_the_shipped_workloads_are_those_that_were_asked_for():
    """Profiles, a replay, a minimal one, and the four models of the public benchmarks."""
    assert shipped.names() == [
        "bert",
        "cosmoflow",
        "minimal",
        "resnet50",
        "tf-like",
        "torch-like",
        "trace-replay",
        "unet3d",
    ]


def test_a_workload_that_is_not_there_is_named():
    """A name proposes the nearest, a path says it is not there."""
    with pytest.raises(UnknownNameError, match="did you mean 'unet3d'"):
        shipped.path_of("unet3")
    with pytest.raises(InputError, match=r"there is no workload file x/y\.yaml"):
        shipped.path_of("x/y.yaml")


def test_lint_as_json_holds_findings_and_figures(workload, capsys):
    """The JSON has each finding with its line, and the arithmetic for the ranks asked for."""
    assert (
        main(
            [
                "dlio",
                "lint",
                workload(computation_time="  computation_time: 0.1\noutput: {log_file: x}"),
                "--json",
                "--ranks",
                "2",
            ]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["findings"][0] | {"problem": ""} == {
        "level": "note", "file": "w.yaml", "line": 12, "key": "output.log_file", "problem": "", "way_out": None,
    }  # fmt: skip
    assert (found["sizing"]["samples"], found["sizing"]["steps_per_epoch"]) == (32, 4)


def test_the_job_as_json(workload, capsys):
    """`--to-json` is the translated job, with overrides carried out."""
    assert main(["dlio", "lint", workload(), "++workload.reader.batch_size=8", "--to-json"]) == 0
    job = json.loads(capsys.readouterr().out)
    assert (job["loader"]["batch_size"], job["data"]["files_train"], job["train"]["epochs"]) == (8, 8, 2)


def test_strict_takes_warnings_for_errors(capsys):
    """A size with a fraction is a warning, and with `--strict` exit 2."""
    assert main(["dlio", "lint", "resnet50"]) == 0
    assert "114660.07 is a mean" in capsys.readouterr().out
    assert main(["dlio", "lint", "resnet50", "--strict"]) == 2


def test_export_writes_a_file_that_is_not_replaced_by_accident(workload, tmp_path, capsys):
    """An output is written once, replaced only with --force, and is a workload again."""
    path = workload()
    assert main(["dlio", "export", path, "--for", "2.0.0", "-o", "old.yaml"]) == 0
    assert main(["dlio", "export", path, "--for", "2.0.0", "-o", "old.yaml"]) == 2
    assert main(["dlio", "export", path, "--for", "3.0", "-o", "new.yaml"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert load(str(tmp_path / "old.yaml"))[0] == load(path)[0]


def test_an_exported_file_means_the_same_to_omegaconf(workload):
    """What is written is read by OmegaConf as the values it was made of: small floats stay numbers, off stays a word."""
    omegaconf = pytest.importorskip("omegaconf")
    from tracekit.workload.dlio import export

    values = {"train.computation_time": 1e-05, "reader.file_shuffle": "off", "train.epochs": 3, "workflow.train": True}
    text, _ = export.text(values, "3.x")
    tree = omegaconf.OmegaConf.create(text)
    assert (tree.train.computation_time, tree.reader.file_shuffle, tree.workflow.train) == (1e-05, "off", True)


def test_the_command_starts_without_heavy_imports():
    """Linting needs no NumPy: a file is looked through in the time Python takes to start."""
    code = "import sys; from tracekit.cli import main; main(['dlio', 'lint', 'minimal']); print(sorted({'numpy', 'pyarrow', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_folder_of_that_name_hides_no_workload(tmp_path, monkeypatch):
    """Data generated into a folder called as the workload leaves the workload's name what it was."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "minimal").mkdir()
    assert shipped.path_of("minimal").endswith("minimal.yaml")


def test_a_floor_of_the_model_acts_where_the_file_has_no_aim(workload):
    """Without `metric.au` the job has no aim of its own, so that MLPerf Storage's floor for its model is asked for."""
    text = DL_DRIVER.replace("metric: {au: 90}\n", "")
    assert load(workload(text))[0].au_target is None


@pytest.mark.parametrize(
    ("kind", "data", "uri"),
    [("direct_fs", "/d", "direct:///d"), ("direct_fs", "s3://b/d", "s3://b/d"), ("local_fs", "/d", "/d")],
)
def test_a_plain_place_keeps_the_file_s_way_of_reading(workload, kind, data, uri):
    """`--data` with a path says where, not how: `direct_fs` stays past the page cache."""
    text = DL_DRIVER + f"storage: {{storage_type: {kind}, storage_root: /}}\n"
    assert load(workload(text), (), data)[0].data.uri == uri
