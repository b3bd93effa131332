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
from organtwin.landmarks.placed import placed
from organtwin.landmarks.record import Curve, Landmark, Line, Plane, Point, Sphere
from organtwin.landmarks.tibia import tibia_landmarks
from organtwin.landmarks.ventricles import ventricle_landmarks
from organtwin.mesh.surface_files import TriangleSurface

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
            this organ replace it, and what depends on it follows. Names of other organs' landmarks
            are passed over.

    Raises:
        InputError: the organ is unknown or the source is of another kind; a markup has no
            landmark's name or is of another kind; see the functions of the organs.
    """
    if organ not in CATALOGUE:
        raise InputError("landmarks", f"no organ `{organ}`.", suggestion(organ, CATALOGUE))
    given = _given(organ, overrides)
    finders: Mapping[str, Callable[[], tuple[Landmark, ...]]] = {
        "aorta": lambda: aorta_landmarks(_labels(organ, source), image, given),
        "ventricles": lambda: ventricle_landmarks(_labels(organ, source), given),
        "femur": lambda: femur_landmarks(_surface(organ, source), given),
        "tibia": lambda: tibia_landmarks(_surface(organ, source), given, fibula=_fibula(source)),
        "hips": lambda: hip_landmarks(_labels(organ, source), given),
    }
    found = finders[organ]()
    order = list(CATALOGUE[organ])
    return tuple(sorted(found, key=lambda landmark: order.index(landmark.name)))


def _given(organ: str, overrides: str | Path | Sequence[Markup] | None) -> dict[str, Landmark]:
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
