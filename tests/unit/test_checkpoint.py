"""Checkpoints: how large each rank's part is, written whole, read back and verified on every key's meaning."""

import json
import os
from dataclasses import replace

import pyarrow as pa
import pytest

from tracekit.cli import main
from tracekit.errors import CannotRunError, InputError, UsageError
from tracekit.storage.direct import open_direct
from tracekit.uri import file_uri
from tracekit.workload import checkpoint as module
from tracekit.workload.checkpoint import Told, drive, load, save, total_bytes
from tracekit.workload.dlio.translate import load as workload
from tracekit.workload.job import Checkpoint
from tracekit.workload.model_size import Model

GIB = 1 << 30


def llama(layers, hidden, ffn, heads, kv, tensor, pipeline, zero, vocab=128256):
    """The model section of a language model."""
    return {
        "num_layers": layers, "transformer.hidden_size": hidden, "transformer.ffn_hidden_size": ffn,
        "transformer.num_attention_heads": heads, "transformer.num_kv_heads": kv, "transformer.vocab_size": vocab,
        "parallelism.tensor": tensor, "parallelism.pipeline": pipeline, "parallelism.zero_stage": zero,
    }  # fmt: skip


# MLPerf Storage's models: processes, checkpoint in GiB as its rules have it ("5.29 TiB" are thousands of GiB there).
MLPERF = {
    "8b": (llama(32, 4096, 14336, 32, 8, 1, 1, 3), 8, 105),
    "70b": (llama(80, 8192, 28672, 128, 8, 8, 1, 3), 64, 912),
    "70b_pipeline": (llama(80, 8192, 28672, 128, 8, 8, 4, 1), 64, 912),
    "405b": (llama(126, 16384, 53248, 128, 8, 8, 32, 1), 512, 5290),
}


@pytest.mark.parametrize("name", MLPERF)
def test_a_checkpoint_is_as_large_as_mlperf_says(name):
    """The parts of all ranks together are the published size of the checkpoint, to its digits."""
    settings, ranks, size = MLPERF[name]
    model = Model(settings, ranks)
    total = sum(shard.size for rank in range(ranks) for shard in model.shards(rank))
    assert total / GIB == pytest.approx(size, rel=0.02)


def test_the_parameters_of_llama_are_eight_billion():
    """By hand: embedding and head, 32 layers of attention with shared keys, gated unit and norms, the last norm."""
    layer = 4096 * (4096 + 2 * 1024) + 4096 * 4096 + 3 * 14336 * 4096 + 2 * 4096
    assert Model(MLPERF["8b"][0], 8).parameters == 2 * 128256 * 4096 + 32 * layer + 4096 == 8_030_261_248


def test_a_trillion_parameters_take_fourteen_bytes_each():
    """Two of the model and twelve of the optimizer: 15.4 thousand GiB (the rules say 18, which their own arithmetic does not give)."""
    settings = llama(128, 25872, 98304, 192, 32, 8, 64, 1)
    layer = 25872 * (25872 + 2 * (25872 // 192 * 32)) + 25872**2 + 3 * 98304 * 25872 + 2 * 25872
    parameters = 2 * 128256 * 25872 + 128 * layer + 25872
    model = Model(settings, 1024)
    assert model.parameters == parameters
    total = sum(shard.size for rank in range(1024) for shard in model.shards(rank))
    assert total == pytest.approx(14 * parameters, rel=0.001)


@pytest.mark.parametrize("zero", [0, 1, 3])
@pytest.mark.parametrize("ranks", [1, 3, 4, 6, 13, 24])
def test_the_bytes_of_all_ranks_are_those_of_each(ranks, zero):
    """The sum by kinds of ranks is the sum over ranks, for whole replicas and parts of them; a billion ranks take no longer."""
    for settings in (
        llama(5, 64, 128, 8, 8, 2, 1 if zero == 3 else 3, zero), {"model_size_bytes": 500}, {"model_size_bytes": 500, "type": "all_ranks"},
        {"num_layers": 3, "layer_parameters": (7, 9), "optimization_groups": (5,), "model_size_bytes": 11, "parallelism.tensor": 2},
    ):  # fmt: skip
        model = Model(settings, ranks)
        assert model.total_bytes() == sum(shard.size for rank in range(ranks) for shard in model.shards(rank))
    assert Model({"type": "all_ranks"}, 10**9).total_bytes() == 10240 * 10**9


@pytest.mark.parametrize("pipeline", [1, 2, 3, 4, 5])
def test_every_layer_is_kept_once(pipeline):
    """However the layers are dealt to stages: the embedding is with the first, the head with the last, none is missing or twice."""
    model = Model(llama(10, 64, 128, 8, 8, 2, pipeline, 1), 2 * pipeline)
    layers = sorted(layer for stage in range(pipeline) for layer in model._layers_of(stage))
    assert layers == list(range(13))


def test_who_keeps_what():
    """Without ZeRO the first replica keeps all; from stage 1 all keep optimizer; at stage 3 all keep everything's share."""
    names = {
        zero: [
            [shard.name for shard in Model(llama(2, 64, 128, 8, 8, 1, 2, zero if zero < 3 else 0), 4).shards(rank)]
            for rank in range(4)
        ]
        for zero in (0, 1)
    }
    assert names[0][0] == [
        "layer_0-model_0_model_states",
        "layer_1-model_0_model_states",
        "zero_pp_rank_0_mp_rank_0_optim_states",
    ]
    assert names[0][2:] == [[], []]
    assert names[1][2:] == [["zero_pp_rank_1_mp_rank_0_optim_states"], ["zero_pp_rank_1_mp_rank_1_optim_states"]]
    third = [Model(llama(2, 64, 128, 8, 8, 1, 1, 3), 4).shards(rank) for rank in range(4)]
    assert [[shard.name for shard in shards] for shards in third][3] == [
        "zero_pp_rank_3_mp_rank_0_model_states",
        "zero_pp_rank_3_mp_rank_0_optim_states",
    ]


def test_megatron_with_sizes_of_its_own():
    """Layer parameters are divided by the tensor ranks; optimizer groups are kept three times; a model size by every rank."""
    settings = {
        "num_layers": 40, "layer_parameters": (52583936, 209715200), "optimization_groups": (1009254400, 865075200, 793600),
        "model_size_bytes": 30102, "parallelism.tensor": 4, "parallelism.pipeline": 8, "parallelism.zero_stage": 1,
    }  # fmt: skip
    shards = Model(settings, 32).shards(5)
    assert shards[0].size == 30102
    assert [shard.size for shard in shards[1:-1]] == [(52583936 + 209715200) // 4] * 5
    assert shards[-1].size == 3 * (1009254400 + 865075200 + 793600)


def test_a_model_of_one_piece_is_kept_by_rank_zero_or_by_all():
    """`type` says which; without a size it has DLIO's 10240 bytes."""
    for kind, sizes in (("rank_zero", [500, 0]), ("all_ranks", [500, 500])):
        model = Model({"model_size_bytes": 500, "type": kind}, 2)
        assert [sum(shard.size for shard in model.shards(rank)) for rank in range(2)] == sizes
    assert Model({}, 1).shards(0)[0].size == 10240


def of(tmp_path, size=300_000, **settings):
    """A checkpoint of a model of one piece."""
    return Checkpoint(file_uri(tmp_path / "c"), settings={"model": {"model_size_bytes": size}, **settings})


@pytest.mark.parametrize(
    "settings", [{}, {"fsync": True}, {"zstd": 3}, {"randomize_tensor": False}, {"randomize_tensor": False, "zstd": 1}]
)
@pytest.mark.parametrize("size", [1, 300_000, (2 << 20) + 5])
def test_what_is_written_is_read_and_verified(tmp_path, settings, size):
    """Every byte comes back, with noise or zeros, compressed or not; the two say the same bytes."""
    checkpoint = of(tmp_path, size, **settings)
    written, read = save(checkpoint, 0, 7), load(checkpoint, 0, 7)
    path = tmp_path / "c" / "global_epoch1_step7" / "model_states-0.pt"
    assert written.bytes == read.bytes == path.stat().st_size
    assert "zstd" in settings or path.stat().st_size == size


def test_zstd_is_zstandard(tmp_path):
    """A decoder that is not ours gets the same bytes as without compression."""
    save(of(tmp_path / "plain"), 0, 1)
    save(of(tmp_path / "packed", zstd=3), 0, 1)
    plain, packed = (next((tmp_path / name).rglob("*.pt")) for name in ("plain", "packed"))
    with pa.CompressedInputStream(pa.OSFile(str(packed)), "zstd") as stream:
        assert stream.read() == plain.read_bytes()


@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "gone"])
def test_what_was_changed_is_found(tmp_path, damage):
    """One bit, a byte less, a byte more, no file: named with the place."""
    checkpoint = of(tmp_path)
    save(checkpoint, 0, 1)
    path = next((tmp_path / "c").rglob("*.pt"))
    body = bytearray(path.read_bytes())
    if damage == "flip":
        body[200_000] ^= 1
    path.write_bytes(body[:-1] if damage == "cut" else body + b"x" if damage == "longer" else body)
    if damage == "gone":
        path.unlink()
    with pytest.raises(CannotRunError if damage == "gone" else InputError) as caught:
        load(checkpoint, 0, 1)
    assert str(path) in str(caught.value)


def test_fsync_reaches_the_device_before_the_name_is_there(tmp_path, monkeypatch):
    """With `fsync` each file is synced before it is renamed, and its folder after; without, nothing is."""
    calls = []
    real_sync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: (calls.append(("fsync", os.readlink(f"/proc/self/fd/{fd}"))), real_sync(fd))[1]
    )
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append(("rename", new)), real_replace(old, new))[1])
    save(of(tmp_path), 0, 1)
    assert [what for what, _ in calls] == ["rename"]
    calls.clear()
    save(of(tmp_path, fsync=True), 0, 2)
    assert [what for what, _ in calls] == ["fsync", "rename", "fsync"]
    assert calls[0][1].endswith(".part")
    assert calls[2][1].endswith("global_epoch1_step2")


def test_all_ranks_write_then_all_read(tmp_path):
    """Four ranks, two checkpoints written and one read: each moved its own shards, and nothing was read before all was written."""
    checkpoint = of(tmp_path, type="all_ranks", rank_sync=True)
    moved = drive(checkpoint, 4, 2, 1)
    assert sorted((one.what, one.checkpoint, one.rank) for one in moved) == [
        *(("read", 1, rank) for rank in range(4)),
        *(("write", step, rank) for step in (1, 2) for rank in range(4)),
    ]
    assert len(list((tmp_path / "c").rglob("*.pt"))) == 8


def test_progress_counts_shards_and_bytes_up_to_the_end(tmp_path):
    """Both only grow, within a shard too, and end with all that was written and read."""
    calls = []
    checkpoint = of(tmp_path, type="all_ranks", model={"model_size_bytes": 5 << 20})
    drive(checkpoint, 2, 2, 1, told=Told(lambda *figures: calls.append(figures)))
    assert calls == sorted(calls)
    assert calls[-1] == (6, 6 * 5 << 20)
    assert len({size for shards, size in calls if shards == 0}) > 1


def test_recovery_reads_what_another_host_wrote(tmp_path):
    """With two ranks per host each reads the shard of the rank two further on."""
    checkpoint = of(tmp_path, type="all_ranks", recovery_rank_shift=True)
    moved = drive(checkpoint, 4, 1, 1, per_host=2)
    # In the order of the ranks that read: whose shard each took.
    assert [one.rank for one in moved if one.what == "read"] == [2, 3, 0, 1]


def test_pauses_lie_between_checkpoints(tmp_path, monkeypatch):
    """`time_between_checkpoints` is waited between two, not after the last."""
    waits = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    drive(of(tmp_path, time_between_checkpoints=5), 1, 3, 2)
    assert waits == [5.0, 5.0, 5.0]


def test_a_model_that_does_not_go_into_the_ranks_is_refused(tmp_path):
    """A multiple of tensor × pipeline is needed, but for mode `subset`, which writes the first ranks' part."""
    checkpoint = Checkpoint(file_uri(tmp_path / "c"), settings={"model": llama(2, 64, 128, 8, 8, 2, 2, 1, 100)})
    with pytest.raises(UsageError, match="3 ranks do not hold a model of 4 parts"):
        drive(checkpoint, 3, 1, 1)
    with pytest.raises(UsageError, match="more than one machine plays"):
        drive(checkpoint, 1024, 1, 1)
    subset = replace(checkpoint, settings={**checkpoint.settings, "mode": "subset"})
    assert {one.rank for one in drive(subset, 3, 1, 1)} == {0, 1, 2}
    assert total_bytes(subset, 3) < total_bytes(checkpoint, 4)


def test_a_checkpoint_that_does_not_fit_is_refused_before_the_first_byte(tmp_path):
    """More than is free: both numbers, and nothing is written."""
    with pytest.raises(
        InputError, match=r"the checkpoint needs 1024 PiB and .* free; name a larger file system with --to"
    ):
        drive(of(tmp_path, 1 << 60), 1, 1, 1)
    assert not (tmp_path / "c").exists()


def test_one_rank_that_fails_ends_all_with_its_cause(tmp_path):
    """The others do not wait for it for ever, and what is said is what it met."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "global_epoch1_step2").write_text("in the way")
    with pytest.raises(CannotRunError, match="global_epoch1_step2 cannot be written"):
        drive(of(tmp_path, type="all_ranks", rank_sync=True), 4, 3, 0)


@pytest.mark.parametrize("name", ["unet3d", "bert", "trace-replay"])
def test_a_shipped_workload_writes_checkpoints_of_its_model(name, tmp_path, capsys):
    """`tracekit checkpoint NAME` knows the size of the model; scaled down it is written, read and verified."""
    assert main(["checkpoint", name, "--dry-run", "--json"]) == 0
    wanted = {"unet3d": 499153191, "bert": 4034713312, "trace-replay": 1048576}[name]
    assert json.loads(capsys.readouterr().out)["checkpoint_bytes"] == wanted
    words = ["++model.model_size_bytes=100000", "++checkpoint.num_checkpoints_write=2", "--to", str(tmp_path / "c")]
    assert main(["checkpoint", name, *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["write"]["checkpoints"], found["write"]["bytes"], found["read"]["bytes"]) == (2, 200000, 200000)


def test_a_language_model_goes_through_the_command(tmp_path, capsys):
    """All ranks of a small one, its keys in a workload file: written, read, verified, said in two lines."""
    (tmp_path / "llm.yaml").write_text(
        "model: {name: m, num_layers: 4, parallelism: {tensor: 2, pipeline: 2, zero_stage: 1},"
        " transformer: {vocab_size: 500, hidden_size: 64, ffn_hidden_size: 128, num_attention_heads: 8, num_kv_heads: 4}}\n"
        "framework: pytorch\nworkflow: {train: False, checkpoint: True}\n"
        "checkpoint: {num_checkpoints_write: 2, num_checkpoints_read: 1, fsync: True}\n"
    )
    job, _ = workload(str(tmp_path / "llm.yaml"))
    assert job.checkpoint.settings["fsync"] is True
    assert main(["checkpoint", str(tmp_path / "llm.yaml"), "--to", str(tmp_path / "c"), "--ranks", "8"]) == 0
    said = capsys.readouterr().out
    assert "by 8 ranks" in said
    assert "every byte verified" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--reads", "3", "--writes", "2"], "3 checkpoints cannot be read of 2"), (["--zstd", "20"], "write a level from 1 to 19"),
        (["--ranks", "-1"], "by -1 ranks"), (["--ranks", "0"], "by 0 ranks"), (["++checkpoint.type=some_ranks"], "is not one of its values"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(words, sentence, capsys, tmp_path):
    """Wrong numbers and wrong keys: exit 2."""
    assert main(["checkpoint", "unet3d", "--to", str(tmp_path / "c"), *words]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("settings", [{}, {"zstd": 3}, {"fsync": True}])
def test_a_direct_checkpoint_is_written_in_whole_blocks(settings, tmp_path, monkeypatch):
    """On `direct://` every write is of whole blocks at their multiples, the file is as long as it is to be, and it is read back so."""
    (tmp_path / "probe").write_bytes(bytes(8192))
    probe = open_direct(str(tmp_path / "probe"))
    size = (2 << 20) + 12_345
    model = {"model_size_bytes": size}
    checkpoint = Checkpoint(file_uri(tmp_path / "c", "direct"), settings={"model": model, **settings})
    if probe is None:
        with pytest.raises(CannotRunError, match="O_DIRECT"):
            save(checkpoint, 0, 1)
        return
    probe.close()
    lengths, plain = [], os.write
    monkeypatch.setattr(os, "write", lambda file, data: (lengths.append((file, len(data))), plain(file, data))[1])
    moved = save(checkpoint, 0, 1)
    monkeypatch.undo()
    assert lengths
    assert all(length % probe.align == 0 for _, length in lengths)
    shard = next((tmp_path / "c").rglob("*.pt"))
    assert shard.stat().st_size == moved.bytes
    assert settings or moved.bytes == size
    assert load(checkpoint, 0, 1).bytes == size if not settings.get("zstd") else moved.bytes
    shard.write_bytes(shard.read_bytes()[:-1] + bytes([shard.read_bytes()[-1] ^ 1]))
    with pytest.raises(InputError, match=f"does not hold at byte {moved.bytes - 1} what"):
        load(checkpoint, 0, 1)


def test_a_file_system_without_direct_writes_is_named(tmp_path, monkeypatch):
    """Where O_DIRECT is refused nothing falls back to the page cache: one sentence, and no part is left."""
    monkeypatch.setattr(module, "alignment", lambda _: None)
    checkpoint = Checkpoint(file_uri(tmp_path / "c", "direct"), settings={"model": {"model_size_bytes": 5000}})
    with pytest.raises(CannotRunError, match="O_DIRECT"):
        save(checkpoint, 0, 1)
    assert not list((tmp_path / "c").rglob("*.p*t"))
