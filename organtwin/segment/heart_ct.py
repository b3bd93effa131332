"""Recipe `heart_and_aorta_ct`: the blood pools of the heart and the aorta in a contrast CT."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image
from organtwin.segment.aorta import Lumen, ascending_aorta, lumen, middle_line, tube, wall
from organtwin.segment.divisions import Parts, divided, parts_along
from organtwin.segment.heart import CHAMBERS, chambers
from organtwin.segment.lobes import lobes
from organtwin.segment.morphology import Mask, filled, grown, largest, opened, shrunk, touching
from organtwin.segment.orientation import upright
from organtwin.segment.recipe import Draft, Options, at, refuse_unless_ct
from organtwin.segment.thresholds import smoothed
from organtwin.units import ML

#: Smoothing before thresholds (mm, standard deviation).
BLUR = 1.0
#: Value of heart muscle, of vessel walls and of blood without contrast, roughly (HU).
MUSCLE = 100.0
#: Blood with contrast is looked for above this value (HU), and below that of metal.
CONTRAST = (200.0, 1500.0)
#: Least value of enhanced blood where it flows slowly (HU).
SLOW = 130.0
#: A false lumen has at least this part of the volume of the true one.
DISSECTED = 0.1
#: Radius that a chamber has at least (mm); it tells the level of the blood.
CHAMBER = 6.0
#: Vessels below this radius don't belong to a chamber (mm).
VESSEL = 3.0
#: Corners of a false lumen are farther from the balls that fit into it by this at most (mm).
CORNER = 1.5
#: Names of the parts of the aorta, in the numbers of `divided`.
PARTS = ("aortic_root", "ascending_aorta", "aortic_arch", "descending_aorta")
FALSE = "aorta_false_lumen"
#: Names of structures that are divided here.
WHOLES = {"aorta": (*PARTS, FALSE), "aorta_true_lumen": PARTS, "aorta_false_lumen": (FALSE,)}


def heart_and_aorta_ct(
    image: Image, options: Options, regions: Mapping[str, Mask] | None = None
) -> Draft:
    """Label the blood in the chambers, the pulmonary artery and the parts of the aorta.

    Blood with contrast is above a threshold half way between muscle and the blood deep inside; it
    is taken apart at its necks; anatomy tells the lobes apart. A wide space beside the lumen of the
    descending aorta, within its outer wall, is a false lumen.

    Args:
        image: CT of the chest with contrast.
        options: ``threshold`` replaces the one that is found.
        regions: ``aorta``, ``heart`` and chambers where another program found them.

    Raises:
        InputError: no CT, no contrast, or no ascending aorta.
    """
    refuse_unless_ct(image, "heart_and_aorta_ct")
    ct, turn = upright(image)
    given = {name: turn.forth(mask) for name, mask in (regions or {}).items()}
    values = smoothed(ct, BLUR)
    level = blood_level(values, ct.grid)
    threshold = options.threshold or (level + MUSCLE) / 2.0
    blood = values > threshold
    chain = ascending_aorta(blood, ct.grid)
    found = lobes(blood, ct.values, ct.grid, apart=9.0, least=2.0)
    trunk = tube(found, chain)
    rooms = {name: found.mask(own) for name, own in chambers(found, chain, trunk).items()}
    other = np.logical_or.reduce([np.zeros_like(blood), *rooms.values()])
    aorta = lumen(found.mask(trunk), chain, blood & ~other, ct.grid)
    rooms |= {name: given[name] & ~aorta.mask for name in CHAMBERS if name in given}
    outer = given.get("aorta")
    if outer is None:
        outer = _outer(aorta, other, values, blood, ct.grid)
    line = middle_line(aorta, ct.grid)
    parts = parts_along(line, chain.radius)
    masks = {name: _tidy(mask, given.get("heart"), ct.grid) for name, mask in rooms.items()}
    numbers = divided(outer | aorta.mask, ct.grid, line, parts)
    masks |= _aorta_parts(outer, aorta, numbers, values, threshold, ct.grid)
    return Draft(
        masks={name: turn.back(mask) for name, mask in masks.items()},
        decisions=_account(level, threshold, aorta, parts, masks, line.length, ct.grid),
        thresholds={"blood level": level, "contrast": threshold, "slow blood": SLOW},
        seeds={"ascending aorta": at(chain.centre)}
        | {
            name: at(ct.grid.points(np.argwhere(mask)).mean(axis=0)) for name, mask in rooms.items()
        },
    )


def blood_level(values: NDArray[np.float32], grid: Grid) -> float:
    """Median value of blood with contrast in spaces as wide as a chamber (HU).

    Raises:
        InputError: there is no such space.
    """
    deep = shrunk((values > CONTRAST[0]) & (values < CONTRAST[1]), grid, CHAMBER)
    if np.count_nonzero(deep) * grid.voxel_volume < ML:
        raise InputError(
            "heart_and_aorta_ct",
            f"no contrast: less than 1 mL lies deeper than {CHAMBER:g} mm in what is brighter than "
            f"{CONTRAST[0]:g} HU.",
            "Give an arterial phase; without contrast blood can't be told from muscle.",
        )
    return float(np.median(values[deep]))


def _outer(aorta: Lumen, other: Mask, values: NDArray[np.float32], blood: Mask, grid: Grid) -> Mask:
    """The aorta with its false lumen if there is one, else its lumen."""
    if not aorta.descending:
        return aorta.mask
    bone = largest(opened(blood & ~aorta.mask & ~other, grid, float(grid.spacing.min()) / 3.0))
    whole = wall(aorta, values, other, bone, grid, SLOW)
    beside = opened(whole & ~grown(aorta.mask, grid, 2.0), grid, 3.0)
    dissected = beside.sum() > DISSECTED * aorta.mask.sum()
    return (whole | aorta.mask) & ~other if dissected else aorta.mask


def _tidy(mask: Mask, heart: Mask | None, grid: Grid) -> Mask:
    """A chamber without hollows and without the thin vessels at it."""
    whole = opened(filled(mask), grid, VESSEL)
    return largest(whole if heart is None else whole & grown(heart, grid, VESSEL))


def _aorta_parts(
    outer: Mask, aorta: Lumen, numbers: NDArray[np.uint8], values: NDArray[np.float32],
    threshold: float, grid: Grid,
) -> dict[str, Mask]:  # fmt: skip
    """Parts of the lumen, and what is wide beside it as the false lumen if that is large.

    Where the outer wall is near, a thin rim is left around the lumen: its voxels with contrast at
    the border are the lumen's, slow blood farther away that continues the false lumen is that's,
    and the rest is wall and belongs to neither.
    """
    beside = outer & ~aorta.mask
    wide = opened(beside, grid, VESSEL)
    if wide.sum() <= DISSECTED * aorta.mask.sum():
        false, whole = np.zeros_like(wide), aorta.mask | outer
    else:
        wide = grown(wide, grid, CORNER) & beside
        border = grown(aorta.mask, grid, 1.1 * float(grid.spacing.max()))
        slow = beside & ~border & (values > SLOW) & (values < threshold)
        false = touching(wide | slow, wide)
        whole = aorta.mask | (beside & border & ~false & (values > CONTRAST[0]))
    masks = {name: whole & (numbers == n) for n, name in enumerate(PARTS, 1)}
    return masks | {FALSE: false}


def _account(
    level: float, threshold: float, aorta: Lumen, parts: Parts, masks: Mapping[str, Mask],
    length: float, grid: Grid,
) -> tuple[str, ...]:  # fmt: skip
    volumes = {name: mask.sum() * grid.voxel_volume / ML for name, mask in masks.items()}
    junction = "at the waist above the sinuses" if parts.waist else "by rule, no waist was seen"
    ascending = aorta.ascending
    followed = f"Aorta followed over {length:.0f} mm."
    lost = "No descending aorta was found behind the ascending one."
    lines = [
        f"Blood with contrast has {level:.0f} HU; voxels above {threshold:.0f} HU are taken.",
        f"Ascending aorta: radius {ascending.radius:.1f} mm, round over {ascending.length:.0f} mm.",
        followed if aorta.descending else lost,
        f"The root ends {parts.root:.0f} mm above the valve, {junction}.",
    ]
    if volumes[FALSE]:
        lines.append(f"Dissected: {volumes[FALSE]:.0f} mL lie beside the true lumen.")
    lines += [f"{name}: {volume:.1f} mL." for name, volume in volumes.items() if volume]
    return tuple(lines)
