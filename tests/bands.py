"""A surface with one side, for tests of what finds it and what refuses it."""

from __future__ import annotations

import numpy as np

from organtwin.mesh.surface_files import TriangleSurface


def one_sided_band() -> TriangleSurface:
    n = 24
    turn = np.arange(n) / n * 2 * np.pi
    width = np.array([-4.0, 4.0])[:, None]
    r = 20 + width * np.cos(turn / 2)
    points = np.stack([r * np.cos(turn), r * np.sin(turn), width * np.sin(turn / 2)], axis=2)
    low, high = np.arange(n), np.arange(n) + n
    ahead = np.append(low[1:], high[0]), np.append(high[1:], low[0])
    triangles = np.concatenate(
        [np.column_stack([low, ahead[0], high]), np.column_stack([high, ahead[0], ahead[1]])]
    )
    return TriangleSurface(points.reshape(-1, 3), triangles)
