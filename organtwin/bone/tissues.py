"""Calibration by what every scan holds: air, fat and muscle, found by the peaks of the values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.bone.calibration import Calibration, fitted
from organtwin.errors import InputError
from organtwin.image.volume import Image

type Array = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: Where the peak of a tissue is looked for (HU): wide enough for all voltages and for a line that
#: is off by some per cent, apart from each other.
WINDOWS = {"air": (-1080.0, -920.0), "fat": (-150.0, -60.0), "muscle": (15.0, 95.0)}
#: Density that a phantom of hydroxyapatite gives a tissue at 120 kVp (mg/mm³). The method is that
#: of Eggermont et al. (2019), PLoS ONE 14:e0220564, whose abstract was read; the numbers are
#: recalled from it and were not checked. `from_tissues` takes others.
DENSITIES = {"air": -0.840, "fat": -0.080, "muscle": 0.030}
#: Width of the bins and of their smoothing (HU).
BIN, SMOOTHING = 2.0, 6.0
#: A peak that lies closer than this to an end of its window is no peak (HU).
EDGE = 4.0
#: Voxels within this of a peak belong to it (HU); below so much volume (mm³) there is none.
NEAR, LEAST_VOLUME = 15.0, 2000.0
#: Share of the voxels at an edge of another tissue that are dropped: this far from any edge (mm).
CLEAR = 2.0
#: How far a mask's own peak may lie from that of the whole image before the mask is doubted (HU).
DOUBTED = 25.0


@dataclass(frozen=True)
class Peak:
    """A tissue found in the image.

    Attributes:
        tissue: Its name.
        value: Most frequent value (HU).
        spread: Standard deviation of the voxels around it (HU), robust.
        volume: Of the voxels near the peak (mL).
        note: What was decided on the way, or empty.
    """

    tissue: str
    value: float
    spread: float
    volume: float
    note: str = ""


def find_tissues(image: Image, masks: Mapping[str, Mask] | None = None) -> tuple[Peak, ...]:
    """Peaks of air, fat and muscle among the values of homogeneous voxels.

    Voxels near an edge are left out, since they are mixtures. Of what remains the most frequent
    value within the window of each tissue is taken, by a smoothed histogram and the centroid of
    its top. A mask narrows the search; where the peak in the mask is missing, at an end of the
    window, or far from that of the whole image, the mask is taken for wrong and the whole image
    decides, with a note.

    Args:
        image: The CT (HU).
        masks: Tissue → voxels where another program found it, if any.

    Returns:
        One peak of each tissue that is there.
    """
    calm = _homogeneous(image)
    found = []
    for tissue, window in WINDOWS.items():
        whole = _peak(image, calm, tissue, window)
        mask = (masks or {}).get(tissue)
        if mask is None:
            found.append(whole)
            continue
        narrowed = _peak(image, calm & mask, tissue, window)
        found.append(_trusted(narrowed, whole, tissue))
    return tuple(peak for peak in found if peak is not None)


def from_tissues(
    image: Image,
    masks: Mapping[str, Mask] | None = None,
    densities: Mapping[str, float] | None = None,
) -> Calibration:
    """The line through the peaks of air, fat and muscle.

    For scans without a phantom. It follows the scanner's drift and offset; the voltage changes
    bone more than these tissues, so for another one than 120 kVp give densities that were found
    with a phantom at that voltage. Contrast agent spoils it: muscle takes it up.

    Args:
        image: The CT (HU); it must hold the body's outline, some fat and some muscle.
        masks: See `find_tissues`.
        densities: Tissue → density (mg/mm³ of hydroxyapatite), `DENSITIES` without it.

    Raises:
        InputError: no HU; fewer than three tissues found; or see `calibration.fitted`.
    """
    if image.quantity != "HU":
        raise InputError(
            "calibration by tissues", f"the values are `{image.quantity}`, not HU.",
            "Read the CT from its DICOM series, or say quantity=\"HU\" if the file lost it.",
        )  # fmt: skip
    wanted = dict(DENSITIES if densities is None else densities)
    peaks = [peak for peak in find_tissues(image, masks) if peak.tissue in wanted]
    if len(peaks) < 3:
        missing = sorted(set(WINDOWS) - {peak.tissue for peak in peaks})
        raise InputError(
            "calibration by tissues",
            f"no peak of {' and '.join(missing)} in the image.",
            "The image must reach beyond the skin and hold muscle; a scan cut to the bone can be "
            "calibrated by rods, or by the numbers of the whole scan.",
        )
    line = fitted([p.value for p in peaks], [wanted[p.tissue] for p in peaks], kind="references")
    told = ", ".join(f"{p.tissue} {p.value:.0f} HU" for p in peaks)
    notes = (
        f"Calibrated by tissues: {told}. Bone lies beyond them: the line is extrapolated.",
        *(p.note for p in peaks if p.note),
        *line.warnings,
    )
    return replace(line, warnings=notes)


def _homogeneous(image: Image) -> Mask:
    """Voxels whose neighbourhood is of one tissue, and that lie inside the field of view."""
    values = np.asarray(image.values, dtype=np.float32)
    size = np.maximum(1, np.round(CLEAR / image.grid.spacing)).astype(int) * 2 + 1
    smooth = ndimage.uniform_filter(values, size=size.tolist(), mode="nearest")
    square = ndimage.uniform_filter(values * values, size=size.tolist(), mode="nearest")
    spread = np.sqrt(np.maximum(square - smooth * smooth, 0.0))
    told = values > -1500.0
    noise = _noise(spread[told & (spread > 0.0)])
    return np.asarray(told & (spread <= 3.0 * noise + 5.0))


def _noise(spread: NDArray[np.float32]) -> float:
    """Typical local deviation: that of the calmest tenth, in which no edge lies."""
    return float(np.percentile(spread, 10.0)) if spread.size else 0.0


def _peak(image: Image, mask: Mask, tissue: str, window: tuple[float, float]) -> Peak | None:
    low, high = window
    values = np.asarray(image.values)[mask]
    values = values[(values >= low - 30.0) & (values <= high + 30.0)].astype(np.float64)
    if len(values) * image.grid.voxel_volume < LEAST_VOLUME:
        return None
    edges = np.arange(low - 30.0, high + 30.0 + BIN, BIN)
    counts, _ = np.histogram(values, edges)
    centres = (edges[:-1] + edges[1:]) / 2
    smooth = ndimage.gaussian_filter1d(counts.astype(np.float64), SMOOTHING / BIN)
    inside = (centres >= low) & (centres <= high)
    top = int(np.flatnonzero(inside)[np.argmax(smooth[inside])])
    if centres[top] < low + EDGE or centres[top] > high - EDGE:
        return None
    value = _centroid(values, float(centres[top]))
    near = values[np.abs(values - value) <= NEAR]
    volume = len(near) * image.grid.voxel_volume
    if volume < LEAST_VOLUME:
        return None
    spread = 1.4826 * float(np.median(np.abs(near - np.median(near))))
    return Peak(tissue, value, spread, volume / 1000.0)


def _centroid(values: Array, start: float) -> float:
    """Mean of the values near a peak, repeated until it stays."""
    value = start
    for _ in range(20):
        near = values[np.abs(values - value) <= NEAR]
        if not len(near) or abs(float(near.mean()) - value) < 0.01:
            break
        value = float(near.mean())
    return value


def _trusted(narrowed: Peak | None, whole: Peak | None, tissue: str) -> Peak | None:
    """The peak in a mask unless the whole image contradicts it."""
    if whole is None:
        return narrowed
    if narrowed is None:
        return replace(whole, note=f"The mask of {tissue} holds none of it; the image decided.")
    if abs(narrowed.value - whole.value) > DOUBTED:
        return replace(
            whole,
            note=f"The mask of {tissue} peaks at {narrowed.value:.0f} HU, the image at "
            f"{whole.value:.0f} HU; the image decided.",
        )
    return narrowed
