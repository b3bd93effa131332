"""Labels to tetrahedra: organtwin's mesher beside pytetwild and beside plain SurfaceNets and gmsh.

Run: ``OMP_NUM_THREADS=1 python benchmarks/meshing.py [--size 3] [--labels FILE ...]``. Without
files the whole heart that comes with organtwin is meshed; others may be any segmentation that
knows its names. All routes get the same label map and the same edge length:

* organtwin: `organtwin.mesh.conforming.ladder.conform` as ``organtwin mesh`` calls it, with voxels
  of a third of the edge length;
* plain: VTK's SurfaceNets3D with its default smoothing on the labels sampled at half the edge
  length, one discrete surface per pair of labels, gmsh's Delaunay mesher and Netgen optimiser;
* pytetwild: the same surface, in an envelope of a quarter of a voxel; regions by nearest voxel.

Printed are ratios of times, angles, errors of volume and distances from the voxels.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import argparse
import resource
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from queue import Empty
from time import perf_counter

import gmsh
import numpy as np
import pyvista as pv
import pytetwild
from numpy.typing import NDArray

from organtwin.image.readers import read_labels
from organtwin.image.resample import Grid, corners, smoothed
from organtwin.image.segmentations import read_segmentation
from organtwin.image.volume import LabelMap
from organtwin.mesh.conforming.ladder import conform
from organtwin.mesh.conforming.route import MeshOptions
from organtwin.mesh.conforming.sizes import Sizes
from organtwin.mesh.conforming.wrapping import Wrapping
from organtwin.mesh.proof import Proof, prove
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.tetrahedra import gmsh_session
from organtwin.mesh.volume_mesh import TetrahedralMesh

HEART = Path(__file__).parent / "../meshes/wholeheart/wh.nii.gz"
HEART_LABELS = {
    "lv_myocardium": 1, "left_atrium": 2, "lv_blood": 3, "right_atrium": 4,
    "rv_blood": 5, "aorta": 6, "pulmonary_artery": 7,
}  # fmt: skip
#: A route that takes longer (s) is stopped.
LIMIT = 300.0
#: Regions smaller than this (mL) are left out of the largest error of volume.
SMALL = 5.0

type Points = NDArray[np.float64]
type Index = NDArray[np.int64]


def own(labels: LabelMap, size: float) -> TetrahedralMesh:
    wrapping = Wrapping(resolution=size / 3.0)
    return conform(labels, MeshOptions(sizes=Sizes(default=size), wrapping=wrapping)).mesh


def surface_nets(labels: LabelMap, size: float) -> tuple[Points, Index, Index]:
    """VTK's net around labels sampled at half the size: points, triangles, labels beside them."""
    grid = Grid.around(corners(labels), 0.5 * size, labels.direction, 2.0 * size)
    sampled = smoothed(labels, grid, tuple(labels.names), 0.25 * size)
    image = pv.ImageData(dimensions=sampled.values.shape, spacing=(grid.spacing,) * 3)
    image["labels"] = sampled.values.ravel(order="F")
    net = image.contour_labels("all", output_mesh_type="triangles", scalars="labels")
    points = grid.origin + np.asarray(net.points, float) @ grid.direction.T
    codes = np.array([0, *(labels.names[name] for name in sampled.names if name != "other")])
    beside = codes[np.asarray(net["boundary_labels"], np.int64)]
    return points, np.asarray(net.regular_faces, np.int64), beside


def plain(labels: LabelMap, size: float) -> TetrahedralMesh:
    points, triangles, beside = surface_nets(labels, size)
    pairs, pair = np.unique(np.sort(beside, axis=1), axis=0, return_inverse=True)
    with gmsh_session():
        gmsh.option.setNumber("Mesh.OptimizeNetgen", 1)
        gmsh.model.addDiscreteEntity(2, 1)
        gmsh.model.mesh.addNodes(2, 1, np.arange(1, len(points) + 1), points.ravel())
        for k in range(len(pairs)):
            if k:
                gmsh.model.addDiscreteEntity(2, k + 1)
            gmsh.model.mesh.addElementsByType(
                k + 1, 2, [], (triangles[pair.ravel() == k] + 1).ravel()
            )
        for number in labels.names.values():
            loop = (np.flatnonzero((pairs == number).any(axis=1)) + 1).tolist()
            gmsh.model.geo.addVolume([gmsh.model.geo.addSurfaceLoop(loop)], number)
        gmsh.model.geo.synchronize()
        gmsh.model.mesh.generate(3)
        tags, coordinates, _ = gmsh.model.mesh.getNodes()
        cells, regions = [], []
        for number in labels.names.values():
            nodes = gmsh.model.mesh.getElementsByType(4, number)[1]
            cells.append(nodes.reshape(-1, 4))
            regions.append(np.full(len(nodes) // 4, number))
    index = np.zeros(int(tags.max()) + 1, np.int64)
    index[tags.astype(int)] = np.arange(len(tags))
    return TetrahedralMesh(
        coordinates.reshape(-1, 3), index[np.concatenate(cells).astype(int)],
        np.concatenate(regions), labels.names,
    )  # fmt: skip


def tetwild(labels: LabelMap, size: float) -> TetrahedralMesh:
    points, triangles, _ = surface_nets(labels, size)
    diagonal = float(np.linalg.norm(np.ptp(points, axis=0)))
    epsilon = 0.25 * float(labels.spacing.min()) / diagonal
    nodes, cells = pytetwild.tetrahedralize(
        points, triangles.astype(np.int32), edge_length_abs=size, epsilon=epsilon,
        num_threads=1, disable_filtering=True, vtk_ordering=True,
    )  # fmt: skip
    cells = np.asarray(cells, np.int64)
    flipped = signed_volumes(nodes, cells) < 0
    cells[flipped] = cells[flipped][:, [0, 2, 1, 3]]
    place = np.round(labels.grid.index(nodes[cells].mean(axis=1))).astype(int)
    inside = ((place >= 0) & (place < labels.values.shape)).all(axis=1)
    region = np.zeros(len(cells), np.int64)
    region[inside] = labels.values[tuple(place[inside].T)]
    kept = region > 0
    return TetrahedralMesh(nodes, cells[kept], region[kept], labels.names)


ROUTES: dict[str, Callable[[LabelMap, float], TetrahedralMesh]] = {
    "organtwin": own, "plain": plain, "pytetwild": tetwild,
}  # fmt: skip


def timed(route: str, labels: LabelMap, size: float, answers) -> None:
    start = perf_counter()
    try:
        mesh = ROUTES[route](labels, size)
        taken = perf_counter() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        missing = [n for n, k in mesh.region_names.items() if not (mesh.regions == k).any()]
        answers.put((taken, memory + children, prove(mesh, labels), missing))
    except Exception as error:  # whatever a library raises is the answer
        answers.put((perf_counter() - start, 0.0, str(error), []))


def alone(route: str, labels: LabelMap, size: float):
    """A route in a process of its own, so that memory is its own and a crash does no harm."""
    context = get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=timed, args=(route, labels, size, answers))
    process.start()
    try:
        return answers.get(timeout=LIMIT)
    except Empty:
        return LIMIT, 0.0, f"stopped after {LIMIT:.0f} s", []
    finally:
        process.terminate()
        process.join()


def told(route: str, taken: float, memory: float, found: Proof | str, missing: list[str]) -> str:
    if isinstance(found, str):
        return f"{route:10s} no mesh: {found[:100]}"
    q = found.quality
    errors = [abs(r.volume_error) for r in found.regions.values() if r.wanted_ml > SMALL]
    far = max(r.hausdorff for r in found.regions.values()) / (found.voxel_diagonal or 1.0)
    return (
        f"{route:10s} {q.cells:9,d} {taken / q.cells * 1e6:9.0f} {memory:6.1f} "
        f"{q.min_dihedral:6.1f} {q.first_percentile_dihedral:6.1f} {q.max_dihedral:6.1f} "
        f"{100 * max(errors):8.2f} {far:8.2f}  {', '.join(missing)}"
    )


def compare(name: str, labels: LabelMap, size: float) -> None:
    print(f"\n{name}, {len(labels.names)} labels, edge length {size:g} mm")
    print(
        f"{'route':10s} {'cells':>9s} {'µs/cell':>9s} {'GiB':>6s} {'min °':>6s} {'1 % °':>6s} "
        f"{'max °':>6s} {'volume %':>8s} {'Hd/diag.':>8s}  regions missing"
    )
    per_cell = {}
    for route in ROUTES:
        taken, memory, found, missing = alone(route, labels, size)
        print(told(route, taken, memory, found, missing), flush=True)
        if isinstance(found, Proof):
            per_cell[route] = taken / found.quality.cells
    for route in per_cell:
        if route != "organtwin" and "organtwin" in per_cell:
            ratio = per_cell[route] / per_cell["organtwin"]
            print(f"  time per cell of {route} over organtwin's: {ratio:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=float, default=3.0, help="edge length (mm)")
    parser.add_argument("--labels", type=Path, nargs="*", default=[], help="further segmentations")
    arguments = parser.parse_args()
    compare("whole heart", read_labels(HEART, HEART_LABELS), arguments.size)
    for file in arguments.labels:
        compare(file.name, read_segmentation(file).labels, arguments.size)


if __name__ == "__main__":
    main()
