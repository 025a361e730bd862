"""What each rank of a training job keeps in a checkpoint: sizes of layers and optimizer by tensor, pipeline and ZeRO parallelism.

The arithmetic is that of DLIO 3.x (checkpointing/base_checkpointing.py), with which MLPerf Storage's checkpoint sizes are made:
layer 0 is the embedding, layers 1 to n the transformer, n + 1 the head, n + 2 the last norm; the optimizer keeps three values per
parameter (the parameter itself, and two moments).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tracekit.workload.job import Checkpoint

_BYTES = {
    "fp16": 2, "bf16": 2, "float16": 2, "fp32": 4, "float32": 4, "fp64": 8, "float64": 8, "int8": 1, "uint8": 1, "bool": 1,
    "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
}  # fmt: skip
# Without a size and without layers: DLIO's default.
_DEFAULT_BYTES = 10240


@dataclass(frozen=True)
class Shard:
    """One file of a checkpoint: its name below it, and its bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class Model:
    """A model and how it is spread.

    Args:
        settings: The keys of DLIO's `model` section, without the section's name (`num_layers`, `parallelism.tensor` …).
        ranks: How many ranks the job has.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    ranks: int = 1

    def _number(self, name: str, default: int) -> int:
        value = self.settings.get(name)
        return default if value is None else int(value)

    @property
    def layers(self) -> int:
        """Transformer layers; 0 for a model that is one piece."""
        return max(0, self._number("num_layers", -1))

    @property
    def tensor(self) -> int:
        """Ranks that share each layer."""
        return self._number("parallelism.tensor", 1)

    @property
    def pipeline(self) -> int:
        """Stages that the layers are dealt to."""
        return self._number("parallelism.pipeline", 1)

    @property
    def group(self) -> int:
        """Ranks that hold the model once."""
        return self.tensor * self.pipeline

    @property
    def data(self) -> int:
        """How often the model is held."""
        given = self._number("parallelism.data", -1)
        return given if given > 0 else max(1, self.ranks // self.group)

    @property
    def zero(self) -> int:
        """ZeRO's stage: from 1 the optimizer is shared by all ranks, at 3 the model too."""
        return self._number("parallelism.zero_stage", 0)

    @property
    def parameters(self) -> int:
        """Parameters of the transformer."""
        if not self.layers:
            return 0
        hidden, vocab, ffn = (self._number(f"transformer.{name}", default) for name, default in _SIZES)
        return 2 * vocab * hidden + self.layers * sum(_layer(hidden, ffn, self._kv(hidden))) + hidden

    def _kv(self, hidden: int) -> int:
        heads, shared = self._number("transformer.num_attention_heads", 32), self._number("transformer.num_kv_heads", 8)
        return hidden // heads * shared

    def total_bytes(self) -> int:
        """What all ranks keep: ranks of one stage keep as much as each other, so each kind of rank is looked at once."""
        everyone = self.layers or self.settings.get("type") == "all_ranks"
        total = self._whole(0) * (self.ranks if everyone else min(self.ranks, 1))
        full, rest = divmod(self.ranks, self.group)
        for stage in range(min(self.pipeline, -(-self.ranks // self.tensor)) if self.layers else 0):
            before = stage * self.tensor
            first = min(max(self.ranks - before, 0), self.tensor)
            others = full * self.tensor + min(max(rest - before, 0), self.tensor) - first
            for rank, count in ((before, first), (self.group + before, others)):
                if count:
                    kept = sum(shard.size for shard in self._shards(rank)) - self._whole(rank)
                    total += count * kept
        return total

    def shards(self, rank: int) -> list[Shard]:
        """What a rank keeps; nothing where others keep all of it."""
        return list(self._shards(rank))

    def _shards(self, rank: int) -> Iterator[Shard]:
        replica, place = rank // self.group, rank % self.group
        if size := self._whole(rank):
            yield Shard(f"model_states-{rank}", size)
        if not self.layers or (self.zero == 0 and replica):
            return
        stem = f"zero_pp_rank_{replica}_mp_rank_{place}"
        stage = rank // self.tensor % self.pipeline
        sizes = {layer: self._layer_bytes(layer) for layer in self._layers_of(stage)}
        if self.zero == 3:
            yield Shard(f"{stem}_model_states", sum(sizes.values()))
        elif not replica and self.pipeline > 1:
            yield from (Shard(f"layer_{layer}-model_{place}_model_states", size) for layer, size in sizes.items())
        elif not replica:
            yield Shard(f"{stem}_model_states", sum(sizes.values()))
        yield Shard(f"{stem}_optim_states", self._optimizer_bytes())

    def _whole(self, rank: int) -> int:
        """The piece that has no layers: kept by rank 0 alone, or with layers by every rank that says a size."""
        given = self.settings.get("model_size_bytes")
        if self.layers:
            return int(given or 0)
        everyone = self.settings.get("type") == "all_ranks"
        return int(_DEFAULT_BYTES if given is None else given) if rank == 0 or everyone else 0

    def _layers_of(self, stage: int) -> range:
        each, rest = divmod(self.layers, self.pipeline)
        first = stage * each + min(stage, rest) + 1
        last = first + each - (0 if stage < rest else 1)
        if self.settings.get("layer_parameters"):
            return range(first, last + 1)
        # Embedding with the first stage, head and last norm with the last.
        return range(0 if stage == 0 else first, (self.layers + 2 if stage == self.pipeline - 1 else last) + 1)

    def _layer_bytes(self, layer: int) -> int:
        given = self.settings.get("layer_parameters")
        if given:
            return sum(int(size) // self.tensor for size in given)
        hidden, vocab, ffn = (self._number(f"transformer.{name}", default) for name, default in _SIZES)
        share = self.data if self.zero == 3 else 1
        if layer in (0, self.layers + 1):
            count = hidden * vocab // self.tensor // share
        elif layer == self.layers + 2:
            count = hidden // share
        else:
            norm, qkv, dense, after, up, down = _layer(hidden, ffn, self._kv(hidden))
            count = (
                norm // share + after // share + sum(part // self.tensor // share for part in (qkv, dense, up, down))
            )
        return count * self._element("model_datatype", "fp16")

    def _optimizer_bytes(self) -> int:
        given = self.settings.get("optimization_groups")
        if given:
            # Two moments of each group, and all together once more.
            return 3 * sum(map(int, given))
        share = self.group * (self.data if self.zero else 1)
        hidden = self._number("transformer.hidden_size", 2048)
        return 3 * (self.parameters // share + 5 * hidden) * self._element("optimizer_datatype", "fp32")

    def _element(self, name: str, default: str) -> int:
        return _BYTES[str(self.settings.get(name) or default)]


_SIZES = (("hidden_size", 2048), ("vocab_size", 32000), ("ffn_hidden_size", 8192))


def _layer(hidden: int, ffn: int, kv: int) -> tuple[int, int, int, int, int, int]:
    """Parameters of a layer: norm, attention (Q, K, V), its output, norm, the gated unit's two, the way back."""
    return hidden, hidden * (hidden + 2 * kv), hidden * hidden, hidden, 2 * ffn * hidden, ffn * hidden


def model_of(checkpoint: Checkpoint, ranks: int) -> Model:
    """The model of a checkpoint, spread over ranks."""
    settings = dict(checkpoint.settings.get("model", {}))
    settings["type"] = checkpoint.settings.get("type", "rank_zero")
    return Model(settings, ranks)
