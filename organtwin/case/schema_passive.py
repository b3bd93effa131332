"""The case file's keys of the tissue's passive laws."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from organtwin.case.quantities import Number, Pressure
from organtwin.case.section import Section

Stiffness = Annotated[Pressure, Field(ge=0.0)]
Exponent = Annotated[Number, Field(gt=0.0)]
Dispersion = Annotated[Number, Field(ge=0.0, le=1 / 3)]
PositivePressure = Annotated[Pressure, Field(gt=0.0)]


class HolzapfelOgden(Section):
    """Orthotropic myocardium of Holzapfel and Ogden (2009); defaults are their shear fit."""

    law: Literal["holzapfel_ogden"] = "holzapfel_ogden"
    """This law, also without `law`."""
    a: Stiffness = 0.059
    """Stiffness of the matrix."""
    b: Exponent = 8.023
    """Exponent of the matrix."""
    a_f: Stiffness = 18.472
    """Stiffness of the fibres."""
    b_f: Exponent = 16.026
    """Exponent of the fibres."""
    a_s: Stiffness = 2.481
    """Stiffness of the sheets."""
    b_s: Exponent = 11.12
    """Exponent of the sheets."""
    a_fs: Stiffness = 0.216
    """Stiffness of the coupling of fibres and sheets."""
    b_fs: Exponent = 11.436
    """Exponent of the coupling of fibres and sheets."""
    delta: Exponent = 0.04
    """Strain (squared stretch less one) over which a fibre's stiffness grows from zero."""
    kappa_f: Dispersion | None = None
    """Dispersion of the fibres: none if absent, the same in all directions at 1/3."""
    kappa_s: Dispersion | None = None
    """Dispersion of the sheets."""


class Guccione(Section):
    """Transversely isotropic Fung law of Guccione et al. (1991)."""

    law: Literal["guccione"]
    stiffness: PositivePressure = 2.0
    """Factor C of the law."""
    b_f: Exponent = 8.0
    """Exponent along the fibres."""
    b_t: Exponent = 2.0
    """Exponent across the fibres."""
    b_fs: Exponent = 4.0
    """Exponent of shear between the two."""


class Usyk(Section):
    """Orthotropic Fung law of Usyk et al. (2000), whose numbers are quoted differently."""

    law: Literal["usyk"]
    stiffness: PositivePressure
    """Factor C of the law."""
    b_f: Exponent
    """Exponent along the fibres."""
    b_s: Exponent
    """Exponent along the sheets, across the fibres."""
    b_n: Exponent
    """Exponent across the sheets."""
    b_fs: Exponent
    """Exponent of shear of fibres and sheets."""
    b_fn: Exponent
    """Exponent of shear of fibres and sheet normals."""
    b_sn: Exponent
    """Exponent of shear of sheets and their normals."""


class Fung(Section):
    """General orthotropic exponential law of Chuong and Fung (1983)."""

    law: Literal["fung"]
    stiffness: PositivePressure
    """Factor C of the law."""
    a_ff: Exponent
    """Exponent along the fibres."""
    a_ss: Exponent
    """Exponent along the sheets, across the fibres."""
    a_nn: Exponent
    """Exponent across the sheets."""
    a_fs: Number = 0.0
    """Coupling of the strains along fibres and sheets."""
    a_fn: Number = 0.0
    """Coupling of the strains along fibres and sheet normals."""
    a_sn: Number = 0.0
    """Coupling of the strains along sheets and their normals."""
    b_fs: Exponent
    """Exponent of shear of fibres and sheets."""
    b_fn: Exponent
    """Exponent of shear of fibres and sheet normals."""
    b_sn: Exponent
    """Exponent of shear of sheets and their normals."""

    @model_validator(mode="after")
    def _no_strain_for_nothing(self) -> Self:
        matrix = [
            [self.a_ff, self.a_fs, self.a_fn],
            [self.a_fs, self.a_ss, self.a_sn],
            [self.a_fn, self.a_sn, self.a_nn],
        ]
        if np.linalg.eigvalsh(matrix)[0] <= 0:
            raise ValueError(
                "the matrix of a_ff, a_ss, a_nn and their couplings is not positive definite: some "
                "strain would release energy. Make a_fs, a_fn and a_sn smaller."
            )
        return self


class NeoHooke(Section):
    """Rubber, the same in all directions: for comparison, not for myocardium."""

    law: Literal["neo_hooke"]
    mu: PositivePressure
    """Shear modulus."""


class MooneyRivlin(Section):
    """Rubber with a second invariant, the same in all directions: for comparison."""

    law: Literal["mooney_rivlin"]
    c_1: PositivePressure
    """Factor of the first invariant; the shear modulus at rest is 2 (c_1 + c_2)."""
    c_2: Stiffness = 0.0
    """Factor of the second invariant."""


PassiveLaw = HolzapfelOgden | Guccione | Usyk | Fung | NeoHooke | MooneyRivlin
