"""Blood pools that touch, taken apart at their necks, and how wide the passages between are."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.image.volume import Grid
from organtwin.segment.markers import Numbers, pools
from organtwin.segment.morphology import Mask, depth


@dataclass(frozen=True)
class Lobes:
    """Lobes of a mask; entry 0 of each array belongs to what is in none.

    Attributes:
        numbers: Lobe of each voxel from 1, 0 outside.
        deepest: Radius of the largest ball in each (mm), shape (n + 1,).
        volume: Volume of each (mm³).
        centre: Centre of each (mm), shape (n + 1, 3).
        value: Median grey value of each.
        passages: Pair of lobes, the smaller number first → radius of the neck between them divided
            by that of the shallower one: 1 where a tube goes on, small where two barely touch.
    """

    numbers: Numbers
    deepest: NDArray[np.float64]
    volume: NDArray[np.float64]
    centre: NDArray[np.float64]
    value: NDArray[np.float64]
    passages: Mapping[tuple[int, int], float]

    def mask(self, chosen: Collection[int]) -> Mask:
        """Voxels of some lobes."""
        return np.asarray(np.isin(self.numbers, list(chosen)))

    def neighbours(self) -> dict[int, dict[int, float]]:
        """Width of the passage to each neighbour of each lobe."""
        found: dict[int, dict[int, float]] = {n: {} for n in range(1, len(self.deepest))}
        for (one, other), width in self.passages.items():
            found[one][other] = width
            found[other][one] = width
        return found

    def widest(
        self, start: int, least: float = 0.0, among: Collection[int] | None = None
    ) -> dict[int, float]:
        """Lobes that are reached, and the narrowest passage on the widest way to each.

        Args:
            start: Where the ways begin.
            least: Passages narrower than this are closed.
            among: Lobes that the ways may lead through, else all.
        """
        found: dict[int, float] = {}
        queue = [(-1.0, start)]
        around = self.neighbours()
        while queue:
            width, lobe = heapq.heappop(queue)
            if lobe in found:
                continue
            found[lobe] = -width
            for other, next_width in around[lobe].items():
                open_way = next_width >= least and (among is None or other in among)
                if open_way and other not in found:
                    heapq.heappush(queue, (max(width, -next_width), other))
        return found


def lobes(
    mask: Mask, values: NDArray[np.generic], grid: Grid, *, apart: float, least: float
) -> Lobes:
    """Take a mask apart at its necks.

    Args:
        mask: Voxels to divide.
        values: Grey values.
        grid: Where the voxels lie.
        apart: Least distance of the centres of two lobes (mm).
        least: Least radius of a lobe (mm).
    """
    deep = depth(mask, grid)
    numbers = pools(mask, grid, apart=apart, least=least)
    every = np.arange(int(numbers.max()) + 1)
    counts = np.bincount(numbers.ravel(), minlength=len(every))
    some = every[1:]
    centre = np.zeros((len(every), 3))
    value, deepest = np.zeros(len(every)), np.zeros(len(every))
    if len(some):
        centre[1:] = grid.points(np.array(ndimage.center_of_mass(mask, numbers, some)))
        value[1:] = ndimage.median(values, numbers, some)
        deepest[1:] = ndimage.maximum(deep, numbers, some)
    return Lobes(
        numbers, deepest, np.asarray(counts * grid.voxel_volume, np.float64), centre, value,
        _passages(numbers, deep, deepest, float(grid.spacing.mean())),
    )  # fmt: skip


def grow_together(
    found: Lobes, seeds: Mapping[str, Collection[int]], among: Collection[int]
) -> dict[str, set[int]]:
    """Give each lobe to the seed that it reaches by the widest way.

    Passages are opened from the widest to the narrowest; two groups with different seeds stay
    apart, which is a minimum spanning forest.

    Args:
        found: Lobes.
        seeds: Name → lobes.
        among: Lobes that may be given away.
    """
    group = {lobe: lobe for lobe in among}
    owner = {lobe: name for name, chosen in seeds.items() for lobe in chosen}

    def top(lobe: int) -> int:
        while group[lobe] != lobe:
            lobe = group[lobe]
        return lobe

    for (one, other), _ in sorted(found.passages.items(), key=lambda item: (-item[1], item[0])):
        if one not in group or other not in group:
            continue
        first, second = top(one), top(other)
        if first == second or (first in owner and second in owner):
            continue
        keep, drop = (second, first) if second in owner else (first, second)
        group[drop] = keep
    return {name: {lobe for lobe in group if owner.get(top(lobe)) == name} for name in seeds}


def _passages(
    numbers: Numbers, deep: NDArray[np.float64], deepest: NDArray[np.float64], voxel: float
) -> dict[tuple[int, int], float]:
    """The deepest pair of neighbouring voxels on the border of two lobes, a voxel being uncertain.

    Depths come in steps of a voxel, which in a thin vessel is as much as the depth itself.
    """
    count = len(deepest)
    keys, necks = [], []
    for axis in range(3):
        one, other = (np.moveaxis(numbers, axis, 0)[part] for part in (np.s_[:-1], np.s_[1:]))
        here, there = (np.moveaxis(deep, axis, 0)[part] for part in (np.s_[:-1], np.s_[1:]))
        touch = (one != other) & (one > 0) & (other > 0)
        low, high = np.minimum(one[touch], other[touch]), np.maximum(one[touch], other[touch])
        keys.append(low.astype(np.int64) * count + high)
        necks.append(np.minimum(here[touch], there[touch]))
    pairs, place = np.unique(np.concatenate(keys), return_inverse=True)
    neck = np.zeros(len(pairs))
    np.maximum.at(neck, place, np.concatenate(necks))
    return {
        (int(pair // count), int(pair % count)): float(
            (width + voxel) / (min(deepest[pair // count], deepest[pair % count]) + voxel)
        )
        for pair, width in zip(pairs, neck, strict=True)
    }
