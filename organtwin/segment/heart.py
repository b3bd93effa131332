"""The chambers of the heart in a contrast CT: which of the blood's lobes belong to which."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np

from organtwin.segment.discs import Chain
from organtwin.segment.lobes import Lobes, grow_together

#: Smaller lobes are vessels or bone (mm): the auricles and the veins at the atria are left out.
LEAST_RADIUS = 6.5
#: Names of the chambers, in the order in which they are looked for.
CHAMBERS = ("la_blood", "lv_blood", "rv_blood", "ra_blood", "pulmonary_artery")


def chambers(found: Lobes, ascending: Chain, aorta: Collection[int]) -> dict[str, set[int]]:
    """Lobes of each chamber that is filled with contrast.

    Seen from the ascending aorta at the height of its lower end, the left atrium is the widest lobe
    behind it; the ventricles are left of and below it, the right one in front of the left one; the
    right atrium lies right of it; the pulmonary artery left of it and above the valve. The other
    wide lobes belong to the chamber to which they have the widest passage.

    Args:
        found: Lobes of the blood.
        ascending: The ascending aorta.
        aorta: Lobes of the aorta, which are given to no chamber.
    """
    wide = [
        n for n in range(1, len(found.deepest))
        if found.deepest[n] >= LEAST_RADIUS and n not in aorta
    ]  # fmt: skip
    seeds = _seeds(found, ascending, wide)
    return grow_together(found, seeds, wide) if seeds else {}


def _seeds(found: Lobes, ascending: Chain, wide: Collection[int]) -> dict[str, set[int]]:
    """The lobes that each chamber is most likely to be."""
    reach = ascending.radius
    valve = float(ascending.centre[2]) - ascending.length / 2.0
    away = found.centre - np.array([ascending.centre[0], ascending.centre[1], valve])
    size = found.volume * found.deepest
    seeds: dict[str, int] = {}

    def largest(name: str, fits: Callable[[int], bool]) -> None:
        free = [n for n in wide if n not in seeds.values() and fits(n)]
        if free:
            seeds[name] = max(free, key=lambda n: float(size[n]))

    largest("la_blood", lambda n: bool(away[n, 1] > reach and abs(away[n, 2]) < 4.0 * reach))
    largest("lv_blood", lambda n: bool(away[n, 0] > 0.0 and away[n, 2] < 0.0 and _mid(away[n])))
    if "lv_blood" in seeds:
        left = seeds["lv_blood"]
        widest = found.widest(left)
        apart = np.array([1.0 - widest.get(n, 0.0) for n in range(len(size))])
        size = size * np.where(found.volume > 0, apart**2, 0.0)
        largest("rv_blood", lambda n: bool(away[n, 2] < 0.0 and away[n, 1] < away[left, 1]))
        size = found.volume * found.deepest
    largest(
        "pulmonary_artery",
        lambda n: bool(away[n, 0] > 0.0 and away[n, 2] > reach and away[n, 1] < 3.0 * reach),
    )
    taken = set(seeds.values())
    right = {n for n in wide if away[n, 0] < -0.5 * reach and away[n, 2] < 2.0 * reach} - taken
    return {name: {lobe} for name, lobe in seeds.items()} | ({"ra_blood": right} if right else {})


def _mid(away: np.ndarray) -> bool:
    """Whether a place is rather left than in front of the aortic valve: not the right ventricle."""
    return bool(away[1] > -0.5 * away[0])
