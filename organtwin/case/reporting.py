"""The last stage of every case: pictures and a page for people, by rank 0 from the files."""

from __future__ import annotations

import time
from collections.abc import Callable

from mpi4py import MPI

from organtwin.case.manifest import Manifest
from organtwin.case.progress import Progress, showing
from organtwin.case.stages import memory_peak
from organtwin.credibility import write_credibility
from organtwin.parallel import on_root


def report(
    manifest: Manifest,
    comm: MPI.Comm,
    draw: Callable[[Progress], object],
    write: Callable[[], object],
) -> None:
    """Draw, note what that cost and that the run is complete, then write the page; collective.

    Args:
        manifest: Record of the run.
        comm: Its rank 0 works, the others wait.
        draw: Draws the pictures.
        write: Writes the page, which shows the record.
    """

    def work() -> None:
        """Pictures, the record of what they cost, then the page that shows both."""
        start = time.perf_counter()
        with showing("report", comm) as progress:
            draw(progress)
            manifest.content["stages"]["report"] = {
                "wall_time_s": round(time.perf_counter() - start, 3),
                "peak_memory_mib": round(memory_peak(), 1),
                "mpi_size": 1,
                "reused": False,
            }
            manifest.content["status"] = "complete"
            manifest.write()
            if manifest.path is not None:
                write_credibility(manifest.path.parent)
            write()

    on_root(comm, work)
