"""Verification problems of interfaces: press fit and slip, pull-out, a joint that opens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.formulation import PENALTY
from organtwin.mechanics.frictional import FrictionalElasticity
from organtwin.mechanics.interface import Interface
from organtwin.mechanics.interface_law import InterfaceLaw
from organtwin.mechanics.load_steps import follow, press_fit, ramp
from organtwin.mechanics.small_strain import SmallStrain
from organtwin.mechanics.terms import Traction
from organtwin.mesh.distribute import distribute
from organtwin.mesh.domain import Domain
from organtwin.mesh.regions import faces
from organtwin.mesh.separating import separate
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.parallel import total
from organtwin.solve.assembly import integral
from organtwin.verify.bone_mechanics import COMPACT, NU, TITANIUM, elastic
from organtwin.verify.solid_grids import Points, blocks, tubes

#: Radii (mm) of the rings, their height (mm), the interference (mm) and the friction.
A, B, C, HEIGHT, DELTA, MU = 10.0, 15.0, 22.0, 1.0, 0.02, 0.3


@dataclass(frozen=True)
class PressFitSlip:
    """Two rings with an interference and friction, over the closed forms.

    Attributes:
        pressure: Mean between them, over Lamé's.
        pull: Force along the axis at which all of it slides, over μ p A.
        torque: At which all of it slides, over μ p A b.
    """

    pressure: float
    pull: float
    torque: float


def lame_pressure() -> float:
    """Pressure (kPa) between the rings, plane strain; see `bone_mechanics.press_fit`."""
    parts = (((B * B + A * A) / (B * B - A * A), -1.0, TITANIUM),
             ((C * C + B * B) / (C * C - B * B), 1.0, COMPACT))  # fmt: skip
    give = sum((k + sign * NU / (1 - NU)) * (1 - NU**2) / E for k, sign, E in parts)
    return DELTA / B / give


def press_fit_contact(comm: MPI.Comm, around: int) -> PressFitSlip:
    """A ring of titanium, 20 µm too large, in one of bone: pressure, pull-out and torque.

    Args:
        comm: Communicator.
        around: Divisions of the circle; a multiple of four.
    """
    p = lame_pressure()
    pressure, pull = _pulled_rings(comm, around // 4)
    torque = _turned_rings(comm, around, p)
    return PressFitSlip(
        pressure / p, pull / (MU * p), torque / (MU * p * 2 * np.pi * B**2 * HEIGHT)
    )


def _pulled_rings(comm: MPI.Comm, around: int) -> tuple[float, float]:
    """Mean pressure (kPa), and the force over the area (kPa) that pulls the inner ring out."""
    domain = _rings(comm, around, np.pi / 2)
    shift = fem.Constant(domain.mesh, 0.0)
    held = [Dirichlet("y0", component=1), Dirichlet("end", component=0),
            *(Dirichlet(f"bone_z{i}", component=2) for i in (0, 1)),
            *(Dirichlet(f"stem_z{i}", shift, component=2) for i in (0, 1))]  # fmt: skip
    link = _fit(domain)
    rings = FrictionalElasticity(
        domain, [*_metals(), link], dirichlet=held, formulation=PENALTY, name="press_fit_contact"
    )
    follow(rings, [press_fit([link])])
    points = link.points()
    area = total(comm, float(points.area.sum()))
    pressure = total(comm, float(points.pressure @ points.area)) / area
    follow(rings, [ramp("pull", [(shift, 5e-3)])])
    pull = float(abs(link.report().force[2])) / area
    rings.release()
    return pressure, pull


def _turned_rings(comm: MPI.Comm, around: int, p: float) -> float:
    """Torque (mN mm) when the bore is turned, at Lamé's displacement of bore and rim."""
    domain = _rings(comm, around, 2 * np.pi)
    turn = fem.Constant(domain.mesh, 0.0)
    x = ufl.SpatialCoordinate(domain.mesh)
    radial = ufl.as_vector([x[0], x[1], 0.0])
    k = 2 * (1 - NU**2) * p * B * B
    bore = -k / (TITANIUM * (B * B - A * A)) * radial + turn * ufl.as_vector([-x[1], x[0], 0.0])
    held = [Dirichlet("bore", bore), Dirichlet("rim", k / (COMPACT * (C * C - B * B)) * radial),
            *(Dirichlet(f"{ring}_z{i}", component=2) for ring in ("stem", "bone") for i in (0, 1)),
            ]  # fmt: skip
    link = _fit(domain)
    rings = FrictionalElasticity(
        domain, [*_metals(), link], dirichlet=held, formulation=PENALTY, name="turned"
    )
    follow(rings, [press_fit([link]), ramp("turn", [(turn, 2e-3)])])
    points = link.points()
    arm = np.cross(points.position, points.shear)[:, 2]
    torque = abs(total(comm, float(arm @ points.area)))
    rings.release()
    return torque


def _rings(comm: MPI.Comm, around: int, angle: float) -> Domain:
    def made() -> TetrahedralMesh:
        levels = np.linspace(0.0, HEIGHT, 2)
        whole = tubes((A, B, C), ("stem", "bone"), (2, 3), around, levels, angle=angle)
        return separate(whole, [("stem", "bone")])

    return _spread(comm, made)


def _fit(domain: Domain) -> Interface:
    law = InterfaceLaw(stiffness=COMPACT, friction=MU)
    return Interface(domain, "bone_at_stem", "stem_at_bone", law, interference=DELTA)


def _metals() -> list[SmallStrain]:
    return [elastic(TITANIUM, region="stem"), elastic(COMPACT, region="bone")]


#: Bar that is pulled out: half width and length (mm), Young's modulus (kPa), interference (mm).
WIDTH, LENGTH, BAR, TIGHT = 1.0, 40.0, 17e6, 1e-3


@dataclass(frozen=True)
class PullOut:
    """A bar held by friction in a rigid socket, over the closed forms.

    Attributes:
        partial: Displacement of its end when half of it slides.
        rest: What is left of that after the load has gone.
        full: Force at which all of it slides, over μ p times its surface.
    """

    partial: float
    rest: float
    full: float


def pull_out(comm: MPI.Comm, slices: int) -> PullOut:
    """A square bar without Poisson's effect, 1 µm too large, is pulled out of a rigid socket.

    With the force P on its end, its section A, its girth s, the friction τ = μ p, p = δ/(w/E + 1/ε)
    and the interface's tangential stiffness k, it sticks beyond the length ℓ:

        β = √(k s/EA),  u₁ = τ/k,  P₁ = EA β u₁,  ℓ = (P − P₁)/(s τ)
        u = u₁ + P₁ ℓ/EA + s τ ℓ²/(2 EA)

    Going back, the slip is reversed at twice the friction: the end goes back by 2 u(P/2).

    Args:
        comm: Communicator.
        slices: Divisions of its length.
    """
    domain = _spread(comm, lambda: _socket(slices))
    law = InterfaceLaw(stiffness=BAR, friction=MU)
    link = Interface(
        domain, "bar_at_socket", "socket_at_bar", law, interference=TIGHT, smooth=False
    )
    eps, k = link.penalties
    tau = MU * TIGHT / (WIDTH / BAR + 1 / eps)
    area, girth = WIDTH**2, 2 * WIDTH
    most = tau * girth * LENGTH
    pull, shift = fem.Constant(domain.mesh, np.zeros(3)), fem.Constant(domain.mesh, 0.0)
    material = [elastic(BAR, 0.0, region="bar"), elastic(1e5 * BAR, 0.0, region="socket")]
    held = [Dirichlet("x1"), Dirichlet("y1"), Dirichlet("bar_x0", component=0),
            Dirichlet("bar_y0", component=1)]  # fmt: skip
    bar = FrictionalElasticity(
        domain, [*material, link, Traction(("bar_z1",), pull)], dirichlet=held, name="pull_out"
    )
    ends, load = [], [0.0, 0.0, most / 2 / area]
    follow(bar, [press_fit([link])])
    for name, target in (("pull", load), ("release", [0.0] * 3)):
        follow(bar, [ramp(name, [(pull, target)], increments=2)])
        ends.append(integral(bar.u[2] * domain.ds("bar_z1")) / domain.area("bar_z1"))
    bar.release()
    out = FrictionalElasticity(
        domain, [*material, link], name="pulled_out",
        dirichlet=[*held, Dirichlet("bar_z1", shift, component=2)],
    )  # fmt: skip
    follow(out, [ramp("pull", [(shift, 3 * _end(most, tau, k, area, girth))], increments=2)])
    full = abs(float(link.report().force[2]))
    out.release()
    loaded, half = (_end(P, tau, k, area, girth) for P in (most / 2, most / 4))
    return PullOut(ends[0] / loaded, ends[1] / (loaded - 2 * half), full / most)


def _end(P: float, tau: float, k: float, area: float, girth: float) -> float:
    """Displacement (mm) of the bar's end."""
    EA = BAR * area
    u1 = tau / k
    P1 = EA * np.sqrt(k * girth / EA) * u1
    length = (P - P1) / (girth * tau)
    return float(u1 + P1 * length / EA + girth * tau * length**2 / (2 * EA))


def _socket(slices: int) -> TetrahedralMesh:
    """A quarter of the bar and of the socket; faces of the bar on x = 0 and y = 0 have its name."""

    def region(x: Points) -> np.ndarray[tuple[int, ...], np.dtype[np.str_]]:
        return np.where((x[:, :2] < WIDTH).all(axis=1), "bar", "socket")

    whole = blocks((3, 3, slices), (1.5 * WIDTH, 1.5 * WIDTH, LENGTH), region)
    return separate(_with_owners(whole, ("x0", "y0", "z1")), [("bar", "socket")])


@dataclass(frozen=True)
class Joint:
    """A bolted joint that opens, over the closed forms.

    Attributes:
        clamping: Force between the parts after tightening.
        opening: External force at which they part.
        beyond: Force in the bolt beyond that, over the external one.
        open_share: Share of the interface that is open then.
    """

    clamping: float
    opening: float
    beyond: float
    open_share: float


def opening_joint(comm: MPI.Comm) -> Joint:
    """A bolt of titanium through a sleeve of bone below a head that rests on the sleeve.

        F₀ = e L k_b k_s/(k_b + k_s),  opens at F = F₀ (k_b + k_s)/k_s,  k_b = E_b A_b/L

    with 1/k_s = L/(E_s A_s) + 1/(ε A_s). Without Poisson's effect both are exact for a stiff head.
    """
    L, e = 20.0, 1e-3
    domain = _spread(comm, lambda: _bolted(L))
    shortening, pull = fem.Constant(domain.mesh, 0.0), fem.Constant(domain.mesh, np.zeros(3))
    strain = ufl.as_matrix([[0, 0, 0], [0, 0, 0], [0, 0, -shortening]])
    law = InterfaceLaw(stiffness=COMPACT, friction=MU)
    link = Interface(domain, "head_at_sleeve", "sleeve_at_head", law)
    area_b, area_s = 4.0, 12.0
    k_b = TITANIUM * area_b / L
    k_s = 1 / (L / (COMPACT * area_s) + 1 / (link.penalties[0] * area_s))
    joint = FrictionalElasticity(
        domain,
        [elastic(TITANIUM, 0.0, region="bolt", eigenstrain=strain),
         elastic(COMPACT, 0.0, region="sleeve"), elastic(1e4 * TITANIUM, 0.0, region="head"),
         link, Traction(("head_z1",), pull)],
        dirichlet=[Dirichlet("bolt_z0"), Dirichlet("sleeve_z0"),
                   *(Dirichlet(f"{part}_{side}", component=i) for i, side in enumerate(("x0", "y0"))
                     for part in ("bolt", "sleeve", "head"))],
        name="opening_joint",
    )  # fmt: skip
    tight = e * L * k_b * k_s / (k_b + k_s)
    opens = tight * (k_b + k_s) / k_s
    follow(joint, [ramp("tighten", [(shortening, e)])])
    clamp = [float(link.report().force[2])]
    follow(joint, [ramp("pull", [(pull, [0.0, 0.0, 0.8 * opens / 16.0])])])
    clamp.append(float(link.report().force[2]))
    follow(joint, [ramp("pull on", [(pull, [0.0, 0.0, 1.2 * opens / 16.0])])])
    bolt = -float(joint.reaction("bolt_z0")[2])
    found = 0.8 * clamp[0] / (clamp[0] - clamp[1])
    share = link.report().open
    joint.release()
    return Joint(clamp[0] / tight, found, bolt / (1.2 * opens), share)


def _bolted(length: float) -> TetrahedralMesh:
    """A quarter: bolt of 2 × 2 mm in a sleeve of 4 × 4 mm below a head of 4 mm."""
    slices = 5

    def region(x: Points) -> np.ndarray[tuple[int, ...], np.dtype[np.str_]]:
        own = np.where((x[:, :2] < 2.0).all(axis=1), "bolt", "sleeve")
        return np.where(x[:, 2] > length, "head", own)

    size = (4.0, 4.0, length + length / slices)
    whole = _with_owners(blocks((2, 2, slices + 1), size, region), ("x0", "y0", "z0", "z1"))
    return separate(whole, [("bolt", "sleeve"), ("head", "sleeve")])


def _with_owners(mesh: TetrahedralMesh, sides: tuple[str, ...]) -> TetrahedralMesh:
    """Facets of some sides named by their region as well: REGION_SIDE."""
    every, cells = faces(mesh.cells), np.tile(np.arange(len(mesh.cells)), 4)
    place = {tuple(f): c for f, c in zip(every.tolist(), cells.tolist(), strict=True)}
    names, tags = dict(mesh.facet_names), mesh.facet_tags.copy()
    called = {k: name for name, k in mesh.region_names.items()}
    for side in sides:
        for i in np.flatnonzero(mesh.facet_tags == mesh.facet_names[side]):
            owner = called[int(mesh.regions[place[tuple(sorted(mesh.facets[i].tolist()))]])]
            tags[i] = names.setdefault(f"{owner}_{side}", max(names.values()) + 1)
    present = set(tags.tolist())
    return replace(
        mesh, facet_tags=tags, facet_names={n: k for n, k in names.items() if k in present}
    )


def _spread(comm: MPI.Comm, made: Callable[[], TetrahedralMesh]) -> Domain:
    """A mesh made on rank 0 and distributed."""
    return distribute(made() if comm.rank == 0 else None, comm)
