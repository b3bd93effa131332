"""Proof of quality: volumes and surfaces against what a mesh was made from, and thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.errors import InputError, MeshError
from organtwin.image.volume import LabelMap
from organtwin.mesh.closest import distances
from organtwin.mesh.quality import MeshQuality, mesh_quality, signed_volumes
from organtwin.mesh.regions import faces
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.units import ML

type Points = NDArray[np.float64]
type Triangles = NDArray[np.int64]

#: At most so many places of a surface are measured, evenly strided.
PLACES = 200_000
#: Voxel faces looked at for each place: those with the nearest middles.
CANDIDATES = 16


@dataclass(frozen=True)
class RegionProof:
    """A region of a mesh beside what it was made from.

    Attributes:
        cells: Number of tetrahedra.
        volume_ml: Volume (mL).
        wanted_ml: Volume of its voxels, or inside its surface (mL).
        hausdorff: Largest distance between its surface and that of its voxels, both ways (mm).
        mean_distance: Mean of the two mean distances (mm).
    """

    cells: int
    volume_ml: float
    wanted_ml: float
    hausdorff: float
    mean_distance: float

    @property
    def volume_error(self) -> float:
        """Relative error of the volume."""
        return self.volume_ml / self.wanted_ml - 1.0


@dataclass(frozen=True)
class Proof:
    """What a mesh is worth.

    Attributes:
        quality: Angles, shapes, sizes, volumes of the tetrahedra.
        regions: Name → comparison with what the region was made from.
        voxel_diagonal: Diagonal of a voxel (mm); None if the mesh was made from surfaces.
    """

    quality: MeshQuality
    regions: Mapping[str, RegionProof]
    voxel_diagonal: float | None = None


@dataclass(frozen=True)
class Requirements:
    """What a mesh must reach to be used.

    Attributes:
        min_dihedral: Smallest dihedral angle (degrees).
        volume_error: Largest relative error of a region's volume ...
        over_ml: ... if its voxels fill more than this (mL).
        hausdorff: Largest distance of surfaces (mm); None for any.
    """

    min_dihedral: float = 5.0
    volume_error: float = 0.01
    over_ml: float = 5.0
    hausdorff: float | None = None


def prove(mesh: TetrahedralMesh, labels: LabelMap) -> Proof:
    """Compare each region with the voxels of its label.

    Distances are taken from places on either surface: vertices and middles of the triangles, and
    corners and middles of the voxels' faces. They may come out too large by what
    `closest_on_triangles` says, never too small at these places.

    Raises:
        InputError: a region has no label, or no voxels.
    """
    in_grid = labels.grid.index(mesh.points) * labels.spacing
    regions = {}
    for name, number in mesh.region_names.items():
        mask = labels.mask(name)
        if not mask.any():
            raise InputError("mesh", f"label `{name}` has no voxels.", "Choose another label map.")
        middles, halves = voxel_faces(mask, labels)
        regions[name] = _beside(
            mesh, number, in_grid, labels.volume_ml(name), _square_places(middles, halves),
            partial(_to_squares, middles=middles, halves=halves),
        )  # fmt: skip
    diagonal = float(np.linalg.norm(labels.spacing))
    return Proof(_quality(mesh, regions), regions, diagonal)


def prove_surfaces(mesh: TetrahedralMesh, surfaces: Mapping[str, TriangleSurface]) -> Proof:
    """Compare each region with the closed surface of its name; surfaces lie apart.

    Raises:
        InputError: a region has no surface.
    """
    regions = {}
    for name, number in mesh.region_names.items():
        if name not in surfaces:
            raise InputError("mesh", f"region `{name}` has no surface.", "Name the surface so.")
        points, triangles = surfaces[name].points, surfaces[name].triangles
        a, b, c = (points[triangles[:, k]] for k in range(3))
        wanted = float(np.einsum("ij,ij->", np.cross(a, b), c)) / 6.0 / ML
        regions[name] = _beside(
            mesh, number, mesh.points, wanted, _triangle_places(points, triangles),
            partial(distances, points=points, triangles=triangles),
        )  # fmt: skip
    return Proof(_quality(mesh, regions), regions)


def require(proof: Proof, wanted: Requirements, place: str) -> None:
    """Refuse a mesh that is not good enough; see `missed` and `refuse`."""
    refuse(missed(proof, wanted), place)


def refuse(reasons: Sequence[str], place: str) -> None:
    """Refuse a mesh for what it misses, if anything.

    Args:
        reasons: What `missed` found.
        place: Where the requirements stand, for the message.

    Raises:
        MeshError: there are reasons.
    """
    if reasons:
        raise MeshError(
            place,
            f"the mesh is below its threshold: {'; '.join(reasons)}.",
            "Mesh finer (a wall wants edges of half its thickness), correct the labels there, or "
            "lower the threshold.",
        )


def missed(proof: Proof, wanted: Requirements) -> list[str]:
    """What a mesh does not reach, one sentence part each."""
    quality = proof.quality
    reasons = []
    if quality.inverted:
        reasons.append(f"{quality.inverted} inverted tetrahedra")
    if quality.min_dihedral < wanted.min_dihedral:
        reasons.append(
            f"smallest dihedral angle {quality.min_dihedral:.1f} degrees, "
            f"{wanted.min_dihedral:g} wanted"
        )
    for name, region in proof.regions.items():
        error = region.volume_error
        if region.wanted_ml > wanted.over_ml and abs(error) > wanted.volume_error:
            reasons.append(
                f"volume of `{name}` off by {100 * error:+.1f} %, "
                f"{100 * wanted.volume_error:g} % allowed"
            )
        if wanted.hausdorff is not None and region.hausdorff > wanted.hausdorff:
            reasons.append(
                f"surface of `{name}` up to {region.hausdorff:.2f} mm off, "
                f"{wanted.hausdorff:g} mm allowed"
            )
    return reasons


def _quality(mesh: TetrahedralMesh, regions: Mapping[str, RegionProof]) -> MeshQuality:
    return mesh_quality(
        mesh.points,
        mesh.cells,
        {name: region.volume_ml for name, region in regions.items()},
        {name: region.wanted_ml for name, region in regions.items()},
    )


def _beside(
    mesh: TetrahedralMesh,
    number: int,
    points: Points,
    wanted_ml: float,
    there: Points,
    to_reference: Callable[[Points], NDArray[np.float64]],
) -> RegionProof:
    """Compare a region with a reference; ``points`` are the mesh's in the reference's axes."""
    cells = mesh.cells[mesh.regions == number]
    if not len(cells):
        return RegionProof(0, 0.0, wanted_ml, float("inf"), float("inf"))
    every, count = np.unique(faces(cells), axis=0, return_counts=True)
    used, numbered = np.unique(every[count == 1], return_inverse=True)
    own, triangles = points[used], numbered.reshape(-1, 3)
    forth = to_reference(_thinned(_triangle_places(own, triangles)))
    back = distances(_thinned(there), own, triangles)
    return RegionProof(
        cells=len(cells),
        volume_ml=float(signed_volumes(mesh.points, cells).sum()) / ML,
        wanted_ml=wanted_ml,
        hausdorff=float(max(forth.max(), back.max())),
        mean_distance=float(0.5 * (forth.mean() + back.mean())),
    )


def _triangle_places(points: Points, triangles: Triangles) -> Points:
    """Vertices and middles of triangles."""
    return np.concatenate([points, points[triangles].mean(axis=1)])


def _thinned(places: Points) -> Points:
    return places[:: max(1, -(-len(places) // PLACES))]


def voxel_faces(mask: NDArray[np.bool_], labels: LabelMap) -> tuple[Points, Points]:
    """Faces between voxels of a mask and others, those of long voxels cut into squarish parts.

    Args:
        mask: Voxels, shape of the label map's values.
        labels: Where they lie.

    Returns:
        Middles and half lengths along the grid axes, both (n, 3), in millimetres along the grid's
        axes from the centre of voxel (0, 0, 0); the half length across a face is 0.
    """
    inside = np.pad(mask, 1)
    spacing = labels.spacing
    middles, halves = [], []
    for axis in range(3):
        low = np.argwhere(np.diff(inside.astype(np.int8), axis=axis)) - 1.0
        low[:, axis] += 0.5
        half = 0.5 * spacing.copy()
        half[axis] = 0.0
        middle = low * spacing
        for along in {0, 1, 2} - {axis}:
            parts = max(1, round(float(spacing[along] / spacing.min())))
            half[along] /= parts
            steps = (2.0 * np.arange(parts) - parts + 1.0) * half[along]
            middle = (middle[:, None] + steps[:, None] * np.eye(3)[along]).reshape(-1, 3)
        middles.append(middle)
        halves.append(np.broadcast_to(half, middle.shape))
    return np.concatenate(middles), np.concatenate(halves)


def _square_places(middles: Points, halves: Points) -> Points:
    """Middles of faces and two opposite corners of each, which are all corners many times over."""
    return np.unique(np.concatenate([middles, middles - halves, middles + halves]), axis=0)


def _to_squares(places: Points, middles: Points, halves: Points) -> NDArray[np.float64]:
    """Distance (mm) of places from the nearest of the faces next to them."""
    number = min(CANDIDATES, len(middles))
    near = np.asarray(cKDTree(middles).query(places, number)[1]).reshape(-1, number)
    beyond = np.maximum(np.abs(places[:, None] - middles[near]) - halves[near], 0.0)
    return np.asarray(np.linalg.norm(beyond, axis=2).min(axis=1))
