"""The electrical heart alone: its run, and what is written of the activity of any heart."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from organtwin.case.electrical import Electrical
from organtwin.case.progress import Progress, SimulatedTime
from organtwin.case.records import write_record
from organtwin.case.schema import Case
from organtwin.electrophysiology.places import places
from organtwin.electrophysiology.reaction_diffusion import NOT_ACTIVATED
from organtwin.electrophysiology.velocity import conduction_velocity
from organtwin.export.ecg_intervals import corrected_qt, intervals
from organtwin.export.fields import field_writer
from organtwin.export.tables import read_table
from organtwin.mesh.domain import region_field
from organtwin.parallel import on_root, quantiles
from organtwin.run.checkpoint import Checkpoint, read_checkpoint, restore
from organtwin.run.observers import Fields, Table
from organtwin.run.result import Beat
from organtwin.run.simulate import Statistics, on_grid, simulate
from organtwin.run.stopping import Keeper, listening
from organtwin.solve.outcome import Step

logger = logging.getLogger(__name__)

#: Time between two checkpoints (ms).
CHECKPOINT_INTERVAL = 100.0

Results = dict[str, tuple[float, str]]


def solve_electrical(
    case: Case,
    heart: Electrical,
    directory: Path,
    folder: Path,
    key: str,
    progress: Progress,
    decisions: Sequence[str] = (),
) -> None:
    """Run the electrical heart of a case and write what it does; collective.

    Args:
        case: The case.
        heart: Its electrical heart, at rest.
        directory: Result directory.
        folder: Folder of the stage.
        key: Tells whether a checkpoint belongs to this run.
        progress: Told the share done.
        decisions: For the record.
    """
    comm, resumable = heart.domain.comm, case.output.formats == ("vtu",)
    found = continued(folder / "checkpoint", key, comm) if resumable else None
    start = 0.0
    if found is not None:
        start = found[0]
        restore(folder / "checkpoint", heart.ep, comm, places(heart.ep))
        logger.info("going on from t = %g ms", start)
    resume = start if start > 0 else None
    with ExitStack() as closing:
        table = Table(comm, directory / "scalars.csv", _row(heart), resume=resume)
        closing.callback(table.close)
        checkpoint = Checkpoint(
            comm, folder / "checkpoint", heart.ep, CHECKPOINT_INTERVAL, lambda: {"key": key},
            places(heart.ep), table.sync,
        )  # fmt: skip
        keeper = Keeper(comm, checkpoint, closing.enter_context(listening()))
        writers = [
            field_writer(kind, directory / "fields", "electrophysiology", heart.domain.mesh,
                         resume=resume)
            for kind in case.output.formats
        ]  # fmt: skip
        for writer in writers:
            closing.callback(getattr(writer, "close", lambda: None))
        every = case.output.field_interval
        fields = [
            Fields(writer, lambda: {"transmembrane_potential": heart.ep.v}, every)
            for writer in writers
        ]
        words = SimulatedTime(start, case.duration)
        statistics = Statistics()
        go_on = partial(
            simulate, heart.ep, statistics=statistics, on_failure=checkpoint.observe,
            progress=lambda t: progress(t / case.duration, words(t)),
        )  # fmt: skip
        first = on_grid(start, case.duration, case.mechanics.time_step)
        if first > start + 1e-6:
            go_on(t_start=start, t_end=first, dt=first - start)
        go_on(
            t_start=first, t_end=case.duration, dt=case.mechanics.time_step,
            observers=[table, *fields, checkpoint, keeper],
        )  # fmt: skip
    activity = write_activity(directory, heart)

    def record() -> None:
        """Results and cost, on one rank."""
        results = {**activity, **ecg_results(directory, Beat(0.0, case.circulation.cycle_length))}
        content = {
            "results": results,
            "solver": {**asdict(statistics), **sizes(heart)},
            "decisions": list(decisions),
        }
        write_record(folder / "solve.json", content)

    on_root(comm, record)


def continued(folder: Path, key: str, comm: MPI.Comm) -> tuple[float, dict[str, Any]] | None:
    """Time (ms) and note of a checkpoint of the same run; says so if the ranks don't fit it.

    Args:
        folder: Folder of the checkpoint.
        key: Of the run.
        comm: Communicator; collective.
    """
    found = read_checkpoint(folder, comm)
    if found is not None:
        return found if found[1]["key"] == key else None

    def tell() -> None:
        try:
            record = json.loads((folder / "checkpoint.json").read_text(encoding="utf-8"))
            t, ranks, same = record["t"], record["mpi_size"], record["note"]["key"] == key
        except (OSError, ValueError, KeyError, TypeError):
            return  # no checkpoint, or a damaged one
        if same and ranks != comm.size:
            logger.warning(
                "The checkpoint at t = %g ms is of a run on %d MPI ranks, this one has %d: "
                "starting from 0 ms. Run on %d to go on from it.", t, ranks, comm.size, ranks,
            )  # fmt: skip

    on_root(comm, tell)
    return None


def _row(heart: Electrical) -> Any:
    def row(t: float, step: Step) -> Mapping[str, float]:
        return {
            "t [ms]": t,
            "activated [%]": 100 * heart.ep.activated_fraction(),
            **{f"ecg_{lead} [mV]": volts for lead, volts in heart.leads().items()},
            "krylov": step.krylov,
        }

    return row


def sizes(heart: Electrical) -> dict[str, int]:
    """Unknowns and cells, for the record."""
    return {
        "electrical nodes": heart.ep.v.function_space.dofmap.index_map.size_global,
        "electrical cells": heart.domain.mesh.topology.index_map(3).size_global,
    }


def write_activity(directory: Path, heart: Electrical) -> Results:
    """Write activation, repolarisation, durations and velocity; returns figures; collective.

    Args:
        directory: Result directory.
        heart: The electrical heart after its run.
    """
    V, domain, beats = heart.ep.v.function_space, heart.domain, heart.beats
    fields = beats.fields(V)
    # Of one beat: a node's own last activation may belong to the next.
    fields["activation"].x.array[:] = heart.last_beat.activation
    velocity = conduction_velocity(fields["activation"], heart.fibres.f0)
    named = {
        "activation_time": fields["activation"],
        "repolarisation": fields["repolarisation"],
        "apd": fields["apd"],
        "conduction_velocity": velocity.c,
        "fibre": heart.fibres.f0,
        "region": region_field(domain),
    }
    writer = field_writer("vtu", directory / "fields", "activation", domain.mesh)
    writer.write(0.0, named)
    own = slice(0, V.dofmap.index_map.size_local)
    activation, apd = heart.last_beat.activation[own], beats.apd[own]
    reached, complete = activation[activation != NOT_ACTIVATED], apd[apd != NOT_ACTIVATED]
    first, last = quantiles(domain.comm, reached, (0.0, 1.0))
    share = domain.comm.allreduce(len(reached)) / V.dofmap.index_map.size_global
    results: Results = {
        "total_activation_time": (float(last - first), "ms"),
        "activated_fraction": (100 * share, "%"),
    }
    low, median, high = quantiles(domain.comm, complete, (0.05, 0.5, 0.95))
    if np.isfinite(median):
        results["apd90_median"] = (float(median), "ms")
        results["apd90_dispersion"] = (float(high - low), "ms")
    for name, speeds in (("fibre", velocity.fibre), ("cross_fibre", velocity.cross)):
        if speeds is not None and speeds.cells:
            results[f"conduction_velocity_{name}"] = (speeds.median, "m/s")
    return results


def ecg_results(directory: Path, beat: Beat) -> Results:
    """Intervals and axis of a beat's leads in ``scalars.csv``."""
    table = read_table(directory / "scalars.csv")
    rows = beat.rows(table["t [ms]"])
    t = table["t [ms]"][rows] - beat.start
    leads = {
        name.removeprefix("ecg_").removesuffix(" [mV]"): values[rows]
        for name, values in table.items()
        if name.startswith("ecg_")
    }
    if not leads or len(t) < 3:
        return {}
    found = intervals(t, leads)
    named = {
        "qrs_duration": (found.qrs, "ms"),
        "qt_interval": (found.qt, "ms"),
        "qtc_fridericia": (corrected_qt(found.qt, beat.period), "ms"),
        "qrs_axis": (found.axis, "degree"),
    }
    return {name: value for name, value in named.items() if np.isfinite(value[0])}
