"""Whether surfaces, closed or open, face outwards."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import MeshError
from organtwin.mesh.defects import (
    components,
    edges_of,
    part_boxes,
    part_volumes,
    places_of,
    wrong_way,
)

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]

#: Volume below a sheet with one rim, per area to the power 3/2, from which it has an inside; a
#: half sphere has 0.13.
DEEP = 0.03


def check_outwards(points: Points, triangles: Index, rims: list[Index]) -> None:
    """Refuse parts that face inwards.

    Rims are closed by fans around their middles; a shallow sheet with one rim has no inside.

    Args:
        points: Vertices (mm), shape (n, 3).
        triangles: Vertex indices, manifold, shape (m, 3).
        rims: Open edges of each rim as the triangles run.

    Raises:
        MeshError: a part faces inwards; a part in an odd number of others faces outwards if its
            normals point into the hollow.
    """
    centres = np.array([points[rim[:, 0]].mean(axis=0) for rim in rims]).reshape(-1, 3)
    fans = [
        np.column_stack([rim[:, ::-1], np.full(len(rim), len(points) + k)])
        for k, rim in enumerate(rims)
    ]
    x, closed = np.concatenate([points, centres]), np.concatenate([triangles, *fans])
    part = components(edges_of(closed))
    boxes = part_boxes(x, closed, part)
    volume = part_volumes(x, closed, part, 0.5 * (boxes[0] + boxes[1]))
    everywhere = np.ones(len(volume), bool)
    wrong = wrong_way(x, closed, part, volume, boxes, everywhere)
    starts = np.cumsum([len(triangles), *(len(fan) for fan in fans)])[:-1]
    single = np.bincount(part[starts], minlength=len(volume)) == 1
    corners = points[triangles]
    doubled = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sizes = np.linalg.norm(doubled, axis=1)
    area = 0.5 * np.bincount(part[: len(triangles)], sizes, len(volume))
    wrong &= ~single | (np.abs(volume) > DEEP * area**1.5)
    if wrong.any():
        places = np.array([x[closed[np.argmax(part == k)]].mean(axis=0)
                           for k in np.flatnonzero(wrong)])  # fmt: skip
        raise MeshError(
            "grow",
            f"{len(places)} parts of the surface face inwards, at {places_of(places)} mm.",
            "Turn their triangles round (organtwin.mesh.repair); for a lining set inward=True.",
        )
