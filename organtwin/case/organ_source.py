"""First stage of an organ's mesh: the labels or surfaces that it is made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from organtwin.case.organ import Labels, OrganCase, Source, Wall
from organtwin.case.records import read_record, write_record
from organtwin.errors import InputError
from organtwin.image.editing import kept, merged
from organtwin.image.label_ends import cut_end, without_cap
from organtwin.image.readers import read_image, read_labels
from organtwin.image.segmentation import Segmentation
from organtwin.image.segmentations import read_segmentation
from organtwin.image.slicer import read_slicer, write_slicer
from organtwin.image.volume import Image, LabelMap
from organtwin.image.walls import grow_wall_around
from organtwin.mesh.repair import repair
from organtwin.mesh.surface_files import TriangleSurface, read_surface, write_surface
from organtwin.segment.recipe import Options

#: Recipe that takes the views of a beating heart apart.
CINE = "lv_cine_mr"
LABELS, ACCOUNT = "labels.seg.nrrd", "source.json"


@dataclass(frozen=True)
class Material:
    """What is meshed: labels, or surfaces by region.

    Attributes:
        labels: Label map, if it is made from labels.
        surfaces: Region → closed surface, else.
        decisions: What was done to get it, one sentence each.
    """

    labels: LabelMap | None
    surfaces: Mapping[str, TriangleSurface]
    decisions: tuple[str, ...]


def source_of(case: OrganCase) -> Material:
    """Read, segment or repair what the case names.

    Raises:
        InputError: a file or a name can't be used.
        MeshError: a surface can't be repaired.
    """
    if case.source.surfaces is not None:
        return _surfaces(case.source, case.source.surfaces)
    labels, told = _labels(case.source, case.labels)
    if case.labels.merge:
        labels = merged(labels, case.labels.merge, "[labels] merge")
        told += [
            f"`{new}` is {' + '.join(f'`{name}`' for name in members)}."
            for new, members in case.labels.merge.items()
        ]
    beside: dict[str, tuple[str, ...]] = {}
    for name, wall in case.labels.walls.items():
        labels, volume = _walled(labels, name, wall, beside)
        beside[name] = wall.around
        told.append(
            f"`{name}`, {wall.thickness:g} mm thick, was grown around "
            f"`{'` and `'.join(wall.around)}`{_open(wall)}: {volume:.1f} mL."
        )
    if case.labels.keep:
        labels = kept(labels, case.labels.keep, "[labels] keep")
    return Material(labels, {}, tuple(told))


def _walled(
    labels: LabelMap, name: str, wall: Wall, beside: Mapping[str, Sequence[str]]
) -> tuple[LabelMap, float]:
    """Labels with a wall, open at the ends of vessels, and its volume (mL)."""
    ends = []
    for point in wall.open:
        labels, end = cut_end(labels, wall.around, point, f"[labels.walls.{name}] open")
        ends.append(end)
    grown = grow_wall_around(
        labels, wall.around, wall.thickness, name, into=wall.into, beside=beside
    )
    labels = grown.labels
    for end in ends:
        labels = without_cap(labels, name, end, wall.thickness)
    return labels, labels.volume_ml(name) if ends else grown.volume_ml


def _open(wall: Wall) -> str:
    return f", open at {len(wall.open)} ends" if wall.open else ""


def _labels(source: Source, section: Labels) -> tuple[LabelMap, list[str]]:
    if section.corrected is not None:
        told = [f"The labels are those of {section.corrected.name}, corrected by hand."]
        return read_slicer(section.corrected).labels, told
    if source.image is not None:
        from organtwin.segment.catalogue import segment
        from organtwin.segment.cine_reading import read_cine

        image = (
            read_cine(source.image, source.series or ())
            if source.recipe == CINE
            else read_image(source.image, source.series or None)
        )
        found = segment(image, source.recipe or "", _options(source))
        return found.labels, [f"Segmented by `{found.recipe}` with {found.engine}.",
                              *found.decisions]  # fmt: skip
    if source.labels is None:
        raise InputError("[source]", "nothing to read.", "Give `labels`.")
    if source.names is not None:
        return read_labels(source.labels, source.names), []
    return read_segmentation(source.labels).labels, []


def scan_of(source: Source) -> Callable[[], Image] | None:
    """What reads the scan that the labels were made from, to show them on it.

    None without a scan, and for views of a beating heart, which are no single image.
    """
    path = source.image
    if path is None or source.recipe == CINE:
        return None

    def read() -> Image:
        found = read_image(path, source.series or None)
        return found if isinstance(found, Image) else found.images[0]

    return read


def _options(source: Source) -> Options:
    return Options(engine=source.engine, threshold=source.contrast, bundle=source.bundle)


def _surfaces(source: Source, files: Mapping[str, Path]) -> Material:
    surfaces, told = {}, []
    for name, file in files.items():
        surface = read_surface(file, unit=source.unit, space=source.space)
        if source.repair:
            result = repair(surface, place=file.name)
            surface = result.surface
            told += [f"{file.name}: {change}" for change in result.changes]
            if result.changes:
                told.append(
                    f"{file.name}: the repair moved the surface by {result.hausdorff:.3g} mm."
                )
        surfaces[name] = surface
    return Material(None, surfaces, tuple(told))


def write_source(material: Material, folder: Path) -> None:
    """Write what is meshed into a stage's folder."""
    if material.labels is not None:
        write_slicer(Segmentation(material.labels), folder / LABELS)
    for name, surface in material.surfaces.items():
        write_surface(surface, folder / f"{name}.vtp")
    account = {"surfaces": list(material.surfaces), "decisions": material.decisions}
    write_record(folder / ACCOUNT, account)


def read_source(folder: Path) -> Material:
    """Read what `write_source` wrote."""
    account = read_record(folder / ACCOUNT)
    names = account["surfaces"]
    labels = None if names else read_slicer(folder / LABELS).labels
    surfaces = {name: read_surface(folder / f"{name}.vtp") for name in names}
    return Material(labels, surfaces, tuple(account["decisions"]))
