"""Verification problems of every formulation and of the schemes in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.errors import SolverError
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.kinematics import Material, first_piola
from organtwin.mechanics.dynamics import NEWMARK, GeneralisedAlpha, Scheme, SolidDynamics
from organtwin.mechanics.formulation import (
    FORMULATIONS,
    P1_P1,
    PENALTY_P1,
    Q2_DPC1,
    TAYLOR_HOOD,
    Formulation,
)
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import (
    BodyForce,
    FollowerPressure,
    Incompressibility,
    Inertia,
    PassiveStress,
    Term,
    Traction,
    VolumeEnergy,
)
from organtwin.mesh.domain import Domain
from organtwin.solve.assembly import compiled, integral
from organtwin.solve.nonlinear import Tolerances
from organtwin.verify.geometry import box, cook_panel, hollow_sphere_octant
from organtwin.verify.mechanics import require, solid_errors, value_at, wave

Vector = NDArray[np.float64]

TIGHT = Tolerances(increment=1e-10)


def block(
    comm: MPI.Comm,
    formulation: Formulation,
    size: tuple[float, float, float],
    cells: tuple[int, int, int],
) -> Domain:
    """Box of tetrahedra, or of hexahedra for a formulation that needs them."""
    return box(comm, size, cells, mesh.to_type(formulation.cells[0]))


@dataclass(frozen=True)
class Rubber:
    """Neo-Hookean tissue with constants of a mesh.

    Attributes:
        mu: Shear modulus (kPa).
        kappa: Bulk modulus (kPa).
        energy: Energy of volume changes.
    """

    mu: fem.Constant
    kappa: fem.Constant
    energy: VolumeEnergy | None = None

    @classmethod
    def on(
        cls, domain: Domain, mu: float, kappa: float, energy: VolumeEnergy | None = None
    ) -> Rubber:
        """With its numbers as constants of the domain's mesh."""
        return cls(fem.Constant(domain.mesh, mu), fem.Constant(domain.mesh, kappa), energy)

    @property
    def law(self) -> Material:
        """Strain energy of the change of shape."""
        return NeoHookean(self.mu)

    def terms(self) -> list[Term]:
        """Stress and what holds the volume."""
        return [PassiveStress(self.law), Incompressibility(self.kappa, self.mu, self.energy)]


# --- patch test ---------------------------------------------------------------------------------


def patch_test(comm: MPI.Comm, formulation: Formulation, n: int = 2) -> float:
    """Largest error of a homogeneous deformation on a distorted mesh.

    The boundary of a cube is displaced by an affine map that shears, stretches and compresses;
    inside, the map and its constant pressure are the solution of every consistent formulation.

    Returns:
        Largest difference from the affine map, relative to its largest displacement.
    """
    domain = block(comm, formulation, (1.0, 1.0, 1.0), (n, n, n))
    _distort(domain, 0.2 / n)
    rubber = Rubber.on(domain, 3.0, 100.0)
    X = ufl.SpatialCoordinate(domain.mesh)
    A = np.array([[0.10, 0.15, 0.0], [-0.05, -0.08, 0.02], [0.03, 0.0, 0.05]])
    affine = fem.Constant(domain.mesh, A) * X
    sides = [Dirichlet(name, affine) for name in domain.surfaces]
    cube = Mechanics(
        domain, rubber.terms(), formulation=formulation, dirichlet=sides, tolerances=TIGHT
    )
    require(cube.solve().outcome)
    exact = cube.V.tabulate_dof_coordinates() @ A.T
    difference = float(np.abs(cube.u.x.array.reshape(-1, 3) - exact).max())
    largest = float(np.abs(exact).max())
    return comm.allreduce(difference, op=MPI.MAX) / comm.allreduce(largest, op=MPI.MAX)


def _distort(domain: Domain, size: float) -> None:
    """Move the inner nodes, each by a wave of its place, so that cells lose their symmetry."""
    x = domain.mesh.geometry.x
    inside = np.prod(np.sin(np.pi * np.clip(x, 0, 1)), axis=1) > 1e-6
    wave = np.sin(x @ np.array([[7.0, 3.0, 5.0], [2.0, 8.0, 4.0], [6.0, 5.0, 9.0]]))
    x[inside] += size * wave[inside]


# --- manufactured solution ----------------------------------------------------------------------


def manufactured(
    comm: MPI.Comm, formulation: Formulation, n: int, kappa: float = 20.0
) -> tuple[float, float, float]:
    """Errors against a chosen displacement of a nearly incompressible cube.

    The displacement u = ε (sin πx cos πy, sin πy (cos πz − cos πx), −cos πy sin πz), ε = 0.05 mm,
    its pressure p = κ (J − 1) and the body force −Div(P + p cof F) that holds it, in a cube of 1 mm
    with μ = 1 kPa.

    Args:
        comm: Communicator.
        formulation: Elements.
        n: Divisions of each edge.
        kappa: κ (kPa).

    Returns:
        Error of u in L² and H¹, of p in L² (of κ (J − 1) where p is no unknown), each relative.
    """
    domain = block(comm, formulation, (1.0, 1.0, 1.0), (n, n, n))
    rubber = Rubber.on(domain, 1.0, kappa, VolumeEnergy.QUADRATIC)
    u_exact = wave(domain)
    F = ufl.Identity(3) + ufl.grad(u_exact)
    p_exact = rubber.kappa * (ufl.det(F) - 1)
    force = -ufl.div(first_piola(rubber.law, F, None) + p_exact * ufl.cofac(F))
    cube = Mechanics(
        domain,
        [*rubber.terms(), BodyForce(force)],
        formulation=formulation,
        dirichlet=[Dirichlet(name, u_exact) for name in domain.surfaces],
        tolerances=Tolerances(increment=1e-9),
    )
    cube.guess(u_exact)
    require(cube.solve().outcome)
    u = cube.u
    J = ufl.det(ufl.Identity(3) + ufl.grad(u))
    p = rubber.kappa * (J - 1) if cube.Q is None else cube.p
    return solid_errors(domain, (u, p), (u_exact, p_exact))


def formulation_orders(
    comm: MPI.Comm, *, quick: bool
) -> list[tuple[str, tuple[float, ...], tuple[float, ...]]]:
    """Observed and ideal orders of u in L² and H¹ and of the pressure, by formulation.

    With κ/μ = 20; for linear displacements without a pressure, which lock, with 2, and there
    κ (J − 1) is of first order. The pressure of P2–P0 limits its displacement to second and first
    order.
    """
    n = {"P1-P1": 8, "P1": 8, "P2-P0": 6, "P2-P1": 4, "P2": 4, "Q2-DPC1": 4}
    ideals: dict[str, tuple[float, ...]] = {
        "P1-P1": (2.0, 1.0, 1.0), "P1": (2.0, 1.0, 1.0), "P2-P0": (2.0, 1.0, 1.0),
        "P2-P1": (3.0, 2.0, 2.0), "P2": (3.0, 2.0, 2.0), "Q2-DPC1": (3.0, 2.0, 2.0),
    }  # fmt: skip
    found = []
    for name in ("P1-P1", "P2") if quick else n:
        kappa = 2.0 if name == "P1" else 20.0
        errors = [manufactured(comm, FORMULATIONS[name], k * n[name], kappa) for k in (1, 2)]
        orders = tuple(float(np.log2(a / b)) for a, b in zip(*errors, strict=True))
        found.append((name, orders, ideals[name]))
    return found


# --- Cook's membrane ----------------------------------------------------------------------------


def cook(comm: MPI.Comm, formulation: Formulation, n: int, kappa: float = 4e5) -> float:
    """Height that the tip of Cook's membrane rises by, in plane strain.

    A panel of corners (0, 0), (48, 44), (48, 60), (0, 44) mm, clamped on the left, carries an
    upward force of 6.25 kPa per area of its right edge: 100 mN per mm of thickness. It is
    neo-Hookean with μ = 80.1938 kPa and κ = 4·10⁵ kPa, practically incompressible.

    Args:
        comm: Communicator.
        formulation: Elements.
        n: Divisions along both edges; one through the thickness, in which nothing moves.
        kappa: Bulk modulus (kPa).

    Returns:
        Vertical displacement (mm) of the corner (48, 60).
    """
    domain = cook_panel(comm, n, mesh.to_type(formulation.cells[0]))
    load = fem.Constant(domain.mesh, np.zeros(3))
    rubber = Rubber.on(domain, 80.1938, kappa)
    panel = Mechanics(
        domain,
        [*rubber.terms(), Traction(("x1",), load)],
        formulation=formulation,
        dirichlet=[Dirichlet("x0"), *(Dirichlet(z, component=2) for z in ("z0", "z1"))],
        tolerances=Tolerances(increment=1e-7),
    )
    for share in np.linspace(0, 1, 9)[1:]:
        load.value[1] = 6.25 * share
        require(panel.solve().outcome)
    return float(value_at(panel.u, np.array([48.0, 60.0, 0.0]))[1])


#: Rise of the tip (mm) by our own Q2-DPC1 with 48 × 48 cells (6.9295): what formulations agree on.
COOK = 6.93
#: The same with κ of ν = 0.499, by F-bar elements of OpenGeoSys, 30 × 30; with 20 and 25 it still
#: rises, 6.859 and 6.873 (its benchmark LargeDeformation/CooksMembrane).
COOK_OGS = 6.891


def cook_like_opengeosys(comm: MPI.Comm, n: int) -> float:
    """`cook` with the compressibility of the OpenGeoSys benchmark: E = 240.565 kPa, ν = 0.499."""
    return cook(comm, Q2_DPC1, n, kappa=240.565 / (3 * (1 - 2 * 0.499)))


def cook_membrane(comm: MPI.Comm, *, quick: bool) -> dict[str, tuple[float, float]]:
    """Rise of the tip and how far it may be off, by formulation."""
    if quick:
        meshes = {"P2-P1": (8, 0.15), "P1-P1": (16, 0.5), "P1": (16, 0.0)}
    else:
        meshes = {
            "P2-P1": (32, 0.03), "P2-P0": (32, 0.02), "P1-P1": (64, 0.08), "P1": (32, 0.0),
        }  # fmt: skip
    return {
        name: (cook(comm, FORMULATIONS[name], n), tolerance)
        for name, (n, tolerance) in meshes.items()
    }


# --- thick-walled sphere ------------------------------------------------------------------------

#: Radii (mm) of the undeformed sphere.
INNER, OUTER = 10.0, 12.0


def sphere_pressure(inner_stretch: float) -> float:
    """Pressure per shear modulus that inflates a thick incompressible neo-Hookean sphere.

        p/μ = f(λ_b) − f(λ_a),     f(λ) = 2/λ + 1/(2λ⁴),     b³ = B³ + a³ − A³

    Source:
        p = ∫ 2 (σ_t − σ_r)/r dr with σ_t − σ_r = μ (λ² − λ⁻⁴), in closed form.

    >>> round(sphere_pressure(1.2), 6)
    0.183929
    """
    a = INNER * inner_stretch
    b = (OUTER**3 + a**3 - INNER**3) ** (1 / 3)

    def f(stretch: float) -> float:
        return 2 / stretch + 0.5 / stretch**4

    return f(b / OUTER) - f(inner_stretch)


def sphere_inflation(
    comm: MPI.Comm,
    path: Path,
    stretches: Sequence[float],
    *,
    size: float,
    formulation: Formulation = TAYLOR_HOOD,
) -> list[float]:
    """Inner stretch of the sphere under the pressures that belong to given stretches.

    An eighth of the sphere, held on its three planes of symmetry, exactly incompressible.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        stretches: Increasing, below that of the largest pressure (about 1.45).
        size: Edge length (mm).
        formulation: Elements.

    Returns:
        Mean over the inner surface of the present radius per undeformed radius.
    """
    domain = hollow_sphere_octant(comm, path, inner=INNER, outer=OUTER, size=size)
    mu = fem.Constant(domain.mesh, 1.0)
    pressure = fem.Constant(domain.mesh, 0.0)
    terms: list[Term] = [
        PassiveStress(NeoHookean(mu)),
        Incompressibility(None, mu),
        FollowerPressure(("inner",), pressure),
    ]
    planes = [Dirichlet(name, normal=True) for name in ("x0", "y0", "z0")]
    sphere = Mechanics(
        domain, terms, formulation=formulation, dirichlet=planes, tolerances=Tolerances(1e-8)
    )
    X, u = ufl.SpatialCoordinate(domain.mesh), sphere.displacement
    radius = ufl.sqrt(ufl.dot(X + u, X + u))
    mean = compiled(radius * domain.ds("inner", degree=4))
    area, found, reached = domain.area("inner"), [], 1.0
    for stretch in stretches:
        for step in np.linspace(reached, stretch, 1 + int(np.ceil((stretch - reached) / 0.02)))[1:]:
            pressure.value = sphere_pressure(float(step))
            require(sphere.solve().outcome)
        reached = stretch
        found.append(integral(mean) / area / INNER)
    return found


# --- motion -------------------------------------------------------------------------------------


class Vibration:
    """A cantilever that is bent, let go and swings at finite strain.

    A block of 1 × 1 × 3 mm with μ = 10 kPa and the density of water starts with the
    velocity v₀ (z/3)² in x; it is held at z = 0.

    Args:
        comm: Communicator.
        scheme: In time.
        formulation: Elements.
        speed: v₀ (mm/ms).
        push: Largest force per volume (mN/mm³) in x, which comes and goes within 2 ms.
        kappa: κ (kPa).
        cells: Divisions of the block.
    """

    def __init__(
        self,
        comm: MPI.Comm,
        scheme: Scheme,
        formulation: Formulation,
        *,
        speed: float = 1.0,
        push: float = 0.0,
        kappa: float = 50.0,
        cells: tuple[int, int, int] = (1, 1, 4),
    ) -> None:
        self.domain = block(comm, formulation, (1.0, 1.0, 3.0), cells)
        self.rubber = Rubber.on(self.domain, 10.0, kappa, VolumeEnergy.LOGARITHMIC)
        self.density = fem.Constant(self.domain.mesh, 1.0)
        self._force = fem.Constant(self.domain.mesh, np.zeros(3))
        self._push = push
        self.problem = Mechanics(
            self.domain,
            [*self.rubber.terms(), Inertia(self.density), BodyForce(self._force)],
            formulation=formulation,
            dirichlet=[Dirichlet("z0")],
            scheme=scheme,
            degree=4,
            tolerances=Tolerances(increment=1e-11),
        )
        self.process = SolidDynamics(self.problem, self._load)
        levels = self.problem.levels
        assert levels is not None
        levels.velocity.interpolate(
            lambda x: np.stack([speed * (x[2] / 3) ** 2, 0 * x[0], 0 * x[0]])
        )
        self._energy = compiled(self._energy_form(levels.velocity))

    def run(self, t_end: float, steps: int) -> Vector:
        """Swing until ``t_end`` (ms).

        Returns:
            Energy (µJ) at the start and after each step.

        Raises:
            SolverError: a step does not converge.
        """
        dt, energies = t_end / steps, [self.energy()]
        for i in range(steps):
            step = self.process.advance(i * dt, (i + 1) * dt)
            if not step.converged:
                raise SolverError("verification", f"step {i} failed.", step.outcome.value)
            energies.append(self.energy())
        return np.array(energies)

    def energy(self) -> float:
        """Kinetic and elastic energy (µJ)."""
        return integral(self._energy)

    def tip(self) -> Vector:
        """Displacement (mm) of a corner of the free end."""
        return value_at(self.problem.u, np.array([0.0, 0.0, 3.0]))

    def _load(self, t: float) -> None:
        self._force.value[0] = self._push * np.sin(np.pi * min(t, 2.0) / 2.0) ** 2

    def _energy_form(self, velocity: fem.Function) -> ufl.Form:
        F = ufl.Identity(3) + ufl.grad(self.problem.displacement)
        J, kappa = ufl.det(F), self.rubber.kappa
        elastic = self.rubber.law.strain_energy(F.T * F, None)
        if self.problem.Q is None:
            elastic += kappa / 4 * (J**2 - 1 - 2 * ufl.ln(J))
        else:
            elastic += ufl.split(self.problem.w)[1] ** 2 / (2 * kappa)
        kinetic = self.density / 2 * ufl.dot(velocity, velocity)
        return (elastic + kinetic) * self.domain.dx(degree=4)


def order_in_time(
    comm: MPI.Comm, scheme: Scheme, formulation: Formulation, *, kappa: float = 50.0
) -> float:
    """Order of a scheme from three runs with halved steps, pushed from rest for 1 ms.

    Returns:
        log₂ of the ratio of the tip's changes from 20 to 40 and from 40 to 80 steps.
    """
    tips = []
    for steps in (20, 40, 80):
        swing = Vibration(comm, scheme, formulation, speed=0.0, push=1.0, kappa=kappa)
        swing.run(1.0, steps)
        tips.append(swing.tip())
    changes = [float(np.linalg.norm(a - b)) for a, b in pairwise(tips)]
    return float(np.log2(changes[0] / changes[1]))


SCHEMES: dict[str, Scheme] = {
    "Newmark": NEWMARK,
    "generalised-alpha (0.8)": GeneralisedAlpha.from_radius(0.8),
    "generalised-alpha (0.2, 0.4)": GeneralisedAlpha(0.2, 0.4),
}


def motion_orders(
    comm: MPI.Comm, schemes: Mapping[str, Scheme], *, quick: bool
) -> dict[tuple[str, str], float]:
    """Order in time by scheme and formulation; mixed ones nearly incompressible."""
    cases: list[tuple[Formulation, float]] = [(PENALTY_P1, 50.0)]
    if not quick:
        cases += [(P1_P1, 1e6), (TAYLOR_HOOD, 1e6)]
    return {
        (name, formulation.name): order_in_time(comm, scheme, formulation, kappa=kappa)
        for formulation, kappa in cases
        for name, scheme in schemes.items()
    }


def energy_drift(comm: MPI.Comm, *, steps: int) -> dict[str, float]:
    """Change of the energy of a free vibration, relative to the energy at the start.

    Linear elements without pressure, 20 µs per step, a swing of 0.6 mm of a 3 mm bar.

    Returns:
        Largest change by Newmark's method; largest gain and final loss of generalised-α with a
        spectral radius of 0.8.
    """
    dt = 0.02
    kept = Vibration(comm, NEWMARK, PENALTY_P1).run(dt * steps, steps)
    damped = Vibration(comm, SCHEMES["generalised-alpha (0.8)"], PENALTY_P1).run(dt * steps, steps)
    return {
        "newmark": float(np.abs(kept / kept[0] - 1).max()),
        "gained": float((damped / damped[0] - 1).max()),
        "lost": float(1 - damped[-1] / damped[0]),
    }
