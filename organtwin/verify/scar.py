"""Reentry around a scar of the left ventricle, started by programmed stimulation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.anatomy.chart import WallChart
from organtwin.cells.conditions import Condition
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import PacedCell, pace
from organtwin.electrophysiology.beats import Beats
from organtwin.electrophysiology.conductivity import Conductivity, conductivity_tensor
from organtwin.electrophysiology.heterogeneity import RegionCells, by_region, cells_on
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import COARSE, TimeSteps, local_nodes
from organtwin.electrophysiology.reentry import Activity, Reentry
from organtwin.electrophysiology.stimulus import Balls, Stimulus, s1_s2
from organtwin.errors import SolverError
from organtwin.mesh.domain import Domain
from organtwin.mesh.relabel import relabel
from organtwin.verify.biventricle import Ventricles

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scar:
    """An oval scar of the free wall, with an isthmus of living tissue from apex to base.

    In the isthmus the cells are less coupled and excite slowly; at its apical entrance they stay
    refractory for longer, so that an early wave is blocked there, goes round the scar and comes
    into the isthmus from the other side. The substrate is made up.

    Attributes:
        length: Along the axis of the ventricle (mm).
        width: About it (mm).
        isthmus: Width of the isthmus (mm).
        entrance: Length of its apical part (mm).
        coupling: Of the conductivities in the isthmus, to those elsewhere.
        tau_in: Time of the inward current in the isthmus (ms).
        tau_close: Of recovery in muscle, isthmus and entrance (ms).
    """

    length: float = 40.0
    width: float = 36.0
    isthmus: float = 12.0
    entrance: float = 8.0
    coupling: float = 0.4
    tau_in: float = 0.5
    tau_close: tuple[float, float, float] = (120.0, 175.0, 280.0)


@dataclass(frozen=True)
class Protocol:
    """A beat and a premature one from the apex, of cells that are used to the first's rhythm.

    Attributes:
        s1: Cycle length of that rhythm (ms); the beat itself comes at once.
        s2: Coupling of the premature beat to it (ms).
        followed: Time after the premature beat (ms).
        radius: Of the ball that is stimulated (mm).
    """

    s1: float = 500.0
    s2: float = 260.0
    followed: float = 2000.0
    radius: float = 6.0


def scarred(heart: Ventricles, scar: Scar, *, ablated: bool = False) -> Domain:
    """The heart with regions ``scar``, ``isthmus``, ``entrance``, and ``lesion`` if ablated.

    The lesion is a line of 6 mm across the isthmus.
    """
    wall = WallChart(heart.axis, height=0.5, angle=np.pi)
    half = scar.length / 2

    def in_scar(x: Array) -> NDArray[np.bool_]:
        return wall.in_ellipse(x, along=half, about=scar.width / 2)

    def in_isthmus(x: Array) -> NDArray[np.bool_]:
        return in_scar(x) & wall.in_strip(x, along=half, about=scar.isthmus / 2)

    def in_entrance(x: Array) -> NDArray[np.bool_]:
        return in_isthmus(x) & (wall.along(x) < scar.entrance - half)

    def in_lesion(x: Array) -> NDArray[np.bool_]:
        return wall.in_strip(x, along=3.0, about=scar.isthmus / 2 + 3.0)

    substrate = relabel(
        heart.domain, {"scar": in_scar, "isthmus": in_isthmus, "entrance": in_entrance}
    )
    return relabel(substrate, {"lesion": in_lesion}) if ablated else substrate


def stimulated(
    heart: Ventricles,
    *,
    scar: Scar = Scar(),
    protocol: Protocol = Protocol(),
    ablated: bool = False,
) -> Activity:
    """What the heart does after programmed stimulation; collective.

    Raises:
        SolverError: the tissue is not finite, or a linear solve failed.
    """
    substrate = scarred(heart, scar, ablated=ablated)
    comm = substrate.comm
    V = fem.functionspace(substrate.mesh, ("P", 1))
    dead = [name for name in ("scar", "lesion") if name in substrate.regions]
    living = [name for name in substrate.regions if name not in dead]
    coupling = {**dict.fromkeys(("isthmus", "entrance"), scar.coupling), **dict.fromkeys(dead, 0.0)}
    sigma = by_region(substrate, coupling) * conductivity_tensor(
        substrate,
        Conductivity(fibre=0.3, sheet=0.1, normal=0.1, endocardial_layer=0.0),
        heart.directions.f0,
        heart.directions.s0,
        heart.directions.n0,
    )

    def paced(variant: CellModel) -> PacedCell:
        return pace(compile_kernel(variant), cycle_length=protocol.s1, beats=10)

    cells = cells_on(V, substrate, _cells(scar, living), passive=dead, start=paced)
    onsets = s1_s2(protocol.s1, 1, (protocol.s2,))
    last = max(onsets)
    end = last + protocol.followed
    beats = Beats(local_nodes(V), comm, threshold=-40.0)
    reentry = Reentry(V, until=end)
    apex = Stimulus(Balls({"apex": heart.axis.apex}, radius=protocol.radius), onsets=onsets)
    tissue = monodomain(
        V, cells, sigma, [apex], scheme=COARSE, steps=TimeSteps(shortest=0.2),
        dx=substrate.dx(*living), recorders=[beats, reentry], domain=substrate,
    )  # fmt: skip
    for t in np.arange(0.0, end, 20.0):
        step = tissue.advance(t, min(t + 20.0, end))
        if not step.converged:
            raise SolverError("scar", step.detail or step.outcome.value, "Shorten the time step.")
        seen = reentry.activity(beats, step.t1, stimulated=last, lasting=0.9 * protocol.followed)
        if t > last + 200.0 and seen.verdict == "terminated":
            break
    return seen


def _cells(scar: Scar, living: Sequence[str]) -> list[RegionCells]:
    muscle, isthmus, entrance = scar.tau_close
    model = CellModel.load("mitchell_schaeffer_2003").with_parameters({"tau_close": muscle})

    def ill(name: str, tau_close: float) -> Condition:
        parameters = {"tau_in": scar.tau_in, "tau_close": tau_close}
        return Condition(name, parameters=parameters, source="made up")

    healthy = tuple(name for name in living if name not in ("isthmus", "entrance"))
    return [
        RegionCells(("entrance",), model, (ill("entrance", entrance),)),
        RegionCells(("isthmus",), model, (ill("isthmus", isthmus),)),
        RegionCells(healthy, model),
    ]
