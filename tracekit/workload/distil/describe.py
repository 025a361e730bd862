"""From a recording to the description of its workload: what is derived one from the other, section by section."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tracekit.trace import NULL, Trace
from tracekit.workload.distil import items as item
from tracekit.workload.distil import layout, program, requests, timing
from tracekit.workload.distil.description import Description, Tree
from tracekit.workload.distil.found import EXACT, HIGH, LOW, MEDIUM, UNKNOWN, Found
from tracekit.workload.distil.items import Items
from tracekit.workload.distil.looks import looks
from tracekit.workload.distil.observed import Observed, observe
from tracekit.workload.distil.order import order, same_every_epoch, shares
from tracekit.workload.distil.phases import apart, cadence
from tracekit.workload.distil.visits import Visits, visits
from tracekit.workload.distil.writes import checkpoints

Ints = NDArray[np.int64]


def describe(trace: Trace, source: str, name: str | None = None) -> Description:
    """Describe the workload of a recording.

    Args:
        trace: The recording.
        source: What to call it in sentences.
        name: The workload's name; by default that of the program.

    Raises:
        InputError: If there is nothing to describe (see `observe`).
    """
    observed = observe(trace, source)
    return _Describing(observed).result(name)


class _Describing:
    """What is derived one from the other, once."""

    def __init__(self, observed: Observed) -> None:
        observed, self.evaluating, self.evaluation = apart(observed)
        self.observed = observed
        self.visits: Visits = visits(observed.own)
        self.unit = item.unit_of(observed, self.visits)
        self.shares: Found | None = None
        self.index, self.items = 0, Items(*[np.zeros(0, np.int64)] * 8)
        if self.unit.value == "record":
            self.index, looks = item.index_bytes(observed.own)
            self.items = item.of_records(observed, looks)
        elif observed.shared:
            # Passes are those of all ranks, which share the data in each.
            every = visits(observed.reads)
            whole, ranks = item.of_visits(every), item.ranks_of(every)
            self.items, self.shares = whole.at(ranks == observed.own.col("rank")[0]), shares(whole, ranks)
        else:
            self.items = item.of_visits(self.visits)
        self.cadence = None if self.evaluation is None else cadence(self.evaluation, self.items)
        self.uris = observed.uris
        self.tagged = bool((self.items.step != NULL).all())
        self.turns = self._turns()
        self.workers, self.threads = timing.workers(observed)
        self.samples, self.batch = self._samples()

    def _turns(self) -> Found:
        turns = self.items.turns
        if bool((self.observed.own.col("epoch") != NULL).any()) and self.tagged:
            return Found(
                turns, EXACT, "passes over the data, by their numbers and by what comes again", len(self.items)
            )
        counts = np.bincount(self.items.place)
        usual = int(np.median(counts[counts > 0]))
        even = float((counts[counts > 0] == usual).mean())
        return Found(usual, HIGH if even > 0.9 else MEDIUM, f"how often the same is read, {even:.0%} of it so often", len(self.items))  # fmt: skip

    def _samples(self) -> tuple[int, Found]:
        """Samples in each file, and those of a batch."""
        items, steps = self.items, max(len(self.observed.steps), 1)
        if self.unit.value == "stream":
            a_pass = max(1, round(steps / max(self.turns.value, 1)))
            samples, batch = layout.parts(items.distinct, a_pass)
            return samples, Found(batch, UNKNOWN, "stands for a step's share of a shard; how many samples a step has the recording does not say", steps)  # fmt: skip
        samples = max(1, round(items.distinct / len(self.uris))) if self.unit.value == "record" else 1
        if self.tagged:
            _, counts = np.unique(items.step, return_counts=True)
            usual = int(np.bincount(counts).argmax())
            share = float((counts == usual).mean())
            how = f"samples of a step, in {share:.0%} of the steps"
            return samples, Found(usual, EXACT if share > 0.8 else MEDIUM, how, len(counts))
        each = len(items) / steps
        sure = abs(each - round(each)) < 0.02 * each
        return samples, Found(max(1, round(each)), HIGH if sure else MEDIUM, f"{each:.4g} {self.unit.value}s are read for each step", steps, "" if sure else "by one")  # fmt: skip

    # -- sections -------------------------------------------------------------------------------------------------------

    def result(self, name: str | None) -> Description:
        """The description."""
        observed, whole = self.observed, self.observed.whole
        own: Tree = {
            "name": Found(name or program.name(whole, observed.source), HIGH, "of the program"),
            "framework": program.framework(whole),
            "files": self._files(),
            "shape": self._shape(),
            "loader": self._loader(),
            "epochs": self.turns,
        }
        limit = self._limit()
        own |= {"steps": limit} if limit is not None else {}
        own |= self._evaluation()
        own |= {"compute": timing.compute(observed.steps), "decode": timing.decode(self.items, self.unit.value)}
        about = f"{len(whole):,} ops, {len(observed.steps):,} steps"
        return Description(
            observed.source, about, own, same_every_epoch(self.items), checkpoints(observed), self.evaluation, program.where(self.uris), observed.steps.ranks,
            observed.left_out, observed.beside, observed.made,
        )  # fmt: skip

    def _evaluation(self) -> Tree:
        """The evaluation, read by the same requests as what is trained on; DLIO's part has its own keys."""
        if self.evaluation is None or self.evaluating is None or self.cadence is None:
            return {}
        alone, found = _Describing(self.evaluating), self.evaluation
        shuffle = order(alone.items, alone._known_samples(), tagged=alone.tagged).get("shuffle")
        return {
            "evaluation": {
                "folders": found.folders,
                "files": alone._files(),
                "batch_size": alone.batch,
                "shuffle": shuffle or Found(False, LOW, "drawn with replacement, which an evaluation cannot be"),
                "first_epoch": self.cadence[0],
                "every_epochs": self.cadence[1],
                "compute": found.compute,
            }
        }

    def _files(self) -> dict[str, Found]:
        every = visits(self.observed.reads)
        codes = {name: code for code, name in enumerate(every.reads.uris)}
        sizes = every.sizes[[codes[uri] for uri in self.uris]]
        record = self.unit.value == "record"
        found = layout.files(
            self.uris, layout.sizes_of_records(self.items) if record else sizes, self.unit.value, self.samples
        )
        if record:
            reads = self.observed.own
            first = int(reads.col("offset")[reads.col("len") != self.index].min()) if self.index else 0
            found["header"] = Found(first, HIGH, "where the first record begins", len(self.items))
            found["end"] = layout.rounding(sizes)
        return found

    def _shape(self) -> dict[str, Found]:
        found = {"unit": self.unit}
        if self.unit.value != "record":
            found |= requests.fit(self.visits, self.unit.value).found()
        if self.index:
            found["index"] = Found(self.index, EXACT, "bytes at a file's end that each process reads first", len(self.uris))  # fmt: skip
        if self.threads.value > 1:
            found["threads"] = self.threads
        if not self.tagged:
            how = "reads do not say which step they serve, and workers outlive a pass"
            found["across"] = Found(True, MEDIUM, how, len(self.items))
            if self.unit.value == "stream" and self._in_consumer():
                found["together"] = Found(True, MEDIUM, "threads of the consumer read: each batch is made of what all read", len(self.items))  # fmt: skip
        epochs = np.unique(self.observed.own.col("epoch"))
        if self.tagged and len(epochs) == 1 and epochs[0] != NULL and self.turns.value > 1:
            found["anew"] = Found(True, HIGH, "every pass calls itself the first: a loader is made for each", self.turns.value)  # fmt: skip
        return found | self._buffer() | looks(self.observed, self.items, self.unit.value, index=bool(self.index))

    def _buffer(self) -> dict[str, Found]:
        if self.unit.value != "stream" or not self.tagged:
            return {}
        found = timing.shuffle_buffer(self._reads(), self.batch.value)
        return {} if found is None else {"shuffle_buffer": found}

    def _reads(self) -> Items:
        """Every read of shards by itself; passes are those of the shards."""
        reads = item.of_records(self.observed, np.zeros(len(self.observed.own), np.bool_))
        begins = np.array([self.items.time[self.items.turn == turn].min() for turn in range(self.items.turns)])
        return replace(reads, turn=np.searchsorted(begins, reads.time, side="right") - 1)

    def _in_consumer(self) -> bool:
        reads = self.observed.own
        return bool((reads.col("pid") == self.observed.steps.pid).all())

    def _loader(self) -> dict[str, Found]:
        observed, count = self.observed, self.workers.value
        read, each = self.items, self.batch.value
        if self.unit.value == "stream":
            read = self._reads()
            each = max(1, round(len(read) / max(len(observed.steps), 1)))
        found = {
            "batch_size": self.batch,
            "num_workers": self.workers,
            "prefetch": timing.ahead(
                read, observed.steps, each, count, alone=observed.steps.ranks == 1 or observed.shared
            ),
            **order(self.items, self._known_samples(), tagged=self.tagged and self.unit.value != "stream"),
        }
        found |= {"shard_mode": self.shares} if self.shares is not None else {}
        last = self._drop_last()
        found |= {"drop_last": last} if last is not None else {}
        direct = observed.own.mask("flags", "direct")
        if direct.mean() > 0.5:
            found["page_cache_mode"] = Found("direct", EXACT, "reads past the page cache", int(direct.sum()))
        return found

    def _known_samples(self) -> int:
        """How many samples there are, as far as their numbers go: favourites leave some unread."""
        sample = self.observed.own.col("sample_id")
        return max(self.items.distinct, int(sample.max()) + 1 if bool((sample > NULL).any()) else 0)

    def _a_pass(self) -> int:
        """Items of a pass; of a rank, those of its share, which may be others in each."""
        if not self.observed.shared:
            return self.items.distinct
        return int(np.median(np.bincount(self.items.turn)))

    def _drop_last(self) -> Found | None:
        if not self.tagged or self.unit.value == "stream" or self.turns.value < 1:
            return None
        batch, samples = self.batch.value, self._a_pass()
        if samples % batch == 0:
            return None
        steps, places = np.unique(self.items.step, return_index=True)
        _, counts = np.unique(self.items.step, return_counts=True)
        last = np.append(np.flatnonzero(np.diff(self.items.turn[places]) != 0), len(steps) - 1)
        full = bool((counts[last] == batch).all())
        return Found(full, HIGH, "the last batch of a pass is as large as the others" if full else "the last batch of a pass is smaller", len(last))  # fmt: skip

    def _limit(self) -> Found | None:
        """Steps in all, where the last pass is not whole."""
        steps = len(self.observed.steps)
        if self.unit.value == "stream" or self.turns.value < 1:
            return None
        a_pass = self._a_pass() / self.batch.value
        whole = int(np.ceil(a_pass)) * self.turns.value
        if steps >= whole - self.turns.value:
            return None
        return Found(steps, EXACT, "the recording ends within a pass", steps)
