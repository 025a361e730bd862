"""The arithmetic of a workload: how much data there is, how many steps it makes, how fast it has to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tracekit.units import counted, format_bytes, format_count, format_rate
from tracekit.workload.job import Job
from tracekit.workload.model_size import Model, model_of

# MLPerf Storage, Rules 3.1.2: enough data that no host's memory holds it, and enough steps.
MLPERF_STEPS = 500
MLPERF_MEMORY = 5


@dataclass(frozen=True)
class Sizing:
    """Figures of a job, for a number of accelerators (ranks).

    Args:
        samples: Training samples.
        sample_bytes: The mean size of one.
        dataset_bytes: All training samples together, by the mean.
        eval_bytes: All evaluation samples together.
        steps_per_epoch: Steps of each rank.
        step_bytes: What one step of one rank reads.
        compute_seconds: What one step computes, by the mean; None without training.
        ranks: How many accelerators.
        trains: Whether there is training at all.
        checkpoint_bytes: One checkpoint of all ranks; None without any.
        checkpoint_ranks: The ranks that it is written by: as many as asked for, or more, as the model needs them.
    """

    samples: int
    sample_bytes: float
    dataset_bytes: int
    eval_bytes: int
    steps_per_epoch: int
    step_bytes: float
    compute_seconds: float | None
    ranks: int = 1
    trains: bool = True
    checkpoint_bytes: int | None = None
    checkpoint_ranks: int | None = None

    @property
    def demand(self) -> float | None:
        """Bytes per second that one accelerator needs so that it never waits: utilisation 1. None without a compute time."""
        return self.step_bytes / self.compute_seconds if self.compute_seconds else None

    def mlperf_samples(self, memory_bytes: int) -> int:
        """How many samples MLPerf Storage asks for on hosts with this much memory together (Rules 3.1.2)."""
        batch = round(self.step_bytes / self.sample_bytes) if self.sample_bytes else 1
        by_memory = -(-MLPERF_MEMORY * memory_bytes // max(1, int(self.sample_bytes)))
        return max(MLPERF_STEPS * batch * self.ranks, by_memory)

    def to_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "samples": self.samples, "sample_bytes": self.sample_bytes, "dataset_bytes": self.dataset_bytes,
            "eval_bytes": self.eval_bytes, "steps_per_epoch": self.steps_per_epoch, "step_bytes": self.step_bytes,
            "compute_seconds": self.compute_seconds, "demand_bytes_per_second": self.demand, "ranks": self.ranks,
            "checkpoint_bytes": self.checkpoint_bytes, "checkpoint_ranks": self.checkpoint_ranks,
        }  # fmt: skip

    def text(self) -> str:
        """The figures with the arithmetic, for people."""
        lines = self._training() if self.trains else []
        if self.checkpoint_bytes is not None and self.checkpoint_ranks is not None:
            lines.append(
                f"a checkpoint of {format_bytes(self.checkpoint_bytes)} by {counted(self.checkpoint_ranks, 'rank')}"
            )
        return "\n".join(lines)

    def _training(self) -> list[str]:
        lines = [
            f"{counted(self.samples, 'sample')} of {format_bytes(self.sample_bytes)}: {format_bytes(self.dataset_bytes)} to train on"
            + (f", {format_bytes(self.eval_bytes)} to evaluate" if self.eval_bytes else ""),
            f"{format_count(self.steps_per_epoch)} steps per epoch and rank, {format_bytes(self.step_bytes)} each",
        ]
        if self.demand is not None:
            lines.append(
                f"demand of one accelerator that never waits: {self.step_bytes / 1e6:,.6g} MB / {self.compute_seconds:g} s = "
                f"{format_rate(self.demand)}"
            )
        return lines


def sizing(job: Job, ranks: int = 1) -> Sizing:
    """The figures of a job for a number of ranks."""
    data, mean, model = job.data, job.data.record_bytes.mean, _model(job, ranks)
    samples = data.files_train * data.samples_per_file
    batch = job.train.batch_size if job.train else job.loader.batch_size
    return Sizing(
        samples=samples,
        sample_bytes=mean,
        dataset_bytes=round(samples * mean),
        eval_bytes=round(data.files_eval * data.samples_per_file * mean),
        steps_per_epoch=samples // ranks // batch,
        step_bytes=batch * mean,
        compute_seconds=(job.train.compute_seconds.mean or None) if job.train else None,
        ranks=ranks,
        trains=job.train is not None,
        checkpoint_bytes=None if model is None else model.total_bytes(),
        checkpoint_ranks=None if model is None else model.ranks,
    )


def _model(job: Job, ranks: int) -> Model | None:
    """The model of a job's checkpoints on so many ranks, or as many more as hold it in equal parts."""
    if job.checkpoint is None:
        return None
    group = model_of(job.checkpoint, ranks).group
    return model_of(job.checkpoint, -(-ranks // group) * group)
