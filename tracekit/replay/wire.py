"""Messages between the ranks of a run: what a launcher says about them, and MPI behind two methods.

Nothing here waits: waiting in MPI burns a core, and a rank that is gone would be waited for for ever.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tracekit.errors import CannotRunError

if TYPE_CHECKING:
    from mpi4py import MPI

# How the launchers tell a process how many there are: Open MPI, MPICH and Intel (Hydra), MVAPICH2, Slurm's srun. Not
# SLURM_NTASKS, which a batch script has too, once.
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


class Wire(Protocol):
    """What carries messages. Each rank has one end of it; messages between two ranks keep their order."""

    rank: int
    size: int
    # Ranks whose processes are known to have ended.
    gone: set[int]

    def send(self, to: int, message: Any) -> None:
        """Send an object that can be pickled; does not wait."""

    def poll(self) -> tuple[int, Any] | None:
        """The next message that has come, and from whom; None when there is none."""

    def flush(self, patience_s: float) -> bool:
        """Wait until everything that was sent is under way; whether it is."""

    def abort(self, code: int) -> None:
        """End all ranks at once, those that no longer answer too."""


def launched(environment: Mapping[str, str] = os.environ) -> int:
    """How many ranks the launcher started this process as one of; 1 without a launcher."""
    found = [environment[name] for name in SIZES if environment.get(name, "").isdigit()]
    return max((int(text) for text in found), default=1)


class MpiWire:
    """MPI through mpi4py.

    Args:
        comm: The communicator of all ranks.
    """

    def __init__(self, comm: MPI.Comm) -> None:
        self._comm = comm
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        self.gone: set[int] = set()  # MPI does not say
        self._sending: list[MPI.Request] = []
        # Signs of life are sent from a thread of their own; MPI is asked for no more than one call at a time.
        self._lock = threading.Lock()

    def send(self, to: int, message: Any) -> None:
        """Send; the request is looked after with later messages."""
        with self._lock:
            self._sending.append(self._comm.isend(message, dest=to))
            self._sending = [request for request in self._sending if not request.test()[0]]

    def poll(self) -> tuple[int, Any] | None:
        """The next message, from whichever rank."""
        from mpi4py import MPI

        status = MPI.Status()
        with self._lock:
            if not self._comm.iprobe(source=MPI.ANY_SOURCE, status=status):
                return None
            source = status.Get_source()
            return source, self._comm.recv(source=source, tag=status.Get_tag())

    def flush(self, patience_s: float) -> bool:
        """Wait for the requests that are under way."""
        end = time.monotonic() + patience_s
        while True:
            with self._lock:
                self._sending = [request for request in self._sending if not request.test()[0]]
            if not self._sending or time.monotonic() > end:
                return not self._sending
            time.sleep(0.002)

    def abort(self, code: int) -> None:
        """MPI_Abort."""
        self._comm.Abort(code)


def mpi_wire(size: int) -> MpiWire:
    """This process's end of MPI.

    Args:
        size: How many ranks the launcher says there are.

    Raises:
        CannotRunError: If mpi4py is missing, or knows of another number of ranks.
    """
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise CannotRunError(
            f"a launcher started {size} ranks, and they cannot talk to one another ({error})",
            "install mpi4py on every host: pip install 'tracekit-io[mpi]'",
        ) from None
    comm = MPI.COMM_WORLD.Dup()
    if comm.Get_size() != size:
        raise CannotRunError(
            f"the launcher started {size} ranks, mpi4py knows of {comm.Get_size()}",
            "use the launcher of the MPI that mpi4py was built for",
        )
    return MpiWire(comm)
