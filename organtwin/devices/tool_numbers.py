"""Tools as named numbers, to take a deployment up in another process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from organtwin.devices.equilibrium import Action
from organtwin.devices.load_path import Drag
from organtwin.devices.placement import Placed, Placement
from organtwin.errors import InputError

#: Arrays that tools remember.
REMEMBERED = {"multiplier", "_anchor"}


def numbers(actions: Sequence[Action]) -> dict[str, float]:
    """All numbers that tools have, by their place among the actions, kind and name.

    Radii, heights, placements, what is active, what holds by friction. Arrays have an entry for
    each number, and none where they are zero throughout; a drag is told by its largest stiffness.
    """
    found: dict[str, float] = {}
    for name, tool, action in _named(actions):
        if isinstance(tool, Drag):
            found[f"{name}.hold"] = float(tool.stiffness.max())
        for key, value in vars(tool).items():
            if isinstance(value, (bool, int, float)):
                found[f"{name}.{key}"] = float(value)
            elif key in REMEMBERED and value is not None and np.any(value):
                found |= _listed(f"{name}.{key}", value)
        if isinstance(action, Placed):
            for key, value in vars(action.placement).items():
                found |= _listed(f"{name}.placement.{key}", value)
    return found


def give_back(actions: list[Action], saved: Mapping[str, float]) -> None:
    """Write the numbers back.

    Args:
        actions: The same tools in the same order; placements are put in anew.
        saved: What `numbers` told.

    Raises:
        InputError: it was of other tools.
    """
    tools = {".".join(key.split(".")[:2]) for key in saved}
    if tools != {name for name, _, _ in _named(actions)}:
        raise InputError(
            "restore_tools", f"the tools saved are {', '.join(sorted(tools))}.",
            "Make the implant and all its stages as they were made before.",
        )  # fmt: skip
    for i, (name, tool, action) in enumerate(_named(actions)):
        if isinstance(tool, Drag):
            tool.stiffness[:] = saved[f"{name}.hold"]
        for key, value in vars(tool).items():
            if f"{name}.{key}" in saved:
                number = saved[f"{name}.{key}"]
                setattr(tool, key, bool(number) if isinstance(value, bool) else number)
            elif key in REMEMBERED and f"{name}.{key}.0" in saved:
                prefix = f"{name}.{key}."
                values = np.array([v for k, v in saved.items() if k.startswith(prefix)])
                setattr(tool, key, values if key == "multiplier" else values.reshape(-1, 3))
        if isinstance(action, Placed):
            actions[i] = Placed(action.tool, _placement(f"{name}.placement.", saved))


def _named(actions: Sequence[Action]) -> list[tuple[str, object, Action]]:
    """Names, tools, and the actions that they are."""
    found: list[tuple[str, object, Action]] = []
    for i, action in enumerate(actions):
        tool: object = action.tool if isinstance(action, Placed) else action
        found.append((f"{i}.{type(tool).__name__}", tool, action))
    return found


def _listed(name: str, values: object) -> dict[str, float]:
    return {f"{name}.{j}": float(v) for j, v in enumerate(np.ravel(np.asarray(values, float)))}


def _placement(prefix: str, saved: Mapping[str, float]) -> Placement:
    def read(name: str, j: int = 0) -> float:
        return saved[f"{prefix}{name}.{j}"]

    def vector(name: str) -> tuple[float, float, float]:
        return read(name, 0), read(name, 1), read(name, 2)

    return Placement(
        vector("centre"), vector("axis"), read("height"), read("tilt"), read("towards"),
        read("turn"),
    )  # fmt: skip
