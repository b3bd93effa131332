"""Write meshes/biventricle/heart.nii.gz, the label map of that folder's surface.

    python scripts/write_biventricle_labels.py

The base of the surface is flat within 3 mm. Here the wall 3 mm below the middle of the base is
continued straight up to that plane, so that one plane cuts wall and cavities; voxels stand along
it.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

from pathlib import Path

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from organtwin.image.readers import write_labels
from organtwin.image.volume import LabelMap
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.voxelising import voxelised

FOLDER = Path(__file__).parents[1] / "meshes" / "biventricle"
BASE, EPI, LV, RV = 1, 2, 3, 4  # `class` of the points
VOXEL = 1.0  # mm
UNEVEN = 3.0  # mm of the base
LV_WALL, RV_WALL, LV_BLOOD, RV_BLOOD = 1, 2, 3, 4
NAMES = {"lv_myocardium": 1, "rv_myocardium": 2, "lv_blood": 3, "rv_blood": 4}

type Mask = NDArray[np.bool_]


def cavities(wall: Mask) -> list[Mask]:
    """The two largest hollows of a wall that is open at the last layer of its third axis."""
    hollow = ~wall
    hollow[:, :, -1] = ndimage.binary_fill_holes(wall[:, :, -1]) & ~wall[:, :, -1]
    hollow[:, :, :-1] &= ~connected(hollow[:, :, :-1], np.zeros(3, int))
    pieces, _ = ndimage.label(hollow)
    largest = np.argsort(np.bincount(pieces.ravel())[1:])[::-1][:2] + 1
    return [np.asarray(pieces == number) for number in largest]


def connected(mask: Mask, start: NDArray[np.int64]) -> Mask:
    """The piece of a mask that a voxel lies in."""
    pieces, _ = ndimage.label(mask)
    return np.asarray(pieces == pieces[tuple(start)])


def centre(labels: LabelMap, mask: Mask) -> NDArray[np.float64]:
    """Mean position of a mask's voxels (mm)."""
    return labels.points(np.argwhere(mask)).mean(axis=0)


def main() -> None:
    """Read, cut, write."""
    surface = pv.read(FOLDER / "heart.vtp")
    kind, triangles = np.asarray(surface["class"]).astype(int), surface.regular_faces
    points = np.asarray(surface.points, float)
    base = points[kind == BASE]
    middle = base.mean(axis=0)
    up = np.linalg.svd(base - middle)[2][2]
    up *= np.sign(up @ (middle - points.mean(axis=0)))
    first = points[kind == RV].mean(axis=0) - points[kind == LV].mean(axis=0)
    first -= (first @ up) * up
    first /= np.linalg.norm(first)
    axes = np.column_stack([first, np.cross(up, first), up])
    local = (points - middle) @ axes
    found = voxelised({"wall": TriangleSurface(local, triangles)}, VOXEL)
    heights = found.origin[2] + VOXEL * np.arange(found.values.shape[2])
    complete, layers = np.searchsorted(heights, [-UNEVEN, 0.0])
    wall = found.mask("wall")[:, :, :layers]
    wall[:, :, complete:] = wall[:, :, complete - 1 : complete]
    values = np.zeros(found.values.shape, np.uint8)
    below = values[:, :, :layers]
    below[wall] = LV_WALL
    inner = local[kind == LV].mean(axis=0)
    lv, rv = sorted(cavities(wall), key=lambda m: np.linalg.norm(centre(found, m) - inner))
    below[lv], below[rv] = LV_BLOOD, RV_BLOOD
    index = np.argwhere(values == LV_WALL)
    at = found.points(index)
    # The free wall of the RV is what lies nearer to the epicardium beside the RV than to the LV.
    to_lv, to_rv = (KDTree(local[kind == number]) for number in (LV, RV))
    epi = local[kind == EPI]
    beside = epi[to_rv.query(epi)[0] < to_lv.query(epi)[0]]
    free = KDTree(beside).query(at)[0] < to_lv.query(at)[0]
    values[tuple(index[free].T)] = RV_WALL
    labels = LabelMap(
        values, NAMES, found.spacing, middle + axes @ found.origin, axes @ found.direction
    )
    write_labels(labels, FOLDER / "heart.nii.gz")
    for name in NAMES:
        print(f"{name}: {labels.volume_ml(name):.1f} mL")


if __name__ == "__main__":
    main()
