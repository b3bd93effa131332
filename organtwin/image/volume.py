"""Voxels that know their place in the patient: `Grid`, grey values on it, labels on it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Several
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray

from organtwin.errors import InputError, suggestion
from organtwin.units import ML

#: Extent (mm) that an image or a surface of an organ or a limb can have.
PLAUSIBLE_EXTENT = (10.0, 2000.0)
#: What the negative and the positive x, y and z point to (LPS).
ANATOMICAL = (("R", "L"), ("A", "P"), ("I", "S"))


@dataclass(frozen=True)
class Grid:
    """Voxel grid in patient coordinates (LPS, mm).

    The centre of voxel ``(i, j, k)`` lies at ``origin + direction @ (spacing * (i, j, k))``.

    Attributes:
        shape: Number of voxels along each grid axis.
        spacing: Distance of neighbouring voxel centres along each grid axis (mm), shape (3,).
        origin: Centre of voxel (0, 0, 0) (mm), shape (3,).
        direction: Columns are the unit vectors of the grid axes, shape (3, 3); may mirror.
    """

    shape: tuple[int, int, int]
    spacing: NDArray[np.float64]
    origin: NDArray[np.float64]
    direction: NDArray[np.float64]

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel (mm³)."""
        return float(np.prod(self.spacing))

    @property
    def extent(self) -> NDArray[np.float64]:
        """Length of the grid along each of its axes, half a voxel at either end included (mm)."""
        return np.asarray(self.shape * self.spacing)

    @property
    def axis_codes(self) -> str:
        """Anatomical directions nearest to the grid axes.

        ``LPS`` for axes towards left, posterior and superior; each letter pair occurs once, even
        where an oblique grid has two axes near the same direction.
        """
        share = np.abs(self.direction)
        best = max(permutations(range(3)), key=lambda p: sum(share[p[k], k] for k in range(3)))
        return "".join(
            ANATOMICAL[row][int(self.direction[row, k] > 0)] for k, row in enumerate(best)
        )

    @property
    def obliqueness(self) -> float:
        """Largest angle between a grid axis and its nearest anatomical direction (degrees)."""
        nearest = np.abs(self.direction).max(axis=0).clip(max=1.0)
        return float(np.degrees(np.arccos(nearest)).max())

    def points(self, index: ArrayLike) -> NDArray[np.float64]:
        """Patient coordinates (mm) of voxel indices, fractions allowed; shape (n, 3)."""
        return np.asarray(self.origin + (np.asarray(index) * self.spacing) @ self.direction.T)

    def index(self, points: ArrayLike) -> NDArray[np.float64]:
        """Voxel indices, with fractions, of patient coordinates (mm); shape (n, 3)."""
        return np.asarray(((np.asarray(points) - self.origin) @ self.direction) / self.spacing)

    def box(self) -> NDArray[np.float64]:
        """Lowest and highest patient coordinates of the voxel centres (mm), shape (2, 3)."""
        corners = self.points(np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(self.shape) - 1))
        return np.array([corners.min(axis=0), corners.max(axis=0)])

    def matches(self, other: Grid, tolerance: float = 0.01) -> bool:
        """Whether another grid has the same shape and its corners at the same places (mm)."""
        if self.shape != other.shape:
            return False
        corners = np.indices((2, 2, 2)).reshape(3, -1).T * (np.array(self.shape) - 1)
        return bool(np.abs(self.points(corners) - other.points(corners)).max() <= tolerance)

    def to_sitk(self, values: NDArray[Any]) -> sitk.Image:
        """SimpleITK image of values ``[i, j, k]`` on this grid."""
        image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0)))
        image.SetSpacing([float(x) for x in self.spacing])
        image.SetOrigin([float(x) for x in self.origin])
        image.SetDirection([float(x) for x in self.direction.ravel()])
        return image

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> Grid:
        """Grid of a three-dimensional SimpleITK image."""
        i, j, k = image.GetSize()
        return cls(
            shape=(i, j, k),
            spacing=np.array(image.GetSpacing()),
            origin=np.array(image.GetOrigin()),
            direction=np.array(image.GetDirection()).reshape(3, 3),
        )


@dataclass(frozen=True)
class Image:
    """Grey values on a grid.

    Attributes:
        values: Value of each voxel, ``int16`` or ``float32``, indexed ``[i, j, k]``.
        grid: Where the voxels lie.
        quantity: What the values are: ``HU`` (Hounsfield units of a CT), ``MR`` (signal without
            unit), another modality's code, or ``grey`` where the file doesn't tell.
    """

    values: NDArray[Any]
    grid: Grid
    quantity: str = "grey"

    def to_sitk(self) -> sitk.Image:
        """The same grid and values as a SimpleITK image."""
        return self.grid.to_sitk(self.values)

    @classmethod
    def from_sitk(cls, image: sitk.Image, quantity: str = "grey") -> Image:
        """Image of a 3D SimpleITK image with one value per voxel."""
        values = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
        return cls(compact(values), Grid.from_sitk(image), quantity)


@dataclass(frozen=True)
class Sequence:
    """Phases of a beating heart, or of any motion, on one grid.

    Attributes:
        images: One image per phase, in the order of time, all on the same grid.
        times: When each phase was taken, from the trigger (ms), shape (n,).
        cycle: Length of a heart beat (ms), if the file tells it.
    """

    images: tuple[Image, ...]
    times: NDArray[np.float64]
    cycle: float | None = None

    @property
    def grid(self) -> Grid:
        """Grid of all phases."""
        return self.images[0].grid

    @property
    def quantity(self) -> str:
        """What the values are; see `Image`."""
        return self.images[0].quantity


@dataclass(frozen=True)
class LabelMap:
    """Labelled voxels in patient coordinates (LPS, mm).

    The centre of voxel ``(i, j, k)`` lies at ``origin + direction @ (spacing * (i, j, k))``.

    Attributes:
        values: Label of each voxel, ``uint8``, indexed ``[i, j, k]``; 0 is background.
        names: Anatomical name → integer in ``values``.
        spacing: Distance of neighbouring voxel centres along each grid axis (mm), shape (3,).
        origin: Centre of voxel (0, 0, 0) (mm), shape (3,).
        direction: Columns are the unit vectors of the grid axes, shape (3, 3); may mirror.
    """

    values: NDArray[np.uint8]
    names: Mapping[str, int]
    spacing: NDArray[np.float64]
    origin: NDArray[np.float64]
    direction: NDArray[np.float64]

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        i, j, k = self.values.shape
        return Grid((i, j, k), self.spacing, self.origin, self.direction)

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel (mm³)."""
        return float(np.prod(self.spacing))

    def mask(self, *names: str) -> NDArray[np.bool_]:
        """Voxels that carry one of the named labels.

        Raises:
            InputError: no label of that name.
        """
        for name in names:
            if name not in self.names:
                raise InputError("LabelMap", f"no label `{name}`.", suggestion(name, self.names))
        chosen = np.zeros(256, bool)
        chosen[[self.names[name] for name in names]] = True
        return np.asarray(chosen[self.values])

    def volume_ml(self, name: str) -> float:
        """Volume of a label, voxels counted (mL)."""
        return int(np.count_nonzero(self.mask(name))) * self.voxel_volume / ML

    def points(self, index: NDArray[np.generic]) -> NDArray[np.float64]:
        """Patient coordinates (mm) of voxel indices, fractions allowed; shape (n, 3)."""
        return np.asarray(self.origin + (np.asarray(index) * self.spacing) @ self.direction.T)

    def to_sitk(self) -> sitk.Image:
        """The same grid and values as a SimpleITK image."""
        return self.grid.to_sitk(self.values)

    @classmethod
    def from_sitk(cls, image: sitk.Image, names: Mapping[str, int]) -> LabelMap:
        """Label map of a 3D SimpleITK image whose values fit into ``uint8``."""
        values = sitk.GetArrayFromImage(image).transpose(2, 1, 0).astype(np.uint8)
        return cls(
            values=np.ascontiguousarray(values),
            names=dict(names),
            spacing=np.array(image.GetSpacing()),
            origin=np.array(image.GetOrigin()),
            direction=np.array(image.GetDirection()).reshape(3, 3),
        )


def compact(values: NDArray[Any]) -> NDArray[Any]:
    """The same values as ``int16`` if they are whole numbers that fit, else as ``float32``."""
    if values.dtype == np.int16 or values.size == 0:
        return np.ascontiguousarray(values, dtype=np.int16)
    fits = values.min() >= -32768 and values.max() <= 32767
    whole = values.dtype.kind in "iu" or bool((values == np.round(values)).all())
    kind = np.int16 if fits and whole else np.float32
    return np.ascontiguousarray(values, dtype=kind)


def check_extent(
    place: str,
    extent: Several[float] | NDArray[np.float64],
    *,
    what: str = "the geometry",
    written: str = "the file",
    remedy: str = "Convert it to mm.",
) -> None:
    """Refuse an extent that no organ or limb has: a femur of 400 m or of 0.4 mm.

    Args:
        place: File, for the message.
        extent: Length along x, y, z or along the grid axes (mm).
        what: What is measured, for the message: "the surface", "the labelled part".
        written: What may be in another unit, for the message: "the file", "the spacing".
        remedy: What to do about it.

    Raises:
        InputError: the largest extent is below 10 mm, above 2 m, or no number.
    """
    low, high = PLAUSIBLE_EXTENT
    largest = float(np.max(extent))
    if low <= largest <= high:
        return
    size = " x ".join(f"{length:.3g}" for length in extent)
    guess = "metres" if largest < low else "micrometres"
    raise InputError(
        place, f"{what} measures {size} mm; is {written} in {guess} instead of mm?", remedy
    )
