"""What a loader asked for, as a Trace: so its metrics are those of any other."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from tracekit import __version__
from tracekit.metrics import Metrics
from tracekit.trace import NULL, Header, StringTable, Trace
from tracekit.workload.dataset import Dataset
from tracekit.workload.fetch import Fetcher, Ranges


class RequestLog:
    """Every request of a loader: some 100 bytes each, beside the loader's cap.

    Args:
        dataset: What is read.
        fetcher: How.
    """

    def __init__(self, dataset: Dataset, fetcher: Fetcher) -> None:
        self._dataset = dataset
        self._fetcher = fetcher
        self._parts: list[dict[str, Any]] = []

    def note(self, done: Ranges, *, worker: int, epoch: int, step: int) -> None:
        """Take in requests that were made by the calling thread."""
        rows = done.rows
        count = len(rows)
        whole = {"worker": worker, "epoch": epoch, "step": step, "tid": threading.get_native_id()}
        self._parts.append(
            {
                "uri": done.files.astype(np.int32), "offset": rows["offset"].copy(), "len": rows["length"].copy(),
                "t_submit": rows["submitted"].copy(), "t_complete": rows["completed"].copy(),
                "ret": np.maximum(rows["result"], 0), "sample_id": done.samples.copy(),
            } | {name: np.full(count, value, np.int32) for name, value in whole.items()}
        )  # fmt: skip

    def trace(self) -> Trace:
        """All requests so far, in order of their submission."""
        names = ("uri", "offset", "len", "t_submit", "t_complete", "ret", "sample_id", "worker", "epoch", "step", "tid")
        parts = list(self._parts)
        wide = {"offset", "len", "t_submit", "t_complete", "ret", "sample_id"}
        columns: dict[str, Any] = {
            name: np.concatenate([part[name] for part in parts])
            if parts
            else np.zeros(0, np.int64 if name in wide else np.int32)
            for name in names
        }
        order = np.argsort(columns["t_submit"], kind="stable")
        columns = {name: values[order] for name, values in columns.items()}
        count = len(order)
        start = int(columns["t_submit"][0]) if count else 0
        columns["t_submit"] -= start
        columns["t_complete"] -= start
        columns["op"] = np.zeros(count, np.int32)
        columns["pid"] = np.full(count, os.getpid(), np.int32)
        columns["worker"][columns["worker"] < 0] = NULL
        uris = StringTable(self._dataset.uri(file) for file in range(len(self._dataset.places)))
        return Trace(columns, {"uri": uris, "op": StringTable(["read"])}, header=self._header())

    def _header(self) -> Header:
        producer = {
            "tool": "tracekit", "version": __version__, "verb": "loader", "engine": self._fetcher.name,
            "reason": self._fetcher.reason,
        }  # fmt: skip
        return Header(producer=producer)

    def metrics(self) -> Metrics:
        """The metrics of all requests so far."""
        return Metrics.of(self.trace())
