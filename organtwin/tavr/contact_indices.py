"""How firmly a deployed valve holds, and how hard it presses on the conduction axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from organtwin.aortic_root import septum
from organtwin.devices.anchoring import PressedRegion, anchoring, pressed_region
from organtwin.index import Found, Index
from organtwin.tavr.deployed import Deployed
from organtwin.tavr.haemodynamics import Haemodynamics
from organtwin.tavr.root_record import RootRecord

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Limits of the contact pressure index (1) and of the largest contact pressure (kPa).
INDEX, PRESSURE = 0.14, 390.0
CONDUCTION = (
    "Thresholds: Rocatello et al. (2018), Circ. Cardiovasc. Interv., remembered, not verified; "
    "Galli et al. (2021), PMC9708019, abstract read, found both higher where conduction suffered."
)
#: Depth below the annulus to which the wall under the septum is looked at (mm).
DEEPEST = 15.0
#: mN in a newton.
NEWTON = 1e3


def anchoring_indices(deployed: Deployed, flow: Haemodynamics, closed_area: float | None) -> Found:
    """Normal forces, and safety against migration.

    Args:
        deployed: The valve.
        flow: Pressures.
        closed_area: Of the closed valve, within its skirt (mm²); none if that is not known.
    """
    pressed = deployed.pressed
    found = [
        Index.of("anchoring", "anchoring_force", float(pressed.normal.sum()) / NEWTON, "N",
                 "sum of the normal forces of the struts on tissue", "our choice"),
        Index.of("anchoring", "contact_length", float(pressed.length.sum()), "mm",
                 "length of strut that presses on tissue", "our choice"),
    ]  # fmt: skip
    if closed_area is None:
        return found, ["Migration is not judged: the frame has no section for the closed valve."]
    hold = anchoring(pressed, deployed.friction, flow.closing, closed_area)
    found.append(
        Index.of("anchoring", "migration_load", hold.load / NEWTON, "N",
                 "diastolic pressure over the valve times the largest section of the skirt",
                 "Our choice; Dwyer et al. in Mummert et al. (2013), Ann. Biomed. Eng., doi "
                 "10.1007/s10439-012-0694-1, introduction read: 6.0 N at the peak in diastole")
    )  # fmt: skip
    if pressed.normal.sum() > 0.0:
        found.append(
            Index.of("anchoring", "friction_needed", hold.load / float(pressed.normal.sum()), "1",
                     "that load over the normal forces: the coefficient that would just hold it",
                     "Wu et al. (2019), PMC7442159, abstract read, compare this ratio with the "
                     "coefficient of friction")
        )  # fmt: skip
    if deployed.friction <= 0.0:
        return found, ["Safety against migration is not told: the deployment had no friction."]
    found.append(
        Index.of("anchoring", "migration_safety", hold.safety, "1",
                 "friction coefficient times the normal forces, over the load in diastole",
                 "Our choice: it slips below 1; hooking into leaflets and calcium is left out",
                 1.0)
    )  # fmt: skip
    return found, []


def contact_indices(deployed: Deployed, root: RootRecord) -> Found:
    """Largest contact pressure, and contact on the septum and the wall under it."""
    pressed, width = deployed.pressed, deployed.pressed_width
    pressure = pressed.normal / (pressed.length * width)
    highest = float(np.max(pressure, initial=0.0))
    found = [
        Index.of("contact", "contact_pressure_max", highest, "kPa",
                 "largest N / (l w) of a place with the normal force N, length l and width w of "
                 "strut", "our choice"),
    ]  # fmt: skip
    missed = []
    regions = {
        "": deployed.surfaces.get("membranous_septum"),
        "conduction_": _below(deployed, root),
    }
    where = {
        "": "the region of the membranous septum",
        "conduction_": f"the wall under that region, down to {DEEPEST:g} mm below the annulus",
    }
    for key, region in regions.items():
        if region is None or len(region[1]) == 0:
            missed.append(f"Contact is not judged on {where[key]}: the mesh has no such surface.")
            continue
        one = pressed_region(pressed, width, *region)
        found += _on_region(key, where[key], one)
    return found, missed


def _on_region(key: str, where: str, one: PressedRegion) -> list[Index]:
    name = "septum_" if key == "" else key
    return [
        Index.of("contact", f"{key}contact_pressure_index", one.share, "1",
                 f"area of struts that press on {where}, sum of l w, over its area", CONDUCTION,
                 None, INDEX),
        Index.of("contact", f"{name}contact_pressure_max", one.largest, "kPa",
                 f"largest N / (l w) on {where}", CONDUCTION, None, PRESSURE),
        Index.of("contact", f"{name}contact_force", one.force / NEWTON, "N",
                 f"sum of the normal forces on {where}", "our choice"),
    ]  # fmt: skip


def _below(deployed: Deployed, root: RootRecord) -> tuple[Array, Integers] | None:
    """The wall under the septum, as wide as it; nothing where the mesh does not name the wall."""
    if "inner" not in deployed.surfaces:
        return None
    points, triangles = deployed.surfaces["inner"]
    before = deployed.surfaces_before.get("inner", points)
    middle = before[triangles].mean(axis=1)
    height = root.height(middle)
    away = np.angle(np.exp(1j * (root.turn(middle) - root.septum_direction)))
    flat = (middle - root.origin) @ root.axes[:2].T
    wide = np.abs(away) * np.hypot(*flat.T) < 0.5 * septum.WIDTH
    under = wide & (height < -root.septum_below) & (height > -DEEPEST)
    return points, triangles[under]
