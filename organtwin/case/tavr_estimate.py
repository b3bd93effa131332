"""How big a valve's deployment is, before it is run: simple formulas, good to a factor of two."""

from __future__ import annotations

from dataclasses import dataclass

from organtwin.case.schema_tavr import TavrCase
from organtwin.devices.device_files import load_device, sizes
from organtwin.devices.frame import Part, build

#: Mean circumference of a root (mm) and height of its junction (mm), those of the demo's.
AROUND, JUNCTION = 90.0, 24.0
#: Tetrahedra of the wall in two layers per square of the edge length, and those that leaflets add:
#: fitted to the demo's root at 2.5, 2 and 1.5 mm (12 336, 19 300, 34 300 and 11 000 cells).
CELLS_PER_SQUARE, LEAFLETS = 14.3, 11_000
#: Vertices per cell.
VERTICES_PER_CELL = 0.26
#: Factorisations of a deployment, by family: without native leaflets and with them, which fold and
#: snap when a balloon is emptied (294 and 755 to 1030; 316 to 893 and 467 in synthetic roots).
FACTORISATIONS = {"balloon-expandable": (300.0, 850.0), "self-expanding": (450.0, 500.0)}
#: What one costs with the corrections that use it (µs per unknown): 23 to 37 up to 25 thousand.
FACTORISATION_TIME = 32.0
#: Segmentation, measures, mesh, crimping and pictures (s).
FIXED_TIME = 40.0
#: What a rank takes before it deploys anything (libraries; the first one has read the scan), and
#: what an unknown needs (MiB, KiB).
BASE_MEMORY, SCAN_MEMORY, UNKNOWN_MEMORY = 450.0, 400.0, 10.0


@dataclass(frozen=True)
class TavrEstimate:
    """Expected size of a case.

    Attributes:
        device: Family that it is for.
        cells: Tetrahedra of the root.
        tissue, frame: Unknowns of root and frame.
        memory: Resident memory of all ranks (MiB).
        time: Wall time (s).
    """

    device: str
    cells: int
    tissue: int
    frame: int
    memory: float
    time: float

    def in_words(self) -> dict[str, str]:
        """What there is to compute, for people."""
        return {
            "device": self.device,
            "tetrahedra": f"{self.cells:,d}",
            "tissue unknowns": f"{self.tissue:,d}",
            "frame unknowns": f"{self.frame:,d}",
        }


def estimate(case: TavrCase, ranks: int = 1) -> TavrEstimate:
    """Expected size from edge length, length of the wall, and the frame's elements.

    The scan is not read: a root of usual size is assumed.

    Args:
        case: The case.
        ranks: Number of MPI ranks.
    """
    name = case.device.name
    known = sizes(name)
    size = case.device.size if case.device.size in known else known[len(known) // 2]
    device = load_device(name, size)
    top = max(height for height, _ in device.pattern.profile) - case.deployment.depth
    above = case.root.above or max(top - JUNCTION, 10.0)
    length = case.root.below + JUNCTION + above
    layers = max(2.0, case.root.wall / case.root.size)
    cells = 0.5 * layers * CELLS_PER_SQUARE * AROUND * length / case.root.size**2
    cells += LEAFLETS if case.root.leaflets != "none" else 0
    tissue = 3 * VERTICES_PER_CELL * cells
    frame = 6 * len(build(device.pattern, case.deployment.elements, Part.WHOLE).mesh.points)
    bare, native = FACTORISATIONS[device.family]
    factorisations = bare if case.root.leaflets == "none" else native
    factorisations *= 1.3 if case.deployment.post_dilation else 1.0
    # The frame and its contact are computed by all ranks alike.
    time = factorisations * FACTORISATION_TIME * 1e-6 * (tissue / ranks + frame)
    memory = ranks * BASE_MEMORY + SCAN_MEMORY + (tissue + frame) * UNKNOWN_MEMORY / 1024
    return TavrEstimate(
        device.family, round(cells), round(tissue), frame, memory, FIXED_TIME + time
    )
