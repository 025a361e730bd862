"""Which run a trace is of: a word that all traces of one run have in common, and no other."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

# What launchers call one launch of theirs in the environment of every rank: srun, and Open MPI and others by PMIx.
_LAUNCHES = (("SLURM_JOB_ID", "SLURM_STEP_ID"), ("PMIX_NAMESPACE",))


def run_id(environment: Mapping[str, str]) -> str:
    """Twelve hexadecimal digits: those of the launch that this process is a rank of, else new ones."""
    for names in _LAUNCHES:
        words = [environment.get(name, "") for name in names]
        if all(words):
            # Not as they are: they may name a host.
            return hashlib.sha256("\0".join([*names, *words]).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return secrets.token_hex(6)
