"""Files between the stages of an implant's case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.bone.calibration import Calibration
from organtwin.case.records import read_record, write_record
from organtwin.image.cropping import cropped
from organtwin.image.volume import Grid, Image
from organtwin.mesh.mesh_files import write_mesh
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.orthopaedics.anatomical_frames import AnatomicalFrame
from organtwin.orthopaedics.assembly import Assembly
from organtwin.orthopaedics.operation import Operation
from organtwin.orthopaedics.outcome import Outcome, empty

#: Meshes of the stage `plan`; records; what was planned in numbers.
OPERATED, INTACT, NUMBERS, SCAN = "operated.msh", "intact.msh", "assembly.npz", "scan.npz"
PLAN = "plan.json"
#: Files of the stage `plan`.
PLANNED = (OPERATED, INTACT, NUMBERS, SCAN, PLAN)
#: Before the names of an assembly's tables.
TABLE = "table "
#: Room around the bone that is kept of the scan (mm).
ROOM = 8.0


def write_plan(
    folder: Path, made: Assembly, operation: Operation, frame: AnatomicalFrame, line: Calibration,
    decisions: Sequence[str],
) -> None:  # fmt: skip
    """Write `PLANNED`: both meshes, what links their cells, the scan around them, the plan."""
    operated, intact = made.operated(), made.intact()
    write_mesh(operated.mesh, folder / OPERATED)
    write_mesh(intact.mesh, folder / INTACT)
    whole = made.mesh
    tables: dict[str, Any] = {f"{TABLE}{name}": v for name, v in made.tables.items()}
    np.savez_compressed(
        folder / NUMBERS, points=whole.points, cells=whole.cells, regions=whole.regions,
        operated_points=operated.mesh.points, operated_cells=operated.mesh.cells,
        operated_ids=operated.cells, intact_points=intact.mesh.points,
        **tables,
    )  # fmt: skip
    assert made.scan is not None
    write_scan(made.scan, whole.points, folder / SCAN)
    record = {
        "assembly": made.record(), "region_names": dict(whole.region_names),
        "anatomy": {"origin": frame.origin, "axes": frame.axes, "side": frame.side},
        "operation": operation.record(), "calibration": asdict(line), "decisions": list(decisions),
    }  # fmt: skip
    write_record(folder / PLAN, record)


def write_scan(scan: Image, points: NDArray[np.float64], file: Path) -> None:
    """Keep the part of a scan around points."""
    part = cropped(scan, points, ROOM)
    np.savez_compressed(
        file, values=np.asarray(part.values, np.float32), spacing=part.grid.spacing,
        origin=part.grid.origin, direction=part.grid.direction, quantity=np.array(part.quantity),
    )  # fmt: skip


def read_scan_part(folder: Path) -> Image:
    """The scan around the bone."""
    with np.load(folder / SCAN) as saved:
        values = saved["values"]
        i, j, k = values.shape
        grid = Grid((i, j, k), saved["spacing"], saved["origin"], saved["direction"])
        return Image(values, grid, str(saved["quantity"]))


def read_plan(folder: Path) -> dict[str, Any]:
    """The plan's record."""
    return read_record(folder / PLAN)


def operation_of(record: Mapping[str, Any]) -> Operation:
    """What is computed."""
    return Operation.from_record(record["operation"])


def calibration_line(record: Mapping[str, Any]) -> Calibration:
    """The calibration that was planned with."""
    known = dict(record["calibration"])
    (aa, ab), (ba, bb) = known["covariance"]
    low, high = known["hu_range"]
    known |= {
        "covariance": ((aa, ab), (ba, bb)), "hu_range": (low, high),
        "warnings": tuple(known["warnings"]),
    }  # fmt: skip
    return Calibration(**known)


def read_table(folder: Path, name: str) -> NDArray[np.float64] | None:
    """A table of the assembly, shape (n, k); None if it has none of that name."""
    with np.load(folder / NUMBERS) as saved:
        key = f"{TABLE}{name}"
        return np.asarray(saved[key], np.float64) if key in saved else None


def empty_outcome(folder: Path) -> tuple[Outcome, NDArray[np.float64]]:
    """A record without results, and the vertices of the intact mesh."""
    names = read_plan(folder)["region_names"]
    with np.load(folder / NUMBERS) as saved:
        whole = TetrahedralMesh(saved["points"], saved["cells"], saved["regions"], names)
        operated = TetrahedralMesh(
            saved["operated_points"], saved["operated_cells"],
            saved["regions"][saved["operated_ids"]], names,
        )  # fmt: skip
        return empty(whole, operated, saved["operated_ids"]), saved["intact_points"]
