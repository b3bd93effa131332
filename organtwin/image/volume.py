"""`LabelMap`: integers on a voxel grid that knows its place in the patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.units import ML


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
        image = sitk.GetImageFromArray(np.ascontiguousarray(self.values.transpose(2, 1, 0)))
        image.SetSpacing([float(x) for x in self.spacing])
        image.SetOrigin([float(x) for x in self.origin])
        image.SetDirection([float(x) for x in self.direction.ravel()])
        return image

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
