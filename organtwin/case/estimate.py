"""How big a case is, before it is run: simple formulas, good to a factor of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from organtwin.case.schema import Case
from organtwin.electrophysiology.tissue import Model
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
# Costs are processor time on a server with two busy cores, from demos on one rank (96 s of solving
# for crt_optimisation, 225 s for healthy_heart) and heartbeat on two (299 and 114 s at 5 and 8 mm).
#: What a rank takes before it computes anything (MiB), mostly libraries and what the stages before
#: left; what rank 0 takes for image, pictures and report, and each other one that waits for it.
BASE_MEMORY, FIRST_MEMORY, WAITING_MEMORY = 600.0, 1180.0, 500.0
#: Memory of mesh, forms and a factorised mechanics tangent (KiB per degree of freedom); 5 at
#: 507 thousand, docs/tissue-mechanics.md.
FACTOR_MEMORY = 5.0
#: Memory of a node of the electrical mesh: cell state, matrix row, mesh (KiB).
NODE_MEMORY = 4.0
#: Image, mesh, pacing of the cell, pictures and report (s), on rank 0.
FIXED_TIME = 45.0
#: Time of one reaction and diffusion step of the monodomain model (µs per node and core).
NODE_TIME = 0.4
#: Cost of the other models for that of this one, docs/choose-a-tissue-model.md.
COST = {
    Model.EIKONAL: 0.013, Model.REACTION_EIKONAL: 0.37, Model.REACTION_EIKONAL_DIFFUSION: 1.2,
    Model.MONODOMAIN: 1.0, Model.PSEUDO_BIDOMAIN: 1.1, Model.BIDOMAIN: 3.5,
}  # fmt: skip
#: Electrical steps per ms of a beat, averaged over depolarisation and rest.
ELECTRICAL_STEPS = 6.0
#: A mechanics step of seven corrections: circulation, tension and output on all ranks alike (s);
#: assembly and solves (µs per degree of freedom and core).
STEP_TIME, MECHANICS_TIME = 0.1, 17.0
#: Adaptive steps for as many fixed ones: 213 for 400 of 2 ms, benchmarks/README.md.
ADAPTIVE = 0.53


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
        time: Wall time of all stages on ranks that have their cores for themselves (s).
    """

    tissue_volume: float
    cells: int
    mechanics_dofs: int
    electrical_cells: int
    electrical_nodes: int
    memory: float
    time: float

    def in_words(self) -> dict[str, str]:
        """What there is to compute, for people."""
        moving = {
            "mechanics mesh": f"{self.cells:,d} tetrahedra",
            "mechanics unknowns": f"{self.mechanics_dofs:,d}",
        }
        return {
            "tissue": f"{self.tissue_volume:.0f} mL",
            **(moving if self.mechanics_dofs else {}),
            "electrical mesh": f"{self.electrical_cells:,d} tetrahedra",
            "electrical nodes": f"{self.electrical_nodes:,d}",
        }


def estimate(case: Case, ranks: int = 1) -> Estimate:
    """Expected size from the volume of the tissue and the chosen element sizes.

    With tissue volume V, surface S and edge length h: n = V/h³ + 7.5 S/h² tetrahedra; 0.26 n
    vertices and 1.45 n edges, so 3·1.71 n quadratic displacements and 0.26 n linear pressures.
    r refinements give 8ʳ n cells. With m unknowns and k nodes on p ranks, N mechanics steps and K
    electrical ones, memory and time are

        p·base + m·factor + k·node,    fixed + N (step + m·mechanics/p) + K k·cell/p

    with measured costs, see the constants. Beats up to a limit cycle are counted as if all were
    needed.

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
    section = case.electrophysiology
    steps = case.duration * ELECTRICAL_STEPS * 0.05 / section.time_step
    electrical = steps * nodes * NODE_TIME * COST[Model(section.model)] * 1e-6 / ranks
    mechanical = 0.0
    if dofs:
        loaded = case.duration / case.mechanics.time_step
        loaded *= ADAPTIVE if case.mechanics.steps == "adaptive" else 1.0
        mechanical = loaded * (STEP_TIME + dofs * MECHANICS_TIME * 1e-6 / ranks)
    solving = ranks * BASE_MEMORY + (dofs * FACTOR_MEMORY + nodes * NODE_MEMORY) / 1024
    memory = max(solving, FIRST_MEMORY + (ranks - 1) * WAITING_MEMORY)
    return Estimate(
        tissue_volume=volume / 1000,
        cells=round(cells),
        mechanics_dofs=round(dofs),
        electrical_cells=round(fine),
        electrical_nodes=round(nodes),
        memory=memory,
        time=FIXED_TIME + electrical + mechanical,
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
