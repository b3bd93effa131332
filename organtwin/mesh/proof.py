"""Proof of quality: volumes and surfaces against what a mesh was made from, and thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from organtwin.errors import MeshError
from organtwin.image.touching import contact_areas, new_contacts
from organtwin.image.volume import LabelMap
from organtwin.mesh.closest import closest_on_triangles
from organtwin.mesh.conforming.batches import OPPOSITE, neighbours
from organtwin.mesh.conforming.interfaces import CUT, OUTSIDE, Interfaces, facet_name
from organtwin.mesh.quality import MeshQuality, mesh_quality, signed_volumes
from organtwin.mesh.vectors import lengths_of
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.units import ML

type Points = NDArray[np.float64]
type Triangles = NDArray[np.int64]

#: At most so many places of a surface are measured, evenly strided.
PLACES = 200_000
#: Triangles looked at for each place, and for those that come out among the furthest: further than
#: this part of the largest distance.
FEW, MANY, FURTHEST = 4, 12, 0.5
#: Parts of the largest extent to which places are told apart.
APART = 2**20
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
        pieces: Number of its parts that hang together by faces.
    """

    cells: int
    volume_ml: float
    wanted_ml: float
    hausdorff: float
    mean_distance: float
    pieces: int = 1

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
        torn: Pairs of regions, or of one and the outside, that touch in the mesh where their labels
            don't, with the area (mm²): a wall between them is torn.
    """

    quality: MeshQuality
    regions: Mapping[str, RegionProof]
    voxel_diagonal: float | None = None
    torn: Mapping[str, float] = field(default_factory=dict)


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
        InputError: a region has no label.
    """
    in_grid = labels.grid.index(mesh.points) * labels.spacing
    beyond = neighbours(mesh.cells)
    regions = {}
    present = [name for name, code in labels.names.items() if (labels.values == code).any()]
    for name in dict.fromkeys([*mesh.region_names, *present]):
        mask, number = labels.mask(name), mesh.region_names.get(name, -1)
        middles, halves = voxel_faces(mask, labels)
        regions[name] = _beside(
            mesh, number, beyond, in_grid, labels.volume_ml(name),
            _square_places(middles, halves),
            partial(_to_squares, middles=middles, halves=halves),
        )  # fmt: skip
    diagonal = float(np.linalg.norm(labels.spacing))
    return Proof(_quality(mesh, regions), regions, diagonal, _torn(mesh, labels))


def prove_interfaces(mesh: TetrahedralMesh, source: Interfaces) -> Proof:
    """Compare each region with what interfaces enclose."""
    beyond = neighbours(mesh.cells)
    regions = {}
    for name, number in source.names.items():
        used, numbered = np.unique(source.boundary(name), return_inverse=True)
        points, triangles = source.points[used], numbered.reshape(-1, 3)
        regions[name] = _beside(
            mesh, number, beyond, mesh.points, source.volume(name) / ML,
            _triangle_places(points, triangles),
            partial(_distances, points=points, triangles=triangles),
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
            "Mesh finer (a wall wants edges of half its thickness), correct the labels there, keep "
            "fewer of them, or lower the threshold.",
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
    reasons += [
        f"{area:.3g} mm2 of `{pair}` that the labels don't have: a wall is torn or a gap is "
        "closed, which want a finer [mesh] resolution"
        for pair, area in proof.torn.items()
    ]
    for name, region in proof.regions.items():
        error = region.volume_error
        if not region.cells:
            reasons.append(f"no cells of `{name}`, {region.wanted_ml:.3g} mL")
        elif region.wanted_ml > wanted.over_ml and abs(error) > wanted.volume_error:
            reasons.append(
                f"volume of `{name}` off by {100 * error:+.1f} %, "
                f"{100 * wanted.volume_error:g} % allowed"
            )
        if region.cells and wanted.hausdorff is not None and region.hausdorff > wanted.hausdorff:
            reasons.append(
                f"surface of `{name}` up to {region.hausdorff:.2f} mm off, "
                f"{wanted.hausdorff:g} mm allowed"
            )
    return reasons


def _torn(mesh: TetrahedralMesh, labels: LabelMap) -> dict[str, float]:
    """Facets between regions that have more area than their labels' faces could give."""
    codes = {0: OUTSIDE} | {code: name for name, code in labels.names.items()}
    given: dict[frozenset[str], float] = {}
    for (one, two), area in contact_areas(labels).items():
        pair = frozenset((codes.get(one, OUTSIDE), codes.get(two, OUTSIDE)))
        given[pair] = given.get(pair, 0.0) + area
    # Names of regions may have hyphens themselves; the outside goes on beyond cuts.
    both = permutations((*mesh.region_names, OUTSIDE, CUT), 2)
    sides = {facet_name(*p): frozenset(OUTSIDE if n == CUT else n for n in p) for p in both}
    found: dict[frozenset[str], float] = {}
    own = {name: tag for name, tag in mesh.facet_names.items() if name in sides}
    for name, tag in own.items():
        a, b, c = (mesh.points[mesh.facets[mesh.facet_tags == tag][:, k]] for k in range(3))
        area = 0.5 * float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum())
        found[sides[name]] = found.get(sides[name], 0.0) + area
    called = {sides[name]: name for name in own}
    return {called[pair]: area for pair, area in new_contacts(labels, given, found).items()}


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
    beyond: Triangles,
    points: Points,
    wanted_ml: float,
    there: Points,
    to_reference: Callable[[Points], NDArray[np.float64]],
) -> RegionProof:
    """Compare a region with a reference; ``points`` are the mesh's in the reference's axes."""
    own = np.flatnonzero(mesh.regions == number)
    if not len(own):
        return RegionProof(0, 0.0, wanted_ml, 0.0, 0.0, 0)
    beside = beyond[own]
    inside = (beside >= 0) & (mesh.regions[beside] == number)
    row, corner = np.nonzero(~inside)
    border = mesh.cells[own[row, None], OPPOSITE[corner]]
    used, numbered = np.unique(border, return_inverse=True)
    places, triangles = points[used], numbered.reshape(-1, 3)
    forth = to_reference(_thinned(_triangle_places(places, triangles)))
    back = _distances(_thinned(there), places, triangles)
    return RegionProof(
        cells=len(own),
        volume_ml=float(signed_volumes(mesh.points, mesh.cells[own]).sum()) / ML,
        wanted_ml=wanted_ml,
        hausdorff=float(max(forth.max(), back.max())),
        mean_distance=float(0.5 * (forth.mean() + back.mean())),
        pieces=_pieces(own, beside, inside, len(mesh.cells)),
    )


def _pieces(own: Triangles, beside: Triangles, inside: NDArray[np.bool_], count: int) -> int:
    """Number of parts of some of the cells that hang together by faces.

    ``beside`` are the cells beyond their faces, (m, 4), which are ``inside`` or not.
    """
    place = np.zeros(count, np.int64)
    place[own] = np.arange(len(own))
    one, two = np.nonzero(inside)[0], place[beside[inside]]
    once = one < two
    joined = sparse.coo_array(
        (np.ones(int(once.sum()), np.int8), (one[once], two[once])), (len(own), len(own))
    )
    return int(connected_components(joined, directed=False)[0])


def _distances(places: Points, points: Points, triangles: Triangles) -> NDArray[np.float64]:
    """Distance (mm) of each place from a surface, the largest ones with more care.

    Too few triangles make distances too large, never too small: only the largest have to be looked
    at again for the largest of all.
    """
    result = _from_triangles(places, points, triangles, FEW)
    sure = np.zeros(len(result), bool)
    while (again := ~sure & (result > FURTHEST * result.max())).any():
        result[again] = _from_triangles(places[again], points, triangles, MANY)
        sure |= again
    return result


def _from_triangles(
    places: Points, points: Points, triangles: Triangles, candidates: int
) -> NDArray[np.float64]:
    nearest, _ = closest_on_triangles(places, points, triangles, candidates)
    return lengths_of(places - nearest)


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
    places = np.concatenate([middles, middles - halves, middles + halves])
    low = places.min(axis=0)
    steps = np.round((places - low) * ((APART - 1) / max(float((places - low).max()), 1e-300)))
    keys = steps.astype(np.int64) @ np.array([APART**2, APART, 1])
    return places[np.unique(keys, return_index=True)[1]]


def _to_squares(places: Points, middles: Points, halves: Points) -> NDArray[np.float64]:
    """Distance (mm) of places from the nearest of the faces next to them."""
    number = min(CANDIDATES, len(middles))
    near = np.asarray(cKDTree(middles).query(places, number)[1]).reshape(-1, number)
    beyond = np.maximum(np.abs(places[:, None] - middles[near]) - halves[near], 0.0)
    return np.asarray(np.linalg.norm(beyond, axis=2).min(axis=1))
