"""Other programs that segment: TotalSegmentator and MONAI bundles, where they are installed."""

from __future__ import annotations

import importlib
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import numpy as np
import SimpleITK as sitk

from organtwin.errors import InputError, SetupError
from organtwin.image.readers import read_labels
from organtwin.image.segmentation import nearest_labels
from organtwin.image.totalsegmentator import read_totalsegmentator
from organtwin.image.volume import Grid, Image, LabelMap
from organtwin.segment.morphology import Mask
from organtwin.segment.recipe import Options

#: Engine → module that does the work, package on the index, and what installs it.
MODULES = {
    "totalsegmentator": ("totalsegmentator.python_api", "TotalSegmentator"),
    "monai": ("monai.bundle", "monai"),
}


@dataclass(frozen=True)
class Wanted:
    """What a recipe asks of another program.

    Attributes:
        classes: TotalSegmentator's classes to compute.
        regions: Region of the recipe → classes that it is the union of; ``*`` stands for any text.
    """

    classes: tuple[str, ...]
    regions: Mapping[str, tuple[str, ...]]


def module(engine: str) -> ModuleType | None:
    """The module of an engine, None where it isn't installed."""
    try:
        return importlib.import_module(MODULES[engine][0])
    except ImportError:
        return None


def engine_name(engine: str) -> str:
    """Name and version of an engine, for reports."""
    package = MODULES[engine][1]
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"{package} of unknown version"


def regions(image: Image, engine: str, wanted: Wanted, options: Options) -> dict[str, Mask]:
    """Regions of an image that another program finds.

    Args:
        image: The scan.
        engine: ``totalsegmentator`` or ``monai``.
        wanted: What to look for.
        options: Device, resolution, and the folder of the bundle.

    Raises:
        SetupError: the program isn't installed.
        InputError: it failed, found nothing, or the bundle is missing.
    """
    found = module(engine)
    if found is None:
        raise SetupError(
            f"engine `{engine}`",
            f"{MODULES[engine][1]} isn't installed.",
            f"`pip install {MODULES[engine][1]}`, or choose the engine `own`.",
        )
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / "in" / "scan.nii.gz"
        scan.parent.mkdir()
        sitk.WriteImage(image.to_sitk(), str(scan))
        run = _totalsegmentator if engine == "totalsegmentator" else _monai
        try:
            labels = run(found, scan, image.grid, wanted, options)
        except SystemExit as stop:  # how TotalSegmentator answers a missing licence
            raise InputError(
                f"engine `{engine}`", f"it gave up ({stop}).", "See what it printed."
            ) from None
    return united(labels, wanted.regions)


def united(labels: LabelMap, wanted: Mapping[str, Sequence[str]]) -> dict[str, Mask]:
    """Each region as the union of the classes that are there; regions without one are left out."""
    result = {}
    for region, patterns in wanted.items():
        names = [name for name in labels.names if _fits(name, patterns)]
        if names:
            result[region] = labels.mask(*names)
    if not result:
        raise InputError(
            "segment",
            f"none of {', '.join(wanted)} is among {', '.join(labels.names) or 'no labels'}.",
            "Check that the scan shows the organ, or choose the engine `own`.",
        )
    return result


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _totalsegmentator(
    found: ModuleType, scan: Path, grid: Grid, wanted: Wanted, options: Options
) -> LabelMap:
    """Run the task ``total`` for the wanted classes; it writes one mask per class into a folder."""
    out = scan.parents[1] / "out"
    found.totalsegmentator(
        scan, out, task="total", roi_subset=list(wanted.classes), fast=options.fast,
        device=options.device, quiet=True,
    )  # fmt: skip
    return read_totalsegmentator(out, grid=grid).labels


def _monai(found: ModuleType, scan: Path, grid: Grid, wanted: Wanted, options: Options) -> LabelMap:
    """Run the inference of a bundle whose metadata name the classes."""
    del wanted
    bundle = options.bundle
    if bundle is None or not (bundle / "configs" / "inference.json").is_file():
        raise InputError(
            "engine `monai`",
            f"no bundle with configs/inference.json in `{bundle}`.",
            "Download `wholeBody_ct_segmentation` of MONAI's model zoo and give its folder.",
        )
    facts = json.loads((bundle / "configs" / "metadata.json").read_text(encoding="utf-8"))
    table = facts["network_data_format"]["outputs"]["pred"]["channel_def"]
    names = {name: int(number) for number, name in table.items() if int(number) > 0}
    out = scan.parents[1] / "out"
    workflow = found.ConfigWorkflow(
        config_file=str(bundle / "configs" / "inference.json"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        workflow_type="infer",
        bundle_root=str(bundle),
        output_dir=str(out),
        datalist=[str(scan)],
        displayable_configs={"highres": not options.fast, "sw_overlap": 0.25, "sw_batch_size": 1},
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    return _one_file(out, names, grid)


def _one_file(out: Path, names: Mapping[str, int], grid: Grid) -> LabelMap:
    """The only label map in a folder, with the names of the labels that occur."""
    files = sorted(out.rglob("*.nii.gz"))
    if len(files) != 1:
        raise InputError(
            str(out), f"the bundle wrote {len(files)} label maps.", "One was expected."
        )
    present = set(np.unique(sitk.GetArrayViewFromImage(sitk.ReadImage(str(files[0])))).astype(int))
    labels = read_labels(files[0], {n: number for n, number in names.items() if number in present})
    values = nearest_labels(labels.to_sitk(), grid)
    return LabelMap(values, labels.names, grid.spacing, grid.origin, grid.direction)
