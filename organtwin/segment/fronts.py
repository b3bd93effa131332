"""Moving fronts: arrival times from seeds, and contours that stop at edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image
from organtwin.segment import markers
from organtwin.segment.morphology import Mask


@dataclass(frozen=True)
class Contour:
    """What moves a geodesic active contour.

    Attributes:
        advection: Pull towards edges.
        inflation: Growth where there is no edge; negative shrinks.
        bending: Smoothing by curvature.
        steps: Most steps of the level set.
        tolerance: Change (root mean square) at which it stops.
    """

    advection: float = 1.0
    inflation: float = 0.5
    bending: float = 0.3
    steps: int = 200
    tolerance: float = 0.005


def edge_speed(image: Image, *, sigma: float, slope: float) -> NDArray[np.float32]:
    """Speed of a front: 1 in flat regions, 0 at edges.

    ``g = 1 / (1 + (|∇(G_σ * I)| / slope)²)``

    Args:
        image: Grey values.
        sigma: Standard deviation of the Gaussian (mm).
        slope: Gradient (value per mm) at which the speed is one half.

    Source:
        V. Caselles, R. Kimmel, G. Sapiro, Geodesic active contours, IJCV 22 (1997), equation 8.
    """
    gradient = markers.slope(image, sigma)
    return np.asarray(1.0 / (1.0 + (gradient / slope) ** 2), dtype=np.float32)


def arrival(
    speed: NDArray[np.float32], grid: Grid, seeds: Mask, *, until: float = np.inf
) -> NDArray[np.float32]:
    """Time at which a front from the seeds comes by: ``speed · |∇T| = 1``.

    Args:
        speed: Speed of the front in each voxel (mm per unit of time); 0 is never entered.
        grid: Where the voxels lie.
        seeds: Voxels where the time is 0.
        until: The front stops at this time; later ones are infinite.

    Raises:
        InputError: there is no seed.

    Source:
        J. A. Sethian, A fast marching level set method for monotonically advancing fronts, PNAS 93
        (1996), in ITK.
    """
    if not seeds.any():
        raise InputError("arrival", "no seed for the front to start from.", "Give one voxel.")
    marching = sitk.FastMarchingImageFilter()
    marching.SetTrialPoints([tuple(int(n) for n in index) for index in np.argwhere(seeds)])
    if np.isfinite(until):
        marching.SetStoppingValue(float(until))
    times = marching.Execute(grid.to_sitk(np.maximum(speed, 0.0).astype(np.float32)))
    found = sitk.GetArrayFromImage(times).transpose(2, 1, 0)
    never = (found > min(until, 1e30)) | ((speed <= 0.0) & ~seeds)
    found = np.where(never, np.inf, found).astype(np.float32)
    found[seeds] = 0.0
    return np.asarray(found)


def active_contour(
    start: Mask, speed: NDArray[np.float32], grid: Grid, options: Contour | None = None
) -> Mask:
    """A geodesic active contour from a first guess to the nearest edges.

    ``∂φ/∂t = g (inflation + bending κ) |∇φ| + advection ∇g · ∇φ``

    Args:
        start: First guess.
        speed: The edge function ``g``, see `edge_speed`.
        grid: Where the voxels lie.
        options: Weights and limits.

    Source:
        V. Caselles, R. Kimmel, G. Sapiro, Geodesic active contours, IJCV 22 (1997), in ITK.
    """
    chosen = options or Contour()
    inside = grid.to_sitk(start.astype(np.uint8))
    level = sitk.SignedMaurerDistanceMap(
        inside, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    contour = sitk.GeodesicActiveContourLevelSetImageFilter()
    contour.SetAdvectionScaling(chosen.advection)
    contour.SetPropagationScaling(chosen.inflation)
    contour.SetCurvatureScaling(chosen.bending)
    contour.SetNumberOfIterations(chosen.steps)
    contour.SetMaximumRMSError(chosen.tolerance)
    result = contour.Execute(
        sitk.Cast(level, sitk.sitkFloat32), grid.to_sitk(speed.astype(np.float32))
    )
    return np.asarray(sitk.GetArrayFromImage(result).transpose(2, 1, 0) < 0.0)
