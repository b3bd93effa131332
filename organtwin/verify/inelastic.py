"""Verification problems of materials that remember: viscous, plastic, superelastic, growing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray
from ufl.core.expr import Expr

from organtwin.materials.growth import (
    GrowthLaw,
    KerckhoffsGrowth,
    KroonGrowth,
    LimitedGrowth,
    Pattern,
    Trigger,
)
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.kinematics import (
    Directions,
    Scalar,
    as_constants,
    first_piola,
    isochoric_first_invariant,
)
from organtwin.materials.nitinol import Nitinol
from organtwin.materials.plastic import J2Plasticity
from organtwin.materials.pointwise import cartesian
from organtwin.materials.viscoelastic import MaxwellBranch
from organtwin.mechanics.formulation import P1_P1, PENALTY_P1
from organtwin.mechanics.history import (
    GrowingTissue,
    PlasticStress,
    SuperelasticStress,
    ViscousOverstress,
)
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import (
    FollowerPressure,
    Incompressibility,
    PassiveStress,
    Term,
    Traction,
)
from organtwin.mesh.domain import Domain
from organtwin.parallel import total
from organtwin.solve.assembly import compiled, integral
from organtwin.solve.nonlinear import Tolerances
from organtwin.verify.geometry import box, cook_panel
from organtwin.verify.mechanics import require, value_at
from organtwin.verify.record import Record, Sense

Array = NDArray[np.float64]

#: Symmetry planes of a cube or of a quarter of a tube.
CORNER = (Dirichlet("x0", component=0), Dirichlet("y0", component=1), Dirichlet("z0", component=2))
#: A new tangent in each iteration: at the onset of yield old ones mislead.
NEWTON = Tolerances(increment=1e-7, patience=1)
#: Quadrature of the plastic problems.
DEGREE = 4
#: Radii (mm) of the plastic front in `plastic_tube`.
FRONTS = (1.2, 1.5, 1.75)
BRANCHES = (MaxwellBranch(0.8, 10.0), MaxwellBranch(0.4, 200.0))


# --- viscoelasticity ----------------------------------------------------------------------------


def relaxation(comm: MPI.Comm, times: Sequence[float] = (1.0, 5.0, 20.0, 100.0, 400.0)) -> float:
    """Error of an incompressible Maxwell body that is stretched at once and held.

    Its sides are free, and its tension is μ (λ − λ⁻²) (1 + Σ βᵢ e^{−t/τᵢ}) at every time, also
    after long steps.

    Returns:
        Largest deviation, relative to the elastic tension.
    """
    domain = box(comm, (1.0, 1.0, 1.0), (1, 1, 1))
    law, stretch = NeoHookean(fem.Constant(domain.mesh, 5.0)), 1.3
    viscous = ViscousOverstress(domain, law, BRANCHES, degree=2)
    cube = Mechanics(
        domain,
        [PassiveStress(law), viscous, Incompressibility(None, law.mu)],
        formulation=P1_P1,
        dirichlet=[*CORNER, Dirichlet("x1", fem.Constant(domain.mesh, stretch - 1), component=0)],
        degree=2,
        tolerances=Tolerances(increment=1e-11),
    )
    s = cube.fields
    assert s.p is not None
    P = first_piola(law, s.F, None) + viscous.stress(s) + s.p * ufl.cofac(s.F)
    tension, elastic = _Mean(cube, P[0, 0]), 5.0 * (stretch - stretch**-2)
    now, worst = -1e-9, 0.0
    for t in (0.0, *times):
        cube.dt.value, now = t - now, t
        require(cube.solve(fresh=True).outcome)
        exact = elastic * (1 + sum(b.share * np.exp(-t / b.time) for b in BRANCHES))
        worst = max(worst, abs(tension() - exact) / elastic)
        cube.commit()
    return worst


def creep(comm: MPI.Comm, steps: int = 40) -> float:
    """Error of an incompressible standard solid that creeps under a small constant tension.

        ε(t) = σ/3μ [1 − β/(1+β) e^{−t/((1+β) τ)}]

    Returns:
        Largest deviation of the strain over 1.5 times the retardation time, relative to its end.
    """
    domain = box(comm, (1.0, 1.0, 1.0), (1, 1, 1))
    law, branch, load = NeoHookean(5.0), MaxwellBranch(1.5, 20.0), 1e-4
    cube = Mechanics(
        domain,
        [
            PassiveStress(law),
            ViscousOverstress(domain, law, [branch], degree=2),
            Incompressibility(),
            Traction(("x1",), ufl.as_vector([load, 0.0, 0.0])),
        ],
        dirichlet=CORNER,
        degree=2,
        tolerances=Tolerances(increment=1e-10),
    )
    strain = _Mean(cube, cube.fields.F[0, 0] - 1)
    retardation, final = (1 + branch.share) * branch.time, load / (3 * law.mu)
    share, worst = branch.share / (1 + branch.share), 0.0
    for t in (0.0, *np.linspace(0, 1.5 * retardation, steps + 1)[1:]):
        cube.dt.value = 1.5 * retardation / steps if t > 0 else 1e-9
        require(cube.solve(fresh=True).outcome)
        exact = final * (1 - share * np.exp(-t / retardation))
        worst = max(worst, abs(strain() - exact) / final)
        cube.commit()
    return worst


# --- Nitinol ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loop:
    """Uniaxial loading and unloading.

    Attributes:
        strain: Logarithmic strain along the load.
        stress: Kirchhoff stress along the load (kPa).
        martensite: ξ.
    """

    strain: Array
    stress: Array
    martensite: Array

    def plateau(self, *, loading: bool) -> tuple[float, float]:
        """Stress (kPa) at which the transformation starts and finishes, from the points inside."""
        turn = int(np.argmax(self.strain))
        part = slice(0, turn + 1) if loading else slice(turn, None)
        xi, stress = self.martensite[part], self.stress[part]
        inside = (xi > 1e-6) & (xi < 1 - 1e-6)
        slope, none = np.polyfit(xi[inside], stress[inside], 1)
        return (none, none + slope) if loading else (none + slope, none)


def nitinol_loop(
    comm: MPI.Comm, law: Nitinol | None = None, *, largest: float = 0.085, steps: int = 17
) -> Loop:
    """Stretch a cube of Nitinol past the end of the transformation, and release it.

    Args:
        comm: Communicator.
        law: Its parameters; `Nitinol.stent` if None.
        largest: Strain (nominal) at the end of loading; negative for compression.
        steps: Steps in each direction.
    """
    domain = box(comm, (1.0, 1.0, 1.0), (1, 1, 1))
    metal = SuperelasticStress(domain, law or Nitinol.stent(), degree=2)
    u = fem.Constant(domain.mesh, 0.0)
    cube = Mechanics(
        domain,
        [metal],
        formulation=PENALTY_P1,
        dirichlet=[*CORNER, Dirichlet("x1", u, component=0)],
        degree=2,
        tolerances=Tolerances(increment=1e-10),
    )
    P, F = _Mean(cube, metal.stress(cube.fields)[0, 0]), _Mean(cube, cube.fields.F[0, 0])
    up = np.linspace(0, largest, steps + 1)
    rows = []
    for value in (*up[1:], *up[-2::-1]):
        u.value = value
        require(cube.solve(fresh=True).outcome)
        stretch, force = F(), P()
        cube.commit()
        xi = _owned_mean(metal.martensite)
        rows.append((np.log(stretch), force * stretch, xi))
    return Loop(*np.array(rows).T)


def nitinol_curve(law: Nitinol, stress: Array, *, loading: bool) -> Array:
    """Logarithmic strain of the uniaxial loop at given Kirchhoff stresses, in closed form.

    The martensite fraction is linear in the stress between start and finish, and the strain is
    τ/E(ξ) + ε_L ξ; unloading starts from full martensite.
    """
    ends = (law.AM_start, law.AM_finish) if loading else (law.MA_finish, law.MA_start)
    xi = np.interp(stress, [float(end) for end in ends], (0.0, 1.0))
    E = law.E_austenite + xi * (law.E_martensite - law.E_austenite)
    return np.asarray(stress / E + law.eps_L * xi)


def nitinol_records(comm: MPI.Comm) -> list[Record]:
    """Transformation stresses of the loop of `Nitinol.stent`, its distance to the closed form."""
    law, loop = Nitinol.stent(), nitinol_loop(comm)
    turn = int(np.argmax(loop.strain))
    name, source = "nitinol_loop", "closed form of the loop"
    stresses = zip(
        ("loading, transformation starts", "loading, transformation ends",
         "unloading, transformation starts", "unloading, transformation ends"),
        (*loop.plateau(loading=True), *loop.plateau(loading=False)),
        (law.AM_start, law.AM_finish, law.MA_start, law.MA_finish),
        strict=True,
    )  # fmt: skip
    halves = ((slice(0, turn + 1), True), (slice(turn, None), False))
    off = [
        np.abs(nitinol_curve(law, loop.stress[half], loading=up) - loop.strain[half]).max()
        for half, up in halves
    ]
    table = "Advances in Biomechanics and Tissue Regeneration, Table 3.2"
    return [
        *(Record(name, f"{what} at", found / 1e3, "MPa", float(given) / 1e3, 0.1, table)
          for what, found, given in stresses),
        Record(name, "largest error of the strain", float(max(off)), "1", 0.0, 1e-6, source,
               Sense.AT_MOST),
        Record(name, "martensite left after the loop", float(loop.martensite[-1]), "1", 0.0, 1e-12,
               source, Sense.AT_MOST),
        Record(name, "stress left at zero strain", abs(float(loop.stress[-1])) / 1e3, "MPa",
               0.0, 1e-6, source, Sense.AT_MOST),
    ]  # fmt: skip


# --- plasticity ---------------------------------------------------------------------------------


def plastic_tube(comm: MPI.Comm, cells: int = 8, fronts: Sequence[float] = FRONTS) -> Array:
    """Thick tube of an incompressible, perfectly plastic metal under inner pressure.

    In plane strain, radii a = 1 and b = 2 mm; with the yield stress in shear k and the radius c of
    the plastic front,

        p = 2k [ln(c/a) + (1 − c²/b²)/2],     u(b) = k c² / (2 μ b)

    exactly for small strains: here k/μ = 1e-4.

    Args:
        comm: Communicator.
        cells: Divisions of the wall.
        fronts: c (mm) to load to.

    Returns:
        Computed displacement u(b) over the exact one, less 1, for each front.

    Source:
        Hill (1950), The Mathematical Theory of Plasticity, chapter V.
    """
    a, b, mu, k = 1.0, 2.0, 1e4, 1.0
    domain = _quarter_ring(comm, a, b, cells)
    pressure = fem.Constant(domain.mesh, 0.0)
    metal = PlasticStress(domain, J2Plasticity(mu, np.sqrt(3.0) * k), degree=DEGREE)
    flat = [Dirichlet("y0", component=1), Dirichlet("y1", component=0)]
    tube = Mechanics(
        domain,
        [metal, Incompressibility(), FollowerPressure(("x0",), pressure)],
        dirichlet=[*flat, *(Dirichlet(z, component=2) for z in ("z0", "z1"))],
        degree=DEGREE,
        tolerances=NEWTON,
    )
    X = ufl.SpatialCoordinate(domain.mesh)
    radial = compiled(ufl.inner(tube.displacement, X) / b * domain.ds("x1", degree=4))
    area, off, last = domain.area("x1"), [], 0.0
    for c in fronts:
        p = 2 * k * (np.log(c / a) + (1 - (c / b) ** 2) / 2)
        for share in np.linspace(0, 1, 5)[1:]:
            pressure.value = last + share * (p - last)
            require(tube.solve(fresh=True).outcome)
            tube.commit()
        last = p
        outward = integral(radial) / area
        off.append(outward / (k * c**2 / (2 * mu * b)) - 1)
    return np.array(off)


def cook_plastic(comm: MPI.Comm, cells: int = 16, steps: int = 10) -> float:
    """Cook's membrane of an elastoplastic metal in plane strain.

    A panel clamped at its left edge (44 mm) is sheared at its right one (16 mm), 48 mm further.
    E = 206.9, ν = 0.29, σ₀ = 0.45, σ_∞ = 0.715, δ = 16.93, H = 0.12924, shear 0.3125, whatever the
    unit of stress.

    Returns:
        Upward displacement (mm) of the upper right corner.

    Source:
        Simo & Armero (1992), Int. J. Numer. Methods Eng. 33:1413–1449.
    """
    domain = cook_panel(comm, cells)
    E, nu = 206.9, 0.29
    law = J2Plasticity.from_engineering(
        E, nu, 0.45, hardening=0.12924, saturation_stress=0.715, saturation_rate=16.93
    )
    shear = fem.Constant(domain.mesh, 0.0)
    panel = Mechanics(
        domain,
        [
            PlasticStress(domain, law, degree=DEGREE),
            Incompressibility(E / (3 * (1 - 2 * nu))),
            Traction(("x1",), ufl.as_vector([0.0, shear, 0.0])),
        ],
        dirichlet=[Dirichlet("x0"), *(Dirichlet(z, component=2) for z in ("z0", "z1"))],
        degree=DEGREE,
        tolerances=NEWTON,
    )
    for share in np.linspace(0, 1, steps + 1)[1:]:
        shear.value = 0.3125 * share
        require(panel.solve(fresh=True).outcome)
        panel.commit()
    corner = [value_at(panel.u, np.array([48.0, 60.0, z])) for z in np.linspace(0, 48 / cells, 3)]
    return float(np.mean(corner, axis=0)[1])


# --- growth -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CompressibleNeoHookean:
    """Ψ = μ/2 (Ī₁ − 3) + κ/4 (J² − 1 − 2 ln J), the law of the growth problems.

    Attributes:
        mu, kappa: Shear and bulk modulus (kPa).
    """

    mu: Scalar
    kappa: Scalar

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        """Ψ (kPa) for the right Cauchy–Green tensor ``C``."""
        J = ufl.sqrt(ufl.det(C))
        volumetric = self.kappa / 4 * (J**2 - 1 - 2 * ufl.ln(J))
        return self.mu / 2 * (isochoric_first_invariant(C) - 3) + volumetric


def growth_by_stretch(comm: MPI.Comm) -> Array:
    """Unit cube under a tension of 10 kPa that grows with its fibre stretch and softens.

    Returns:
        Displacement (mm) of the corner (1, 1, 1).

    Source:
        Regression test of the code ambit (Hirschvogel): 20 steps of the implicit Euler method.
    """
    law = LimitedGrowth(
        Pattern.ISOTROPIC, Trigger.FIBRE_STRETCH, threshold=1.15, theta_max=3.0, tau=1.0,
        gamma=1.72, tau_reverse=1e4,
    )  # fmt: skip
    domain = box(comm, (1.0, 1.0, 1.0), (1, 1, 1))
    load = fem.Constant(domain.mesh, 0.0)
    pull = Traction(("x1",), ufl.as_vector([load, 0.0, 0.0]))
    soft = _neo_hookean(domain, 3.0)
    return _grow_cube(domain, law, pull, load, 10.0, 20, soft)


def growth_by_stress(comm: MPI.Comm) -> Array:
    """Unit cube that grows until the pressure on its sides, up to 10 kPa, forbids it.

    Returns:
        Displacement (mm) of the corner (1, 1, 1).

    Source:
        Regression test of the code ambit (Hirschvogel): 5 steps of the implicit Euler method.
    """
    law = LimitedGrowth(
        Pattern.ISOTROPIC, Trigger.MANDEL_STRESS, threshold=-25.0, theta_max=3.0, tau=20.0,
        gamma=2.0, tau_reverse=1e4, gamma_reverse=2.0,
    )  # fmt: skip
    domain = box(comm, (1.0, 1.0, 1.0), (1, 1, 1))
    load = fem.Constant(domain.mesh, 0.0)
    faces = FollowerPressure(tuple(domain.surfaces), load)
    return _grow_cube(domain, law, faces, load, 10.0, 5, None)


def grown_multipliers(comm: MPI.Comm, law: GrowthLaw, times: Sequence[float], dt: float) -> Array:
    """Growth of a cube that is held at 10 % stretch along its fibres.

    The cube is free across them, of the law Ψ = 15 kPa (Ī₁ − 3) + 1000 kPa (J − 1)².

    Args:
        comm: Communicator.
        law: How it grows.
        times: When to look, multiples of ``dt``.
        dt: Step, in the time unit of the law.

    Returns:
        ϑ_f and ϑ_s at these times, shape (n, 2).
    """
    domain = box(comm, (1.0, 1.0, 1.0), (1, 1, 1))
    tissue = GrowingTissue(
        domain, as_constants(_Stiff(15.0, 1e3), domain.mesh), law, cartesian(),
        incompressible=False, per_grown_volume=False, degree=2,
    )  # fmt: skip
    stretch = fem.Constant(domain.mesh, 0.1)
    cube = Mechanics(
        domain,
        [tissue],
        formulation=PENALTY_P1,
        dirichlet=[*CORNER, Dirichlet("x1", stretch, component=0)],
        degree=2,
        tolerances=Tolerances(increment=1e-9),
    )
    require(cube.solve(fresh=True).outcome)
    tissue.dt.value = dt
    found = []
    for step in range(1, round(max(times) / dt) + 1):
        require(cube.solve(fresh=True).outcome)
        cube.commit()
        if any(abs(step * dt - t) < dt / 2 for t in times):
            found.append([_owned_mean(tissue.growth, i) for i in (0, 1)])
    return np.array(found)


#: Multipliers along the fibres, and across them where that is another one, at given times: of the
#: package fenicsx-growth (MIT).
GROWN: Mapping[str, tuple[GrowthLaw, float, Mapping[float, tuple[float, ...]]]] = {
    "Kerckhoffs": (
        KerckhoffsGrowth(), 0.05,
        {1.0: (1.063226579, 0.998451797), 5.0: (1.074960969, 0.995672796),
         20.0: (1.084666319, 0.988302576)},
    ),
    "Kroon": (KroonGrowth(), 5.0, {100.0: (0.991356804,), 500.0: (0.977408547,)}),
    "Goektepe, eccentric": (
        LimitedGrowth.goektepe_eccentric(), 5.0,
        {500.0: (1.086371420,), 1000.0: (1.088990013,), 2000.0: (1.089108680,)},
    ),
}  # fmt: skip
#: How far they may be off, as a share of the growth: the codes differ most in the first steps.
SHARE = 0.03


def growth_records(comm: MPI.Comm, *, quick: bool) -> list[Record]:
    """Growing cubes against two codes; the quick run stops the first law early."""
    name, ambit = "growth", "regression test of the code ambit"
    stretched, pressed = growth_by_stretch(comm), growth_by_stress(comm)
    records = [
        Record(name, "cube that grows with its stretch, u_x", float(stretched[0]), "mm",
               1.0812823521, 1e-6, ambit),
        Record(name, "cube that grows with its stretch, u_y", float(stretched[1]), "mm",
               -0.1436029181, 1e-6, ambit),
        Record(name, "cube that grows under pressure, u_x", float(pressed[0]), "mm",
               0.1709124948, 1e-6, ambit),
    ]  # fmt: skip
    for law_name, (law, dt, reference) in GROWN.items():
        times = [t for t in reference if not quick or t <= 5 or dt > 1]
        for t, found in zip(times, grown_multipliers(comm, law, times, dt), strict=True):
            records += [
                Record(name, f"{law_name}, {way} the fibres after {t:g}", float(value), "1", given,
                       SHARE * abs(given - 1), "fenicsx-growth, explicit steps")
                for way, given, value in zip(("along", "across"), reference[t], found)  # noqa: B905
            ]  # fmt: skip
    return records


@dataclass(frozen=True)
class _Stiff:
    """Ψ = c (Ī₁ − 3) + d (J − 1)²."""

    c: Scalar
    d: Scalar

    def strain_energy(self, C: Expr, directions: Directions | None) -> Expr:
        J = ufl.sqrt(ufl.det(C))
        return self.c * (isochoric_first_invariant(C) - 3) + self.d * (J - 1) ** 2


def _neo_hookean(domain: Domain, mu: float) -> CompressibleNeoHookean:
    """With the bulk modulus μ/(1 − 2ν), ν = 0.49."""
    return as_constants(CompressibleNeoHookean(mu, mu / (1 - 2 * 0.49)), domain.mesh)


def _grow_cube(
    domain: Domain,
    law: LimitedGrowth,
    loading: Term,
    load: fem.Constant,
    end: float,
    steps: int,
    remodelled: CompressibleNeoHookean | None,
) -> Array:
    """Corner displacement after growth for one time unit under a load that rises linearly."""
    tissue = GrowingTissue(
        domain, _neo_hookean(domain, 10.0), as_constants(law, domain.mesh), cartesian(),
        incompressible=False, per_grown_volume=False, remodelled=remodelled, degree=2,
    )  # fmt: skip
    cube = Mechanics(
        domain,
        [tissue, loading],
        formulation=PENALTY_P1,
        dirichlet=CORNER,
        degree=2,
        tolerances=Tolerances(increment=1e-10),
    )
    tissue.dt.value = 1.0 / steps
    for step in range(1, steps + 1):
        load.value = end * step / steps
        require(cube.solve(fresh=True).outcome)
        cube.commit()
    return value_at(cube.u, np.ones(3))


# --- what the problems share --------------------------------------------------------------------


class _Mean:
    """Mean of a UFL expression over the volume, at each call; collective."""

    def __init__(self, problem: Mechanics, expression: Expr) -> None:
        domain = problem.domain
        self._volume = domain.volume()
        self._form = compiled(expression * domain.dx(degree=problem.fields.degree))

    def __call__(self) -> float:
        return integral(self._form) / self._volume


def _owned_mean(field: fem.Function, component: int = 0) -> float:
    """Mean over the points of all ranks of a component of a quadrature field."""
    space = field.function_space
    bs = space.dofmap.index_map_bs
    values = field.x.array[: space.dofmap.index_map.size_local * bs].reshape(-1, bs)[:, component]
    comm = space.mesh.comm
    return total(comm, float(values.sum())) / total(comm, float(len(values)))


def _quarter_ring(comm: MPI.Comm, a: float, b: float, cells: int) -> Domain:
    """Quarter of a tube about z: x0 inside, x1 outside, y0 and y1 the planes of symmetry."""
    thickness = (b - a) / cells
    domain = box(comm, (1.0, 1.0, thickness), (cells, 2 * cells, 1))
    X = domain.mesh.geometry.x
    r, angle = a + (b - a) * X[:, 0], np.pi / 2 * X[:, 1]
    X[:, 0], X[:, 1] = r * np.cos(angle), r * np.sin(angle)
    return domain
