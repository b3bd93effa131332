"""Verification problems of the monodomain solver."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.electrophysiology.conductivity import conduction_velocity, structured_bar
from organtwin.electrophysiology.monodomain import Membrane, Monodomain
from organtwin.parallel import on_root, total
from organtwin.verify.geometry import box

Array = NDArray[np.float64]


class ManufacturedCells:
    """Three-variable cell model whose coupling to a plane diffusion is solved by hand.

    With F = cos πx cos 2πy and G = 1 + x y²,

        V = √(1+t) F,   u₁ = (1+t) G + √(1+t) F,   u₂ = 1 / ((1+t) √G),   u₃ = 0

    Source:
        Pathmanathan & Gray (2014), Int. J. Numer. Meth. Biomed. Eng. 30:525–544.
    """

    C_m = 2.0
    chi = 3.0
    beta = -5.9
    #: Conductivities along x, y, z, so that ∇·(σ∇V) = β V.
    sigma = tuple(np.array([1.1, 1.2, 0.3]) / np.pi**2)

    def step(self, states: Array, v: Array, t: float, dt: float) -> None:
        """One step of the classical Runge–Kutta method."""
        y = np.stack([v, states[0], states[1]])
        k1 = self._rate(y)
        k2 = self._rate(y + dt / 2 * k1)
        k3 = self._rate(y + dt / 2 * k2)
        k4 = self._rate(y + dt * k3)
        y = y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        v[:], states[0], states[1] = y

    def calcium(self, states: Array) -> Array:
        """None here."""
        return np.zeros(states.shape[1])

    def exact(self, x: Array, t: float) -> tuple[Array, Array]:
        """V and (u₁, u₂) at points ``x``, shape (3, n)."""
        F = np.cos(np.pi * x[0]) * np.cos(2 * np.pi * x[1])
        G = 1 + x[0] * x[1] ** 2
        V = np.sqrt(1 + t) * F
        return V, np.stack([(1 + t) * G + V, 1 / ((1 + t) * np.sqrt(G))])

    def _rate(self, y: Array) -> Array:
        V, u1, u2 = y
        gap = u1 - V
        current = -self.C_m / 2 * gap * u2**2 * V + self.beta / self.chi * V
        return np.stack([-current / self.C_m, gap * u2**2 * (gap + V / 2), -gap * u2**3])


def manufactured_monodomain(
    comm: MPI.Comm, n: int, *, lumped: bool = False, t_end: float = 0.1
) -> float:
    """Relative L² error of V at ``t_end`` on a plate with n × n × 2 cells, time step ∝ h².

    Args:
        comm: Communicator.
        n: Divisions of the unit edges.
        lumped: Mass matrix.
        t_end: Time.
    """
    plate = box(comm, (1.0, 1.0, 2.0 / n), (n, n, 2))
    cells = ManufacturedCells()
    steps = round(t_end * n**2 / 1.6)
    V = fem.functionspace(plate.mesh, ("P", 1))
    v0, states = cells.exact(V.tabulate_dof_coordinates().T, 0.0)
    problem = Monodomain(
        plate.mesh,
        cells,
        states,
        0.0,
        ufl.as_matrix(np.diag(cells.sigma).tolist()),
        membrane=Membrane(chi=cells.chi, C_m=cells.C_m),
        dt=t_end / steps,
        dt_rest=t_end / steps,
        lumped=lumped,
    )
    problem.v.x.array[:] = v0
    problem.advance(0.0, t_end)
    x = ufl.SpatialCoordinate(plate.mesh)
    exact = np.sqrt(1 + t_end) * ufl.cos(ufl.pi * x[0]) * ufl.cos(2 * ufl.pi * x[1])
    dx = plate.dx(degree=6)
    square = [
        total(comm, fem.assemble_scalar(fem.form(e**2 * dx))) for e in (problem.v - exact, exact)
    ]
    return float(np.sqrt(square[0] / square[1]))


def plane_wave(comm: MPI.Comm, h: float, *, lumped: bool) -> float:
    """Velocity (mm/ms) along the fibres in the tissue of Niederer et al. (2011), for Δt → 0.

    The splitting has order one in Δt, so two step sizes are extrapolated; rank 0 computes.

    Args:
        comm: Communicator.
        h: Mean edge length (mm) of a structured bar.
        lumped: Mass matrix.
    """

    def velocity(dt: float) -> float:
        kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"))
        states, v = kernel.initial_states()[:, 0], kernel.initial_potential
        bar, membrane = structured_bar(h), Membrane(chi=140.0, C_m=0.01)
        sigma = 0.17 * 0.62 / (0.17 + 0.62)
        return conduction_velocity(kernel, states, v, sigma, bar, membrane, dt, lumped=lumped)

    return on_root(comm, lambda: 2 * velocity(0.005) - velocity(0.01))
