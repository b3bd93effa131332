"""Labels to interfaces: nets around the voxels, smoothed within bounds, volumes kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.image.touching import contact_areas, new_contacts
from organtwin.image.volume import Grid, LabelMap
from organtwin.mesh.conforming.coarsening import coarsened, touching
from organtwin.mesh.conforming.interfaces import OUTSIDE, Interfaces, refuse_reserved
from organtwin.mesh.conforming.islands import Dropped, components, select, without_islands
from organtwin.mesh.conforming.net import Net, net_around
from organtwin.mesh.conforming.smoothing import Smoothed, Smoothing, smooth

#: By how much voxels become finer if they tear a wall.
FINER = 0.7


@dataclass(frozen=True)
class Wrapping:
    """How labels become interfaces.

    Attributes:
        labels: Names of the labels that become regions, all without it; the rest is background.
        islands_below: Components smaller than this (mm³) are given to what is nearest.
        resolution: Shortest edge (mm) of the voxels to work on; less if voxels of that length
            lose a label, tear a wall or close a gap; the given voxels without it.
        smoothing: How far and how long vertices move.
    """

    labels: Sequence[str] | None = None
    islands_below: float = 0.0
    resolution: float | None = None
    smoothing: Smoothing = field(default_factory=Smoothing)


@dataclass(frozen=True)
class Wrapped:
    """Interfaces and what was done for them.

    Attributes:
        interfaces: The smooth borders.
        shift: Largest distance between a vertex and the voxel corner that it comes from (mm); the
            Hausdorff distance to the surface of the voxels is not larger.
        bound: What ``shift`` was allowed to be (mm).
        volume_error: Name of each region → relative error of its volume against its voxels.
        dropped: Components that were too small, the largest first.
        grid: Of the voxels that were worked on.
        refused: Why voxels as long as wanted were not, one sentence for each length tried.
    """

    interfaces: Interfaces
    shift: float
    bound: float
    volume_error: Mapping[str, float]
    dropped: tuple[Dropped, ...]
    grid: Grid
    refused: tuple[str, ...] = ()


def wrap(labels: LabelMap, options: Wrapping = Wrapping()) -> Interfaces:
    """Smooth borders of all labels; `wrap_and_tell` does the same and tells what it did."""
    return wrap_and_tell(labels, options).interfaces


def wrap_and_tell(labels: LabelMap, options: Wrapping = Wrapping()) -> Wrapped:
    """Smooth borders of all labels, and what was done for them.

    A vertex is made at each corner of the voxel grid where labels differ and a square at each
    voxel face between them; vertices then move within boxes around their corners, see
    `organtwin.mesh.conforming.smoothing`. Behind the image's border lies the outside; what it cuts
    off gets a plane cap there, beyond which `Interfaces.sides` has the plane.

    Args:
        labels: Any label map: anisotropic, oblique or mirrored.
        options: What to keep and how to smooth.

    Raises:
        InputError: an unknown label, one called ``outside`` or ``cut``, or nothing is labelled.
    """
    chosen = select(labels, options.labels)
    refuse_reserved(chosen.names, "label map")
    given, dropped = without_islands(chosen, options.islands_below)
    work, crumbs, refused = _worked_on(given, options)
    box = ndimage.find_objects((work.values > 0).view(np.uint8))[0]
    bodies, kinds = components(work.values[box])
    ends = np.array([(p.start, n - p.stop) for p, n in zip(box, work.values.shape, strict=True)])
    cut = touching(given.values) & (ends == 0)
    net = net_around(bodies, kinds, cut)
    result = smooth(net, work.spacing, _sizes(bodies, kinds, given), options.smoothing)
    # Corner c lies half a voxel below voxel c.
    low = np.array([part.start for part in box]) - 0.5
    interfaces = _interfaces(work.points(net.corners + result.moved + low), result, net, work)
    shift = float(np.linalg.norm(result.moved * work.spacing, axis=1).max())
    bound = options.smoothing.reach * float(np.linalg.norm(work.spacing))
    error = {n: interfaces.volume(n) / _volume(given, c) - 1 for n, c in interfaces.names.items()}
    return Wrapped(interfaces, shift, bound, error, dropped + crumbs, work.grid, refused)


def _worked_on(
    given: LabelMap, options: Wrapping
) -> tuple[LabelMap, tuple[Dropped, ...], tuple[str, ...]]:
    """Labels in the coarsest voxels wanted that keep all of them, and apart what is apart.

    Returns:
        The labels, crumbs that coarsening cut off, and why it was not coarser.
    """
    edge, finest = options.resolution or 0.0, float(given.spacing.min())
    contacts = contact_areas(given) if edge > finest else {}
    called = {code: name for name, code in given.names.items()} | {0: OUTSIDE}
    refused: list[str] = []
    while edge > finest:
        coarse = coarsened(given, edge)
        lost = [called[code] for code in np.setdiff1d(given.values, coarse.values).tolist()]
        if not lost:
            work, crumbs = without_islands(coarse, options.islands_below)
            new = new_contacts(given, contacts, contact_areas(work))
            if not new:
                return work, crumbs, tuple(refused)
            lost = [_apart(new, called)]
        refused.append(f"Voxels of {edge:.3g} mm would lose {', '.join(lost)}; finer were taken.")
        edge *= FINER
    return given, (), tuple(refused)


def _apart(new: Mapping[tuple[int, int], float], called: Mapping[int, str]) -> str:
    """What kept labels apart that are in contact now."""
    one, two = most = max(new, key=lambda pair: new[pair])
    return (
        f"walls or gaps, {len(new)} in all, the largest ({new[most]:.3g} mm²) between "
        f"`{called[one]}` and `{called[two]}`"
    )


def _volume(labels: LabelMap, code: int) -> float:
    """Volume of a label's voxels (mm³)."""
    return float(np.count_nonzero(labels.values == code) * labels.voxel_volume)


def _sizes(
    bodies: NDArray[np.int32], kinds: NDArray[np.uint8], given: LabelMap
) -> NDArray[np.float64]:
    """Volume (mm³) that each body has to have: its share of its label's in the given voxels."""
    voxels = np.bincount(bodies.ravel(), minlength=len(kinds)).astype(np.float64)
    wanted = np.bincount(given.values.ravel(), minlength=256) * given.voxel_volume
    wanted[0] = 0.0
    share = wanted / np.maximum(np.bincount(kinds, voxels, 256), 1.0)
    share[0] = share[share > 0].mean()  # hollows, whose volume nothing else tells
    return np.asarray(voxels * share[kinds])


def _interfaces(
    points: NDArray[np.float64], result: Smoothed, net: Net, labels: LabelMap
) -> Interfaces:
    triangles = result.triangles
    if np.linalg.det(labels.direction) < 0:
        triangles = triangles[:, ::-1]
    sides = net.kinds[net.bodies].astype(np.int64)
    sides[:, 1] -= net.planes
    found = set(net.kinds[1:].tolist())
    names = {name: code for name, code in labels.names.items() if code in found}
    return Interfaces(points, triangles, np.tile(sides, (2, 1)), names)
