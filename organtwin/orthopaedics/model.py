"""The mechanical problems of an operated and of the intact bone; on all ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.bone.calibration import Calibration
from organtwin.bone.laws import Stiffness
from organtwin.bone.mapping import BoneFields, map_bone
from organtwin.image.volume import Image
from organtwin.implants.materials import load_material
from organtwin.materials.bone import OrthotropicBone
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.frictional import FrictionalElasticity
from organtwin.mechanics.interface import Interface
from organtwin.mechanics.interface_law import InterfaceLaw
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.load_steps import LoadStep, press_fit
from organtwin.mechanics.small_strain import SmallStrain
from organtwin.mechanics.terms import Spring
from organtwin.mesh.domain import Domain
from organtwin.orthopaedics.operation import Healing, Load, Operation, Place
from organtwin.orthopaedics.spread_loads import Patch, SpreadForces
from organtwin.solve.assembly import compiled, integral

type Floats = NDArray[np.float64]

#: Stiffness (kPa) that the penalty of interfaces follows from: of dense trabecular bone, so that
#: 10 MPa penetrate by some micrometres. Our choice.
PENALTY_STIFFNESS = 1e6
#: Names of steps: before the first load, and after each.
PRESS_FIT, UNLOADED = "press fit", "unloaded"
#: Force (mN) by which the compliance of guided places is found.
UNIT = 1e5


@dataclass
class Tissue:
    """Young's modulus and Poisson's ratio of each cell.

    Attributes:
        density: Calibrated density (mg/mm³), zero where no bone is.
        modulus: Young's modulus (kPa).
        poisson: Poisson's ratio.
        bone: How density and modulus were mapped.
    """

    density: fem.Function
    modulus: fem.Function
    poisson: fem.Function
    bone: BoneFields

    def material(self) -> SmallStrain:
        """One term for all regions: the fields make the difference."""
        law = OrthotropicBone.isotropic(self.modulus, self.poisson)
        return SmallStrain(law, cartesian())


def tissue_of(
    domain: Domain,
    operation: Operation,
    scan: Image | None,
    calibration: Calibration,
    stiffness: Stiffness,
    *,
    intact: bool = False,
) -> Tissue:
    """Moduli of bone by its grey values, of implants by their materials; collective.

    Args:
        domain: Mesh of the operated or of the intact bone.
        operation: What is what.
        scan: Grey values (HU) on rank 0.
        calibration: From HU to density.
        stiffness: From density to modulus.
        intact: Whether it is the intact bone: all of it is bone.

    Raises:
        InputError: see `organtwin.bone.mapping.map_bone`.
    """
    others = () if intact else (*operation.implants, *operation.healing[0].moduli)
    regions = tuple(name for name in domain.regions if name not in others)
    bone = map_bone(domain, scan, calibration, stiffness, regions=regions)
    modulus, poisson = bone.modulus, fem.Function(bone.modulus.function_space, name="poisson")
    poisson.x.array[:] = operation.poisson
    if not intact:
        for region, name in operation.implants.items():
            if region in domain.regions:
                made, cells = load_material(name), domain.cells(region)
                modulus.x.array[cells] = made.youngs_modulus
                poisson.x.array[cells] = made.poissons_ratio
    return Tissue(bone.density, modulus, poisson, bone)


def healed(tissue: Tissue, domain: Domain, stage: Healing) -> None:
    """Give what heals its modulus; assemble the problem again afterwards."""
    for region, modulus in stage.moduli.items():
        if region in domain.regions:
            tissue.modulus.x.array[domain.cells(region)] = modulus


def patches(places: Mapping[str, Place]) -> dict[str, Patch]:
    """Patches of the places."""
    return {name: Patch(p.point, p.surfaces, p.radius) for name, p in places.items()}


def _supports(operation: Operation) -> list[Dirichlet]:
    return [Dirichlet(name) for name in operation.support] if operation.bed is None else []


def _bed(operation: Operation) -> list[Spring]:
    return [] if operation.bed is None else [Spring(operation.support, operation.bed)]


class OperatedBone:
    """Bone and implants that press, stick and slide on each other.

    Small displacements, linear materials, `Interface` at each seat. The history is the press fit,
    then each load and its letting go; slips that stay are the settling of the implant, the others
    are its micromotion.

    Args:
        domain: The operated mesh, separated at its seats.
        operation: What is computed.
        tissue: Moduli; those of what heals are changed by `heal`.
        tolerance: Norm of the residual over that of the forces.

    Attributes:
        interfaces: By the name of the seat.
        problem: The equations.

    Raises:
        InputError: a surface is missing or without partner.
    """

    def __init__(
        self, domain: Domain, operation: Operation, tissue: Tissue, *, tolerance: float = 1e-5
    ) -> None:
        self.domain, self.operation, self.tissue = domain, operation, tissue
        self.interfaces = {
            seat.name: Interface(
                domain, seat.surface, seat.other,
                InterfaceLaw(
                    stiffness=PENALTY_STIFFNESS, friction=seat.friction, cohesion=seat.cohesion,
                    tension=seat.tension, bond_length=seat.bond_length,
                ),
                interference=seat.interference,
            )
            for seat in operation.seats
        }  # fmt: skip
        self.forces = SpreadForces(domain, patches(operation.places))
        self.problem = FrictionalElasticity(
            domain,
            [tissue.material(), *_bed(operation), self.forces, *self.interfaces.values()],
            dirichlet=_supports(operation), tolerance=tolerance, name="operated",
        )  # fmt: skip
        self._now: Load | None = None
        self.begin()

    def begin(self) -> None:
        """Nothing acts, interferences are not in effect."""
        self.forces.set({})
        self._now = None
        for interface in self.interfaces.values():
            interface.share = 0.0

    def heal(self, stage: Healing) -> None:
        """Take the moduli of a stage, and begin again; collective."""
        healed(self.tissue, self.domain, stage)
        self.problem.restore({key: np.zeros_like(v) for key, v in self.problem.state.items()
                              if not key.endswith("bond")}
                             | {key: np.ones_like(v) for key, v in self.problem.state.items()
                                if key.endswith("bond")})  # fmt: skip
        self.begin()
        self.problem.assemble()

    def steps(self, *, increments: int = 1) -> list[LoadStep]:
        """The press fit if there is any, then each load and its letting go."""
        made = []
        if any(seat.interference for seat in self.operation.seats):
            made.append(press_fit(list(self.interfaces.values()), increments))
        for load in self.operation.loads:
            made += [self._ramp(load, increments), self._release(load)]
        return made

    def go_on(self, done: int) -> None:
        """Set the loads as they are after some of the steps."""
        for step in self.steps()[:done]:
            step.apply(0.0)
            step.apply(1.0)

    def _ramp(self, load: Load, increments: int) -> LoadStep:
        return LoadStep(load.name, lambda share: self._act(load, share), increments)

    def _release(self, load: Load) -> LoadStep:
        name = unloaded_after(load.name)
        return LoadStep(name, lambda share: self._act(load, 1.0 - share))

    def _act(self, load: Load, share: float) -> None:
        self.forces.set({name: share * np.array(force) for name, force in load.forces.items()})
        if share == 0.0 and not self.interfaces:
            # Without friction nothing stays: there are no forces to hold a residual against.
            self.problem.u.x.array[:] = 0.0


def unloaded_after(load: str) -> str:
    """Name of the step that lets a load go."""
    return f"{UNLOADED} after {load}"


class IntactBone:
    """The bone before surgery under the same loads: one matrix, many loads.

    Args:
        domain: The intact mesh.
        operation: What is computed.
        tissue: Moduli.
    """

    def __init__(self, domain: Domain, operation: Operation, tissue: Tissue) -> None:
        self.domain, self.operation = domain, operation
        self.forces = SpreadForces(domain, patches(operation.intact_places))
        self._dot: fem.Form | None = None
        self.problem = LinearElasticity(
            domain, [tissue.material(), *_bed(operation), self.forces],
            dirichlet=_supports(operation), rtol=1e-6, name="intact",
        )  # fmt: skip

    def solve(self, load: Load) -> None:
        """Displacement under a load; collective.

        Raises:
            SolverError: the solver did not converge.
        """
        there = self.operation.intact_places
        self.forces.set({k: np.array(f) for k, f in load.forces.items() if k in there})
        self.problem.solve()

    def guide(self, load: Load) -> Load:
        r"""The load with the forces that let guided places move along their direction alone.

        With the mean displacement ū of a patch that does work on its force, the two directions
        d_k across, and u_k by the force d_k,

        .. math:: \sum_k (d_j \cdot \bar u[u_k]) R_k = -d_j \cdot \bar u[u], \qquad
            F \leftarrow F + \sum_k R_k d_k

        One guided place is known; collective.

        Raises:
            SolverError: the solver did not converge.
        """
        found = dict(load.forces)
        for place, along in self.operation.guided.items():
            if place not in found:
                continue
            across = _across(np.array(along))
            self.solve(load)
            moved = self._work(place, across)
            compliance = np.zeros((2, 2))
            for k, way in enumerate(across):
                self.solve(replace(load, forces={place: _triple(UNIT * way)}))
                compliance[:, k] = self._work(place, across)
            sizes = -np.linalg.solve(compliance, moved)
            found[place] = _triple(np.array(found[place]) + UNIT * sizes @ across)
        return replace(load, forces=found)

    def _work(self, place: str, ways: Floats) -> Floats:
        """Mean displacement (mm) of a place along directions, as work over force."""
        traction, u = self.forces.traction, self.problem.u
        ds = self.domain.ds(*self.forces.surfaces, degree=3)
        if self._dot is None:
            self._dot = compiled(ufl.dot(traction, u) * ds)
        found = []
        for way in ways:
            self.forces.set({place: UNIT * way})
            found.append(integral(self._dot) / UNIT)
        return np.array(found)


def _across(along: Floats) -> Floats:
    """Two unit vectors square to a direction, rows."""
    first = np.eye(3)[int(np.argmin(np.abs(along)))]
    first = first - (first @ along) * along
    first /= np.linalg.norm(first)
    return np.array([first, np.cross(along, first)])


def _triple(force: Floats) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in force)
    return x, y, z
