"""Forty-two label maps and surfaces that kill meshers, each with what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.image.volume import LabelMap
from organtwin.mesh.surface_files import TriangleSurface

type Labels = NDArray[np.uint8]
type Surfaces = Mapping[str, TriangleSurface]

N = 28


@dataclass(frozen=True)
class Torture:
    """A case.

    Attributes:
        name: What is wrong with it.
        make: Makes it.
        refused: What the refusal must say; empty if a valid mesh must come out.
    """

    name: str
    make: Callable[[], LabelMap | Surfaces]
    refused: str = ""


def _grid() -> NDArray[np.float64]:
    return np.stack(np.indices((N, N, N)), axis=3) - (N - 1) / 2


def ball(radius: float, centre: tuple[float, float, float] = (0, 0, 0)) -> NDArray[np.bool_]:
    return np.linalg.norm(_grid() - centre, axis=3) < radius


def labels(
    values: Labels,
    spacing: tuple[float, float, float] = (1.5, 1.5, 1.5),
    direction: NDArray[np.float64] | None = None,
) -> LabelMap:
    names = {f"label_{k}": int(k) for k in np.unique(values) if k}
    turned = np.eye(3) if direction is None else direction
    return LabelMap(
        values.astype(np.uint8), names, np.array(spacing), np.array([12.0, -7.0, 3.0]), turned
    )


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def _two() -> Labels:
    """A ball in a ball."""
    return ball(10).astype(np.uint8) + ball(6)


def _noise(share: float) -> Labels:
    values = _two()
    noisy = _rng(1).random(values.shape) < share
    values[noisy] = _rng(2).integers(0, 3, np.count_nonzero(noisy))
    return values


def _islands() -> Labels:
    values = ball(7).astype(np.uint8)
    for place in _rng(3).integers(1, N - 1, (25, 3)):
        values[tuple(place)] = 2
    return values


def _bridge() -> Labels:
    values = (ball(5, (-7, 0, 0)) | ball(5, (7, 0, 0))).astype(np.uint8)
    values[8:20, N // 2, N // 2] = 1
    return values


def _touching() -> Labels:
    """Four labels that meet in lines and in a point."""
    x = _grid()
    sector = 1 + (x[..., 0] > 0) + 2 * ((x[..., 1] > 0) ^ (x[..., 2] > 0))
    return np.where(ball(10), sector, 0).astype(np.uint8)


def _corner_contacts() -> Labels:
    values = np.zeros((N, N, N), np.uint8)
    values[4:14, 4:14, 4:14] = 1
    values[14:24, 14:24, 14:24] = 1  # by a corner
    return values


def _edge_contacts() -> Labels:
    values = np.zeros((N, N, N), np.uint8)
    values[4:14, 4:14, 4:24] = 1
    values[14:24, 14:24, 4:24] = 1  # along an edge
    return values


def _hollows() -> Labels:
    values = ball(11).astype(np.uint8)
    for centre in ((0, 0, 0), (5, 0, 0), (-5, 2, 1)):
        values[ball(2.2, centre)] = 0
    values[6, N // 2, N // 2] = 0
    return values


def _tunnel() -> Labels:
    values = ball(10).astype(np.uint8)
    values[:, N // 2, N // 2] = 0
    return values


def _shell(thickness: float, noise: float = 0.0) -> Labels:
    distance = np.linalg.norm(_grid(), axis=3)
    values = np.where(distance < 10, 2, 0).astype(np.uint8)
    values[(distance >= 10) & (distance < 10 + thickness)] = 1
    noisy = (_rng(4).random(values.shape) < noise) & ball(12)
    values[noisy] = 1
    return values


def _at_the_border() -> Labels:
    values = np.zeros((N, N, N), np.uint8)
    values[:, 6:20, 6:20] = 1
    values[6:20, :, 10:16] = 2
    return values


def _full() -> Labels:
    return np.full((10, 10, 10), 1, np.uint8)


def _single_voxel() -> Labels:
    values = np.zeros((12, 12, 12), np.uint8)
    values[6, 6, 6] = 1
    return values


def _needle() -> Labels:
    values = ball(7).astype(np.uint8)
    values[N // 2, N // 2, 2:] = 1
    return values


def _random_labels() -> Labels:
    values = _rng(5).integers(1, 5, (7, 7, 7)).astype(np.uint8)
    return np.pad(values, 2)


def _onion() -> Labels:
    distance = np.linalg.norm(_grid(), axis=3)
    return np.clip(13 - distance, 0, 6).astype(np.uint8)


def _warped() -> Labels:
    """Labels with crumpled borders."""
    rng = _rng(6)
    fields = [ndimage.gaussian_filter(rng.normal(size=(N, N, N)), 1.2) for _ in range(4)]
    return np.where(ball(11), 1 + np.argmax(fields, axis=0), 0).astype(np.uint8)


def _oblique() -> NDArray[np.float64]:
    a, b = np.radians(33.0), np.radians(-21.0)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return about_z @ about_x


MIRROR = np.diag([1.0, -1.0, 1.0])


def _nothing() -> LabelMap:
    zero = np.zeros((8, 8, 8), np.uint8)
    return LabelMap(zero, {"liver": 1}, np.ones(3), np.zeros(3), np.eye(3))


def surface(body: pv.PolyData) -> TriangleSurface:
    return TriangleSurface(np.asarray(body.points, float), np.asarray(body.regular_faces, np.int64))


def sphere(radius: float = 20.0, centre: tuple[float, float, float] = (0, 0, 0), n: int = 24):
    return pv.Sphere(radius=radius, center=centre, theta_resolution=n, phi_resolution=n)


def one(body: TriangleSurface) -> Surfaces:
    return {"body": body}


def _changed(change: Callable[[NDArray, NDArray], tuple[NDArray, NDArray]]) -> Surfaces:
    whole = surface(sphere())
    points, triangles = change(whole.points.copy(), whole.triangles.copy())
    return one(TriangleSurface(points, triangles))


def _with_holes(points, triangles):
    middle = points[triangles].mean(axis=1)
    gone = np.zeros(len(triangles), bool)
    for direction in ((1, 0, 0), (0, 1, 0), (0.5, -0.7, 0.5)):
        gone |= middle @ np.array(direction) / np.linalg.norm(direction) > 19.3
    return points, triangles[~gone]


def _flipped(points, triangles):
    turned = _rng(7).random(len(triangles)) < 0.3
    triangles[turned] = triangles[turned][:, ::-1]
    return points, triangles


def _doubled(points, triangles):
    return points, np.concatenate([triangles, triangles[:80], triangles[40:60, ::-1]])


def _dented(points, triangles):
    """A dent that comes out on the other side."""
    x, y, z = points.T
    depth = 46.0 * np.exp(-(x**2 + y**2) / 18.0) * (z > 0)
    return points - np.column_stack([0 * depth, 0 * depth, depth]), triangles


def _with_fin(points, triangles):
    a, b = triangles[100, :2]
    fin = np.array([[a, b, len(points)]])
    return np.vstack([points, 1.4 * points[a]]), np.vstack([triangles, fin])


def _degenerate(points, triangles):
    flat = np.stack([triangles[:30, 0], triangles[:30, 1], triangles[:30, 1]], axis=1)
    return points, np.concatenate([triangles, flat])


def _soup(points, triangles):
    corners = points[triangles].reshape(-1, 3)
    shaken = corners + _rng(8).normal(scale=1e-7, size=corners.shape)
    return shaken, np.arange(len(corners)).reshape(-1, 3)


def _inside_out(points, triangles):
    return points, triangles[:, ::-1]


def _not_a_number(points, triangles):
    points[17] = np.nan
    return points, triangles


def _dust() -> Surfaces:
    rng = _rng(9)
    bodies = [sphere(), *(sphere(0.3, tuple(rng.uniform(25, 40, 3)), 6) for _ in range(12))]
    return one(surface(pv.merge(bodies, merge_points=False)))


def _united() -> Surfaces:
    return one(surface(pv.merge([sphere(), sphere(15.0, (18, 3, 0))], merge_points=False)))


def _crossing() -> Surfaces:
    return {"left": surface(sphere()), "right": surface(sphere(15.0, (28, 0, 0)))}


def _nested() -> Surfaces:
    return {"wall": surface(sphere()), "blood": surface(sphere(17.0))}


def _open_tube() -> Surfaces:
    tube = pv.Cylinder(radius=10, height=40, resolution=24, capping=False).triangulate()
    return one(surface(tube.subdivide(2)))


def _needles() -> Surfaces:
    tube = pv.Cylinder(radius=10, height=60, resolution=180, capping=True).triangulate()
    return one(surface(tube.clean()))


def _moebius() -> Surfaces:
    t, s = np.meshgrid(np.linspace(0, 2 * np.pi, 60, endpoint=False), np.linspace(-4, 4, 5))
    radius = 20 + s * np.cos(t / 2)
    points = np.stack([radius * np.cos(t), radius * np.sin(t), s * np.sin(t / 2)], axis=2)
    index = np.arange(300).reshape(5, 60)
    quads = []
    for k in range(4):
        for j in range(60):
            a, b = index[k, j], index[k + 1, j]
            # Once around, the strip is turned over.
            c, d = ((index[k + 1, j + 1], index[k, j + 1]) if j < 59
                    else (index[3 - k, 0], index[4 - k, 0]))  # fmt: skip
            quads += [[a, b, c], [a, c, d]]
    return one(TriangleSurface(points.reshape(-1, 3), np.array(quads)))


def _knotted() -> Surfaces:
    """A tube along an eight that comes too near to itself, so that it cuts itself."""
    t, turn = (np.linspace(0, 2 * np.pi, n, endpoint=False) for n in (120, 12))
    curve = np.column_stack([20 * np.sin(t), 20 * np.sin(t) * np.cos(t), 2.0 * np.cos(t)])
    along = np.column_stack([20 * np.cos(t), 20 * np.cos(2 * t), -2.0 * np.sin(t)])
    one = np.cross(along, [0.0, 0.0, 1.0])
    two = np.cross(one, along)
    one, two = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (one, two))
    ring = np.cos(turn)[:, None] * one[:, None] + np.sin(turn)[:, None] * two[:, None]
    index = np.arange(120 * 12).reshape(120, 12)
    a, b = index, np.roll(index, -1, axis=1)
    c, d = (np.roll(x, -1, axis=0) for x in (b, a))
    triangles = np.concatenate([np.stack(x, axis=2).reshape(-1, 3) for x in ((a, b, c), (a, c, d))])
    points = (curve[:, None] + 4.0 * ring).reshape(-1, 3)
    return {"body": TriangleSurface(points, triangles)}


TORTURES = (
    Torture("voxels of noise, 1 %", lambda: labels(_noise(0.01))),
    Torture("voxels of noise, 5 %", lambda: labels(_noise(0.05))),
    Torture("islands of one voxel", lambda: labels(_islands())),
    Torture("bridge of one voxel", lambda: labels(_bridge())),
    Torture("four labels that meet in a point", lambda: labels(_touching())),
    Torture("blocks that touch by a corner", lambda: labels(_corner_contacts())),
    Torture("blocks that touch along an edge", lambda: labels(_edge_contacts())),
    Torture("hollows, one of a single voxel", lambda: labels(_hollows())),
    Torture("tunnel of one voxel", lambda: labels(_tunnel())),
    Torture("wall of one voxel", lambda: labels(_shell(1.0))),
    Torture("wall of two voxels", lambda: labels(_shell(2.0))),
    Torture("wall of two voxels with noise", lambda: labels(_shell(2.0, 0.01))),
    Torture("labels at the image's border", lambda: labels(_at_the_border())),
    Torture("a label that fills the image", lambda: labels(_full())),
    Torture("a single voxel", lambda: labels(_single_voxel())),
    Torture("a needle of one voxel", lambda: labels(_needle())),
    Torture("random labels", lambda: labels(_random_labels())),
    Torture("six labels in each other, one voxel each", lambda: labels(_onion())),
    Torture("crumpled borders", lambda: labels(_warped())),
    Torture("anisotropy 1:8", lambda: labels(_two(), (0.5, 0.5, 4.0))),
    Torture("anisotropy 8:1 and oblique", lambda: labels(_two(), (4.0, 0.5, 0.5), _oblique())),
    Torture("anisotropy 1:8 with noise", lambda: labels(_noise(0.01), (0.5, 0.5, 4.0))),
    Torture("mirrored axes", lambda: labels(_touching(), direction=MIRROR)),
    Torture("oblique and mirrored", lambda: labels(_two(), direction=_oblique() @ MIRROR)),
    Torture("no labelled voxel", _nothing, "no voxel is labelled"),
    Torture("holes", lambda: _changed(_with_holes)),
    Torture("flipped triangles", lambda: _changed(_flipped)),
    Torture("duplicated triangles", lambda: _changed(_doubled)),
    Torture("a dent through the other side", lambda: _changed(_dented)),
    Torture("two bodies that cut each other", _united),
    Torture("two surfaces that cut each other", _crossing, "left.*right|right.*left"),
    Torture("a fin at an edge", lambda: _changed(_with_fin)),
    Torture("dust around the body", _dust),
    Torture("degenerate triangles", lambda: _changed(_degenerate)),
    Torture("unmerged vertices", lambda: _changed(_soup)),
    Torture("inside out", lambda: _changed(_inside_out)),
    Torture("a vertex that is no number", lambda: _changed(_not_a_number), "not finite|no number"),
    Torture("a sphere in a sphere", _nested),
    Torture("needle triangles", _needles),
    Torture("a tube through itself", _knotted),
    Torture("an open tube", _open_tube),
    Torture("a strip of Moebius", _moebius, "one side|orient|two sides"),
)  # fmt: skip
