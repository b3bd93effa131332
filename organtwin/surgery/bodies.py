"""Bones, fragments and implants as signed distances on one grid: what surgery works on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from skimage.measure import marching_cubes

from organtwin.errors import InputError, suggestion
from organtwin.image.segmentation import MOST_LABELS
from organtwin.image.volume import Grid, LabelMap
from organtwin.mesh.conforming.route import labelled
from organtwin.mesh.conforming.wrapping import Wrapping, wrap
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.surgery.signed import Field, Points, signed_field
from organtwin.units import ML

#: Space around the bodies in which they can be moved (mm).
MARGIN = 8.0
#: Most voxels of a grid; a body takes four bytes of each.
MOST_VOXELS = 2**27
#: Smallest distance of a voxel's centre from a border, in voxels: no two vertices coincide.
CLEAR = 1e-3
#: Finer voxels of labels are joined until they are as long as this part of the new ones.
HALF = 0.5
#: Pieces smaller than this are crumbs of rounding (voxels).
CRUMB = 8


@dataclass(frozen=True)
class Bodies:
    """Bodies in patient coordinates (LPS, mm), each by its signed distance on the same grid.

    Sums, differences and cuts of bodies are smaller and larger of two distances, so that a cut
    lies where it was planned and not on faces of voxels.

    Attributes:
        grid: Cubes along the patient's axes.
        distances: Name of each body → its signed distance at the voxels' centres (mm), negative
            inside, shape of the grid.
    """

    grid: Grid
    distances: Mapping[str, Field]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all bodies."""
        return tuple(self.distances)

    @property
    def voxel(self) -> float:
        """Edge of a voxel (mm)."""
        return float(self.grid.spacing[0])

    def field(self, name: str) -> Field:
        """Signed distance of a body (mm).

        Raises:
            InputError: no body of that name.
        """
        if name not in self.distances:
            raise InputError("bodies", f"no body `{name}`.", suggestion(name, self.distances))
        return self.distances[name]

    def changed(self, fields: Mapping[str, Field | None]) -> Bodies:
        """The same with some bodies added or replaced, and those left out that are None."""
        merged = {**self.distances, **fields}
        return replace(self, distances={n: f for n, f in merged.items() if f is not None})

    def only(self, *names: str) -> Bodies:
        """Some of the bodies, in this order."""
        return replace(self, distances={name: self.field(name) for name in names})

    def at(self, name: str, points: Points) -> Points:
        """Signed distance (mm) of a body at points (LPS, mm), between voxels by parts; (n,).

        Off the grid it is that at the nearest place of the grid plus the way there.
        """
        index = self.grid.index(points)
        last = np.array(self.grid.shape) - 1.0
        held = np.clip(index, 0.0, last)
        value = ndimage.map_coordinates(self.field(name), held.T, order=1, output=np.float64)
        return np.asarray(value + np.linalg.norm((index - held) * self.voxel, axis=1))

    def share(self, name: str) -> Field:
        r"""Share of each voxel that a body fills, :math:`c = \min(1, \max(0, 1/2 - d / h))`."""
        return np.asarray(np.clip(0.5 - self.field(name) / self.voxel, 0.0, 1.0), np.float32)

    def volume(self, name: str) -> float:
        r"""Volume of a body (mm³), :math:`V = h^3 \sum_i c_i`, of second order in the edge h."""
        return float(self.share(name).sum(dtype=np.float64)) * self.voxel**3

    def volume_ml(self, name: str) -> float:
        """Volume of a body (mL)."""
        return self.volume(name) / ML

    def shared(self, one: str, other: str) -> float:
        r"""Volume that two bodies have in common (mm³), 0 for those that touch.

        .. math:: V = h^3 \sum_i \max(0, c_{1,i} + c_{2,i} - 1)

        Where two bodies have a face on the same side in common it is too small by a quarter of a
        voxel there.
        """
        both = np.maximum(self.share(one) + self.share(other) - 1.0, 0.0)
        return float(both.sum(dtype=np.float64)) * self.voxel**3

    def surface(self, name: str) -> TriangleSurface:
        """Closed surface of a body, its triangles outwards, by marching cubes.

        Raises:
            InputError: nothing of the body is larger than a voxel.
        """
        values = _clear(self.field(name), self.voxel)
        if not (values < 0.0).any():
            raise InputError(
                f"body `{name}`", f"no voxel of {self.voxel:g} mm lies in it.",
                "Take smaller voxels, or check the cut that made it.",
            )  # fmt: skip
        box = tuple(
            slice(max(part.start - 2, 0), part.stop + 2)
            for part in ndimage.find_objects((values < 0.0).astype(np.int8))[0]
        )
        low = np.array([part.start for part in box]) - 1.0
        padded = np.pad(values[box], 1, constant_values=self.voxel)
        points, triangles, _, _ = marching_cubes(padded, 0.0)  # type: ignore[no-untyped-call]
        found = TriangleSurface(
            self.grid.points(points.astype(np.float64) + low), triangles.astype(np.int64)
        )
        return found if found.volume > 0.0 else replace(found, triangles=triangles[:, ::-1])

    def surfaces(self) -> dict[str, TriangleSurface]:
        """Closed surfaces of all bodies, for `organtwin.mesh.conforming.from_surfaces`."""
        return {name: self.surface(name) for name in self.names}

    def labels(self) -> LabelMap:
        """Label map of the bodies, numbered from 1; where two overlap the deeper one has it.

        Raises:
            InputError: more bodies than a label map holds.
        """
        if len(self.distances) > MOST_LABELS:
            raise InputError(
                "bodies", f"there are {len(self.distances)}.", f"Labels are at most {MOST_LABELS}."
            )
        best = np.zeros(self.grid.shape, np.float32)
        values = np.zeros(self.grid.shape, np.uint8)
        for number, field in enumerate(self.distances.values(), 1):
            wins = field < best
            best[wins] = field[wins]
            values[wins] = number
        names = {name: number for number, name in enumerate(self.distances, 1)}
        return LabelMap(values, names, self.grid.spacing, self.grid.origin, self.grid.direction)


def bodies_of_surfaces(
    surfaces: Mapping[str, TriangleSurface], voxel: float, *, margin: float = MARGIN
) -> Bodies:
    """Bodies of closed surfaces.

    Args:
        surfaces: Name of each body → its closed surface.
        voxel: Edge of the voxels (mm).
        margin: Space around all surfaces in which bodies can be moved (mm).

    Raises:
        InputError: no surface, an impossible voxel, or too many voxels.
    """
    if not surfaces:
        raise InputError("bodies", "there is no surface.", "Give one.")
    used = [surface.points[np.unique(surface.triangles)] for surface in surfaces.values()]
    grid = grid_around(np.concatenate(used), voxel, margin)
    return Bodies(grid, {name: signed_field(s, grid) for name, s in surfaces.items()})


def bodies_of_labels(
    labels: LabelMap,
    names: Sequence[str] | None = None,
    *,
    voxel: float | None = None,
    margin: float = MARGIN,
    islands_below: float = 0.0,
) -> Bodies:
    """Bodies of labels, their borders smoothed within voxels as those of a conforming mesh are.

    Args:
        labels: Any label map: anisotropic, oblique or mirrored.
        names: Labels to take, each as a body; all of them without it.
        voxel: Edge of the new voxels (mm); without it that of a cube as large as the voxels of the
            labels.
        margin: Space around the labels in which bodies can be moved (mm).
        islands_below: Smaller pieces (mm³) are left out.

    Raises:
        InputError: see `organtwin.mesh.conforming.wrapping.wrap_and_tell`; impossible voxels.
    """
    edge = float(np.cbrt(labels.voxel_volume)) if voxel is None else voxel
    made = wrap(labelled(labels), Wrapping(names, islands_below, HALF * edge))
    surfaces = {
        name: TriangleSurface(made.points, made.boundary(name)).select(
            np.ones(len(made.boundary(name)), bool)
        )
        for name in (names or made.names)
        if name in made.names
    }
    return bodies_of_surfaces(surfaces, edge, margin=margin)


def grid_around(points: Points, voxel: float, margin: float) -> Grid:
    """Cubes along the patient's axes around points and a margin (mm).

    Raises:
        InputError: no positive voxel, or too many of them.
    """
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    if not 0.0 < voxel < (high - low).max():
        raise InputError(
            "voxel", f"{voxel:g} mm does not fit bodies of {(high - low).max():.3g} mm.",
            "Give the edge of a voxel in mm, such as 0.5.",
        )  # fmt: skip
    i, j, k = (int(n) for n in np.ceil((high - low) / voxel) + 1)
    if i * j * k > MOST_VOXELS:
        raise InputError(
            "voxel",
            f"{voxel:g} mm makes {i} x {j} x {k} voxels; {MOST_VOXELS / 1e6:.0f} million are "
            "possible.",
            f"Take {1.1 * voxel * (i * j * k / MOST_VOXELS) ** (1 / 3):.2g} mm or more.",
        )
    return Grid((i, j, k), np.full(3, float(voxel)), low, np.eye(3))


def pieces(bodies: Bodies, name: str) -> tuple[Field, ...]:
    """Pieces of a body that hang together by faces of voxels, the largest first.

    Crumbs of up to eight voxels are left out.
    """
    field = bodies.field(name)
    number, count = ndimage.label(field < 0.0)
    sizes = np.bincount(number.ravel(), minlength=count + 1)[1:]
    order = [k for k in np.argsort(-sizes, kind="stable") if sizes[k] > CRUMB]
    if len(order) < 2:
        return (field,) if order else ()
    # Of the voxels outside, those nearest to a piece tell the place of its border.
    found = []
    for k in order:
        own = number == k + 1
        around = ndimage.binary_dilation(own, np.ones((3, 3, 3)), iterations=2)
        other = (number > 0) & ~own
        keep = around & ~other
        far = bodies.voxel * (ndimage.distance_transform_edt(~own) - 0.5)
        # Next to another piece its depth may not show: outside is outside.
        found.append(np.where(keep, field, np.maximum(far, 0.5 * bodies.voxel)).astype(np.float32))
    return tuple(found)


def require_whole(bodies: Bodies, names: Iterable[str], place: str) -> None:
    """Refuse bodies in several pieces, or without any.

    Raises:
        InputError: a body has none or more than one piece; the message has their volumes and
            middles.
    """
    for name in names:
        found = pieces(bodies, name)
        if not found:
            raise InputError(place, f"nothing is left of `{name}`.", "Check the place of the cut.")
        if len(found) > 1:
            told = "; ".join(_told(bodies, field) for field in found[:4])
            raise InputError(
                place, f"`{name}` is in {len(found)} pieces: {told}.",
                "Name the pieces apart (name_pieces), or drop the small ones.",
            )  # fmt: skip


def name_pieces(
    bodies: Bodies, name: str, names: Sequence[str] | None = None, *, smallest: float = 0.0
) -> Bodies:
    """Each piece of a body as a body of its own; those below a volume are dropped.

    Args:
        bodies: All bodies.
        name: The body in several pieces.
        names: Names of the pieces, the largest first; without them ``name``, ``name_2``, ...
        smallest: Smaller pieces (mm³) are dropped.

    Raises:
        InputError: no body of that name, or not as many pieces as names.
    """
    found = [
        piece
        for piece in pieces(bodies, name)
        if bodies.changed({"piece": piece}).volume("piece") >= smallest
    ]
    called = names or [name, *(f"{name}_{k}" for k in range(2, len(found) + 1))]
    if len(called) != len(found):
        raise InputError(
            f"body `{name}`", f"{len(found)} pieces and {len(called)} names.", "Name each once."
        )
    return bodies.changed({name: None}).changed(dict(zip(called, found, strict=True)))


def add_surface(bodies: Bodies, name: str, surface: TriangleSurface) -> Bodies:
    """The same with one more body, of a closed surface.

    Raises:
        InputError: a part of the surface lies off the grid.
    """
    index = bodies.grid.index(surface.points[np.unique(surface.triangles)])
    if (index < 0.0).any() or (index > np.array(bodies.grid.shape) - 1.0).any():
        off = np.maximum(-index, index - np.array(bodies.grid.shape) + 1.0).max() * bodies.voxel
        raise InputError(
            f"body `{name}`", f"it lies up to {off:.3g} mm off the grid.", "Give a larger margin."
        )
    return bodies.changed({name: signed_field(surface, bodies.grid)})


def _clear(field: Field, voxel: float) -> Field:
    least = np.float32(CLEAR * voxel)
    away = np.where(field < 0.0, -least, least)
    return np.where(np.abs(field) < least, away, field)


def _told(bodies: Bodies, field: Field) -> str:
    middle = bodies.grid.points(np.argwhere(field < 0.0).mean(axis=0))
    x, y, z = middle
    volume = bodies.changed({"piece": field}).volume_ml("piece")
    return f"{volume:.3g} mL at ({x:.1f}, {y:.1f}, {z:.1f})"
