"""Density and modulus of the cells of a mesh, from a CT in the same coordinates."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from dolfinx import fem
from dolfinx import mesh as meshes
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.bone.calibration import Calibration
from organtwin.bone.integration import SIX, Averages, averages
from organtwin.bone.laws import MPA, Stiffness
from organtwin.bone.projection import project
from organtwin.errors import InputError, OrgantwinError
from organtwin.image.cropping import cropped
from organtwin.image.volume import Image
from organtwin.mesh.domain import Domain
from organtwin.parallel import agree, quantiles, total

logger = logging.getLogger(__name__)

type Array = NDArray[np.float64]

#: Shares whose values a report tells.
SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
#: Share of the volume beyond a law's specimens that is worth a warning.
MUCH_BEYOND = 0.25


class Order(StrEnum):
    """What is averaged over an element."""

    #: E of each place, then the mean of E: the third version of Bonemat (Taddei et al. 2007).
    MODULUS = "modulus"
    #: Mean density, then E of it: the second version (Taddei et al. 2004).
    DENSITY = "density"


@dataclass(frozen=True)
class BoneReport:
    """What was mapped, to be compared with what a reader expects.

    Attributes:
        volume: Of the mapped cells (mm³).
        mineral: Content of mineral in them, ∫ρ dV with ρ as calibrated (g).
        shares: Shares of cells to which ``densities`` and ``moduli`` belong.
        densities: Calibrated density that these shares do not exceed (mg/mm³).
        moduli: Modulus that these shares do not exceed (MPa).
        beyond: Share of the volume whose density lies beyond the law's specimens.
        at_floor, at_ceiling: Share of the volume with the smallest and the largest modulus.
        warnings: Those of the calibration, and what was found here.
    """

    volume: float
    mineral: float
    shares: tuple[float, ...]
    densities: tuple[float, ...]
    moduli: tuple[float, ...]
    beyond: float
    at_floor: float
    at_ceiling: float
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        rows = [
            f"{100 * s:5.0f} %  {1e3 * d:8.0f} mg/mL  {e:8.0f} MPa"
            for s, d, e in zip(self.shares, self.densities, self.moduli, strict=True)
        ]
        return "\n".join([
            (f"volume {self.volume / 1e3:.1f} mL, mineral {self.mineral:.2f} g, "
            f"mean {1e6 * self.mineral / self.volume:.0f} mg/mL"),
            *rows,
            (f"beyond the law's specimens {100 * self.beyond:.0f} %, at the floor "
            f"{100 * self.at_floor:.0f} %, at the ceiling {100 * self.at_ceiling:.0f} % of volume"),
            *self.warnings,
        ])  # fmt: skip


@dataclass(frozen=True)
class BoneFields:
    """Density and modulus of a mesh.

    Attributes:
        density: Calibrated density (mg/mm³), constant in cells or continuous and linear.
        modulus: Young's modulus (kPa), in the same space; that of the floor where no bone was
            mapped.
        stiffness: How the second follows from the first.
        report: See `BoneReport`.
    """

    density: fem.Function
    modulus: fem.Function
    stiffness: Stiffness
    report: BoneReport


def map_bone(
    domain: Domain,
    image: Image | None,
    calibration: Calibration,
    stiffness: Stiffness,
    *,
    order: Order = Order.MODULUS,
    smooth: bool = False,
    regions: Sequence[str] = (),
    piece: float = 1.0,
) -> BoneFields:
    """Integrate a CT over the cells of a mesh; collective.

    ``Order.MODULUS`` is the default: within an element strain is nearly one, so its energy is that
    of the mean modulus, which is what an element of constant modulus must reproduce. E of the
    mean density is always smaller for laws that curve upwards (Jensen), by much at the cortex.

    Args:
        domain: Tetrahedra, or hexahedra unless ``smooth``.
        image: The CT (HU) on rank 0; not looked at elsewhere. Each rank gets the part that its
            cells need.
        calibration: From HU to density.
        stiffness: From density to modulus, for the mineral of the calibration.
        order: What is averaged. With ``smooth`` the modulus or the density is what is projected.
        smooth: Continuous and linear fields (`projection.project`) instead of one value per cell.
        regions: Names of the regions that are bone, all without them.
        piece: See `integration.averages`.

    Raises:
        InputError: another kind of cell, a cell that leaves the image, values that are not HU.
    """
    cells = _cells(domain, regions)
    corners = _corners(domain, cells, smooth=smooth)
    tetrahedra = corners.reshape(-1, 4, 3)
    window = window_of(domain.comm, image, tetrahedra.reshape(-1, 3))
    found, problem = None, None
    try:
        found = averages(
            tetrahedra,
            window,
            {
                "density": calibration.density,
                "modulus": lambda hu: stiffness(calibration.density(hu)),
            },
            piece,
        )
    except OrgantwinError as error:
        problem = error
    agree(domain.comm, problem)
    assert found is not None
    density, modulus = found["density"], found["modulus"]
    volumes = _volumes(tetrahedra)
    if smooth:
        fields = _smooth(domain, cells, volumes, density, modulus, stiffness, order)
    else:
        fields = _cellwise(domain, cells, volumes, density, modulus, stiffness, order)
    report = _report(domain.comm, volumes, density.means, modulus.means, stiffness, calibration)
    return BoneFields(*fields, stiffness, report)


def _cells(domain: Domain, regions: Sequence[str]) -> NDArray[np.int32]:
    """This rank's own cells of the regions."""
    own = domain.mesh.topology.index_map(3).size_local
    chosen = domain.cells(*regions) if regions else np.arange(own, dtype=np.int32)
    return np.asarray(chosen[chosen < own], dtype=np.int32)


def _corners(domain: Domain, cells: NDArray[np.int32], *, smooth: bool) -> Array:
    """Corners of the tetrahedra of cells (mm), (cells, tetrahedra of one, 4, 3)."""
    kind = domain.mesh.topology.cell_type
    if kind not in (meshes.CellType.tetrahedron, meshes.CellType.hexahedron) or (
        smooth and kind != meshes.CellType.tetrahedron
    ):
        raise InputError(
            "bone density", f"the mesh has cells `{kind.name}`"
            + (", which have no smooth field here." if smooth else "."),
            "Use tetrahedra; hexahedra can have one value per cell.",
        )  # fmt: skip
    nodes = np.asarray(domain.mesh.geometry.dofmaps[0])[cells]
    points = np.asarray(domain.mesh.geometry.x, dtype=np.float64)
    if kind == meshes.CellType.hexahedron:
        return points[nodes[:, :8]][:, SIX]
    return points[nodes[:, :4]][:, None]


def window_of(comm: MPI.Comm, image: Image | None, points: Array, margin: float = 0.0) -> Image:
    """The part of the image of rank 0 around this rank's points; collective.

    Args:
        comm: Communicator.
        image: The CT (HU) on rank 0; not looked at elsewhere.
        points: Places (mm, LPS), (n, 3), none on a rank that needs nothing.
        margin: Room around them (mm), at least two voxels.

    Raises:
        InputError: no image on rank 0, or values that are not HU.
    """
    box = np.array([points.min(axis=0), points.max(axis=0)]) if len(points) else None
    boxes = comm.gather(box)
    parts: list[Image | OrgantwinError] | None = None
    if boxes is not None:
        problem = _unfit(image)
        if image is None or problem is not None:
            parts = [problem or _missing()] * comm.size
        else:
            parts = [_part(image, one, margin) for one in boxes]
    part = comm.scatter(parts)
    if isinstance(part, OrgantwinError):
        raise part
    return part


def _missing() -> OrgantwinError:
    return InputError("bone density", "no image on rank 0.", "Read the CT there.")


def _unfit(image: Image | None) -> OrgantwinError | None:
    if image is not None and image.quantity != "HU":
        return InputError(
            "bone density", f"the values are `{image.quantity}`, not HU.",
            "Read the CT from its DICOM series, or say quantity=\"HU\" if the file lost it.",
        )  # fmt: skip
    return None


def _part(image: Image, box: Array | None, margin: float) -> Image:
    if box is None:  # a rank without cells
        box = np.repeat(image.grid.points([[0, 0, 0]]), 2, axis=0)
    ends = np.array([[a, b] for a, b in zip(*box, strict=True)])
    corners = np.array(np.meshgrid(*ends)).reshape(3, -1).T
    part = cropped(image, corners, max(margin, 2.0 * float(image.grid.spacing.max())))
    return Image(np.ascontiguousarray(part.values), part.grid, part.quantity)


def _volumes(tetrahedra: Array) -> Array:
    edges = tetrahedra[:, 1:] - tetrahedra[:, :1]
    return np.abs(np.linalg.det(edges)) / 6.0


def _per_cell(volumes: Array, values: Array, cells: int) -> Array:
    """Means over cells of values of their tetrahedra."""
    if cells == 0:
        return np.empty(0)
    weights = volumes.reshape(cells, -1)
    return np.asarray((weights * values.reshape(cells, -1)).sum(axis=1) / weights.sum(axis=1))


def _cellwise(
    domain: Domain,
    cells: NDArray[np.int32],
    volumes: Array,
    density: Averages,
    modulus: Averages,
    stiffness: Stiffness,
    order: Order,
) -> tuple[fem.Function, fem.Function]:
    space = fem.functionspace(domain.mesh, ("DG", 0))
    rho, E = fem.Function(space, name="density"), fem.Function(space, name="modulus")
    E.x.array[:] = stiffness.floor
    mean = _per_cell(volumes, density.means, len(cells))
    rho.x.array[cells] = mean
    if order is Order.MODULUS:
        E.x.array[cells] = _per_cell(volumes, modulus.means, len(cells))
    else:
        E.x.array[cells] = stiffness(mean)
    for field in (rho, E):
        field.x.scatter_forward()
    return rho, E


def _smooth(
    domain: Domain,
    cells: NDArray[np.int32],
    volumes: Array,
    density: Averages,
    modulus: Averages,
    stiffness: Stiffness,
    order: Order,
) -> tuple[fem.Function, fem.Function]:
    space = fem.functionspace(domain.mesh, ("Lagrange", 1))
    own = domain.mesh.topology.index_map(3).size_local
    everywhere, whole = np.zeros(own), _spread(density, cells, own)
    everywhere[cells] = volumes
    rho = project(space, everywhere, whole)
    if order is Order.MODULUS:
        E = project(space, everywhere, _spread(modulus, cells, own))
    else:
        E = fem.Function(space)
        E.x.array[:] = stiffness(rho.x.array)
    # Nodes of no bone have neither volume nor samples.
    E.x.array[:] = np.maximum(E.x.array, stiffness.floor)
    rho.name, E.name = "density", "modulus"
    return rho, E


def _spread(found: Averages, cells: NDArray[np.int32], own: int) -> Averages:
    """Averages of some cells as averages of all, nothing in the others."""
    moments, least, most = np.zeros((own, 4)), np.full(own, np.inf), np.full(own, -np.inf)
    moments[cells], least[cells], most[cells] = found.moments, found.least, found.most
    return Averages(moments, least, most)


def _report(
    comm: MPI.Comm,
    volumes: Array,
    density: Array,
    modulus: Array,
    stiffness: Stiffness,
    calibration: Calibration,
) -> BoneReport:
    """Of tetrahedra, which are the cells or parts of them."""
    volume = total(comm, float(volumes.sum()))

    def share(chosen: NDArray[np.bool_]) -> float:
        return total(comm, float(volumes[chosen].sum())) / max(volume, 1e-300)

    warnings = list(calibration.warnings)
    beyond = share(stiffness.law.outside(stiffness.own(density)))
    if beyond > MUCH_BEYOND:
        low, high = stiffness.law.valid
        warnings.append(
            f"{100 * beyond:.0f} % of the volume lies beyond the densities that "
            f"`{stiffness.law.name}` was measured on ({low:g} to {high:g} g/cm³ "
            f"{stiffness.law.density}, {stiffness.law.site})."
        )
    if comm.rank == 0:
        for line in warnings[len(calibration.warnings) :]:
            logger.warning("%s", line)
    return BoneReport(
        volume=volume,
        mineral=total(comm, float(volumes @ density)) / 1000.0,
        shares=SHARES,
        densities=tuple(quantiles(comm, density, SHARES).tolist()),
        moduli=tuple((quantiles(comm, modulus, SHARES) / MPA).tolist()),
        beyond=beyond,
        at_floor=share(modulus <= stiffness.floor * (1 + 1e-9)),
        at_ceiling=share(modulus >= stiffness.ceiling * (1 - 1e-9)),
        warnings=tuple(warnings),
    )
