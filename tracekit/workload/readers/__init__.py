"""By which requests the libraries that own a format read its files: numpy, h5py, Pillow, pandas, and DLIO's own readers.

`Buffered` is Python's buffered file without the file, one module per kind of format knows what is asked of it, and `registry` has
the table.
"""

from tracekit.workload.readers.registry import SYNTHETIC, Reader, reader_of

__all__ = ["SYNTHETIC", "Reader", "reader_of"]
