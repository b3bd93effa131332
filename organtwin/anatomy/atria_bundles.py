"""The atria's surfaces, and the limits of their muscle bundles (Piersanti et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.anatomy.atria_borders import Dofs, check_rising, right_borders, tip_dofs
from organtwin.anatomy.coordinates import surface_dofs
from organtwin.anatomy.pointwise import Values
from organtwin.errors import InputError
from organtwin.mesh.domain import Domain

#: Bundles of the left atrium in the order of their numbers, from 1, each with the field whose
#: levels its fibres follow.
LEFT_BUNDLES: Mapping[str, str] = {
    "mitral_ring": "r",
    "left_veins": "v",
    "right_veins": "v",
    "appendage": "ab",
    "body": "ab",
}
#: The same for the right atrium.
RIGHT_BUNDLES: Mapping[str, str] = {
    "tricuspid_ring": "r",
    "crista_terminalis": "w",
    "inferior_cava": "v",
    "appendage_tip": "v",
    "superior_cava": "v",
    "appendage": "ab",
    "pectinate_muscles": "ab",
    "intercaval": "v",
    "septum": "r",
    "upper_septum": "w",
    "lower_septum": "r",
    "vestibule": "ab",
}
#: Names of the bundles; number k is the k-th, counted from 1.
LEFT_NAMES = tuple(LEFT_BUNDLES)
RIGHT_NAMES = tuple(RIGHT_BUNDLES)

type Mask = NDArray[np.bool_]
type Point = tuple[float, float, float]
type Conditions = Mapping[str, tuple[Dofs, float]]


@dataclass(frozen=True)
class LeftAtrium:
    """Names of the surfaces of a left atrium and the limits of its bundles.

    The fields and what they are on the rings and at the tip of the appendage:

        ψ_ab: right veins 2, mitral valve 1, left veins 0, appendage −1
        ψ_v:  right veins 1, left veins 0
        ψ_r:  mitral valve 1, all veins and the appendage 0

    Attributes:
        endo: Surface towards the blood.
        epi: Outer surface.
        mitral: Ring of the wall at the mitral valve.
        left_veins: Rings of the wall at the left pulmonary veins, one or more.
        right_veins: Those at the right pulmonary veins.
        appendage: Tip of the appendage (mm), or the name of a ring where it was cut off; None
            leaves it without a value.
        tau_mv: ψ_r from which fibres run around the mitral valve.
        tau_lpv: ψ_v up to which they run around the left veins.
        tau_rpv: ψ_v from which they run around the right veins.

    Source:
        Piersanti et al. (2021), Comput. Methods Appl. Mech. Eng. 373:113468, doi
        10.1016/j.cma.2020.113468, table 4 (idealised geometry). The paper could not be read in
        full: table, boundary values and order of the rule are those of an open program that cites
        them (PyAnsys Heart). It states that the paper's table has τ_lpv and τ_rpv the other way
        round, and swaps them as is done here. Another program keeps them and takes ψ_v ≥ 0.65 for
        the left veins instead, which makes the left bundle the wide one. Real atria want values of
        their own.
    """

    endo: str = "endo"
    epi: str = "epi"
    mitral: str = "mitral"
    left_veins: tuple[str, ...] = ("left_superior_vein", "left_inferior_vein")
    right_veins: tuple[str, ...] = ("right_superior_vein", "right_inferior_vein")
    appendage: str | Point | None = None
    tau_mv: float = 0.65
    tau_lpv: float = 0.10
    tau_rpv: float = 0.65

    bundles: ClassVar[Mapping[str, str]] = LEFT_BUNDLES

    def __post_init__(self) -> None:
        check_rising("LeftAtrium", self, ("tau_lpv", "tau_rpv"), 0.0)
        check_rising("LeftAtrium", self, ("tau_mv",), 0.0)
        if not (self.left_veins and self.right_veins):
            raise InputError("LeftAtrium", "no veins on one side.", "Name a ring on each side.")

    @property
    def surfaces(self) -> tuple[str, ...]:
        """All surfaces it needs."""
        cut = (self.appendage,) if isinstance(self.appendage, str) else ()
        return (self.endo, self.epi, self.mitral, *self.left_veins, *self.right_veins, *cut)

    def conditions(self, domain: Domain, V: fem.FunctionSpace) -> Mapping[str, Conditions]:
        """Field → name → dofs and the value there; collective."""
        left = surface_dofs(V, domain.facets(*self.left_veins))
        right = surface_dofs(V, domain.facets(*self.right_veins))
        mitral = surface_dofs(V, domain.facets(self.mitral))
        tip = tip_dofs(domain, V, self.appendage)
        ab = {"right": (right, 2.0), "mitral": (mitral, 1.0), "left": (left, 0.0)}
        r = {"mitral": (mitral, 1.0), "right": (right, 0.0), "left": (left, 0.0)}
        if tip is not None:
            ab["appendage"], r["appendage"] = (tip, -1.0), (tip, 0.0)
        return {"ab": ab, "v": {"right": (right, 1.0), "left": (left, 0.0)}, "r": r}

    def select(self, at: Mapping[str, Values]) -> Mapping[str, Mask]:
        """Bundle → where a point belongs to it; of several the first holds.

        The name ``appendage`` for ψ_ab < 0 is not in the paper; fibres there are the body's.
        """
        return {
            "mitral_ring": at["r"] >= self.tau_mv,
            "left_veins": at["v"] <= self.tau_lpv,
            "right_veins": at["v"] >= self.tau_rpv,
            "appendage": at["ab"] < 0.0,
            "body": np.ones(len(at["ab"]), dtype=bool),
        }


@dataclass(frozen=True)
class RightAtrium:
    """Names of the surfaces of a right atrium and the limits of its bundles.

    The fields and what they are on the rings and at the tip of the appendage:

        ψ_ab: inferior cava 2, tricuspid valve 1, superior cava 0, appendage −1
        ψ_v:  inferior cava 1, superior cava and appendage 0
        ψ_r:  tricuspid valve 1, top 0
        ψ_w:  tricuspid valve 1 on the septal and −1 on the lateral side, top 0

    The plane through the centres of the three rings divides the tricuspid ring; the top is where it
    cuts the wall from one caval vein to the other. Openings without a name here, such as that of
    the coronary sinus, have no flux.

    Attributes:
        endo: Surface towards the blood.
        epi: Outer surface.
        tricuspid: Ring of the wall at the tricuspid valve.
        superior: Ring of the wall at the superior caval vein.
        inferior: Ring of the wall at the inferior caval vein.
        appendage: Tip of the appendage (mm), or the name of a ring where it was cut off; None
            leaves it without a value.
        tau_tv: ψ_r from which fibres run around the tricuspid valve.
        tau_raw: ψ_r from which the wall is that next to the valve (vestibule and lower septum).
        tau_ct_minus: ψ_w from which fibres run along the crista terminalis.
        tau_ct_plus: ψ_w up to which they do.
        tau_icv: ψ_v from which fibres run around the inferior caval vein.
        tau_scv: ψ_v up to which they run around the superior caval vein.
        tau_ib: ψ_w below which lies the intercaval bundle.
        tau_ras: ψ_w over which lies the middle of the septum.

    Source:
        Piersanti et al. (2021), table 4 (idealised geometry), with the doubts of `LeftAtrium`. The
        same program states that the table has τ_ib and τ_ras the other way round; here, as there,
        they are swapped.
    """

    endo: str = "endo"
    epi: str = "epi"
    tricuspid: str = "tricuspid"
    superior: str = "superior_cava"
    inferior: str = "inferior_cava"
    appendage: str | Point | None = None
    tau_tv: float = 0.9
    tau_raw: float = 0.55
    tau_ct_minus: float = -0.18
    tau_ct_plus: float = -0.1
    tau_icv: float = 0.9
    tau_scv: float = 0.1
    tau_ib: float = 0.135
    tau_ras: float = 0.35

    bundles: ClassVar[Mapping[str, str]] = RIGHT_BUNDLES

    def __post_init__(self) -> None:
        check_rising("RightAtrium", self, ("tau_raw", "tau_tv"), 0.0)
        check_rising("RightAtrium", self, ("tau_scv", "tau_icv"), 0.0)
        names = ("tau_ct_minus", "tau_ct_plus", "tau_ib", "tau_ras")
        check_rising("RightAtrium", self, names, -1.0)

    @property
    def surfaces(self) -> tuple[str, ...]:
        """All surfaces it needs."""
        cut = (self.appendage,) if isinstance(self.appendage, str) else ()
        return (self.endo, self.epi, self.tricuspid, self.superior, self.inferior, *cut)

    def conditions(self, domain: Domain, V: fem.FunctionSpace) -> Mapping[str, Conditions]:
        """Field → name → dofs and the value there; collective."""
        borders = right_borders(domain, V, self.tricuspid, self.superior, self.inferior)
        rings = (self.tricuspid, self.superior, self.inferior)
        valve, upper, lower = (surface_dofs(V, domain.facets(name)) for name in rings)
        tip = tip_dofs(domain, V, self.appendage)
        ab = {"inferior": (lower, 2.0), "valve": (valve, 1.0), "superior": (upper, 0.0)}
        v = {"inferior": (lower, 1.0), "superior": (upper, 0.0)}
        if tip is not None:
            ab["appendage"], v["appendage"] = (tip, -1.0), (tip, 0.0)
        top = (borders.top, 0.0)
        sides = {"septal": (borders.septal, 1.0), "lateral": (borders.lateral, -1.0)}
        return {
            "ab": ab,
            "v": v,
            "r": {"valve": (valve, 1.0), "top": top},
            "w": sides | {"top": top},
        }

    def select(self, at: Mapping[str, Values]) -> Mapping[str, Mask]:
        """Bundle → where a point belongs to it; of several the first holds.

        The names ``appendage_tip`` and ``appendage``, both where ψ_ab < 0, are not in the paper;
        fibres there are those of the superior caval vein, whose ψ_v the tip has, and of the
        pectinate muscles.
        """
        ab, v, r, w = (at[name] for name in ("ab", "v", "r", "w"))
        near = r >= self.tau_raw
        return {
            "tricuspid_ring": r >= self.tau_tv,
            "crista_terminalis": ~near & (w >= self.tau_ct_minus) & (w <= self.tau_ct_plus),
            "inferior_cava": v >= self.tau_icv,
            "appendage_tip": (v <= self.tau_scv) & (ab < 0.0),
            "superior_cava": v <= self.tau_scv,
            "appendage": (w < self.tau_ct_minus) & (ab < 0.0),
            "pectinate_muscles": ~near & (w < self.tau_ct_minus),
            "intercaval": ~near & (w < self.tau_ib),
            "septum": ~near & (w > self.tau_ras),
            "upper_septum": ~near,
            "lower_septum": w >= 0.0,
            "vestibule": np.ones(len(w), dtype=bool),
        }
