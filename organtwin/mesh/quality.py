"""How good a tetrahedral mesh is: angles, shapes, sizes, volumes kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError

#: Bounds of the bins of the mean-ratio histogram.
MEAN_RATIO_BINS = tuple(round(0.1 * k, 1) for k in range(11))
#: Bounds of the bins of the histogram of dihedral angles (degrees).
DIHEDRAL_BINS = tuple(range(0, 181, 5))


@dataclass(frozen=True)
class MeshQuality:
    """Numbers that tell whether a mesh can be computed on.

    Attributes:
        cells: Number of tetrahedra.
        vertices: Number of vertices.
        min_dihedral: Smallest dihedral angle (degrees).
        first_percentile_dihedral: First percentile of the cells' smallest angles (degrees).
        max_dihedral: Largest dihedral angle (degrees).
        dihedral_histogram: Number of angles, six per cell, per bin of `DIHEDRAL_BINS`.
        inverted: Number of cells without positive volume.
        min_scaled_jacobian: Smallest scaled Jacobian; 1 is a regular tetrahedron.
        mean_ratio_histogram: Number of cells per bin of `MEAN_RATIO_BINS`.
        mean_ratio_bins: Bounds of the bins; 1 is a regular tetrahedron, 0 a flat one.
        edge_length: Smallest, mean and largest edge (mm).
        volumes_ml: Volume of each region (mL).
        volume_error: Relative error of each region against the voxels.
    """

    cells: int
    vertices: int
    min_dihedral: float
    first_percentile_dihedral: float
    max_dihedral: float
    dihedral_histogram: tuple[int, ...]
    inverted: int
    min_scaled_jacobian: float
    mean_ratio_histogram: tuple[int, ...]
    mean_ratio_bins: tuple[float, ...]
    edge_length: tuple[float, float, float]
    volumes_ml: Mapping[str, float]
    volume_error: Mapping[str, float]


@dataclass(frozen=True)
class MeshReport:
    """A mesh file and what is known about it.

    Attributes:
        path: The ``.msh`` file.
        size: Edge length that was asked for (mm).
        quality: Angles, shapes, volumes.
        regions: Region name → number of cells.
        surfaces: Surface name → area (mm²).
        cavities_ml: Volume of each cavity below the base, ``lv_blood`` and ``rv_blood`` (mL).
        cavity_error: Relative error of each cavity against the voxels.
        decisions: What was decided on the way, one sentence each.
    """

    path: str
    size: float
    quality: MeshQuality
    regions: Mapping[str, int]
    surfaces: Mapping[str, float]
    cavities_ml: Mapping[str, float]
    cavity_error: Mapping[str, float]
    decisions: tuple[str, ...]

    def to_json(self, path: Path) -> None:
        """Write the report."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def from_json(cls, path: Path) -> MeshReport:
        """Read what `to_json` wrote.

        Raises:
            InputError: the file is missing or holds something else.
        """
        try:
            data = json.loads(path.read_text())
            quality: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in data.pop("quality").items()
            }
            data["decisions"] = tuple(data["decisions"])
            return cls(quality=MeshQuality(**quality), **data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                str(path), f"no mesh report ({error}).", "Run the mesh stage again."
            ) from None


def signed_volumes(points: NDArray[np.float64], cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Volumes of tetrahedra (mm³), negative where the vertices are in the wrong order."""
    a, b, c, d = (points[cells[:, k]] for k in range(4))
    return np.asarray(np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) / 6.0)


def dihedral_angles(points: NDArray[np.float64], cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """The six angles between the faces of each tetrahedron (degrees), shape (n, 6)."""
    a, b, c, d = (points[cells[:, k]] for k in range(4))
    normals = [
        np.cross(c - b, d - b), np.cross(d - a, c - a), np.cross(b - a, d - a),
        np.cross(c - a, b - a),
    ]  # fmt: skip
    unit = [n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-300) for n in normals]
    cosines = [np.einsum("ij,ij->i", unit[i], unit[j]) for i in range(4) for j in range(i)]
    return np.asarray(np.degrees(np.pi - np.arccos(np.clip(np.stack(cosines, axis=1), -1, 1))))


def mean_ratio(points: NDArray[np.float64], cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shape of each tetrahedron: η = 12 (3 V)^(2/3) / Σ l², 1 for a regular one.

    Source:
        Liu & Joe (1994), BIT 34:268-287.
    """
    edges = sum(
        np.sum((points[cells[:, i]] - points[cells[:, j]]) ** 2, axis=1)
        for i in range(4)
        for j in range(i)
    )
    volume = np.maximum(signed_volumes(points, cells), 0.0)
    return np.asarray(12.0 * np.cbrt(3.0 * volume) ** 2 / edges)


def scaled_jacobian(points: NDArray[np.float64], cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scaled Jacobian of each tetrahedron: √2 J / max(J, λ), 1 for a regular one.

    J = 6 V, and λ is the largest product of the three edges at a vertex.

    Source:
        Stimpson et al. (2007), The Verdict Geometric Quality Library, SAND2007-1751, 6.8.
    """
    x = points[cells]
    length = np.linalg.norm(x[:, :, None] - x[:, None], axis=3)
    at_vertex = np.stack([np.delete(length[:, k], k, axis=1).prod(axis=1) for k in range(4)])
    jacobian = 6.0 * signed_volumes(points, cells)
    largest = np.maximum(at_vertex.max(axis=0), jacobian)
    return np.asarray(np.sqrt(2.0) * jacobian / np.maximum(largest, 1e-300))


def mesh_quality(
    points: NDArray[np.float64],
    cells: NDArray[np.int64],
    volumes_ml: Mapping[str, float],
    wanted_ml: Mapping[str, float],
) -> MeshQuality:
    """Statistics of a mesh.

    Args:
        points: Vertices (mm), shape (n, 3).
        cells: Vertex indices of the tetrahedra, shape (m, 4).
        volumes_ml: Volume of each region in the mesh (mL).
        wanted_ml: The same of the voxels it was made from (mL).
    """
    angles = dihedral_angles(points, cells)
    smallest = angles.min(axis=1)
    pairs = np.concatenate([cells[:, [i, j]] for i in range(4) for j in range(i)])
    # As one number each, edges are sorted ten times faster than as rows.
    edges = np.unique(pairs.min(axis=1) * len(points) + pairs.max(axis=1))
    start, end = np.divmod(edges, len(points))
    length = np.linalg.norm(points[start] - points[end], axis=1)
    spread, _ = np.histogram(angles, bins=DIHEDRAL_BINS)
    counts, _ = np.histogram(mean_ratio(points, cells), bins=np.array(MEAN_RATIO_BINS) + 1e-12)
    return MeshQuality(
        cells=len(cells),
        vertices=len(points),
        min_dihedral=float(smallest.min()),
        first_percentile_dihedral=float(np.percentile(smallest, 1)),
        max_dihedral=float(angles.max()),
        dihedral_histogram=tuple(int(k) for k in spread),
        inverted=int(np.count_nonzero(signed_volumes(points, cells) <= 0.0)),
        min_scaled_jacobian=float(scaled_jacobian(points, cells).min()),
        mean_ratio_histogram=tuple(int(k) for k in counts),
        mean_ratio_bins=MEAN_RATIO_BINS,
        edge_length=(float(length.min()), float(length.mean()), float(length.max())),
        volumes_ml=dict(volumes_ml),
        volume_error={name: volumes_ml[name] / wanted_ml[name] - 1.0 for name in volumes_ml},
    )
