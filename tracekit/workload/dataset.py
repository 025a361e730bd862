"""What a loader reads from: the samples below a URI, each a range of a file or object."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracekit.errors import CannotRunError, InputError
from tracekit.storage import Storage, storage_for
from tracekit.storage.keys import way_out_of
from tracekit.storage.store_settings import environment
from tracekit.uri import file_uri, scheme_of

Ints = NDArray[np.int64]
_AZURE = "az://"


class Dataset:
    """Samples, numbered from 0.

    Args:
        storage: What the files are read through.
        places: The files, as the storage calls them.
        sizes: Their sizes in bytes.
        file: Which file each sample is in; by default every file is a sample.
        offset: Where in it each sample begins.
        length: How long each sample is, in bytes.
        scheme: `direct` where files are to be read with O_DIRECT, whatever the options say; else empty.
    """

    def __init__(
        self,
        storage: Storage,
        places: Sequence[str],
        sizes: Sequence[int] | Ints,
        file: Ints | None = None,
        offset: Ints | None = None,
        length: Ints | None = None,
        scheme: str = "",
    ) -> None:
        self.storage = storage
        self.places = list(places)
        self.sizes = np.asarray(sizes, np.int64)
        self.file = np.arange(len(self.places), dtype=np.int64) if file is None else file
        self.offset = np.zeros(len(self.file), np.int64) if offset is None else offset
        self.length = self.sizes[self.file] if length is None else length
        self.scheme = scheme
        ends = self.offset + self.length
        if len(self.file) and bool((ends > self.sizes[self.file]).any()):
            first = int(np.flatnonzero(ends > self.sizes[self.file])[0])
            raise InputError(
                f"sample {first} would end at byte {ends[first]} of {self.places[self.file[first]]}, which has "
                f"{self.sizes[self.file[first]]}",
                "check what the samples were made from",
            )

    def __len__(self) -> int:
        return len(self.file)

    def __repr__(self) -> str:
        return f"<Dataset of {len(self)} samples in {len(self.places)} files, {self.total_bytes} bytes>"

    @property
    def total_bytes(self) -> int:
        """Bytes of all samples."""
        return int(self.length.sum())

    def uri(self, file: int) -> str:
        """The URI of a file."""
        place = self.places[file]
        return file_uri(place, self.scheme or "file") if self.storage.local and "://" not in place else place

    def beside(self, files: Sequence[tuple[str, int]]) -> Dataset:
        """The same samples, with files after theirs that hold none: (place, size) each."""
        places = [*self.places, *(place for place, _ in files)]
        sizes = np.concatenate([self.sizes, np.asarray([size for _, size in files], np.int64)])
        return Dataset(self.storage, places, sizes, self.file, self.offset, self.length, self.scheme)

    def records(self, record_bytes: int) -> Dataset:
        """The same files cut into samples of `record_bytes`; what is left at a file's end is no sample.

        Raises:
            InputError: If no file holds one.
        """
        counts = self.sizes // record_bytes
        if not int(counts.sum()):
            raise InputError(
                f"no file of {len(self.places)} holds a record of {record_bytes} bytes", "lower the record's length"
            )
        file = np.repeat(np.arange(len(counts)), counts)
        first = np.repeat(np.cumsum(counts) - counts, counts)
        offset = (np.arange(len(file)) - first) * record_bytes
        length = np.full(len(file), record_bytes, np.int64)
        return Dataset(self.storage, self.places, self.sizes, file, offset, length, self.scheme)

    @cached_property
    def names(self) -> bytes:
        """The paths of all files, each ended by a NUL."""
        return b"".join(os.fsencode(place) + b"\0" for place in self.places)

    @cached_property
    def name_at(self) -> Ints:
        """Where each file's path begins in `names`."""
        lengths = np.fromiter((len(os.fsencode(place)) + 1 for place in self.places), np.int64, len(self.places))
        return np.asarray(np.cumsum(lengths) - lengths, np.int64)


def create_dataset(uri: str, options: Any = None) -> Dataset:
    """The samples below a directory, prefix or file: every file is one.

    Args:
        uri: A path, or a URI of any scheme. `az:///prefix` is in the container that `AZURE_BLOB_CONTAINER` names.
        options: `LoaderOptions` or a mapping of them. A data set is whole whatever they say; they are checked here, so that
            what is wrong with them is said before anything is listed.

    Raises:
        InputError: If there is nothing, or no file is below it.
        CannotRunError: If it may not be read, or the server does not answer.
        UsageError: If an option is wrong.
    """
    from tracekit.workload.options import LoaderOptions

    if options is not None and not isinstance(options, LoaderOptions):
        LoaderOptions.of(options)
    whole = _with_container(uri)
    storage = storage_for(whole)
    found = _listed(storage, whole)
    return Dataset(
        storage,
        [place for place, _ in found],
        [size for _, size in found],
        scheme="direct" if scheme_of(whole).direct else "",
    )


def _listed(storage: Storage, uri: str) -> list[tuple[str, int]]:
    try:
        found = list(storage.walk(storage.resolve(uri)))
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise InputError(
                f"there is nothing at {uri}", "check the name, or make it with tracekit generate"
            ) from None
        raise CannotRunError(
            f"{uri} cannot be listed: {error.strerror}",
            way_out_of(error, "check its permissions and the endpoint"),
        ) from None
    if not found:
        raise InputError(f"{uri} holds no files", "name a folder with data, or make it with tracekit generate")
    return found


def _with_container(uri: str) -> str:
    if uri == _AZURE or uri.startswith(f"{_AZURE}/"):
        container = environment().get("AZURE_BLOB_CONTAINER", "")
        if container:
            return f"{_AZURE}{container}/{uri[len(_AZURE) :].lstrip('/')}"
    return uri
