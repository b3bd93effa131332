"""The command `organtwin segment`: labels from a scan, compared, drawn, corrected."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from organtwin.cli_outcome import outcome
from organtwin.errors import InputError

if TYPE_CHECKING:
    from organtwin.image.volume import Image, LabelMap, Sequence
    from organtwin.segment.agreement import Agreement
    from organtwin.segment.cine import Cine
    from organtwin.segment.correction import Change
    from organtwin.segment.recipe import Segmented

SUFFIX = ".seg.nrrd"


def segment(
    image: Annotated[
        Path, typer.Argument(help="Scan, or `recipes` for a list of them.", metavar="IMAGE")
    ],
    recipe: Annotated[str, typer.Option(help="Name of the recipe.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write the labels (.seg.nrrd).")
    ] = None,
    series: Annotated[
        list[str] | None,
        typer.Option(metavar="N", help="DICOM series: number or part of the description."),
    ] = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="LABELS",
            help="Labels to compare with, or of a cine a folder of surfaces; repeatable.",
        ),
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option("--reference-names", metavar="FILE.json", help="Integer to name."),
    ] = None,
    corrected: Annotated[
        Path | None,
        typer.Option(metavar="FILE.seg.nrrd", help="Corrected labels: tell what was changed."),
    ] = None,
    picture: Annotated[
        bool, typer.Option("--picture", help="Draw the contours on three planes (.png).")
    ] = False,
    engine: Annotated[str, typer.Option(help="auto, own, totalsegmentator or monai.")] = "auto",
    threshold: Annotated[
        float | None, typer.Option(help="HU, instead of the one that is found.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="MONAI bundle with weights.")
    ] = None,
) -> None:
    """Segment a scan by a recipe; the labels open in 3D Slicer with names and colours.

    What recipes there are, and one of them with a picture:

        organtwin segment recipes

        organtwin segment ct.nii.gz --recipe heart_and_aorta_ct -o heart.seg.nrrd --picture

    Compare with labels that exist:

        organtwin segment ct.nii.gz --recipe bone_ct -o bone.seg.nrrd --reference bones/

    The left ventricle through the beat: volumes, their curve, a surface for each phase:

        organtwin segment dicom/ --recipe lv_cine_mr -o lv.seg.nrrd --reference surfaces/

    Open heart.seg.nrrd in 3D Slicer, correct it, save it, and see what you changed:

        organtwin segment ct.nii.gz -o heart.seg.nrrd --corrected heart-mine.seg.nrrd

    A report is written beside the labels (.json).
    """
    with outcome():
        from mpi4py import MPI

        from organtwin.parallel import on_root

        asked = _Asked(
            image, recipe, out, tuple(series or ()), tuple(reference or ()), names, corrected,
            picture,
        )  # fmt: skip
        on_root(MPI.COMM_WORLD, lambda: _segment(asked, engine, threshold, bundle))


# --- what it does ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Asked:
    image: Path
    recipe: str
    out: Path | None
    series: tuple[str, ...]
    reference: tuple[Path, ...]
    names: Path | None
    corrected: Path | None
    picture: bool


def _segment(asked: _Asked, engine: str, threshold: float | None, bundle: Path | None) -> None:
    if str(asked.image) == "recipes" and not asked.image.exists():
        typer.echo(_listing())
        return
    out = _checked(asked)
    if asked.corrected is not None and out.is_file() and not asked.recipe:
        _tell_changes(out, asked.corrected)
        return
    from organtwin.segment.catalogue import segment as run
    from organtwin.segment.recipe import Options

    scan = _scan(asked)
    start = time.perf_counter()
    found = run(scan, asked.recipe, Options(engine, threshold, bundle=bundle))
    seconds = time.perf_counter() - start
    _write(found, out)
    rows = _compared(found, asked)
    changed = _changed(found.labels, asked.corrected)
    report = _report(found, asked, seconds, rows, changed)
    if found.cine is not None:
        report["beat"] = _beat(found.cine, asked, _beside(out, ""))
    _beside(out, ".json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _tell(found, seconds, rows, changed)
    if "beat" in report:
        typer.echo(_beat_lines(report["beat"], _beside(out, "")))
    typer.echo(f"labels     {out}\nreport     {_beside(out, '.json')}")
    if asked.picture:
        typer.echo(f"picture    {_draw(scan, found, rows, asked, _beside(out, '.png'))}")


def _listing() -> str:
    from organtwin.segment.catalogue import RECIPES

    return "\n".join(
        f"{name:<20} {recipe.about}\n{'':<20} Needs: {recipe.needs}."
        for name, recipe in RECIPES.items()
    )


def _checked(asked: _Asked) -> Path:
    """The file to write, once the arguments fit together."""
    if not asked.recipe and not (asked.corrected and asked.out and asked.out.is_file()):
        raise InputError(
            "segment", "no recipe chosen.", "See `organtwin segment recipes`; choose by --recipe."
        )
    stem = asked.image.name.removesuffix(".gz").rsplit(".", 1)[0]
    out = asked.out or Path(f"{stem}-{asked.recipe}{SUFFIX}")
    if not out.name.endswith(SUFFIX):
        raise InputError(
            str(out), f"3D Slicer knows segmentations by `{SUFFIX}`.", "Change the file name."
        )
    return out


def _beside(out: Path, suffix: str) -> Path:
    return out.with_name(out.name.removesuffix(SUFFIX) + suffix)


def _scan(asked: _Asked) -> Image | Sequence | list[Sequence]:
    from organtwin.image.readers import read_image
    from organtwin.segment.catalogue import RECIPES

    entry = RECIPES.get(asked.recipe)
    if entry is not None and entry.run is None:
        from organtwin.segment.cine_reading import read_cine

        return list(read_cine(asked.image, asked.series))
    return read_image(asked.image, list(asked.series) or None)


def _write(found: Segmented, out: Path) -> None:
    from organtwin.image.slicer import write_slicer

    write_slicer(found.labels, out)


def _compared(found: Segmented, asked: _Asked) -> tuple[Agreement, ...]:
    labelled = _labelled(found, asked)
    if not labelled:
        return ()
    from organtwin.segment.agreement import agreement, structures
    from organtwin.segment.catalogue import RECIPES
    from organtwin.segment.references import read_names, read_references

    grid, wanted = found.labels.grid, RECIPES[found.recipe].wanted
    reference = read_references(
        labelled, grid,
        names=read_names(asked.names) if asked.names else None,
        unions=wanted.regions if wanted else None,
    )  # fmt: skip
    return agreement(structures(found.labels, found.wholes), reference, grid)


def _labelled(found: Segmented, asked: _Asked) -> tuple[Path, ...]:
    """The references that are labels; those of a cine may be folders of surfaces."""
    if found.cine is None:
        return asked.reference
    from organtwin.segment.cine_quality import surface_files

    return tuple(path for path in asked.reference if not surface_files(path))


def _changed(labels: LabelMap, corrected: Path | None) -> tuple[Change, ...]:
    if corrected is None:
        return ()
    from organtwin.image.slicer import read_slicer
    from organtwin.segment.correction import changes, doubts

    theirs = read_slicer(corrected).labels
    for doubt in doubts(labels, theirs):
        typer.echo(f"Warning: {corrected.name}: {doubt}", err=True)
    return changes(labels, theirs)


def _tell_changes(out: Path, corrected: Path) -> None:
    """What a correction changed in labels that were written before."""
    from organtwin.image.slicer import read_slicer
    from organtwin.segment.correction import table

    changed = _changed(read_slicer(out).labels, corrected)
    report = _beside(out, ".json")
    facts: dict[str, Any] = json.loads(report.read_text()) if report.is_file() else {}
    facts["correction"] = [row.record() for row in changed]
    report.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    typer.echo(f"{table(changed)}\nreport     {report}")


def _report(
    found: Segmented, asked: _Asked, seconds: float, rows: tuple[Agreement, ...],
    changed: tuple[Change, ...],
) -> dict[str, Any]:  # fmt: skip
    return {
        "scan": asked.image.name,
        "recipe": found.recipe,
        "engine": found.engine,
        "seconds": round(seconds, 2),
        "volumes_ml": {name: found.labels.volume_ml(name) for name in found.labels.names},
        "thresholds": dict(found.thresholds),
        "seeds": {name: list(place) for name, place in found.seeds.items()},
        "decisions": list(found.decisions),
        "agreement": [row.record() for row in rows],
        "correction": [row.record() for row in changed],
    }


def _beat(cine: Cine, asked: _Asked, stem: Path) -> dict[str, Any]:
    """Write what belongs to a beat, and compare its volumes with a folder of surfaces."""
    from organtwin.export.cine_results import write_beat
    from organtwin.segment.cine_quality import reference_volumes, surface_files, volume_errors

    folders = [path for path in asked.reference if surface_files(path)]
    errors = volume_errors(cine, reference_volumes(folders[0])) if folders else None
    return write_beat(cine, errors, stem)


def _beat_lines(beat: dict[str, Any], stem: Path) -> str:
    """The figures and files in words."""
    full, empty = beat["end_diastole"], beat["end_systole"]
    volumes = (
        f"volumes    ED {full['volume_ml']:.1f} mL at {full['time_ms']:.0f} ms, "
        f"ES {empty['volume_ml']:.1f} mL at {empty['time_ms']:.0f} ms, "
        f"EF {100.0 * beat['ejection_fraction']:.1f} %"
    )
    told = [volumes]
    other = beat["reference"]
    if other is not None:
        told.append(
            f"reference  ED {other['edv_ml']:.1f} mL ({100.0 * other['edv_error']:+.1f} %), "
            f"ES {other['esv_ml']:.1f} mL ({100.0 * other['esv_error']:+.1f} %), "
            f"EF {100.0 * other['ejection_fraction']:.1f} % "
            f"({100.0 * other['ejection_fraction_error']:+.1f} points)"
        )
    told.append(f"surfaces   {stem.with_name(stem.name + '-surfaces')}")
    told.append(f"curve      {stem.with_name(beat['picture'])}")
    return "\n".join(told)


def _tell(
    found: Segmented, seconds: float, rows: tuple[Agreement, ...], changed: tuple[Change, ...]
) -> None:
    from organtwin.segment.agreement import table
    from organtwin.segment.correction import table as changes_table

    typer.echo(f"recipe     {found.recipe}, {found.engine}, {seconds:.1f} s")
    for decision in found.decisions:
        typer.echo(f"           {decision}")
    if rows:
        typer.echo(table(rows))
    if changed:
        typer.echo(changes_table(changed))


def _draw(
    scan: Image | Sequence | list[Sequence], found: Segmented, rows: tuple[Agreement, ...],
    asked: _Asked, path: Path,
) -> Path:  # fmt: skip
    from organtwin.export.overlays import overlay, overlay_slices
    from organtwin.segment.catalogue import RECIPES
    from organtwin.segment.references import read_names, read_references

    images = [still(s, found) for s in (scan if isinstance(scan, list) else [scan])]
    if min(images[0].grid.shape) == 1:
        return overlay_slices(images, found.labels, path)
    image = images[0]
    masks = {}
    if rows:
        wanted = RECIPES[found.recipe].wanted
        masks = read_references(
            _labelled(found, asked), image.grid,
            names=read_names(asked.names) if asked.names else None,
            unions=wanted.regions if wanted else None,
        )  # fmt: skip
    compared = {row.name: masks[row.name] for row in rows if row.name in masks}
    notes = {row.name: f"(Dice {row.dice:.2f})" for row in rows}
    return overlay(image, found.labels, path, reference=compared, notes=notes)


def still(scan: Image | Sequence, found: Segmented) -> Image:
    """The image at the share of the beat that the labels belong to."""
    import numpy as np

    from organtwin.image.volume import Image
    from organtwin.segment.cine_planes import at_phases

    if isinstance(scan, Image):
        return scan
    cine = found.cine
    share = 0.0 if cine is None else float(cine.times[found.phase]) / (cine.cycle or 1.0)
    return at_phases(scan, np.array([share])).images[0]
