"""Every case of a folder of data that has labels, surfaces or an image that a recipe segments.

Run: ``OMP_NUM_THREADS=1 python benchmarks/mesh_cases.py --data FOLDER [--out FILE] [CASE ...]``.
The folder holds the sets of data in folders of their own (``torso-ct``, ``knee-atlas``, ...).
Each case is meshed in a process of its own by the functions that ``organtwin mesh`` uses; the table
in Markdown grows case by case. Names given choose the cases that begin so.

Sizes are two to three voxels, less where walls are thin. ``Hd`` is the largest distance between the
borders of the mesh and those of the surface or voxels. Both it and the errors of volumes are
against the labels without the islands that the case drops; what that changes stands in remarks.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty
from time import perf_counter

import numpy as np

from organtwin.errors import OrgantwinError
from organtwin.image.readers import read_image, read_labels
from organtwin.image.segmentations import read_segmentation
from organtwin.image.volume import LabelMap
from organtwin.mesh.conforming.from_surfaces import from_surfaces
from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.conforming.islands import without_islands
from organtwin.mesh.conforming.ladder import Conforming, conform
from organtwin.mesh.conforming.route import MeshOptions, labelled
from organtwin.mesh.conforming.sizes import Sizes
from organtwin.mesh.conforming.wrapping import Wrapping
from organtwin.mesh.mesh_files import read_mesh
from organtwin.mesh.proof import Proof, prove, prove_interfaces
from organtwin.mesh.quality import dihedral_angles
from organtwin.mesh.repair import repair
from organtwin.mesh.surface_files import TriangleSurface, read_surface
from organtwin.mesh.voxelising import voxelised
from organtwin.segment.catalogue import segment
from organtwin.segment.recipe import Options

#: A case that takes longer (s) is stopped.
LIMIT = 3000.0
#: Regions smaller than this (mL) are left out of the largest error of volume.
SMALL = 5.0

type Surfaces = Mapping[str, TriangleSurface]
type Material = LabelMap | Surfaces

HEART = ("lv_myocardium", "left_atrium", "lv_blood", "right_atrium", "rv_blood", "aorta",
         "pulmonary_artery")  # fmt: skip
BRANCHES = ("brachiocephalic_trunk", "common_carotid_artery_left", "subclavian_artery_left",
            "celiac_trunk", "superior_mesenteric_artery", "vertebrae_T12")  # fmt: skip
LUMENS = ("aorta_true_lumen", "aorta_false_lumen", *BRANCHES)
CARTILAGES = ("femoral_cartilage", "lateral_tibial_cartilage", "medial_tibial_cartilage",
              "patellar_cartilage", "lateral_meniscus", "medial_meniscus")  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What is meshed and how.

    Attributes:
        source: Folder of data → label map, or surfaces by region.
        sizes: Edge lengths.
        islands: Components smaller than this (mm³) go to what is nearest.
        resolution: Voxel edge worth keeping (mm), that of the file without it.
        crease: Angle (degrees) from which edges of a device are kept.
    """

    source: Callable[[Path], Material]
    sizes: Sizes
    islands: float = 0.0
    resolution: float | None = None
    crease: float | None = None


@dataclass(frozen=True)
class Row:
    """A line of the table; what failed has a remark alone."""

    labels: int = 0
    cells: int = 0
    seconds: float = 0.0
    angle: float = 0.0
    volume: tuple[float, str] = (0.0, "")
    hausdorff: tuple[float, str] = (0.0, "")
    diagonal: float | None = None
    attempts: int = 0
    remarks: tuple[str, ...] = field(default=())


def heart(data: Path) -> LabelMap:
    names = {name: number for number, name in enumerate(HEART, 1)}
    return read_labels(data / "wholeheart-labels/wh.nii.gz", names)


def torso(data: Path) -> LabelMap:
    return read_segmentation(data / "torso-ct/example_seg_fast_force_split.nii.gz").labels


def vertebra_bodies(data: Path) -> LabelMap:
    names = {"bodies": 1, "rest": 2}
    return read_labels(data / "torso-ct/totalseg_vertebrae_body.nii.gz", names)


def bones(data: Path) -> LabelMap:
    return segment(read_image(data / "torso-ct/example_ct.nii.gz"), "bone_ct").labels


def dissection(data: Path) -> LabelMap:
    return read_segmentation(data / "aorta-ct", LUMENS, priority=LUMENS).labels


def whole_aorta(data: Path) -> LabelMap:
    names = ("aorta", *BRANCHES)
    return read_segmentation(data / "aorta-ct", names, priority=names).labels


def by_recipe(data: Path) -> LabelMap:
    image = read_image(data / "aorta-ct/ct_cropped.nii.gz")
    return segment(image, "heart_and_aorta_ct", Options(engine="own")).labels


def pulmonary(data: Path) -> LabelMap:
    names = ("pulmonary_artery", "heart")
    return read_segmentation(data / "heart-ct", names, priority=names).labels


def knee(data: Path) -> LabelMap:
    lines = (data / "knee-atlas/knee.ctbl").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return read_labels(data / "knee-atlas/seg.nrrd", {row[1]: int(row[0]) for row in rows})


def liver(data: Path) -> LabelMap:
    return read_segmentation(data / "dicom-seg/liver.dcm").labels


def liver_and_spine(data: Path) -> LabelMap:
    return read_labels(data / "dicom-seg/liver_spine_seg.nrrd", {"liver": 1, "spine": 2})


def slab_of_heart(data: Path) -> LabelMap:
    return read_labels(data / "dicom-seg/heart_seg.nrrd", {"heart": 3})


def mended(file: Path, scale: float = 1.0) -> TriangleSurface:
    surface = read_surface(file, organ=False)
    return repair(replace(surface, points=scale * surface.points), place=file.name).surface


def surface(name: str, data: Path, *, scale: float = 1.0) -> Surfaces:
    return {"body": mended(data / name, scale)}


def ventricles(data: Path) -> LabelMap:
    folder = data / "cardiac-cine-mr/vtk"
    parts = {"wall": "EPICARDIAL", "lv_blood": "LV_ENDOCARDIAL", "rv_blood": "RV_ENDOCARDIAL"}
    # Endocardium and epicardium share the rims of the valves: interfaces come from voxels.
    return voxelised(
        {name: mended(folder / f"patient1_{part}_000.vtk") for name, part in parts.items()}, 1.0
    )


def template(data: Path) -> LabelMap:
    """Seven bodies that cut each other, in units of their own."""
    whole = read_surface(data / "wholeheart-labels/wh_template.vtp", organ=False)
    whole = replace(whole, points=250.0 * whole.points)
    region = whole.vertex_values["RegionId"][whole.triangles[:, 0]]
    return voxelised({f"body{k:.0f}": whole.select(region == k) for k in np.unique(region)}, 1.0)


def cases(data: Path) -> Iterator[tuple[str, Case]]:
    """Cases by name, the cheap ones first."""
    thin = Sizes(4.0, by_label=dict.fromkeys(CARTILAGES, 1.5))
    for file in sorted((data / "devices/ScrewModels").glob("*.vtk")):
        of = partial(surface, f"devices/ScrewModels/{file.name}")
        yield f"screw {file.stem}", Case(of, Sizes(0.8, curvature=12))
    for file in sorted((data / "devices/slicerheart").glob("*.[sv]t[lp]")):
        of = partial(surface, f"devices/slicerheart/{file.name}")
        yield f"clip {file.stem}", Case(of, Sizes(0.4, thickness=2), crease=40.0)
    for name, size in (("femur", 6.0), ("vertebra", 2.5)):
        of = partial(surface, f"devices/comodo_bones/{name}.stl")
        yield f"comodo {name}", Case(of, Sizes(size, thickness=2))
    yield "liver dicom-seg", Case(liver, Sizes(2.0))
    yield "liver and spine", Case(liver_and_spine, Sizes(2.0))
    yield "slab of heart", Case(slab_of_heart, Sizes(2.0))
    for file in sorted((data / "knee-atlas").glob("Model_*.vtk")):
        of = partial(surface, f"knee-atlas/{file.name}")
        size = 3.0 if file.stem[6:8] in ("96", "97", "98") else 1.5
        yield f"knee surface {file.stem[9:]}", Case(of, Sizes(size))
    yield "cine ventricles", Case(ventricles, Sizes(4.0, thickness=2))
    yield "femur libhip", Case(partial(surface, "femur/m4_lfemur_mm.stl"), Sizes(4.0, curvature=12))
    biv = partial(surface, "biv-surfaces/geo1/heart.vtp")
    yield "biventricle", Case(biv, Sizes(4.0, thickness=2))
    lv = partial(surface, "wholeheart-labels/lv_template.vtp", scale=250.0)
    yield "lv_template", Case(lv, Sizes(4.0, thickness=2))
    yield "wh_template", Case(template, Sizes(3.0), 30.0)
    yield "vertebra bodies", Case(vertebra_bodies, Sizes(6.0), 30.0)
    yield "dissected aorta", Case(dissection, Sizes(3.0), 30.0)
    yield "aorta and branches", Case(whole_aorta, Sizes(3.0), 30.0)
    yield "pulmonary artery", Case(pulmonary, Sizes(4.0), 30.0)
    yield "aorta by recipe", Case(by_recipe, Sizes(3.0), 100.0)
    yield "whole heart", Case(heart, Sizes(3.0), 100.0, 1.0)
    yield "bone by recipe", Case(bones, Sizes(6.0), 300.0)
    yield "torso 61 labels", Case(torso, Sizes(8.0), 300.0)
    yield "knee 48 labels", Case(knee, thin, 20.0, 0.5)
    yield "million cells", Case(heart, Sizes(1.3), 100.0, 1.0)


def made(case: Case, data: Path) -> Row:
    material = case.source(data)
    of_labels = isinstance(material, LabelMap)
    source: LabelMap | Interfaces = material if of_labels else from_surfaces(material)
    options = MeshOptions(
        sizes=case.sizes,
        crease=case.crease,
        wrapping=Wrapping(islands_below=case.islands, resolution=case.resolution),
    )
    start = perf_counter()
    found = conform(source, options)
    seconds = perf_counter() - start
    if isinstance(source, Interfaces):
        return row(found, prove_interfaces(found.mesh, source), seconds, ())
    tidy, dropped = without_islands(labelled(material), case.islands)
    told = [f"no {name}" for name in material.names if name not in found.mesh.region_names]
    if dropped:
        told.append(f"{len(dropped)} islands dropped{_most_changed(material, tidy)}")
    return row(found, prove(found.mesh, tidy), seconds, tuple(told))


def _most_changed(before: LabelMap, after: LabelMap) -> str:
    change = {
        name: after.volume_ml(name) / before.volume_ml(name) - 1.0
        for name in before.names
        if before.volume_ml(name) > SMALL
    }
    if not change:
        return ""
    most = max(change, key=lambda name: abs(change[name]))
    return f" ({100 * change[most]:+.2f} % of {most})"


def row(found: Conforming, proof: Proof, seconds: float, lost: tuple[str, ...]) -> Row:
    large = {n: r.volume_error for n, r in proof.regions.items() if r.wanted_ml > SMALL}
    every = large or {n: r.volume_error for n, r in proof.regions.items()}
    worst = max(every, key=lambda name: abs(every[name]))
    far = max(proof.regions, key=lambda name: proof.regions[name].hausdorff)
    failed = [f"{a.what}: {a.outcome}" for a in found.attempts if a.outcome != "good"]
    return Row(
        labels=len(proof.regions),
        cells=proof.quality.cells,
        seconds=seconds,
        angle=proof.quality.min_dihedral,
        volume=(every[worst], worst),
        hausdorff=(proof.regions[far].hausdorff, far),
        diagonal=proof.voxel_diagonal,
        attempts=len(found.attempts),
        remarks=(*failed, *lost),
    )


def timed(name: str, data: Path, answers: Queue) -> None:
    start = perf_counter()
    try:
        answers.put(made(dict(cases(data))[name], data))
    except OrgantwinError as error:
        answers.put(Row(seconds=perf_counter() - start, remarks=(f"FAILED: {error}",)))
    except Exception as error:  # a defect is a row, too
        answers.put(Row(seconds=perf_counter() - start, remarks=(f"CRASHED: {error!r}",)))


def alone(name: str, data: Path) -> Row:
    """A case in a process of its own."""
    context = get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=timed, args=(name, data, answers))
    process.start()
    waited = 0.0
    try:
        while waited < LIMIT:
            try:
                return answers.get(timeout=5.0)
            except Empty:
                waited += 5.0
                if not process.is_alive():
                    return Row(remarks=(f"FAILED: the process ended with {process.exitcode}",))
        return Row(seconds=LIMIT, remarks=("FAILED: stopped at the limit",))
    finally:
        process.terminate()
        process.join()


def existing(file: Path) -> Row:
    """Quality of a mesh that is one already."""
    mesh = read_mesh(file)
    angle = float(dihedral_angles(mesh.points, mesh.cells).min())
    return Row(len(mesh.region_names), len(mesh.cells), angle=angle, remarks=("read as it is",))


HEAD = """\
| case | labels | cells | time s | min dihedral | volume error | Hd mm | Hd / diagonal | attempts | remarks |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |
"""  # noqa: E501


def line(name: str, row: Row) -> str:
    said = "; ".join(text.replace("\n", " ").replace("|", "/")[:160] for text in row.remarks)
    if not row.cells:
        return f"| {name} | | | {row.seconds:.0f} | | | | | | {said} |\n"
    volume = f"{100 * row.volume[0]:+.2f} % {row.volume[1]}" if row.volume[1] else ""
    far = f"{row.hausdorff[0]:.2f} {row.hausdorff[1]}" if row.hausdorff[1] else ""
    parts = f"{row.hausdorff[0] / row.diagonal:.2f}" if row.diagonal else ""
    return (
        f"| {name} | {row.labels} | {row.cells} | {row.seconds:.0f} | {row.angle:.1f} | {volume} "
        f"| {far} | {parts} | {row.attempts or ''} | {said} |\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the sets of data")
    parser.add_argument("--out", type=Path, help="file to append the table to")
    parser.add_argument("case", nargs="*", help="cases that begin so, all without it")
    arguments = parser.parse_args()

    def tell(text: str) -> None:
        print(text, end="", flush=True)
        if arguments.out is not None:
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(text)

    def wanted(name: str) -> bool:
        return not arguments.case or any(name.startswith(start) for start in arguments.case)

    tell(HEAD)
    for file in sorted((arguments.data / "heart-tet-meshes").glob("*_domain.xdmf")):
        if wanted(file.stem):
            tell(line(file.stem, existing(file)))
    for name, _ in cases(arguments.data):
        if wanted(name):
            tell(line(name, alone(name, arguments.data)))


if __name__ == "__main__":
    main()
