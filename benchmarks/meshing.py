"""Labels to tetrahedra: organtwin's mesher beside pytetwild and beside plain SurfaceNets and gmsh.

Run: ``OMP_NUM_THREADS=1 python benchmarks/meshing.py [--only NAME] [--labels FILE --size MM]``.
Four label maps are meshed: a phantom of balls in each other, whose borders all routes can follow;
the same in voxels of half the length with ten times the cells; the whole heart that comes with
organtwin, every second voxel; three bones of its torso. With ``--labels`` comes a segmentation that
knows its names. All routes get the same label map:

* organtwin: `organtwin.mesh.conforming.ladder.conform` as ``organtwin mesh`` calls it, with voxels
  of a third of the edge length;
* plain: VTK's SurfaceNets3D with its default smoothing on the labels sampled at half the edge
  length, one discrete surface per pair of labels, gmsh's Delaunay mesher and Netgen optimiser;
* pytetwild: the same surface, in an envelope of a quarter of a voxel; regions by nearest voxel.

Where the number of cells of another route is more than a fifth off organtwin's, it is run once
more with another edge length. Each run is a process of its own with a time limit; that it fails,
and why, is a result. Times are those of the processor. Distances are from the surfaces of the
voxels, whose stairs count with half a diagonal.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import argparse
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

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
TORSO = Path(__file__).parent / "../meshes/torso/example_seg_fast_force_split.nii.gz"
BONES = ("hip_left", "femur_left", "sacrum")
#: Processor time (s) after which a route is stopped, and time by the clock, proof included.
LIMIT, PATIENCE = 90.0, 900.0
#: Numbers of cells that differ by no more than this factor are alike.
ALIKE = 1.2
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


@dataclass(frozen=True)
class Run:
    """What came of a route: a mesh's proof, or in words why there is none."""

    size: float
    seconds: float
    memory: float
    found: Proof | str
    missing: tuple[str, ...] = ()

    @property
    def cells(self) -> int:
        return 0 if isinstance(self.found, str) else self.found.quality.cells


def used() -> tuple[float, float]:
    """Processor time (s) and memory (GiB) of this process and of those that it started."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    # Linux counts in KiB; the largest process is what matters, others wait for it meanwhile.
    return sum(u.ru_utime + u.ru_stime for u in both), max(u.ru_maxrss for u in both) / 2**20


def measured(route: str, labels: LabelMap, size: float, answer) -> None:
    start, _ = used()
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(start + LIMIT), hard))
    try:
        mesh = ROUTES[route](labels, size)
        end, memory = used()
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
        missing = tuple(n for n, k in mesh.region_names.items() if not (mesh.regions == k).any())
        answer.send(Run(size, end - start, memory, prove(mesh, labels), missing))
    except BaseException as error:  # whatever a library raises is the answer
        end, memory = used()
        first = str(error).strip().splitlines() or [""]
        answer.send(Run(size, end - start, memory, f"{type(error).__name__}: {first[0]}"))


def alone(route: str, labels: LabelMap, size: float) -> Run:
    """A route in a process of its own, so that memory is its own and a crash does no harm."""
    context = get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=measured, args=(route, labels, size, there))
    process.start()
    there.close()
    try:
        if not here.poll(PATIENCE):
            return Run(size, LIMIT, 0.0, f"stopped after {PATIENCE:.0f} s by the clock")
        return here.recv()
    except EOFError:
        process.join()
        if process.exitcode == -signal.SIGXCPU:
            return Run(size, LIMIT, 0.0, "stopped, more than that is not waited for")
        return Run(size, 0.0, 0.0, f"the process ended with code {process.exitcode}")
    finally:
        process.terminate()
        process.join()


def told(route: str, run: Run) -> str:
    if isinstance(run.found, str):
        return f"{route:10s} {run.size:5.2f} no mesh after {run.seconds:.0f} s: {run.found[:120]}"
    q, regions = run.found.quality, run.found.regions.values()
    errors = [abs(r.volume_error) for r in regions if r.wanted_ml > SMALL]
    far = max(r.hausdorff for r in regions) / (run.found.voxel_diagonal or 1.0)
    mean = max(r.mean_distance for r in regions) / (run.found.voxel_diagonal or 1.0)
    return (
        f"{route:10s} {run.size:5.2f} {run.cells:8,d} {run.seconds:7.1f} "
        f"{run.seconds / run.cells * 1e6:8.0f} {run.memory:6.2f} "
        f"{q.min_dihedral:6.1f} {q.first_percentile_dihedral:6.1f} {q.max_dihedral:6.1f} "
        f"{100 * max(errors):8.2f} {far:8.2f} {mean:8.2f}  {', '.join(run.missing)}"
    )


def matched(route: str, labels: LabelMap, size: float, cells: int) -> Run:
    """A run with about as many cells, if a second one with another size gives that."""
    first = alone(route, labels, size)
    print(told(route, first), flush=True)
    if not first.cells or not cells or 1 / ALIKE < first.cells / cells < ALIKE:
        return first
    second = alone(route, labels, size * (first.cells / cells) ** (1 / 3))
    print(told(route, second), flush=True)
    return second if second.cells else first


def compare(name: str, labels: LabelMap, size: float) -> None:
    spacing = " x ".join(f"{length:.3g}" for length in labels.spacing)
    print(f"\n{name}: {len(labels.names)} labels in voxels of {spacing} mm")
    print(
        f"{'route':10s} {'edge':>5s} {'cells':>8s} {'s':>7s} {'µs/cell':>8s} {'GiB':>6s} "
        f"{'min °':>6s} {'1 % °':>6s} {'max °':>6s} {'volume %':>8s} {'Hd/diag.':>8s} "
        f"{'mean/d.':>8s}  regions missing"
    )
    own = alone("organtwin", labels, size)
    print(told("organtwin", own), flush=True)
    for route in ("plain", "pytetwild"):
        other = matched(route, labels, size, own.cells)
        if own.cells and other.cells and not other.missing:
            ratio = other.seconds / other.cells * own.cells / own.seconds
            print(f"  time per cell of {route} over organtwin's: {ratio:.2f}", flush=True)


def phantom(voxel: float) -> LabelMap:
    """A ball with a core in it, cut by a second ball, and a slab below both."""
    shape = [round(length / voxel) for length in (72.0, 52.0, 56.0)]
    centre = np.array([26.0, 26.0, 32.0])[:, None, None, None]
    x, y, z = voxel * (np.indices(shape) + 0.5) - 0.5 - centre
    one, two = np.sqrt(x**2 + y**2 + z**2), np.sqrt((x - 20.0) ** 2 + y**2 + z**2)
    slab = (z < -16) & (z > -28) & (abs(y) < 21) & (x > -21) & (x < 41)
    values = np.select([one < 10, one < 18, two < 18, slab], [1, 2, 3, 4], 0).astype(np.uint8)
    names = {"core": 1, "ball": 2, "beside": 3, "slab": 4}
    return LabelMap(values, names, np.full(3, voxel), np.zeros(3), np.eye(3))


def heart() -> LabelMap:
    """Every second voxel of the whole heart."""
    whole = read_labels(HEART, HEART_LABELS)
    values = np.ascontiguousarray(whole.values[::2, ::2, ::2])
    return LabelMap(values, whole.names, 2.0 * whole.spacing, whole.origin, whole.direction)


#: Name → label map and edge length (mm).
CASES: dict[str, tuple[Callable[[], LabelMap], float]] = {
    "phantom": (lambda: phantom(1.0), 3.0),
    "fine-phantom": (lambda: phantom(0.5), 1.3),
    "heart": (heart, 4.0),
    "bones": (lambda: read_segmentation(TORSO, BONES).labels, 8.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--labels", type=Path, nargs="*", default=[], help="further segmentations")
    parser.add_argument("--size", type=float, default=3.0, help="their edge length (mm)")
    arguments = parser.parse_args()
    for name in arguments.only:
        make, size = CASES[name]
        compare(name, make(), size)
    for file in arguments.labels:
        compare(file.name, read_segmentation(file).labels, arguments.size)


if __name__ == "__main__":
    main()
