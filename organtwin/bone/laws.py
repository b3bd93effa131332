"""From density to Young's modulus: the laws of the literature by name, with site and range."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from organtwin.bone.densities import Density, DensityLine, Evidence, path
from organtwin.bone.densities import lines as named_lines
from organtwin.errors import InputError, suggestion

type Array = NDArray[np.float64]

#: kPa of one MPa.
MPA = 1000.0
#: Exponent of the strain rate in the law of Carter and Hayes.
RATE_EXPONENT = 0.06


@dataclass(frozen=True)
class Piece:
    """E = a + b ρ^c (MPa, ρ in g/cm³) for densities up to a limit.

    Attributes:
        up_to: Largest density (g/cm³) that it is for.
        a, b: (MPa; MPa per (g/cm³)^c).
        c: Exponent.
    """

    up_to: float
    a: float
    b: float
    c: float


@dataclass(frozen=True)
class ModulusLaw:
    """Young's modulus of a density, by power laws in pieces.

    Attributes:
        name: Name in `LAWS`.
        density: Which density it takes.
        pieces: In the order of densities.
        site: Where the bone came from.
        valid: Smallest and largest density of the specimens (g/cm³).
        source: Publication.
        evidence: How the numbers came here; those of ``valid`` are recalled in any case.
        note: What else a user ought to know.
    """

    name: str
    density: Density
    pieces: tuple[Piece, ...]
    site: str
    valid: tuple[float, float]
    source: str
    evidence: Evidence
    note: str = ""

    def modulus(self, density: ArrayLike) -> Array:
        """E (kPa) of densities of the law's own kind (mg/mm³, g/cm³); 0 at and below zero."""
        rho = np.maximum(np.asarray(density, dtype=np.float64), 0.0)
        megapascal = np.zeros_like(rho)
        below = -np.inf
        for piece in self.pieces:
            here = (rho > below) & (rho <= piece.up_to)
            megapascal[here] = piece.a + piece.b * rho[here] ** piece.c
            below = piece.up_to
        return np.asarray(MPA * np.maximum(megapascal, 0.0))

    def outside(self, density: ArrayLike) -> NDArray[np.bool_]:
        """Where densities (mg/mm³) lie beyond those of the specimens, as booleans."""
        rho = np.asarray(density, dtype=np.float64)
        return np.asarray((rho < self.valid[0]) | (rho > self.valid[1]))

    @property
    def formula(self) -> str:
        """The law in words, for reports."""
        parts = []
        for piece in self.pieces:
            sign = f"{piece.a:g} + " if piece.a else ""
            power = "ρ" if piece.c == 1 else f"ρ^{piece.c:g}"
            limit = "" if np.isinf(piece.up_to) else f" up to {piece.up_to:g}"
            parts.append(f"{sign}{piece.b:g} {power}{limit}")
        return f"E = {'; '.join(parts)} (MPa, ρ {self.density} in g/cm³)"


@dataclass(frozen=True)
class Stiffness:
    """The whole way from a calibrated density to a modulus.

    Attributes:
        law: Modulus of a density.
        lines: From the calibration's mineral to the law's density.
        floor: Smallest modulus (kPa): marrow, and what keeps a system solvable.
        ceiling: Largest modulus (kPa): bone as tissue has no more; metal would.
    """

    law: ModulusLaw
    lines: tuple[DensityLine, ...]
    floor: float
    ceiling: float

    def own(self, density: ArrayLike) -> Array:
        """Density of the law's kind (mg/mm³) of calibrated densities (mg/mm³)."""
        rho = np.asarray(density, dtype=np.float64)
        for line in self.lines:  # fat is negative here, and a line may lift it
            rho = line(rho)
        return np.maximum(rho, 0.0)

    def __call__(self, density: ArrayLike) -> Array:
        """E (kPa) of calibrated densities (mg/mm³), between floor and ceiling."""
        return np.asarray(np.clip(self.law.modulus(self.own(density)), self.floor, self.ceiling))


def _power(
    name: str, density: Density, b: float, c: float, site: str, valid: tuple[float, float],
    source: str, evidence: Evidence, note: str = "", a: float = 0.0,
) -> ModulusLaw:  # fmt: skip
    return ModulusLaw(name, density, (Piece(np.inf, a, b, c),), site, valid, source, evidence, note)


_KELLER = "Keller (1994), J. Biomech. 27:1159"
_MORGAN = "Morgan, Bayraktar, Keaveny (2003), J. Biomech. 36:897"
_ALONG = "along the trabeculae, on-axis tests without end artefacts"
_CARTER = "Carter and Hayes (1977), J. Bone Joint Surg. 59A:954"


def carter_hayes(strain_rate: float = 0.01) -> ModulusLaw:
    """E = 3790 ε̇^0.06 ρ³ (MPa) for a rate of strain in 1/s.

    Raises:
        InputError: no positive rate.
    """
    if not (np.isfinite(strain_rate) and strain_rate > 0):
        raise InputError("strain_rate", f"{strain_rate:g} 1/s is no rate.", "Slow loading: 0.01.")
    return _power(
        "carter_hayes_1977", Density.APPARENT, 3790.0 * strain_rate**RATE_EXPONENT, 3.0,
        "pooled: human and bovine, compact and trabecular", (0.07, 2.0), _CARTER,
        Evidence.SECONDARY, f"at {strain_rate:g}/s; the exponent of the rate is recalled",
    )  # fmt: skip


#: All laws by name.
LAWS = {
    law.name: law
    for law in (
        _power("keller_1994_femur", Density.ASH, 10500.0, 2.29, "femur, trabecular and compact",
               (0.09, 1.22), _KELLER, Evidence.SECONDARY),
        _power("keller_1994_vertebra", Density.ASH, 1890.0, 1.92, "lumbar vertebra, trabecular",
               (0.03, 0.19), _KELLER, Evidence.RECALLED),
        _power("keller_1994_pooled", Density.ASH, 10500.0, 2.57, "femur and lumbar vertebra",
               (0.03, 1.22), _KELLER, Evidence.RECALLED),
        _power("morgan_2003_femoral_neck", Density.APPARENT, 6850.0, 1.49,
               "femoral neck, trabecular", (0.26, 0.75), _MORGAN, Evidence.SECONDARY, _ALONG),
        _power("morgan_2003_vertebra", Density.APPARENT, 4730.0, 1.56,
               "vertebra T10 to L5, trabecular", (0.11, 0.35), _MORGAN, Evidence.SECONDARY,
               f"{_ALONG}; the site is recalled"),
        _power("morgan_2003_tibia", Density.APPARENT, 15520.0, 1.93, "proximal tibia, trabecular",
               (0.09, 0.41), _MORGAN, Evidence.RECALLED, _ALONG),
        _power("morgan_2003_trochanter", Density.APPARENT, 15010.0, 2.18,
               "greater trochanter, trabecular", (0.14, 0.28), _MORGAN, Evidence.RECALLED, _ALONG),
        _power("morgan_2003_pooled", Density.APPARENT, 8920.0, 1.83,
               "vertebra, tibia and femur, trabecular", (0.09, 0.75), _MORGAN, Evidence.RECALLED,
               _ALONG),
        _power("keyak_1994", Density.ASH, 14900.0, 1.86, "proximal tibia, trabecular",
               (0.05, 0.5), "Keyak et al. (1994), J. Biomed. Mater. Res. 28:1329",
               Evidence.RECALLED),
        ModulusLaw("keyak_1998", Density.ASH,
                   (Piece(0.27, 0.0, 33900.0, 2.20), Piece(0.60, 469.0, 5307.0, 1.0),
                    Piece(np.inf, 0.0, 10200.0, 2.01)),
                   "femur: trabecular below 0.27, compact from 0.6 g/cm³, a line between",
                   (0.0, 1.3), "Keyak et al. (1998), J. Biomech. 31:125", Evidence.SECONDARY),
        _power("schileo_2008", Density.ASH, 6850.0 / 0.60**1.49, 1.49, "femur",
               (0.1, 1.3), "Schileo et al. (2008), J. Biomech. 41:2483", Evidence.SECONDARY,
               "Morgan's femoral neck with ρ_app = ρ_ash / 0.6, used far above its range"),
        carter_hayes(),
        _power("kopperdahl_2002", Density.HA, 2980.0, 1.05, "vertebra, trabecular",
               (0.09, 0.23), "Kopperdahl, Morgan, Keaveny (2002), J. Orthop. Res. 20:801",
               Evidence.SECONDARY, "takes the calibrated density itself"),
        _power("crawford_2003", Density.HA, 3230.0, 1.0, "vertebra, voxels of 1 mm",
               (0.05, 0.3), "Crawford, Cann, Keaveny (2003), Bone 33:744", Evidence.SECONDARY,
               "takes the calibrated density itself", a=-34.7),
    )
}  # fmt: skip
#: Modulus of marrow and of voids (kPa), and of compact bone at most; our choice. The floor also
#: bounds the contrast that a solver meets, here 1 : 2200.
FLOOR, CEILING = 10.0 * MPA, 22_000.0 * MPA


def law(name: str) -> ModulusLaw:
    """The law of a name.

    Raises:
        InputError: no law of that name.
    """
    if name not in LAWS:
        raise InputError("modulus law", f"no `{name}`.", suggestion(name, LAWS))
    return LAWS[name]


def stiffness(
    chosen: ModulusLaw | str,
    mineral: str = "HA",
    lines: Iterable[DensityLine] | None = None,
    *,
    floor: float = FLOOR,
    ceiling: float = CEILING,
) -> Stiffness:
    """The way from a calibrated density to a modulus.

    Args:
        chosen: A law or its name.
        mineral: What the calibrated density is an equivalent of, `Calibration.mineral`.
        lines: Lines between densities that may be used; `densities.DEFAULT_LINES` without them.
        floor: Smallest modulus (kPa).
        ceiling: Largest modulus (kPa).

    Raises:
        InputError: no such law, no way to its density, or floor and ceiling in disorder.
    """
    found = law(chosen) if isinstance(chosen, str) else chosen
    if not 0.0 < floor < ceiling:
        raise InputError(
            "stiffness", f"floor {floor:g} and ceiling {ceiling:g} kPa are no range.",
            "Give 0 < floor < ceiling in kPa; 10 MPa is 10000 kPa.",
        )  # fmt: skip
    known = named_lines() if lines is None else tuple(lines)
    return Stiffness(found, path(Density(mineral), found.density, known), floor, ceiling)
