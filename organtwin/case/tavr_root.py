"""First stages of a valve's deployment: what is measured in the scan, the device, the mesh."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from organtwin.aortic_root.anatomy import RootModel, root_anatomy
from organtwin.aortic_root.measurements import RootMeasures, measure_root
from organtwin.aortic_root.measures_file import as_record
from organtwin.aortic_root.measures_store import store_measures, stored_measures
from organtwin.aortic_root.sizing import DeviceSize, Oversizing, refuse_too_large
from organtwin.case.progress import Progress
from organtwin.case.records import read_record, write_record
from organtwin.case.schema_tavr import Device as DeviceSection
from organtwin.case.schema_tavr import Root, Scan
from organtwin.devices.device_files import CATALOGUE, Device, load_device, names, sizes
from organtwin.errors import InputError, suggestion
from organtwin.export.root_mesh_picture import root_mesh_picture
from organtwin.export.root_sheet import draw_root_sheet
from organtwin.image.markups import write_markups
from organtwin.image.readers import read_image, read_labels
from organtwin.image.segmentation import Segmentation
from organtwin.image.segmentations import read_segmentation
from organtwin.image.slicer import read_slicer, write_slicer
from organtwin.image.volume import Image, LabelMap
from organtwin.landmarks.placed import markups_of
from organtwin.mesh.mesh_files import write_mesh
from organtwin.segment.catalogue import segment
from organtwin.segment.recipe import Options
from organtwin.tavr.root_axis import RootAxis, axis_of
from organtwin.tavr.root_record import RootRecord

type Vector = NDArray[np.float64]

#: What later stages read of the measures.
MEASURES = "measures.npz"
#: Files of the stage `measure`.
MEASURED = (
    "measures.json", MEASURES, "labels.seg.nrrd", "landmarks.mrk.json", "sheet.png",
)  # fmt: skip
#: Files of the stage `root`.
MESHED = ("mesh.msh", "root.json", "mesh.png")
#: Family of a device → what it is sized by.
SIZED_BY = {"balloon-expandable": "area", "self-expanding": "perimeter"}
#: Wall beyond the outflow end of a device (mm), and the least length of aorta over the junction.
ROOM, LEAST = 6.0, 10.0


# ---------------------------------------------------------------------------------------- measure


def measure(scan: Scan, title: str, folder: Path, progress: Progress) -> None:
    """Segment the scan if it has no labels, measure the root, and write `MEASURED`.

    Raises:
        InputError: what `measure_root` refuses, or files that can't be used.
    """
    image = _image(scan)
    progress(0.05, "labels")
    labels, told = _labels(scan, image)
    write_slicer(Segmentation(labels), folder / "labels.seg.nrrd")
    progress(0.6, "measuring")
    found = measure_root(image, labels, overrides=scan.landmarks, rule=scan.calcium)
    shown = [size for name in names() for size in sizes_of(name)]
    record = as_record(found, shown)
    record["decisions"] = [*told, *found.notes]
    write_record(folder / "measures.json", record)
    store_measures(found, folder / MEASURES)
    write_markups(markups_of(found.landmarks), folder / "landmarks.mrk.json")
    progress(0.8, "drawing")
    draw_root_sheet(image, found, folder / "sheet.png", title=title, devices=shown)


def read_measures(folder: Path) -> RootMeasures:
    """What the stage `measure` found."""
    return stored_measures(folder / MEASURES)


def _image(scan: Scan) -> Image:
    image = read_image(scan.file, scan.series or None)
    if not isinstance(image, Image):
        raise InputError(str(scan.file), "the scan has phases.", "Give one of them.")
    return image


def _labels(scan: Scan, image: Image) -> tuple[LabelMap, list[str]]:
    if scan.labels is None:
        found = segment(image, scan.recipe, Options(engine="own"))
        return found.labels, [f"Segmented by `{found.recipe}` with {found.engine}.",
                              *found.decisions]  # fmt: skip
    if scan.names is not None:
        return read_labels(scan.labels, scan.names), []
    return read_segmentation(scan.labels).labels, []


# ----------------------------------------------------------------------------------------- device


@dataclass(frozen=True)
class Choice:
    """The device that is implanted.

    Attributes:
        file: Name in the catalogue, or device file.
        size: Size.
        device: The device.
        oversizing: Against the annulus.
        told: How it was chosen, one sentence each.
    """

    file: str
    size: str
    device: Device
    oversizing: Oversizing
    told: tuple[str, ...]


def device_path(file: str) -> Path:
    """The file of a device."""
    return CATALOGUE / f"{file}.toml" if file in names() else Path(file)


def sizes_of(file: str) -> list[DeviceSize]:
    """All sizes of a device, as they are compared with an annulus."""
    found = [load_device(file, size) for size in sizes(file)]
    return [DeviceSize(one.name, one.nominal, sized_by=SIZED_BY[one.family]) for one in found]


def choose(section: DeviceSection, found: RootMeasures) -> Choice:
    """The size that is asked for, or the one that the annulus asks for.

    `auto` takes, of the sizes that are larger than the annulus by at most 30 %, the one whose own
    range of annuli holds the measured diameter (by area for balloon-expandable devices, by
    perimeter for self-expanding ones) or comes nearest to it; our choice of rule, with the ranges
    of the device file.

    Raises:
        InputError: no such size, none fits, or the one asked for is too large.
    """
    file = section.name
    known = sizes(file)
    if section.size not in (*known, "auto"):
        raise InputError(
            "[device] size", f"no size `{section.size}`.", suggestion(section.size, known)
        )
    devices = {size: load_device(file, size) for size in known}
    compared = dict(zip(known, found.sizes(sizes_of(file)), strict=True))
    if section.size == "auto":
        size, told = _by_rule(devices, compared, found)
    else:
        size = section.size
        told = (f"Size {size} was asked for: {_larger(compared[size])}.",)
        if section.refuse_too_large:
            refuse_too_large(list(compared.values()), devices[size].name)
        elif compared[size].too_large:
            told = (*told, "More than 30 % oversizing risks a rupture; it was asked for.")
    return Choice(file, size, devices[size], compared[size], told)


def _by_rule(
    devices: dict[str, Device], compared: dict[str, Oversizing], found: RootMeasures
) -> tuple[str, tuple[str, ...]]:
    by = SIZED_BY[next(iter(devices.values())).family]
    own = found.quantities[f"annulus_{by}_diameter"].value
    others = "; ".join(f"{size}: {_larger(one)}" for size, one in compared.items())
    fitting = [size for size, one in compared.items() if one.fits]
    if not fitting:
        raise InputError(
            "[device] size", f"`auto`: no size fits an annulus of {own:.1f} mm ({others}).",
            "Give a size and `refuse_too_large = false`, or check the annulus.",
        )  # fmt: skip

    def off(size: str) -> tuple[float, float]:
        low, high = devices[size].annulus
        return max(low - own, own - high, 0.0), abs(0.5 * (low + high) - own)

    best = min(fitting, key=off)
    low, high = devices[best].annulus
    where = "in" if off(best)[0] == 0.0 else f"{off(best)[0]:.2f} mm off"
    told = (
        f"Size {best} by rule: the annulus' diameter of {own:.1f} mm (by {by}) lies {where} its "
        f"range of {low:g} to {high:g} mm. {others}."
    )
    return best, (told,)


def _larger(one: Oversizing) -> str:
    return f"{one.percent:+.0f} % by {one.device.sized_by}"


def refuse_bursting(device: Device, filling: float) -> None:
    """Refuse a filling that the balloon of a device can't take.

    Raises:
        InputError: its volume is beyond that of the rated burst pressure.
    """
    balloon = device.balloon
    if balloon is None:
        return
    most = balloon.largest_volume / balloon.nominal_volume
    if filling > most:
        raise InputError(
            "[deployment] filling", f"{filling:g} of the nominal volume bursts the balloon of "
            f"{device.name}.",
            f"It takes {most:.2f} at its rated burst pressure; a larger size opens wider.",
        )  # fmt: skip


def height_needed(device: Device, depth: float) -> float:
    """How far over the annulus the wall is needed (mm)."""
    top = max(height for height, _ in device.pattern.profile)
    return top - depth + ROOM


# ------------------------------------------------------------------------------------------- root


@dataclass(frozen=True)
class RootPlace:
    """Where a root lies; what is told of a mesh to whoever puts something into it.

    Attributes:
        axis: Curve through the lumen.
        record: What was measured, as far as indices need it.
    """

    axis: RootAxis
    record: RootRecord


def mesh_root(scan: Scan, root: Root, needed: float, measured: Path, folder: Path) -> None:
    """Mesh the root and write `MESHED`.

    Args:
        scan: The scan.
        root: What is meshed.
        needed: Height over the annulus that the device needs (mm).
        measured: Folder of the stage `measure`.
        folder: Where the files go.

    Raises:
        InputError: what `root_anatomy` refuses; the wall is too short for the device.
    """
    found, image = read_measures(measured), _image(scan)
    labels = read_slicer(measured / "labels.seg.nrrd").labels
    junction = found.quantities["junction_height"].value
    above = max(needed - junction, LEAST) if root.above is None else root.above
    if junction + above < needed - ROOM:
        raise InputError(
            "[root] above", f"the wall ends {junction + above:.0f} mm over the annulus, and the "
            f"device {needed - ROOM:.0f} mm: it is taller than the vessel.",
            f'Give at least "{needed - junction:.0f} mm", or leave it out.',
        )  # fmt: skip
    model = RootModel(
        size=root.size, wall=root.wall, leaflets=root.leaflets, thickness=root.leaflet_thickness,
        below=root.below, above=above, commissures=root.commissures, outwards=root.outwards,
    )  # fmt: skip
    made = root_anatomy(found, image, labels, model)
    write_mesh(made.mesh, folder / "mesh.msh")
    record = {
        "measured": RootRecord.of(found).as_record(),
        "axis": axis_of(made).to_dict(),
        "annulus_area": made.annulus_area,
        "quality": asdict(made.quality),
        "decisions": list(made.notes),
    }
    write_record(folder / "root.json", record)
    root_mesh_picture(made, folder / "mesh.png")


def read_place(folder: Path) -> RootPlace:
    """Where the root of the stage `root` lies."""
    record = read_record(folder / "root.json")
    return RootPlace(RootAxis.from_dict(record["axis"]), RootRecord.from_record(record["measured"]))
