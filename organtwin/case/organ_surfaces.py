"""Walls cut out of an organ's mesh, with the surfaces that the rules of anatomy want."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvista as pv
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.case.organ import Source
from organtwin.case.organ_tissues import LeftAtrium, Marks, RightAtrium, Ventricles, Vessel
from organtwin.errors import InputError, suggestion
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.surface_files import read_surface
from organtwin.mesh.tissue import Borders, Place, Wall, cut_out, numbers_of, wall_of
from organtwin.mesh.ventricle_surfaces import in_free_wall, surfaces_by_shape
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.units import ML

type Mask = NDArray[np.bool_]

#: Farther than this many edges from all marks a triangle has none.
FAR = 2.0


@dataclass(frozen=True)
class Part:
    """A wall cut out of a mesh.

    Attributes:
        mesh: The wall, its regions and surfaces named as rules want them.
        cells: Index of its cells in the whole mesh.
        regions: Integers of its regions there.
        decisions: What was done, one sentence each.
    """

    mesh: TetrahedralMesh
    cells: NDArray[np.int64]
    regions: tuple[int, ...]
    decisions: tuple[str, ...]


def vessel_part(mesh: TetrahedralMesh, borders: Borders, section: Vessel, place: str) -> Part:
    """Wall of a vessel with the surfaces ``inner``, ``outer``, ``inlet``, ``outlets``."""
    wall = wall_of(mesh, borders, section.wall, section.lumen, place)
    ends = {"inlet": section.inlet, "outlets": section.outlets}
    return _part(mesh, wall, section.wall, _ends(wall, ends), ("inner", "outer"))


def atrium_part(
    mesh: TetrahedralMesh, borders: Borders, section: LeftAtrium | RightAtrium, place: str
) -> Part:
    """Wall of an atrium with the surfaces ``endo``, ``epi`` and its rings."""
    wall = wall_of(mesh, borders, section.wall, section.blood, place)
    keys = (
        ("mitral", "left_veins", "right_veins")
        if isinstance(section, LeftAtrium)
        else ("tricuspid", "superior", "inferior")
    )
    ends = _ends(wall, {key: getattr(section, key) for key in keys})
    return _part(mesh, wall, section.wall, ends, ("endo", "epi"))


def ventricles_part(
    mesh: TetrahedralMesh, borders: Borders, section: Ventricles, source: Source
) -> Part:
    """Ventricles with regions ``lv``, ``rv``, surfaces ``lv_endo``, ``rv_endo``, ``epi``, ``base``.

    Without the right ones for the left ventricle alone.
    """
    place = "[anatomy.ventricles]"
    wall = wall_of(mesh, borders, section.muscle, (*section.lv_blood, *section.rv_blood), place)
    told: tuple[str, ...] = ()
    if section.marks:
        masks = _marked(wall, section.marks, source)
    elif section.lv_blood:
        masks = _by_blood(mesh, wall, section, place)
    else:
        masks = surfaces_by_shape(wall.points, wall.triangles, place)
        told = ("The surfaces of the ventricles were told by shape, from the flat base.",)
    surfaces = {name: wall.triangles[mask] for name, mask in masks.items() if mask.any()}
    muscle = np.isin(mesh.regions, wall.wall)
    free = np.zeros(len(mesh.cells), bool)
    if section.rv_wall:
        free = np.isin(mesh.regions, numbers_of(mesh, section.rv_wall, place))
    elif "rv_endo" in surfaces:
        middles = mesh.points[mesh.cells[muscle]].mean(axis=1)
        free[muscle] = in_free_wall(middles, wall.points, surfaces)
    regions = {"lv": muscle & ~free} | ({"rv": muscle & free} if free.any() else {})
    part, cells = cut_out(mesh, regions, surfaces, place)
    return Part(
        part,
        cells,
        tuple(wall.wall.tolist()),
        (*told, *_left_out(mesh, muscle, cells, section.muscle)),
    )


def _by_blood(
    mesh: TetrahedralMesh, wall: Wall, section: Ventricles, place: str
) -> dict[str, Mask]:
    """Surfaces by the blood that they touch.

    Raises:
        InputError: the muscle does not touch the blood of a ventricle that is named.
    """
    left = np.isin(wall.beyond, numbers_of(mesh, section.lv_blood, place))
    right = np.isin(wall.beyond, numbers_of(mesh, section.rv_blood, place))
    for key, names, mask in (
        ("lv_blood", section.lv_blood, left), ("rv_blood", section.rv_blood, right)
    ):  # fmt: skip
        if names and not mask.any():
            raise InputError(
                f"{place} {key}", f"the muscle does not touch `{'` or `'.join(names)}`.",
                "Name the blood that it surrounds, or its walls in `muscle`.",
            )  # fmt: skip
    base = _ends(wall, {"base": section.base})["base"] if section.base else wall.every_ring(place)
    base &= ~wall.inner
    return {"epi": ~(left | right | base), "base": base, "rv_endo": right, "lv_endo": left}


def _marked(wall: Wall, marks: Marks, source: Source) -> dict[str, Mask]:
    """Surfaces as the nearest mark says."""
    places, values = _marks_of(marks.file, marks.array, source)
    middles = wall.points[wall.triangles].mean(axis=1)
    away, nearest = cKDTree(places).query(middles)
    corners = wall.points[wall.triangles]
    edge = float(np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1).mean())
    if np.median(away) > FAR * edge:
        raise InputError(
            "[anatomy.ventricles.marks]",
            f"the marks lie {np.median(away):.3g} mm away from the surface of the mesh.",
            "Give the surface that the mesh was made from.",
        )
    number = values[nearest]
    names = ("epi", "base", "rv_endo", "lv_endo")
    masks = {name: number == getattr(marks, name) for name in names}
    for name, mask in masks.items():
        if not mask.any() and name != "rv_endo":
            raise InputError(
                "[anatomy.ventricles.marks]",
                f"no triangle has {getattr(marks, name)} (`{name}`) in `{marks.array}`.",
                f"There are {', '.join(str(int(k)) for k in np.unique(values))}.",
            )
    return masks


def _marks_of(
    file: Path, array: str, source: Source
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places of the marks (mm, LPS) and their integers."""
    surface = read_surface(file, unit=source.unit, space=source.space)
    data = pv.read(str(file))
    if array in data.point_data and len(data.points) == len(surface.points):
        return surface.points, np.asarray(data.point_data[array], float)
    if array in data.cell_data and data.n_cells == len(surface.triangles):
        middles = surface.points[surface.triangles].mean(axis=1)
        return middles, np.asarray(data.cell_data[array], float)
    known = [*data.point_data.keys(), *data.cell_data.keys()]
    raise InputError("[anatomy.ventricles.marks]", f"{file.name} has no integers `{array}`.",
                     suggestion(array, known) if known else "Give another file.")  # fmt: skip


def _ends(wall: Wall, ends: Mapping[str, Sequence[Place]]) -> dict[str, Mask]:
    """Key → triangles of all its places."""
    return {
        key: np.any([wall.end(place, key) for place in places], axis=0)
        for key, places in ends.items()
    }


def _part(
    mesh: TetrahedralMesh, wall: Wall, names: Sequence[str], ends: Mapping[str, Mask],
    sides: tuple[str, str],
) -> Part:  # fmt: skip
    """A wall of one region between inside and outside, with its ends."""
    inner, outer = sides
    rest = ~np.any([wall.inner, *ends.values()], axis=0)
    masks = {outer: rest, **ends, inner: wall.inner}
    surfaces = {name: wall.triangles[mask] for name, mask in masks.items()}
    chosen = np.isin(mesh.regions, wall.wall)
    part, cells = cut_out(mesh, {"wall": chosen}, surfaces, wall.place)
    return Part(part, cells, tuple(wall.wall.tolist()), _left_out(mesh, chosen, cells, names))


def _left_out(
    mesh: TetrahedralMesh, chosen: Mask, cells: NDArray[np.int64], names: Sequence[str]
) -> tuple[str, ...]:
    """What became of pieces that do not hang together with the largest one."""
    rest = chosen.copy()
    rest[cells] = False
    if not rest.any():
        return ()
    volume = signed_volumes(mesh.points, mesh.cells[rest]).sum() / ML
    return (
        f"{volume:.3g} mL of `{'` and `'.join(names)}` are apart from the rest: no directions.",
    )
