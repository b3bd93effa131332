"""The error that mesh and time step leave in a result, estimated by coarser runs of the same case.

A companion run has one of both coarser by a ratio r and all else as it was. With the value f of a
result, that of the companion f_r, and errors that go down with h^p,

    e = (f_r − f) / (r^p − 1),    u = 3 |e|,

e is what Richardson's extrapolation says that f is off by, and u the grid convergence index of two
grids. Two runs tell no order: p = 1 is assumed unless another is given, which for smooth results
of quadratic elements is too careful and beside a crack is not. A run is no companion where it took
another decision, as another size of a device: what is not the same is then not compared.

Source:
    Roache (1998), Verification and Validation in Computational Science and Engineering, chapter 5
    (safety factor 3 for two grids; remembered).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mpi4py import MPI

from organtwin.case.implant_plan import fineness_of
from organtwin.case.recorded import Recorded, do_again, load_recorded, read_run
from organtwin.case.records import write_record
from organtwin.case.repeat import COSTS
from organtwin.case.schema import Case
from organtwin.case.schema_implant import ImplantCase
from organtwin.case.schema_tavr import TavrCase
from organtwin.credibility import BALANCES, identity, write_credibility
from organtwin.errors import InputError, OrgantwinError
from organtwin.export.implant_report import write_implant_report
from organtwin.export.report import write_report
from organtwin.export.tavr_report import write_tavr_report
from organtwin.parallel import on_root

logger = logging.getLogger(__name__)

#: How much coarser a mesh is, and a time step is longer, unless asked otherwise.
MESH, TIME = 1.5, 2.0
#: Safety factor of two grids.
SAFETY = 3.0
#: Ratio below which a mesh is not coarser.
LEAST = 1.1
#: Results that tell of the mesh, not of what was computed on it.
OF_THE_MESH = ("mesh_", "unknowns_")


@dataclass(frozen=True)
class Coarser:
    """What is coarser in a companion run.

    Attributes:
        name: ``mesh`` or ``time step``.
        ratio: By how much its settings are.
        settings: Keys of the case file and their values.
    """

    name: str
    ratio: float
    settings: Mapping[str, str | int]


@dataclass(frozen=True)
class Estimate:
    """What is left of an error in a result.

    Attributes:
        quantity: Name of the result.
        unit: Its unit.
        value: Its value.
        coarser: That of the companion.
        error: By which the value is off, e.
        uncertainty: u, of the same unit.
    """

    quantity: str
    unit: str
    value: float
    coarser: float
    error: float
    uncertainty: float


def coarser(case: Recorded, mesh: float = MESH, time: float = TIME) -> tuple[Coarser, ...]:
    """Settings of the companion runs of a case.

    Args:
        case: Of a heart, a valve or an implant.
        mesh: Ratio of the lengths of edges, > 1; of beams their elements are fewer.
        time: Ratio of the time steps, > 1.

    Raises:
        InputError: a ratio is not above 1, or nothing is solved in such a case.
    """
    for name, ratio in (("--mesh", mesh), ("--time-step", time)):
        if not ratio > 1.0:
            raise InputError(name, f"{ratio:g} is not coarser.", "Give a ratio above 1.")
    if isinstance(case, TavrCase):
        at = case.deployment
        return (
            Coarser("mesh", mesh, {
                "root.size": f"{mesh * case.root.size:g} mm",
                "deployment.spacing": f"{mesh * at.spacing:g} mm",
                "deployment.elements": max(1, round(at.elements / mesh)),
            }),
        )  # fmt: skip
    if isinstance(case, ImplantCase):
        sizes = vars(fineness_of(case)).items()
        return (Coarser("mesh", mesh, {f"mesh.{key}": f"{mesh * h:g} mm" for key, h in sizes}),)
    if isinstance(case, Case):
        steps = {
            "electrophysiology.time_step": case.electrophysiology.time_step,
            "mechanics.time_step": case.mechanics.time_step,
            "output.field_interval": case.output.field_interval,
        }
        return (
            Coarser("mesh", mesh, {"mesh.size": f"{mesh * case.mesh.size:g} mm"}),
            Coarser("time step", time, {key: f"{time * dt:g} ms" for key, dt in steps.items()}),
        )
    raise InputError("run.json", "nothing is solved in this case.", "Give that of a solve.")


def companions(
    directory: Path, *, mesh: float = MESH, time: float = TIME, order: float = 1.0,
    comm: MPI.Comm = MPI.COMM_WORLD,
) -> dict[str, tuple[Estimate, ...]]:  # fmt: skip
    """Do the companion runs of a result, and add what they tell to it; collective.

    They lie in ``companion`` below the result and are gone on with as any run. What they tell goes
    to ``companion.json``, ``credibility.json`` and the report.

    Args:
        directory: Of a complete run.
        mesh: Ratio of the lengths of edges, see `coarser`.
        time: Ratio of the time steps.
        order: p.
        comm: Communicator.

    Returns:
        Estimates by what was coarser.

    Raises:
        OrgantwinError: there is no complete run, or all companions fail; one that fails beside
            another is told in ``companion.json``.
    """
    if not order > 0.0:
        raise InputError("--order", f"{order:g}.", "It must be > 0.")
    run = on_root(comm, lambda: read_run(directory))
    case = load_recorded(run["case"], comm)
    found: dict[str, tuple[Estimate, ...]] = {}
    record: list[dict[str, Any]] = []
    failure: OrgantwinError | None = None
    for one in coarser(case, mesh, time):
        folder = directory / "companion" / one.name.replace(" ", "_")
        changed, wanted = _changed(run["case"], one.settings), set(run["stages"]) - {"report"}
        try:
            do_again(changed, folder, wanted, comm)
            then = on_root(comm, partial(read_run, folder))
            ratio = _ratio(one, run["results"], then["results"])
        except OrgantwinError as error:  # the other one may tell something
            failure = error
            logger.warning("The companion with a coarser %s failed: %s", one.name, error)
            record.append({"of": one.name, "settings": dict(one.settings), "failed": str(error)})
            continue
        found[one.name] = estimates(run["results"], then["results"], ratio, order)
        record.append({
            "of": one.name, "ratio": ratio, "order": order, "settings": dict(one.settings),
            "median": _median(found[one.name]),
            "estimates": [asdict(estimate) for estimate in found[one.name]],
        })  # fmt: skip

    if failure is not None and not found:
        raise failure

    def write() -> None:
        write_record(directory / "companion.json", {"of_run": identity(run), "runs": record})
        write_credibility(directory)
        if "report" in run["stages"]:
            _page(case)(directory)

    on_root(comm, write)
    return found


def estimates(
    fine: Mapping[str, Any], coarse: Mapping[str, Any], ratio: float, order: float = 1.0
) -> tuple[Estimate, ...]:
    """Errors of the results that both runs have, the largest part of its value first.

    Args:
        fine: Results as ``run.json`` holds them: name → value and unit.
        coarse: Those of the companion.
        ratio: r.
        order: p.
    """
    found = []
    for name in fine:
        if name in (*COSTS, *BALANCES) or name.startswith(OF_THE_MESH) or name not in coarse:
            continue  # a balance is an error itself
        value, other = fine[name]["value"], coarse[name]["value"]
        if value is None or other is None or value == other:
            continue  # equal: it does not depend on the mesh
        error = (other - value) / (ratio**order - 1.0)
        found.append(Estimate(name, fine[name]["unit"], value, other, error, SAFETY * abs(error)))
    return tuple(sorted(found, key=lambda one: -_part(one)))


def _median(found: tuple[Estimate, ...]) -> float | None:
    """Uncertainty over the value (%) that half of the results do not exceed."""
    parts = sorted(_part(one) for one in found)
    middle = parts[(len(parts) - 1) // 2] if parts else math.inf
    return 100.0 * middle if math.isfinite(middle) else None


def _part(one: Estimate) -> float:
    return one.uncertainty / abs(one.value) if one.value else math.inf


def _ratio(one: Coarser, fine: Mapping[str, Any], coarse: Mapping[str, Any]) -> float:
    """That of the sizes of cells as they came out; of time steps that of the settings.

    Raises:
        InputError: the mesh is hardly coarser.
    """
    if one.name != "mesh" or "mesh_cells" not in fine:
        return one.ratio
    ratio = float(fine["mesh_cells"]["value"] / coarse["mesh_cells"]["value"]) ** (1 / 3)
    if ratio < LEAST:
        raise InputError(
            "companion", f"its cells are larger by {ratio:.2f} only: shape decides their size.",
            "Take a larger --mesh.",
        )  # fmt: skip
    return ratio


def _changed(case: Mapping[str, Any], settings: Mapping[str, str | int]) -> dict[str, Any]:
    """A recorded case with other settings."""
    found = {name: dict(part) if isinstance(part, dict) else part for name, part in case.items()}
    for key, value in settings.items():
        section, name = key.split(".")
        found.setdefault(section, {})[name] = value
    return found


def _page(case: Recorded) -> Any:
    """What writes the page of a result."""
    if isinstance(case, TavrCase):
        return write_tavr_report
    return write_implant_report if isinstance(case, ImplantCase) else write_report
