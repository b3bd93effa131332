"""The aorta in a contrast CT: where it is, its lumen, its outer wall, and its parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.volume import Grid
from organtwin.segment.centreline import Centreline, trace
from organtwin.segment.discs import FLAT, Chain, round_chains
from organtwin.segment.lobes import Lobes
from organtwin.segment.morphology import Mask, filled, grown, largest, opened, touching
from organtwin.segment.wall import Wall, outer_wall

#: Radii that an ascending aorta can have (mm).
ASCENDING_RADII = (8.0, 30.0)
#: A vessel's radius varies by less than this part of it along its height; a chamber's by more.
UNEVEN = 0.15
#: A tube goes on where the neck is at least this part of the radius.
GOES_ON = 0.65
#: Radii of the aorta down to the middle of the chest, in units of that of the ascending aorta.
TUBE = (0.55, 1.35)
#: Branches are narrower than this part of the ascending aorta.
BRANCH = 0.45
#: Least cross-section of the descending aorta, or of its true lumen (mm²).
LEAST_AREA = 25.0
#: Most by which a cross-section may be larger than the one above it.
WIDENING = 1.25


@dataclass(frozen=True)
class Lumen:
    """The lumen of an aorta.

    Attributes:
        mask: Its voxels.
        ascending: The chain of round cross-sections that is the ascending aorta.
        descending: Whether it was followed behind the heart.
    """

    mask: Mask
    ascending: Chain
    descending: bool


def ascending_aorta(blood: Mask, grid: Grid) -> Chain:
    """The longest wide vessel that is round in axial slices, and not behind another such one.

    Args:
        blood: Voxels with contrast.
        grid: Where they lie, upright.

    Raises:
        InputError: there is none.
    """
    chains = round_chains(blood, grid, radii=ASCENDING_RADII, roundness=0.75, shortest=15.0)
    if not chains:
        raise InputError(
            "ascending_aorta",
            "no vessel with contrast, 8 to 30 mm in radius, is round in axial slices over 15 mm.",
            "The recipe needs a CT of the chest with contrast in the aorta, 3 mm slices or finer.",
        )
    even = [chain for chain in chains if chain.spread <= UNEVEN * chain.radius] or chains
    widest = max(chain.radius for chain in even)
    wide = [chain for chain in even if chain.radius >= 0.7 * widest]
    front = [c for c in wide if not any(_before(other, c) for other in wide)]
    return max(front, key=lambda chain: chain.length)


def _before(one: Chain, other: Chain) -> bool:
    """Whether a chain lies in front of another at the same height."""
    overlap = min(one.highest, other.highest) - max(one.lowest, other.lowest)
    return overlap > 0.0 and float(other.centre[1] - one.centre[1]) > 30.0


def tube(found: Lobes, ascending: Chain) -> set[int]:
    """Lobes of the aorta from the valve over the arch, as far as it is wide.

    They are reached from the ascending aorta through wide passages, are about as wide as it is, and
    lie behind it or not farther below it than its radius.

    Args:
        found: Lobes of the blood.
        ascending: The ascending aorta.
    """
    start = int(np.bincount(found.numbers[ascending.mask], minlength=1).argmax())
    radius = float(found.deepest[start])
    fits = (found.deepest > TUBE[0] * radius) & (found.deepest < TUBE[1] * radius)
    behind = found.centre[:, 1] > ascending.centre[1] + ascending.radius
    valve = ascending.centre[2] - ascending.length / 2.0 - ascending.radius
    fits &= behind | (found.centre[:, 2] > valve)
    return set(found.widest(start, GOES_ON, set(np.flatnonzero(fits).tolist())))


def lumen(wide: Mask, ascending: Chain, blood: Mask, grid: Grid) -> Lumen:
    """Lumen from the valve to the lowest slice to which it can be followed, without branches.

    Args:
        wide: Voxels of the wide part, see `tube`.
        ascending: The ascending aorta.
        blood: Voxels that the rest may be made of.
        grid: Where the voxels lie, upright.
    """
    trunk = largest(filled(opened(wide, grid, BRANCH * ascending.radius)))
    back = _behind(trunk, ascending, grid)
    if not back.any():
        return Lumen(trunk, ascending, False)
    return Lumen(trunk | _followed(back, blood, grid), ascending, True)


def _followed(vessel: Mask, blood: Mask, grid: Grid) -> Mask:
    """What continues a vessel downwards, slice by slice, from near its lowest slice.

    Each slice holds the blood below the previous one or within a voxel of that; where the vessel
    would become much wider, only what lies right below.
    """
    result = np.zeros_like(vessel)
    heights = np.flatnonzero(vessel.any(axis=(0, 1)))
    first = int(heights[min(2, len(heights) - 1)])  # the last slices are rounded off
    here, face = vessel[:, :, first], float(np.prod(grid.spacing[:2]))
    for k in range(first - 1, -1, -1):
        near = ndimage.binary_dilation(here) & blood[:, :, k]
        wider = near.sum() > WIDENING * here.sum() + 4
        here = here & blood[:, :, k] if wider else near
        if here.sum() * face < LEAST_AREA:
            break
        result[:, :, k] = here
    return result


def middle_line(aorta: Lumen, grid: Grid) -> Centreline:
    """Centreline from the lowest end of the root to the descending end."""
    back = _behind(aorta.mask, aorta.ascending, grid)
    front = largest(aorta.mask & ~back)
    start = _end(front, grid)
    if not back.any():
        return trace(aorta.mask, grid, start, _end(front, grid, highest=True))
    return trace(aorta.mask, grid, start, _end(back, grid))


def _end(mask: Mask, grid: Grid, *, highest: bool = False) -> NDArray[np.float64]:
    """Middle of the lowest, or highest, slice of a mask."""
    height = int(np.flatnonzero(mask.any(axis=(0, 1)))[-1 if highest else 0])
    index = np.argwhere(mask[:, :, height]).mean(axis=0)
    return np.asarray(grid.points(np.array([[*index, height]]))[0])


def wall(
    aorta: Lumen, values: NDArray[np.float32], other: Mask, bone: Mask, grid: Grid, contrast: float
) -> Mask:
    """The aorta up to its outer wall behind the heart, with what is enhanced next to its lumen.

    Args:
        aorta: Its lumen.
        values: Grey values (HU), smoothed.
        other: Blood that isn't the aorta's.
        bone: Voxels of bone.
        grid: Where the voxels lie, upright.
        contrast: Values above it are enhanced blood (HU), slow one included.
    """
    back = _behind(aorta.mask, aorta.ascending, grid)
    veto = grown(bone, grid, 1.5) | grown(other, grid, 2.0)
    enhanced = (values > contrast) & grown(back, grid, 35.0) & ~veto & ~aorta.mask
    core = touching(opened(enhanced | back, grid, 3.0) | back, back)
    straight = _straight(aorta, back, core, grid)[None, None, :]
    tube = core & straight
    if not tube.any():
        return aorta.mask
    seen = outer_wall(values, tube, back & straight, veto, grid, Wall())
    ahead = aorta.ascending.centre[1] + aorta.ascending.radius
    far = np.arange(grid.shape[1]) * grid.spacing[1] > ahead - grid.origin[1]
    arch = opened(core, grid, BRANCH * aorta.ascending.radius) & far[None, :, None]
    return aorta.mask | np.where(straight, seen, arch)


def _behind(mask: Mask, ascending: Chain, grid: Grid) -> Mask:
    """Pieces of a mask in axial slices that lie behind the ascending aorta."""
    pieces, count = ndimage.label(mask, FLAT)
    if not count:
        return mask
    centres = np.array(ndimage.center_of_mass(mask, pieces, np.arange(1, count + 1)))
    front = ascending.centre[1] + ascending.radius
    keep = np.concatenate([[False], grid.points(centres)[:, 1] > front])
    return np.asarray(keep[pieces])


def _straight(aorta: Lumen, back: Mask, core: Mask, grid: Grid) -> NDArray[np.bool_]:
    """Slices below the arch, in which the descending aorta lies by itself."""
    front = aorta.mask & ~back
    touch = (ndimage.binary_dilation(core, FLAT) & front).any(axis=(0, 1))
    low = np.arange(grid.shape[2]) * grid.spacing[2] <= aorta.ascending.highest
    return np.asarray(low & ~touch & back.any(axis=(0, 1)))
