"""Forces on a lumbar vertebra and on pedicle screws.

Components are left, anterior, up (`vertebral_frame`); those of a bench test of a screw are along
its frame: x and y across, z along the screw from its tip to its head.
"""

from __future__ import annotations

from types import MappingProxyType

from organtwin.errors import InputError
from organtwin.orthopaedics.joint_loads import Force, LoadCase, load_of

FOLLOWER = (
    "Dreischarf et al. (2010), J. Biomech. 43:2625-2628, abstract read: a follower load of 500 N "
    "for standing"
)
DAILY = (
    "Rohlmann et al. (2014), PLoS ONE 9:e98510, abstract read: up to 1650 N on an instrumented "
    "vertebral body in daily life"
)
WALKING = "Our choice, between 500 N of standing and 1650 N, the most of daily life"
BENCH = "Our choice of the force; named by ASTM F543 (screws, axial pull-out), which was not read"
TOGGLE = "Our choice of the force; screw constructs are tested by ASTM F1717, scope read only"


def _down(name: str, phase: str, force: float, source: str, *, read: bool) -> LoadCase:
    note = "Along the axis of the vertebra, as a follower load; moments are left out."
    one = Force("endplate_upper", "joint", (0.0, 0.0, -force), source, read)
    return LoadCase(name, phase, "vertebra", (one,), True, notes=(note,))


#: Loads by name; newtons.
SPINE_LOADS = MappingProxyType({
    one.name: one
    for one in (
        _down("standing", "upright standing", 500.0, FOLLOWER, read=True),
        _down("walking", "largest force of walking", 1000.0, WALKING, read=False),
        _down("heaviest", "heaviest of daily life", 1650.0, DAILY, read=True),
    )
})  # fmt: skip


def spine_load(name: str) -> LoadCase:
    """A load of a vertebra: ``standing``, ``walking``, ``heaviest``.

    Raises:
        InputError: no such load.
    """
    return load_of(SPINE_LOADS, name, "spine")


def screw_load(screw: str, kind: str, force: float = 200.0) -> LoadCase:
    """A force (N) at the head of one screw.

    Args:
        screw: Name of the screw; the place is ``<screw>_head``.
        kind: ``pull_out``: along the screw; ``toggle``: across it, in the direction x of its frame.
        force: Its size (N).

    Raises:
        InputError: no such kind; the force is not positive.
    """
    ways = {"pull_out": (0.0, 0.0, 1.0), "toggle": (1.0, 0.0, 0.0)}
    if kind not in ways or not force > 0.0:
        raise InputError(
            "screw load", f"kind {kind!r}, {force:g} N.", "Give `pull_out` or `toggle`, and > 0 N."
        )
    x, y, z = (force * part for part in ways[kind])
    source = BENCH if kind == "pull_out" else TOGGLE
    one = Force(f"{screw}_head", "bench", (x, y, z), source, False)
    return LoadCase(f"{kind}_{screw}", "on a bench", "screw", (one,), True)
