"""Density and modulus on a mesh from a synthetic CT whose density is known everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import basix
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.bone.calibration import Calibration, fitted
from organtwin.bone.cortex import fit_cortex
from organtwin.bone.laws import Stiffness, stiffness
from organtwin.bone.mapping import BoneFields, map_bone
from organtwin.bone.synthetic import Scanner, synthetic_ct
from organtwin.image.volume import Grid, Image
from organtwin.mesh.domain import Domain
from organtwin.parallel import on_root, total
from organtwin.verify.geometry import box
from organtwin.verify.record import Record, Sense

type Array = NDArray[np.float64]

#: Edge of the block (mm), and how far the image reaches beyond it (mm).
SIDE, BEYOND = 20.0, 5.0
#: What the synthetic scanner was calibrated to.
TRUE = Calibration(-0.01, 7.8e-4)
NAME, SOURCE = "density_mapping", "analytic density of the synthetic CT"


def density(x: Array) -> Array:
    """From marrow to compact bone (mg/mm³) at places (mm), (n, 3) → (n,)."""
    wave = np.sin(2 * np.pi * x[:, 0] / 40.0) * np.cos(2 * np.pi * x[:, 1] / 50.0)
    return np.asarray(0.55 + 0.3 * wave + 0.012 * (x[:, 2] - SIDE / 2))


def jump(x: Array) -> Array:
    """A cortex of 2 mm beside marrow (mg/mm³)."""
    return np.where(np.abs(x[:, 0] - 8.0) < 1.0, 1.1, 0.05)


def block_grid(voxel: float) -> Grid:
    """Voxels around the block, with axes that mirror and do not start at a voxel's face."""
    count = math.ceil((SIDE + 2 * BEYOND) / voxel)
    turned = np.diag([-1.0, -1.0, 1.0])
    start = np.array([SIDE + BEYOND, SIDE + BEYOND, -BEYOND]) + 0.3 * voxel
    return Grid((count, count, count), np.full(3, voxel), start, turned)


@dataclass(frozen=True)
class Errors:
    """Of the fields of a mesh: relative errors, in L2 if not said otherwise."""

    mean: float
    field: float
    mineral: float


def errors(domain: Domain, found: BoneFields, way: Stiffness) -> Errors:
    """Mean error of the cells' moduli, error of the field against E(x), error of the mineral."""
    own = domain.mesh.topology.index_map(3).size_local
    nodes = np.asarray(domain.mesh.geometry.dofmaps[0])[:own]
    corners = np.asarray(domain.mesh.geometry.x)[nodes]
    points, weights = basix.make_quadrature(basix.CellType.tetrahedron, 8)
    bary = np.column_stack([1.0 - points.sum(axis=1), points])
    share = weights / weights.sum()
    x = np.einsum("qc,ncx->nqx", bary, corners)
    rho = density(x.reshape(-1, 3)).reshape(own, -1)
    exact = way(rho)
    volume = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])) / 6.0
    space = found.modulus.function_space
    values = found.modulus.x.array[space.dofmap.list[:own]]
    there = np.broadcast_to(values, exact.shape) if values.shape[1] == 1 else values @ bary.T
    comm = domain.comm

    def summed(per_point: Array) -> float:
        return total(comm, float(volume @ (per_point @ share)))

    cells = np.abs((there - exact) @ share)
    size = total(comm, float(volume @ (exact @ share)))
    return Errors(
        mean=total(comm, float(volume @ cells)) / size,
        field=math.sqrt(summed((there - exact) ** 2) / summed(exact**2)),
        mineral=abs(found.report.mineral * 1000.0 / summed(rho) - 1.0),
    )


def scanned(
    comm: MPI.Comm, voxel: float, scanner: Scanner, of: Callable[[Array], Array] = density
) -> Image | None:
    """The image on rank 0, nothing elsewhere."""
    return synthetic_ct(of, block_grid(voxel), scanner) if comm.rank == 0 else None


def mapping_records(comm: MPI.Comm, *, quick: bool) -> list[Record]:
    """Averages of a realistic scan, orders of a fine one, and bounds at a jump."""
    way = stiffness("keyak_1998")
    rods = np.array([0.0, 0.1, 0.2, 0.4, 0.8])
    measured = TRUE.hounsfield(rods) + np.array([2.0, -3.0, 1.0, 3.0, -2.0])
    calibration = fitted(measured, rods)
    real = scanned(comm, 1.0, Scanner(TRUE, blur=(0.5, 0.5, 0.6), noise=15.0))
    records = []
    for n in (4, 20):
        domain = box(comm, (SIDE,) * 3, (n,) * 3)
        found = errors(domain, map_bone(domain, real, calibration, way), way)
        ratio = SIDE / n
        records += [
            _most(
                f"mean error of the cells' moduli, elements of {ratio:g} voxels", found.mean, 0.02
            ),
            _most(f"error of the mineral, elements of {ratio:g} voxels", found.mineral, 0.01),
        ]
    return [
        *records,
        *order_records(comm, way, quick=quick),
        *jump_records(comm, way),
        *cortex_records(comm),
    ]


def order_records(comm: MPI.Comm, way: Stiffness, *, quick: bool) -> list[Record]:
    """Orders with which both kinds of field approach E(x) of a fine image without noise."""
    fine = scanned(comm, 0.5, Scanner(TRUE, samples=2, whole=False))
    # Elements of four voxels and more: below, the voxels' own error of 0.1 % shows.
    sizes = (4, 8) if quick else (5, 10)
    records = []
    for smooth, ideal, kind in ((False, 1.0, "constant in cells"), (True, 2.0, "linear")):
        left = []
        for n in sizes:
            domain = box(comm, (SIDE,) * 3, (n,) * 3)
            found = map_bone(domain, fine, TRUE, way, smooth=smooth)
            left.append(errors(domain, found, way).field)
        order = math.log2(left[-2] / left[-1])
        records.append(
            Record(NAME, f"order of the modulus, {kind}, in the size of elements", order, "1",
                   ideal, 0.2, "approximation order of the space", Sense.AT_LEAST)
        )  # fmt: skip
    return records


def jump_records(comm: MPI.Comm, way: Stiffness) -> list[Record]:
    """A smooth field at a jump: between the densities of both sides, nothing gained or lost."""
    image = scanned(comm, 0.5, Scanner(TRUE, samples=4, whole=False), jump)
    domain = box(comm, (SIDE,) * 3, (10,) * 3)
    found = map_bone(domain, image, TRUE, way, smooth=True)
    own = found.density.x.array
    low = comm.allreduce(float(own.min()), op=MPI.MIN)
    high = comm.allreduce(float(own.max()), op=MPI.MAX)
    beyond = max(0.05 - low, high - 1.1, 0.0)
    mineral = SIDE**2 * (1.1 * 2.0 + 0.05 * (SIDE - 2.0)) / 1000.0
    return [
        Record(NAME, "density beyond both sides of a jump, linear field", beyond, "mg/mm³", 0.0,
               1e-9, "bounds of the density", Sense.AT_MOST),
        Record(NAME, "mineral of cortex and marrow", found.report.mineral, "g", mineral,
               0.005 * mineral, "volume times density"),
    ]  # fmt: skip


def cortex_records(comm: MPI.Comm) -> list[Record]:
    """Thickness of cortices below the voxel size, in noise, across the axes of the grid."""
    normal = np.array([0.6, 0.5, 0.62]) / np.linalg.norm([0.6, 0.5, 0.62])
    middle = np.full(3, SIDE / 2)
    plane = np.linalg.svd(normal[None])[2][1:]
    places = np.random.default_rng(3).uniform(-4.0, 4.0, (60, 2)) @ plane + middle
    scanner = Scanner(TRUE, blur=(0.7, 0.7, 0.7), noise=20.0)

    def measured(thickness: float) -> float:
        def wall(x: Array) -> Array:
            depth = -(x - middle) @ normal
            return np.where(depth < 0.0, 0.03, np.where(depth < thickness, 1.1, 0.15))

        image = synthetic_ct(wall, block_grid(1.0), scanner)
        found = fit_cortex(
            image, places, np.tile(normal, (len(places), 1)), level=float(TRUE.hounsfield(1.1))
        )
        return float(np.median(found.thickness[found.trusted]))

    wanted = (0.4, 0.8, 2.0)
    found = on_root(comm, lambda: [measured(thickness) for thickness in wanted])
    return [
        Record(NAME, f"thickness of a cortex of {t:g} mm in voxels of 1 mm", value, "mm", t, 0.05,
               "synthetic cortex")
        for t, value in zip(wanted, found, strict=True)
    ]  # fmt: skip


def _most(quantity: str, value: float, bound: float) -> Record:
    return Record(NAME, quantity, value, "1", 0.0, bound, SOURCE, Sense.AT_MOST)
