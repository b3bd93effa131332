"""Places in the ventricles by anatomical name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.anatomy.coordinates import Coordinates, LongAxis, facet_points
from organtwin.errors import InputError, MeshError, suggestion
from organtwin.mesh.domain import Domain


@dataclass(frozen=True)
class Site:
    """Where a site lies on an endocardium.

    Attributes:
        surface: Endocardium.
        region: Region of the wall behind it; tells the septal from the free wall of the right
            ventricle.
        height: Height along the long axis, 0 at the apex, 1 at the base.
        angle: Angle about the long axis, positive in front, in units of the angle from the middle
            of the septum to its edge: 0 mid-septal, ±1 at the insertion of the right ventricle.
    """

    surface: str
    region: str
    height: float
    angle: float


#: Where the human heart is activated first (Durrer et al. 1970): on the left middle of the septum,
#: high on the front wall next to the septum, on the back wall next to the septum a third of the way
#: from apex to base; on the right septum and at the free wall where the anterior papillary muscle
#: inserts.
SITES: Mapping[str, Site] = {
    "lv_septal": Site("lv_endo", "lv", height=0.50, angle=0.0),
    "lv_anterior": Site("lv_endo", "lv", height=0.72, angle=1.2),
    "lv_posterior": Site("lv_endo", "lv", height=0.36, angle=-1.2),
    "rv_septal": Site("rv_endo", "lv", height=0.45, angle=0.0),
    "rv_lateral": Site("rv_endo", "rv", height=0.45, angle=0.25),
}


def activation_sites(
    domain: Domain, coordinates: Coordinates, names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Points of earliest activation on the endocardia; collective, same on any rank count.

    Args:
        domain: Both ventricles.
        coordinates: Their coordinates.
        names: Sites wanted; see `SITES`.

    Returns:
        Name → vertex (3,) in mm, patient coordinates.

    Raises:
        InputError: a site is not known.
        MeshError: the wall of a site is missing.

    Source:
        Durrer et al. (1970), Circulation 41:899–912, doi 10.1161/01.CIR.41.6.899.
    """
    for name in names:
        if name not in SITES:
            raise InputError(
                "activation sites",
                f"no site `{name}`.",
                f"{suggestion(name, SITES)} All sites: {', '.join(SITES)}.",
            )
    axis = coordinates.axis
    edges = _septal_edges(axis, facet_points(domain, "rv_endo", "lv"))
    return {name: _nearest(domain, axis, SITES[name], edges) for name in names}


def _septal_edges(axis: LongAxis, septum: NDArray[np.float64]) -> tuple[float, float]:
    """Angles (rad) of the posterior (negative) and the anterior edge of the septum, mid-height."""
    height = axis.height(septum)
    band = septum[(height > 0.35) & (height < 0.75)]
    low, high = np.percentile(axis.angle(band if len(band) else septum), [1.0, 99.0])
    return float(low), float(high)


def _nearest(
    domain: Domain, axis: LongAxis, site: Site, edges: tuple[float, float]
) -> NDArray[np.float64]:
    """Vertex of the site's surface that differs least from it in height and angle."""
    points = facet_points(domain, site.surface, site.region)
    if not len(points):
        raise MeshError(
            "activation sites",
            f"no facet of `{site.surface}` bounds region `{site.region}`.",
            "Mesh both ventricles, the septum as part of `lv`.",
        )
    angle = abs(site.angle) * (edges[1] if site.angle >= 0.0 else edges[0])
    turn = np.abs(np.exp(1j * axis.angle(points)) - np.exp(1j * angle))
    # Half a unit: an angle of one radian is about as far on the wall as half the axis.
    cost = np.round(np.hypot(axis.height(points) - site.height, 0.5 * turn), 9)
    return np.asarray(points[np.argmin(cost)])
