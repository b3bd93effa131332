"""Beats of the benchmark of Aróstica et al. (2025) in the band of the participating codes.

    OMP_NUM_THREADS=1 python benchmarks/arostica.py [0A 0B 1 biv] [--dt 2.5] [--keep FOLDER]

Draws ``docs/images/arostica.png`` (left ventricle) and ``arostica_biventricular.png`` from what is
in FOLDER; a case that is named is computed first. Each left-ventricular case is computed twice: on
the mesh that the codes share, with straight edges of 5 mm, and on edges of 10 mm that follow the
ellipsoids.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from mpi4py import MPI

mpl.use("Agg")
import matplotlib.pyplot as plt

from organtwin.verify import arostica
from organtwin.verify.problem import shared_file

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
INK, BAND, OURS, EXACT = "#222222", "#c9d3dc", "#b3261e", "#1f5fa8"


@dataclass(frozen=True)
class Variant:
    """A mesh, and how its curves are drawn."""

    size: float  # mm; 0 for the mesh that the codes share
    order: int
    label: str
    colour: str
    dashes: str


LEFT = (
    Variant(0.0, 1, "ours, mesh of the codes (flat facets)", OURS, "-"),
    Variant(10.0, 2, "ours, smooth geometry (curved edges of 10 mm)", EXACT, "--"),
)
BOTH = (Variant(10.0, 2, "ours, curved edges of 10 mm", OURS, "-"),)
TITLES = {"0A": "active", "0B": "pressure", "1": "active and pressure", "biv": "biventricular"}


def main() -> None:
    """Compute the cases that are named, draw what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*arostica.CASES, []], help="to compute")
    parser.add_argument("--dt", type=float, default=2.5, help="time step (ms); 1 in the source")
    parser.add_argument("--keep", type=Path, default=Path("results/arostica"), help="curves")
    parser.add_argument("--mesh", type=int, choices=(0, 1), help="one of the two meshes only")
    wanted = parser.parse_args()
    wanted.keep.mkdir(parents=True, exist_ok=True)
    for case in wanted.cases:
        for n, variant in enumerate(BOTH if case == "biv" else LEFT):
            if wanted.mesh in (None, n):
                compute(case, variant, wanted.dt, wanted.keep)
    if MPI.COMM_WORLD.rank == 0:
        draw(("0A", "0B", "1"), LEFT, wanted.keep, IMAGES / "arostica.png")
        draw(("biv",), BOTH, wanted.keep, IMAGES / "arostica_biventricular.png")


def compute(case: str, variant: Variant, dt: float, folder: Path) -> None:
    """One beat, kept in the folder, and how it compares."""
    comm = MPI.COMM_WORLD
    start = time.perf_counter()
    motion = arostica.beat(heart(comm, case, variant), arostica.CASES[case], dt=dt)
    if comm.rank == 0:
        np.savez(kept(folder, case, variant), t=motion.times, u=motion.displacement,
                 v=motion.volumes)  # fmt: skip
        print(f"{case}, {variant.label}: {time.perf_counter() - start:.0f} s")
        published = "biv_fine" if case == "biv" else case
        for record in arostica.records(
            "", published, motion, slack=dict.fromkeys("xyz", 0.0), curves=True
        ):
            print(f"  {record.quantity:<60} {record.value:8.3f} {record.reference:8.3f} "
                  f"± {record.tolerance:.3f}  {record.verdict}")  # fmt: skip


def heart(comm: MPI.Comm, case: str, variant: Variant) -> arostica.Heart:
    """The geometry of a case, meshed."""
    if variant.size == 0:
        return arostica.published_ventricle(comm)
    make = arostica.ventricles if case == "biv" else arostica.left_ventricle
    with shared_file(comm, "heart.msh") as mesh:
        return make(comm, mesh, size=variant.size, order=variant.order)


def kept(folder: Path, case: str, variant: Variant) -> Path:
    """File of a motion."""
    return folder / f"{case}_{variant.size:g}_{variant.order}.npz"


def draw(cases: tuple[str, ...], variants: tuple[Variant, ...], folder: Path, file: Path) -> None:
    """A row per case that has curves, a column per component."""
    cases = tuple(
        case for case in cases if any(kept(folder, case, variant).exists() for variant in variants)
    )
    if not cases:
        return
    columns = ("p0_ux", "p0_uz", "p1_ux", "p2_ux")[: 4 if cases == ("biv",) else 3]
    shape = (len(cases), len(columns))
    figure, axes = plt.subplots(*shape, figsize=(3.4 * shape[1], 2.5 * shape[0]), squeeze=False,
                                sharex=True, layout="constrained")  # fmt: skip
    for row, case in zip(axes, cases, strict=True):
        bands = arostica.bands("biv_fine" if case == "biv" else case)
        for ax, name in zip(row, columns, strict=True):
            band = bands[name]
            ax.fill_between(band.times, band.low, band.high, color=BAND, label="codes, extremes")
            ax.plot(band.times, band.mean, color=INK, lw=0.8, ls=":", label="codes, mean")
            for variant in variants:
                path = kept(folder, case, variant)
                if path.exists():
                    data = np.load(path)
                    curve = data["u"][:, int(name[1]), "xyz".index(name[-1])]
                    ax.plot(data["t"], curve, color=variant.colour, ls=variant.dashes, lw=1.2,
                            label=variant.label)  # fmt: skip
            ax.set_title(f"{TITLES[case]}: $u_{name[-1]}$ of $p_{name[1]}$", fontsize=9)
            ax.tick_params(labelsize=8)
            ax.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel("mm", fontsize=8)
    for ax in axes[-1]:
        ax.set_xlabel("ms", fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncol=4, fontsize=8, frameon=False)
    figure.savefig(file, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    main()
