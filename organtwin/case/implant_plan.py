"""First stage of an implant's case: bone, implant, fit and mesh, and what will be computed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.bone.calibration import Calibration, default, from_rods
from organtwin.bone.laws import Stiffness, stiffness
from organtwin.bone.scan import check_scan, refuse_unless_hounsfield
from organtwin.bone.tissues import from_tissues
from organtwin.case.implant_files import write_plan
from organtwin.case.progress import Progress
from organtwin.case.schema_implant import Bone, ImplantCase, ImplantMesh
from organtwin.errors import InputError
from organtwin.image.readers import read_image, read_labels
from organtwin.image.resample import nearest_on
from organtwin.image.segmentations import read_segmentation
from organtwin.image.volume import Image, LabelMap
from organtwin.landmarks.catalogue import landmarks_of
from organtwin.mesh.defects import inspect
from organtwin.mesh.surface_files import TriangleSurface, read_surface
from organtwin.orthopaedics.anatomical_frames import AnatomicalFrame, femoral_frame
from organtwin.orthopaedics.assembly import Assembly, Fineness
from organtwin.orthopaedics.bone_model import grown
from organtwin.orthopaedics.hip_plan import StemSeat, hip_operation
from organtwin.orthopaedics.hip_site import HipStemOptions, whole_femur
from organtwin.orthopaedics.hip_stem import hip_stem
from organtwin.orthopaedics.holding import held, without_muscles
from organtwin.orthopaedics.joint_loads import weight_of
from organtwin.orthopaedics.operation import Operation
from organtwin.surgery.bodies import bodies_of_labels, bodies_of_surfaces

logger = logging.getLogger(__name__)

type Vector = NDArray[np.float64]

#: Pieces of a label beside the bone that are told (mL).
ISLANDS = 0.05
#: Law of each kind where the case names none.
LAWS = {
    "hip_stem": "keyak_1998", "pedicle_screw": "kopperdahl_2002", "tibial_plateau": "keyak_1994",
}  # fmt: skip
#: Edge lengths of each kind (mm) where the case gives none: bone, implant, interface, voxel.
SIZES = {
    "hip_stem": (6.0, 4.0, 3.5, 1.4), "pedicle_screw": (3.6, 2.2, 1.9, 0.9),
    "tibial_plateau": (5.0, 2.4, 2.4, 0.9),
}  # fmt: skip
#: Loads where the case names none.
USUAL = {
    "hip_stem": ("walking", "stairs_up"), "pedicle_screw": ("walking", "pull_out"),
    "tibial_plateau": ("walking",),
}  # fmt: skip


def plan(case: ImplantCase, folder: Path, progress: Progress) -> None:
    """Find the bone, place and fit the implant, mesh both, and write `implant_files.PLANNED`.

    Raises:
        InputError: files that can't be used, or what the operation refuses, such as a stem that is
            larger than the canal.
        MeshError: no valid mesh came out.
    """
    progress(0.02, "bone")
    scan = read_scan(case.bone)
    if scan is not None:
        refuse_unless_hounsfield(scan)
    line = calibration_of(case.bone, scan)
    notes = (
        check_scan(scan, calibration=line, bone=marked(case.bone, scan)) if scan is not None else ()
    )
    islands = left_out(read_bone_labels(case.bone), case.bone.label) if case.bone.label else ()
    progress(0.1, "implant")
    made, operation, frame, told = _PLANNERS[case.kind](case, scan)
    operation, bound = bounded(case, operation, frame)
    progress(0.9, "writing")
    decisions = [*notes, *islands, *line.warnings, str(line), *made.notes, *told, *bound]
    write_plan(folder, made, operation, frame, line, tuple(dict.fromkeys(decisions)))


def bounded(
    case: ImplantCase, operation: Operation, frame: AnatomicalFrame
) -> tuple[Operation, tuple[str, ...]]:
    """The operation with its bone held, and muscles acting, as the case says; notes."""
    made, note = held(operation, case.bone.held, frame)
    notes = [note]
    if case.bone.outwards:
        notes.append(f"The bone's surface is moved outwards by {case.bone.outwards:g} mm.")
    if not case.loads.muscles:
        made, note = without_muscles(made)
        notes.append(note)
    return made, tuple(note for note in notes if note)


def activities(case: ImplantCase) -> tuple[str, ...]:
    """Names of the loads."""
    return case.loads.activities or USUAL[case.kind]


def fineness_of(case: ImplantCase) -> Fineness:
    """Edge lengths: the case's own, the others as usual."""
    section: ImplantMesh = case.mesh
    own = (section.bone, section.implant, section.interface, section.voxel)
    values = [a or b for a, b in zip(own, SIZES[case.kind], strict=True)]
    return Fineness(*values)


def law_of(case: ImplantCase, line: Calibration) -> Stiffness:
    """From density to modulus."""
    name = LAWS[case.kind] if case.bone.law == "auto" else case.bone.law
    return stiffness(name, line.mineral)


def calibration_of(bone: Bone, scan: Image | None) -> Calibration:
    """The line that the case asks for.

    Raises:
        InputError: it needs a scan, and there is none; see `organtwin.bone.calibration`.
    """
    if bone.calibration in ("tissues", "rods") and scan is None:
        raise InputError(
            "[bone] calibration", f'"{bone.calibration}" needs a scan.',
            'Give `scan`, or calibration = "default".',
        )  # fmt: skip
    if bone.calibration == "given":
        assert bone.slope is not None
        return Calibration(bone.intercept, bone.slope, kind="given")
    if scan is None or bone.calibration == "default":
        return default()
    if bone.calibration == "tissues":
        return from_tissues(scan)
    rods = {rod.density: (np.array(rod.start), np.array(rod.end)) for rod in bone.rods}
    return from_rods(scan, rods, radius=bone.rod_radius)


def read_scan(bone: Bone) -> Image | None:
    """The scan, if there is one.

    Raises:
        InputError: it can't be read, or has phases.
    """
    if bone.scan is None:
        return None
    found = read_image(bone.scan)
    if not isinstance(found, Image):
        raise InputError(str(bone.scan), "the scan has phases.", "Give one of them.")
    return found


def read_bone_labels(bone: Bone, others: Sequence[str] = ()) -> LabelMap:
    """Labels with the bone and others that are needed.

    Raises:
        InputError: a label is not in the file.
    """
    assert bone.labels is not None
    assert bone.label is not None
    if bone.names is not None:
        found = read_labels(bone.labels, bone.names)
    else:
        found = read_segmentation(bone.labels, [bone.label, *others]).labels
    found.mask(bone.label, *others)
    return found


def left_out(labels: LabelMap, name: str) -> tuple[str, ...]:
    """What is told of pieces of a label that hang on nothing: the largest alone is the bone."""
    numbers, count = ndimage.label(labels.mask(name), structure=np.ones((3, 3, 3)))
    sizes = np.sort(np.bincount(numbers.ravel())[1:])[::-1] * labels.voxel_volume / 1000.0
    if count < 2 or sizes[1:].sum() < ISLANDS:
        return ()
    told = (
        f"`{name}` lies in {count} pieces: the largest ({sizes[0]:.1f} mL) is taken, "
        f"{sizes[1:].sum():.1f} mL are left out. Join what belongs to it in the segmentation."
    )
    logger.warning("%s", told)
    return (told,)


def marked(bone: Bone, scan: Image) -> NDArray[np.bool_] | None:
    """Voxels of the scan in which the labels show the bone; None of a bone that is a surface."""
    if bone.labels is None or bone.label is None:
        return None
    return nearest_on(read_bone_labels(bone), scan).mask(bone.label)


def read_bone(bone: Bone, voxel: float) -> TriangleSurface:
    """Surface of the bone, from its file or its label, moved as far outwards as it says.

    Raises:
        InputError: see `read_bone_labels`; a surface has holes; nothing is left of it.
    """
    if bone.surface is not None:
        read = read_surface(bone.surface)
        holes = inspect(read, intersections=False).loops
        if holes:
            raise InputError(
                str(bone.surface),
                f"it is no closed surface: {len(holes)} holes, the largest with a rim of "
                f"{holes[0].length:.0f} mm at {np.round(holes[0].place).tolist()} mm.",
                "Close them: `organtwin surface FILE --repair CLOSED.stl`.",
            )
        if not bone.outwards:
            return read
        found, name = bodies_of_surfaces({"bone": read}, voxel), "bone"
    else:
        assert bone.label is not None
        name = bone.label
        found = bodies_of_labels(read_bone_labels(bone), (name,), voxel=voxel)
    return grown(found, name, bone.outwards).surface(name)


def with_material(made: Assembly, name: str) -> Assembly:
    """The same of another material, unless that is ``auto``."""
    if name == "auto":
        return made
    return replace(made, implants=dict.fromkeys(made.implants, name))


type _Made = tuple[Assembly, Operation, AnatomicalFrame, Sequence[str]]


def _hip(case: ImplantCase, scan: Image | None) -> _Made:
    section, fine = case.hip_stem, fineness_of(case)
    assert section is not None
    bone = read_bone(case.bone, fine.voxel)
    options = HipStemOptions(
        family=section.family, size=None if section.size == "auto" else section.size,
        calcar=section.neck_cut, neck=None if section.neck == "auto" else section.neck,
        head=section.head, version=float(np.radians(section.version)), ream=section.ream,
        keep=section.keep, longer=section.longer, beyond=section.beyond, fineness=fine,
    )  # fmt: skip
    by_hand = case.bone.landmarks
    side = case.bone.side
    template = read_surface(section.template) if section.template is not None else None
    made = hip_stem(bone, options, scan=scan, overrides=by_hand, side=side, template=template)
    if template is not None:
        bone = whole_femur(bone, template, side, options, []).surface
    made = with_material(made, section.material)
    marks = landmarks_of("femur", bone, overrides=by_hand)
    frame = femoral_frame(marks, side=side)
    seat = StemSeat(
        section.friction, section.friction_polished, section.interference, section.ingrown
    )
    weight = weight_of(case.loads.mass)
    operation, told = hip_operation(made, bone, marks, frame, weight, activities(case), seat)
    return made, replace(operation, poisson=case.bone.poisson), frame, told


def _screws(case: ImplantCase, scan: Image | None) -> _Made:
    from organtwin.case.implant_spine import screws  # they share the pieces above

    return screws(case, scan)


def _plateau(case: ImplantCase, scan: Image | None) -> _Made:
    from organtwin.case.implant_plateau import plateau  # they share the pieces above

    return plateau(case, scan)


_PLANNERS: dict[str, Any] = {
    "hip_stem": _hip, "pedicle_screw": _screws, "tibial_plateau": _plateau,
}  # fmt: skip
