"""Results in files of other programs: surfaces, images of fields, meshes for other solvers."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
import SimpleITK as sitk
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.export.dressed import VALUE, Look, colours_of, dressed, limits, triangles
from organtwin.export.result import REGION, Part, Result
from organtwin.export.series import Array
from organtwin.image.readers import read_sitk
from organtwin.mesh.mesh_files import write_mesh
from organtwin.mesh.surface_files import TriangleSurface, write_surface
from organtwin.mesh.volume_mesh import TetrahedralMesh, unit_vectors

#: Name of a format → what it is, and the ending of its files.
FORMATS = {
    "stl": "surface of each region, mm", "glb": "coloured surfaces, m, y up",
    "nifti": "fields on the voxels of the image", "carp": "openCARP's mesh with fibres, µm",
    "abaqus": "tetrahedra for Abaqus and CalculiX, mm",
}  # fmt: skip
#: Fields whose vectors are fibres and sheets.
_FIBRES = {"f0": "fibre", "s0": "sheet"}
#: Kinds of numbers and targets of glTF 2.0 (5126 float, 5125 unsigned int, 5121 unsigned byte).
_FLOAT, _UINT, _BYTE, _VERTICES, _CORNERS = 5126, 5125, 5121, 34962, 34963


def export(
    result: Result, to: str, out: Path, *, part: str | None = None, index: int = 0,
    field: str | None = None, like: Path | None = None,
) -> list[Path]:  # fmt: skip
    """Write a time of a result for other programs.

    Args:
        result: The result.
        to: One of `FORMATS`.
        out: Folder to write into.
        part: Tissue; the first if None.
        index: Number of the time; -1 for the last.
        field: Field of colours and voxels; the first if None.
        like: Image whose voxels are taken; for ``nifti`` the case's labels if None.

    Returns:
        The files.

    Raises:
        InputError: no such format, part, time or field, or no image.
    """
    if to not in FORMATS:
        raise InputError(f"format `{to}`", "no format of that name.", suggestion(to, FORMATS))
    one = result.part(part)
    if not -len(one.times) <= index < len(one.times):
        raise InputError("time", f"there are {len(one.times)} times.", "Count from 0.")
    index %= len(one.times)
    shown = field or next(iter(one.fields), REGION if one.region_names else None)
    if shown is not None and shown != REGION:
        one.is_by_cell(shown)
    out.mkdir(parents=True, exist_ok=True)
    write: dict[str, Callable[[], list[Path]]] = {
        "stl": lambda: _stl(one, index, out),
        "glb": lambda: [write_glb(one, index, shown, out / f"{one.name}.glb")],
        "nifti": lambda: write_nifti(
            one, index, shown, like or _image_of(result), out / f"{shown}.nii.gz"
        ),
        "carp": lambda: _mesh(one, index, out / f"{one.name}.pts"),
        "abaqus": lambda: _mesh(one, index, out / f"{one.name}.inp"),
    }
    return write[to]()


def _stl(part: Part, index: int, out: Path) -> list[Path]:
    files = []
    for name, shell in region_surfaces(part, index, None).items():
        file = out / f"{part.name}_{name.replace(' ', '_') or 'surface'}.stl"
        write_surface(TriangleSurface(np.asarray(shell.points, float), triangles(shell)), file)
        files.append(file)
    return files


def region_surfaces(part: Part, index: int, shown: str | None) -> dict[str, pv.PolyData]:
    """Closed surface of each region at a time, with a field as ``value``."""
    names = part.region_names or {"": 0}
    return {
        name: dressed(part, index, Look(shown, frozenset(set(names.values()) - {number})))
        for name, number in names.items()
    }


def write_glb(part: Part, index: int, shown: str | None, file: Path) -> Path:
    """Write the surfaces of all regions as binary glTF with a colour at each vertex.

    Metres, and y to the head of the patient as glTF has it up; x is the patient's left. Version 2.0
    of the format; the tests read it back with VTK.
    """
    blob = bytearray()
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    meshes: list[dict[str, Any]] = []

    def add(values: NDArray[Any], kind: int, form: str, target: int, **more: Any) -> int:
        data = np.ascontiguousarray(values).tobytes()
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(data),
                      "target": target})  # fmt: skip
        blob.extend(data + b"\0" * (-len(data) % 4))
        accessors.append({"bufferView": len(views) - 1, "componentType": kind,
                          "count": len(values), "type": form, **more})  # fmt: skip
        return len(accessors) - 1

    for name, shell in region_surfaces(part, index, shown).items():
        places = np.asarray(shell.points)[:, [0, 2, 1]] * [1e-3, 1e-3, -1e-3]
        places = places.astype("<f4")
        ends = {"min": places.min(axis=0).tolist(), "max": places.max(axis=0).tolist()}
        attributes = {"POSITION": add(places, _FLOAT, "VEC3", _VERTICES, **ends)}
        if shown is not None:
            colours = _vertex_colours(part, shell, shown)
            attributes["COLOR_0"] = add(colours, _BYTE, "VEC4", _VERTICES, normalized=True)
        corners = add(triangles(shell).astype("<u4").ravel(), _UINT, "SCALAR", _CORNERS)
        meshes.append({"name": name or part.name,
                       "primitives": [{"attributes": attributes, "indices": corners}]})  # fmt: skip
    head = {
        "asset": {"version": "2.0", "generator": "organtwin"}, "scene": 0,
        "scenes": [{"nodes": list(range(len(meshes)))}],
        "nodes": [{"mesh": k, "name": mesh["name"]} for k, mesh in enumerate(meshes)],
        "meshes": meshes, "accessors": accessors, "bufferViews": views,
        "buffers": [{"byteLength": len(blob)}],
    }  # fmt: skip
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    size = 12 + 8 + len(text) + 8 + len(blob)
    file.write_bytes(
        struct.pack("<4sII", b"glTF", 2, size) + struct.pack("<I4s", len(text), b"JSON") + text
        + struct.pack("<I4s", len(blob), b"BIN\0") + bytes(blob)
    )  # fmt: skip
    return file


def _vertex_colours(part: Part, shell: pv.PolyData, shown: str) -> NDArray[np.uint8]:
    own = shell if VALUE in shell.point_data else shell.cell_data_to_point_data()
    low, high = limits(part, shown)
    values = np.asarray(own.point_data[VALUE], float)
    colours = colours_of([part], shown)((values - low) / (high - low))
    return np.rint(255.0 * np.asarray(colours)).astype(np.uint8)


def write_nifti(part: Part, index: int, shown: str | None, like: Path, file: Path) -> list[Path]:
    """Write a field at the voxels of an image, as it is moved at the time, and where it is known.

    Fields at points are interpolated linearly in the cells, fields of cells are constant there.
    Outside the mesh the field is 0, which readers of the format make of NaN; a second image,
    ``…_inside``, is 1 in the mesh.

    Raises:
        InputError: there is no field, or the image can't be read.
    """
    if shown is None:
        raise InputError(part.name, "no field to sample.", "Choose another part.")
    image = read_sitk(like)
    if image.GetDimension() != 3:
        raise InputError(str(like), "no image in three dimensions.", "Give a single phase.")
    axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    origin, shape = np.array(image.GetOrigin()), np.array(image.GetSize())
    inside = np.linalg.solve(axes, (part.points(index) - origin).T).T
    low = np.clip(np.floor(inside.min(axis=0)).astype(int), 0, shape)
    high = np.clip(np.ceil(inside.max(axis=0)).astype(int) + 1, 0, shape)
    values, known = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    where = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), axis=-1).reshape(-1, 3)
    if len(where):
        found = _sampled(part, index, shown, where @ axes.T + origin)
        values[tuple(where.T)] = np.nan_to_num(found)
        known[tuple(where.T)] = np.isfinite(found)
    mask = file.with_name(file.name.replace(".nii.gz", "_inside.nii.gz"))
    for array, path in ((values, file), (known, mask)):
        out = sitk.GetImageFromArray(array.transpose(2, 1, 0))
        out.CopyInformation(image)
        sitk.WriteImage(out, str(path))
    return [file, mask]


def _sampled(part: Part, index: int, shown: str, at: Array) -> Array:
    grid = part.mesh.copy(deep=False)
    grid.points = part.points(index)
    grid.point_data["point"] = np.arange(grid.n_points)
    values = part.regions if shown == REGION else part.values(index, shown)
    values = values if values.ndim == 1 else np.linalg.norm(values, axis=1)
    by_cell = shown == REGION or part.is_by_cell(shown)
    (grid.cell_data if by_cell else grid.point_data)[VALUE] = values.astype(float)
    probe = pv.PolyData(at).sample(grid)
    return np.where(probe.point_data["vtkValidPointMask"] > 0, probe.point_data[VALUE], np.nan)


def _image_of(result: Result) -> Path:
    for name in ("stages/image/labels.nrrd", "stages/measure/labels.seg.nrrd"):
        if (result.directory / name).is_file():
            return result.directory / name
    raise InputError("--like", "the result holds no image.", "Give the image whose voxels to take.")


def _mesh(part: Part, index: int, file: Path) -> list[Path]:
    write_mesh(tetrahedra_of(part, index), file)
    return sorted(path for path in file.parent.glob(f"{file.stem}.*") if path.suffix != ".glb")


def tetrahedra_of(part: Part, index: int) -> TetrahedralMesh:
    """The mesh of a part at a time with regions and fibres; quadratic cells are eight linear ones.

    Raises:
        InputError: it has other cells than tetrahedra.
    """
    if set(np.unique(part.mesh.celltypes)) != {pv.CellType.TETRA}:
        raise InputError(part.name, "not all cells are tetrahedra.", "Export its surface.")
    cells = np.asarray(part.mesh.cell_connectivity, np.int64).reshape(-1, 4)
    names = part.region_names or {"body": 0}
    regions = part.regions
    if min(names.values()) < 1:  # other programs count regions from 1
        names, regions = {name: k + 1 for name, k in names.items()}, regions + 1
    found = TetrahedralMesh(part.points(index), cells, regions, names)
    known = {to: own for to, own in _FIBRES.items() if own in part.fields and part.is_by_cell(own)}
    return replace(
        found, fibres={to: unit_vectors(part.values(index, own)) for to, own in known.items()}
    )
