"""The muscle of both ventricles under one label, shared out between left and right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap

#: Share of the left free wall that is thinner than what counts as its thickness.
THICKEST = 0.95


def with_walls(labels: LabelMap) -> LabelMap:
    """The map with ``lv_myocardium`` and ``rv_myocardium`` instead of ``myocardium``, if it has it.

    The left ventricle has all muscle within the thickness of its free wall from its blood: septum
    and free wall. That thickness is the 95 % quantile of the distance to its blood over the muscle
    at the outside that is nearer to it than to the right one's blood. The rest is the wall of the
    right ventricle.

    Raises:
        InputError: ``lv_myocardium`` is there too, or no muscle is at the outside.
    """
    if "myocardium" not in labels.names:
        return labels
    twin = next((name for name in ("lv_myocardium", "rv_myocardium") if name in labels.names), None)
    if twin is not None:
        raise InputError(
            "[image.labels]",
            f"`myocardium` is the muscle of both ventricles, and `{twin}` is there too.",
            "Name both parts, or one label for all of it.",
        )
    muscle, left, right = (labels.mask(n) for n in ("myocardium", "lv_blood", "rv_blood"))
    to_left, to_right = (
        ndimage.distance_transform_edt(~blood, sampling=labels.spacing) for blood in (left, right)
    )
    outside = ndimage.binary_dilation(~(muscle | left | right))
    free = muscle & outside & (to_left < to_right)
    if not free.any():
        raise InputError(
            "label `myocardium`",
            "no part of it lies between the left ventricle and the outside.",
            "Label the muscle all around the left ventricle.",
        )
    names = {name: code for name, code in labels.names.items() if name != "myocardium"}
    code = max(labels.names.values()) + 1
    values = labels.values.copy()
    values[muscle & (to_left > np.quantile(to_left[free], THICKEST))] = code
    names |= {"lv_myocardium": labels.names["myocardium"], "rv_myocardium": code}
    return replace(labels, values=values, names=names)
