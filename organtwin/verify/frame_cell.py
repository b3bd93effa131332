"""A cell of a frame as beams and as a solid: force against opening."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.devices.beam import straight_elements
from organtwin.devices.equilibrium import BeamProblem
from organtwin.devices.fibre_laws import FibreLaw, PlasticFibre, SuperelasticFibre
from organtwin.devices.load_path import follow
from organtwin.devices.section import FibreSection, Rectangle
from organtwin.devices.supports import Supports
from organtwin.errors import InputError
from organtwin.mechanics.formulation import PENALTY, TAYLOR_HOOD
from organtwin.mechanics.history import PlasticStress, SuperelasticStress
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import Incompressibility, Robin, Term
from organtwin.mesh.domain import Domain
from organtwin.solve.assembly import compiled, integral
from organtwin.solve.nonlinear import Tolerances
from organtwin.solve.outcome import Outcome
from organtwin.verify.geometry import box
from organtwin.verify.mechanics import require

Array = NDArray[np.float64]

#: Stiffness (kPa/mm) that keeps a solid cell from sliding along the frame's axis, without force.
TOUCH = 100.0
#: How much shorter cells are at the ends of a strut: by the factor 1 − this.
GRADING = 0.7
#: Largest and smallest step of the plane that moves, and the first one each way (mm).
STEP, SMALLEST, TURN = 0.05, 2e-4, 2e-3


@dataclass(frozen=True)
class Cell:
    """A diamond of a flat net; by symmetry one strut of it, between a valley and a crown.

    The strut is straight and meets its neighbours in the planes of symmetry at both ends with
    sharp corners, as `organtwin.devices.frame` has it.

    Attributes:
        opening: Distance of the planes of symmetry at rest, half the cell's width (mm).
        height: Of the ring, half the cell's height (mm).
        width: Of the strut, in the plane (mm).
        thickness: Of the strut, across it (mm).
    """

    opening: float
    height: float
    width: float
    thickness: float


def beam_curve(
    law: FibreLaw, cell: Cell, path: Sequence[float], elements: int = 16, *, corners: bool = False
) -> Array:
    """Force (mN) that opens the cell, of one strut as beams.

    Args:
        law: Metal.
        cell: Geometry.
        path: Openings over that at rest, one after the other.
        elements: Along the strut.
        corners: Whether the two elements at each end reach to the inner side of the corner,
            w/2 tan α, and are as wide there as the plane of symmetry cuts the strut, w/cos α (our
            choice); if not, the strut is w wide all along.

    Returns:
        Force at each of them; positive opens.
    """
    length, tangent = math.hypot(cell.opening, cell.height), cell.height / cell.opening
    wedge = 0.5 * cell.width * tangent
    along = np.linspace(0.0, length, elements + 1)
    wide = np.zeros(elements, np.int64)
    if corners:
        inner = np.linspace(wedge, length - wedge, elements - 3)
        along = np.concatenate([[0, wedge / 2], inner, [length - wedge / 2, length]])
        wide[[0, 1, -2, -1]] = 1
    points = np.outer(along / length, (cell.opening, cell.height, 0.0))
    first = np.arange(elements)
    mesh = straight_elements(points, np.column_stack([first, first + 1]), (0, 0, 1))
    held = Supports.none(elements + 1).pinned(0, 1)
    for node in (0, elements):
        held = held.pinned(node, 0, 2, 3, 4, 5)
    widths = cell.width, cell.width * math.hypot(1.0, tangent)
    sections = [FibreSection(Rectangle(cell.thickness, w), law) for w in widths]
    strut = BeamProblem(mesh, sections, kind=wide, supports=held)
    motion, forces, now = np.zeros((elements + 1, 6)), [], 1.0
    for share in path:

        def move(factor: float, start: float = now, end: float = share) -> Array:
            motion[-1, 0] = cell.opening * (start + factor * (end - start) - 1.0)
            return motion.copy()

        follow(strut, move, first=0.5, largest=0.5)
        now = share
        forces.append(float(strut.reactions()[-1, 0]))
    return np.array(forces)


def solid_curve(
    comm: MPI.Comm, law: FibreLaw, cell: Cell, path: Sequence[float],
    cells: tuple[int, int, int] = (16, 3, 1),
) -> Array:  # fmt: skip
    """The same of a solid whose metal obeys the law of solids that the fibres' is taken from.

    Half of the thickness is modelled. The force is the mean over the volume of P₁₁ times the
    section: with ∇(X/L) as virtual displacement it is that of the plane that moves.

    Args:
        comm: Communicator.
        law: `PlasticFibre` or `SuperelasticFibre`.
        cell: Geometry.
        path: Openings over that at rest, one after the other.
        cells: Divisions along, across and through half the strut, six tetrahedra each.

    Raises:
        InputError: another law.
        SolverError: no equilibrium.
    """
    domain = _strut(comm, cell, cells)
    u = fem.Constant(domain.mesh, 0.0)
    sides = [Dirichlet("x0", component=0), Dirichlet("x1", u, component=0),
             Dirichlet("z0", component=2)]  # fmt: skip
    metal = _metal(domain, law)
    terms: list[Term] = [metal, Robin(("x0",), tangential=TOUCH)]
    if isinstance(law, PlasticFibre):
        mu, nu = float(law.metal.mu), law.nu
        kappa = 2 * mu * (1 + nu) / (3 * (1 - 2 * nu))
        terms.append(Incompressibility(kappa))
    strut = Mechanics(
        domain, terms, formulation=TAYLOR_HOOD if isinstance(law, PlasticFibre) else PENALTY,
        dirichlet=sides, degree=4, tolerances=Tolerances(increment=1e-6, patience=1),
    )  # fmt: skip
    s = strut.fields
    P = metal.stress(s)
    if s.p is not None:
        P = P + s.p * ufl.cofac(s.F)
    along = compiled(P[0, 0] / cell.opening * domain.dx(degree=4))
    forces, way = [], _Way(strut, u)
    for share in path:
        way.reach(cell.opening * (share - 1.0))
        forces.append(2 * integral(along))
    return np.array(forces)


class _Way:
    """Steps of a plane that moves, each begun by going on as before, which yielding metal needs."""

    def __init__(self, strut: Mechanics, u: fem.Constant) -> None:
        self._strut, self._u = strut, u
        self._size, self._last = TURN, strut.w.x.array.copy()
        self._pace = -TURN

    def reach(self, end: float) -> None:
        """Move the plane to a displacement (mm).

        Raises:
            SolverError: no equilibrium, however short the step.
        """
        w = self._strut.w.x.array
        while (left := end - float(self._u.value)) != 0.0:
            before, start = w.copy(), float(self._u.value)
            if left * self._pace < 0:  # it turns round, and the metal is elastic at first
                self._size, self._last = TURN, before
            move = left if abs(left) <= 1.01 * self._size else math.copysign(self._size, left)
            w[:] += move / self._pace * (before - self._last)
            self._u.value = start + move
            outcome = self._strut.solve(fresh=True).outcome
            if outcome is not Outcome.CONVERGED:
                if self._size < SMALLEST:
                    require(outcome)
                self._u.value, w[:] = start, before
                self._size *= 0.5
                continue
            self._strut.commit()
            self._last, self._pace = before, move
            self._size = min(1.3 * self._size, STEP)


def _metal(domain: Domain, law: FibreLaw) -> PlasticStress | SuperelasticStress:
    if isinstance(law, PlasticFibre):
        return PlasticStress(domain, law.metal, degree=4)
    if isinstance(law, SuperelasticFibre):
        return SuperelasticStress(domain, law.metal, degree=4)
    raise InputError("solid_curve", f"no solid for {type(law).__name__}.", "Take a metal.")


def _strut(comm: MPI.Comm, cell: Cell, cells: tuple[int, int, int]) -> Domain:
    """Strut between the planes x0 and x1; z0 is the middle of the thickness.

    Cells are shorter at the ends, where the strut bends, and are sheared there only, towards the
    planes of symmetry.
    """
    domain = box(comm, (1.0, 1.0, cell.thickness / 2), cells)
    X = domain.mesh.geometry.x
    length = math.hypot(cell.opening, cell.height)
    c, s, slope = cell.opening / length, cell.height / length, cell.height / cell.opening
    along = length * (X[:, 0] - GRADING / (2 * math.pi) * np.sin(2 * math.pi * X[:, 0]))
    across = cell.width * (X[:, 1] - 0.5)
    # The planes of symmetry are along = across × slope from the ends.
    reach = 0.5 * min(length, 4 * cell.width * slope)
    near = np.clip(1 - np.minimum(along, length - along) / reach, 0.0, 1.0)
    along = along + across * slope * near**2 * (3 - 2 * near)
    X[:, 0], X[:, 1] = c * along - s * across, s * along + c * across
    return domain
