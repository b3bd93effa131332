"""Potentials in a body of several tissues: lead fields, and the direct solution."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray
from petsc4py import PETSc
from ufl.core.expr import Expr

from organtwin.electrophysiology.probes import located
from organtwin.errors import InputError, SolverError, suggestion
from organtwin.mesh.domain import Domain
from organtwin.solve.assembly import matrix, vector

Array = NDArray[np.float64]

#: Distance (mm) of an electrode from the mesh at which it is moved onto it.
OFF_THE_SKIN = 10.0


class VolumeConductor:
    """A body that the heart's currents flow through, without flux through its boundary.

        −∇·(σ∇φ) = ∇·(σᵢ∇v),   σ = σᵢ + σₑ in the tissue;   ∫ φ dx = 0

    Args:
        V: Space of the potentials on the whole body.
        domain: Its mesh; regions tell the tissues apart.
        bulk: Conductivity σ (mS/mm) of every region: a number, or a tensor in UFL.
        intracellular: Conductivity σᵢ (mS/mm) of the regions that have active cells.
        tolerance: Relative residual of a solve.

    Raises:
        InputError: a region is not known, has no conductivity, or one that is not positive.

    Source:
        Sundnes et al. (2006), Computing the Electrical Activity in the Heart, Springer.
    """

    def __init__(
        self,
        V: fem.FunctionSpace,
        domain: Domain,
        bulk: Mapping[str, float | Expr],
        intracellular: Mapping[str, float | Expr],
        *,
        tolerance: float = 1e-10,
    ) -> None:
        _check_regions(domain, bulk, intracellular)
        self.V = V
        self._K_i = matrix(_stiffness(V, domain, intracellular))
        self._share = vector(ufl.TestFunction(V) * domain.dx())
        self._volume = self._share.sum()
        self._ksp = _solver(matrix(_stiffness(V, domain, bulk)), tolerance, f"torso_{id(self)}_")
        self._phi = fem.Function(V, name="potential")

    def potential(self, v: fem.Function) -> fem.Function:
        """φ (mV) of the transmembrane potential v, mean zero; overwritten by the next call.

        Raises:
            SolverError: the solver does not converge.
        """
        load = self._K_i.createVecLeft()
        self._K_i.mult(v.x.petsc_vec, load)
        load.scale(-1.0)
        self._solve(load, self._phi)
        return self._phi

    def field(self, load: PETSc.Vec, name: str) -> fem.Function:
        """Z of −∇·(σ∇Z) = load − mean (1/µA per unit current), for a load of total one.

        Raises:
            SolverError: the solver does not converge.
        """
        load.axpy(-1.0 / self._volume, self._share)
        Z = fem.Function(self.V, name=name)
        self._solve(load, Z)
        return Z

    def source(self, Z: fem.Function) -> PETSc.Vec:
        """The vector −∫ σᵢ∇w·∇Z dx over test functions w."""
        b = self._K_i.createVecLeft()
        self._K_i.mult(Z.x.petsc_vec, b)
        b.scale(-1.0)
        return b

    def _solve(self, b: PETSc.Vec, u: fem.Function) -> None:
        x = u.x.petsc_vec
        self._ksp.getOperators()[0].getNullSpace().remove(b)
        self._ksp.solve(b, x)
        reason = self._ksp.getConvergedReason()
        if reason < 0:
            raise SolverError(
                "volume conductor",
                f"conjugate gradients stopped after {self._ksp.getIterationNumber()} iterations "
                f"(PETSc's reason {reason}).",
                "Look for flat cells in the mesh, or loosen the tolerance.",
            )
        x.shift(-x.dot(self._share) / self._volume)
        u.x.scatter_forward()


class LeadField:
    """Potentials at electrodes on or in a body, by reciprocity.

        −∇·(σ∇Z) = δ(x_e) − 1/|Ω|,   φ(x_e) = −∫ σᵢ∇v · ∇Z dx

    The current of the electrode leaves the body evenly, so φ is the potential against its mean
    over the body, as `VolumeConductor.potential` gives it; in a lead that reference cancels. One
    solve per electrode, then a dot product per evaluation. Both ways use the same matrices:
    they agree up to the solver's tolerance. Electrodes are points, with the interpolation weights
    of the element as source.

    Args:
        conductor: The body.
        electrodes: Points by name (mm).
        off_the_skin: Distance (mm) from the body at which an electrode is still moved onto it.

    Raises:
        InputError: an electrode is further off. Collective.
        SolverError: the solver does not converge.

    Source:
        McFee & Johnston (1953), Circulation 8:554–568, for lead fields.
    """

    def __init__(
        self,
        conductor: VolumeConductor,
        electrodes: Mapping[str, Array],
        *,
        off_the_skin: float = OFF_THE_SKIN,
    ) -> None:
        loads = _point_loads(conductor.V, electrodes, off_the_skin)
        #: Z of each electrode (mV per µA).
        self.fields = {name: conductor.field(load, name) for name, load in loads.items()}
        self._vectors = {name: conductor.source(Z) for name, Z in self.fields.items()}

    def __call__(self, v: fem.Function) -> dict[str, float]:
        """Potential (mV) at each electrode, up to a constant of all; collective."""
        return {name: float(b.dot(v.x.petsc_vec)) for name, b in self._vectors.items()}


class HeartLeads:
    """The same potentials from v on a mesh of the heart alone, finer than the body's.

        φ(x_e) = −∫ σᵢ∇v · ∇(ΠZ) dx    with ΠZ the body's Z at the nodes of the heart's mesh

    Args:
        V: Space of v on the heart's mesh, which lies within the body's.
        sigma_i: Intracellular conductivity (mS/mm) on it.
        leads: Lead fields on the body.
        dx: Where the tissue is.

    Raises:
        InputError: the heart's mesh is not within the body's. Collective.
    """

    def __init__(
        self,
        V: fem.FunctionSpace,
        sigma_i: Expr,
        leads: LeadField,
        *,
        dx: ufl.Measure = ufl.dx,
    ) -> None:
        u, w = ufl.TrialFunction(V), ufl.TestFunction(V)
        K = matrix(ufl.inner(sigma_i * ufl.grad(u), ufl.grad(w)) * dx)
        self._vectors = {}
        for name, Z in _moved(V, leads.fields).items():
            self._vectors[name] = K.createVecLeft()
            K.mult(Z.x.petsc_vec, self._vectors[name])
            self._vectors[name].scale(-1.0)

    def __call__(self, v: fem.Function) -> dict[str, float]:
        """Potential (mV) at each electrode, up to a constant of all; collective."""
        return {name: float(b.dot(v.x.petsc_vec)) for name, b in self._vectors.items()}


def at_electrodes(
    phi: fem.Function, electrodes: Mapping[str, Array], *, off_the_skin: float = OFF_THE_SKIN
) -> dict[str, float]:
    """Values of a potential at electrodes, moved onto the mesh as for `LeadField`; collective.

    Raises:
        InputError: an electrode is too far off the mesh.
    """
    loads = _point_loads(phi.function_space, electrodes, off_the_skin)
    return {name: float(load.dot(phi.x.petsc_vec)) for name, load in loads.items()}


def _stiffness(V: fem.FunctionSpace, domain: Domain, sigma: Mapping[str, float | Expr]) -> ufl.Form:
    u, w = ufl.TrialFunction(V), ufl.TestFunction(V)
    return sum(
        ufl.inner(_tensor(V, s) * ufl.grad(u), ufl.grad(w)) * domain.dx(region)
        for region, s in sigma.items()
    )


def _tensor(V: fem.FunctionSpace, sigma: float | Expr) -> Expr:
    return sigma if isinstance(sigma, Expr) else fem.Constant(V.mesh, float(sigma))


def _point_loads(
    V: fem.FunctionSpace, electrodes: Mapping[str, Array], off_the_skin: float
) -> dict[str, PETSc.Vec]:
    """A unit source at each electrode, spread over the nodes of the cell it lies in."""
    try:
        mine, dofs, weights = located(V, electrodes, off_the_skin)
    except InputError as error:
        place = error.place.replace("probe", "electrode")
        raise InputError(place, error.problem, "Move it onto the body.") from None
    rows = {int(k): row for row, k in enumerate(mine)}
    loads = {}
    for k, name in enumerate(electrodes):
        load = fem.Function(V)
        if k in rows:
            load.x.array[dofs[rows[k]]] = weights[rows[k]]
        b = load.x.petsc_vec
        b.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
        loads[name] = b.copy()
    return loads


def _moved(V: fem.FunctionSpace, fields: Mapping[str, fem.Function]) -> dict[str, fem.Function]:
    """Fields at the nodes of another mesh within theirs."""
    index_map = V.mesh.topology.index_map(3)
    cells = np.arange(index_map.size_local + index_map.num_ghosts, dtype=np.int32)
    # Where the other mesh has no cell the values stay zero; of a constant that can be seen.
    one = fem.Function(next(iter(fields.values())).function_space)
    one.x.array[:] = 1.0
    data = fem.create_interpolation_data(V, one.function_space, cells, padding=1e-6)

    def moved(field: fem.Function) -> fem.Function:
        result = fem.Function(V, name=field.name)
        result.interpolate_nonmatching(field, cells, interpolation_data=data)
        result.x.scatter_forward()
        return result

    lost = int(np.count_nonzero(moved(one).x.array < 0.99))
    if V.mesh.comm.allreduce(lost) > 0:
        raise InputError(
            "lead field",
            "the heart's mesh is not within the body's.",
            "Check that both have the same axes and units.",
        )
    return {name: moved(field) for name, field in fields.items()}


def _check_regions(
    domain: Domain,
    bulk: Mapping[str, float | Expr],
    intracellular: Mapping[str, float | Expr],
) -> None:
    for region in (*bulk, *intracellular):
        if region not in domain.regions:
            raise InputError(
                "volume conductor", f"no region `{region}`.", suggestion(region, domain.regions)
            )
    bare = [region for region in domain.regions if region not in bulk]
    if bare or not intracellular:
        what = f"region `{bare[0]}`" if bare else "no region"
        raise InputError(
            "volume conductor",
            f"{what} has a conductivity." if not bare else f"{what} has no conductivity.",
            "Give σ of every region and σᵢ of those with active cells.",
        )
    for region, sigma in (*bulk.items(), *intracellular.items()):
        if not isinstance(sigma, Expr) and not sigma > 0:
            raise InputError(
                "volume conductor", f"{sigma:g} mS/mm in region `{region}`.", "It must be > 0."
            )


def _solver(A: PETSc.Mat, tolerance: float, prefix: str) -> PETSc.KSP:
    constants = PETSc.NullSpace().create(constant=True, comm=A.comm)
    A.setNullSpace(constants)
    A.setNearNullSpace(constants)
    ksp = PETSc.KSP().create(A.comm)
    ksp.setOptionsPrefix(prefix)
    ksp.setOperators(A)
    ksp.setType("cg")
    ksp.getPC().setType("gamg")
    ksp.setTolerances(rtol=tolerance, atol=0.0, max_it=1000)
    ksp.setFromOptions()
    return ksp
