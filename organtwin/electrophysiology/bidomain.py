"""The bidomain equations, with or without a bath, and the potential outside the cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray
from petsc4py import PETSc
from ufl.core.expr import Expr

from organtwin.electrophysiology.diffusion import Diffusion, Membrane
from organtwin.electrophysiology.reaction_diffusion import (
    Discretisation,
    Reaction,
    ReactionDiffusion,
    TimeSteps,
)
from organtwin.electrophysiology.recorders import Recorder
from organtwin.electrophysiology.stimulus import Drive, Stimulus
from organtwin.mesh.domain import Domain
from organtwin.solve.assembly import matrix, vector

Array = NDArray[np.float64]


class ExtracellularPotential:
    """φₑ from v, up to a constant: its mean over the volume is zero.

        ∇·((σᵢ + σₑ)∇φₑ) = −∇·(σᵢ∇v) in the tissue,   ∇·(σ_b∇φₑ) = 0 in the bath

    with no flux through the outer boundary but the given currents. The multigrid hierarchy is set
    up once and each solve starts from the potential of the last one.

    Args:
        V: Space of the potentials, on tissue and bath.
        sigma_i: Intracellular conductivity tensor (mS/mm).
        sigma_e: Extracellular conductivity tensor (mS/mm).
        dx: Where the tissue is.
        bath: Conductivity of the bath (mS/mm) and where it is; none if omitted.
        currents: Linear form of the currents (µA) that enter from outside; they add up to zero.
        tolerance: Relative residual of a solve.

    Source:
        Tung (1978), PhD thesis, MIT; Sundnes et al. (2006), Computing the Electrical Activity in
        the Heart, Springer.
    """

    def __init__(
        self,
        V: fem.FunctionSpace,
        sigma_i: Expr,
        sigma_e: Expr,
        *,
        dx: ufl.Measure = ufl.dx,
        bath: tuple[Expr, ufl.Measure] | None = None,
        currents: ufl.Form | None = None,
        tolerance: float = 1e-8,
    ) -> None:
        self.phi = fem.Function(V, name="extracellular_potential")
        u, w = ufl.TrialFunction(V), ufl.TestFunction(V)
        whole = ufl.inner((sigma_i + sigma_e) * ufl.grad(u), ufl.grad(w)) * dx
        everywhere = dx
        if bath is not None:
            sigma_b, dx_b = bath
            whole += ufl.inner(sigma_b * ufl.grad(u), ufl.grad(w)) * dx_b
            everywhere = dx + dx_b
        self.K_i = matrix(ufl.inner(sigma_i * ufl.grad(u), ufl.grad(w)) * dx)
        self._currents = None if currents is None else vector(currents)
        self._b = self.K_i.createVecLeft()
        self._share = vector(w * everywhere)
        self._volume = self._share.sum()
        A = matrix(whole)
        self._constants = PETSc.NullSpace().create(constant=True, comm=A.comm)
        A.setNullSpace(self._constants)
        A.setNearNullSpace(self._constants)
        self._ksp = _elliptic(A, tolerance, f"extracellular_{id(self)}_")

    def solve(self, v: fem.Function) -> int:
        """Write φₑ (mV) of the potential v; the iterations, −1 on failure; collective."""
        x = self.phi.x.petsc_vec
        self.K_i.mult(v.x.petsc_vec, self._b)
        self._b.scale(-1.0)
        if self._currents is not None:
            self._b.axpy(1.0, self._currents)
        self._constants.remove(self._b)
        self._ksp.solve(self._b, x)
        x.shift(-x.dot(self._share) / self._volume)
        self.phi.x.scatter_forward()
        return int(self._ksp.getIterationNumber()) if self._ksp.getConvergedReason() > 0 else -1


class BidomainDiffusion:
    """A step of the bidomain equations without their cells, both halves in turn.

        φₑ from v,   (M + θ Δt K) δ = −Δt Kᵢ (v + φₑ),   v ← v + δ

    With K of the monodomain tensor σᵢ(σᵢ + σₑ)⁻¹σₑ this is the θ-method wherever σᵢ and σₑ have
    the same anisotropy, and for every plane wave along an axis of theirs; the change of φₑ over
    the step is in K. φₑ stays as it was before the step: solve again to have that of the new v.

    Args:
        implicit: Steps of v with K.
        extracellular: φₑ from v, and Kᵢ.
        membrane: χ and C_m.
    """

    def __init__(
        self, implicit: Diffusion, extracellular: ExtracellularPotential, membrane: Membrane
    ) -> None:
        self._implicit = implicit
        self.extracellular = extracellular
        self._scale = 1.0 / membrane.capacitance
        self._both = implicit.K.createVecRight()
        self._load = implicit.K.createVecLeft()
        self._own = implicit.K.createVecLeft()

    @property
    def state(self) -> Mapping[str, Array]:
        """φₑ (mV), and what the first guess of v is made of."""
        return {
            "extracellular_potential": self.extracellular.phi.x.array,
            **self._implicit.state,
        }

    def step(self, v: fem.Function, dt: float, load: PETSc.Vec | None = None) -> int:
        """One step of v in place; the iterations, −1 on failure."""
        elliptic = self.extracellular.solve(v)
        if elliptic < 0:
            return -1
        x = v.x.petsc_vec
        self._both.waxpy(1.0, x, self.extracellular.phi.x.petsc_vec)
        self.extracellular.K_i.mult(self._both, self._load)
        # What the step of v itself will subtract.
        self._implicit.K.mult(x, self._own)
        self._load.scale(-dt * self._scale)
        self._load.axpy(dt, self._own)
        if load is not None:
            self._load.axpy(1.0, load)
        parabolic = self._implicit.step(v, dt, self._load)
        return -1 if parabolic < 0 else parabolic + elliptic


def bidomain(
    V: fem.FunctionSpace,
    cells: Reaction,
    sigma_i: Expr,
    sigma_e: Expr,
    stimuli: Sequence[Stimulus] = (),
    *,
    membrane: Membrane = Membrane(),
    scheme: Discretisation = Discretisation(),
    steps: TimeSteps = TimeSteps(),
    dx: ufl.Measure = ufl.dx,
    bath: tuple[Expr, ufl.Measure] | None = None,
    currents: ufl.Form | None = None,
    drives: Sequence[Drive] = (),
    recorders: Sequence[Recorder] = (),
    domain: Domain | None = None,
    tolerance: float = 1e-6,
) -> ReactionDiffusion:
    """χ (C_m ∂v/∂t + I_ion(v, y)) = ∇·(σᵢ∇(v + φₑ)) + I_stim, with φₑ of `ExtracellularPotential`.

    Without a bath and with θ = 1/2 the step is stable for (r − 1) Δt λ < 2, where λ is the largest
    eigenvalue of the monodomain's diffusion and r − 1 what unequal anisotropy adds to it: 0.03
    with the conductivities of Niederer et al. (2011), so that 0.4 ms pass on 0.15 mm.

    Args:
        V: Space of both potentials, on tissue and bath.
        cells: Cell models; nodes of the bath have none.
        sigma_i: Intracellular conductivity tensor (mS/mm).
        sigma_e: Extracellular conductivity tensor (mS/mm).
        stimuli: Transmembrane currents from outside.
        membrane: χ and C_m.
        scheme: Discretisation.
        steps: Time steps.
        dx: Where the tissue is.
        bath: Conductivity of the bath (mS/mm) and where it is.
        currents: Linear form of extracellular currents (µA), with sum zero.
        drives: Further things that depolarise cells.
        recorders: Called after each electrical step.
        domain: Mesh with names, to tell in which region something goes wrong.
        tolerance: Relative residual of φₑ.

    Source:
        Pathmanathan & Gray (2014), Int. J. Numer. Meth. Biomed. Eng. 30:525–544.
    """
    extracellular = ExtracellularPotential(
        V, sigma_i, sigma_e, dx=dx, bath=bath, currents=currents, tolerance=tolerance
    )
    # A bath shunts the extracellular space: only σᵢ is an upper bound then.
    implicit = Diffusion(
        V, _parallel(sigma_i, sigma_e) if bath is None else sigma_i, membrane,
        mass=scheme.mass, theta=scheme.theta, dx=dx, tolerance=scheme.tolerance,
    )  # fmt: skip
    tissue = ReactionDiffusion(
        V, cells, BidomainDiffusion(implicit, extracellular, membrane), membrane, stimuli,
        scheme=scheme, steps=steps, drives=drives, recorders=recorders, domain=domain,
    )  # fmt: skip
    extracellular.solve(tissue.v)
    return tissue


def _parallel(sigma_i: Expr, sigma_e: Expr) -> Expr:
    """σᵢ (σᵢ + σₑ)⁻¹ σₑ, without the rounding that makes it unsymmetric."""
    product = ufl.dot(sigma_i, ufl.dot(ufl.inv(sigma_i + sigma_e), sigma_e))
    return ufl.sym(product)


def _elliptic(A: PETSc.Mat, tolerance: float, prefix: str) -> PETSc.KSP:
    ksp = PETSc.KSP().create(A.comm)
    ksp.setOptionsPrefix(prefix)
    ksp.setOperators(A)
    ksp.setType("cg")
    ksp.getPC().setType("gamg")
    ksp.setInitialGuessNonzero(True)
    ksp.setTolerances(rtol=tolerance, atol=1e-14, max_it=500)
    ksp.setFromOptions()
    return ksp
