"""Data sets made to measure: real formats, sizes drawn from distributions, straight to any scheme.

content     noise, compressible as far as asked for
layout      names of files, sizes of samples: all of it follows from the job and a seed
arrays, records, tables, images, shards, hdf5   one kind of format each
registry    which format makes which files
room        whether it fits
manifest    what a data set was made as
maker       makes files, one after the other
work        a process that does, as it is told
generate    what is missing, by several of them
verify      whether what is there is what was made
"""

from __future__ import annotations

from tracekit.workload.datagen.generate import Outlook, generate, survey
from tracekit.workload.datagen.verify import verify

__all__ = ["Outlook", "generate", "survey", "verify"]
