"""From the case file to edge lengths and voxels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organtwin.case.organ import Near as NearSection
from organtwin.case.organ import OrganCase, OrganMesh
from organtwin.errors import InputError
from organtwin.image.markups import Curve, Landmarks, Line, read_markups
from organtwin.image.volume import LabelMap
from organtwin.mesh.conforming.sizes import Near, Sizes

#: Voxel edge worth keeping, in parts of the smallest edge length.
VOXELS_PER_EDGE = 1.0 / 3.0
#: The same in parts of the thickness of a grown wall.
VOXELS_PER_WALL = 1.0 / 3.0
#: Voxels are only coarsened if they become at least so many times longer.
COARSER = 1.5


def sizes_of(section: OrganMesh) -> Sizes:
    """Edge lengths wanted.

    Raises:
        InputError: markups are no points, lines or curves.
    """
    return Sizes(
        default=section.size,
        by_label=section.by_region,
        curvature=section.curvature,
        thickness=section.thickness,
        near=tuple(Near(_where(near), near.size, near.distance) for near in section.near),
        smallest=section.smallest,
        gradation=section.gradation,
    )


def _where(near: NearSection) -> str | NDArray[np.float64]:
    """Region, or points (mm), that edge lengths are wanted around.

    Raises:
        InputError: the markups are no points, lines or curves.
    """
    if near.region is not None:
        return near.region
    if near.point is not None:
        return np.array([near.point])
    assert near.markup is not None
    parts = []
    for markup in read_markups(near.markup):
        if isinstance(markup, Landmarks):
            parts.append(markup.points)
        elif isinstance(markup, Line):
            parts.append(_sampled(np.array([markup.start, markup.end]), near.size))
        elif isinstance(markup, Curve):
            closing = markup.points[: int(markup.closed)]
            parts.append(_sampled(np.concatenate([markup.points, closing]), near.size))
        else:
            raise InputError(
                "[[mesh.near]] markup",
                f"`{markup.name}` is a {type(markup).__name__.lower()}.",
                "Give points, lines or curves.",
            )
    return np.concatenate(parts)


def _sampled(points: NDArray[np.float64], size: float) -> NDArray[np.float64]:
    """Points along a line from one to the next, half an edge apart."""
    length = np.linalg.norm(np.diff(points, axis=0), axis=1)
    place = np.concatenate([[0.0], np.cumsum(length)])
    at = np.linspace(0.0, place[-1], int(np.ceil(2.0 * place[-1] / size)) + 1)
    return np.stack([np.interp(at, place, column) for column in points.T], axis=1)


def resolution_of(case: OrganCase, labels: LabelMap | None) -> float | None:
    """Voxel edge (mm) that edge lengths and walls ask for; None for the labels as they are."""
    section = case.mesh
    if section.resolution or labels is None:
        return section.resolution
    lengths = [section.size, *section.by_region.values(), *(n.size for n in section.near)]
    lengths += [section.smallest] if section.smallest else []
    walls = [wall.thickness for wall in case.labels.walls.values()]
    edge = min([min(lengths) * VOXELS_PER_EDGE, *(VOXELS_PER_WALL * wall for wall in walls)])
    return edge if edge > COARSER * float(labels.spacing.min()) else None
