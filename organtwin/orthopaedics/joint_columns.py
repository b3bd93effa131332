"""Cartilage of a knee from labels, as columns between the tibia and the femur."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap
from organtwin.orthopaedics.cartilage_contact import Columns
from organtwin.orthopaedics.plateau_fracture import Knee
from organtwin.surgery.bodies import Bodies, bodies_of_labels

type Floats = NDArray[np.float64]

#: Cartilage of the lateral and of the medial half.
TIBIAL = ("lateral_tibial_cartilage", "medial_tibial_cartilage")
FEMORAL = ("femur", "femoral_cartilage")
#: Labels that the contact of the joint needs.
NEEDED = (*FEMORAL, *TIBIAL)
#: Distance of columns and step along them (mm), how far they reach below and above the plateau
#: (mm), and what is kept of the labels around it (mm).
SPACING, STEP, REACH, AROUND = 1.0, 0.2, (-8.0, 14.0), 12.0
#: Edge of the voxels that cartilage is taken from (mm).
VOXEL = 0.8
#: Depth (mm) below a column's foot at which it is looked which fragment carries it.
BELOW = 1.5


def columns_of(
    labels: LabelMap, knee: Knee, bodies: Bodies, parts: Sequence[str], *, step: float = 0.0
) -> Columns:
    """Columns of cartilage between both bones, along the plateau's normal.

    They are those that the image shows, lower by ``step`` on the last of the parts. Over a fracture
    line, where no fragment carries them, there are none.

    Args:
        labels: With `NEEDED`.
        knee: Directions.
        bodies: Fragments after reduction.
        parts: Which of them carry cartilage: `Columns.part` are their numbers. Not all of them need
            be there.
        step: By how much the last part was left too low (mm).

    Raises:
        InputError: a label is missing, or a half has no columns.
    """
    missing = [name for name in NEEDED if name not in labels.names]
    if missing:
        raise InputError(
            "labels", f"no `{missing[0]}`: the contact of the joint needs it.",
            f"Name {', '.join(NEEDED)} in `[bone] names`, or set cartilage = false.",
        )  # fmt: skip
    near = bodies_of_labels(_around(labels, knee), NEEDED, voxel=VOXEL, margin=2.0)
    found = [_half(near, knee, name, number) for number, name in enumerate(TIBIAL)]
    made = Columns(*(np.concatenate([getattr(one, key) for one in found])
                     for key in ("place", "area", "gap", "thickness", "half", "part")))  # fmt: skip
    part = np.full(len(made.gap), -1)
    for number, name in ((k, n) for k, n in enumerate(parts) if n in bodies.names):
        low = step if name == parts[-1] else 0.0
        part[bodies.at(name, made.place - (BELOW + low) * knee.up) < 0.0] = number
    kept = part >= 0
    low_there = np.where(part == len(parts) - 1, step, 0.0)[kept]
    made = Columns(
        made.place[kept] - low_there[:, None] * knee.up, made.area[kept],
        made.gap[kept] + low_there, made.thickness[kept], made.half[kept], part[kept],
    )  # fmt: skip
    for number, name in enumerate(TIBIAL):
        if not (made.half == number).any():
            raise InputError("labels", f"`{name}` and the femur face each other nowhere.",
                             "Check the labels, or set cartilage = false.")  # fmt: skip
    return made


def _around(labels: LabelMap, knee: Knee) -> LabelMap:
    """The part of the labels around the joint."""
    numbers = [labels.names[name] for name in TIBIAL]
    index = np.argwhere(np.isin(labels.values, numbers))
    if not len(index):
        raise InputError("labels", "no voxel of the tibia's cartilage.", "Check `[bone] names`.")
    room = np.ceil(AROUND / labels.spacing).astype(int)
    low = np.maximum(index.min(axis=0) - room, 0)
    high = np.minimum(index.max(axis=0) + room + 1, labels.values.shape)
    box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    origin = labels.origin + labels.direction @ (labels.spacing * low)
    wanted = {name: labels.names[name] for name in NEEDED}
    values = labels.values[box]
    values = np.where(np.isin(values, list(wanted.values())), values, 0).astype(values.dtype)
    return replace(labels, values=values, names=wanted, origin=origin)


def _half(near: Bodies, knee: Knee, name: str, number: int) -> Columns:
    """Columns over one half, not yet told which fragment carries them."""
    surface = near.surface(name).points - knee.lateral
    ranges = [np.arange(p.min() + 0.5, p.max(), SPACING) for p in
              (surface @ knee.out, surface @ knee.front)]  # fmt: skip
    out, front = (g.ravel() for g in np.meshgrid(*ranges))
    feet = knee.lateral + out[:, None] * knee.out + front[:, None] * knee.front
    heights = np.arange(REACH[0], REACH[1], STEP)
    places = feet[:, None] + heights[:, None] * knee.up

    def depth(label: str) -> Floats:
        found = near.at(label, places.reshape(-1, 3))
        return found.reshape(len(feet), len(heights))

    own, bone, layer = depth(name), depth("femur"), depth("femoral_cartilage")
    both = np.minimum(bone, layer)
    # A column is one if it has tibial cartilage and femur above it.
    there = (own < 0.0).any(axis=1) & (both < 0.0).any(axis=1) & (bone < 0.0).any(axis=1)
    own, bone, both = own[there], bone[there], both[there]
    bottom = _crossing(heights, own)
    top = -_crossing(-heights[::-1], own[:, ::-1])
    under, hard = _crossing(heights, both), _crossing(heights, bone)
    above = under > bottom
    thickness = (top - bottom) + np.maximum(hard - under, 0.0)
    kept = above & (thickness > STEP)
    place = feet[there] + bottom[:, None] * knee.up
    n = int(kept.sum())
    return Columns(place[kept], np.full(n, SPACING**2), (under - top)[kept], thickness[kept],
                   np.full(n, number), np.zeros(n, np.int64))  # fmt: skip


def _crossing(heights: Floats, depth: Floats) -> Floats:
    """First height at which each row goes below zero, between steps by parts, shape (n,)."""
    first = np.argmax(depth < 0.0, axis=1)
    rows = np.arange(len(depth))
    before = np.maximum(first - 1, 0)
    a, b = depth[rows, before], depth[rows, first]
    share = np.where(a > 0.0, a / np.maximum(a - b, 1e-12), 1.0)
    return np.asarray(heights[before] + share * (heights[first] - heights[before]))
