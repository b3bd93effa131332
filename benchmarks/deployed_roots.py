"""Diameters of frames deployed in synthetic roots: default settings against a fine reference.

Run: ``OMP_NUM_THREADS=1 python benchmarks/deployed_roots.py --folder FOLDER [ROOT ...]``. Each root
of `organtwin.aortic_root.synthetic` is scanned, measured, meshed, and gets the balloon-expandable
valve of the size that its annulus asks for (the largest root the self-expanding one), twice: with
the default settings, and in finer tissue with more elements along a strut and points closer
together. What is done is kept in the folder; a run that was stopped goes on. ``--only default`` or
``--only fine`` does one of both; ``--leaflets none`` leaves the native leaflets out, which takes a
fifth of the time.

The table tells, for each root, the largest difference of all diameters (least and largest at
inflow, annulus, leaflets and outflow) in percent of the fine one's, where it is, and what both
cost.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import argparse
import json
from pathlib import Path

import SimpleITK as sitk

from organtwin.aortic_root import phantom
from organtwin.aortic_root.synthetic import ROOTS
from organtwin.case.load import load_tavr_case
from organtwin.case.tavr_pipeline import run_tavr
from organtwin.errors import OrgantwinError
from organtwin.image.readers import write_labels

CASE = """
title = "{name}"

[scan]
file = "scan.nrrd"
labels = "labels.nrrd"
names = {names}

[device]
name = "{device}"
refuse_too_large = false

[haemodynamics]
systole = false
"""
#: Roots that are too large for the balloon-expandable valve get the other one.
OTHERS = {"large": "evolut_like"}
#: A voxel of air (HU), which tells that the file holds a CT.
AIR = -1000.0
#: What differs from the defaults in a fine reference.
FINE = ("root.size=1.2 mm", "deployment.elements=6", "deployment.spacing=0.5 mm")
SETTINGS = {"default": (), "fine": FINE}


def scanned(name: str, folder: Path) -> Path:
    """A root's folder with scan, labels and case file."""
    place = folder / name.replace(" ", "_").replace(",", "")
    if not (place / "case.toml").is_file():
        place.mkdir(parents=True, exist_ok=True)
        root, scanner = ROOTS[name]
        image = phantom.scan(root, scanner)
        image.values[0, 0, 0] = AIR
        sitk.WriteImage(image.to_sitk(), str(place / "scan.nrrd"), useCompression=True)
        labels = phantom.labels(root, scanner)
        write_labels(labels, place / "labels.nrrd")
        names = ", ".join(f"{key} = {value}" for key, value in labels.names.items())
        (place / "case.toml").write_text(
            CASE.format(name=name, names=f"{{ {names} }}", device=OTHERS.get(name, "sapien3_like"))
        )
    return place


def deployed(place: Path, settings: str, leaflets: str) -> tuple[dict[str, float], float]:
    """Diameters (mm) by index, and seconds of the deployment.

    Raises:
        OrgantwinError: it failed.
    """
    case = load_tavr_case(place / "case.toml", (*SETTINGS[settings], f"root.leaflets={leaflets}"))
    out = run_tavr(case, out=place / leaflets / settings, only={"judge"})
    indices = json.loads((out / "indices.json").read_text())
    diameters = {one["name"]: one["value"] for one in indices if "_diameter_m" in one["name"]}
    account = json.loads((out / "stages/deploy/deploy.json").read_text())
    return {name: value for name, value in diameters.items() if value is not None}, float(
        account["seconds"]
    )


def row(name: str, default: tuple[dict[str, float], float],
        fine: tuple[dict[str, float], float]) -> str:  # fmt: skip
    """A line of the table."""
    off = {key: 100 * (default[0][key] / value - 1) for key, value in fine[0].items()}
    worst = max(off, key=lambda key: abs(off[key]))
    where = worst.removeprefix("frame_").replace("_diameter_", " ")
    return (
        f"| {name} | {fine[0][worst]:.2f} | {off[worst]:+.2f} % | {where} "
        f"| {default[1]:.0f} | {fine[1] / default[1]:.1f} |"
    )


def main() -> None:
    """Do what is asked for, root by root."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("roots", nargs="*", metavar="ROOT", help="all if none")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", choices=SETTINGS)
    parser.add_argument("--leaflets", choices=("open", "none"), default="open")
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.roots) - set(ROOTS))
    if unknown:
        parser.error(f"no root {unknown}. Known: {sorted(ROOTS)}")
    print("| root | fine (mm) | default | where | seconds | fine over default |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in chosen.roots or ROOTS:
        place, done = scanned(name, chosen.folder), {}
        for settings in [chosen.only] if chosen.only else SETTINGS:
            try:
                done[settings] = deployed(place, settings, chosen.leaflets)
            except OrgantwinError as error:
                print(f"| {name} | {settings}: {error} |", flush=True)
        if len(done) == len(SETTINGS):
            print(row(name, done["default"], done["fine"]), flush=True)


if __name__ == "__main__":
    main()
