"""All landmarks by organ, and how they are found: automatically, or from 3D Slicer's markups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.image.markups import Markup, read_markups
from organtwin.image.volume import Image, LabelMap
from organtwin.landmarks.aorta import aorta_landmarks
from organtwin.landmarks.femur import femur_landmarks
from organtwin.landmarks.hips import hip_landmarks, surface_of
from organtwin.landmarks.names import AORTA, LEFT_ATRIUM, PULMONARY_ARTERY, RIGHT_ATRIUM
from organtwin.landmarks.placed import placed, same
from organtwin.landmarks.record import Curve, Landmark, Line, Plane, Point, Sphere
from organtwin.landmarks.tibia import tibia_landmarks
from organtwin.landmarks.ventricles import ventricle_landmarks
from organtwin.mesh.surface_files import TriangleSurface

type Given = Mapping[str, Landmark]

#: Organ → labels that its landmarks are about, as far as there.
ABOUT: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "aorta": (*AORTA, "lv_blood"),
    "ventricles": ("lv_myocardium", "lv_blood", "rv_blood", *LEFT_ATRIUM, *RIGHT_ATRIUM, *AORTA,
                   *PULMONARY_ARTERY),
    "femur": ("femur",),
    "tibia": ("tibia", "fibula"),
    "hips": ("femur_left", "hip_left", "femur_right", "hip_right"),
})  # fmt: skip
#: Organ → name of each landmark → what it is. A person may place any of them.
CATALOGUE: Mapping[str, Mapping[str, type]] = MappingProxyType({
    "aorta": {
        "aortic_centreline": Curve, "hinge_right": Point, "hinge_left": Point,
        "hinge_non_coronary": Point, "aortic_annulus": Plane, "sinotubular_junction": Plane,
        "coronary_ostium_right": Point, "coronary_ostium_right_2": Point,
        "coronary_ostium_left": Point, "coronary_ostium_left_2": Point,
    },
    "ventricles": {
        "mitral_valve": Plane, "aortic_valve": Plane, "tricuspid_valve": Plane,
        "pulmonary_valve": Plane, "lv_opening": Plane, "rv_opening": Plane, "lv_apex": Point,
        "rv_apex": Point, "lv_long_axis": Line, "rv_long_axis": Line, "lv_apex_outside": Point,
    },
    "femur": {
        "femoral_head": Sphere, "femoral_head_centre": Point, "femoral_neck_axis": Line,
        "femoral_shaft_axis": Line, "posterior_condylar_line": Line, "lesser_trochanter": Point,
    },
    "tibia": {
        "tibial_plateau": Plane, "tibial_axis": Line, "plateau_medial": Point,
        "plateau_lateral": Point,
    },
    "hips": {
        "femoral_head_left": Sphere, "femoral_head_right": Sphere,
        "acetabulum_left": Sphere, "acetabulum_right": Sphere,
    },
})  # fmt: skip


def landmarks_of(
    organ: str,
    source: LabelMap | TriangleSurface,
    *,
    image: Image | None = None,
    overrides: str | Path | Sequence[Markup] | None = None,
) -> tuple[Landmark, ...]:
    """Landmarks of an organ; what a person has placed wins.

    Args:
        organ: ``aorta``, ``ventricles``, ``femur``, ``tibia`` or ``hips``.
        source: Label map; for femur and tibia the surface of the bone or a label map with it, in
            which a label ``fibula`` tells lateral from medial.
        image: Scan on the grid of the labels, for the aorta.
        overrides: ``.mrk.json`` file of 3D Slicer, or markups. Those with the name of a landmark of
            this organ replace it, and what depends on it follows. Those that lie where they are
            found without it count as found. Names of other organs' landmarks are passed over.

    Raises:
        InputError: the organ is unknown or the source is of another kind; a markup has no
            landmark's name or is of another kind; see the functions of the organs.
    """
    given = given_for(organ, overrides)
    finder = _finder(organ, source, image)
    found = finder(_changed(given, finder)) if given else finder({})
    order = list(CATALOGUE[organ])
    return tuple(sorted(found, key=lambda landmark: order.index(landmark.name)))


def placed_by_hand(
    organ: str,
    source: LabelMap | TriangleSurface,
    image: Image | None = None,
    overrides: str | Path | Sequence[Markup] | None = None,
) -> dict[str, Landmark]:
    """What a person placed or moved, without what is found there anyway.

    Args:
        organ: See `landmarks_of`.
        source: See `landmarks_of`.
        image: See `landmarks_of`.
        overrides: See `landmarks_of`.

    Raises:
        InputError: the organ is unknown; a markup has no landmark's name or is of another kind.
    """
    given = given_for(organ, overrides)
    return _changed(given, _finder(organ, source, image)) if given else {}


def _finder(
    organ: str, source: LabelMap | TriangleSurface, image: Image | None
) -> Callable[[Given], tuple[Landmark, ...]]:
    """What finds the landmarks of an organ, given those that a person placed."""
    finders: Mapping[str, Callable[[Given], tuple[Landmark, ...]]] = {
        "aorta": lambda some: aorta_landmarks(_labels(organ, source), image, some),
        "ventricles": lambda some: ventricle_landmarks(_labels(organ, source), some),
        "femur": lambda some: femur_landmarks(_surface(organ, source), some),
        "tibia": lambda some: tibia_landmarks(
            _surface(organ, source), some, fibula=_fibula(source)
        ),
        "hips": lambda some: hip_landmarks(_labels(organ, source), some),
    }
    return finders[organ]


def _changed(given: Given, finder: Callable[[Given], tuple[Landmark, ...]]) -> dict[str, Landmark]:
    """What a person placed or moved, without what is found there anyway.

    A file that was written and saved again holds all landmarks. Those that lie where they are found
    without it are automatic, and so are planes and lines that follow from the points that remain.
    """
    left = _unlike(given, given, {}, finder)
    firm = {n: mark for n, mark in left.items() if not isinstance(mark.geometry, Plane | Line)}
    if 0 < len(firm) < len(left):
        left = _unlike(left, {n: mark for n, mark in left.items() if n not in firm}, firm, finder)
    return left


def _unlike(
    left: Given, asked: Given, known: Given, finder: Callable[[Given], tuple[Landmark, ...]]
) -> dict[str, Landmark]:
    """Landmarks without those asked for that come out the same from what is known."""
    try:
        found = {landmark.name: landmark.geometry for landmark in finder(known)}
    except InputError:  # nothing is found there without a person
        return dict(left)
    return {
        name: landmark
        for name, landmark in left.items()
        if name not in asked or name not in found or not same(found[name], landmark.geometry)
    }


def given_for(organ: str, overrides: str | Path | Sequence[Markup] | None) -> dict[str, Landmark]:
    """Landmarks of an organ in a file of 3D Slicer or in markups, all as if placed.

    Args:
        organ: See `landmarks_of`.
        overrides: See `landmarks_of`.

    Raises:
        InputError: the organ is unknown; a markup has no landmark's name or is of another kind.
    """
    if organ not in CATALOGUE:
        raise InputError("landmarks", f"no organ `{organ}`.", suggestion(organ, CATALOGUE))
    if overrides is None:
        return {}
    if isinstance(overrides, str | Path):
        kinds = {name: kind for names in CATALOGUE.values() for name, kind in names.items()}
        every = placed(read_markups(overrides), kinds, f"markups {Path(overrides).name}")
    else:
        kinds = {name: kind for names in CATALOGUE.values() for name, kind in names.items()}
        every = placed(overrides, kinds, "markups")
    return {name: landmark for name, landmark in every.items() if name in CATALOGUE[organ]}


def _labels(organ: str, source: LabelMap | TriangleSurface) -> LabelMap:
    if not isinstance(source, LabelMap):
        raise InputError(organ, "these landmarks are found in labels, not on a surface.",
                         "Give a label map.")  # fmt: skip
    return source


def _surface(organ: str, source: LabelMap | TriangleSurface) -> TriangleSurface:
    return source if isinstance(source, TriangleSurface) else surface_of(source, organ)


def _fibula(source: LabelMap | TriangleSurface) -> NDArray[np.float64] | None:
    """Voxels of the fibula, where it is labelled."""
    if not isinstance(source, LabelMap) or "fibula" not in source.names:
        return None
    found = np.argwhere(source.mask("fibula"))
    return source.points(found) if len(found) else None
