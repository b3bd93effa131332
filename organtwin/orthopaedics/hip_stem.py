"""Cementless hip stem: neck resection, broached canal, stem and femur in one mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion
from organtwin.image.markups import Markup
from organtwin.image.volume import Image
from organtwin.implants.implant import Implant, LocalFrame
from organtwin.implants.implant_files import implant_sizes, load_implant
from organtwin.implants.stem import HipStem
from organtwin.landmarks.catalogue import landmarks_of
from organtwin.landmarks.fits import unit
from organtwin.landmarks.record import Landmark
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.orthopaedics.assembly import (
    Assembly,
    Zone,
    meshed,
    on_plane,
    retagged,
    volume_errors,
)
from organtwin.orthopaedics.bone_model import Completed, canal_of
from organtwin.orthopaedics.hip_centre import BESIDE, LONGER, Restored, restored
from organtwin.orthopaedics.hip_site import (
    HipStemOptions,
    Site,
    image_of,
    refuse_short,
    site_of,
    whole_femur,
)
from organtwin.orthopaedics.neck_indices import NECK, NeckSections
from organtwin.surgery.bodies import Bodies, bodies_of_surfaces, pieces
from organtwin.surgery.cuts import calcar_height, tool_field
from organtwin.surgery.fit import FINE, GapMap, canal_fill, divided, require_fits
from organtwin.surgery.placement import Frame
from organtwin.surgery.sides import femur_side, require_side
from organtwin.surgery.tools import Common, Envelope, HalfSpace

type Points = NDArray[np.float64]

#: Table of the assembly: places on the stem and their gap to the cortex (mm), (n, 4).
CANAL_GAP = "canal gap mm"
#: Distance (mm) of levels at which the fill of the canal is measured.
LEVEL = 5.0
#: How far above the resection the way of the broach is cleared (mm).
CLEARED = 60.0


def hip_stem(
    bone: TriangleSurface,
    options: HipStemOptions | None = None,
    *,
    scan: Image | None = None,
    overrides: str | Path | Sequence[Markup] | None = None,
    side: str | None = None,
    template: TriangleSurface | None = None,
) -> Assembly:
    """A femur with a stem: one mesh of ``femur``, ``stem`` and ``removed``.

    ``removed`` is what the neck's cut and the broach take. Intact is all of it, operated is femur
    and stem. The stem is meshed up to the plane of the cut, where the load of the head goes in
    (surface ``stem_neck``, point ``head_centre``): its neck is no part of the mesh. It fills what
    was broached, line to line: a press fit is a number of the interface's law.

    Args:
        bone: Closed surface of the femur.
        options: See there.
        scan: CT (HU) in the same coordinates; densities follow the law without it, and where it
            ends.
        overrides: Landmarks placed in 3D Slicer, see `organtwin.landmarks.catalogue`.
        side: ``left`` or ``right`` if it is known; checked against the bone's shape.
        template: Another femur, for a bone that its image cuts off below the neck: it takes the
            place of what is missing (`organtwin.orthopaedics.bone_model.completed`). ``side`` is
            needed with it.

    Raises:
        InputError: no size fits, or that given is larger than the canal; the bone is of the other
            side; its shaft is too short and may not be made longer; a landmark was not found.
        MeshError: no valid mesh came out.
    """
    asked = options or HipStemOptions()
    notes: list[str] = []
    border: Completed | None = None
    if template is not None:
        border = whole_femur(bone, template, side, asked, notes)
        bone = border.surface
    marks = landmarks_of("femur", bone, overrides=overrides)
    refuse_short(marks, template)
    found_side = femur_side(marks)
    if side is not None:
        require_side(side, found_side, place="femur")
    sizes = implant_sizes(asked.family)
    if asked.size is not None and asked.size not in sizes:
        raise InputError("hip stem size", f"no size `{asked.size}`.", suggestion(asked.size, sizes))
    tried = [asked.size] if asked.size else sizes[::-1]
    stems = {name: _stem(asked.family, name) for name in tried}
    chosen = _choose(stems, bone, marks, asked, notes)
    image = image_of(chosen.site, asked, scan, border, notes)
    return _assembled(chosen, asked, image, notes)


@dataclass(frozen=True)
class _Chosen:
    """A size that fits, where it is placed, and how it lies in the canal."""

    name: str
    site: Site
    placed: Restored
    made: Implant
    fit: dict[str, float]
    gaps: GapMap


def _stem(family: str | Path, size: str) -> HipStem:
    made = load_implant(family, size)
    if not isinstance(made, HipStem):
        raise InputError("hip stem family", f"`{family}` holds no stems.", "Try tapered_stem.")
    return made


def _choose(
    stems: dict[str, HipStem], bone: TriangleSurface, marks: tuple[Landmark, ...],
    asked: HipStemOptions, notes: list[str],
) -> _Chosen:  # fmt: skip
    """The first stem that leaves enough bone; of the one asked for it is told why it does not."""
    failed: InputError | None = None
    canal, seen = None, None
    for name, plain in stems.items():
        placed = restored(
            bone, marks, plain, cut=asked.calcar, neck=asked.neck, head=asked.head,
            version=asked.version,
        )  # fmt: skip
        stem, told = placed.stem, [placed.note] if placed.note else []
        site = site_of(bone, marks, asked, placed, told)
        if canal is None or site.bone is not seen:  # it may be made longer for a stem
            seen = site.bone
            bodies = bodies_of_surfaces({"femur": site.bone}, asked.fineness.voxel)
            inside = canal_of(bodies, "femur", asked.law, site.up, site.zero)
            canal = bodies.changed({"canal": inside})
        frame = placed.frame
        made = stem.implant().at(LocalFrame(frame.origin, frame.axes))
        try:
            least = _refuse_thin(canal, made.surface.points, site, asked, name)
        except InputError as error:
            failed = failed or error
            continue
        notes += told
        wall = canal.surface("canal")
        first = float((frame.origin - site.zero) @ site.up)
        levels = np.arange(max(first, 0.0) + LEVEL, stem.length - 2.0 * stem.tip_length, LEVEL)
        fills = canal_fill(
            made.surface, wall, frame.origin, frame.origin - frame.axes[2], levels.tolist(),
            directions=(frame.axes[0], frame.axes[1]),
        )  # fmt: skip
        require_fits(fills, thickness=asked.ream + asked.fineness.voxel, place=f"stem {name}")
        areas = np.array([f.area_ratio for f in fills])
        gaps = _gaps(canal, made, site)
        fit = {
            "canal fill, largest": float(np.nanmax(areas)),
            "canal fill, mean": float(np.nanmean(areas)),
            "canal fill from side to side, largest": float(
                np.nanmax([f.width_ratios[0] for f in fills])
            ),
            "broached cortex mm": float(np.nanmax([f.outside for f in fills])),
            "bone around the stem, least mm": least,
            "share of the stem in the cortex": gaps.share(high=0.0),
            "share of the stem within 1 mm of the cortex": gaps.share(-np.inf, 1.0),
            "gap to the cortex, mean mm": gaps.mean_gap,
        }
        if len(stems) > 1:
            notes.append(
                f"Size {name} is the largest that leaves {asked.keep:g} mm of bone and broaches "
                f"at most {asked.ream:g} mm of cortex."
            )
        return _Chosen(name, site, placed, made, fit, gaps)
    assert failed is not None
    raise failed


def _gaps(canal: Bodies, made: Implant, site: Site) -> GapMap:
    """How near the stem's surface below the cut comes to the cortex, before it is broached."""
    parts = divided(made.surface, FINE)
    middles = parts.points[parts.triangles].mean(axis=1)
    return GapMap(parts, -canal.at("canal", middles)).only(site.plane.height(middles) < 0.0)


def _refuse_thin(
    canal: Bodies, points: Points, site: Site, asked: HipStemOptions, name: str
) -> float:
    """Least bone (mm) around a stem; refused where it goes too deep into the cortex or near it."""
    below = points[site.plane.height(points) < 0.0]
    height = (below - site.zero) @ site.up
    depth = -canal.at("femur", below)
    worst = int(np.argmin(depth))
    if depth[worst] < asked.keep:
        raise InputError(
            f"stem {name}",
            f"it leaves {depth[worst]:.1f} mm of bone {height[worst]:+.0f} mm over the lesser "
            f"trochanter, where {asked.keep:g} mm shall stay.",
            "Take a smaller size, or turn it in the canal.",
        )
    shaft = height < 0.0
    if shaft.any():
        out = canal.at("canal", below[shaft])
        worst_out = int(np.argmax(out))
        if out[worst_out] > asked.ream:
            raise InputError(
                f"stem {name}",
                f"it is larger than the canal: {out[worst_out]:.1f} mm into the cortex "
                f"{height[shaft][worst_out]:+.0f} mm over the lesser trochanter; {asked.ream:g} mm "
                "may be reamed.",
                "Take a smaller size, or turn it in the canal.",
            )
    return float(depth[worst])


def _bodies(
    site: Site, asked: HipStemOptions, made: Implant, frame: Frame
) -> tuple[Bodies, dict[str, float]]:
    """Femur, stem and what is removed, without gaps between them."""
    whole = bodies_of_surfaces(
        {"femur": site.bone, "stem": made.surface}, asked.fineness.voxel, margin=6.0
    )
    up = frame.axes[2]
    shaft = site.line("femoral_shaft_axis").start
    beside = site.head - shaft - float((site.head - shaft) @ up) * up
    cut = Common((
        HalfSpace(site.plane.centre, site.plane.normal),
        HalfSpace(shaft + asked.stop * unit(beside), beside),
    ))  # fmt: skip
    # The stem comes in from above: what lies in its way over its shoulder goes too.
    swept = Common((
        Envelope(made.surface, way=CLEARED * up, step=2.0),
        HalfSpace(made.point("shoulder") - 4.0 * up, up),
    ))  # fmt: skip
    bone, full = whole.field("femur"), whole.field("stem")
    # The neck above the cut would leave the bone at a slant: its load goes to the section there.
    above = HalfSpace(site.plane.centre, -site.plane.normal)
    stem = np.maximum(full, tool_field(whole, above, ("stem", "femur")))
    taken = np.minimum(tool_field(whole, cut, ("femur",)), tool_field(whole, swept, ("femur",)))
    bodies = whole.changed({
        "femur": np.maximum(np.maximum(bone, -taken), -stem),
        "removed": np.maximum(np.maximum(bone, taken), -stem),
        "stem": np.maximum(stem, bone),
    })  # fmt: skip
    outside = whole.changed({"outside": np.maximum(stem, -bone)}).volume("outside")
    if outside > whole.voxel**3 * 8.0:
        raise InputError(
            "hip stem", f"{outside:.0f} mm3 of it below the neck's cut lie outside the bone.",
            "Take a smaller size, turn it, or cut lower (calcar).",
        )  # fmt: skip
    volumes = {
        "bone removed mL": bodies.volume_ml("removed"),
        "bone broached mL": bodies.volume_ml("stem"),
    }
    return _largest(bodies), volumes


def _largest(bodies: Bodies) -> Bodies:
    """Crumbs of a body that a cut leaves go to the one that is removed."""
    found = pieces(bodies, "femur")
    if len(found) < 2:
        return bodies
    crumbs = np.min(found[1:], axis=0)
    more = np.minimum(bodies.field("removed"), crumbs)
    return bodies.changed({"femur": found[0], "removed": more})


def _assembled(chosen: _Chosen, asked: HipStemOptions, scan: Image, notes: list[str]) -> Assembly:
    site, placed, made, gaps = chosen.site, chosen.placed, chosen.made, chosen.gaps
    stem = placed.stem
    frame = Frame(made.frame.origin, made.frame.axes)
    bodies, volumes = _bodies(site, asked, made, frame)
    done = meshed(bodies, asked.fineness, implants=("stem",), place="hip stem")
    mesh = _named(done.mesh, site, frame)
    if abs(placed.leg) > LONGER or abs(placed.offset) > BESIDE:
        notes.append(
            f"The leg gets {placed.leg:+.0f} mm longer and the offset {placed.offset:+.0f} mm "
            "larger: no neck, head and cut that may be taken come nearer. Try another family."
        )
    fit = {
        **chosen.fit, **volumes,
        "leg longer by mm": placed.leg,
        "offset larger by mm": placed.offset,
        "head beside the plane of the stem by mm": float(
            (made.point("head_centre") - site.head) @ frame.axes[1]
        ),
        "head longer by mm": stem.head_length,
        "calcar mm": calcar_height(site.bone, site.plane, site.marks),
        **{f"volume error of {n}": e for n, e in volume_errors(mesh, bodies).items()},
    }  # fmt: skip
    z = stem.path(np.array([stem.resection - stem.coating_height]))[0][0, 2]
    zones = (Zone("coated", "stem", low=float(z)), Zone("polished", "stem", high=float(z)))
    shaft = site.line("femoral_shaft_axis")
    return Assembly(
        f"hip stem {chosen.name}", mesh, ("femur",), {"stem": made.material.name},
        removed=("removed",), filled=("stem",), pairs=(("femur", "stem"),),
        zones={"stem": zones},
        frames={
            "stem": frame,
            "resection": Frame.of(site.plane.centre, site.plane.normal, frame.axes[0]),
        },
        points={
            "head_centre": made.point("head_centre"), "native_head_centre": site.head,
            "stem_tip": made.point("tip"),
            "shoulder": made.point("shoulder"), "lesser_trochanter": site.zero,
            "shaft_start": shaft.start, "shaft_end": shaft.end,
        },
        fit=fit, notes=(*notes, *done.decisions), scan=scan,
        tables={
            NECK: NeckSections.of(stem).table(),
            CANAL_GAP: np.column_stack([
                gaps.surface.points[gaps.surface.triangles].mean(axis=1), gaps.distances,
            ]),
        },
    )  # fmt: skip


def _named(mesh: TetrahedralMesh, site: Site, frame: Frame) -> TetrahedralMesh:
    """Names of surfaces: ends, cut, head, and the seat of the head on the stem."""
    low = float(((site.bone.points - site.zero) @ site.up).min())
    end = on_plane(site.zero + low * site.up, site.up, 0.5)
    mesh = retagged(mesh, "femur-outside", "distal", end)
    mesh = retagged(mesh, "femur-outside", "femur_surface")
    for name in ("femur-removed", "removed-femur"):
        if name in mesh.facet_names:
            mesh = retagged(mesh, name, "resection")
    for name in ("stem-removed", "removed-stem"):
        if name in mesh.facet_names:
            mesh = retagged(mesh, name, "stem_neck")
    if "removed-outside" in mesh.facet_names:
        mesh = retagged(mesh, "removed-outside", "head")
    return mesh


__all__ = ["CANAL_GAP", "HipStemOptions", "hip_stem"]
