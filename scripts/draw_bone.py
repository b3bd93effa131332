"""Picture and figures of docs/bone-density.md: a real hip and vertebra from a CT of 3 mm.

Run with: python scripts/draw_bone.py
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyvista as pv
from matplotlib.colors import LogNorm
from mpi4py import MPI
from scipy import ndimage

from organtwin.bone.cortex import Cortex, fit_surface, half_maximum, outer_face, restored
from organtwin.bone.integration import trilinear
from organtwin.bone.laws import stiffness
from organtwin.bone.mapping import map_bone
from organtwin.bone.scan import check_scan
from organtwin.bone.tissues import from_tissues
from organtwin.case.load import load_organ_case
from organtwin.case.meshing import mesh_organ
from organtwin.image.readers import read_image, read_labels
from organtwin.mesh.domain import read_domain
from organtwin.mesh.surface_files import TriangleSurface, write_surface

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
TORSO = ROOT / "meshes" / "torso"
#: Bone, its law, what is shown, axis across the cut, range of colours (MPa).
BONES = (
    ("femur_right", "morgan_2003_femoral_neck", "right hip, coronal", 1, (200.0, 15_000.0)),
    ("vertebrae_L3", "kopperdahl_2002", "vertebra L3, sagittal", 0, (100.0, 3_500.0)),
)
#: Bones in the label map.
NUMBERS = {
    "sacrum": 25, "vertebrae_S1": 26, "vertebrae_L5": 27, "vertebrae_L4": 28, "vertebrae_L3": 29,
    "vertebrae_L2": 30, "vertebrae_L1": 31, "femur_left": 75, "femur_right": 76, "hip_left": 77,
    "hip_right": 78,
}  # fmt: skip
COMPACT = 1.1  # mg/mm³ of hydroxyapatite


def surface_of(mask, grid):
    """Closed surface between voxels, through the half of the smoothed mask."""
    wide = np.pad(mask.astype(float), 4)
    soft = ndimage.zoom(ndimage.gaussian_filter(wide, 0.7), 2, order=1, grid_mode=True,
                        mode="nearest")  # fmt: skip
    image = pv.ImageData(dimensions=soft.shape)
    image.point_data["share"] = soft.ravel(order="F")
    found = image.contour([0.5], scalars="share").smooth_taubin(n_iter=20, pass_band=0.1)
    index = (np.asarray(found.points, float) + 0.5) / 2 - 0.5 - 4
    found.points = grid.points(np.clip(index, -0.45, np.array(grid.shape) - 0.55))
    found = found.compute_normals(auto_orient_normals=True, split_vertices=False)
    faces = np.asarray(found.regular_faces, np.int64)
    return TriangleSurface(np.asarray(found.points, float), faces)


def meshed(surface, name, folder):
    write_surface(surface, folder / f"{name}.stl")
    case = folder / f"{name}.toml"
    case.write_text(
        f'title = "{name}"\n[source]\nsurfaces = {{ {name} = "{name}.stl" }}\n'
        f'[mesh]\nsize = "2 mm"\n[output]\ndirectory = "{folder / name}"\n'
    )
    directory = mesh_organ(load_organ_case(case), comm=MPI.COMM_SELF)
    return read_domain(directory / "mesh.msh", MPI.COMM_SELF)


def told(name, surface, cortex: Cortex, image):
    t = np.percentile(cortex.thickness[cortex.trusted], [5, 25, 50, 75, 95]).round(2).tolist()
    width, depth = np.median(half_maximum(image, cortex)), np.median(cortex.depth[cortex.trusted])
    print(
        f"{name}: {len(surface.points)} profiles, {100 * cortex.trusted.mean():.0f} % trusted, "
        f"blur {cortex.blur:.2f} mm, thickness {t} mm, half maximum {width:.2f} mm, "
        f"outer face {depth:.2f} mm below the surface"
    )


def conserved(calibration, image, mask, others):
    """Mineral of a bone, what its blur carries 3 mm beyond its labels counted (g)."""
    rho = calibration.density(image.values)
    near = ndimage.binary_dilation(mask) & ~ndimage.binary_dilation(others, iterations=2) | mask
    apart = ndimage.distance_transform_edt(~mask, sampling=image.grid.spacing)
    base = np.median(rho[(apart > 6) & (apart < 12) & ~others])
    return ((rho[near] - base).sum() + base * mask.sum()) * image.grid.voxel_volume / 1e3


def draw(axes, title, image, domain, fields, across, colours, lines):
    """The CT in a plane, with outlines, or with the modulus of the cells that it cuts."""
    points = np.asarray(domain.mesh.geometry.x)
    cells = np.asarray(domain.mesh.geometry.dofmaps[0])
    low, high = points.min(axis=0) - 6.0, points.max(axis=0) + 6.0
    along = [k for k in range(3) if k != across]
    u, v = (np.arange(low[k], high[k], 0.25) for k in along)
    grid = np.stack(np.meshgrid(u, v), axis=-1)
    places = np.full((grid.shape[0] * grid.shape[1], 3), np.median(points[:, across]))
    places[:, along] = grid.reshape(-1, 2)
    extent = (u[0], u[-1], v[0], v[-1])
    hu = trilinear(np.asarray(image.values), image.grid.index(places)).reshape(grid.shape[:2])
    mesh = pv.UnstructuredGrid({pv.CellType.TETRA: cells}, points)
    where = mesh.find_containing_cell(places)
    shown = None
    for one, (name, found) in zip(axes, fields.items(), strict=True):
        one.imshow(hu, cmap="gray", vmin=-200, vmax=700, origin="lower", extent=extent)
        if found is None:
            for surface, colour in lines:
                cut = pv.PolyData.from_regular_faces(surface.points, surface.triangles).slice(
                    normal=np.eye(3)[across], origin=places[0]
                )
                for part in cut.split_bodies() if cut.n_points else []:
                    ring = part.extract_surface(algorithm=None).strip()
                    line = ring.points[ring.lines[1 : 1 + ring.lines[0]]][:, along]
                    one.plot(*line.T, color=colour, lw=0.9)
        else:
            E = np.full(len(where), np.nan)
            E[where >= 0] = found.modulus.x.array[where[where >= 0]] / 1e3
            shown = one.imshow(np.ma.masked_invalid(E.reshape(hu.shape)), cmap="viridis",
                               origin="lower", extent=extent, norm=LogNorm(*colours))  # fmt: skip
        one.set_title(f"{title}: {name}" if found is None else name, fontsize=9)
        one.set_xlabel(f"{'xyz'[along[0]]} (mm)", fontsize=8)
        one.tick_params(labelsize=7)
    axes[0].set_ylabel("z (mm)", fontsize=8)
    return shown


def main():
    image = replace(read_image(TORSO / "example_ct.nii.gz"), quantity="HU")
    labels = read_labels(TORSO / "example_seg_fast_force_split.nii.gz", NUMBERS)
    calibration = from_tissues(image)
    print(calibration, *calibration.warnings, sep="\n")
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.4), layout="constrained")
    with tempfile.TemporaryDirectory() as name:
        for row, (bone, law, title, across, colours) in zip(axes, BONES, strict=True):
            mask = labels.mask(bone)
            check_scan(image, None, calibration, bone=mask)
            surface = surface_of(mask, labels.grid)
            level = float(calibration.hounsfield(COMPACT))
            first = fit_surface(image, surface, level=level)
            told(f"{bone}, labels", surface, first, image)
            moved = outer_face(surface, first)
            cortex = fit_surface(image, moved, level=level, blur=first.blur)
            told(f"{bone}, outer face", moved, cortex, image)
            domain = meshed(moved, bone, Path(name))
            way = stiffness(law, calibration.mineral)
            fine = restored(image, moved, cortex, 0.5)
            fields = {
                "CT, labels and outer face": None,
                f"as scanned, {law}": map_bone(domain, image, calibration, way),
                "cortex restored": map_bone(domain, fine, calibration, way),
            }
            for label, found in fields.items():
                if found is not None:
                    print(bone, label, found.report, sep="\n")
            others = (labels.values > 0) & ~mask
            print(f"{bone}: {conserved(calibration, image, mask, others):.2f} g in the image, "
                  f"{mask.sum() * image.grid.voxel_volume / 1e3:.1f} mL labelled")  # fmt: skip
            lines = ((surface, "#ff7f0e"), (moved, "#17becf"))
            shown = draw(row, title, image, domain, fields, across, colours, lines)
            figure.colorbar(shown, ax=row[1:]).set_label("Young's modulus (MPa)", fontsize=9)
    figure.savefig(ROOT / "docs" / "images" / "bone_modulus.png", dpi=110)


if __name__ == "__main__":
    main()
