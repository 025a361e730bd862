"""A process that makes files as it is told.

It reads a line of JSON that says what the data set is, then lines `split first last`, makes those files, and answers each line
with the bytes it wrote.
"""

from __future__ import annotations

import json
import sys

from tracekit.errors import TracekitError
from tracekit.workload.datagen.maker import maker_of


def main() -> int:
    """Answer until there are no more lines."""
    maker = maker_of(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        split, first, last = line.split()
        try:
            written = sum(maker.make(split, index) for index in range(int(first), int(last)))
        except TracekitError as error:
            print(json.dumps({"cause": error.cause, "way_out": error.way_out}), flush=True)  # noqa: T201 -- the answer
            return 1
        print(written, flush=True)  # noqa: T201 -- the answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
