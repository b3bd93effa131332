"""Effective orifice area and gradient that a deployed valve may be expected to have."""

from __future__ import annotations

import numpy as np

from organtwin.index import Found, Index
from organtwin.tavr.deployed import Deployed
from organtwin.tavr.frame_indices import Section
from organtwin.tavr.haemodynamics import MMHG, Haemodynamics

#: Effective orifice area of devices in patients (cm²) by name and size.
KNOWN = {
    ("SAPIEN-3-like", "20"): 1.22, ("SAPIEN-3-like", "23"): 1.45, ("SAPIEN-3-like", "26"): 1.74,
    ("SAPIEN-3-like", "29"): 1.89, ("Evolut-like", "23"): 1.09, ("Evolut-like", "26"): 1.69,
    ("Evolut-like", "29"): 1.97, ("Evolut-like", "34"): 2.60,
}  # fmt: skip
#: The same over the area of the free frame at the leaflets, for devices that are not known: mean
#: of those above.
SHARE = {"balloon-expandable": 0.34, "self-expanding": 0.44}
#: Mean A / A_free of the frames of patients, see `frame_indices.EXPANSION`: what published areas
#: were found with.
USUAL = {"balloon-expandable": 0.92, "self-expanding": 0.83}
#: Spread of such values between patients: their standard deviation over their mean.
SPREAD = 0.2
#: Square of the flow's root mean square over its mean, of half a sine.
HALF_SINE = np.pi**2 / 8.0
REFERENCE = (
    "Reference areas: Hahn et al. (2019), JACC Cardiovasc. Imaging, remembered, not verified; the "
    "scaling is our choice. Between patients it differs by about 20 %, the gradient by 40 %"
)
#: Largest gradient (mmHg); least indexed area (cm²/m²), and that of obese patients.
GRADIENT, INDEXED, INDEXED_OBESE = 20.0, 0.85, 0.70


def flow_indices(deployed: Deployed, cuts: dict[str, Section], flow: Haemodynamics) -> Found:
    """Effective orifice area, mean gradient and, for a known body surface, mismatch."""
    if "leaflets" not in cuts:
        return [], ["Orifice and gradient are not told: the frame has no section at its leaflets."]
    cut, missed = cuts["leaflets"], []
    known = KNOWN.get((deployed.device, deployed.size))
    if known is None:
        known = 1e-2 * SHARE[deployed.family] * cut.free.area
        missed.append("The orifice area rests on that of similar devices: none is known of this.")
    orifice = known * cut.expansion / USUAL[deployed.family]
    speed = 1e-2 * flow.forward_flow / orifice  # mL/s over cm² is cm/s, here m/s
    gradient = 0.5 * flow.blood.density * HALF_SINE * speed**2 / MMHG
    found = [
        Index.of("flow", "effective_orifice_area", orifice, "cm²",
                 "published area of the device times A / A_free of the frame at its leaflets, over "
                 "the mean of that in patients (0.92 balloon-expandable, 0.83 self-expanding)",
                 REFERENCE),
        Index.of("flow", "mean_gradient", gradient, "mmHg",
                 "½ ρ (π²/8) (Q / EOA)² with the mean flow Q in ejection, of half a sine",
                 f"{REFERENCE}. Threshold: 20 mmHg is a high gradient in Jin et al. (2022), J. "
                 "Invasive Cardiol. 34:E433-E441, abstract read", None, GRADIENT),
    ]  # fmt: skip
    if flow.surface is None:
        return found, [*missed, "Mismatch is not told: the body surface is not known."]
    least = INDEXED_OBESE if flow.obese else INDEXED
    found.append(Index.of(
        "flow", "indexed_orifice_area", orifice / flow.surface, "cm²/m²",
        "effective orifice area over the body surface",
        "Tomii et al. (2023), EuroIntervention 19 no. 9, doi 10.4244/EIJ-D-23-00456, abstract "
        "read: mismatch is moderate from 0.85 downwards (obese 0.70), severe from 0.65 (0.55)",
        least,
    ))  # fmt: skip
    return found, missed
