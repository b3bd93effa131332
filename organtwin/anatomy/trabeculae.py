"""Direction of trabeculae in bone, from the grey values of its image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.volume import Image

type Points = NDArray[np.float64]

#: Least width of a Gaussian whose derivative is exact enough on voxels (longest voxel edges).
LEAST = 0.7
#: Pairs of axes of the six different entries of a symmetric tensor.
_ENTRIES = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


@dataclass(frozen=True)
class Trabeculae:
    """Main direction of the trabeculae at places.

    Attributes:
        direction: Unit vectors, their sign without meaning (LPS), shape (n, 3).
        anisotropy: 1 − λ₁ / λ₃ of the structure tensor's eigenvalues λ₁ ≤ λ₂ ≤ λ₃, shape (n,):
            0 without a direction, 1 for grey values that do not change along it.
    """

    direction: Points
    anisotropy: NDArray[np.float64]


def trabecular_directions(
    image: Image, points: Points, *, noise: float = 0.3, window: float = 3.0
) -> Trabeculae:
    """Direction along which the grey values change least around each place.

    It is the eigenvector of the smallest eigenvalue of the gradient structure tensor

        J = G_ρ ∗ (∇I_σ ∇I_σᵀ),   I_σ = G_σ ∗ I,

    where G are Gaussians. At clinical resolution single trabeculae are not seen; what J then finds
    is the texture that they leave.

    Args:
        image: Scan of the bone.
        points: Places (mm, LPS), for example the middles of cells, shape (n, 3).
        noise: σ, width of the Gaussian that takes the noise off (mm); at least `LEAST` voxels.
        window: ρ, width of the Gaussian over which directions are averaged (mm), some times the
            distance of trabeculae.

    Raises:
        InputError: a place lies outside of the image, or widths are not above zero.

    Source:
        Bigün & Granlund (1987), Proc. ICCV, 433-438 (the tensor).
    """
    if not (noise > 0.0 and window > 0.0):
        raise InputError("trabecular_directions", "a width is not above zero.", "Try 0.3 and 3 mm.")
    index = image.grid.index(points)
    beyond = (index < -0.5) | (index > np.array(image.grid.shape) - 0.5)
    if beyond.any():
        x, y, z = points[int(np.argmax(beyond.any(axis=1)))]
        raise InputError(
            "trabecular_directions",
            f"{int(beyond.any(axis=1).sum())} places lie outside of the image, the first at "
            f"({x:.1f}, {y:.1f}, {z:.1f}) mm.",
            "Take the image that the mesh was made from.",
        )
    tensor = _structure_tensor(image, noise, window, index)
    # From the grid's axes to the patient's.
    turned = image.grid.direction @ tensor @ image.grid.direction.T
    values, vectors = np.linalg.eigh(turned)
    least = np.maximum(values[:, 0], 0.0)
    return Trabeculae(vectors[:, :, 0], 1.0 - least / np.maximum(values[:, 2], 1e-300))


def _structure_tensor(image: Image, noise: float, window: float, index: Points) -> Points:
    """The tensor at fractional voxel indices, along the grid's axes, shape (n, 3, 3)."""
    spacing = image.grid.spacing
    # The same width along all axes: a narrower one would see steeper gradients along its axis.
    width = max(noise, LEAST * float(spacing.max())) / spacing
    grey = image.values.astype(np.float32)
    gradient = [
        ndimage.gaussian_filter(grey, width, order=order, mode="nearest") / spacing[k]
        for k, order in enumerate(np.eye(3, dtype=int).tolist())
    ]
    tensor = np.empty((len(index), 3, 3))
    for i, j in _ENTRIES:
        entry = ndimage.gaussian_filter(gradient[i] * gradient[j], window / spacing, mode="nearest")
        found = ndimage.map_coordinates(entry, index.T, order=1, mode="nearest")
        tensor[:, i, j] = tensor[:, j, i] = found
    return tensor
