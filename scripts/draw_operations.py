"""Pictures of docs/operations.md: a stem in a femur, screws in a vertebra, a plate on a tibia.

Run with: python scripts/draw_operations.py [hip_stem] [pedicle_screw] [tibial_plateau]
"""

import sys
from pathlib import Path

import numpy as np
import pyvista as pv
from PIL import Image

from organtwin.image.readers import read_image, read_labels
from organtwin.mesh.surface_files import read_surface
from organtwin.mesh.volume_mesh import outer_facets
from organtwin.orthopaedics.hip_stem import hip_stem
from organtwin.orthopaedics.pedicle_screw import pedicle_screw
from organtwin.orthopaedics.tibial_plateau import tibial_plateau

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
COLOURS = {
    "femur": "#e8dcc0", "tibia": "#e8dcc0", "vertebra": "#e8dcc0", "removed": "#e45756",
    "lateral_fragment": "#f2a65a", "depressed_fragment": "#e45756", "callus": "#54a24b",
    "graft": "#b279a2", "plate": "#7a8ca3",
}  # fmt: skip
IMPLANT = "#4c78a8"


def drawn(made, name, views, clear=()):
    """Views: direction to the eye, upwards, and a plane in front of which bone is left out.

    Regions that are ``clear`` are seen through, without their edges.
    """
    mesh = made.mesh
    middles = mesh.points[mesh.cells].mean(axis=1)
    plot = pv.Plotter(off_screen=True, shape=(1, len(views)), border=False,
                      window_size=(1100, 640 if len(views) < 3 else 440))  # fmt: skip
    for k, (towards, up, place, cut_all) in enumerate(views):
        plot.subplot(0, k)
        plot.set_background("white")
        eye = towards / np.linalg.norm(towards)
        behind = np.ones(len(middles), bool)
        if place is not None:
            behind = (middles - place) @ eye < 0.0
        for region, number in mesh.region_names.items():
            chosen = mesh.regions == number
            if cut_all or region not in made.implants:
                chosen &= behind
            if not chosen.any():
                continue
            facets = outer_facets(mesh.cells[chosen])
            body = pv.PolyData.from_regular_faces(mesh.points, facets)
            see = {"opacity": 0.25} if region in clear else {
                "show_edges": True, "edge_color": "#555555", "line_width": 0.3
            }  # fmt: skip
            plot.add_mesh(body.clean(), color=COLOURS.get(region, IMPLANT), **see)
        middle = 0.5 * (mesh.points.min(axis=0) + mesh.points.max(axis=0))
        plot.camera_position = [tuple(middle + 400.0 * eye), tuple(middle), tuple(up)]
        plot.enable_parallel_projection()
        plot.reset_camera()
        plot.camera.zoom(1.1 if len(views) < 3 else 1.35)
    path = IMAGES / f"operation_{name}.png"
    plot.screenshot(str(path))
    small = Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE, colors=128)
    small.save(path, optimize=True)


def draw_hip_stem(made):
    at = made.frames["stem"]
    drawn(made, "hip_stem", (
        (-at.axes[1], at.axes[2], at.origin, True), (at.axes[0] - 0.6 * at.axes[1], at.axes[2],
                                                     None, True),
    ))  # fmt: skip


def draw_pedicle_screw(made):
    at = made.frames["vertebra"]
    tips = [made.points[f"screw_{s}_{e}"] for s in ("left", "right") for e in ("entry", "tip")]
    drawn(made, "pedicle_screw", (
        (at.axes[2], -at.axes[1], np.mean(tips, axis=0), False),
        (at.axes[1] + 0.5 * at.axes[0], at.axes[2], None, False),
    ))  # fmt: skip


def draw_tibial_plateau(made):
    at = made.frames["knee"]
    out, up = at.axes[0], at.axes[2]
    front = np.cross(up, out)
    front = front if front[1] < 0.0 else -front
    drawn(made, "tibial_plateau", (
        (front, up, None, False), (out, up, None, False), (up, front, None, False),
    ), clear=("tibia", "callus"))  # fmt: skip


def hip():
    made = hip_stem(read_surface(ROOT / "meshes/femur/m4_lfemur_mm.stl"), side="left")
    draw_hip_stem(made)
    return made


def spine():
    folder = ROOT / "meshes/torso"
    names = {"L3": 29, "spinal_cord": 79}
    labels = read_labels(folder / "example_seg_fast_force_split.nii.gz", names)
    made = pedicle_screw(labels, scan=read_image(folder / "example_ct.nii.gz"))
    draw_pedicle_screw(made)
    return made


def knee():
    labels = read_labels(ROOT / "meshes/knee/seg.nrrd", {"tibia": 96, "fibula": 97})
    made = tibial_plateau(labels)
    draw_tibial_plateau(made)
    return made


if __name__ == "__main__":
    ways = {"hip_stem": hip, "pedicle_screw": spine, "tibial_plateau": knee}
    for chosen in sys.argv[1:] or ways:
        done = ways[chosen]()
        print(chosen, len(done.mesh.points), "vertices", len(done.mesh.cells), "cells", done.fit)
        print(*done.notes, sep="\n")
