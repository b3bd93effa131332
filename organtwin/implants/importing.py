"""Implants from files: surfaces (STL, PLY, ...) repaired, STEP through gmsh's CAD kernel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import gmsh
import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, MeshError
from organtwin.implants.implant import Implant, LocalFrame
from organtwin.implants.materials import ImplantMaterial, load_material
from organtwin.mesh.defects import inspect
from organtwin.mesh.patchwork import RepairOptions
from organtwin.mesh.repair import repair
from organtwin.mesh.surface_files import TriangleSurface, read_surface
from organtwin.mesh.tetrahedra import gmsh_session

#: Largest side (mm) that an implant can have; our choice, from a small screw to a long nail.
SMALLEST, LARGEST = 3.0, 600.0
_UNITS = {".MILLI.": "mm", ".CENTI.": "cm", ".MICRO.": "um", "$": "m"}
_SI = re.compile(r"SI_UNIT\s*\(\s*(\.\w+\.|\$)\s*,\s*\.METRE\.\s*\)")
_OTHER = re.compile(r"LENGTH_UNIT|CONVERSION_BASED_UNIT\s*\(\s*'(\w+)'")


def import_surface(
    path: str | Path,
    *,
    unit: str = "mm",
    material: str | ImplantMaterial = "Ti6Al4V",
    frame: LocalFrame | None = None,
    options: RepairOptions = RepairOptions(),
) -> Implant:
    """An implant from a surface file, repaired.

    Named solids of a text STL and parts of a VTP keep their names as surfaces; what repair adds is
    ``repaired``. Without names all is ``surface``.

    Args:
        path: ``.stl``, ``.ply``, ``.vtp``, ``.obj`` or ``.vtk`` file.
        unit: Unit of the file: ``mm``, ``cm``, ``m``, ``um``.
        material: Name of its material in the catalogue, or a material.
        frame: Its frame; None for the file's coordinates.
        options: How far repair may go.

    Raises:
        InputError: the file can't be read, or its size is none of an implant in this unit.
        MeshError: it can't be repaired.
    """
    file = Path(path)
    read = read_surface(file, unit=unit, organ=False)
    _check_size(file, read, f"in {unit}")
    done = repair(read, place=str(file), options=options)
    surface = done.surface
    names: dict[str, int] = {"surface": 1}
    part = np.ones(len(surface.triangles), np.int64)
    if read.names and "part_before" in surface.triangle_values:
        names = dict(read.names)
        part = np.asarray(surface.triangle_values["part_before"], np.int64)
        if (part == 0).any():
            names["repaired"] = max(names.values()) + 1
            part = np.where(part == 0, names["repaired"], part)
    named = TriangleSurface(
        surface.points, surface.triangles, triangle_values={"part": part}, names=names
    )
    notes = [*read.notes, *(str(change) for change in done.changes)]
    if done.changes:
        notes.append(f"Repair moved the surface by {done.hausdorff:.3f} mm at most.")
    return _imported(file, named, material, frame, notes)


def import_step(
    path: str | Path,
    size: float,
    *,
    names: Mapping[str, int] | None = None,
    material: str | ImplantMaterial = "Ti6Al4V",
    frame: LocalFrame | None = None,
) -> Implant:
    """An implant from a STEP file with one solid.

    The unit is read from the file and lengths turned into mm. Faces that the file names, or
    ``names``, become surfaces; the others are ``face1``, ``face2``, ... by their number in it.

    Args:
        path: ``.step`` or ``.stp`` file.
        size: Edge length (mm) of the triangles.
        names: Name of a surface → number of a face; see the names of an import without it.
        material: Name of its material in the catalogue, or a material.
        frame: Its frame; None for the file's coordinates.

    Raises:
        InputError: no such file, no STEP, no unit of length in it, not one solid, a face that is
            not there, or a size that no implant has.
        MeshError: gmsh can't mesh its faces.
    """
    file = Path(path)
    unit = step_unit(file)
    if not size > 0.0:
        raise InputError("import_step", f"size is {size:g} mm.", "Give an edge length over 0.")
    surface = _meshed(file, size, names or {})
    _check_size(file, surface, f"whose unit is {unit}")
    defects = inspect(surface).defects()
    if defects:
        raise MeshError(str(file), defects[0], "Mend it in the CAD program, or try a smaller size.")
    return _imported(file, surface, material, frame, [f"Its unit is {unit}; turned into mm."])


def step_unit(path: str | Path) -> str:
    """Unit of length that a STEP file is in: ``mm``, ``m``, ``inch``, ...

    Raises:
        InputError: it can't be read, is no STEP file, or says no unit or several.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="latin-1")
    except OSError as error:
        raise InputError(
            str(file), f"can't be read ({error.strerror}).", "Check the path."
        ) from None
    if "ISO-10303-21" not in text[:200]:
        raise InputError(str(file), "is no STEP file.", "Export it as STEP (AP203, AP214, AP242).")
    other = {m.lower() for m in re.findall(r"CONVERSION_BASED_UNIT\s*\(\s*'(\w+)'", text)}
    lengths = other & {"inch", "inches", "foot", "feet"}
    # A unit that another is based on is none of its own.
    found = lengths or {_UNITS.get(m, m) for m in _SI.findall(text)}
    if len(found) != 1:
        said = f"has the units of length {sorted(found)}" if found else "has no unit of length"
        raise InputError(str(file), f"{said}.", "Export it in millimetres.")
    return found.pop()


def _meshed(file: Path, size: float, names: Mapping[str, int]) -> TriangleSurface:
    with gmsh_session():
        gmsh.model.add("step")
        gmsh.option.setString("Geometry.OCCTargetUnit", "MM")
        gmsh.option.setNumber("Geometry.OCCImportLabels", 1)
        try:
            gmsh.model.occ.importShapes(str(file), format="step")
            gmsh.model.occ.synchronize()
        except Exception as error:  # gmsh raises bare Exceptions
            raise InputError(
                str(file), f"gmsh can't read it ({error}).", "Export it again."
            ) from None
        solids = gmsh.model.getEntities(3)
        if len(solids) != 1:
            raise InputError(
                str(file), f"has {len(solids)} solids.", "Export each part as a file of its own."
            )
        for option in ("Mesh.MeshSizeMin", "Mesh.MeshSizeMax"):
            gmsh.option.setNumber(option, size)
        try:
            gmsh.model.mesh.generate(2)
        except Exception as error:  # gmsh raises bare Exceptions
            raise MeshError(str(file), f"gmsh: {error}.", "Try a smaller size.") from None
        return _triangles(file, names)


def _triangles(file: Path, names: Mapping[str, int]) -> TriangleSurface:
    tags, coordinates, _ = gmsh.model.mesh.getNodes()
    number = np.zeros(int(tags.max()) + 1, np.int64)
    number[tags.astype(np.int64)] = np.arange(len(tags))
    faces = [tag for _, tag in gmsh.model.getEntities(2)]
    called = _called(file, faces, names)
    numbers = {name: k for k, name in enumerate(dict.fromkeys(called), 1)}
    triangles: list[NDArray[np.int64]] = []
    part: list[NDArray[np.int64]] = []
    for tag, name in zip(faces, called, strict=True):
        own = number[gmsh.model.mesh.getElementsByType(2, tag)[1].astype(np.int64)].reshape(-1, 3)
        triangles.append(own)
        part.append(np.full(len(own), numbers[name]))
    surface = TriangleSurface(
        coordinates.reshape(-1, 3), np.concatenate(triangles),
        triangle_values={"part": np.concatenate(part)}, names=numbers,
    )  # fmt: skip
    surface = surface.select(np.ones(len(surface.triangles), bool))
    if surface.volume < 0:
        turned = surface.triangles[:, ::-1].copy()
        surface = TriangleSurface(
            surface.points, turned, triangle_values=surface.triangle_values, names=surface.names
        )
    return surface


def _called(file: Path, faces: list[int], names: Mapping[str, int]) -> list[str]:
    """Name of each face: given, the file's, or its number."""
    given = {face: name for name, face in names.items()}
    if wrong := sorted(set(given) - set(faces)):
        raise InputError(str(file), f"has no face {wrong[0]}.", f"It has 1 to {max(faces)}.")
    called = []
    for face in faces:
        label = gmsh.model.getEntityName(2, face).split("/")[-1].strip()
        called.append(given.get(face) or label or f"face{face}")
    return called


def _check_size(file: Path, surface: TriangleSurface, unit: str) -> None:
    largest = float(surface.extent.max())
    if not SMALLEST <= largest <= LARGEST:
        raise InputError(
            str(file),
            f"is {largest:.3g} mm large, {unit}; implants have {SMALLEST:g} to {LARGEST:g} mm.",
            "Give its unit, or export it in millimetres.",
        )


def _imported(
    file: Path,
    surface: TriangleSurface,
    material: str | ImplantMaterial,
    frame: LocalFrame | None,
    notes: list[str],
) -> Implant:
    made = load_material(material) if isinstance(material, str) else material
    return Implant(
        file.stem, "imported", surface, frame or LocalFrame.own(), {}, {}, made, None, None,
        tuple(notes),
    )  # fmt: skip
