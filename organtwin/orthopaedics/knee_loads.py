"""Forces of the femoral condyles on a tibial plateau in daily activities.

Components are medial, anterior, proximal (`tibial_frame`); the resultant is split between the
middles of both halves of the plateau, ``plateau_medial`` and ``plateau_lateral``.
"""

from __future__ import annotations

from types import MappingProxyType

from organtwin.errors import InputError
from organtwin.orthopaedics.joint_loads import Force, LoadCase, load_of

KUTZNER = (
    "Kutzner et al. (2010), J. Biomech. 43:2164-2173, abstract read: mean over five patients of "
    "the largest resultant; shear is 10 to 20 times smaller than the axial force and is left out"
)
SHARE = (
    "Medial share 60 to 80 %, read in the introduction of PMC2965044 (one instrumented knee); its "
    "middle is our choice"
)
#: Medial share of the force without a better one, and its range.
MEDIAL, RANGE = 0.7, (0.6, 0.8)
#: Activities: phase, and largest resultant in per cent of the body weight.
_PEAKS = {
    "walking": ("largest force of level walking", 261.0),
    "stairs_up": ("largest force of climbing stairs", 316.0),
    "stairs_down": ("largest force of going down stairs", 346.0),
    "one_legged_stance": ("standing on one leg", 259.0),
    "two_legged_stance": ("standing on both legs", 107.0),
    "knee_bend": ("largest force of a knee bend", 253.0),
    "standing_up": ("largest force of standing up", 246.0),
    "sitting_down": ("largest force of sitting down", 225.0),
}


def knee_load(name: str, *, medial: float = MEDIAL) -> LoadCase:
    """A load by its name: ``walking``, ``stairs_up``, ``stairs_down``, ``one_legged_stance``, ….

    Partial weight bearing is ``knee_load(...).scaled(0.2)``, or `axial_load` in newtons.

    Args:
        name: One of `KNEE_LOADS`.
        medial: Share of the force on the medial half, 0 to 1.

    Raises:
        InputError: no such load; the share is none.
    """
    phase, peak = _PEAKS[load_of(KNEE_LOADS, name, "knee").name]
    return _split(name, phase, 0.01 * peak, medial, KUTZNER, absolute=False)


def axial_load(force: float, *, medial: float = MEDIAL) -> LoadCase:
    """An axial force (N) on a plateau, as on a bench.

    Raises:
        InputError: the force is not positive, or the share is none.
    """
    if not force > 0.0:
        raise InputError("knee load", f"{force:g} N.", "Give a positive force.")
    return _split("axial", "on a bench", force, medial, "as given", absolute=True)


def _split(
    name: str, phase: str, size: float, medial: float, source: str, *, absolute: bool
) -> LoadCase:
    if not 0.0 <= medial <= 1.0:
        raise InputError("knee load", f"medial = {medial:g}.", "Give a share of 0 to 1.")
    shares = {"plateau_medial": medial, "plateau_lateral": 1.0 - medial}
    told = f"{source}. {SHARE}" if medial == MEDIAL else f"{source}. Medial share as given"
    forces = tuple(
        Force(place, "joint", (0.0, 0.0, -size * share), told, medial != MEDIAL)
        for place, share in shares.items()
    )
    note = "Muscles and ligaments at the tibia are left out."
    return LoadCase(name, phase, "tibia", forces, absolute, notes=(note,))


#: Loads by name, with the usual medial share.
KNEE_LOADS = MappingProxyType({
    name: _split(name, phase, 0.01 * peak, MEDIAL, KUTZNER, absolute=False)
    for name, (phase, peak) in _PEAKS.items()
})  # fmt: skip
