"""Verification problems of contact: Hertz, patch test, ironing, friction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import gmsh
import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.kinematics import first_piola
from organtwin.mechanics.contact import Contact, ContactLaw
from organtwin.mechanics.contact_solve import solve_in_contact
from organtwin.mechanics.formulation import PENALTY, PENALTY_P1
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.rigid import Cylinder, Obstacle, Plane, Sphere
from organtwin.mechanics.terms import Incompressibility, PassiveStress, Term, Traction
from organtwin.mechanics.tie import Tie
from organtwin.mesh.domain import Domain, read_domain
from organtwin.mesh.tetrahedra import gmsh_session
from organtwin.parallel import on_root
from organtwin.solve.assembly import integral
from organtwin.solve.nonlinear import Tolerances
from organtwin.verify.geometry import box
from organtwin.verify.mechanics import require

#: Young's modulus (kPa) and Poisson's ratio of all bodies here.
E, NU = 100.0, 0.3
#: Bulk modulus (kPa).
KAPPA = E / (3 * (1 - 2 * NU))
#: Law of all bodies, with `Incompressibility` of that bulk modulus.
SKIN = NeoHookean(E / (2 * (1 + NU)))


@dataclass(frozen=True)
class HertzResult:
    """Contact of a sphere with a half-space, relative to Hertz's solution for the same force.

    Attributes:
        peak: Largest pressure at a quadrature point.
        field: Largest value of the pressure as a field on the surface.
        radius: Radius of the circle of the same area as the contact.
        force: Force (mN) of the whole contact.
    """

    peak: float
    field: float
    radius: float
    force: float


def hertz_rigid_sphere(comm: MPI.Comm, path: Path, size: float) -> HertzResult:
    """A rigid sphere of 20 mm presses 0.05 mm deep into a block of 12 mm; a quarter is meshed.

    The contact radius is 1/20 of the sphere's and 1/12 of the block's edge, so that strains are
    small and the block is nearly a half-space.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        size: Element size in the contact (mm); the contact radius is 1 mm.
    """
    L, R = 12.0, 20.0
    on_root(comm, lambda: _write(path, lambda: _quarter_block(L), _graded(size, 3.0, 1.2, L)))
    domain = read_domain(path, comm)
    place = fem.Constant(domain.mesh, np.zeros(3))
    contact = Contact(
        domain, "top", Obstacle(Sphere((0, 0, R), R), translation=place), ContactLaw(stiffness=E)
    )
    block = _body(domain, [contact], [Dirichlet("bottom"), *_quarter()])
    _along(block, place, [(0, 0, -0.05 * share) for share in (0.5, 1.0)])
    return _hertz(contact, R)


def hertz_deformable_sphere(comm: MPI.Comm, path: Path, size: float) -> HertzResult:
    """A hemisphere of 10 mm is pressed 0.025 mm onto a rigid plane; a quarter is meshed.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        size: Element size in the contact (mm); the contact radius is 0.5 mm.
    """
    R = 10.0
    sizes = _graded(size, 2.0, 0.7, R)
    on_root(comm, lambda: _write(path, lambda: _quarter_hemisphere(R), sizes, order=2))
    domain = read_domain(path, comm)
    push = fem.Constant(domain.mesh, np.zeros(3))
    contact = Contact(domain, "cap", Obstacle(Plane((0, 0, 0), (0, 0, 1))), ContactLaw(stiffness=E))
    ball = _body(domain, [contact], [Dirichlet("bottom", push), *_quarter()])
    _along(ball, push, [(0, 0, -0.0125), (0, 0, -0.025)])
    return _hertz(contact, R)


@dataclass(frozen=True)
class PatchResult:
    """Two blocks with other meshes under a uniform load.

    Attributes:
        stress: Error of the stress along the load in L², relative.
        force: Resultant on the lower block relative to the load.
        jump: Largest penetration, or distance that tied points have come apart, relative to that
            under a uniform pressure, load/ε.
    """

    stress: float
    force: float
    jump: float


def contact_patch(
    comm: MPI.Comm, path: Path, *, degree: int = 4, two_pass: bool = False, tied: bool = False
) -> PatchResult:
    """Two blocks of 1 × 1 × 0.5 mm on each other, whose stress ought to be uniform.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        degree: Of the quadrature of the contact.
        two_pass: Whether both surfaces are integrated over.
        tied: Tie instead of contact.
    """
    domain = two_blocks(comm, path)
    load, penalty = fem.Constant(domain.mesh, E / 20), (400 if tied else 60) * E
    link = (
        Tie(domain, "lower_top", "upper_bottom", penalty=penalty)
        if tied
        else Contact(domain, "lower_top", "upper_bottom", ContactLaw(penalty=penalty),
                     two_pass=two_pass, degree=degree)
    )  # fmt: skip
    symmetry = [Dirichlet(f"{part}_{side}", component=i)
                for part in ("lower", "upper") for i, side in enumerate(("x0", "y0"))]  # fmt: skip
    blocks = _body(
        domain,
        [link, Traction(("upper_top",), ufl.as_vector([0.0, 0.0, -load]))],
        [Dirichlet("lower_bottom", component=2), *symmetry],
        increment=1e-9,
    )
    _lower_a_little(blocks, "upper", 1e-5)
    _press(blocks)
    F = blocks.fields.F
    J = ufl.det(F)
    P = first_piola(SKIN, F, None) + KAPPA / 2 * (J - 1 / J) * ufl.cofac(F)
    off = integral((P[2, 2] + load) ** 2 * domain.dx(degree=4))
    force = link.force()[2] if isinstance(link, Tie) else link.report().force[2]
    jump = link.largest_jump() if isinstance(link, Tie) else link.report().penetration
    size = float(load.value)
    return PatchResult(np.sqrt(off) / size, -force / size, jump * penalty / size)


def two_blocks(comm: MPI.Comm, path: Path) -> Domain:
    """Blocks of 1 × 1 × 0.5 mm on each other, their edges cut into 3 and into 4.

    Returns:
        Domain with the regions ``lower`` and ``upper`` and their surfaces ``lower_x0``,
        ``lower_x1``, ``lower_y0``, ``lower_y1``, ``lower_bottom``, ``lower_top`` and so on.
    """
    on_root(comm, lambda: _write(path, _stack, "0.3"))
    return read_domain(path, comm)


@dataclass(frozen=True)
class SlidingResult:
    """Forces while an indenter slides.

    Attributes:
        normal: Normal force at every step (mN).
        tangential: Force along the path (mN).
        ripple: Largest departure of the normal force from a smooth curve through it (a parabola),
            relative.
    """

    normal: NDArray[np.float64]
    tangential: NDArray[np.float64]
    ripple: float


def ironing(
    comm: MPI.Comm, path: Path, *, size: float = 0.25, steps: int = 16, friction: float = 0.0
) -> SlidingResult:
    """A deformable half-cylinder of 0.6 mm sinks 0.12 mm into a block and slides 0.8 mm along it.

    Args:
        comm: Communicator.
        path: Where the gmsh file is written.
        size: Element size (mm).
        steps: Of the slide.
        friction: Coulomb's coefficient.
    """
    on_root(comm, lambda: _write(path, _iron_and_board, f"{size}", order=2))
    domain = read_domain(path, comm)
    push = fem.Constant(domain.mesh, np.zeros(3))
    contact = Contact(domain, "sole", "board_top", ContactLaw(stiffness=E, friction=friction))
    sides = [Dirichlet(name, component=1) for name in ("board_y0", "board_y1", "sole_sides")]
    iron = _body(domain, [contact], [Dirichlet("board_bottom"), Dirichlet("handle", push), *sides])
    _along(iron, push, [(0, 0, -0.04 * i) for i in (1, 2, 3)])
    forces = []
    for i in range(1, steps + 1):
        push.value[:] = (0.8 * i / steps, 0, -0.12)
        _press(iron)
        forces.append(contact.report().force)
    normal, along = np.array(forces)[:, 2], -np.array(forces)[:, 0]
    s = np.arange(len(normal))
    smooth = np.polyval(np.polyfit(s, normal, 2), s)
    return SlidingResult(normal, along, float(np.abs(normal / smooth - 1).max()))


@dataclass(frozen=True)
class FrictionResult:
    """Tangential force over μ times normal force, step by step, and what sticks.

    Attributes:
        ratio: T/(μN).
        sticking: Share of the contact area that does not slide.
    """

    ratio: NDArray[np.float64]
    sticking: NDArray[np.float64]


def sliding_block(comm: MPI.Comm, n: int = 3, friction: float = 0.3) -> FrictionResult:
    """A block of 1 × 1 × 0.5 mm is pressed on a rigid plane that is then pulled along.

    While the block sticks, T grows with the path; when all of it slides, T = μN.
    """
    domain = box(comm, (1.0, 1.0, 0.5), (2 * n, 2 * n, n))
    place = fem.Constant(domain.mesh, np.zeros(3))
    plane = Obstacle(Plane((0, 0, 0), (0, 0, 1)), translation=place)
    law = ContactLaw(stiffness=E, friction=friction)
    contact = Contact(domain, "z0", plane, law)
    block = _body(domain, [contact], [Dirichlet("z1")], linear=True)
    _along(block, place, [(0, 0, 0.01), (0, 0, 0.02)])
    return _pull(block, contact, place, [(0.01 * i, 0, 0.02) for i in range(1, 13)], friction)


def roller(
    comm: MPI.Comm, n: int = 4, *, rolls: bool, friction: float = 0.3, steps: int = 6
) -> FrictionResult:
    """A rigid cylinder of 1 mm is pressed 0.03 mm into a block and moved along it.

    Args:
        comm: Communicator.
        n: Divisions of the block's height.
        rolls: Whether it turns as it would on a rigid ground; if not, it slides.
        friction: μ.
        steps: Of 0.03 mm.
    """
    domain = box(comm, (1.0, 0.25, 0.5), (4 * n, n, 2 * n))
    place = fem.Constant(domain.mesh, np.array([0.4, 0.0, 1.5]))
    turn = fem.Constant(domain.mesh, np.zeros(3))
    cylinder = Obstacle(Cylinder((0, 0, 0), (0, 1, 0), 1.0), place, turn)
    contact = Contact(domain, "z1", cylinder, ContactLaw(stiffness=E, friction=friction))
    sides = [Dirichlet(side, component=1) for side in ("y0", "y1")]
    ground = _body(domain, [contact], [Dirichlet("z0"), *sides], linear=True)
    _along(ground, place, [(0.4, 0, 1.5 - 0.01 * i) for i in (1, 2, 3)])
    path = [(0.4 + 0.03 * i, 0, 1.47) for i in range(1, steps + 1)]

    def roll(x: Sequence[float]) -> None:
        if rolls:
            turn.value[1] = x[0] - 0.4

    return _pull(ground, contact, place, path, friction, roll)


# --- pieces -------------------------------------------------------------------------------------


def _body(
    domain: Domain,
    links: Sequence[Term],
    dirichlet: Sequence[Dirichlet],
    *,
    linear: bool = False,
    increment: float = 1e-7,
) -> Mechanics:
    terms: list[Term] = [PassiveStress(SKIN), Incompressibility(KAPPA), *links]
    formulation = PENALTY_P1 if linear else PENALTY
    tolerances = Tolerances(increment=increment)
    return Mechanics(
        domain, terms, formulation=formulation, dirichlet=dirichlet, tolerances=tolerances
    )


def _along(problem: Mechanics, place: fem.Constant, path: Sequence[Sequence[float]]) -> None:
    for x in path:
        place.value[:] = x
        _press(problem)


def _pull(
    problem: Mechanics,
    contact: Contact,
    place: fem.Constant,
    path: Sequence[Sequence[float]],
    friction: float,
    also: Callable[[Sequence[float]], None] = lambda x: None,
) -> FrictionResult:
    ratio, sticking = [], []
    for x in path:
        also(x)
        _along(problem, place, [x])
        report = contact.report()
        ratio.append(report.force[0] / (friction * abs(report.force[2])))
        sticking.append(report.sticking)
    return FrictionResult(np.array(ratio), np.array(sticking))


def _press(problem: Mechanics) -> None:
    """Find equilibrium and accept it."""
    contacts = [term for term in problem.terms if isinstance(term, Contact)]
    require(solve_in_contact(problem, contacts).outcome)
    problem.commit()


def _hertz(contact: Contact, R: float) -> HertzResult:
    """Ratios to Hertz's solution p₀ = (6 F E*²/π³R²)^⅓, a = (3 F R/4 E*)^⅓ of a quarter."""
    report = contact.report()
    F, stiff = 4 * abs(float(report.force[2])), E / (1 - NU**2)
    p0 = (6 * F * stiff**2 / (np.pi**3 * R**2)) ** (1 / 3)
    a = (3 * F * R / (4 * stiff)) ** (1 / 3)
    local = float(contact.pressure().x.array.max(initial=0.0))
    largest = contact.domain.comm.allreduce(local, op=MPI.MAX)
    return HertzResult(report.pressure / p0, largest / p0, np.sqrt(4 * report.area / np.pi) / a, F)


def _quarter() -> list[Dirichlet]:
    return [Dirichlet("x0", component=0), Dirichlet("y0", component=1)]


def _lower_a_little(problem: Mechanics, region: str, depth: float) -> None:
    """Let a part touch the other before the first iteration, which nothing else would hold."""
    cells = problem.domain.cells(region)
    nodes = [problem.V.dofmap.cell_dofs(c) for c in cells]
    lowered = np.unique(np.concatenate([*nodes, np.zeros(0, dtype=np.int32)]).astype(np.int64))
    problem.w.x.array[3 * lowered + 2] = -depth


def _graded(size: float, largest: float, near: float, far: float) -> str:
    """Size that grows linearly with the distance from the origin beyond ``near``."""
    slope = (largest - size) / (far - near)
    return f"Min({largest}, {size} + {slope}*Max(0, Sqrt(x*x + y*y + z*z) - {near}))"


def _write(path: Path, build: Callable[[], None], size: str, order: int = 1) -> None:
    """Mesh a geometry whose physical groups ``build`` names."""
    with gmsh_session():
        build()
        field = gmsh.model.mesh.field
        field.setString(field.add("MathEval", 1), "F", size)
        field.setAsBackgroundMesh(1)
        for source in ("ExtendFromBoundary", "FromPoints", "FromCurvature"):
            gmsh.option.setNumber(f"Mesh.MeshSize{source}", 0)
        gmsh.model.mesh.generate(3)
        gmsh.model.mesh.setOrder(order)
        gmsh.write(str(path))


def _name(
    volumes: Sequence[tuple[str, int]], kind: Callable[[str, tuple[float, ...]], str]
) -> None:
    """Name volumes, and their faces by a function of the volume's name and the face's box."""
    gmsh.model.occ.synchronize()
    names: dict[str, list[int]] = {}
    for number, (volume, tag) in enumerate(volumes, start=1):
        gmsh.model.addPhysicalGroup(3, [tag], number, volume)
        for _, face in gmsh.model.getBoundary([(3, tag)], oriented=False):
            names.setdefault(kind(volume, gmsh.model.getBoundingBox(2, face)), []).append(face)
    for number, (name, faces) in enumerate(names.items(), start=1):
        gmsh.model.addPhysicalGroup(2, faces, number, name)


def _flat(box: tuple[float, ...]) -> tuple[int, float] | None:
    """Axis that a face is normal to, and its place; None of a curved or oblique one."""
    for axis in range(3):
        if abs(box[axis + 3] - box[axis]) < 1e-5:
            return axis, (box[axis] + box[axis + 3]) / 2
    return None


def _quarter_block(L: float) -> None:
    tag = gmsh.model.occ.addBox(0, 0, -L, L, L, L)
    ends = {(0, 0.0): "x0", (1, 0.0): "y0", (2, 0.0): "top", (2, -L): "bottom"}

    def kind(_: str, face: tuple[float, ...]) -> str:
        found = _flat(face)
        assert found is not None
        return ends.get((found[0], round(found[1], 3) + 0.0), "sides")

    _name([("block", tag)], kind)


def _quarter_hemisphere(R: float) -> None:
    occ = gmsh.model.occ
    ball = occ.addSphere(0, 0, R, R)
    part, _ = occ.intersect([(3, ball)], [(3, occ.addBox(0, 0, 0, R, R, R))])
    ends = {(0, 0.0): "x0", (1, 0.0): "y0", (2, R): "bottom"}

    def kind(_: str, face: tuple[float, ...]) -> str:
        found = _flat(face)
        return "cap" if found is None else ends[found[0], round(found[1], 3) + 0.0]

    _name([("ball", part[0][1])], kind)


def _stack() -> None:
    occ = gmsh.model.occ
    lower, upper = occ.addBox(0, 0, 0, 1, 1, 0.5), occ.addBox(0, 0, 0.5, 1, 1, 0.5)

    def kind(part: str, face: tuple[float, ...]) -> str:
        found = _flat(face)
        assert found is not None
        axis, place = found
        high = place > (0.25 if part == "lower" else 0.75) if axis == 2 else place > 0.5
        return f"{part}_{('bottom', 'top')[high]}" if axis == 2 else f"{part}_{'xy'[axis]}{high:d}"

    _name([("lower", lower), ("upper", upper)], kind)
    for volume, divisions in ((lower, 3), (upper, 4)):
        faces = gmsh.model.getBoundary([(3, volume)], oriented=False)
        for _, curve in gmsh.model.getBoundary(faces, combined=False, oriented=False):
            gmsh.model.mesh.setTransfiniteCurve(curve, divisions + 1)


def _iron_and_board() -> None:
    occ = gmsh.model.occ
    board = occ.addBox(0, 0, -0.75, 2.4, 0.3, 0.75)
    rod = occ.addCylinder(0.8, 0, 0.6, 0, 0.3, 0, 0.6)
    half, _ = occ.intersect([(3, rod)], [(3, occ.addBox(0, 0, 0, 2, 0.3, 0.5))])

    def kind(part: str, face: tuple[float, ...]) -> str:
        found = _flat(face)
        if part == "iron":
            if found is None:
                return "sole"
            return "sole_sides" if found[0] == 1 else "handle"
        assert found is not None
        axis, place = found
        if axis == 2:
            return "board_top" if place > -0.3 else "board_bottom"
        return f"board_{'xy'[axis]}{int(place > 0.2)}"

    _name([("board", board), ("iron", half[0][1])], kind)
