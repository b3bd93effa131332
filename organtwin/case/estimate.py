"""How big a case is, before it is run: simple formulas, good to a factor of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from organtwin.case.schema import Case
from organtwin.image.readers import read_labels
from organtwin.image.ventricular_walls import with_walls
from organtwin.image.volume import LabelMap
from organtwin.units import ML

#: Tetrahedra per cube of the edge length inside, and per square of it along the surface: fitted to
#: meshes of the demo's heart with edges of 3, 5 and 8 mm (28 257, 9 699 and 3 701 cells), to 7 %.
CELLS_PER_CUBE = 1.0
CELLS_PER_SQUARE = 7.5
#: Vertices and edges per cell of a tetrahedral mesh of a thin wall.
VERTICES_PER_CELL = 0.26
EDGES_PER_CELL = 1.45
VERTICES_PER_FINE_CELL = 0.19
#: Unknowns per cell of each formulation.
UNKNOWNS_PER_CELL = {
    "P2-P1": 3 * (VERTICES_PER_CELL + EDGES_PER_CELL) + VERTICES_PER_CELL,
    "P2-P0": 3 * (VERTICES_PER_CELL + EDGES_PER_CELL) + 1,
    "P2": 3 * (VERTICES_PER_CELL + EDGES_PER_CELL),
    "P1-P1": 4 * VERTICES_PER_CELL,
}
# Costs fitted to the demo at 5 and 8 mm on two ranks of a server with two cores: 299 and 114 s,
# 1 948 and 1 220 MiB (2026-11-21).
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
        mechanics_dofs: Displacement and pressure unknowns; 0 without mechanics.
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

    With tissue volume V, surface S and edge length h: n = V/h³ + 7.5 S/h² tetrahedra; 0.26 n
    vertices and 1.45 n edges, so 3·1.71 n quadratic displacements and 0.26 n linear pressures.
    r refinements give 8ʳ n cells. Memory and time are these numbers times measured costs, see the
    constants.

    Args:
        case: The case; its image is read.
        ranks: Number of MPI ranks.
    """
    volume, surface = tissue(case)
    h = case.mesh.size
    cells = CELLS_PER_CUBE * volume / h**3 + CELLS_PER_SQUARE * surface / h**2
    per_cell = UNKNOWNS_PER_CELL[case.mechanics.formulation]
    dofs = cells * per_cell if case.run.physics == "electromechanics" else 0.0
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


def tissue(case: Case) -> tuple[float, float]:
    """Volume (mm³) and surface (mm²) of the LV wall and of a shell around the free RV pool."""
    labels = with_walls(read_labels(case.image.file, case.image.labels))
    # The septum takes about a third of the RV pool's surface, the valves an eighth.
    free_wall = 0.55 * _surface(labels, "rv_blood")
    left = labels.volume_ml("lv_myocardium") * ML
    volume = left + free_wall * case.geometry.rv_wall_thickness
    return volume, _surface(labels, "lv_myocardium") + 2 * free_wall


def _surface(labels: LabelMap, name: str) -> float:
    """Surface of a label (mm²); a staircase of voxels has half as much again as what it steps."""
    mask = labels.mask(name)
    faces = [int(np.count_nonzero(np.diff(mask, axis=axis))) for axis in range(3)]
    return float(np.dot(faces, labels.voxel_volume / labels.spacing)) / 1.5
