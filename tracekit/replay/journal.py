"""What Python's threads do, noted where the system keeps it: a replay that is killed leaves a trace of it (`leftover`).

The records of all streams are a file in shared memory among the run's working files, room for which is taken before it begins; a
thread notes an op by storing numbers. A record counts once its `complete` is there, which is stored last. A request that is to be
made again stands there as failed until its last attempt, and then as what that was.
"""

from __future__ import annotations

import numpy as np

from tracekit.replay.engines import FAR_RESULT, RESULT, RESULTS, Log
from tracekit.replay.plan import Plan
from tracekit.replay.records import Records


def logs_of(plan: Plan) -> list[Log]:
    """An empty log for each job of the plan; without a folder for working files they are only in memory.

    Raises:
        CannotRunError: If there is no room for them on the disk.
    """
    # As `leftover.describe` has it: also where no op of the plan is a request.
    far = any(not file.local for file in plan.files if file.storage is not None)
    dtype = FAR_RESULT if far else RESULT
    ends = np.cumsum([len(job) * plan.options.loop for job in plan.jobs])
    count = int(ends[-1]) if len(ends) else 0
    block = np.zeros(count, dtype) if plan.folder is None else Records(dtype, plan.folder, RESULTS).mapped(count)
    return [Log(records) for records in np.split(block, ends[:-1])] if len(ends) else []
