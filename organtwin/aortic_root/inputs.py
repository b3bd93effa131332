"""What can't be measured, and how that is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from scipy import ndimage

from organtwin.aortic_root.outline import Outline
from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image, LabelMap
from organtwin.landmarks.names import AORTA
from organtwin.landmarks.record import AUTOMATIC, Landmark, Plane, Point

#: Least grey value of blood with contrast (HU); blood without has about 40.
CONTRAST = 150.0
#: Where below the annulus and above the junction the scan must reach (mm).
BELOW, ABOVE = 4.0, 0.0
#: An aorta that ends this near to the border of the scan may be cut off (voxels).
NEAR = 3
REMEDY = (
    "Take a scan that holds the heart's base: from 10 mm below the valve to the ascending aorta."
)


def refuse_without_contrast(image: Image, labels: LabelMap) -> None:
    """Refuse a scan in which blood can't be told from muscle.

    Raises:
        InputError: the scan lies on another grid, isn't a CT, or the blood is too dark.
    """
    if not image.grid.matches(labels.grid):
        raise InputError(
            "aortic root", "scan and labels lie on different grids.",
            "Resample the labels to the scan.",
        )  # fmt: skip
    if image.quantity != "HU":
        raise InputError(
            "aortic root", f"the scan's values are `{image.quantity}`, not HU.",
            "Give the CT itself; without a scan the labels alone are measured.",
        )  # fmt: skip
    names = [name for name in AORTA if name in labels.names]
    mask = labels.mask(*names) if names else np.zeros(image.grid.shape, bool)
    inner = ndimage.binary_erosion(mask, iterations=2)
    if not inner.any():
        return  # what is wrong then is told by the landmarks
    blood = float(np.median(image.values[inner]))
    if blood < CONTRAST:
        raise InputError(
            "aortic root",
            f"no contrast: the blood of the aorta has {blood:.0f} HU, less than {CONTRAST:.0f} HU.",
            "Take an arterial phase with contrast medium; calcium, wall and leaflets can't be told "
            "from blood without.",
        )


def refuse_outside_points(given: Iterable[Landmark], grid: Grid) -> None:
    """Refuse landmarks that were placed outside of the image.

    Raises:
        InputError: one lies there.
    """
    for landmark in given:
        place = landmark.geometry
        if landmark.source == AUTOMATIC or not isinstance(place, Point | Plane):
            continue
        at = place.at if isinstance(place, Point) else place.centre
        index = grid.index(at[None])[0]
        if np.any(index < -0.5) or np.any(index > np.array(grid.shape) - 0.5):
            low, high = grid.box()
            raise InputError(
                f"{landmark.source}, `{landmark.name}`",
                f"({_place(at)}) lies outside of the image, from ({_place(low)}) to "
                f"({_place(high)}) mm (LPS).",
                "Place it on this scan; a sign may be wrong where a program wrote RAS.",
            )


@contextmanager
def seen_or_cut_off(labels: LabelMap) -> Iterator[None]:
    """Tell that the field of view may be why nothing is found.

    Raises:
        InputError: nothing was found; where the heart's end of the aorta touches the border of the
            scan, the message says so.
    """
    try:
        yield
    except InputError as error:
        ends = _ends_at_border(labels)
        if not ends:
            raise
        raise InputError(
            error.place,
            f"{error.problem} The aorta reaches the {' and '.join(ends)} border of the scan: is "
            "the root cut off?",
            f"{REMEDY} {error.remedy}",
        ) from None


def _ends_at_border(labels: LabelMap) -> list[str]:
    """Borders of the grid which what is labelled reaches, except that above."""
    filled = labels.values > 0
    names = {"L": "left", "R": "right", "P": "posterior", "A": "anterior", "I": "lower"}
    opposite = {"L": "R", "R": "L", "P": "A", "A": "P", "S": "I", "I": "S"}
    found = []
    for axis, code in enumerate(labels.grid.axis_codes):
        for way, part in ((opposite[code], slice(0, NEAR)), (code, slice(-NEAR, None))):
            layer = [slice(None)] * 3
            layer[axis] = part
            if way in names and filled[tuple(layer)].any():
                found.append(names[way])
    return found


def refuse_cut_off(annulus: Plane, junction: Plane, grid: Grid) -> None:
    """Refuse a scan that ends before the outflow tract or the junction.

    Raises:
        InputError: it does.
    """
    for what, plane, height in (
        ("outflow tract 4 mm below the annulus", annulus, -BELOW),
        ("annulus", annulus, 0.0),
        ("sinotubular junction", junction, ABOVE),
    ):
        _refuse_beyond(what, (plane.centre + height * plane.normal)[None], grid)


def refuse_outside(outlines: Mapping[str, Outline], grid: Grid) -> None:
    """Refuse outlines that the field of view cuts off.

    Raises:
        InputError: one reaches the border.
    """
    for name, one in outlines.items():
        if not one.within(grid):
            _refuse_beyond(name, one.points, grid, margin=1.0)


def _refuse_beyond(
    what: str, points: np.ndarray[tuple[int, ...], np.dtype[np.float64]], grid: Grid,
    margin: float = 0.0,
) -> None:  # fmt: skip
    index = grid.index(points)
    short = np.max([margin - index, index - (np.array(grid.shape) - 1.0 - margin)], axis=(0, 1))
    axis = int(np.argmax(short * grid.spacing))
    if short[axis] <= 0.0:
        return
    missing = float(short[axis] * grid.spacing[axis]) + float(grid.spacing[axis])
    raise InputError(
        "aortic root",
        f"the field of view cuts it off: the section `{what}` reaches {missing:.0f} mm too far "
        f"along grid axis {axis + 1} ({grid.axis_codes[axis]}).",
        REMEDY,
    )


def _place(at: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return ", ".join(f"{x:.0f}" for x in at)
