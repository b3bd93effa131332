"""Whether a deployed valve, or leaflets that it pushes aside, obstruct a coronary artery."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.coronary import NEAR, OBSTRUCTED, CoronaryRisk, valve_to_coronary
from organtwin.devices.cross_sections import cross_section
from organtwin.errors import InputError
from organtwin.index import Found, Index
from organtwin.mesh.closest import distances
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.tavr.deployed import Deployed
from organtwin.tavr.root_record import Coronary, RootRecord

Array = NDArray[np.float64]

SIDES = ("right", "left")
#: Half of the angle around an ostium in which a leaflet may stand before it (radians).
BEFORE = np.radians(45.0)
#: How far below the frame's top it is cut for an ostium above it (mm).
LOWER = 1.0
KHAN = (
    "Khan et al. (2023), JACC Cardiovasc. Interv., PMC9991077: obstruction where the cusp is "
    "taller than the coronary is high and the distance up to 4 mm, or its calcium over 600 mm³ "
    "(sensitivity 0.93 and specificity 0.84 left, 0.92 and 0.96 right)"
)
HEITKEMPER = (
    "Heitkemper et al. (2020), J. Thorac. Cardiovasc. Surg. 159:829-838, PMC6859205: below "
    "0.7 sensitivity 1, specificity 0.957, in 28 patients at high risk"
)


@dataclass(frozen=True)
class Ostium:
    """An ostium now.

    Attributes:
        at: Its middle (mm), (3,).
        lower: Height of its lower edge over the annulus (mm).
        wide: Diameter of the artery (mm).
    """

    at: Array
    lower: float
    wide: float


def ostium_now(deployed: Deployed, root: RootRecord, side: str) -> Ostium | None:
    """An ostium where the wall has carried it; none where neither measures nor mesh know it.

    The middle is that of its triangles; the lower edge moves with it.
    """
    known = root.coronaries.get(side)
    patch = deployed.surfaces.get(f"ostium_{side}")
    if patch is None or len(patch[1]) == 0:
        return None if known is None else Ostium(known.at, known.height, known.wide)
    now = _middle(*patch)
    if known is None:
        wide = Coronary(now, 0.0, 0.0).wide
        return Ostium(now, float(root.height(now[None])[0]) - 0.5 * wide, wide)
    scan = _middle(deployed.surfaces_before.get(f"ostium_{side}", patch[0]), patch[1])
    risen = float((now - scan) @ root.up)
    return Ostium(now, known.height + risen, known.wide)


def _middle(points: Array, triangles: NDArray[np.int64]) -> Array:
    areas = TriangleSurface(points, triangles).areas
    return np.asarray(np.average(points[triangles].mean(axis=1), axis=0, weights=areas))


def valve_distance(deployed: Deployed, ostium: Array) -> tuple[float, bool]:
    """Distance from the frame's section at an ostium's height to it (mm).

    Above the frame its uppermost section is continued along the axis.

    Returns:
        The distance, negative inside, and whether the frame ends below the ostium.

    Raises:
        InputError: the frame has no section there.
    """
    axes, half = deployed.axes, 0.5 * float(deployed.thickness.mean())
    own = (deployed.nodes - deployed.origin) @ axes[2]
    top = float(own[deployed.crowns[-1]].min()) - LOWER
    height = float((ostium - deployed.origin) @ axes[2])
    cut = cross_section(
        deployed.nodes - deployed.origin, deployed.ends, axes, min(height, top), half
    )
    lifted = cut.centre + deployed.origin + max(height - top, 0.0) * axes[2]
    return valve_to_coronary(replace(cut, centre=lifted), ostium), height > float(own.max())


def coronary_indices(deployed: Deployed, root: RootRecord) -> Found:
    """Of each side: distances, the leaflet's tip, and whether to lacerate the leaflet."""
    found, missed = [], []
    for side in SIDES:
        ostium = ostium_now(deployed, root, side)
        if ostium is None:
            missed.append(f"The {side} coronary artery is not judged: its ostium was not found.")
            continue
        one, why = _side(deployed, root, side, ostium)
        found += one
        missed += why
    return found, missed


def _side(deployed: Deployed, root: RootRecord, side: str, ostium: Ostium) -> Found:
    found, missed = [], []
    points, triangles = deployed.leaflets
    tip = _tip(points, triangles, root, ostium.at)
    try:
        away, short = valve_distance(deployed, ostium.at)
    except InputError as error:
        away, short = None, False
        missed.append(f"The valve's distance from the {side} ostium is not told: {error.problem}")
    if away is not None:
        # A valve that ends below the ostium, and a leaflet that does, leave it free.
        close = not short or tip is None or tip > ostium.lower
        found.append(Index.of(
            "coronary", f"valve_to_coronary_{side}", away, "mm",
            f"distance of the {side} ostium's middle from the frame's section at its height; above "
            "the frame from its uppermost section, continued", KHAN, NEAR if close else None,
        ))  # fmt: skip
        if short:
            missed.append(f"The frame ends below the {side} ostium: its section is continued.")
    found.append(Index.of(
        "coronary", f"ostium_height_{side}", ostium.lower, "mm",
        f"height of the {side} ostium's lower edge over the annulus, after deployment",
        "our choice",
    ))  # fmt: skip
    if tip is None:
        return found, [
            *missed,
            f"The {side} cusp is not judged: no leaflet in the mesh stands before the ostium.",
        ]
    ratio = float(distances(ostium.at[None], points, triangles)[0]) / ostium.wide
    found += [
        Index.of("coronary", f"cusp_to_ostium_{side}", ratio, "1",
                 f"DLC / d: distance of the {side} ostium's middle from the native leaflets as "
                 "deployed, over the artery's diameter", HEITKEMPER, OBSTRUCTED),
        Index.of("coronary", f"leaflet_tip_over_ostium_{side}", tip - ostium.lower, "mm",
                 f"height of the highest native leaflet before the {side} ostium, as deployed, "
                 "less that of the ostium's lower edge", "our choice"),
    ]  # fmt: skip
    if away is not None:
        found.append(_laceration(root, side, away, tip, ostium, ratio))
    return found, missed


def _laceration(
    root: RootRecord, side: str, away: float, tip: float, ostium: Ostium, ratio: float
) -> Index:
    risk = CoronaryRisk(away, tip, ostium.lower, root.calcium.get(side, 0.0)).high
    advised = tip > ostium.lower and (risk or ratio < OBSTRUCTED)
    return Index.of(
        "coronary", f"laceration_{side}", float(advised), "1",
        "1 where lacerating the leaflet (BASILICA) should be considered: its tip, as deployed, "
        "stands over the ostium's lower edge, and the valve is within 4 mm of the ostium, its "
        "calcium exceeds 600 mm³, or DLC / d is below 0.7",
        f"Our combination of: {KHAN}; {HEITKEMPER}", None, 0.0,
    )  # fmt: skip


def _tip(
    points: Array, triangles: NDArray[np.int64], root: RootRecord, ostium: Array
) -> float | None:
    """Height over the annulus (mm) of the highest leaflet before an ostium."""
    used = points[np.unique(triangles)]
    if len(used) == 0:
        return None
    away = np.angle(np.exp(1j * (root.turn(used) - root.turn(ostium[None])[0])))
    before = np.abs(away) < BEFORE
    return float(root.height(used[before]).max()) if before.any() else None
