"""Labels merged and chosen before they are meshed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from organtwin.errors import InputError, suggestion
from organtwin.image.volume import LabelMap


def merged(labels: LabelMap, groups: Mapping[str, Sequence[str]], place: str) -> LabelMap:
    """Labels of which some became one.

    Args:
        labels: Label map.
        groups: New name → names of the labels that become it; their names are gone.
        place: Where the groups are written, for messages.

    Raises:
        InputError: a label does not exist or is in two groups, or a new name is already one.
    """
    table = np.arange(256, dtype=np.uint8)
    names = dict(labels.names)
    for new, members in groups.items():
        for name in members:
            if name not in names:
                taken = " (another group has it)" if name in labels.names else ""
                raise InputError(place, f"no label `{name}`{taken}.", suggestion(name, names))
        integers = [names.pop(name) for name in members]
        if new in names:
            raise InputError(
                place, f"there is a label `{new}` already.", "Add it to the group, or rename."
            )
        table[integers] = integers[0]
        names[new] = integers[0]
    return replace(labels, values=table[labels.values], names=names)


def kept(labels: LabelMap, names: Sequence[str], place: str) -> LabelMap:
    """Labels of which only the named ones stay; the rest is background.

    Raises:
        InputError: a label does not exist.
    """
    for name in names:
        if name not in labels.names:
            raise InputError(place, f"no label `{name}`.", suggestion(name, labels.names))
    table = np.zeros(256, np.uint8)
    integers = [labels.names[name] for name in names]
    table[integers] = integers
    return replace(
        labels, values=table[labels.values], names={name: labels.names[name] for name in names}
    )
