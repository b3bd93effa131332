"""An aortic root as tissue that a frame can be deployed in, at rest under the blood's pressure."""

from __future__ import annotations

from dataclasses import dataclass

import basix
import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.materials.kinematics import first_piola
from organtwin.mechanics.formulation import PENALTY, PENALTY_P1, Formulation
from organtwin.mechanics.prestress import Corrections, Prestressed, prestress
from organtwin.mechanics.problem import Mechanics
from organtwin.mechanics.terms import (
    Fields,
    FollowerPressure,
    Incompressibility,
    PassiveStress,
    Spring,
    Term,
)
from organtwin.mechanics.unloaded import LoadedBody
from organtwin.mesh.domain import Domain
from organtwin.solve import options
from organtwin.tavr.root_axis import RootAxis
from organtwin.tavr.root_directions import root_directions
from organtwin.tavr.root_laws import (
    CALCIUM,
    CUSPS,
    LEAFLET,
    OUTFLOW,
    SINUSES,
    WALL,
    RootLaw,
    law_of_cells,
)
from organtwin.units import MMHG

type Vector = NDArray[np.float64]

PLACE = "root tissue"
#: Surfaces that every root has, and those that may be cut out of ``inner``.
SURFACES = ("inner", "outer", "inlet", "outlet")
PATCHES = ("ostium_right", "ostium_left", "membranous_septum")
#: Highest pressure of blood that is believed (kPa), 225 mmHg.
HIGHEST = 30.0
#: Height about the annulus in which pressure and bed change from outflow tract to aorta (mm).
CHANGE = 4.0
#: When the shape of the scan counts as kept.
KEPT = Corrections(step=0.2, tolerance=1e-3, most=200)


@dataclass(frozen=True)
class RootTissue:
    """What an aortic root is made of, what holds it, and the blood that it is filled with.

    The forms of the laws are published ones, the numbers are our choice. Those of wall, outflow
    tract and its bed are such that a root widens as roots are seen to: see
    docs/aortic-root-model.md.

    Attributes:
        wall: Law of sinuses and aorta (`HolzapfelGasserOgden`), or `NeoHookean`, as all of them.
        adventitia: Law of the outer part of the wall, where it has one of its own.
        media: Share of the thickness that is not adventitia, 0 to 1.
        outflow: Law of the wall below the annulus, fibrous tissue and muscle; None for the wall's.
        leaflets: Law of the leaflets, fibres from commissure to commissure.
        calcium: Young's modulus of calcium (kPa). 12.6 MPa is the number that is used most in
            simulations of this procedure; remembered, not verified.
        calcium_poisson: Its Poisson's ratio.
        bulk: Bulk modulus of wall and leaflets (kPa). Linear tetrahedra lock where it is large.
        bed: Springs of what surrounds sinuses and aorta (kPa/mm).
        bed_outflow: Of what surrounds the outflow tract, muscle and fibrous trigones (kPa/mm).
        ends: Springs that hold both ends (kPa/mm).
        aortic: Pressure above the annulus when the scan was taken (kPa), 80 mmHg in diastole.
        ventricular: Pressure below it (kPa), 10 mmHg.
        formulation: `PENALTY_P1`, or `PENALTY` on quadratic tetrahedra.

    Source:
        Gasser, Ogden & Holzapfel (2006), J. R. Soc. Interface 3:15-35 (form of the law).
    """

    wall: RootLaw = SINUSES
    adventitia: RootLaw | None = None
    media: float = 2.0 / 3.0
    outflow: RootLaw | None = OUTFLOW
    leaflets: RootLaw = CUSPS
    calcium: float = 12_600.0
    calcium_poisson: float = 0.3
    bulk: float = 1000.0
    bed: float = 0.1
    bed_outflow: float = 40.0
    ends: float = 20.0
    aortic: float = 80.0 * MMHG
    ventricular: float = 10.0 * MMHG
    formulation: Formulation = PENALTY_P1

    def __post_init__(self) -> None:
        for name in ("calcium", "bulk", "ends"):
            _within(name, getattr(self, name), above=0.0)
        for name in ("bed", "bed_outflow"):
            _within(name, getattr(self, name), least=0.0)
        _within("calcium_poisson", self.calcium_poisson, least=0.0, below=0.5)
        _within("media", self.media, least=0.0, most=1.0)
        _check_pressures(self.aortic, self.ventricular)
        if self.formulation not in (PENALTY_P1, PENALTY):
            raise InputError(
                PLACE, f"formulation `{self.formulation.name}`.", "Take PENALTY_P1 or PENALTY."
            )

    @property
    def degree(self) -> int:
        """Quadrature degree: linear displacements strain a cell evenly, and laws don't vary."""
        return 1 if self.formulation is PENALTY_P1 else self.formulation.quadrature


@dataclass(frozen=True)
class BloodPressure:
    """Pressure on the inside of the wall, another one below the annulus.

        ∫ p cof F N · δu ds,     p = p_v + (p_a − p_v) s

    where s rises from 0 to 1 within 4 mm about the annulus. It follows the wall.

    Attributes:
        surfaces: Names.
        above: s.
        aortic: p_a (kPa).
        ventricular: p_v (kPa).
    """

    surfaces: tuple[str, ...]
    above: fem.Function
    aortic: fem.Constant
    ventricular: fem.Constant

    def set(self, aortic: float, ventricular: float) -> None:
        """Change both (kPa), to be solved for afterwards.

        Raises:
            InputError: a pressure is below zero or beyond 30 kPa.
        """
        _check_pressures(aortic, ventricular)
        self.aortic.value, self.ventricular.value = aortic, ventricular

    def form(self, domain: Domain, s: Fields) -> ufl.Form:
        """Virtual work of the pressure."""
        p = self.ventricular + (self.aortic - self.ventricular) * self.above
        return FollowerPressure(self.surfaces, p).form(domain, s)


def root_problem(domain: Domain, axis: RootAxis, tissue: RootTissue | None = None) -> Mechanics:
    """A root in the shape of its scan, at rest under the pressures of its scan; collective.

    Wall, leaflets and calcium are one Holzapfel-Gasser-Ogden law whose numbers differ from cell
    to cell, so that the compiled form is the same for all roots. The shape of the scan is
    prestressed (`organtwin.mechanics.prestress`): zero displacement is equilibrium to 1e-3 mm,
    and what is left is solved for, so that the returned problem is at rest to the tolerance of
    Newton's method. Springs are those of the prestress: at rest where the root has no load.

    Args:
        domain: Mesh of a root, names as `organtwin.aortic_root.anatomy.RootAnatomy` has them.
        axis: Its axis.
        tissue: What it is made of.

    Returns:
        Problem of the displacement from the scan, held by springs alone.

    Raises:
        InputError: regions are unknown, or surfaces missing or empty.
        SolverError: no prestress holds the shape.
    """
    tissue = tissue or RootTissue()
    leaflets = _check_mesh(domain)
    made_of = root_directions(domain, axis, leaflets)
    law, bulk = law_of_cells(domain, axis, made_of.depth, tissue, leaflets)
    blood, above = _blood(domain, axis)
    bed = above.copy()
    bed.x.array[:] = tissue.bed_outflow + (tissue.bed - tissue.bed_outflow) * above.x.array
    terms: list[Term] = [
        PassiveStress(law, made_of.directions), Incompressibility(bulk), Spring(("outer",), bed),
        Spring(("inlet", "outlet"), fem.Constant(domain.mesh, tissue.ends)), blood,
    ]  # fmt: skip

    def scale(share: float) -> None:
        blood.set(share * tissue.aortic, share * tissue.ventricular)

    body = LoadedBody(
        domain, terms, scale=scale, formulation=tissue.formulation, degree=tissue.degree
    )
    carried = prestress(body, KEPT)
    problem = Mechanics(
        domain, [Prestressed(term, carried) for term in terms], formulation=tissue.formulation,
        degree=tissue.degree, name="root",
    )  # fmt: skip
    problem.solve()
    problem.commit()
    return problem


def blood_pressure(problem: Mechanics) -> BloodPressure:
    """The term by which blood presses on the wall, whose pressures may be changed.

    Raises:
        InputError: the problem is none of `root_problem`.
    """
    for term in _prestressed(problem):
        if isinstance(term.term, BloodPressure):
            return term.term
    raise InputError(PLACE, "a problem without blood.", "Take one of `root_problem`.")


def wall_stress(problem: Mechanics) -> Vector:
    """Largest principal Cauchy stress in each cell (kPa), prestress included; collective.

        σ = J⁻¹ ∂Ψ/∂F Fᵀ + κ/2 (J − 1/J) 1,     F = (I + ∇u) F_pre

    In linear tetrahedra it is even; in quadratic ones the stress is averaged before.

    Args:
        problem: One of `root_problem`, at any displacement.

    Returns:
        One number for each of this rank's cells, ghosts last.

    Raises:
        InputError: the problem is none of `root_problem`.
    """
    terms = _prestressed(problem)
    F = (ufl.Identity(3) + ufl.grad(problem.displacement)) * terms[0].prestress.F
    J, sigma = ufl.det(F), ufl.Identity(3) * 0.0
    for one in terms:
        match one.term:
            case PassiveStress(material, directions):
                sigma += first_piola(material, F, directions) * F.T / J
            case Incompressibility(float() | fem.Function() as bulk):
                sigma += bulk / 2 * (J - 1 / J) * ufl.Identity(3)
    msh = problem.domain.mesh
    points, weights = basix.make_quadrature(msh.basix_cell(), problem.fields.degree)
    at_points = fem.Expression(sigma, points, jit_options=options.jit())
    cells = msh.topology.index_map(3)
    here = np.arange(cells.size_local + cells.num_ghosts, dtype=np.int32)
    values = at_points.eval(msh, here).reshape(len(here), len(points), 3, 3)
    mean = np.einsum("cqij,q->cij", values, weights / weights.sum())
    return np.asarray(np.linalg.eigvalsh(0.5 * (mean + mean.transpose(0, 2, 1)))[:, 2])


def _prestressed(problem: Mechanics) -> list[Prestressed]:
    found = [term for term in problem.terms if isinstance(term, Prestressed)]
    if not found:
        raise InputError(PLACE, "a problem without prestress.", "Take one of `root_problem`.")
    return found


def _check_mesh(domain: Domain) -> tuple[str, ...]:
    """Names of the leaflets of a mesh that can be understood; collective."""
    leaflets = tuple(sorted(name for name in domain.regions if name.startswith(LEAFLET)))
    for name in domain.regions:
        if name not in (WALL, CALCIUM, *leaflets):
            raise InputError(
                PLACE, f"no tissue is known for region `{name}`.",
                suggestion(name, (WALL, CALCIUM, f"{LEAFLET}right")),
            )  # fmt: skip
    needed = (*SURFACES, *(("ventricular", "aortic") if leaflets else ()))
    if WALL not in domain.regions:
        raise InputError(PLACE, f"the mesh has no region `{WALL}`.", "Mesh the root again.")
    for name in needed:
        here = len(domain.facets(name)) if name in domain.surfaces else 0
        if domain.comm.allreduce(here) == 0:
            raise InputError(PLACE, f"the mesh has no surface `{name}`.", "Mesh the root again.")
    return leaflets


def _blood(domain: Domain, axis: RootAxis) -> tuple[BloodPressure, fem.Function]:
    V = fem.functionspace(domain.mesh, ("Lagrange", 1))
    above = fem.Function(V, name="above")
    above.interpolate(lambda x: np.clip(0.5 + axis.height(x.T) / CHANGE, 0.0, 1.0))
    inner = ("inner", *(name for name in PATCHES if name in domain.surfaces))
    aortic, ventricular = (fem.Constant(domain.mesh, 0.0) for _ in range(2))
    return BloodPressure(inner, above, aortic, ventricular), above


def _check_pressures(aortic: float, ventricular: float) -> None:
    _within("aortic pressure in kPa", aortic, least=0.0, most=HIGHEST)
    _within("ventricular pressure in kPa", ventricular, least=0.0, most=HIGHEST)


def _within(
    name: str, value: float, *, above: float = -np.inf, least: float = -np.inf,
    below: float = np.inf, most: float = np.inf,
) -> None:  # fmt: skip
    if above < value < below and least <= value <= most and np.isfinite(value):
        return
    bounds = ((">", above), ("≥", least), ("<", below), ("≤", most))
    wanted = " and ".join(f"{sign} {one:g}" for sign, one in bounds if np.isfinite(one))
    raise InputError("RootTissue", f"{name} = {value:g}.", f"It must be {wanted}.")
