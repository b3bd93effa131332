"""Electrodes and leads of the ECG, and the pseudo-ECG: potentials in an unbounded torso."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import ufl
from dolfinx import fem, geometry
from mpi4py import MPI
from numpy.typing import NDArray
from petsc4py import PETSc
from ufl.core.expr import Expr

from organtwin.errors import InputError, suggestion
from organtwin.mesh.domain import Domain
from organtwin.solve.assembly import integral, vector

Array = NDArray[np.float64]

#: Electrodes of the limbs relative to the heart's centre, patient axes LPS (mm).
LIMBS: Mapping[str, tuple[float, float, float]] = {
    "RA": (-200.0, -30.0, 220.0),
    "LA": (160.0, -30.0, 220.0),
    "LL": (60.0, -30.0, -420.0),
}
#: Earth; no lead needs it.
RIGHT_LEG = (-100.0, -30.0, -420.0)
#: Electrodes of the chest.
CHEST = ("V1", "V2", "V3", "V4", "V5", "V6")
#: All electrodes that have a place on the body.
ELECTRODES = (*LIMBS, "RL", *CHEST)

#: Middle of the sternum right of the heart's centre (mm).
MIDLINE = 20.0
#: Depth of the heart's centre behind the front of the chest, at least (mm).
DEPTH = 65.0
#: Chest wall in front of the foremost tissue, at least (mm).
WALL = 20.0
#: Half the width and half the depth of the chest, an ellipse (mm).
HALF_WIDTH, HALF_DEPTH = 160.0, 110.0
#: Distance of the chest electrodes to the left of the midline (mm); V3 is halfway from V2 to V4.
LEFT_OF_MIDLINE = {"V1": -20.0, "V2": 20.0, "V3": 50.0, "V4": 80.0, "V5": 130.0, "V6": 160.0}
#: Height of the fourth and fifth intercostal space above the heart's centre (mm).
FOURTH, FIFTH = 0.0, -30.0
HEIGHTS = {
    "V1": FOURTH, "V2": FOURTH, "V3": (FOURTH + FIFTH) / 2, "V4": FIFTH, "V5": FIFTH, "V6": FIFTH,
}  # fmt: skip

_WILSON = {"RA": -1 / 3, "LA": -1 / 3, "LL": -1 / 3}
#: Lead → weight of each electrode's potential; the weights of a lead add up to zero.
LEADS: Mapping[str, Mapping[str, float]] = {
    "I": {"LA": 1.0, "RA": -1.0},
    "II": {"LL": 1.0, "RA": -1.0},
    "III": {"LL": 1.0, "LA": -1.0},
    "aVR": {"RA": 1.0, "LA": -0.5, "LL": -0.5},
    "aVL": {"LA": 1.0, "RA": -0.5, "LL": -0.5},
    "aVF": {"LL": 1.0, "RA": -0.5, "LA": -0.5},
    **{name: {name: 1.0, **_WILSON} for name in CHEST},
}


class PseudoECG:
    """Potentials at electrodes outside the tissue from the transmembrane potential.

        φ(x_e) = −1/(4πσ_b) ∫ σ∇v · ∇(1/r) dx,    r = |x − x_e|

    This is linear in v, so one vector per electrode is assembled once and each evaluation is
    a dot product. The two descriptions of the heart's currents that hold in a body of one
    conductivity are σ = σᵢ with σ_b = σᵢ + σₑ, and the monodomain σ with σ_b = σₑ.

    Args:
        V: Space of the transmembrane potential.
        conductivity: Tensor σ (mS/mm).
        electrodes: Points by name (mm), further from the tissue than its cells are wide.
        sigma_b: Conductivity of the torso (mS/mm).
        dx: Where the tissue is.

    Source:
        Gima & Rudy (2002), Circ. Res. 90:889–896.
    """

    def __init__(
        self,
        V: fem.FunctionSpace,
        conductivity: Expr,
        electrodes: Mapping[str, Array],
        *,
        sigma_b: float = 0.2,
        dx: ufl.Measure = ufl.dx,
    ) -> None:
        self._vectors: dict[str, PETSc.Vec] = {}
        x, w = ufl.SpatialCoordinate(V.mesh), ufl.TestFunction(V)
        scale = fem.Constant(V.mesh, 1 / (4 * np.pi * sigma_b))
        for name, point in electrodes.items():
            d = x - fem.Constant(V.mesh, np.asarray(point, dtype=np.float64))
            lead = d / ufl.sqrt(ufl.dot(d, d)) ** 3  # −∇(1/r)
            integrand = scale * ufl.inner(conductivity * ufl.grad(w), lead)
            self._vectors[name] = vector(integrand * dx(metadata={"quadrature_degree": 2}))

    def __call__(self, v: fem.Function) -> dict[str, float]:
        """Potential (mV) at each electrode; collective."""
        return {name: float(b.dot(v.x.petsc_vec)) for name, b in self._vectors.items()}


def standing_adult(domain: Domain, *tissue: str) -> dict[str, Array]:
    """All electrodes of a standing adult, placed around the ventricles; collective.

    In a horizontal plane the chest is an ellipse, 320 mm wide and 220 mm deep. The middle of the
    sternum is its foremost point. It lies 20 mm to the right of the ventricles' centre and 65 mm
    in front of it, or further, 20 mm in front of the foremost tissue. The centre is level with
    the fourth intercostal space and 30 mm above the fifth. On this wall

    - V1, V2: fourth space, right and left border of the sternum (20 mm from the midline),
    - V4: fifth space, midclavicular line (80 mm); V3: halfway from V2 to V4,
    - V5: level with V4, anterior axillary line (130 mm); V6: level with V4, midaxillary line,
    - RA, LA at the shoulders, RL, LL at the hips.

    The order of the places is that of clinical practice; the lengths are round numbers for an
    adult, not measurements. Give positions of the patient where they are known.

    Args:
        domain: Mesh in patient axes LPS (mm).
        tissue: Regions of the ventricles; all if omitted.

    Source:
        Kligfield et al. (2007), Circulation 115:1306–1324, for where the electrodes belong.
    """
    centre = _centre(domain, tissue)
    limbs = {name: centre + np.array(offset) for name, offset in LIMBS.items()}
    front = min(centre[1] - DEPTH, _foremost(domain, tissue) - WALL)
    chest = {}
    for name, left in LEFT_OF_MIDLINE.items():
        back = HALF_DEPTH * (1 - np.sqrt(1 - (left / HALF_WIDTH) ** 2))
        chest[name] = np.array(
            [centre[0] - MIDLINE + left, front + back, centre[2] + HEIGHTS[name]]
        )
    return {**limbs, "RL": centre + np.array(RIGHT_LEG), **chest}


def given_electrodes(
    domain: Domain,
    positions: Mapping[str, Sequence[float]],
    *,
    leads: Sequence[str] = tuple(LEADS),
    tissue: Sequence[str] = (),
) -> dict[str, Array]:
    """Check electrodes that a user gave; collective.

    Args:
        domain: Mesh that has the tissue.
        positions: Electrode → x, y, z (mm).
        leads: Leads that will be taken.
        tissue: Regions of the tissue; all if omitted.

    Returns:
        Electrode → point (3,).

    Raises:
        InputError: an electrode is not known, has no three finite coordinates, lies inside the
            tissue, or is missing for a lead.
    """
    for name, position in positions.items():
        if name not in ELECTRODES:
            raise InputError("electrodes", f"no electrode `{name}`.", suggestion(name, ELECTRODES))
        if len(position) != 3 or not np.isfinite(position).all():
            raise InputError(
                f"electrode `{name}`", f"{list(position)} is no point.", "Give x, y and z in mm."
            )
    _check_complete(positions, leads)
    points = {name: np.asarray(p, dtype=np.float64) for name, p in positions.items()}
    _check_outside(domain, points, tissue)
    return points


def lead_voltages(
    potentials: Mapping[str, float], leads: Sequence[str] = tuple(LEADS)
) -> dict[str, float]:
    """Leads from the potentials at the electrodes: I–III, aVR, aVL, aVF, V1–V6 unless told.

    The chest leads are against Wilson's central terminal (RA + LA + LL)/3, the augmented ones
    against the mean of the other two limbs. A constant added to all potentials cancels.

    Args:
        potentials: Electrode → potential (mV).
        leads: Which leads.

    Returns:
        Lead → voltage (mV).

    Raises:
        InputError: a lead is not known, or an electrode is missing for it.

    Source:
        Kligfield et al. (2007), Circulation 115:1306–1324.
    """
    _check_complete(potentials, leads)
    return {
        lead: sum(weight * potentials[name] for name, weight in LEADS[lead].items())
        for lead in leads
    }


def _check_complete(electrodes: Mapping[str, object], leads: Sequence[str]) -> None:
    for lead in leads:
        if lead not in LEADS:
            raise InputError("leads", f"no lead `{lead}`.", suggestion(lead, LEADS))
        missing = [name for name in LEADS[lead] if name not in electrodes]
        if missing:
            raise InputError(
                "electrodes",
                f"lead {lead} needs {', '.join(missing)}, which is not given.",
                f"Add it, or leave out lead {lead}.",
            )


def _check_outside(domain: Domain, points: Mapping[str, Array], tissue: Sequence[str]) -> None:
    x = np.array(list(points.values())).reshape(-1, 3)
    inside = np.zeros(len(x), dtype=bool)
    cells = _owned_cells(domain, tissue)
    if len(cells) and len(x):
        tree = geometry.bb_tree(domain.mesh, 3, entities=cells)
        near = geometry.compute_collisions_points(tree, x)
        inside[:] = np.diff(geometry.compute_colliding_cells(domain.mesh, near, x).offsets) > 0
    domain.comm.Allreduce(MPI.IN_PLACE, inside, op=MPI.LOR)
    for name, hit in zip(points, inside, strict=True):
        if hit:
            raise InputError(
                f"electrode `{name}`",
                f"{tuple(map(float, points[name]))} mm lies inside the tissue.",
                "Electrodes of the ECG are on the skin; take an electrogram inside the tissue.",
            )


def _owned_cells(domain: Domain, tissue: Sequence[str]) -> NDArray[np.int32]:
    number = domain.mesh.topology.index_map(3).size_local
    cells = domain.cells(*tissue) if tissue else np.arange(number, dtype=np.int32)
    return cells[cells < number]


def _centre(domain: Domain, tissue: Sequence[str]) -> Array:
    x, dx = ufl.SpatialCoordinate(domain.mesh), domain.dx(*tissue)
    return np.array([integral(x[i] * dx) for i in range(3)]) / domain.volume(*tissue)


def _foremost(domain: Domain, tissue: Sequence[str]) -> float:
    nodes = domain.mesh.geometry.dofmaps[0][_owned_cells(domain, tissue)]
    y = domain.mesh.geometry.x[nodes.ravel(), 1]
    return float(domain.comm.allreduce(y.min(initial=np.inf), op=MPI.MIN))
