"""Does a stiffer stem shield the calcar more, and does less contact let a stem move more?

    OMP_NUM_THREADS=1 python benchmarks/stem_trends.py --folder results/stem_trends

The stem of `demos/hip_stem/case.toml` in one size and place: of three materials; and with a coating
that ends at three heights, below which the stem is polished and hardly rubs. What is done is kept.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from organtwin.case.implant_pipeline import run_implant
from organtwin.case.load import load_implant_case
from organtwin.implants.tables import CATALOGUE

CASE = Path(__file__).parents[1] / "demos/hip_stem/case.toml"
SIZE = "4"
#: Place of the stem, which must not differ.
SAME = (f'hip_stem.size="{SIZE}"', "hip_stem.neck=varus", "hip_stem.neck_cut=5 mm",
        "hip_stem.head=0 mm", "loads.activities=['walking']")  # fmt: skip
#: From soft to stiff.
MATERIALS = ("PEEK", "Ti6Al4V", "CoCrMo")
#: Height of the coating below the neck's cut (mm), from long to short; with friction below it of
#: a polished stem that is wet.
COATINGS = (69, 45, 25)
POLISHED = "hip_stem.friction_polished=0.05"


def indices(folder: Path, settings: Sequence[str]) -> dict[str, float]:
    """Indices of a run by name."""
    run_implant(
        load_implant_case(CASE, (*SAME, *settings)), out=folder, only={"plan", "solve", "judge"}
    )
    records = json.loads((folder / "indices.json").read_text(encoding="utf-8"))
    return {one["name"]: one["value"] for one in records}


def by_material(folder: Path) -> Iterator[tuple[str, float]]:
    """Strain energy that the calcar, Gruen's zone 7, loses (%), by material from soft to stiff."""
    for material in MATERIALS:
        found = indices(folder / material, [f"hip_stem.material={material}"])
        yield material, found["shielding_zone_7"]


def by_coating(folder: Path) -> Iterator[tuple[int, float]]:
    """Micromotion (µm) that 95 % of the area do not exceed, by height of the coating (mm)."""
    source = (CATALOGUE / "tapered_stem.toml").read_text(encoding="utf-8")
    head, mine = source.split(f"[sizes.{SIZE}]")
    size = mine.split("\n\n", 1)[0]
    for height in COATINGS:
        lines = [f'coating_height = "{height} mm"' if line.startswith("coating_height") else line
                 for line in size.splitlines()]  # fmt: skip
        place = folder / f"coated_{height}mm"
        place.mkdir(parents=True, exist_ok=True)
        # Sizes ascend in the catalogue's file; this one holds a single size.
        (place / "stem.toml").write_text(
            head.split("[sizes.")[0] + f"[sizes.{SIZE}]" + "\n".join(lines) + "\n", encoding="utf-8"
        )
        found = indices(place / "run", [f"hip_stem.family={place.resolve()}/stem.toml", POLISHED])
        yield height, found["walking_micromotion_95"]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    folder = parser.parse_args().folder
    print("| material | calcar loses |\n|---|---:|")
    for material, loss in by_material(folder):
        print(f"| {material} | {loss:.1f} % |", flush=True)
    print("\n| coating (mm) | micromotion, 95 % (µm) |\n|---|---:|")
    for height, motion in by_coating(folder):
        print(f"| {height} | {motion:.1f} |", flush=True)


if __name__ == "__main__":
    main()
