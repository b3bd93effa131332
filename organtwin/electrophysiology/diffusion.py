"""Diffusion of the potential: matrices assembled once, steps without assembly or allocation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.fem import petsc as fem_petsc
from numpy.typing import NDArray
from petsc4py import PETSc
from ufl.core.expr import Expr

from organtwin.errors import InputError
from organtwin.parallel import agree
from organtwin.solve.assembly import compiled, matrix, vector

#: Relative error of an eigenvalue that is zero.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Membrane:
    """Surface-to-volume ratio and capacitance.

    Attributes:
        chi: Membrane area per volume χ (1/mm), > 0.
        C_m: Capacitance per area (µF/mm²), > 0.
    """

    chi: float = 140.0
    C_m: float = 0.01

    def __post_init__(self) -> None:
        if not (0 < self.chi < np.inf and 0 < self.C_m < np.inf):
            raise InputError(
                "Membrane", f"χ = {self.chi}, C_m = {self.C_m}.", "Both must be > 0 and finite."
            )

    @property
    def capacitance(self) -> float:
        """χ C_m, per volume of tissue (µF/mm³)."""
        return self.chi * self.C_m


class Mass(StrEnum):
    """Mass matrix of the time derivative."""

    CONSISTENT = "consistent"
    LUMPED = "lumped"
    #: Mean of both. Their leading errors, ±D h²/12 ∂⁴v in one dimension, cancel.
    BLENDED = "blended"


#: Share of the lumped matrix in each.
LUMPED_SHARE = {Mass.CONSISTENT: 0.0, Mass.BLENDED: 0.5, Mass.LUMPED: 1.0}


class Diffusion:
    """Steps of ∂v/∂t = ∇·(σ∇v)/(χ C_m) by the θ-method, in the change δ of v.

        (M + θ Δt K) δ = −Δt K v + b

    The first guess is extrapolated from δ of the last two steps, so that a wave in steady motion
    costs few iterations. One matrix is kept for each Δt in use.

    Args:
        V: Space of the potential.
        sigma: Conductivity tensor (mS/mm).
        membrane: χ and C_m.
        mass: M; only linear elements can be lumped.
        theta: 1 implicit Euler, 1/2 Crank–Nicolson.
        dx: Where the tissue is; nodes outside keep their potential.
        tolerance: Root mean square of the algebraic error of a step (mV).

    Raises:
        InputError: lumped mass with other than linear elements, θ outside of [1/2, 1], or a
            conductivity that is not finite or has a negative eigenvalue.
    """

    def __init__(
        self,
        V: fem.FunctionSpace,
        sigma: Expr,
        membrane: Membrane,
        *,
        mass: Mass = Mass.CONSISTENT,
        theta: float = 1.0,
        dx: ufl.Measure = ufl.dx,
        tolerance: float = 1e-4,
    ) -> None:
        if mass is not Mass.CONSISTENT and V.element.basix_element.degree != 1:
            raise InputError(
                "electrophysiology",
                f"{mass} mass with elements of degree {V.element.basix_element.degree}.",
                "Use the consistent mass, or linear elements.",
            )
        if not 0.5 <= theta <= 1:
            raise InputError("electrophysiology", f"θ = {theta:g}.", "Choose it between 0.5 and 1.")
        check_conductivity(V.mesh, sigma, dx)
        v, w = ufl.TrialFunction(V), ufl.TestFunction(V)
        # Nodes outside of the tissue need a place in the matrices too.
        outside = fem.Constant(V.mesh, 0.0) * ufl.inner(v, w) * ufl.dx
        everywhere = 0 * outside if dx.subdomain_id() == "everywhere" else outside
        capacitance = fem.Constant(V.mesh, membrane.capacitance)

        def stiffness(tensor: Expr) -> ufl.Form:
            return ufl.inner(tensor * ufl.grad(v), ufl.grad(w)) / capacitance * dx + everywhere

        self._mesh, self._stiffness, self._sigma = V.mesh, stiffness, sigma
        self.K = matrix(stiffness(sigma))
        self.M = _mass(ufl.inner(v, w) * dx + everywhere, mass)
        self._fix_nodes_outside()
        self._theta = theta
        self._b = self.K.createVecLeft()
        self._delta, self._before = self.K.createVecRight(), self.K.createVecRight()
        self._dt = np.zeros(1)  # of the last step (ms)
        self._atol = tolerance * V.dofmap.index_map.size_global**0.5
        self._solvers: dict[float, PETSc.KSP] = {}
        self._deformed: _Deformed | None = None

    @property
    def state(self) -> Mapping[str, NDArray[np.float64]]:
        """What the first guess is made of; a step depends on it by its algebraic error."""
        return {
            "increment": self._delta.array,
            "increment_before": self._before.array,
            "increment_dt": self._dt,
            **(self._deformed.state if self._deformed else {}),
        }

    def follow_deformation(self) -> None:
        """From now on spread through a body that moves, at first one at rest; collective.

            ∂v/∂t = ∇·(J F⁻¹ R σ Rᵀ F⁻ᵀ ∇v)/(χ C_m) = ∇·(J U⁻¹ σ U⁻¹ ∇v)/(χ C_m),     F = R U

        The conductivity turns with the tissue, so that a rigid motion changes nothing.
        """
        self._deformed = _Deformed(self._mesh, self.K, self._stiffness, self._sigma)

    @property
    def deformation(self) -> NDArray[np.float64]:
        """F in the owned cells, shape (cells, 3, 3)."""
        return self._moving.values

    def deform(self, F: NDArray[np.float64]) -> None:
        """Take the deformation of the owned cells (cells, 3, 3) over; collective."""
        self._moving.take(F)
        self._forget_solvers()

    def step(self, v: fem.Function, dt: float, load: PETSc.Vec | None = None) -> int:
        """One step of v in place, ``load`` (mV × volume) added; the iterations, −1 on failure."""
        if self._deformed is not None and self._deformed.refresh():
            self._forget_solvers()
        key = round(dt, 9)
        if key not in self._solvers:
            self._solvers[key] = self._solver(dt)
        ksp = self._solvers[key]
        x = v.x.petsc_vec
        self.K.mult(x, self._b)
        self._b.scale(-dt)
        if load is not None:
            self._b.axpy(1.0, load)
        self._guess(key)
        ksp.solve(self._b, self._delta)
        if ksp.getConvergedReason() <= 0:
            self._delta.set(0.0)
            self._before.set(0.0)
            return -1
        x.axpy(1.0, self._delta)
        v.x.scatter_forward()
        return int(ksp.getIterationNumber())

    @property
    def _moving(self) -> _Deformed:
        if self._deformed is None:
            raise InputError(
                "Diffusion", "the body does not move.", "Call `follow_deformation` first."
            )
        return self._deformed

    def _forget_solvers(self) -> None:
        for ksp in self._solvers.values():
            ksp.getOperators()[0].destroy()
            ksp.destroy()
        self._solvers.clear()

    def _guess(self, dt: float) -> None:
        """Extrapolate δ linearly, as a rate where the length of the step changes."""
        if self._dt[0] not in (0.0, dt):
            self._delta.scale(dt / self._dt[0])
            self._before.scale(dt / self._dt[0])
        self._dt[0] = dt
        self._before.axpby(2.0, -1.0, self._delta)
        self._delta, self._before = self._before, self._delta

    def _fix_nodes_outside(self) -> None:
        """Identity in the rows of nodes without tissue, where K and M are empty."""
        diagonal = self.M.getDiagonal()
        outside = diagonal.array == 0
        diagonal.array[outside] = 1.0
        if self.M.comm.tompi4py().allreduce(int(outside.sum())):
            self.M.setDiagonal(diagonal)
            self.M.assemble()

    def _solver(self, dt: float) -> PETSc.KSP:
        A = self.M.copy()
        A.axpy(self._theta * dt, self.K, PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
        ksp = PETSc.KSP().create(A.comm)
        ksp.setOptionsPrefix(f"monodomain_{id(self)}_")
        ksp.setOperators(A)
        ksp.setType("cg")
        ksp.getPC().setType("jacobi")
        ksp.setInitialGuessNonzero(True)
        # The diagonal of A scales a residual to potentials (mV).
        ksp.setNormType(PETSc.KSP.NormType.PRECONDITIONED)
        # At rest b is rounding, and a guess from before may be any multiple of it off.
        ksp.setTolerances(rtol=1e-12, atol=self._atol, divtol=1e50, max_it=500)
        ksp.setFromOptions()
        return ksp


class _Deformed:
    """A stiffness matrix K of the deformed body.

    The state tells which deformation K belongs to; whoever writes another one back finds K
    assembled for it in the next step.
    """

    def __init__(
        self,
        msh: mesh.Mesh,
        K: PETSc.Mat,
        stiffness: Callable[[Expr], ufl.Form],
        sigma: Expr,
    ) -> None:
        self._K = K
        space = fem.functionspace(msh, ("DG", 0, (3, 3)))
        self._F = F = fem.Function(space)
        F.x.array.reshape(-1, 9)[:] = np.eye(3).ravel()
        self._cells = space.dofmap.list[: msh.topology.index_map(3).size_local, 0]
        tensor = ufl.as_ufl(sigma)
        tensor = tensor if tensor.ufl_shape else tensor * ufl.Identity(3)
        self._factor = G = fem.Function(space)
        self._form = compiled(stiffness(G * tensor * G))
        self._number, self._assembled = np.zeros(1), 0.0

    @property
    def state(self) -> Mapping[str, NDArray[np.float64]]:
        """F and its number."""
        return {"deformation": self._F.x.array, "deformation_number": self._number}

    @property
    def values(self) -> NDArray[np.float64]:
        """F in the owned cells."""
        return np.asarray(self._F.x.array.reshape(-1, 3, 3)[self._cells])

    def take(self, F: NDArray[np.float64]) -> None:
        """Assemble K for F."""
        self._F.x.array.reshape(-1, 3, 3)[self._cells] = F
        self._number += 1
        self._assemble()

    def refresh(self) -> bool:
        """Assemble K if the state has been written back; whether it had."""
        if self._number[0] == self._assembled:
            return False
        self._assemble()
        return True

    def _assemble(self) -> None:
        self._factor.x.array.reshape(-1, 3, 3)[self._cells] = _pulled(self.values)
        self._K.zeroEntries()
        fem_petsc.assemble_matrix(self._K, self._form)
        self._K.assemble()
        self._assembled = float(self._number[0])


def _pulled(F: NDArray[np.float64]) -> NDArray[np.float64]:
    """G = √J U⁻¹ of F = R U, shape (n, 3, 3) each: the pulled-back conductivity is G σ G."""
    squares, axes = np.linalg.eigh(F.transpose(0, 2, 1) @ F)
    scale = squares.prod(axis=1)[:, None] ** 0.25 / np.sqrt(squares)
    return np.asarray((axes * scale[:, None]) @ axes.transpose(0, 2, 1))


def check_conductivity(
    msh: mesh.Mesh, sigma: Expr, dx: ufl.Measure = ufl.dx, name: str = "conductivity"
) -> None:
    """Refuse a tensor whose mean over some cell is not finite or has a negative eigenvalue.

    Args:
        msh: Mesh.
        sigma: Tensor (mS/mm), or a scalar.
        dx: Where it has to hold.
        name: What the message calls it.

    Raises:
        InputError: there is such a cell. Collective.
    """
    tensor = ufl.as_ufl(sigma)
    tensor = tensor if tensor.ufl_shape else tensor * ufl.Identity(msh.geometry.dim)
    W = fem.functionspace(msh, ("DG", 0, tensor.ufl_shape))
    means = vector(ufl.inner(tensor, ufl.TestFunction(W)) * dx).array.reshape(-1, *W.value_shape)
    finite = np.isfinite(means).all(axis=(1, 2))
    means[~finite] = np.nan_to_num(means[~finite], nan=0.0, posinf=0.0, neginf=0.0)
    least = np.linalg.eigvalsh((means + means.transpose(0, 2, 1)) / 2).min(axis=1)
    positive = least >= -_ROUNDING * np.abs(means).max(axis=(1, 2))
    wrong = np.flatnonzero(~(finite & positive))
    error = None
    if len(wrong):
        place = msh.geometry.x[msh.geometry.dofmaps[0][wrong[0]]].mean(axis=0)
        problem = "has a negative eigenvalue" if finite[wrong[0]] else "is not finite"
        error = InputError(
            name,
            f"the tensor {problem} in the cell at {np.round(place, 3).tolist()} mm.",
            "Check the conductivities (≥ 0) and the directions that it is made of.",
        )
    agree(msh.comm, error)


def _mass(form: ufl.Form, mass: Mass) -> PETSc.Mat:
    M = matrix(form)
    if mass is Mass.CONSISTENT:
        return M
    rows, ones = M.createVecLeft(), M.createVecRight()
    ones.set(1.0)
    M.mult(ones, rows)
    share = LUMPED_SHARE[mass]
    M.scale(1.0 - share)
    rows.scale(share)
    M.setDiagonal(rows, addv=PETSc.InsertMode.ADD_VALUES)
    M.assemble()
    return M
