"""Split-depression fracture of the lateral tibial plateau, reduced and held by plate or screws."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from organtwin.image.markups import Markup
from organtwin.image.volume import LabelMap
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.orthopaedics.assembly import (
    Assembly,
    Mask,
    meshed,
    on_plane,
    retagged,
    volume_errors,
)
from organtwin.orthopaedics.bone_model import painted
from organtwin.orthopaedics.joint_columns import columns_of
from organtwin.orthopaedics.plateau_fixation import drilled, fixation, require_hold, with_implants
from organtwin.orthopaedics.plateau_fracture import Knee, broken, knee_of
from organtwin.orthopaedics.plateau_options import CARRIERS, TibialPlateauOptions
from organtwin.surgery.fractures import require_held
from organtwin.surgery.placement import Frame
from organtwin.surgery.screws import purchase, shell

type Points = NDArray[np.float64]


def tibial_plateau(
    labels: LabelMap,
    options: TibialPlateauOptions | None = None,
    *,
    overrides: str | Path | Sequence[Markup] | None = None,
) -> Assembly:
    """A broken and reduced plateau with its fixation, one mesh with shared faces.

    Where the fragments touch (``gap`` 0) they are ``pairs``, with each other and with the graft,
    which stays bonded to the tibia: it is packed into its hole.

    Args:
        labels: ``tibia``, and ``fibula``, which tells the lateral side; with ``cartilage`` those of
            `joint_columns.NEEDED` too.
        options: See there.
        overrides: Lines of screws from head to tip, moved in 3D Slicer, by their names.

    Raises:
        InputError: a label is missing; the fracture misses the bone or leaves pieces; the plate
            does not fit; a screw lies outside the bone; a fragment is held by nothing.
        MeshError: no valid mesh came out.
    """
    asked = options or TibialPlateauOptions()
    notes: list[str] = []
    knee = knee_of(labels, asked, notes)
    bodies, volumes = broken(knee, asked)
    tables = {}
    if asked.cartilage:
        columns = columns_of(labels, knee, bodies, CARRIERS, step=asked.step)
        tables["cartilage"] = columns.table()
        notes.append(
            "The joint presses where the cartilages of both bones meet, by an elastic foundation. "
            "Menisci are left out, which bear a part of it: pressures are too high."
        )
    fit = dict(volumes)
    plate, screws, raft = fixation(knee, asked, overrides, fit, notes)
    tissue = shell(knee.bone, float(asked.law.thick(np.array([-10.0]))[0]))
    for screw in screws.values():
        held = purchase(screw, tissue)
        fit |= {
            f"{screw.name}: cortical thread mm": held.cortical,
            f"{screw.name}: trabecular thread mm": held.trabecular,
            f"{screw.name}: tip beyond the far cortex mm": held.tip_beyond,
            f"{screw.name}: breach of the wall mm": held.wall,
        }
    names = [n for n in CARRIERS[1:] if n in bodies.names]
    if asked.fixation != "none" or asked.closed:
        require_held(bodies.only("tibia", "lateral_fragment"), ("tibia",), drilled(screws))
    if asked.fixation != "none":
        require_hold(bodies, screws, raft, knee.up, fit, notes)
    bodies = with_implants(bodies, plate, screws)
    implants = tuple(n for n in bodies.names if n == "plate" or n in screws)
    fine = {"callus": 0.8 * asked.fineness.interface}
    done = meshed(bodies, asked.fineness, implants=implants, fine=fine, place="tibial plateau")
    mesh = _named(done.mesh, knee)
    fit |= {f"volume error of {n}": e for n, e in volume_errors(mesh, bodies).items()}
    law = asked.law
    notes.append(
        "MRI tells no density: cortex of "
        + ", ".join(
            f"{t:g} mm at {h:+g} mm" for h, t in zip(law.heights, law.thickness, strict=True)
        )
        + f" from the plateau ({law.source})."
    )
    bones = ("tibia", *names, *(n for n in ("callus", "graft") if n in mesh.region_names))
    material = plate[0].material.name if plate is not None else "316L"
    ends = {f"{n}_{what}": at for n, s in screws.items() for what, at in
            (("entry", s.entry), ("tip", s.tip))}  # fmt: skip
    return Assembly(
        f"tibial plateau, {asked.fixation}", mesh, bones,
        {n: material for n in implants if n in mesh.region_names},
        filled=tuple(n for n in screws if n in mesh.region_names),
        pairs=_touching(mesh) if asked.closed else (),
        frames={"knee": Frame.of(knee.lateral, knee.up, knee.out)},
        points={"plateau_lateral": knee.lateral, "plateau_medial": knee.medial, **ends},
        fit=fit, notes=(*notes, *done.decisions),
        scan=painted(knee.bone, law, knee.up, knee.lateral, 1.2), tables=tables,
    )  # fmt: skip


def _touching(mesh: TetrahedralMesh) -> tuple[tuple[str, str], ...]:
    """Pairs of fragments, and of fragments and graft, that share faces."""
    return tuple(
        (one, other)
        for one, other in combinations((*CARRIERS[::-1], "graft"), 2)
        if (one, other) != ("tibia", "graft")
        and (f"{one}-{other}" in mesh.facet_names or f"{other}-{one}" in mesh.facet_names)
    )


def _named(mesh: TetrahedralMesh, knee: Knee) -> TetrahedralMesh:
    """Names of the fixed end and of both joint surfaces."""
    end = on_plane(knee.end, knee.down, 0.6)
    if "tibia-outside" in mesh.facet_names:
        mesh = retagged(mesh, "tibia-outside", "distal", end)
    half = 0.5 * (knee.lateral + knee.medial)
    for name in CARRIERS:
        for surface, sign in (("plateau_lateral", 1.0), ("plateau_medial", -1.0)):
            old = f"{name}-outside"
            if old not in mesh.facet_names:
                continue

            def joint(middles: Points, normals: Points, sign: float = sign) -> Mask:
                level = (middles - knee.lateral) @ knee.up
                side = sign * ((middles - half) @ knee.out) > 7.0
                facing = np.abs(normals @ knee.up) > np.cos(np.radians(40.0))
                return np.asarray(facing & side & (level > -7.0))

            mesh = retagged(mesh, old, surface, joint)
    return mesh
