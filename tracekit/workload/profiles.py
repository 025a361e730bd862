"""Framework profiles: what the I/O of PyTorch, TensorFlow, JAX and their kin looks like.

Each has two forms. The preset has the values of the seed documents. The recorded one has what recordings of the real framework
show (golden/NAME); where the two differ, docs/reference/profiles.md shows both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tracekit.errors import UnknownNameError
from tracekit.workload.distribution import Distribution
from tracekit.workload.job import DataSet, Job, Train
from tracekit.workload.madedata import Recipe
from tracekit.workload.options import LoaderOptions
from tracekit.workload.shape import Shape

KIB = 1024
FORMS = ("preset", "recorded")


@dataclass(frozen=True)
class Profile:
    """A framework's I/O.

    Args:
        name: Its name.
        title: What it imitates.
        framework: Whose I/O that is.
        shape: How samples are read.
        recipe: The data set it makes for itself.
        workers: Loader workers.
        prefetch: Batches ahead of the consumer, over all workers.
        batch_size: Samples of a step.
        epochs: Passes over the data.
        shuffle: Whether each has an order of its own.
        compute: Seconds of a step.
        decode: Seconds a worker takes with a sample.
    """

    name: str
    title: str
    framework: str
    shape: Shape
    recipe: Recipe
    workers: int
    prefetch: int
    batch_size: int = 16
    epochs: int = 2
    shuffle: bool = True
    compute: Distribution = field(default_factory=lambda: Distribution.fixed(0.02))
    decode: Distribution = field(default_factory=lambda: Distribution.fixed(0.0))

    def job(self, uri: str, seed: int = 0) -> Job:
        """The job of this profile on a data set."""
        recipe = self.recipe
        data = DataSet(
            uri, "noise", recipe.files, samples_per_file=recipe.samples, record_bytes=recipe.mean, split=False,
            file_prefix=recipe.prefix,
        )  # fmt: skip
        loader = LoaderOptions(
            batch_size=self.batch_size, num_workers=self.workers, prefetch=self.prefetch, shuffle=self.shuffle, seed=seed
        )  # fmt: skip
        train = Train(
            epochs=self.epochs, batch_size=self.batch_size, compute_seconds=self.compute, preprocess_seconds=self.decode,
            seed=seed, shuffle_files=self.shuffle, shuffle_samples=self.shuffle,
            shuffle_buffer=self.shape.shuffle_buffer,
        )  # fmt: skip
        return Job(self.name, data, loader, train, framework=self.framework)


def _normal(mean: float) -> Distribution:
    return Distribution.normal(mean, mean / 10)


_PRESETS = (
    Profile(
        "torch-like", "PyTorch DataLoader over many small files", "pytorch",
        Shape("file", smallest=128 * KIB, largest=256 * KIB),
        Recipe("sample_{:04d}.bin", files=96, smallest=384 * KIB, largest=1024 * KIB),
        workers=4, prefetch=8, compute=_normal(0.05),
    ),
    Profile(
        "tf-like", "tf.data over TFRecord shards", "tensorflow",
        Shape("stream", smallest=256 * KIB, largest=256 * KIB, together=True, across=True, shuffle_buffer=64, read_buffer=8, looks="stat"),
        Recipe("train-{:05d}-of-00032.tfrecord", files=32, samples=16, smallest=32 * KIB, largest=160 * KIB, framing=16, chance="bytes"),
        workers=4, prefetch=8, shuffle=False, compute=_normal(0.0134),
    ),
    Profile(
        "jax-like", "JAX with grain on ArrayRecord", "jax",
        Shape("record", threads=2, across=True, index=1024 * KIB, read_buffer=8, looks="index"),
        Recipe("train-{:05d}-of-00004.array_record", files=4, samples=128, smallest=16 * KIB, largest=96 * KIB, framing=69, header=64, end=64 * KIB, chance="bytes"),
        workers=2, prefetch=4, shuffle=False, compute=_normal(0.0215),
    ),
    Profile(
        "imagenet-like", "ImageFolder with Pillow over many small files", "pytorch",
        Shape("file", smallest=2000, largest=6000, looks="list"),
        Recipe("class_{:02d}/image_{:04d}.jpg", files=384, folders=12, smallest=20 * KIB, largest=150 * KIB, chance="images"),
        workers=4, prefetch=8, compute=_normal(0.02), decode=_normal(0.004),
    ),
    Profile(
        "webdataset-like", "webdataset on tar shards", "webdataset",
        Shape("stream", smallest=1024 * KIB, largest=1024 * KIB, shuffle_buffer=32, looks="stat"),
        Recipe("shard_{:03d}.tar", files=32, samples=12, smallest=16 * KIB, largest=128 * KIB, framing=1, block=512, end=10240, chance="bytes"),
        workers=4, prefetch=8, compute=_normal(0.0203),
    ),
)  # fmt: skip

PRESETS: Mapping[str, Profile] = {profile.name: profile for profile in _PRESETS}


def _recorded() -> Mapping[str, Profile]:
    torch, tf, jax = PRESETS["torch-like"], PRESETS["tf-like"], PRESETS["jax-like"]
    images, tars = PRESETS["imagenet-like"], PRESETS["webdataset-like"]
    found = (
        replace(
            torch, workers=2, prefetch=4, shape=Shape("file"),
            recipe=Recipe("sample_{:04d}.bin", files=512, smallest=64 * KIB, largest=256 * KIB, chance="lognormal"),
        ),
        replace(tf, workers=2, prefetch=2, epochs=4, shuffle=True, shape=replace(tf.shape, ending="retry")),
        replace(jax, workers=2, prefetch=4, shuffle=True),
        replace(
            images, workers=2, prefetch=4,
            shape=Shape("file", smallest=64 * KIB, largest=64 * KIB, head=(4 * KIB, 60 * KIB), ending="buffered", looks="list"),
        ),
        replace(
            tars, workers=2, prefetch=4,
            shape=replace(tars.shape, cycle=(4096, 4096, 4096, 8192), ending="retry"),
        ),
    )  # fmt: skip
    return {profile.name: profile for profile in found}


RECORDED: Mapping[str, Profile] = _recorded()


def find(name: str, form: str = "preset") -> Profile:
    """A profile by name.

    Args:
        name: Its name.
        form: `preset` or `recorded`.

    Raises:
        UnknownNameError: If there is no such profile or form; the nearest is proposed.
    """
    if form not in FORMS:
        raise UnknownNameError("form of a profile", form, FORMS)
    table = PRESETS if form == "preset" else RECORDED
    if name not in table:
        raise UnknownNameError("profile", name, table)
    return table[name]
