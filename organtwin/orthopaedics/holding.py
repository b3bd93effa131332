"""How a bone is held, and whether muscles pull at it: what a computation of a bone depends on most.

| how | what | of |
|---|---|---|
| ``fixed`` | the end of the shaft, or the lower endplate, does not move | all |
| ``bed`` | it rests on springs for the rest of the shaft or the disc below | all |
| ``guided`` | it does not move, and the head may move along the shaft alone | hip |
| ``potted`` | the lower part of the vertebra's body is held too, as in cement on a bench | spine |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from organtwin.errors import InputError
from organtwin.orthopaedics.anatomical_frames import AnatomicalFrame
from organtwin.orthopaedics.operation import Operation

#: Ways to hold each kind of bone, the usual one first.
HELD: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "hip_stem": ("fixed", "guided", "bed"),
        "pedicle_screw": ("fixed", "potted", "bed"),
        "tibial_plateau": ("fixed", "bed"),
    }
)
#: Modulus (kPa) over length (mm) of what a bed stands for: 17 GPa of cortex over 200 mm of shaft,
#: 4 MPa over the 10 mm of a disc. Our choice.
BED = MappingProxyType({
    "hip_stem": 17e6 / 200.0, "pedicle_screw": 4e3 / 10.0, "tibial_plateau": 17e6 / 200.0,
})  # fmt: skip
#: Places of joints; at all others of these kinds muscles pull.
JOINTS: Mapping[str, tuple[str, ...]] = MappingProxyType({"hip_stem": ("head",)})
#: Part of a vertebra that is potted beside its lower endplate.
POTTED = "body_lower"
GUIDED = (
    "The head moves along the shaft alone, as pelvis and soft tissue guide it (after Speirs et al. "
    "(2007), J. Biomech. 40:2318-2323, remembered): forces across it that do this to the intact "
    "femur act on both femora"
)


def held(operation: Operation, how: str, frame: AnatomicalFrame) -> tuple[Operation, str]:
    """An operation whose bone is held in another way, and a note.

    Args:
        operation: What is computed; its ``support`` does not move.
        how: One of `HELD` of its kind.
        frame: Of the bone.

    Raises:
        InputError: its kind is not held like that.
    """
    known = HELD[operation.kind]
    if how not in known:
        raise InputError("[bone] held", f'"{how}".', f"Of this kind: {', '.join(known)}.")
    if how == "bed":
        stiffness = BED[operation.kind]
        note = f"The bone rests on springs of {stiffness / 1e3:g} MPa/mm, in all directions."
        return replace(operation, bed=stiffness), note
    if how == "potted":
        whole = replace(operation, support=(*operation.support, POTTED))
        return whole, "The lower part of the vertebra's body is held too, as in cement on a bench."
    if how == "guided":
        x, y, z = (float(value) for value in frame.axes[2])
        return replace(operation, guided=dict.fromkeys(JOINTS[operation.kind], (x, y, z))), (
            f"{GUIDED}."
        )
    return operation, ""


def without_muscles(operation: Operation) -> tuple[Operation, str]:
    """An operation whose loads are those of joints alone, and a note.

    Raises:
        InputError: its loads tell no muscles apart.
    """
    joints = JOINTS.get(operation.kind)
    if joints is None:
        raise InputError(
            "[loads] muscles", "loads of this kind have none.", "Leave it out, or write true."
        )
    loads = tuple(
        replace(load, forces={name: force for name, force in load.forces.items() if name in joints})
        for load in operation.loads
    )
    return replace(operation, loads=loads), "Muscles are left out: joints alone act on the bone."
