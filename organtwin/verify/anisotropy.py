"""Velocities along and across the fibres on meshes as hearts have them."""

from __future__ import annotations

from dataclasses import dataclass

from dolfinx import mesh
from mpi4py import MPI

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.electrophysiology.conductivity import (
    conduction_velocity,
    monodomain_conductivity,
    tune,
    unstructured_bar,
)
from organtwin.electrophysiology.diffusion import Membrane
from organtwin.electrophysiology.reaction_diffusion import Discretisation
from organtwin.parallel import on_root

#: Velocities along and across the fibres for h, Δt → 0 with the conductivities of Niederer et al.
#: (2011) (mm/ms): separate one-dimensional computations.
ALONG, ACROSS = 0.612, 0.222
MEMBRANE = Membrane(chi=140.0, C_m=0.01)
DT = 0.05


@dataclass(frozen=True)
class Velocities:
    """Velocities of plane waves (mm/ms).

    Attributes:
        along: Along the fibres.
        across: Across them.
    """

    along: float
    across: float


def another_bar(h: float) -> mesh.Mesh:
    """Delaunay bar of mean edge ``h`` (mm) that is not the one of `unstructured_bar(h)`."""
    bar = unstructured_bar(0.8 * h)
    bar.geometry.x[:] /= 0.8
    return bar


def untuned(comm: MPI.Comm, h: float, scheme: Discretisation) -> Velocities:
    """Velocities with the conductivities of Niederer et al. (2011); rank 0 computes.

    Args:
        comm: Communicator.
        h: Mean edge length (mm).
        scheme: Discretisation.
    """
    sigma = monodomain_conductivity(0.17, 0.62), monodomain_conductivity(0.019, 0.24)
    return on_root(comm, lambda: _measured(unstructured_bar(h), *sigma, scheme))


def tuned(
    comm: MPI.Comm, h: float, wanted: Velocities, scheme: Discretisation
) -> tuple[Velocities, Velocities]:
    """Velocities on the bar that conductivities were tuned on, and on another; rank 0 computes.

    Args:
        comm: Communicator.
        h: Mean edge length (mm).
        wanted: Velocities to tune to.
        scheme: Discretisation.

    Raises:
        InputError: no conductivities give these velocities on this mesh.
    """

    def work() -> tuple[Velocities, Velocities]:
        kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"))
        fibre, sheet, _ = tune(
            kernel, kernel.initial_states()[:, 0], kernel.initial_potential,
            (wanted.along, wanted.across, wanted.across), h,
            membrane=MEMBRANE, dt=DT, scheme=scheme,
        )  # fmt: skip
        bars = unstructured_bar(h), another_bar(h)
        here, there = (_measured(bar, fibre.sigma, sheet.sigma, scheme) for bar in bars)
        return here, there

    return on_root(comm, work)


def _measured(bar: mesh.Mesh, along: float, across: float, scheme: Discretisation) -> Velocities:
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"))
    states, v = kernel.initial_states()[:, 0], kernel.initial_potential

    def velocity(sigma: tuple[float, float, float]) -> float:
        return conduction_velocity(kernel, states, v, sigma, bar, MEMBRANE, DT, scheme=scheme)

    # Across the fibres they lie sideways of the wave, as in a heart: that is the hard case.
    return Velocities(velocity((along, across, across)), velocity((across, across, along)))
