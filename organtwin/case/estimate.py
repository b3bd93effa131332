"""How big a case is, before it is run: simple formulas, good to a factor of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from organtwin.case.schema import Case
from organtwin.image.readers import read_labels
from organtwin.units import ML

#: Edge length cubed over the volume of a mean tetrahedron in a mesh of that edge length.
CELLS_PER_CUBE = 7.0
#: Vertices and edges per cell of a tetrahedral mesh of a thick wall.
VERTICES_PER_CELL = 0.27
EDGES_PER_CELL = 1.37
VERTICES_PER_FINE_CELL = 0.19
#: What a rank takes before it computes anything (MiB), mostly libraries.
BASE_MEMORY = 350.0
#: Memory of a factorised mechanics tangent (KiB per degree of freedom).
FACTOR_MEMORY = 16.0
#: Memory of a node of the electrical mesh: cell state, matrix row, mesh (KiB).
NODE_MEMORY = 4.0
#: Time of one reaction and diffusion step (µs per node and core).
NODE_TIME = 0.4
#: Electrical steps per ms of a beat, averaged over depolarisation and rest.
ELECTRICAL_STEPS = 6.0
#: Assembly and solves of one mechanics step (µs per degree of freedom and core).
MECHANICS_TIME = 15.0


@dataclass(frozen=True)
class Estimate:
    """Expected size of a case.

    Attributes:
        tissue_volume: Volume of the two walls (mL).
        cells: Tetrahedra of the mechanics mesh.
        mechanics_dofs: Displacement and pressure unknowns.
        electrical_cells: Tetrahedra of the electrical mesh.
        electrical_nodes: Its vertices.
        memory: Resident memory of all ranks (MiB).
        time: Wall time of the simulation (s).
    """

    tissue_volume: float
    cells: int
    mechanics_dofs: int
    electrical_cells: int
    electrical_nodes: int
    memory: float
    time: float


def estimate(case: Case, ranks: int = 1) -> Estimate:
    """Expected size from the volume of the tissue and the chosen element sizes.

    With tissue volume V and edge length h: n = 7 V/h³ tetrahedra; 0.27 n vertices and 1.37 n
    edges, so 3·1.64 n displacements (quadratic) and 0.27 n pressures (linear). r refinements give
    8ʳ n cells. Memory and time are these numbers times measured costs, see the constants.

    Args:
        case: The case; its image is read.
        ranks: Number of MPI ranks.
    """
    volume = tissue_volume(case)
    cells = CELLS_PER_CUBE * volume / case.mesh.size**3
    dofs = cells * (3 * (VERTICES_PER_CELL + EDGES_PER_CELL) + VERTICES_PER_CELL)
    fine = cells * 8**case.electrophysiology.refinements
    nodes = fine * (
        VERTICES_PER_FINE_CELL if case.electrophysiology.refinements else VERTICES_PER_CELL
    )
    steps = case.duration * ELECTRICAL_STEPS * 0.05 / case.electrophysiology.time_step
    electrical = steps * nodes * NODE_TIME
    mechanical = case.duration / case.mechanics.time_step * dofs * MECHANICS_TIME
    memory = ranks * BASE_MEMORY + (dofs * FACTOR_MEMORY + nodes * NODE_MEMORY) / 1024
    return Estimate(
        tissue_volume=volume / 1000,
        cells=round(cells),
        mechanics_dofs=round(dofs),
        electrical_cells=round(fine),
        electrical_nodes=round(nodes),
        memory=memory,
        time=(electrical + mechanical) * 1e-6 / ranks,
    )


def tissue_volume(case: Case) -> float:
    """Volume of the LV wall plus a shell around the free part of the RV blood pool (mm³)."""
    labels = read_labels(case.image.file, case.image.labels)
    pool = labels.mask("rv_blood")
    faces = [int(np.count_nonzero(np.diff(pool, axis=axis))) for axis in range(3)]
    face_areas = labels.voxel_volume / labels.spacing
    # A voxel staircase has half as much again as the smooth surface. The septum takes about a
    # third of the pool's surface, the valves an eighth.
    area = float(np.dot(faces, face_areas)) / 1.5 * 0.55
    return labels.volume_ml("lv_myocardium") * ML + area * case.geometry.rv_wall_thickness
