"""Inflation of 20 anatomies to end-diastolic pressure with default settings: do all converge?

Run: ``OMP_NUM_THREADS=1 python benchmarks/robustness.py --surfaces FOLDER --meshes FOLDER``, where
the first folder holds Cobiveco's ``geo1/heart.vtp`` and the second ambit's ``heart3D_*.xdmf``.
Without them their anatomies are left out. ``--cases 3 7`` runs two of the list.

The walls are incompressible, with fibres by rule, springs of 0.1 kPa/mm on the base and along the
normal of the epicardium, a tenth of that along its tangents, and stiffnesses from a tenth to ten
times those of the literature. The left ventricle is filled to 1.2 kPa, the right one to 0.6 kPa.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import argparse
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import gmsh
import numpy as np
import pyvista
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from organtwin.anatomy.fibres import FibreAngles, fibres
from organtwin.coupling.transfer import quadrature_space
from organtwin.coupling.ventricles import CAVITIES
from organtwin.errors import MeshError, OrgantwinError
from organtwin.image.labels import biventricular
from organtwin.image.readers import read_labels
from organtwin.image.volume import LabelMap
from organtwin.materials.guccione import Guccione
from organtwin.materials.holzapfel_ogden import HolzapfelOgden
from organtwin.materials.kinematics import Directions, Material, as_constants
from organtwin.mechanics.problem import Mechanics
from organtwin.mechanics.terms import Incompressibility, PassiveStress, Robin, Spring, Term
from organtwin.mesh.domain import Domain, read_domain
from organtwin.mesh.quality import dihedral_angles
from organtwin.mesh.surface import SURFACES, Surface, remesh
from organtwin.mesh.tetrahedra import GOOD_ANGLES, fill, gmsh_session, tetrahedralise
from organtwin.parallel import on_root
from organtwin.solve.steward import follow

LABELS = {
    "lv_myocardium": 1, "left_atrium": 2, "lv_blood": 3, "right_atrium": 4,
    "rv_blood": 5, "aorta": 6, "pulmonary_artery": 7,
}  # fmt: skip
IMAGE = Path(__file__).parent / "../meshes/wholeheart/wh.nii.gz"
#: End-diastolic pressures of LV and RV (kPa), 9 and 4.5 mmHg.
PRESSURES = np.array([1.2, 0.6])

#: Distances (mm) from the surface within which its triangles are made coarser; tried in turn.
DEVIATIONS = (1.5, 1.2, 1.0, 0.8, 0.6)
#: Depth (mm) below the base over which a bulge of it fades away when it is made flat.
FADE = 20.0

type Points = NDArray[np.float64]
type Writer = Callable[[Path, float], None]


@dataclass(frozen=True)
class Case:
    """One inflation: shape, edge length (mm), law, factor on its stiffnesses."""

    anatomy: str
    size: float
    law: str
    stiffness: float


CASES = (
    Case("as in the image", 8.0, "Holzapfel-Ogden", 1.0),
    Case("as in the image", 8.0, "Holzapfel-Ogden", 0.1),
    Case("as in the image", 8.0, "Holzapfel-Ogden", 10.0),
    Case("as in the image", 6.0, "Guccione", 1.0),
    Case("as in the image", 8.0, "Guccione", 0.1),
    Case("as in the image", 8.0, "Guccione", 10.0),
    Case("small", 8.0, "Holzapfel-Ogden", 0.3),
    Case("large", 8.0, "Holzapfel-Ogden", 3.0),
    Case("long", 8.0, "Guccione", 0.3),
    Case("round", 8.0, "Guccione", 1.0),
    Case("dilated", 7.0, "Holzapfel-Ogden", 1.0),
    Case("dilated", 8.0, "Guccione", 0.3),
    Case("hypertrophic", 7.0, "Holzapfel-Ogden", 0.3),
    Case("thin right wall", 6.0, "Holzapfel-Ogden", 1.0),
    Case("thick right wall", 8.0, "Guccione", 3.0),
    Case("mean shape", 7.0, "Holzapfel-Ogden", 1.0),
    Case("mean shape", 7.0, "Guccione", 0.1),
    Case("mean shape", 6.0, "Holzapfel-Ogden", 0.3),
    Case("two ellipsoids", 5.0, "Holzapfel-Ogden", 1.0),
    Case("two ellipsoids", 5.0, "Guccione", 10.0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--surfaces", type=Path, help="folder with geo1/heart.vtp")
    parser.add_argument("--meshes", type=Path, help="folder with heart3D_domain.xdmf")
    parser.add_argument("--cases", type=int, nargs="+", help="numbers of the list, from 1")
    parser.add_argument("--scratch", type=Path, default=Path("results/robustness"))
    arguments = parser.parse_args()
    comm = MPI.COMM_WORLD
    writers = shapes(arguments.surfaces, arguments.meshes)
    chosen = [CASES[i - 1] for i in arguments.cases or range(1, len(CASES) + 1)]
    failures = 0
    say(
        comm,
        f"{'anatomy':18}{'size':>5}  {'law':16}{'factor':>7}{'unknowns':>10}{'steps':>7}"
        f"{'retries':>8}{'passages':>9}{'iterations':>11}{'tangents':>9}{'time':>10}  outcome",
    )
    for case in chosen:
        if case.anatomy not in writers:
            say(comm, f"{case.anatomy:18}{case.size:5g}  left out: its folder was not given")
            continue
        row, converged = inflated(comm, case, writers[case.anatomy], arguments.scratch)
        failures += not converged
        say(comm, row)
    say(comm, f"{failures} of {len(chosen)} failed")


# --- inflation ---------------------------------------------------------------------------------


def inflated(comm: MPI.Comm, case: Case, write: Writer, scratch: Path) -> tuple[str, bool]:
    """Row of the table, and whether the pressure was reached."""
    head = f"{case.anatomy:18}{case.size:5g}  {case.law:16}{case.stiffness:7g}"
    try:
        heart = ventricles(meshed(comm, case, write, scratch), case)
    except OrgantwinError as error:
        return f"{head}  no mesh: {error}", False
    unknowns = heart.W.dofmap.index_map.size_global

    def fill(share: float) -> None:
        heart.pressures[:] = share * PRESSURES

    path = follow(heart, fill)
    counts = (
        f"{unknowns:10d}{path.steps:7d}{path.retries:8d}{path.passages:9d}{path.iterations:11d}"
        f"{path.factorisations:9d}{path.seconds['total']:8.1f} s"
    )
    if not path.converged:
        return f"{head}{counts}  {path.reason}", False
    lv, rv = heart.volumes() / 1000.0
    return f"{head}{counts}  converged, {lv:.0f} and {rv:.0f} mL", True


def meshed(comm: MPI.Comm, case: Case, write: Writer, scratch: Path) -> Domain:
    """The case's mesh, kept in the scratch folder."""
    path = scratch / f"{case.anatomy.replace(' ', '_')}_{case.size:g}.msh"

    def make() -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write(path, case.size)

    on_root(comm, make)
    return read_domain(path, comm)


def ventricles(domain: Domain, case: Case) -> Mechanics:
    space = quadrature_space(domain.mesh, 4, (3,))
    frame = fibres(domain, FibreAngles(), space, degree=2)
    law = as_constants(tissue(case), domain.mesh)
    stiffness, sliding = (fem.Constant(domain.mesh, k) for k in (0.1, 0.01))  # kPa/mm
    terms: list[Term] = [
        PassiveStress(law, Directions(frame.f0, frame.s0, frame.n0)),
        Incompressibility(),
        Robin(("epi",), normal=stiffness, tangential=sliding),
        Spring(("base",), stiffness),
    ]
    return Mechanics(domain, terms, cavities=CAVITIES)


def tissue(case: Case) -> Material:
    """The law with all its stiffnesses times the factor."""
    k = case.stiffness
    if case.law == "Guccione":
        return Guccione(stiffness=2.0 * k, b_f=8.0, b_t=2.0, b_fs=4.0)
    law = HolzapfelOgden.holzapfel_ogden_2009()
    return replace(law, a=k * law.a, a_f=k * law.a_f, a_s=k * law.a_s, a_fs=k * law.a_fs)


# --- shapes ------------------------------------------------------------------------------------


def shapes(surfaces: Path | None, meshes: Path | None) -> dict[str, Writer]:
    """How to write the mesh of each anatomy that is at hand."""
    one = np.ones(3)
    writers: dict[str, Writer] = {
        "as in the image": from_labels(),
        "small": from_labels(stretch=0.8 * one),
        "large": from_labels(stretch=1.25 * one),
        "long": from_labels(stretch=np.array([0.9, 0.9, 1.2])),
        "round": from_labels(stretch=np.array([1.1, 1.1, 0.85])),
        "dilated": from_labels(wall=-3.0),
        "hypertrophic": from_labels(wall=2.0),
        "thin right wall": from_labels(rv_wall=2.0),
        "thick right wall": from_labels(rv_wall=5.0),
    }
    if surfaces is not None:
        writers["mean shape"] = from_surface(surfaces / "geo1/heart.vtp")
    if meshes is not None:
        writers["two ellipsoids"] = from_tetrahedra(meshes)
    return writers


def from_labels(
    *, stretch: Points | None = None, wall: float = 0.0, rv_wall: float = 3.0
) -> Writer:
    """The label map, stretched along its axes, its LV wall thickened inwards by ``wall`` (mm)."""

    def write(path: Path, size: float) -> None:
        labels = thickened(read_labels(IMAGE, LABELS), wall)
        if stretch is not None:
            labels = replace(labels, spacing=labels.spacing * stretch)
        tetrahedralise(biventricular(labels, rv_wall_thickness=rv_wall), size=size, path=path)

    return write


def thickened(labels: LabelMap, wall: float) -> LabelMap:
    """Move the border between LV blood and wall; a negative ``wall`` dilates the cavity."""
    if wall == 0.0:
        return labels
    grows, shrinks = ("lv_myocardium", "lv_blood") if wall > 0 else ("lv_blood", "lv_myocardium")
    far = ndimage.distance_transform_edt(~labels.mask(grows), sampling=labels.spacing)
    taken = labels.mask(shrinks) & (far <= abs(wall))
    values = labels.values.copy()
    values[taken] = labels.names[grows]
    return replace(labels, values=values)


def from_surface(file: Path) -> Writer:
    """Closed surface whose points carry class 1 (base), 2 (epi), 3 (LV), 4 (RV)."""

    def write(path: Path, size: float) -> None:
        data = pyvista.read(file)
        surface = levelled(
            np.asarray(data.points, dtype=np.float64),
            np.asarray(data.regular_faces, dtype=np.int64),
            np.asarray(data.point_data["class"], dtype=np.int64),
        )
        tried = []
        for deviation in DEVIATIONS:
            with suppress(MeshError):
                tried.append(fill(remesh(surface, size, deviation)))
                if smallest_angle(tried[-1]) > GOOD_ANGLES[0]:
                    break
        if not tried:
            raise MeshError(str(file), f"no mesh of size {size:g} mm.", "Try a smaller size.")
        write_mesh(path, *max(tried, key=smallest_angle))

    return write


def smallest_angle(mesh: tuple[Surface, NDArray[np.int64]]) -> float:
    """Smallest dihedral angle (degrees) of a mesh."""
    surface, cells = mesh
    return float(dihedral_angles(surface.points, cells).min())


def levelled(points: Points, triangles: NDArray[np.int64], classes: NDArray[np.int64]) -> Surface:
    """The surface with its base made flat, at z = 0, and the apex below."""
    base = points[classes == 1]
    centre = base.mean(axis=0)
    axes = np.linalg.svd(base - centre, full_matrices=False)[2]
    if (points.mean(axis=0) - centre) @ axes[2] > 0:
        axes = -axes
    axes[1] = np.cross(axes[2], axes[0])
    local = (points - centre) @ axes.T
    # Points on the rims carry the class of the wall, so a triangle of the base has a point of
    # class 1 or points of two walls.
    of = classes[triangles]
    in_base = (of == 1).any(axis=1) | (of.min(axis=1) != of.max(axis=1))
    names = {2: "epi", 3: "lv_endo", 4: "rv_endo"}
    patches = np.array(
        [SURFACES["base" if b else names[int(k)]] for b, k in zip(in_base, of[:, 0], strict=True)]
    )
    rows = np.unique(triangles[in_base])
    _, nearest = cKDTree(local[rows, :2]).query(local[:, :2])
    local[:, 2] -= local[rows[nearest], 2] * np.clip(1.0 + local[:, 2] / FADE, 0.0, 1.0)
    local[rows, 2] = 0.0
    return Surface(local, triangles, patches)


def from_tetrahedra(folder: Path) -> Writer:
    """Tetrahedra and boundary triangles with ids 1 (LV), 2 (RV), 3 (epi), 4 (base)."""

    def write(path: Path, _: float) -> None:
        points, cells, _ = xdmf(folder / "heart3D_domain.xdmf")
        _, triangles, ids = xdmf(folder / "heart3D_boundary.xdmf")
        names = {1: "lv_endo", 2: "rv_endo", 3: "epi", 4: "base"}
        patches = np.array([SURFACES[names[int(i)]] for i in ids])
        write_mesh(path, Surface(points, triangles, patches), cells)

    return write


def xdmf(file: Path) -> tuple[Points, NDArray[np.int64], NDArray[np.int64]]:
    """Points, cells and their ids of an XDMF file that holds its numbers as text."""
    blocks = re.findall(r"<DataItem([^>]*)>(.*?)</DataItem>", file.read_text(), re.DOTALL)
    arrays: Iterator[Points] = (
        np.array(text.split(), dtype=np.float64).reshape(
            [int(n) for n in re.search(r'Dimensions="([\d ]+)"', attributes)[1].split()]  # type: ignore[index]
        )
        for attributes, text in blocks
    )
    points, cells, ids = arrays
    return points, cells.astype(np.int64), ids.astype(np.int64)


def write_mesh(path: Path, surface: Surface, cells: NDArray[np.int64]) -> None:
    """Write a gmsh file of tetrahedra and their boundary."""
    with gmsh_session():
        gmsh.model.addDiscreteEntity(3, 1)
        gmsh.model.addPhysicalGroup(3, [1], 1, "lv")
        numbers = np.arange(1, len(surface.points) + 1)
        gmsh.model.mesh.addNodes(3, 1, numbers, surface.points.ravel())
        gmsh.model.mesh.addElementsByType(1, 4, [], (cells + 1).ravel())
        for name, tag in SURFACES.items():
            gmsh.model.addDiscreteEntity(2, tag)
            gmsh.model.addPhysicalGroup(2, [tag], tag, name)
            gmsh.model.mesh.addElementsByType(tag, 2, [], (surface.select(name) + 1).ravel())
        gmsh.write(str(path))


def say(comm: MPI.Comm, text: str) -> None:
    if comm.rank == 0:
        print(text, flush=True)


if __name__ == "__main__":
    main()
