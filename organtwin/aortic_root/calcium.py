"""Calcium of an aortic valve and outflow tract in a contrast CT: threshold, volume and score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.aortic_root.levels import Levels, RootFrame
from organtwin.aortic_root.parametric import CUSPS
from organtwin.errors import InputError, suggestion
from organtwin.image.volume import Image
from organtwin.landmarks.fits import MAD

type Vector = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: How far calcium is looked for below the annulus, and outside of the wall of the blood (mm).
BELOW, OUTSIDE = 10.0, 3.0
#: Least volume (mm³) and number of voxels of a lesion.
LEAST, VOXELS = 1.0, 3
#: Parts of the root: above and below the plane of the annulus.
PARTS = ("valve", "outflow")
#: Rule for the threshold → what it says and where it comes from.
RULES: Mapping[str, str] = {
    "adaptive": "blood + 100 HU, or + 4 standard deviations of the blood if that is more; our "
    "choice, from `blood_plus_100` and the noise",
    "blood_plus_100": "blood + 100 HU, of six thresholds the one with the largest AUC (0.81) for "
    "leaks in 104 patients: Bettinger et al., J. Cardiovasc. Comput. Tomogr. (abstract read)",
    "850": "850 HU in contrast scans: Jilaihawi et al., Eur. Heart J. Cardiovasc. Imaging 15 "
    "(2014) 1324, doi 10.1093/ehjci/jeu162 (abstract read)",
    "450_or_850": "450 HU if the blood of the outflow tract has less than 300 HU, else 850 HU: "
    "Threshold for calcium volume evaluation in patients with aortic valve stenosis (2021; "
    "abstract read)",
}
#: Steps of the factor of the Agatston score (HU).
FACTORS = (130.0, 200.0, 300.0, 400.0)
#: Slice thickness that the score refers to (mm).
SLICE = 3.0
#: Voxels around a lesion that may hold a part of it, and the least share that counts.
RIM, FULL = 2, 0.08
#: Face area of voxels over the area of the surface that they stand for, all directions alike.
STAIRS = 1.5


@dataclass(frozen=True)
class Blood:
    """Contrast of the blood.

    Attributes:
        mean: Median (HU).
        spread: Robust standard deviation (HU).
    """

    mean: float
    spread: float

    @classmethod
    def of(cls, values: Vector) -> Blood:
        """Median and median absolute deviation of grey values, so that calcium counts little."""
        mean = float(np.median(values))
        return cls(mean, MAD * float(np.median(np.abs(values - mean))))


@dataclass(frozen=True)
class Score:
    r"""Calcium of a region.

    Attributes:
        volume: Volume above the threshold (mm³), which blur makes larger than it is.
        corrected: Volume (mm³) of voxels on and around the lesion by how full they are,
            :math:`\sum (v - b)/(p - b)` with the blood :math:`b` and the lesion's densest part
            :math:`p`; blur in blood leaves it as it is, beside muscle it is too small.
        agatston: Agatston-like score, :math:`\sum A\,f\,t/3\,\text{mm}` over slices of thickness
            :math:`t` and lesions of area :math:`A` in them, with the factor :math:`f` = 1, 2, 3, 4
            from 130, 200, 300, 400 HU on that its densest voxel is above the blood. The original
            (Agatston 1990; its steps as other pages describe them) takes HU themselves without
            contrast; the difference to the blood is our choice.
        low: Volume with the surface half a voxel farther in (mm³).
        high: Volume with the surface half a voxel farther out (mm³).
    """

    volume: float
    corrected: float
    agatston: float
    low: float
    high: float


@dataclass(frozen=True)
class Calcium:
    """Calcium of a root.

    Attributes:
        threshold: Smallest value of calcium (HU).
        rule: One of `RULES`.
        blood: Contrast of the blood.
        regions: Cusp and ``valve`` (above the annulus) or ``outflow`` → what lies there.
        lesions: Number of lesions.
        mask: Voxels of calcium.
    """

    threshold: float
    rule: str
    blood: Blood
    regions: Mapping[tuple[str, str], Score]
    lesions: int
    mask: Mask

    def total(self, part: str) -> float:
        """Volume above the threshold of all cusps (mm³) in ``valve`` or ``outflow``."""
        return sum(score.volume for (_, own), score in self.regions.items() if own == part)


def threshold_of(blood: Blood, rule: str) -> float:
    """Smallest value of calcium (HU) by a rule of `RULES`.

    Raises:
        InputError: no such rule.
    """
    if rule not in RULES:
        raise InputError("calcium", f"no rule `{rule}`.", suggestion(rule, RULES))
    return {
        "adaptive": blood.mean + max(100.0, 4.0 * blood.spread),
        "blood_plus_100": blood.mean + 100.0,
        "850": 850.0,
        "450_or_850": 450.0 if blood.mean < 300.0 else 850.0,
    }[rule]


def calcium(
    image: Image, levels: Levels, frame: RootFrame, blood: Blood, rule: str = "adaptive"
) -> Calcium:
    """Calcium on leaflets, annulus and outflow tract.

    Voxels above the threshold, from 10 mm below the annulus up to the highest level and up to 3 mm
    outside of the wall. A lesion is what is connected and has 1 mm³ and three voxels at least. Each
    of its voxels belongs to the cusp in whose sector and to the part on whose side of the annulus
    its middle lies. These limits are our choice.

    Args:
        image: CT (HU).
        levels: Sections of the root.
        frame: Its coordinates.
        blood: Its contrast.
        rule: One of `RULES`.

    Raises:
        InputError: no such rule, or the threshold isn't above the blood.
    """
    least = threshold_of(blood, rule)
    if least <= blood.mean:
        raise InputError(
            "calcium", f"blood has {blood.mean:.0f} HU, calcium would begin at {least:.0f} HU.",
            "Choose the rule `adaptive`.",
        )  # fmt: skip
    found = np.zeros(image.grid.shape, bool)
    index = np.argwhere(image.values > least)
    points = image.grid.points(index)
    beyond = levels.beyond(points, frame)
    height = frame.coordinates(points)[2]
    near = (beyond < OUTSIDE) & (height > -BELOW)
    found[tuple(index[near].T)] = True
    found, lesions = _lesions(found, image.grid.voxel_volume)
    return Calcium(least, rule, blood, _regions(image, found, lesions, frame, blood),
                   int(lesions.max(initial=0)), found)  # fmt: skip


def _lesions(mask: Mask, voxel: float) -> tuple[Mask, NDArray[np.int64]]:
    """Voxels of lesions that are large enough, and the number of the lesion of each voxel."""
    label, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(label.ravel())
    kept = (sizes >= VOXELS) & (sizes * voxel >= LEAST)
    kept[0] = False
    numbers = np.where(kept, np.cumsum(kept), 0)
    found = numbers[label]
    return found > 0, found


def _regions(
    image: Image, mask: Mask, lesions: NDArray[np.int64], frame: RootFrame, blood: Blood
) -> dict[tuple[str, str], Score]:
    index = np.argwhere(mask)
    x, y, height = frame.coordinates(image.grid.points(index))
    cusp, part = frame.cusp(np.arctan2(y, x)), (height < 0.0).astype(int)
    own = lesions[tuple(index.T)]
    grey = image.values[tuple(index.T)].astype(float)
    skin = _skin(image, mask)[tuple(index.T)] / STAIRS
    shift = 0.5 * float(np.mean(image.grid.spacing))
    full, of_cusp, of_part = _fullness(image, lesions, frame, blood)
    voxel = image.grid.voxel_volume
    found = {}
    for number, name in enumerate(CUSPS):
        for side, where in enumerate(PARTS):
            here = (cusp == number) & (part == side)
            volume = float(np.count_nonzero(here)) * voxel
            change = shift * float(skin[here].sum())
            found[name, where] = Score(
                volume,
                float(full[(of_cusp == number) & (of_part == side)].sum()) * voxel,
                _agatston(image, index[here], own[here], grey[here] - blood.mean),
                max(volume - change, 0.0),
                volume + change,
            )
    return found


def _fullness(
    image: Image, lesions: NDArray[np.int64], frame: RootFrame, blood: Blood
) -> tuple[Vector, NDArray[np.int64], NDArray[np.int64]]:
    """How full of calcium voxels on and around lesions are, their cusps and parts, each (n,)."""
    if not lesions.any():
        none = np.zeros(0, np.int64)
        return np.zeros(0), none, none
    box = tuple(
        slice(max(b.start - RIM, 0), b.stop + RIM)
        for b in ndimage.find_objects((lesions > 0).astype(np.uint8))[0]
    )
    part, grey = lesions[box], image.values[box].astype(float)
    nearest = ndimage.distance_transform_edt(part == 0, return_distances=False, return_indices=True)
    around = ndimage.binary_dilation(part > 0, np.ones((3, 3, 3)), RIM)
    own = part[tuple(nearest)]
    peaks = np.full(int(part.max()) + 1, np.inf)
    for lesion in np.unique(part[part > 0]):
        here = np.sort(grey[part == lesion])
        peaks[lesion] = float(here[-max(3, int(0.05 * len(here))) :].mean())
    share = np.clip((grey - blood.mean) / (peaks[own] - blood.mean), 0.0, 1.0)
    index = np.argwhere(around & (share > FULL))
    corner = np.array([b.start for b in box])
    x, y, height = frame.coordinates(image.grid.points(index + corner))
    return share[tuple(index.T)], frame.cusp(np.arctan2(y, x)), (height < 0.0).astype(np.int64)


def _skin(image: Image, mask: Mask) -> Vector:
    """Area of the faces between each voxel of a mask and what is outside of it (mm²)."""
    skin = np.zeros(mask.shape)
    for axis in range(3):
        face = image.grid.voxel_volume / float(image.grid.spacing[axis])
        for way in (1, -1):
            skin += face * (mask & ~np.roll(mask, way, axis=axis))
    return skin


def _agatston(
    image: Image, index: NDArray[np.int64], own: NDArray[np.int64], above: Vector
) -> float:
    """Agatston-like score of voxels, in slices along the grid axis nearest to the body's."""
    if not len(index):
        return 0.0
    axis = int(np.argmax(np.abs(image.grid.direction[2])))
    thick = float(image.grid.spacing[axis])
    area = image.grid.voxel_volume / thick
    _, spot = np.unique(np.column_stack([own, index[:, axis]]), axis=0, return_inverse=True)
    spot = spot.ravel()
    peak = np.full(int(spot.max()) + 1, -np.inf)
    np.maximum.at(peak, spot, above)
    factor = np.searchsorted(FACTORS, peak, side="right")
    return float(np.sum(np.bincount(spot) * area * factor)) * thick / SLICE
