"""Synthetic roots with known truth, straight and bent, and how each of them is scanned."""

from __future__ import annotations

from dataclasses import replace

from organtwin.aortic_root.bent import BentRoot
from organtwin.aortic_root.parametric import Coronary, Nodule, ParametricRoot
from organtwin.aortic_root.phantom import Scanner

USUAL = ParametricRoot()
#: The aorta arches over the left sinus, so the junction is tilted against the annulus.
ARCHED = BentRoot(arch=25.0, towards=30.0)
HEAVY = (
    Nodule("left", "leaflet", 4.5, 0.0, 0.45), Nodule("left", "leaflet", 3.0, -0.5, 0.3),
    Nodule("left", "leaflet", 3.0, 0.5, 0.3), Nodule("left", "annulus", 3.5, 0.1),
    Nodule("left", "outflow", 3.0, -0.2, 5.0),
)  # fmt: skip
SCATTERED = (
    Nodule("right", "leaflet", 4.0, 0.0, 0.5), Nodule("left", "outflow", 4.0, 0.0, 5.0),
    Nodule("non_coronary", "annulus", 4.0, 0.2), Nodule("non_coronary", "leaflet", 3.0, -0.4, 0.3),
)  # fmt: skip
#: Name → root and how it is scanned.
ROOTS: dict[str, tuple[ParametricRoot | BentRoot, Scanner]] = {
    "usual": (USUAL, Scanner(voxel=0.8)),
    "circular": (
        replace(USUAL, annulus=(24.0, 24.0), outflow=(24.0, 24.0), junction=27.0),
        Scanner(voxel=0.8),
    ),
    "elliptic": (
        replace(USUAL, annulus=(29.0, 20.5), outflow=(30.0, 19.5), turn=-25.0),
        Scanner(voxel=0.8),
    ),
    "bicuspid-like": (
        replace(USUAL, annulus=(28.0, 25.0), commissures=(-40.0, 65.0, 215.0),
                depths=(4.0, 4.0, 6.0), raphe=0, junction=32.0, ascending=38.0),
        Scanner(voxel=0.8),
    ),
    "small": (
        replace(USUAL, annulus=(20.5, 17.5), outflow=(20.5, 17.0), junction=22.0, ascending=25.0,
                junction_height=17.0, commissure_height=12.5, depths=(3.6, 3.4, 3.7),
                coronaries=(Coronary("right", 11.0, 2.8), Coronary("left", 10.0, 3.2))),
        Scanner(voxel=0.7),
    ),
    "large": (
        replace(USUAL, annulus=(32.0, 27.0), outflow=(33.0, 26.0), junction=35.0, ascending=39.0,
                junction_height=26.0, commissure_height=19.0, depths=(6.5, 6.0, 6.5),
                coronaries=(Coronary("right", 18.0, 4.0), Coronary("left", 16.5, 4.5))),
        Scanner(voxel=0.9),
    ),
    "low coronaries": (
        replace(USUAL, coronaries=(Coronary("right", 9.0, 3.5, 10.0), Coronary("left", 7.5, 3.8))),
        Scanner(voxel=0.7),
    ),
    "calcium on one cusp": (replace(USUAL, calcium=HEAVY), Scanner(voxel=0.7)),
    "calcium everywhere": (replace(USUAL, calcium=SCATTERED), Scanner(voxel=0.8)),
    "open leaflets": (replace(USUAL, leaflets="open"), Scanner(voxel=0.8)),
    "shallow sinuses": (
        replace(USUAL, depths=(3.2, 3.0, 3.2), leaflets="none"), Scanner(voxel=0.8),
    ),
    "horizontal": (replace(USUAL, angulation=62.0, lean=25.0), Scanner(voxel=0.8)),
    "upright": (replace(USUAL, angulation=18.0, lean=0.0, turn=80.0), Scanner(voxel=0.8)),
    "noisy, little contrast": (USUAL, Scanner(voxel=0.8, noise=35.0, contrast=300.0, seed=3)),
    "widening outflow": (
        replace(USUAL, outflow=(33.0, 27.0), annulus=(26.0, 23.0), ventricle=44.0),
        Scanner(voxel=0.8),
    ),
    "arched": (ARCHED, Scanner(voxel=0.8)),
    "arched, outflow leans back": (
        replace(ARCHED, arch=15.0, towards=60.0, outflow_lean=25.0, outflow_towards=90.0),
        Scanner(voxel=0.8),
    ),
    "arched both ways": (
        replace(ARCHED, outflow_lean=20.0, outflow_towards=30.0), Scanner(voxel=0.8),
    ),
    "arched, open leaflets": (replace(ARCHED, leaflets="open"), Scanner(voxel=0.8)),
}  # fmt: skip
