"""The bidomain equations, with or without a bath, and the potential outside the cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray
from petsc4py import PETSc
from ufl.core.expr import Expr

from organtwin.electrophysiology.diffusion import Diffusion, Membrane, check_conductivity
from organtwin.electrophysiology.reaction_diffusion import (
    Discretisation,
    Reaction,
    ReactionDiffusion,
    TimeSteps,
)
from organtwin.electrophysiology.recorders import Recorder
from organtwin.electrophysiology.stimulus import Drive, Stimulus
from organtwin.mesh.domain import Domain
from organtwin.solve.assembly import integral, matrix, vector

Array = NDArray[np.float64]


#: Solves for φₑ, and with it of v, in a step of the diffusion: a predictor and a corrector.
SWEEPS = 2


class ExtracellularPotential:
    """φₑ from v, up to a constant: its mean over the volume is zero.

        ∇·((σᵢ + σₑ)∇φₑ) = −∇·(σᵢ∇v) in the tissue,   ∇·(σ_b∇φₑ) = 0 in the bath

    with no flux through the outer boundary but the given currents. The multigrid hierarchy is set
    up once. Each solve starts from the potential of the last one less (1 − a) of the change of v
    since, a = tr σₑ / tr(σᵢ + σₑ) of the mean conductivities: exact where σₑ ∝ σᵢ. With a bath
    a = 1.

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
        check_conductivity(V.mesh, sigma_i, dx, "intracellular conductivity")
        check_conductivity(V.mesh, sigma_e, dx, "extracellular conductivity")
        self.phi = fem.Function(V, name="extracellular_potential")
        u, w = ufl.TrialFunction(V), ufl.TestFunction(V)
        whole = ufl.inner((sigma_i + sigma_e) * ufl.grad(u), ufl.grad(w)) * dx
        everywhere = dx
        if bath is not None:
            sigma_b, dx_b = bath
            check_conductivity(V.mesh, sigma_b, dx_b, "conductivity of the bath")
            whole += ufl.inner(sigma_b * ufl.grad(u), ufl.grad(w)) * dx_b
            everywhere = dx + dx_b
        #: a.
        self.share = 1.0 if bath is not None else _share(V, sigma_i, sigma_e, dx)
        self.K_i = matrix(ufl.inner(sigma_i * ufl.grad(u), ufl.grad(w)) * dx)
        self._currents = None if currents is None else vector(currents)
        self._b = self.K_i.createVecLeft()
        self._v = self.K_i.createVecRight()  # that φ belongs to
        self._share = vector(w * everywhere)
        self._volume = self._share.sum()
        A = matrix(whole)
        self._constants = PETSc.NullSpace().create(constant=True, comm=A.comm)
        A.setNullSpace(self._constants)
        A.setNearNullSpace(self._constants)
        self._ksp = _elliptic(A, tolerance, f"extracellular_{id(self)}_")

    @property
    def state(self) -> Mapping[str, Array]:
        """φₑ (mV) and the v it belongs to, which the next solve starts from."""
        return {
            "extracellular_potential": self.phi.x.array,
            "extracellular_potential_of": self._v.array,
        }

    def solve(self, v: fem.Function) -> int:
        """Write φₑ (mV) of v; the iterations, −1 on failure, which leaves zero; collective."""
        x = self.phi.x.petsc_vec
        x.axpy(1.0 - self.share, self._v)
        v.x.petsc_vec.copy(self._v)
        x.axpy(self.share - 1.0, self._v)
        self.K_i.mult(self._v, self._b)
        self._b.scale(-1.0)
        if self._currents is not None:
            self._b.axpy(1.0, self._currents)
        self._constants.remove(self._b)
        self._ksp.solve(self._b, x)
        if self._ksp.getConvergedReason() <= 0:
            self.phi.x.array[:] = 0.0
            self._v.set(0.0)
            return -1
        x.shift(-x.dot(self._share) / self._volume)
        self.phi.x.scatter_forward()
        return int(self._ksp.getIterationNumber())


class BidomainDiffusion:
    """A step of the bidomain equations without their cells: the θ-method, by two sweeps.

    With A v = Kᵢ (v + φₑ(v)) / (χ C_m) and S of the tensor `bound`, as matrices,

        (M + θ Δt S) δ₁ = −Δt A v + b,   (M + θ Δt S) δ₂ = θ Δt (S − A) δ₁,   v ← v + δ₁ + δ₂

    with the load b, and A δ₁ short for A (v + δ₁) − A v, free of currents from outside. Sweeps
    δₖ₊₁ from δₖ add up to the θ-method of A, as θ Δt (M + θ Δt S)⁻¹(S − A) contracts: it is of
    order Δt. The first misses the θ-method by O(Δt²) a step, so θ = 1/2 would leave order one;
    the second by O(Δt³), the error of the θ-method itself. Where σₑ ∝ σᵢ and there is no bath,
    S = A: then φₑ is known without iterations, and δ₂ is nil.

    Stability: without a load δ₁ + δ₂ = −Δt B A v with 0 < B ≤ (M + θ Δt A)⁻¹, as A ≤ S, so that no
    mode grows for θ ≥ 1/2, whatever Δt.

    φₑ afterwards belongs to v + δ₁, which is v without the last correction and before the cells'
    next turn. Solve again to have that of another v.

    Args:
        implicit: Steps of v with S.
        extracellular: φₑ from v, and Kᵢ.
        membrane: χ and C_m.
        theta: θ of ``implicit``.

    Source:
        The equations are Tung's (see `ExtracellularPotential`); the sweeps are derived here.
    """

    def __init__(
        self,
        implicit: Diffusion,
        extracellular: ExtracellularPotential,
        membrane: Membrane,
        *,
        theta: float = 0.5,
    ) -> None:
        self._implicit = implicit
        self.extracellular = extracellular
        self._scale = 1.0 / membrane.capacitance
        self._theta = theta
        self._both, self._before = (implicit.K.createVecRight() for _ in range(2))
        self._load, self._own = (implicit.K.createVecLeft() for _ in range(2))

    @property
    def state(self) -> Mapping[str, Array]:
        """φₑ (mV) and its v, and what the first guess of v is made of."""
        return {**self.extracellular.state, **self._implicit.state}

    def step(self, v: fem.Function, dt: float, load: PETSc.Vec | None = None) -> int:
        """One step of v in place; the iterations, −1 on failure."""
        iterations = [self._predict(v, dt, load)]
        for _ in range(SWEEPS - 1):
            if iterations[-1] >= 0:
                iterations.append(self._correct(v, dt))
        return -1 if iterations[-1] < 0 else sum(iterations)

    def _predict(self, v: fem.Function, dt: float, load: PETSc.Vec | None) -> int:
        """Add δ₁ to v."""
        elliptic = self.extracellular.solve(v)
        if elliptic < 0:
            return -1
        x = v.x.petsc_vec
        self._both.waxpy(1.0, x, self.extracellular.phi.x.petsc_vec)
        x.copy(self._before)
        self.extracellular.K_i.mult(self._both, self._load)
        self._load.scale(-dt * self._scale)
        if load is not None:
            self._load.axpy(1.0, load)
        parabolic = self._solve(v, dt)
        return -1 if parabolic < 0 else parabolic + elliptic

    def _correct(self, v: fem.Function, dt: float) -> int:
        """Add δₖ₊₁ to v, which δₖ has just been added to."""
        elliptic = self.extracellular.solve(v)
        if elliptic < 0:
            return -1
        x = v.x.petsc_vec
        # δₖ + φₑ(v + δₖ) − φₑ(v), from the sums of both potentials.
        self._both.aypx(-1.0, x)
        self._both.axpy(1.0, self.extracellular.phi.x.petsc_vec)
        self.extracellular.K_i.mult(self._both, self._load)
        self._before.aypx(-1.0, x)
        self._implicit.K.mult(self._before, self._own)
        self._load.axpby(self._theta * dt, -self._theta * dt * self._scale, self._own)
        x.copy(self._before)
        self._both.waxpy(1.0, x, self.extracellular.phi.x.petsc_vec)
        with self._no_guess():
            parabolic = self._solve(v, dt)
        return -1 if parabolic < 0 else parabolic + elliptic

    def _solve(self, v: fem.Function, dt: float) -> int:
        """Add (M + θ Δt S)⁻¹ of the load to v."""
        # What the step of v itself will subtract.
        self._implicit.K.mult(v.x.petsc_vec, self._own)
        self._load.axpy(dt, self._own)
        return self._implicit.step(v, dt, self._load)

    @contextmanager
    def _no_guess(self) -> Iterator[None]:
        """Corrections start from zero and leave the first guess of the predictor alone."""
        kept = {name: values.copy() for name, values in self._implicit.state.items()}
        for values in self._implicit.state.values():
            values[:] = 0.0
        yield
        for name, values in self._implicit.state.items():
            values[:] = kept[name]


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

    The diffusion is a θ-method of both equations (`BidomainDiffusion`): of order two in time for
    θ = 1/2, stable for any Δt, with and without a bath, however unlike the anisotropies are.

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
    implicit = Diffusion(
        V, bound(sigma_i, sigma_e, extracellular.share), membrane,
        mass=scheme.mass, theta=scheme.theta, dx=dx, tolerance=scheme.tolerance,
    )  # fmt: skip
    spread = BidomainDiffusion(implicit, extracellular, membrane, theta=scheme.theta)
    tissue = ReactionDiffusion(
        V, cells, spread, membrane, stimuli,
        scheme=scheme, steps=steps, drives=drives, recorders=recorders, domain=domain,
        dx=dx,
    )  # fmt: skip
    extracellular.solve(tissue.v)
    return tissue


def bound(sigma_i: Expr, sigma_e: Expr, share: float) -> Expr:
    """S = a² σᵢ + (1 − a)² σₑ, which diffuses v no slower than the bidomain does.

    The bidomain's energy is the least that any φ makes of

        ∫ ∇(v + φ)·σᵢ∇(v + φ) + ∇φ·σₑ∇φ dx  (+ ∫ ∇φ·σ_b∇φ dx in the bath)

    and φ = −(1 − a) v makes ∫ ∇v·S∇v dx of it, for any constant a without a bath, for a = 1 with
    one. With a = tr σₑ / tr(σᵢ + σₑ) this is the monodomain's σᵢ(σᵢ + σₑ)⁻¹σₑ where σₑ ∝ σᵢ.
    That tensor itself is no such bound: it is too small off the axes of unlike anisotropies.
    """
    return share**2 * sigma_i + (1.0 - share) ** 2 * sigma_e


def _share(V: fem.FunctionSpace, sigma_i: Expr, sigma_e: Expr, dx: ufl.Measure) -> float:
    """Share tr σₑ / tr(σᵢ + σₑ), both integrated over the tissue; collective."""
    # Conductivities may be mere numbers, that know no mesh.
    one = fem.Constant(V.mesh, 1.0)
    inside, outside = (integral(one * ufl.tr(sigma) * dx) for sigma in (sigma_i, sigma_e))
    return float(outside / (inside + outside))


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
