"""What `harness matrix` decides: for each criterion what a FAIL of it means, and the way out."""

from __future__ import annotations

from collections.abc import Mapping

# CELL is one of the scenarios.
MATRIX_CRITERIA: Mapping[str, tuple[str, str]] = {
    "intent.CELL": ("A replay of this cell asked for something else than was recorded.", "Nothing can be said of caches then: `harness check` the replay against the recording."),
    "start.CELL": ("Pages were resident when a cold cell began, or not all of them when a buffered one did.", "Let nobody else read the files; more memory than they take; `--drop-cache` where the kernel may be asked."),
    "slower.cold": ("Reads of a cold cache took as long as those of the page cache: below 1.2 times the mean service time.", "INCONCLUSIVE where the cell was provably cold: use slower storage, or a trace whose reads are not hidden by read-ahead."),
    "slower.direct": ("Direct reads took as long as those of the page cache: below 1.2 times the median service time.", "INCONCLUSIVE where cold is not slower either: use storage that is slower than memory."),
    "direct.files": ("Files of the direct cell were read through the page cache.", "Use a file system with O_DIRECT, and no `--direct-fallback`."),
    "direct.leaves": ("The direct cell left more than 2 % of the files' pages in the page cache.", "Look who else reads the files; some file systems cache what is read with O_DIRECT."),
    "ahead.random": ("After the random cell more than 2 % of the pages are resident beyond those asked for: the kernel read ahead.", "Look whether the file system heeds POSIX_FADV_RANDOM (network ones may not)."),
    "ahead.sequential": ("The sequential cell left no more pages than the random one: the advice had no effect.", "As above; N/A where the reads jump, or ask for nearly every page."),
}  # fmt: skip


def general(name: str) -> str:
    """The criterion that a finding's name is one of: those about a single cell name it."""
    from harness.cells import SCENARIOS

    kind, _, cell = name.partition(".")
    return f"{kind}.CELL" if cell in SCENARIOS and f"{kind}.CELL" in MATRIX_CRITERIA else name


def explain(name: str) -> str:
    """What a criterion of the matrix (see `general`) says when it fails, as plain text."""
    cause, way_out = MATRIX_CRITERIA[general(name)]
    return f"{general(name)} (harness matrix)\n  a FAIL says  {cause}\n  if it fails  {way_out}".replace("`", "")
