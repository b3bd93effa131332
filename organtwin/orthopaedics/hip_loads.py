"""Forces on a femur: hip joint and muscles of daily activities, and the bench test of stems.

Components are medial, anterior, proximal (`femoral_frame`); ISO 7206-4 is told in the stem's frame.

| name | what | from |
|---|---|---|
| ``walking``, ``stairs_up`` | joint and muscles at the largest joint force | Heller et al. (2005) |
| ``walking_measured``, ``one_legged_stance``, ``standing_up`` | joint, mean of patients | Bergmann et al. (2016) |
| ``stumbling`` | joint, the largest that was measured | Bergmann et al. (1993) |
| ``iso_7206_4`` | head of a stem, newtons | ISO 7206-4 |
"""  # noqa: E501

from __future__ import annotations

from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.orthopaedics.anatomical_frames import AnatomicalFrame
from organtwin.orthopaedics.joint_loads import Force, LoadCase, joint_only, load_of, percent

type Vector = NDArray[np.float64]

HELLER = (
    "Heller et al. (2005), J. Biomech. 38:1155-1163, remembered. Checked against: 238 and 251 % of "
    "the body weight in the abstract of Bergmann et al. (2001), J. Biomech. 34:859-871 (read), and "
    "a demo of the public toolbox GIBBON (read), which has the joint force, both vasti and the sum "
    "of the muscles at the trochanter of walking with these numbers"
)
ORTHOLOAD = (
    "Bergmann et al. (2016), PLoS ONE 11:e0155612: means over the patients of the OrthoLoad data "
    "as the public code HipJointForceModel (RWTH Aachen) stores them, averaged over each peak"
)
STUMBLE = (
    "Bergmann et al. (1993), J. Biomech. 26:969-990, abstract read: 870 % of the body weight; its "
    "direction is that of walking, our choice"
)
ISO = (
    "ISO 7206-4: 300 to 2300 N, read in an excerpt of ISO 7206-8:1995; 10° of adduction and 9° of "
    "flexion, 5 million cycles remembered"
)
#: Angles of the stem to the force (°): adduction, flexion; largest force (N) and least over it.
ISO_ANGLES, ISO_FORCE, ISO_LEAST = (10.0, 9.0), 2300.0, 300.0 / 2300.0

#: Heights of attachments below the head's centre (head radii) and directions of the surface that
#: is meant: medial, anterior, proximal. Our choice, after figures of Heller et al.
TROCHANTER, BESIDE = (-2.0, 1.5), (-1.0, 0.0, 0.6)
VASTI = {
    "vastus_lateralis": (-3.2, (-1.0, 0.3)),
    "vastus_medialis": (-4.2, (0.8, 0.6)),
}
#: Half of the height of the slice that an attachment's point is looked for in (head radii).
SLICE = 0.15


def _muscle(place: str, name: str, *values: float) -> Force:
    return Force(place, name, percent(*values), HELLER, False)


_WALKING = LoadCase(
    "walking", "largest joint force of level walking at about 4 km/h", "femur",
    (
        _muscle("head", "joint", -54.0, -32.8, -229.2),
        _muscle("greater_trochanter", "abductors", 58.0, 4.3, 86.5),
        _muscle("greater_trochanter", "tensor_fasciae_latae_proximal", 7.2, 11.6, 13.2),
        _muscle("greater_trochanter", "tensor_fasciae_latae_distal", -0.5, -0.7, -19.0),
        _muscle("vastus_lateralis", "vastus_lateralis", -0.9, 18.5, -92.9),
    ),
)  # fmt: skip
_STAIRS = LoadCase(
    "stairs_up", "largest joint force of climbing stairs", "femur",
    (
        _muscle("head", "joint", -59.3, -60.6, -236.3),
        _muscle("greater_trochanter", "abductors", 70.1, 28.8, 84.9),
        _muscle("greater_trochanter", "iliotibial_tract_proximal", 10.5, 3.0, 12.8),
        _muscle("greater_trochanter", "iliotibial_tract_distal", -0.5, -0.8, -16.8),
        _muscle("greater_trochanter", "tensor_fasciae_latae_proximal", 3.1, 4.9, 2.9),
        _muscle("greater_trochanter", "tensor_fasciae_latae_distal", -0.2, -0.3, -6.5),
        _muscle("vastus_lateralis", "vastus_lateralis", -2.2, 22.4, -135.1),
        _muscle("vastus_medialis", "vastus_medialis", -8.8, 39.6, -267.1),
    ),
)  # fmt: skip
ALONE = "Muscles are not told: the femur is bent more than with them."


def _along_walking(size: float) -> Vector:
    way = np.array(_WALKING.forces[0].components)
    return np.asarray(size * way / np.linalg.norm(way))


def _bench() -> LoadCase:
    frontal, sagittal = np.tan(np.radians(ISO_ANGLES))
    way = -np.array([frontal, sagittal, 1.0])
    x, y, z = (ISO_FORCE * way / np.linalg.norm(way)).tolist()
    note = "The stem is held in cement up to a level below the head that depends on its length."
    return LoadCase(
        "iso_7206_4", "largest force of the cycle", "stem",
        (Force("head", "joint", (x, y, z), ISO, False),), True, ISO_LEAST, (note,),
    )  # fmt: skip


#: Loads by name.
HIP_LOADS = MappingProxyType({
    one.name: one
    for one in (
        _WALKING,
        _STAIRS,
        joint_only("walking_measured", "both peaks of level walking, ten patients", "femur",
                   "head", (-67.7, -23.6, -235.8), ORTHOLOAD, read=True, notes=(ALONE,)),
        joint_only("one_legged_stance", "plateau of standing on one leg, ten patients", "femur",
                   "head", (-73.6, -15.0, -248.8), ORTHOLOAD, read=True, notes=(ALONE,)),
        joint_only("standing_up", "peak of standing up from a chair, nine patients", "femur",
                   "head", (-86.1, -23.4, -194.5), ORTHOLOAD, read=True, notes=(ALONE,)),
        joint_only("stumbling", "largest force measured", "femur", "head",
                   _along_walking(870.0).tolist(), STUMBLE, read=False, notes=(ALONE,)),
        _bench(),
    )
})  # fmt: skip


def hip_load(name: str) -> LoadCase:
    """A load by its name; see the table of this module.

    Raises:
        InputError: no such load.
    """
    return load_of(HIP_LOADS, name, "hip")


def attachments(
    surface: TriangleSurface, frame: AnatomicalFrame, head_radius: float
) -> tuple[dict[str, Vector], tuple[str, ...]]:
    """Points (mm) on a femur's surface that muscles of `hip_load` pull at, and notes.

    The trochanter's is the outermost point of the lateral proximal bone; the vasti's lie on the
    surface at given heights below the head, on a shorter bone just above its end.

    Args:
        surface: The bone.
        frame: Its frame.
        head_radius: Radius of the head (mm), the measure of all heights.

    Raises:
        InputError: the bone does not reach far enough.
    """
    places = frame.place(surface.points) / head_radius
    near = (places[:, 2] > TROCHANTER[0]) & (places[:, 2] < TROCHANTER[1]) & (places[:, 0] < -1.0)
    if not near.any():
        raise InputError(
            "femur", "no bone lies lateral of the head where the greater trochanter is.",
            "Check the side and the landmarks.",
        )  # fmt: skip
    outermost = np.argmax(np.where(near, places @ np.array(BESIDE), -np.inf))
    found = {"greater_trochanter": surface.points[outermost]}
    lowest = float(places[:, 2].min()) + 3.0 * SLICE
    notes = []
    for name, (height, (medial, anterior)) in VASTI.items():
        at = max(height, lowest)
        if at > -2.0:
            raise InputError(
                "femur", f"the bone ends {-lowest:.1f} head radii below the head.",
                "Take a longer piece, or the joint's force alone: `hip_load(...).only('joint')`.",
            )  # fmt: skip
        if at > height:
            notes.append(f"`{name}` pulls at the end of the bone, higher than it does.")
        slice_ = np.abs(places[:, 2] - at) < SLICE
        if not slice_.any():
            raise InputError("femur", f"no points of the surface near `{name}`.",
                             "Take a finer surface.")  # fmt: skip
        way = np.array([medial, anterior, 0.0])
        # Off the shaft's middle there, so that the neck's side plays no part.
        middle = 0.5 * (places[slice_].min(axis=0) + places[slice_].max(axis=0))
        best = np.argmax(np.where(slice_, (places - middle) @ way, -np.inf))
        found[name] = surface.points[best]
    return found, tuple(notes)
