"""Steps, epochs, workers and sample ids from PyTorch's DataLoader, without a change to what it does.

The consumer writes which batch (its index in a run of a loader) served which step and which processes are the loader's
workers; a worker's ops carry run and batch; `merge` puts the two together. Nothing travels between the processes that
would not travel without us, so a worker that could not be followed still works.

Runs inside the recorded program: standard library only, and PyTorch's own modules as they are handed over.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import ref

if TYPE_CHECKING:
    from tracekit.record.structure import Recorder

_STATE = "_tracekit_state"


class _State:
    """What belongs to one DataLoader iterator."""

    __slots__ = ("last", "loop", "name", "run")

    def __init__(self, name: int) -> None:
        self.name = name
        self.run = 0
        self.last = -1
        self.loop: Any = None


class TorchHooks:
    """Patches one interpreter's torch.utils.data once it is imported.

    Args:
        recorder: Of this process.
        new_loop: Makes a `structure.Loop`.
        note_rank: Called when a loader is started; ranks may be set by then.
        patch: `callables.patch`.
    """

    def __init__(
        self,
        recorder: Recorder,
        new_loop: Callable[..., Any],
        note_rank: Callable[[], None],
        patch: Callable[..., None],
    ) -> None:
        self.recorder = recorder
        self.new_loop = new_loop
        self.note_rank = note_rank
        self._patch = patch
        self.loaders = 0
        self.passes: Any = None
        self.leaving: dict[int, Any] = {}

    def install(self, module: Any) -> None:
        """Patch torch.utils.data.dataloader, which has just been executed, and what it uses."""
        from weakref import WeakKeyDictionary

        self.passes = WeakKeyDictionary()
        fetch, worker = module._utils.fetch, module._utils.worker
        self._patch(module.DataLoader, "__iter__", self._iter)
        self._patch(module._BaseDataLoaderIter, "__next__", self._next)
        self._patch(module._MultiProcessingDataLoaderIter, "_get_data", self._get_data)
        self._patch(fetch._BaseDatasetFetcher, "__init__", self._fetcher)
        self._patch(worker, "_worker_loop", self._worker_loop)

    # -- the consumer -----------------------------------------------------------------------------------------------

    def _iter(self, original: Any) -> Any:
        def iterate(loader: Any) -> Any:
            number = self._pass_of(loader)
            iterator = original(loader)
            try:
                self._begin_run(iterator, number)
            except Exception:
                self.recorder.spool.line(problem="a DataLoader's iterator could not be watched")
            return iterator

        return iterate

    def _pass_of(self, loader: Any) -> int:
        """Which pass over this loader begins: the program's own epoch where it says one, else counted."""
        epoch = self.recorder.context.get()[1]
        number = int(self.passes.get(loader, 0))
        self.passes[loader] = number + 1
        return epoch if epoch >= 0 else number

    def _begin_run(self, iterator: Any, epoch: int) -> None:
        state = self._state(iterator)
        if state.loop is not None:
            state.loop.end()
        state.run += 1
        state.last = -1
        workers = [worker.pid for worker in getattr(iterator, "_workers", ())]
        self.note_rank()
        self.recorder.spool.line(loader=state.name, run=state.run, epoch=epoch, workers=workers)
        loop = state.loop = self.new_loop(self.recorder, about={"loader": state.name, "run": state.run}, epoch=epoch)
        # A loop that is left by `break` ends when its iterator goes; `state` would go with it, so the hook keeps the ref.
        self.leaving[state.name] = ref(iterator, lambda _gone: (self.leaving.pop(state.name, None), loop.end()))

    def _state(self, iterator: Any) -> _State:
        state = iterator.__dict__.get(_STATE)
        if state is None:
            self.loaders += 1
            state = iterator.__dict__[_STATE] = _State(self.loaders)
        return state  # type: ignore[no-any-return]

    def _next(self, original: Any) -> Any:
        def advance(iterator: Any) -> Any:
            state = iterator.__dict__.get(_STATE)
            if state is None or state.loop is None:
                return original(iterator)
            state.loop.ask()
            try:
                batch = original(iterator)
            except BaseException:
                state.loop.end()
                raise
            state.loop.give(**_position(iterator, state))
            return batch

        return advance

    def _get_data(self, original: Any) -> Any:
        def _get_data(iterator: Any) -> Any:
            data = original(iterator)
            state = iterator.__dict__.get(_STATE)
            if state is not None and isinstance(data, tuple) and isinstance(data[0], int):
                state.last = data[0]
            return data

        return _get_data

    # -- the worker -------------------------------------------------------------------------------------------------

    def _worker_loop(self, original: Any) -> Any:
        names = original.__code__.co_varnames[: original.__code__.co_argcount]
        at_worker, at_queue = names.index("worker_id"), names.index("index_queue")

        def _worker_loop(*args: Any, **kwargs: Any) -> Any:
            given = list(args)
            if len(given) > max(at_worker, at_queue):
                self.recorder.place(worker=given[at_worker], run=0, batch=-1)
                given[at_queue] = _IndexQueue(given[at_queue], self.recorder, given[at_worker])
            return original(*given, **kwargs)

        return _worker_loop

    def _fetcher(self, original: Any) -> Any:
        recorder = self.recorder

        def prepare(fetcher: Any, dataset: Any, *args: Any, **kwargs: Any) -> None:
            original(fetcher, dataset, *args, **kwargs)
            if hasattr(fetcher, "fetch") and type(fetcher).__name__ == "_MapDatasetFetcher":
                fetcher.dataset = _watched(fetcher.dataset, recorder)

        return prepare


def _position(iterator: Any, state: _State) -> dict[str, int]:
    """Which batch of the run was handed over; nothing where the consumer itself fetched it."""
    received = getattr(iterator, "_rcvd_idx", None)
    if received is None:
        return {}
    return {"batch": received - 1 if getattr(iterator, "_in_order", True) else state.last}


class _IndexQueue:
    """A worker's queue of batches to fetch: says which one comes next, and is the queue otherwise."""

    def __init__(self, queue: Any, recorder: Recorder, worker: int) -> None:
        self._queue = queue
        self._recorder = recorder
        self._worker = worker
        self._run = 1

    def get(self, *args: Any, **kwargs: Any) -> Any:
        item = self._queue.get(*args, **kwargs)
        if type(item) is tuple:
            self._recorder.place(worker=self._worker, run=self._run, batch=item[0])
        elif item is not None:
            self._run += 1  # a persistent worker starts its next pass
        return item

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


def _watched(dataset: Any, recorder: Recorder) -> Any:
    return (_WatchedBatches if getattr(dataset, "__getitems__", None) else _Watched)(dataset, recorder)


class _Watched:
    """A map-style dataset as its fetcher sees it: each access is for one sample."""

    def __init__(self, dataset: Any, recorder: Recorder) -> None:
        self._dataset = dataset
        self._recorder = recorder

    def __getitem__(self, index: Any) -> Any:
        identity = _only(index)
        if identity is None:
            return self._dataset[index]
        state = self._recorder.enter("sample", identity)
        try:
            return self._dataset[index]
        finally:
            self._recorder.leave("sample", state)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)


class _WatchedBatches(_Watched):
    """A dataset that fetches whole batches itself."""

    def __getitems__(self, indices: Any) -> Any:
        if _is_plain_subset(self._dataset):
            # Subset's own `__getitems__` is this loop, without a place to say which sample it is at.
            return [self[index] for index in indices]
        if _only(indices) is None:
            return self._dataset.__getitems__(indices)
        state = self._recorder.enter("sample", _only(indices))
        try:
            return self._dataset.__getitems__(indices)
        finally:
            self._recorder.leave("sample", state)


def _is_plain_subset(dataset: Any) -> bool:
    subset = getattr(sys.modules.get("torch.utils.data.dataset"), "Subset", None)
    if subset is None or not isinstance(dataset, subset):
        return False
    kind = type(dataset)
    own = kind.__getitems__ is subset.__getitems__ and kind.__getitem__ is subset.__getitem__
    return own and not callable(getattr(dataset.dataset, "__getitems__", None))


def _only(index: Any) -> Any:
    """The one sample an index means; None where it means several."""
    if isinstance(index, (list, tuple)):
        return index[0] if len(index) == 1 else (None if isinstance(index, list) else index)
    if getattr(index, "ndim", 0):
        return None
    return index
