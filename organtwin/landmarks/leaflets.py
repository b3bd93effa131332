"""Where closed leaflets leave the wall of a sinus: dark sheets in the bright blood of a scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from organtwin.landmarks.attachment import Attachment
from organtwin.landmarks.fits import MAD, TUKEY
from organtwin.landmarks.root import Lumen, Root

type Vector = NDArray[np.float64]

#: Half of the sector around a sinus' middle that is looked at (degrees).
SECTOR = 35.0
#: How far below and above the bend of the wall an attachment is sought (mm), in which steps (mm).
REACH, STEP = (6.0, 7.0), 0.25
#: Angles between a leaflet and the plane across the axis that are tried (degrees).
STEEP = np.arange(0.0, 81.0, 10.0)
#: Leaflets steeper than this on average (degrees) stand open: they run along the wall, and where
#: they leave it is not told by them.
OPEN = 58.0
#: Part of a leaflet that is looked at: from so many voxels off the wall on, so long (mm), in steps.
OFF, LENGTH, STRIDE = 1.2, 3.5, 0.5
#: Distance of the blood on both sides that it is compared with (mm, and voxels).
SIDE = (1.0, 0.6)
#: Slopes (mm/rad) and rises (mm/rad²) of an attachment that are tried.
SLOPES, RISES = np.arange(-12.0, 12.1, 1.5), np.arange(0.0, 26.0, 5.0)
#: How far off the first fit a sheet may lie in a direction to be part of it (mm).
NEAR = 1.25
#: Least darkness of a sheet, as a share of the step from blood to wall, and in how many directions.
DARK, SEEN = 0.08, 0.6
#: Samples of darkness this far apart err independently (voxels).
GRAIN = 1.0
#: Rounds of reweighting, and the least scale of the residuals (mm).
ROUNDS, LEAST = 20, 0.1


def leaflet_attachment(lumen: Lumen, root: Root, direction: float, first: float,
                       top: float) -> Attachment | None:  # fmt: skip
    r"""The curve along which a closed leaflet leaves the wall around the middle of a sinus.

    From each place of the wall lines go inwards and upwards. The darkness of one is the mean of

    .. math:: \min(v_+, v_-) - v_0

    along it, with the grey value :math:`v_0` on it and those :math:`v_\pm` beside it on both sides:
    positive on a sheet in blood, not on a wall. Along :math:`h = h_0 + m \theta + k \theta^2` its
    sum is largest at the attachment; the places of the darkest lines near by then give the curve
    by weighted least squares with Tukey's biweight. Our choice.

    Args:
        lumen: Scan.
        root: The unrolled root, its wall followed behind the leaflets.
        direction: Middle of the sinus (radians).
        first: Height of the bend of the wall (mm).
        top: Height where the sinus is widest (mm).

    Returns:
        The attachment; nothing where no leaflet is seen: in labels, or where they stand open.
    """
    off = (root.angles - direction + np.pi) % (2.0 * np.pi) - np.pi
    columns = np.flatnonzero(np.abs(off) <= np.radians(SECTOR))
    columns = columns[np.argsort(off[columns])]
    off = off[columns]
    heights = np.arange(first - REACH[0], min(first + REACH[1], top), STEP)
    if len(heights) < 8:
        return None
    dark, radii, steep = _darkness(lumen, root, columns, heights)
    start = _along(off, heights, dark)
    near = np.abs(heights - (start[0] + start[1] * off + start[2] * off**2)[:, None]) <= NEAR
    weight = np.where(near, dark, 0.0)
    if not weight.any() or float(np.average(steep, weights=weight)) > OPEN:
        return None
    found = _refined(off, heights, weight, radii, start, root.voxel)
    return None if found is None else replace(found, middle=direction)


def _darkness(
    lumen: Lumen, root: Root, columns: NDArray[np.int64], heights: Vector
) -> tuple[Vector, Vector, Vector]:
    """Darkness of the darkest line from each place of the wall; the place's radius; its steepness.

    As a share of the contrast, mm and degrees, shape (directions, heights); 0 where no sheet is.
    """
    along = OFF * root.voxel + np.arange(0.0, LENGTH + 1e-6, STRIDE)
    beside = (SIDE[0] + SIDE[1] * root.voxel) * np.array([-1.0, 0.0, 1.0])
    steep = np.radians(STEEP)[:, None]
    up = root.axes[2]
    centres = np.array([np.interp(heights, root.heights, c) for c in root.centres.T]).T
    dark, radii, steepness = np.zeros((3, len(columns), len(heights)))
    for row, column in enumerate(columns):
        wall = root.radii[:, column]
        seen = np.isfinite(wall)
        if np.count_nonzero(seen) < 2:
            continue
        radii[row] = np.interp(heights, root.heights[seen], wall[seen])
        out = root.direction(float(root.angles[column]))
        inwards = -np.cos(steep) * out + np.sin(steep) * up  # (angles, 3)
        across = np.sin(steep) * out + np.cos(steep) * up
        lines = along[None, :, None, None] * inwards[:, None, None, :]
        lines = lines + beside[None, None, :, None] * across[:, None, None, :]
        start = centres + radii[row][:, None] * out
        grey = lumen.at(start[:, None, None, None] + lines)  # (heights, angles, along, beside)
        depth = np.minimum(grey[..., 0], grey[..., 2]) - grey[..., 1]
        mean = np.clip(depth / lumen.contrast, -0.5, 0.5).mean(axis=2)
        dark[row] = np.maximum(mean.max(axis=1), 0.0)
        steepness[row] = STEEP[mean.argmax(axis=1)]
    return dark, radii, steepness


def _along(off: Vector, heights: Vector, dark: Vector) -> tuple[float, float, float]:
    """Height, slope and rise of the curve along which it is darkest."""
    best, found = -1.0, (float(heights[0]), 0.0, 0.0)
    rows = np.arange(len(off))
    for rise in RISES:
        for slope in SLOPES:
            place = heights[:, None] + slope * off + rise * off**2
            index = np.round((place - heights[0]) / STEP).astype(int)
            inside = (index >= 0) & (index < len(heights))
            values = np.where(inside, dark[rows, np.clip(index, 0, len(heights) - 1)], 0.0)
            total = values.mean(axis=1)
            top = int(np.argmax(total))
            if total[top] > best:
                best, found = float(total[top]), (float(heights[top]), float(slope), float(rise))
    return found


def _refined(
    off: Vector, heights: Vector, weight: Vector, radii: Vector,
    start: tuple[float, float, float], voxel: float,
) -> Attachment | None:  # fmt: skip
    """The least squares through the darkest places near a first curve."""
    most = weight.max(axis=1)
    seen = most > DARK
    if np.mean(seen) < SEEN:
        return None
    sharp = weight**2  # the ridge, not its flanks
    place = (sharp @ heights)[seen] / sharp.sum(axis=1)[seen]
    terms = np.vander(off[seen], 3, increasing=True)
    own, solved = most[seen], np.array(start)
    trust, left = own, place - terms @ solved
    for _ in range(ROUNDS):
        scale = max(MAD * float(np.median(np.abs(left))), LEAST)
        trust = own * np.maximum(1.0 - (left / (TUKEY * scale)) ** 2, 0.0) ** 2
        weighed = terms * trust[:, None]
        if np.count_nonzero(trust) < 6:
            return None
        solved = np.linalg.solve(weighed.T @ terms, weighed.T @ place)
        left = place - terms @ solved
    apart = float(np.mean(radii[seen])) * float(off[1] - off[0])
    share = min(apart / (GRAIN * voxel), 1.0)
    # Independent samples, and the variance of the mean of the curve over them.
    count = share * float(trust.sum() ** 2 / (trust**2).sum())
    squares = float(trust @ left**2) / float(trust.sum()) * count / max(count - 3.0, 1.0)
    at = [np.interp(h, heights, r) for h, r in zip(terms @ solved, radii[seen], strict=True)]
    wall = np.linalg.lstsq(terms * own[:, None], own * np.array(at))[0]
    return Attachment(
        solved,
        wall,
        (float(off[seen].min()), float(off[seen].max())),
        float(np.sqrt(squares)),
        float(np.sqrt(3.0 * squares / count)),
        darkness=float(np.mean(most)),
    )
