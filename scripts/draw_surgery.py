"""Pictures and figures of docs/surgery.md: a fractured tibia, a drilled vertebra, a stem's gaps.

Run with: python scripts/draw_surgery.py [tibia] [vertebra] [stem]
"""

import sys
from dataclasses import asdict
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyvista as pv

from organtwin.image.readers import read_image, read_labels
from organtwin.landmarks.catalogue import landmarks_of
from organtwin.landmarks.fits import unit
from organtwin.landmarks.record import find
from organtwin.mesh.surface_files import TriangleSurface, read_surface
from organtwin.surgery.bodies import bodies_of_labels, bodies_of_surfaces
from organtwin.surgery.cuts import neck_resection, remove, resection_plane
from organtwin.surgery.fit import canal_fill, gap_map
from organtwin.surgery.fractures import depress, displace, floating, split
from organtwin.surgery.placement import Device, Frame, stem_frame
from organtwin.surgery.reduction import faces_on, fit_faces, step_off
from organtwin.surgery.rigid import Rigid
from organtwin.surgery.screws import (
    Screw,
    clearance,
    grey_at,
    purchase,
    shell,
    tissue_of_scan,
    trajectory,
)
from organtwin.surgery.tools import Envelope, HalfSpace, Plug, Sheet

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
COLOURS = ("#e8dcc0", "#4c78a8", "#e45756", "#54a24b")


def poly(surface):
    return pv.PolyData.from_regular_faces(surface.points, surface.triangles)


def smooth_poly(surface):
    return poly(surface).compute_normals(feature_angle=40.0, split_vertices=True)


def plateau_fracture():
    """Split and depression of the lateral plateau (a Schatzker II) of the knee atlas' tibia."""
    knee = read_labels(ROOT / "meshes/knee/seg.nrrd", {"tibia": 96, "fibula": 97})
    marks = landmarks_of("tibia", knee)
    plateau = find(marks, "tibial_plateau").geometry
    up = plateau.normal
    lateral, medial = (find(marks, f"plateau_{s}").geometry.at for s in ("lateral", "medial"))
    out = unit((lateral - medial) - ((lateral - medial) @ up) * up)
    front = np.cross(up, out) if np.cross(up, out)[1] < 0.0 else np.cross(out, up)
    bodies = bodies_of_labels(knee, ("tibia",), voxel=0.8, margin=15.0)
    # From just beside the middle of the plateau down to the lateral cortex, bent to the front.
    line = [lateral + 4.0 * out + a * front + b * up + c * out for a, b, c in
            ((-18, 0, 3), (0, 0, 0), (18, 0, 2), (-14, -18, 7), (0, -18, 6), (14, -18, 8),
             (-8, -34, 16), (8, -34, 17))]  # fmt: skip
    border = Sheet(np.array(line), lateral + 60.0 * out)
    broken = split(bodies, "tibia", border, ("lateral_fragment", "tibia"), gap=0.2)
    turn = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    ring = np.array([lateral - 5.5 * out + 7.0 * np.cos(t) * out + 10.0 * np.sin(t) * front
                     for t in turn])  # fmt: skip
    pressed = depress(broken.bodies, "tibia", Plug(ring, -up, 9.0), "depressed_piece", 6.0, gap=0.2)
    away = Rigid.by(4.0 * out - 1.0 * up).after(Rigid.turn(front, -4.0, lateral - 35.0 * up))
    opened = displace(pressed.bodies, "lateral_fragment", away, yields=("tibia",))
    return bodies, border, broken, pressed, away, opened, up, out, front, lateral


def tibia():
    bodies, border, broken, pressed, away, opened, up, out, front, lateral = plateau_fracture()
    print("tibia", round(bodies.volume_ml("tibia"), 1), "mL; parts (mL)",
          {n: round(opened.bodies.volume_ml(n), 2) for n in opened.bodies.names})  # fmt: skip
    print("fracture area", round(broken.area), "mm2; crushed", pressed.crushed, "void",
          pressed.void)  # fmt: skip
    surfaces = opened.bodies.surfaces()
    joint = HalfSpace(lateral - 9.0 * up, up)
    for name in ("lateral_fragment", "depressed_piece"):
        print(name, step_off(surfaces[name], surfaces["tibia"], up, reach=9.0, region=joint))
    whole = broken.bodies.surfaces()
    gone = away.surface(whole["lateral_fragment"])
    fit = fit_faces(
        gone, faces_on(whole["lateral_fragment"], border, 0.5),
        whole["tibia"], faces_on(whole["tibia"], border, 0.5), gap=0.2,
    )  # fmt: skip
    left = np.linalg.norm(fit.motion.points(gone.points) - whole["lateral_fragment"].points, axis=1)
    print("reduction", fit.rms, fit.largest, fit.free, fit.rounds, "error", left.mean(), left.max())
    entry = lateral + 30.0 * out - 9.0 * up
    # From the lateral surface on: where the axis enters, a little outside.
    screw = Screw(entry, entry - 75.0 * out, 6.5, 4.5, thread=32.0, name="lag screw")
    print("screw", purchase(screw, shell(bodies.surface("tibia"), 1.5)))
    print("floating", floating(opened.bodies, ("tibia",), {}),
          floating(broken.bodies, ("tibia",), {"lag": screw.surface()}))  # fmt: skip
    views = (lateral + 160 * (1.0 * out - 0.9 * front + 0.55 * up), lateral + 220 * up - front)
    plot = pv.Plotter(off_screen=True, shape=(1, 2), window_size=(1300, 620), border=False)
    for k, view in enumerate(views):
        plot.subplot(0, k)
        plot.set_background("white")
        for name, colour in zip(("tibia", "lateral_fragment", "depressed_piece"), COLOURS,
                                strict=False):  # fmt: skip
            plot.add_mesh(smooth_poly(surfaces[name]), color=colour, smooth_shading=True)
        focus = lateral - 12.0 * up if k == 0 else lateral - 20.0 * out
        plot.camera_position = [tuple(view), tuple(focus), tuple(up if k == 0 else -front)]
        plot.camera.zoom(1.25 if k == 0 else 1.35)
    plot.screenshot(str(IMAGES / "surgery_fracture.png"))


def pedicles():
    """Screws into both pedicles of L3 of the torso CT, by hand as lines."""
    return {
        "screw_left": (np.array([22.5, -101.0, 322.5]), np.array([8.5, -146.0, 318.5])),
        "screw_right": (np.array([-19.7, -101.0, 322.5]), np.array([-5.7, -146.0, 318.5])),
    }


def vertebra():
    folder = ROOT / "meshes/torso"
    scan = read_image(folder / "example_ct.nii.gz")
    labels = read_labels(
        folder / "example_seg_fast_force_split.nii.gz", {"L3": 29, "spinal_cord": 79}
    )
    bodies = bodies_of_labels(labels, ("L3", "spinal_cord"), voxel=0.75)
    bone, canal = bodies.surface("L3"), bodies.surface("spinal_cord")
    drilled, screws = bodies, []
    for name, (entry, tip) in pedicles().items():
        screw = Screw(entry, tip, 6.25, 4.4, thread=40.0, name=name)
        made = remove(drilled, screw.pilot(), ("L3",), place=name)
        drilled = made.bodies
        found, along = purchase(screw, tissue_of_scan(scan, bone, 250.0)), trajectory(screw, scan)
        print(name, asdict(found))
        print("  pilot", made.volumes, "clearance", clearance(screw, canal), "HU", along.mean,
              along.lowest, along.notes)  # fmt: skip
        screws.append((screw, along))
    figure = plt.figure(figsize=(13, 5.2))
    axes = figure.add_subplot(1, 3, 1)
    window = np.mgrid[-45:45:181j, -170:-75:191j]
    flat = np.stack([window[0].ravel(), window[1].ravel(), np.full(window[0].size, 320.8)], axis=1)
    axes.imshow(grey_at(scan, flat).reshape(window[0].shape).T, cmap="gray", vmin=-150, vmax=600,
                extent=(-45, 45, -75, -170))  # fmt: skip
    axes.contour(window[0], window[1], drilled.at("L3", flat).reshape(window[0].shape), [0.0],
                 colors=["#ffb000"])  # fmt: skip
    axes.contour(window[0], window[1], drilled.at("spinal_cord", flat).reshape(window[0].shape),
                 [0.0], colors=["#40c0ff"])  # fmt: skip
    for screw, _ in screws:
        axes.plot(*np.stack([screw.entry, screw.tip])[:, :2].T, "r--", lw=1)
    axes.set(title="L3 with pilot holes, at z = 320.8 mm", xlabel="x, to the left (mm)",
             ylabel="y, to the back (mm)", ylim=(-170, -75))  # fmt: skip
    plot = pv.Plotter(off_screen=True, window_size=(900, 800))
    plot.set_background("white")
    cut_open = smooth_poly(drilled.surface("L3")).clip("z", origin=(0, 0, 321.0))
    plot.add_mesh(cut_open, color=COLOURS[0], smooth_shading=True)
    plot.add_mesh(smooth_poly(canal).clip("z", origin=(0, 0, 321.0)).clip(
        "-z", origin=(0, 0, 296.0)), color="#40c0ff", opacity=0.6)  # fmt: skip
    plot.camera_position = [(60, -40, 480), (2, -125, 310), (0, 1, 0)]
    plot.camera.zoom(1.3)
    axes = figure.add_subplot(1, 3, 2)
    axes.imshow(plot.screenshot(return_img=True))
    axes.set(title="Cut open above the holes")
    axes.axis("off")
    axes = figure.add_subplot(1, 3, 3)
    for screw, along in screws:
        axes.plot(along.along, along.values, label=screw.name)
    axes.set(title="Density along the thread", xlabel="from the head (mm)", ylabel="HU")
    axes.legend()
    figure.tight_layout()
    figure.savefig(IMAGES / "surgery_vertebra.png", dpi=75)


def tapered(size):
    """A plain tapered stem: sections that widen upwards, a frame with z up and x medial."""
    heights = np.linspace(-95.0, 0.0, 47)
    share = (heights + 95.0) / 95.0
    medial = size * (4.0 + 5.0 * share + 9.0 * share**4)
    lateral = size * (4.0 + 4.5 * share)
    depth = size * (3.6 + 3.4 * share)
    turn = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    rings = []
    for z, m, ell, d in zip(heights, medial, lateral, depth, strict=True):
        x = (
            np.where(np.cos(turn) > 0.0, m, ell)
            * np.abs(np.cos(turn)) ** 0.7
            * np.sign(np.cos(turn))
        )
        y = d * np.abs(np.sin(turn)) ** 0.7 * np.sign(np.sin(turn))
        rings.append(np.stack([x, y, np.full(len(turn), z)], axis=1))
    points = np.concatenate([*rings, [[0.0, 0, heights[0]], [0.0, 0, heights[-1]]]])
    k, n = np.arange(48), 48
    after = (k + 1) % n
    sides = [np.stack([a + k, a + after, a + n + after], axis=1) for a in range(0, 46 * n, n)]
    more = [np.stack([a + k, a + n + after, a + n + k], axis=1) for a in range(0, 46 * n, n)]
    low, high = len(points) - 2, len(points) - 1
    caps = [np.stack([np.full(n, low), after, k], axis=1),
            np.stack([np.full(n, high), 46 * n + k, 46 * n + after], axis=1)]  # fmt: skip
    surface = TriangleSurface(points, np.concatenate([*sides, *more, *caps]))
    return Device("stem", surface, Frame(np.zeros(3), np.eye(3)))


def stem():
    """Neck resection, broach and gaps of a stem in the femur's surface."""
    femur = read_surface(ROOT / "meshes/femur/m4_lfemur_mm.stl")
    marks = landmarks_of("femur", femur)
    head = find(marks, "femoral_head_centre").geometry.at
    neck, shaft = (find(marks, f"femoral_{p}_axis").geometry for p in ("neck", "shaft"))
    bodies = bodies_of_surfaces({"femur": femur}, 1.0)
    cut = neck_resection(bodies, "femur", marks, height=12.0, tilt=40.0, stop=4.0, kerf=1.0)
    print("head", cut.volumes, "area", cut.area, cut.notes)
    plane = resection_plane(femur, marks, height=12.0, tilt=40.0)
    # Without a scan the canal is what a cortex of 6 mm leaves in the shaft.
    inner = np.maximum(bodies.field("femur") + 6.0, cut.bodies.field("femur"))
    canal = cut.bodies.changed({"canal": inner.astype(np.float32)})
    target = stem_frame(head, neck, shaft, plane)
    # Its shoulder lies below the cut, or it would stand out of the bone medially.
    placed = tapered(1.25).at(target).moved(Rigid.by(-24.0 * target.axes[2]))
    levels = canal_fill(
        placed.surface, canal.surface("canal"), target.origin, target.origin - target.axes[2],
        (20.0, 40.0, 60.0, 80.0, 100.0), directions=(target.axes[0], target.axes[1]),
    )  # fmt: skip
    for level in levels:
        print(level)
    reamed = remove(
        cut.bodies, Envelope(placed.surface, -0.3, way=60.0 * target.axes[2]), ("femur",),
        place="broach",
    )  # fmt: skip
    print("broach", reamed.volumes, reamed.notes)
    bone = reamed.bodies.surface("femur")
    found = gap_map(placed.surface, bone)
    print("gap", found.mean, found.largest_gap, found.largest_interference, found.bands())
    # As an uncemented stem meets a canal of its own, unbroached shape: gaps of both signs.
    own = canal.surface("canal")
    loose = gap_map(placed.surface, TriangleSurface(own.points, own.triangles[:, ::-1]))
    middles = loose.surface.points[loose.surface.triangles].mean(axis=1)
    loose = loose.only(cut.bodies.at("femur", middles) < -1.0)
    print("against the canal", loose.mean, loose.largest_gap, loose.largest_interference,
          loose.bands())  # fmt: skip
    draw_gaps(cut, placed, loose, target)


def draw_gaps(cut, placed, found, target):
    mesh = poly(found.surface)
    mesh.cell_data["gap (mm)"] = found.distances
    bar = {"color": "black", "title_font_size": 18, "label_font_size": 14, "n_labels": 5,
           "position_x": 0.2, "width": 0.6}  # fmt: skip
    plot = pv.Plotter(off_screen=True, shape=(1, 3), window_size=(1300, 640), border=False)
    place = target.origin - 45.0 * target.axes[2]
    bone = smooth_poly(cut.bodies.surface("femur"))
    views = ((0, 1.0), (0, -1.0), (1, 1.0))
    for k, (axis, sign) in enumerate(views):
        plot.subplot(0, k)
        plot.set_background("white")
        way = -sign * target.axes[1] if axis == 0 else target.axes[0]
        plot.add_mesh(mesh, scalars="gap (mm)", cmap="RdBu", clim=(-4, 4), show_scalar_bar=k == 1,
                      scalar_bar_args=bar)  # fmt: skip
        plot.add_mesh(poly(placed.surface).scale(0.995, point=tuple(place)), color="#999999")
        plot.add_mesh(bone, color=COLOURS[0], opacity=0.25)
        plot.camera_position = [tuple(place + 330 * way), tuple(place), tuple(target.axes[2])]
        plot.camera.zoom(1.35)
    plot.screenshot(str(IMAGES / "surgery_gaps.png"))


if __name__ == "__main__":
    for chosen in sys.argv[1:] or ("tibia", "vertebra", "stem"):
        {"tibia": tibia, "vertebra": vertebra, "stem": stem}[chosen]()
