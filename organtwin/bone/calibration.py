"""From Hounsfield units to density: a line, where it comes from, and how well it is known."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from organtwin.errors import InputError
from organtwin.image.volume import Image

logger = logging.getLogger(__name__)

type Array = NDArray[np.float64]

#: Mineral that rods are made of, and density that a line is in: hydroxyapatite, or potassium
#: phosphate in water.
MINERALS = ("HA", "K2HPO4")
#: Slopes that scanners have (mg/mm³ per HU), all voltages and both minerals; our choice.
PLAUSIBLE_SLOPES = (4e-4, 1.6e-3)
#: Least coefficient of determination of rods that are in the right places.
LEAST_R2 = 0.99
#: A rod is off when it misses the line through the others by more than this density (mg/mm³).
STRAY = 0.05
#: The line that stands in for a measured one, for 120 kVp. Our choice: a round slope within what
#: phantoms of hydroxyapatite give at that voltage, water without mineral.
DEFAULT_SLOPE, DEFAULT_KVP = 8e-4, 120.0
#: Standard deviation of its slope, as a share: what voltage, kernel and scanner do to it.
DEFAULT_DOUBT = 0.10


@dataclass(frozen=True)
class Calibration:
    """Density of mineral of a Hounsfield unit: ρ = a + b HU (mg/mm³, which is g/cm³).

    Attributes:
        intercept: a (mg/mm³), the density at 0 HU.
        slope: b (mg/mm³ per HU), > 0.
        mineral: What the density is an equivalent of: ``HA`` or ``K2HPO4``.
        kind: ``rods``, ``references``, ``default`` or ``given``.
        count: Number of points that the line goes through.
        residual: Standard deviation of the points around the line (mg/mm³); NaN of two points.
        r2: Coefficient of determination; NaN where there are no points.
        covariance: Of (a, b), shape (2, 2), by which `interval` is made; NaN where it is unknown.
        hu_range: Smallest and largest value that was measured (HU).
        warnings: What a user ought to know.
    """

    intercept: float
    slope: float
    mineral: str = "HA"
    kind: str = "given"
    count: int = 0
    residual: float = float("nan")
    r2: float = float("nan")
    covariance: tuple[tuple[float, float], tuple[float, float]] = (
        (float("nan"), float("nan")),
        (float("nan"), float("nan")),
    )
    hu_range: tuple[float, float] = (float("nan"), float("nan"))
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mineral not in MINERALS:
            raise InputError(
                "Calibration.mineral", f"`{self.mineral}` is none.",
                f"Known: {', '.join(MINERALS)}.",
            )  # fmt: skip
        low, high = PLAUSIBLE_SLOPES
        if not (np.isfinite(self.intercept) and low <= self.slope <= high):
            raise InputError(
                "Calibration.slope",
                f"{self.slope:.3g} mg/mm³ per HU is no slope of a CT ({low:g} to {high:g}).",
                "Give densities in g/cm³ (which is mg/mm³; 100 mg/mL are 0.1) and values in HU.",
            )

    def density(self, hu: ArrayLike) -> Array:
        """Density (mg/mm³) of values (HU); negative where there is less than water."""
        return np.asarray(self.intercept + self.slope * np.asarray(hu, dtype=np.float64))

    def hounsfield(self, density: ArrayLike) -> Array:
        """Value (HU) that a density (mg/mm³) has: the inverse of `density`."""
        return np.asarray((np.asarray(density, dtype=np.float64) - self.intercept) / self.slope)

    def interval(self, hu: ArrayLike, level: float = 0.95) -> tuple[Array, Array]:
        """Interval (mg/mm³) that the line itself lies in with a confidence; NaN if unknown.

        Student's t with count − 2 degrees of freedom for a fitted line, normal otherwise.
        """
        value = np.asarray(hu, dtype=np.float64)
        (aa, ab), (_, bb) = self.covariance
        deviation = np.sqrt(np.maximum(aa + 2 * ab * value + bb * value**2, 0.0))
        free = self.count - 2
        student = stats.t(free) if free > 0 else stats.norm()
        width = float(student.ppf(0.5 + level / 2)) * deviation
        line = self.density(value)
        return line - width, line + width

    def __str__(self) -> str:
        sign = "+" if self.intercept >= 0 else "−"
        known = "" if np.isnan(self.residual) else f", residual {1000 * self.residual:.1f} mg/mL"
        return (
            f"ρ = {1e3 * self.slope:.4f} HU {sign} {1e3 * abs(self.intercept):.1f} mg/mL "
            f"{self.mineral} ({self.kind}{known})"
        )


def fitted(
    hu: ArrayLike, density: ArrayLike, *, mineral: str = "HA", kind: str = "rods"
) -> Calibration:
    """The line through measured values and known densities, by least squares.

    Args:
        hu: Measured mean value of each rod or tissue (HU).
        density: Its density (mg/mm³, g/cm³), in the same order.
        mineral: Equivalent that the densities are given in.
        kind: What was measured, for `Calibration.kind`.

    Raises:
        InputError: fewer than two points, or all at one value; points in disorder; a rod that
            misses the line through the others; no plausible slope.
    """
    x, y = (np.asarray(v, dtype=np.float64).ravel() for v in (hu, density))
    place = f"calibration by {kind}"
    if len(x) != len(y) or len(x) < 2 or not np.isfinite([x, y]).all():
        raise InputError(
            place, f"{len(x)} values and {len(y)} densities.",
            "Give one finite value (HU) and one density (mg/mm³) for each of two or more.",
        )  # fmt: skip
    if np.ptp(x) < 10.0:
        raise InputError(
            place, f"all values lie within {np.ptp(x):.1f} HU.",
            "Take rods of different density, and check that their places are right.",
        )  # fmt: skip
    intercept, slope, r2 = _line(x, y)
    _refuse_stray(x, y, place)
    if len(x) > 2 and r2 < LEAST_R2:
        raise InputError(
            place,
            f"the points do not lie on a line (R² = {r2:.3f}, at least {LEAST_R2}).",
            "Check the order of the densities and the places of the rods.",
        )
    free = len(x) - 2
    rest = y - intercept - slope * x
    residual = float(np.sqrt((rest @ rest) / free)) if free > 0 else float("nan")
    spread = float(((x - x.mean()) ** 2).sum())
    variance = residual**2
    bb = variance / spread
    aa, ab = variance / len(x) + bb * x.mean() ** 2, -bb * float(x.mean())
    return Calibration(
        intercept=intercept,
        slope=slope,
        mineral=mineral,
        kind=kind,
        count=len(x),
        residual=residual,
        r2=r2,
        covariance=((float(aa), ab), (ab, bb)),
        hu_range=(float(x.min()), float(x.max())),
        warnings=() if free > 0 else ("Two points make a line without a residual.",),
    )


def from_rods(
    image: Image,
    rods: Mapping[float, tuple[ArrayLike, ArrayLike]],
    *,
    radius: float,
    mineral: str = "HA",
) -> Calibration:
    """The line of a calibration phantom whose rods lie in the image.

    Args:
        image: The CT.
        rods: Density of a rod (mg/mm³) → two points of its axis (mm, LPS).
        radius: Of the rods (mm); the values are taken within 0.6 of it, clear of the rim.
        mineral: What the rods' densities are equivalents of.

    Raises:
        InputError: a rod is outside the image or too thin for its voxels, its values spread as
            those of one rod never do, or see `fitted`.
    """
    means = [_rod_mean(image, density, ends, 0.6 * radius) for density, ends in rods.items()]
    return fitted(means, list(rods), mineral=mineral)


def default(kvp: float | None = None) -> Calibration:
    """A line for scans without any reference, with a warning that says what it can cost.

    ρ = 0.8 mg/mL per HU, for 120 kVp, ± 10 % (standard deviation). A test with phantoms found HU
    and density of bone about 10 % lower at another voltage: Ataei et al. (2022), PLoS ONE
    17:e0265524 (the abstract was read); through E ~ ρ^1.5 to ρ^2.3 that is 15 to 25 % of stiffness.

    Args:
        kvp: Voltage of the tube (kV), if known.

    Raises:
        InputError: another voltage than 120 kV: there the line is known to be wrong.
    """
    if kvp is not None and abs(kvp - DEFAULT_KVP) > 5.0:
        raise InputError(
            "calibration",
            f"default numbers are for {DEFAULT_KVP:g} kVp, the scan has {kvp:g} kVp.",
            "Calibrate by phantom rods (`from_rods`) or by tissues (`from_tissues`).",
        )
    warning = (
        "The CT is not calibrated: default numbers for 120 kVp stand in, density within about "
        "± 20 %, modulus within about ± 40 % (95 %). Calibrate by rods or tissues."
    )
    logger.warning("%s", warning)
    variance = (DEFAULT_DOUBT * DEFAULT_SLOPE) ** 2
    return Calibration(
        0.0, DEFAULT_SLOPE, kind="default", covariance=((0.0, 0.0), (0.0, variance)),
        warnings=(warning,),
    )  # fmt: skip


def _line(x: Array, y: Array) -> tuple[float, float, float]:
    """Intercept, slope and coefficient of determination of least squares."""
    a, b = x - x.mean(), y - y.mean()
    xx, xy, yy = float(a @ a), float(a @ b), float(b @ b)
    if xx <= 0.0 or yy <= 0.0:
        return float(y.mean()), 0.0, 0.0
    slope = xy / xx
    return float(y.mean() - slope * x.mean()), slope, xy * xy / (xx * yy)


def _refuse_stray(x: Array, y: Array, place: str) -> None:
    """Name the one rod that misses the line through all others, if the others do make a line."""
    if len(x) < 4:
        return
    for k in range(len(x)):
        others = np.arange(len(x)) != k
        intercept, slope, r2 = _line(x[others], y[others])
        miss = y[k] - intercept - slope * x[k]
        if r2 >= LEAST_R2 and abs(miss) > STRAY + 0.05 * abs(y[k]):
            raise InputError(
                place,
                f"the point of {y[k]:g} mg/mm³ at {x[k]:.0f} HU misses the line through the others "
                f"by {miss:+.3f} mg/mm³.",
                "Check its place and its density, or leave it out.",
            )


def _rod_mean(
    image: Image, density: float, ends: tuple[ArrayLike, ArrayLike], radius: float
) -> float:
    place = f"rod of {density:g} mg/mm³"
    start, end = (np.asarray(p, dtype=np.float64) for p in ends)
    grid = image.grid
    around = np.array([start, end])
    low = np.floor(grid.index(around).min(axis=0) - radius / grid.spacing - 1).astype(int)
    high = np.ceil(grid.index(around).max(axis=0) + radius / grid.spacing + 1).astype(int)
    last = np.array(grid.shape) - 1
    ends_at = grid.index(around)
    if (ends_at < -0.5).any() or (ends_at > last + 0.5).any():
        raise InputError(place, "its axis leaves the image.", "Give points in mm, LPS.")
    low, high = np.clip(low, 0, last), np.clip(high, 0, last)
    index = np.stack(
        np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing="ij"),
        axis=-1,
    ).reshape(-1, 3)
    away = grid.points(index) - start
    axis = end - start
    length = float(np.linalg.norm(axis))
    along = away @ axis / max(length, 1e-9)
    off = np.linalg.norm(away - np.outer(along, axis / max(length, 1e-9)), axis=1)
    chosen = index[(off <= radius) & (along >= 0) & (along <= length)]
    if len(chosen) < 20:
        raise InputError(
            place, f"{len(chosen)} voxels lie within {radius:.1f} mm of its axis; 20 are needed.",
            "Give the whole axis of the rod, and its radius in mm.",
        )  # fmt: skip
    values = np.asarray(image.values)[tuple(chosen.T)].astype(np.float64)
    spread = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    if spread > 60.0:
        raise InputError(
            place, f"its values spread by {spread:.0f} HU (robust standard deviation).",
            "The points do not lie on the rod's axis, or the image is too noisy to calibrate by.",
        )  # fmt: skip
    within = np.abs(values - np.median(values)) <= max(3.0 * spread, 1.0)
    return float(values[within].mean())
