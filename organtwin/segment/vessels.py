"""Bright tubes in a scan: enhancement of vessels by the second derivatives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from organtwin.image.volume import Image


def tubeness(image: Image, radii: Sequence[float], *, bright: bool = True) -> NDArray[np.float32]:
    """How much like a tube each voxel's surroundings are, the largest over several radii.

    With the eigenvalues ``|λ1| <= |λ2| <= |λ3|`` of the Hessian at scale ``σ``, ``λ2`` and ``λ3``
    negative: ``(1 - exp(-A²/2α²)) exp(-B²/2β²) (1 - exp(-S²/2γ²))``, ``A = |λ2|/|λ3|``,
    ``B = |λ1|/√|λ2 λ3|``, ``S = ‖λ‖``; ``α = β = 0.5`` and ``γ`` is half the largest ``S``.

    Args:
        image: Grey values.
        radii: Radii of the tubes (mm); the scale of each is ``σ = r/√2``, at which the response to
            a cylinder is largest.
        bright: Tubes brighter than what is around them, else darker ones.

    Returns:
        Values from 0 to 1 per voxel.

    Source:
        A. F. Frangi et al., Multiscale vessel enhancement filtering, MICCAI (1998), equation 13;
        L. Antiga, Generalizing vesselness, Insight Journal (2007), in ITK.
    """
    best = np.zeros(image.grid.shape, np.float32)
    for radius in radii:
        sigma = radius / np.sqrt(2.0)
        smooth = sitk.SmoothingRecursiveGaussian(
            sitk.Cast(image.to_sitk(), sitk.sitkFloat32), float(sigma)
        )
        best = np.maximum(best, _objectness(smooth, sigma**2, bright))
    return best


def _objectness(smooth: sitk.Image, scale: float, bright: bool) -> NDArray[np.float32]:
    """Response at one scale, the second derivatives multiplied by ``σ²``."""
    scaled = smooth * float(scale)
    norm = _largest_norm(scaled)
    response = sitk.ObjectnessMeasure(
        scaled, alpha=0.5, beta=0.5, gamma=max(norm / 2.0, 1e-6), scaleObjectnessMeasure=False,
        objectDimension=1, brightObject=bright,
    )  # fmt: skip
    return np.asarray(sitk.GetArrayFromImage(response).transpose(2, 1, 0), dtype=np.float32)


def _largest_norm(smooth: sitk.Image) -> float:
    """99.9 % quantile of the Frobenius norm of the Hessian."""
    values = sitk.GetArrayFromImage(smooth)
    spacing = smooth.GetSpacing()[::-1]
    second = [
        step for slope in np.gradient(values, *spacing) for step in np.gradient(slope, *spacing)
    ]
    return float(np.sqrt(np.percentile(sum(step**2 for step in second), 99.9)))
