"""A spiral wave on a slab, from two stimuli across each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.population import Cells
from organtwin.electrophysiology.beats import Beats
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import (
    ReactionDiffusion,
    TimeSteps,
    local_nodes,
)
from organtwin.electrophysiology.reentry import Activity, Reentry
from organtwin.electrophysiology.stimulus import Box, Stimulus
from organtwin.errors import SolverError
from organtwin.export.fields import FieldWriter
from organtwin.export.isochrones import rotors, slab_stance
from organtwin.export.series import read_series
from organtwin.export.tables import read_table
from organtwin.parallel import on_root


@dataclass(frozen=True)
class Slab:
    """Isotropic tissue and the stimuli that make a wave turn in it.

    A plane wave runs along x from S1. S2 comes to the corner at the origin when the wave's tail
    passes through it: its wave is blocked ahead, goes round the end of the block, and turns.

    Attributes:
        size: Edges of the slab (mm).
        h: Edge of the cubes, cut in six (mm).
        model: Cell model.
        sigma: Conductivity (mS/mm); half the usual velocity lets a spiral fit into a small slab.
        s2: Onset of S2 after S1 (ms).
        corner: Edges along x and y of the box that S2 excites (mm).
    """

    size: tuple[float, float, float] = (60.0, 60.0, 1.0)
    h: float = 0.75
    model: str = "fenton_karma_1998_gp"
    sigma: float = 0.05
    s2: float = 260.0
    corner: tuple[float, float] = (30.0, 30.0)


@dataclass(frozen=True)
class Spiral:
    """The slab with its recorders.

    Attributes:
        tissue: Monodomain model.
        beats: Activation of the nodes.
        reentry: Filaments and wave fronts.
        stimulated: End of S2 (ms).
    """

    tissue: ReactionDiffusion
    beats: Beats
    reentry: Reentry
    stimulated: float


def spiral(comm: MPI.Comm, slab: Slab, until: float) -> Spiral:
    """The slab at rest.

    Args:
        comm: Communicator; collective.
        slab: Tissue and stimuli.
        until: Last time to be recorded (ms).
    """
    numbers = [max(1, round(length / slab.h)) for length in slab.size]
    msh = mesh.create_box(comm, [[0.0, 0.0, 0.0], list(slab.size)], numbers)
    V = fem.functionspace(msh, ("P", 1))
    kernel = compile_kernel(CellModel.load(slab.model), comm)
    n = local_nodes(V)
    cells = Cells.uniform(kernel, kernel.initial_states()[:, 0], kernel.initial_potential, n)
    beats = Beats(n, comm, threshold=-40.0)
    reentry = Reentry(V, until=until)
    _, width, depth = slab.size
    s1 = Stimulus(Box((0.0, 0.0, 0.0), (2.0, width, depth)))
    s2 = Stimulus(Box((0.0, 0.0, 0.0), (*slab.corner, depth)), onsets=(slab.s2,))
    tissue = monodomain(
        V, cells, fem.Constant(msh, slab.sigma) * ufl.Identity(3), [s1, s2],
        steps=TimeSteps(shortest=0.1), recorders=[beats, reentry],
    )  # fmt: skip
    return Spiral(tissue, beats, reentry, slab.s2 + s2.duration)


def run(found: Spiral, until: float) -> Activity:
    """Follow the wave up to a time (ms) and sum up what it did; collective.

    Raises:
        SolverError: the tissue is not finite, or a linear solve failed.
    """
    t = 0.0
    while t < until - 1e-9:
        end = min(t + 10.0, until)
        step = found.tissue.advance(t, end)
        if not step.converged:
            raise SolverError(
                "spiral wave", step.detail or step.outcome.value, "Shorten the time step."
            )
        t = end
    return found.reentry.activity(found.beats, until, stimulated=found.stimulated)


def draw(found: Spiral, folder: Path, t: float, *, traced: float = 500.0) -> Path:
    """The potential at the end, and the filaments of the time before; collective.

    Args:
        found: The slab after `run`.
        folder: Where the fields, ``rotors.csv`` and ``spiral.png`` go.
        t: Time at the end (ms).
        traced: How long before it filaments are drawn from (ms).
    """
    v = found.tissue.v
    FieldWriter(folder, "spiral", v.function_space.mesh).write(t, {"v": v})
    found.reentry.write(folder)

    def work() -> Path:
        """The picture, on one rank."""
        series = read_series(folder / "spiral.pvd")
        table = read_table(folder / "rotors.csv")
        late = table["t [ms]"] >= t - traced
        recent = {name: values[late] for name, values in table.items()}
        return rotors(
            series.mesh, series.at_points(0, "v"), recent, slab_stance(series.mesh),
            folder / "spiral.png", colours=mpl.colormaps["Spectral_r"],
            title=f"Spiral wave after {t:g} ms",
        )  # fmt: skip

    return on_root(found.tissue.comm, work)
