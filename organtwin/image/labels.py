"""From a whole-heart label map to biventricular tissue with an open, flat base."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.errors import InputError, suggestion
from organtwin.image.base_plane import BasePlane, find_base_plane
from organtwin.image.geometry import REGIONS, Geometry
from organtwin.image.resample import Grid, corners, majority, nearest, smoothed
from organtwin.image.ventricular_walls import with_walls
from organtwin.image.volume import LabelMap
from organtwin.image.wellcomposed import well_composed
from organtwin.units import ML

#: Labels that `biventricular` can't do without.
REQUIRED = ("lv_myocardium", "lv_blood", "rv_blood")
#: Thinnest LV wall (mm); where the label map has less the wall is grown.
THINNEST_LV_WALL = 3.0
#: A second piece of a label larger than this part of the first is an error, smaller is dropped.
LARGEST_ISLAND = 0.05
#: Blood of a ventricle that has to lie below the base, as a part of its label.
LEAST_BLOOD = 0.3
#: Radius to which the grooves between the ventricles are rounded (RV wall thicknesses).
GROOVE = 2.0

type Mask = NDArray[np.bool_]


def biventricular(
    labels: LabelMap,
    *,
    resolution: float = 1.0,
    smoothing: float = 1.0,
    rv_wall_thickness: float = 3.0,
) -> Geometry:
    """Biventricular myocardium: the labelled LV wall, an RV free wall that is labelled or grown.

    Args:
        labels: Label map with at least ``lv_myocardium``, ``lv_blood``, ``rv_blood``, or
            ``myocardium`` for both ventricles; the atria (``left_atrium``, ``right_atrium``),
            ``aorta`` and ``pulmonary_artery`` tell where the valves are.
        resolution: Voxel size to work on (mm).
        smoothing: Standard deviation of the Gaussian that smooths each label (mm).
        rv_wall_thickness: Thickness of the RV free wall (mm), the least where it is labelled.

    Returns:
        Tissue and cavities below the base plane, and the decisions taken.

    Raises:
        InputError: a label is missing or in two large pieces, or no base plane is possible.
    """
    labels = with_walls(labels)
    _check(labels, resolution, smoothing, rv_wall_thickness)
    walls = [name for name in ("rv_myocardium",) if name in labels.names]
    decisions: list[str] = []
    # 2 mm suffice to look for islands and to place a plane; single voxels must not count in it.
    coarse = Grid.around(corners(labels), max(2.0, resolution), np.eye(3), 4.0)
    survey = majority(nearest(labels, coarse))
    for name in REQUIRED:
        _refuse_pieces(survey, name)
    plane = find_base_plane(survey)
    decisions.append(_describe_plane(plane, survey))
    room = 2.0 * GROOVE * rv_wall_thickness  # in it walls are grown before they are cut
    grid, top = _aligned_grid(survey, plane, resolution, room)
    fine = smoothed(labels, grid, [*REQUIRED, *walls], smoothing)
    decisions.append(
        f"Labels were resampled to {resolution:g} mm voxels aligned with the base and smoothed "
        f"with a Gaussian of {smoothing:g} mm."
    )
    wall, lv, rv = (_largest_piece(fine, name, decisions) for name in REQUIRED)
    right = fine.mask(*walls) if walls else np.zeros_like(wall)
    values = _grow(
        wall, lv, rv, right, fine.mask("other"), top, rv_wall_thickness, resolution, decisions
    )
    values[:, :, top:] = 0
    values = _tidy(values, top, decisions, resolution**3)
    regions = grid.labels(values[:, :, : top + 2].copy(), dict(REGIONS))
    volumes = {name: regions.volume_ml(name) for name in REGIONS}
    decisions.append(_describe_volumes(volumes, labels))
    labelled = {name: labels.volume_ml(name) for name in ("lv_blood", "rv_blood")}
    _refuse_lost_blood(volumes, labelled)
    return Geometry(regions, plane.point, plane.normal, tuple(decisions), volumes, labelled)


def _check(labels: LabelMap, resolution: float, smoothing: float, thickness: float) -> None:
    for name in REQUIRED:
        if name not in labels.names:
            raise InputError(
                "biventricular", f"label `{name}` is missing.", suggestion(name, labels.names)
            )
        if not labels.mask(name).any():
            raise InputError(
                "biventricular",
                f"no voxel has label {labels.names[name]} (`{name}`).",
                "Correct [image.labels].",
            )
    for name, value, low, high in (
        ("resolution", resolution, 0.3, 3.0),
        ("smoothing", smoothing, 0.0, 5.0),
        ("rv_wall_thickness", thickness, 1.0, 12.0),
    ):
        if not low <= value <= high:
            raise InputError(
                f"[geometry] {name}",
                f"{value:g} mm is outside {low:g} to {high:g} mm.",
                "Choose a value in this range.",
            )


def _aligned_grid(
    survey: LabelMap, plane: BasePlane, resolution: float, room: float
) -> tuple[Grid, int]:
    """Grid whose third axis is the plane's normal; index of the first layer above the plane."""
    rv = survey.points(np.argwhere(survey.mask("rv_blood"))).mean(axis=0) - plane.apex
    first = rv - (rv @ plane.normal) * plane.normal
    first /= np.linalg.norm(first)
    direction = np.column_stack([first, np.cross(plane.normal, first), plane.normal])
    tissue = survey.points(np.argwhere(survey.mask(*REQUIRED)))
    below = tissue[tissue @ plane.normal < plane.point @ plane.normal + 2.0]
    grid = Grid.around(below, resolution, direction, room)
    height = plane.point @ plane.normal
    floor = grid.origin @ plane.normal
    layers = int(np.ceil((height - floor) / resolution))
    # Shift the grid so that the plane runs between two layers of voxel centres.
    shift = height - (floor + (layers - 0.5) * resolution)
    shape = (grid.shape[0], grid.shape[1], layers + int(np.ceil(room / resolution)))
    origin = grid.origin + shift * plane.normal
    return Grid(shape, resolution, origin, direction), layers


def _refuse_lost_blood(volumes: Mapping[str, float], labelled: Mapping[str, float]) -> None:
    for name, whole in labelled.items():
        if volumes[name] < LEAST_BLOOD * whole:
            raise InputError(
                f"label `{name}`",
                f"only {volumes[name]:.1f} of its {whole:.1f} mL lie within the heart below the "
                "base.",
                "Look at the labels: those of blood and muscle, or of the sides, may be swapped.",
            )


def _refuse_pieces(survey: LabelMap, name: str) -> None:
    pieces, _ = ndimage.label(survey.mask(name), np.ones((3, 3, 3)))
    volumes = np.sort(np.bincount(pieces.ravel())[1:])[::-1] * survey.voxel_volume / ML
    if len(volumes) > 1 and volumes[1] > LARGEST_ISLAND * volumes[0]:
        raise InputError(
            f"label `{name}`",
            f"is in disconnected pieces of {volumes[0]:.2f} mL and {volumes[1]:.2f} mL.",
            "Join them or delete the wrong one in the segmentation.",
        )


def _largest_piece(labels: LabelMap, name: str, decisions: list[str]) -> Mask:
    pieces, number = ndimage.label(labels.mask(name))
    if number == 0:
        raise InputError(
            f"label `{name}`", "vanished in the smoothing.", "Lower [geometry] smoothing."
        )
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    largest = int(np.argmax(sizes))
    if number > 1:
        islands = (sizes.sum() - sizes[largest]) * labels.voxel_volume / ML
        decisions.append(
            f"{number - 1} island(s) of `{name}`, {islands:.3f} mL in all, were dropped."
        )
    return np.asarray(pieces == largest)


def _grow(
    wall: Mask, lv: Mask, rv: Mask, right: Mask, other: Mask, top: int, thickness: float, h: float,
    decisions: list[str],
) -> NDArray[np.uint8]:  # fmt: skip
    """Regions on the grid with headroom: LV wall closed, RV wall grown, grooves filled."""
    ml = h**3 / ML
    lv = ndimage.binary_fill_holes(lv)
    # Half a voxel lies between the outermost centres of the blood and its surface.
    to_lv = ndimage.distance_transform_edt(~lv) * h - 0.5 * h
    lv_tissue = (wall & ~lv) | ((to_lv <= THINNEST_LV_WALL) & ~lv)
    grown = lv_tissue & ~wall
    decisions.append(
        f"The LV wall was grown to at least {THINNEST_LV_WALL:g} mm where it was thinner or had "
        f"holes: {np.count_nonzero(grown[:, :, :top]) * ml:.2f} mL below the base, of which "
        f"{np.count_nonzero((grown & rv)[:, :, :top]) * ml:.2f} mL were RV blood."
    )
    rv = rv & ~lv_tissue
    to_rv = ndimage.distance_transform_edt(~rv) * h - 0.5 * h
    rv_tissue = ((to_rv <= thickness) | right) & ~rv & ~lv & ~lv_tissue
    taken = np.count_nonzero((rv_tissue & other)[:, :, :top])
    labelled = np.count_nonzero((rv_tissue & right)[:, :, :top])
    decisions.append(
        f"The RV free wall was grown {thickness:g} mm outwards from the RV cavity where no LV "
        f"tissue lies; {taken * ml:.2f} mL of it took the place of atria or arteries below the "
        "base." + (f" {labelled * ml:.2f} mL of the RV wall are labelled." if labelled else "")
    )
    solid = lv | rv | lv_tissue | rv_tissue
    radius = GROOVE * thickness
    pad = int(np.ceil(radius / h)) + 1
    dilated = ndimage.distance_transform_edt(~np.pad(solid, pad)) * h <= radius
    closed = (ndimage.distance_transform_edt(dilated) * h > radius)[pad:-pad, pad:-pad, pad:-pad]
    groove = closed & ~solid & (to_rv <= 3.0 * thickness)
    decisions.append(
        f"The grooves where the RV wall meets the LV were filled with RV tissue, rounded to "
        f"{radius:g} mm: {np.count_nonzero(groove[:, :, :top]) * ml:.2f} mL below the base."
    )
    values = np.zeros(lv.shape, np.uint8)
    values[rv_tissue | groove] = REGIONS["rv"]
    values[lv_tissue] = REGIONS["lv"]
    values[lv] = REGIONS["lv_blood"]
    values[rv] = REGIONS["rv_blood"]
    return values


def _tidy(
    values: NDArray[np.uint8], top: int, decisions: list[str], voxel: float
) -> NDArray[np.uint8]:
    """One piece of everything, no pockets, and a surface that is a manifold."""
    before = values.copy()
    for name, fill in (("lv_blood", "lv"), ("rv_blood", "rv")):
        values[_all_but_largest(values == REGIONS[name])] = REGIONS[fill]
    # Pockets of background between the walls become tissue; the largest piece is the outside.
    below = values[:, :, :top]
    pocket = _all_but_largest(below == 0)
    below[pocket] = REGIONS["rv"]
    tissue = (values == REGIONS["lv"]) | (values == REGIONS["rv"])
    values[_all_but_largest(tissue)] = 0
    for name, other in (("rv", "lv"), ("lv", "rv")):
        values[_all_but_largest(values == REGIONS[name])] = REGIONS[other]
    values = well_composed(values, (REGIONS["lv"], REGIONS["rv"]), REGIONS["rv"], top)
    changed = np.count_nonzero(values != before) * voxel / ML
    decisions.append(
        f"Loose fragments, pockets and voxels that touch by an edge only: {changed:.2f} mL changed."
    )
    return values


def _all_but_largest(mask: Mask) -> Mask:
    pieces, number = ndimage.label(mask)
    if number < 2:
        return np.zeros_like(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray(mask & (pieces != int(np.argmax(sizes))))


def _describe_plane(plane: BasePlane, survey: LabelMap) -> str:
    kept = []
    for name in REQUIRED:
        points = survey.points(np.argwhere(survey.mask(name)))
        part = float(np.mean((points - plane.point) @ plane.normal < 0))
        kept.append(f"{100 * part:.0f} % of {name}")
    length = float(np.linalg.norm(plane.point - plane.apex))
    return (
        f"The base was cut {length:.1f} mm from the tip of the LV cavity by the plane below the "
        f"valves ({', '.join(plane.valves)}) that keeps most of the ventricles, tilted "
        f"{plane.tilt:.0f} degrees against the LV long axis; kept are {', '.join(kept)}."
    )


def _describe_volumes(volumes: Mapping[str, float], labels: LabelMap) -> str:
    return (
        f"Below the base lie {volumes['lv']:.1f} mL of LV and {volumes['rv']:.1f} mL of RV tissue "
        f"(the label map had {labels.volume_ml('lv_myocardium'):.1f} mL of LV wall); the cavities "
        f"hold {volumes['lv_blood']:.1f} and {volumes['rv_blood']:.1f} mL."
    )
