"""DLIO's workload files: read in three dialects, looked through, translated to a job, written again.

document    YAML with lines, scalars as OmegaConf reads them
overrides   `++workload.section.key=value` as Hydra has them
dialects    2.0.0's and dl-driver's names as 3.x's
schema      the keys: what they hold, what they do here
settings    a file's values, each held to its key
frameworks  dl-driver's sections about frameworks
checks      what several keys together have wrong
translate   settings to a job
reading     by which requests files are read
sizing      the arithmetic
export      YAML again, for 2.0.0 and 3.x
shipped     the files that come with the package
"""

from __future__ import annotations

from tracekit.workload.dlio.translate import load

__all__ = ["load"]
