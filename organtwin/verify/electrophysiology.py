"""Verification problems of electrophysiology on regular meshes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.electrophysiology.bidomain import BidomainDiffusion, bidomain
from organtwin.electrophysiology.conductivity import (
    conduction_velocity,
    monodomain_conductivity,
    structured_bar,
)
from organtwin.electrophysiology.diffusion import Mass, Membrane
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import (
    COARSE,
    Discretisation,
    Interpolation,
    ReactionDiffusion,
    TimeSteps,
)
from organtwin.parallel import on_root
from organtwin.solve.assembly import integral
from organtwin.verify.norms import relative_error

Array = NDArray[np.float64]


class Equations(StrEnum):
    """What is solved."""

    MONODOMAIN = "monodomain"
    BIDOMAIN = "bidomain"
    #: A strip of tissue between two baths that a current flows through.
    BATH = "bidomain with bath"


#: Share of φₑ in V of the bidomain problems, so that σₑ = (1 − k)/k σᵢ.
K = 1 / np.sqrt(2.0)
#: The default scheme with nodal currents, which are all that the manufactured cells tell.
NODAL = replace(Discretisation(), interpolation=Interpolation.CURRENT)
#: Slope of φₑ that the current through the bath makes.
SLOPE = 0.4
#: Conductivity of the bath along x, over that of the extracellular space.
BATH = 2.0
#: Algebraic error of a step (mV) and relative residual of φₑ: the manufactured solution is of size
#: one, not a hundred millivolts.
ALGEBRAIC = 1e-10


class ManufacturedCells:
    """Three-variable cell model whose coupling to the diffusion is solved by hand.

    With F = cos πx [cos 2πy [cos 3πz]] and G = 1 + x [y² [z³]] in one, two and three dimensions,

        V = √(1+t) F + u₃,   u₁ = (1+t) G + √(1+t) F,   u₂ = 1 / ((1+t) √G)

    u₃ = 0 but for a tissue between baths, where u₃ = −a x lets a current pass through.

    Args:
        x: Points of the cells, shape (3, n).
        dim: Number of dimensions.
        equations: What the cells are coupled by.

    Source:
        Pathmanathan & Gray (2014), Int. J. Numer. Meth. Biomed. Eng. 30:525–544; the solution
        with baths is derived here.
    """

    C_m = 2.0
    chi = 3.0
    #: Conductivities along x, y, z (intracellular in the bidomain problems).
    sigma = tuple(np.array([1.1, 1.2, 0.3]) / np.pi**2)

    def __init__(self, x: Array, dim: int, equations: Equations) -> None:
        self._x, self._dim = x, dim
        # ∇·(σ∇V) = β V, and the part 1 − k of it where φₑ takes its share.
        self._beta = -sum(s * (np.pi * (d + 1)) ** 2 for d, s in enumerate(self.sigma[:dim]))
        self._beta *= 1.0 if equations is Equations.MONODOMAIN else 1 - K
        self._u3 = -SLOPE * x[0] if equations is Equations.BATH else np.zeros(x.shape[1])
        F, G = self._shapes()
        self._u = np.stack([G + F, 1 / np.sqrt(G)])

    @property
    def state(self) -> Mapping[str, Array]:
        """u₁ and u₂."""
        return {"states": self._u}

    def rest(self, n: int) -> Array:
        """V at t = 0."""
        return self._shapes()[0] + self._u3

    def step(self, v: Array, t: float, dt: float) -> None:
        """One step of the classical Runge–Kutta method."""
        y = np.stack([v, *self._u])
        k1 = self._rate(y)
        k2 = self._rate(y + dt / 2 * k1)
        k3 = self._rate(y + dt / 2 * k2)
        k4 = self._rate(y + dt * k3)
        y = y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        v[:], self._u[0], self._u[1] = y

    def calcium(self, n: int) -> Array:
        """None here."""
        return np.zeros(n)

    def fault(self, v: Array) -> None:
        """None is looked for."""

    def _shapes(self) -> tuple[Array, Array]:
        factors = [np.cos((d + 1) * np.pi * self._x[d]) for d in range(self._dim)]
        powers = [self._x[d] ** (d + 1) for d in range(self._dim)]
        # Cells outside of the tissue, in the bath, only have to stay finite.
        return np.prod(factors, axis=0), 1 + np.maximum(np.prod(powers, axis=0), 0.0)

    def _rate(self, y: Array) -> Array:
        V, u1, u2 = y
        gap = u1 + self._u3 - V
        free = V - self._u3
        current = -self.C_m / 2 * gap * u2**2 * free + self._beta / self.chi * free
        return np.stack([-current / self.C_m, gap * u2**2 * (gap + free / 2), -gap * u2**3])


def manufactured(
    comm: MPI.Comm,
    n: int,
    *,
    dim: int = 2,
    degree: int = 1,
    equations: Equations = Equations.MONODOMAIN,
    scheme: Discretisation = NODAL,
    steps: int | None = None,
    t_end: float = 0.1,
) -> tuple[float, float]:
    """Relative L² errors of V and φₑ at ``t_end`` on unit cells divided by ``n``.

    Args:
        comm: Communicator.
        n: Divisions of a unit length.
        dim: Dimensions that the solution varies in; one with baths.
        degree: Of the elements.
        equations: What is solved.
        scheme: Discretisation, with nodal currents.
        steps: Number of time steps; Δt ∝ h² if omitted.
        t_end: Time.

    Returns:
        Errors of V and of φₑ; the latter is zero for the monodomain equations.
    """
    scheme = replace(scheme, tolerance=ALGEBRAIC)
    msh, dx, bath = _strip(comm, n, dim, equations)
    V = fem.functionspace(msh, ("P", degree))
    cells = ManufacturedCells(V.tabulate_dof_coordinates().T, dim, equations)
    problem = _problem(V, cells, equations, scheme, _fixed(t_end, n, steps), dx, bath)
    assert problem.advance(0.0, t_end).converged
    return _errors(problem, dim, equations, t_end, dx)


def _fixed(t_end: float, n: int, steps: int | None) -> TimeSteps:
    return TimeSteps.fixed(t_end / (steps or round(t_end * n**2 / 1.6)))


def _strip(
    comm: MPI.Comm, n: int, dim: int, equations: Equations
) -> tuple[mesh.Mesh, ufl.Measure, ufl.Measure]:
    """Unit tissue with ``dim`` dimensions of interest, between baths if there are any."""
    low, high = (-0.5, 1.5) if equations is Equations.BATH else (0.0, 1.0)
    size = [1.0 if d < dim else 2.0 / n for d in range(3)]
    number = [n if d < dim else 2 for d in range(3)]
    msh = mesh.create_box(
        comm, [[low, 0.0, 0.0], [high, *size[1:]]], [round(n * (high - low)), *number[1:]]
    )
    inside = mesh.locate_entities(msh, 3, lambda x: (x[0] > -1e-9) & (x[0] < 1 + 1e-9))
    tags = mesh.meshtags(msh, 3, np.sort(inside), np.ones(len(inside), dtype=np.int32))
    dx = ufl.Measure("dx", msh, subdomain_data=_filled(msh, tags))
    return msh, dx(1), dx(2)


def _filled(msh: mesh.Mesh, inside: mesh.MeshTags) -> mesh.MeshTags:
    """Tag 1 inside, 2 in all other cells."""
    index_map = msh.topology.index_map(3)
    values = np.full(index_map.size_local + index_map.num_ghosts, 2, dtype=np.int32)
    values[inside.indices] = 1
    return mesh.meshtags(msh, 3, np.arange(len(values), dtype=np.int32), values)


def _problem(
    V: fem.FunctionSpace,
    cells: ManufacturedCells,
    equations: Equations,
    scheme: Discretisation,
    steps: TimeSteps,
    dx: ufl.Measure,
    bath: ufl.Measure,
) -> ReactionDiffusion:
    membrane = Membrane(chi=cells.chi, C_m=cells.C_m)
    sigma_i = ufl.diag(ufl.as_vector(cells.sigma))
    if equations is Equations.MONODOMAIN:
        return monodomain(V, cells, sigma_i, membrane=membrane, scheme=scheme, steps=steps, dx=dx)
    sigma_e = (1 - K) / K * sigma_i
    if equations is Equations.BIDOMAIN:
        return bidomain(
            V, cells, sigma_i, sigma_e, membrane=membrane, scheme=scheme, steps=steps, dx=dx,
            tolerance=ALGEBRAIC,
        )  # fmt: skip
    # The current that enters on the right leaves on the left.
    normal = ufl.FacetNormal(V.mesh)
    through = (1 - K) / K * cells.sigma[0] * SLOPE
    along = ufl.conditional(ufl.gt(abs(normal[0]), 0.5), normal[0], 0.0)
    return bidomain(
        V, cells, sigma_i, sigma_e, membrane=membrane, scheme=scheme, steps=steps, dx=dx,
        bath=(BATH * sigma_e, bath), currents=through * along * ufl.TestFunction(V) * ufl.ds,
        tolerance=ALGEBRAIC,
    )  # fmt: skip


def _errors(
    problem: ReactionDiffusion,
    dim: int,
    equations: Equations,
    t: float,
    dx: ufl.Measure,
) -> tuple[float, float]:
    x = ufl.SpatialCoordinate(problem.v.function_space.mesh)
    wave = np.sqrt(1 + t)
    for d in range(dim):
        wave = wave * ufl.cos((d + 1) * ufl.pi * x[d])
    slope = SLOPE if equations is Equations.BATH else 0.0
    fine = dx(metadata={"quadrature_degree": 6})
    error_v = relative_error(problem.v, wave - slope * x[0], fine)
    if not isinstance(problem.spread, BidomainDiffusion):
        return error_v, 0.0
    phi = problem.spread.extracellular.phi
    exact = -K * wave + slope * x[0]
    shift = integral((exact - phi) * fine) / integral(1.0 * fine)
    return error_v, relative_error(phi + shift, exact, fine)


def plane_wave(comm: MPI.Comm, h: float, *, mass: Mass) -> float:
    """Velocity (mm/ms) along the fibres in the tissue of Niederer et al. (2011), for Δt → 0.

    The splitting has order one in Δt, so two step sizes are extrapolated; rank 0 computes.

    Args:
        comm: Communicator.
        h: Mean edge length (mm) of a structured bar.
        mass: Mass matrix.
    """

    def velocity(dt: float) -> float:
        kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"))
        states, v = kernel.initial_states()[:, 0], kernel.initial_potential
        bar, membrane = structured_bar(h), Membrane(chi=140.0, C_m=0.01)
        sigma = monodomain_conductivity(0.17, 0.62)
        return conduction_velocity(
            kernel, states, v, (sigma, sigma, sigma), bar, membrane, dt,
            scheme=replace(COARSE, mass=mass),
        )  # fmt: skip

    return on_root(comm, lambda: 2 * velocity(0.005) - velocity(0.01))
