"""How much a deployed valve stretches and stresses the wall, and how much larger it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organtwin.aortic_root.outline import RAYS, Outline
from organtwin.aortic_root.sizing import MOST
from organtwin.devices.gap import Rays, first_hit
from organtwin.index import Found, Index
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.tavr.deployed import Deployed
from organtwin.tavr.root_record import RootRecord

Array = NDArray[np.float64]

#: Half of the height that counts as annulus (mm).
RING = 2.0
#: Height at both ends of the mesh whose stress comes from how it is held (mm).
END = 2.0
#: Share of a region's area whose stress is not larger than what is told.
SHARE = 0.99
#: Strength of the wall around the vessel (kPa).
STRENGTH = 1200.0
STRONG = (
    "Strength of the ascending aorta of people over 35: 1200 ± 200 kPa around the vessel, 660 ± 70 "
    "kPa along it; García-Herrera et al. (2012), read in table 1 of a review, PMC6851434. No "
    "strength of the annulus was found."
)
#: Largest stretch of the annulus, areal stretch, oversizing by area (%).
STRETCH, AREAL, OVERSIZED = 1.10, 1.6, 20.0


def wall_indices(deployed: Deployed, root: RootRecord) -> Found:
    """Stress by region, stretch of the annulus and of the wall, oversizing."""
    stresses, missed = _stresses(deployed, root)
    stretched, also = _stretches(deployed, root)
    return [*_oversizing(deployed, root), *stretched, *stresses], [*missed, *also]


def regions(deployed: Deployed, root: RootRecord) -> dict[str, NDArray[np.bool_]]:
    """Which triangles of `Deployed.wall` belong to which part of the root, before deployment.

    Calcium and the ends of the mesh, where it is held, belong to none.
    """
    points, triangles = deployed.wall
    before = deployed.wall_before if len(deployed.wall_before) == len(points) else points
    height = root.height(before[triangles].mean(axis=1))
    free = (height > height.min() + END) & (height < height.max() - END)
    if deployed.calcified is not None:
        free &= ~deployed.calcified
    return {
        "outflow_tract": free & (height < -RING),
        "annulus": free & (np.abs(height) <= RING),
        "sinuses": free & (height > RING) & (height < root.junction_height),
        "aorta": free & (height >= root.junction_height),
    }


def _exceeded_by_few(values: Array, areas: Array) -> float:
    """What `SHARE` of the area does not exceed."""
    return float(np.quantile(values, SHARE, weights=areas, method="inverted_cdf"))


def _stresses(deployed: Deployed, root: RootRecord) -> Found:
    if deployed.stress is None:
        return [], ["Wall stress and injury margin are not told: the stress was not computed."]
    found, missed = [], []
    areas = TriangleSurface(*deployed.wall).areas
    for name, here in regions(deployed, root).items():
        if not here.any():
            missed.append(f"Stress is not told of {name.replace('_', ' ')}: it is not in the mesh.")
            continue
        after = _exceeded_by_few(deployed.stress[here], areas[here])
        where = f"of the inner wall, {name.replace('_', ' ')}"
        found.append(Index.of(
            "wall", f"wall_stress_{name}", after, "kPa",
            f"largest principal Cauchy stress {where}: what 99 % of the area do not exceed",
            "our choice",
        ))  # fmt: skip
        if deployed.stress_before is not None:
            before = _exceeded_by_few(deployed.stress_before[here], areas[here])
            if before > 0.0:
                found.append(Index.of(
                    "wall", f"wall_stress_ratio_{name}", after / before, "1",
                    f"the same {where} over that before the deployment", "our choice",
                ))  # fmt: skip
        if after > 0.0:
            found.append(Index.of(
                "wall", f"injury_margin_{name}", STRENGTH / after, "1",
                f"strength over that stress {where}", STRONG, 1.0,
            ))  # fmt: skip
    if deployed.stress_before is None:
        missed.append("Stress is not compared with that before: no record from before was given.")
    return found, missed


def _stretches(deployed: Deployed, root: RootRecord) -> Found:
    points, triangles = deployed.wall
    before = deployed.wall_before
    if len(before) != len(points):
        return [], ["Stretch is not told: the record does not hold the surfaces before."]
    found: list[Index] = []
    missed: list[str] = []
    inside, sides = deployed.lumen
    now, scan = _ring(inside, sides, root), _ring(deployed.lumen_before, sides, root)
    if now is None or scan is None:
        missed.append("Stretch of the annulus is not told: the wall is open in its plane.")
    else:
        found = [
            Index.of("wall", "annulus_stretch", now.perimeter / scan.perimeter, "1",
                     "perimeter of the inner wall in the plane of the annulus over that before",
                     "PubMed 22872051, abstract read: of 65 patients with balloon-expandable valves"
                     " both whose area-derived diameter grew by more than 10 % had a contained "
                     "rupture, and 1 of 4 with 5 to 10 %", None, STRETCH),
            Index.of("wall", "annulus_ellipticity", now.calipers[0] / now.calipers[1], "1",
                     "least over largest diameter of the inner wall in the plane of the annulus",
                     "our choice"),
        ]  # fmt: skip
    low = root.height(before[triangles].mean(axis=1)) < root.junction_height
    old = TriangleSurface(before, triangles).areas
    used = low & (old > 0.0)
    if used.any():
        ratio = TriangleSurface(points, triangles).areas[used] / old[used]
        found.append(Index.of(
            "wall", "areal_stretch", _exceeded_by_few(ratio, old[used]), "1",
            "area of triangles of the inner wall below the junction over that in the scan: what "
            "99 % of the area do not exceed",
            "A study, doi 10.1177/30494826261450851, abstract read: a peak of 1.6 parted "
            "40 patients with an AUC of 0.81, 1.96 ± 0.22 with rupture; its peak may be taken "
            "otherwise", None, AREAL,
        ))  # fmt: skip
    return found, missed


def _ring(points: Array, triangles: NDArray[np.int64], root: RootRecord) -> Outline | None:
    """Outline of the wall in the plane of the annulus; nothing where it is open."""
    rays = Rays(root.origin, root.axes, np.zeros(1), RAYS)
    radii = first_hit(points, triangles, rays)[0]
    return Outline(root.origin, root.axes, radii) if np.isfinite(radii).all() else None


def _oversizing(deployed: Deployed, root: RootRecord) -> list[Index]:
    by_area = 100.0 * (0.25 * np.pi * deployed.nominal**2 / root.annulus_area - 1.0)
    by_length = 100.0 * (np.pi * deployed.nominal / root.annulus_perimeter - 1.0)
    balloon = deployed.family == "balloon-expandable"
    low, area_high, length_high = 0.0, OVERSIZED, MOST
    return [
        Index.of("wall", "oversizing_area", by_area, "%",
                 "100 (A_nominal / A_annulus - 1)",
                 "Catheter. Cardiovasc. Interv. 87:807-817, abstract read: all 7 contained "
                 "ruptures of 172 had 20 % or more, as had 44 % of the others; balloon-expandable",
                 low if balloon else None, area_high if balloon else None),
        Index.of("wall", "oversizing_perimeter", by_length, "%",
                 "100 (π D_nominal / P_annulus - 1)",
                 "More than 30 % is refused for implantation: our choice; self-expanding",
                 None if balloon else low, None if balloon else length_high),
    ]  # fmt: skip
