"""Densities of bone, and the lines between them, each named with what it was measured on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from organtwin.errors import InputError, suggestion

type Array = NDArray[np.float64]


class Evidence(StrEnum):
    """How the numbers of a formula came here."""

    ABSTRACT = "abstract of the source read"
    SECONDARY = "numbers read in public code or text that cites the source, not in the source"
    RECALLED = "recalled, not checked: read the source before you rely on it"
    CHOICE = "our choice"


class Density(StrEnum):
    """What is divided by the whole volume of a piece of bone, pores and marrow included."""

    #: Equivalent of hydroxyapatite by a calibrated CT.
    HA = "HA"
    #: Equivalent of potassium phosphate in water by a calibrated CT.
    K2HPO4 = "K2HPO4"
    #: Mass of mineral after the bone was burnt.
    ASH = "ash"
    #: Wet mass of bone without marrow.
    APPARENT = "apparent"


@dataclass(frozen=True)
class DensityLine:
    """One density from another: ρ_to = intercept + slope ρ_from (mg/mm³, which is g/cm³).

    Attributes:
        name: Name in `LINES`.
        of, to: Which density from which.
        intercept: (mg/mm³).
        slope: Plain number.
        source: Where it was published.
        evidence: How the numbers came here.
    """

    name: str
    of: Density
    to: Density
    intercept: float
    slope: float
    source: str
    evidence: Evidence

    def __call__(self, density: ArrayLike) -> Array:
        """ρ_to (mg/mm³) of ρ_from, never below zero."""
        value = self.intercept + self.slope * np.asarray(density, dtype=np.float64)
        return np.asarray(np.maximum(value, 0.0))


_SCHILEO = "Schileo et al. (2008), J. Biomech. 41:2483"
_GOODSITT = "Goodsitt (1992), Bone Miner. 19:145, single energy"

#: All lines by name.
LINES = {
    line.name: line
    for line in (
        DensityLine("schileo_2008_ash", Density.HA, Density.ASH, 0.079, 0.877, _SCHILEO,
                    Evidence.RECALLED),
        DensityLine("schileo_2008_apparent", Density.ASH, Density.APPARENT, 0.0, 1.0 / 0.60,
                    _SCHILEO, Evidence.SECONDARY),
        DensityLine("keyak_1994_ash", Density.K2HPO4, Density.ASH, 0.0526, 1.22,
                    "Keyak et al. (1994), J. Biomed. Mater. Res. 28:1329", Evidence.RECALLED),
        DensityLine("ha_is_ash", Density.HA, Density.ASH, 0.0, 1.0,
                    "hydroxyapatite taken for ash, as many do", Evidence.CHOICE),
        DensityLine("goodsitt_1992_80kvp", Density.HA, Density.K2HPO4, 0.0, 0.86, _GOODSITT,
                    Evidence.ABSTRACT),
        DensityLine("goodsitt_1992_140kvp", Density.HA, Density.K2HPO4, 0.0, 0.81, _GOODSITT,
                    Evidence.ABSTRACT),
    )
}  # fmt: skip
#: What is used unless lines are given. Between 80 and 140 kVp the two lines of Goodsitt differ by
#: 6 %, so the one for 140 kVp serves for 120.
DEFAULT_LINES = (
    "schileo_2008_ash", "schileo_2008_apparent", "keyak_1994_ash", "goodsitt_1992_140kvp",
)  # fmt: skip


def lines(names: Iterable[str] = DEFAULT_LINES) -> tuple[DensityLine, ...]:
    """Lines of these names.

    Raises:
        InputError: no line of that name.
    """
    chosen = tuple(names)
    for name in chosen:
        if name not in LINES:
            raise InputError("density line", f"no `{name}`.", suggestion(name, LINES))
    return tuple(LINES[name] for name in chosen)


def path(of: Density, to: Density, known: Iterable[DensityLine]) -> tuple[DensityLine, ...]:
    """The fewest lines that lead from one density to another; none if they are the same.

    Raises:
        InputError: no way leads there.
    """
    available = tuple(known)
    ways: list[tuple[DensityLine, ...]] = [()]
    reached = {of}
    while ways:
        following = []
        for way in ways:
            here = way[-1].to if way else of
            if here == to:
                return way
            following += [
                (*way, line) for line in available if line.of == here and line.to not in reached
            ]
        reached |= {way[-1].to for way in following}
        ways = following
    raise InputError(
        "density", f"no line leads from {of} to {to} density.",
        f"Name lines that do; known are {', '.join(LINES)}.",
    )  # fmt: skip
