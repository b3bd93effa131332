"""Fracture lines: splits and depressions; fragments as bodies of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.mesh.closest import closest_on_triangles
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.surgery.bodies import Bodies, require_whole
from organtwin.surgery.cuts import Division, divide
from organtwin.surgery.rigid import Rigid, moved
from organtwin.surgery.signed import Field, signed_distances
from organtwin.surgery.tools import Plug, Tool

type Points = NDArray[np.float64]
type Mask = NDArray[np.bool_]

#: Largest gap at which two fragments touch, beyond half a voxel (mm).
TOUCH = 0.1


@dataclass(frozen=True)
class Displaced:
    """A fragment that was moved.

    Attributes:
        bodies: All bodies; those that had to yield have lost what it covers.
        crushed: Body → volume that the fragment took from it (mm³): crushed bone.
        void: Volume that the fragment left behind and nothing fills (mm³).
    """

    bodies: Bodies
    crushed: Mapping[str, float]
    void: float


def split(
    bodies: Bodies,
    name: str,
    border: Tool,
    fragments: tuple[str, str],
    *,
    gap: float = 0.0,
    place: str = "fracture",
) -> Division:
    """Split a bone along a plane or curved surface; both fragments must hang together.

    Args:
        bodies: All bodies.
        name: The bone.
        border: What lies inside it is the first fragment: a `HalfSpace`, a `Sheet` through a few
            points, or several of them in common.
        fragments: Names of the fragment and of the rest.
        gap: Distance of the fracture faces (mm); 0 if they touch.
        place: What messages call it.

    Raises:
        InputError: the surface misses the bone, or a fragment is in several pieces, each told with
            its volume and place.
    """
    made = divide(bodies, name, border, fragments, gap=gap, place=place)
    require_whole(made.bodies, fragments, place)
    return made


def depress(
    bodies: Bodies,
    name: str,
    plug: Plug,
    fragment: str,
    depth: float,
    *,
    gap: float = 0.0,
    place: str = "depression",
) -> Displaced:
    """Press a piece of an articular surface into the bone under it.

    The piece is cut free along its outline and moved down; the bone that it comes to is crushed
    and gives way.

    Args:
        bodies: All bodies.
        name: The bone, of which the rest keeps the name.
        plug: The piece before; its direction is that into which it is pressed.
        fragment: Name of the piece.
        depth: How far it is pressed (mm), at most the depth of what lies under it.
        gap: Distance of the faces (mm); 0 if they touch.
        place: What messages call it.

    Raises:
        InputError: the outline misses the bone, the piece is in several, or it would come out of
            the bone.
    """
    if not depth > 0.0:
        raise InputError(place, f"a depth of {depth:g} mm.", "Give how far it is pressed in.")
    made = split(bodies, name, plug, (fragment, name), gap=gap, place=place)
    down = np.asarray(plug.direction, float) / np.linalg.norm(plug.direction)
    return displace(made.bodies, fragment, Rigid.by(depth * down), yields=(name,), gap=gap)


def displace(
    bodies: Bodies,
    fragment: str,
    motion: Rigid,
    *,
    yields: Sequence[str] = (),
    gap: float = 0.0,
) -> Displaced:
    """Move a fragment; bones that it comes to are crushed, or it may not come to them.

    Args:
        bodies: All bodies.
        fragment: The fragment.
        motion: Its motion.
        yields: Bodies that lose what the fragment covers, with the gap.
        gap: Distance that is left to those (mm).

    Raises:
        InputError: it would overlap a body that does not yield by more than a voxel's depth, or
            leave the grid.
    """
    before = bodies.field(fragment)
    made = moved(bodies, fragment, motion)
    own = made.field(fragment)
    for other in made.names:
        if other not in (fragment, *yields):
            depth, already = (_overlap(field, made.field(other)) for field in (own, before))
            if depth > max(bodies.voxel, already + 0.5 * bodies.voxel):
                raise InputError(
                    f"motion of `{fragment}`", f"it would lie {depth:.1f} mm deep in `{other}`.",
                    f"Move it less, or let `{other}` yield.",
                )  # fmt: skip
    crushed = {}
    for other in yields:
        after = np.maximum(made.field(other), np.float32(gap) - own)
        crushed[other] = made.volume(other) - made.changed({other: after}).volume(other)
        made = made.changed({other: after})
    kept = np.maximum(before, own)
    both = made.changed({"before": before, "kept": kept})
    others = sum(both.shared("before", other) for other in made.names if other != fragment)
    void = both.volume("before") - both.volume("kept") - others
    return Displaced(made, crushed, void)


def faces_towards(
    surface: TriangleSurface, other: TriangleSurface, *, reach: float, facing: float = 0.5
) -> Mask:
    """Triangles of a fragment that face another one: its fracture face, shape (m,).

    A triangle belongs to it if the other surface is within reach of its middle and the nearest
    place there faces it.

    Args:
        surface: Surface of the fragment.
        other: Surface of the other fragment.
        reach: Largest distance (mm).
        facing: Least cosine between the triangle's normal and the reversed one there.
    """
    middles = surface.points[surface.triangles].mean(axis=1)
    feet, owner = closest_on_triangles(middles, other.points, other.triangles)
    near = np.linalg.norm(feet - middles, axis=1) <= reach
    against = -np.einsum("ij,ij->i", _normals(surface), _normals(other)[owner])
    return np.asarray(near & (against >= facing))


def floating(
    bodies: Bodies,
    supported: Iterable[str],
    fixations: Mapping[str, TriangleSurface],
    *,
    contact: bool = False,
    reach: float = 0.0,
) -> tuple[tuple[str, ...], ...]:
    """Groups of bodies that nothing holds: they would float, and a solver meet a singular matrix.

    Two bodies hold together if a fixation (screw, plate with its screws) lies in both of them, or
    within reach of both, or, if contact counts, if they touch.

    Args:
        bodies: All bodies.
        supported: Bodies with a support of their own.
        fixations: Name → closed surface of each, one for a plate with all screws locked to it.
        contact: Whether touching counts: bonded or tied faces, not frictional ones.
        reach: Distance at which a fixation holds a body (mm).
    """
    names = list(bodies.names)
    group = {name: {name} for name in names}

    def join(one: str, other: str) -> None:
        both = group[one] | group[other]
        for name in both:
            group[name] = both

    for surface in fixations.values():
        held = [n for n in names if float(bodies.at(n, surface.points).min()) <= reach]
        for name in held[1:]:
            join(held[0], name)
    if contact:
        for k, one in enumerate(names):
            for other in names[k + 1 :]:
                apart = float(np.maximum(bodies.field(one), bodies.field(other)).min())
                if apart <= 0.5 * bodies.voxel + TOUCH:
                    join(one, other)
    firm = set().union(*(group[name] for name in supported))
    loose = {tuple(sorted(group[name])) for name in names if name not in firm}
    return tuple(sorted(loose))


def require_held(
    bodies: Bodies,
    supported: Iterable[str],
    fixations: Mapping[str, TriangleSurface],
    *,
    contact: bool = False,
    reach: float = 0.0,
) -> None:
    """Refuse bodies that nothing holds; see `floating`.

    Raises:
        InputError: a body floats; the message names it.
    """
    loose = floating(bodies, supported, fixations, contact=contact, reach=reach)
    if loose:
        told = "; ".join(" with ".join(f"`{name}`" for name in group) for group in loose)
        raise InputError(
            "fragments", f"nothing holds {told}: no screw or plate joins it to a supported body.",
            "Give it a screw, tie its fracture face, or leave it out.",
        )  # fmt: skip


def gap_between(one: TriangleSurface, other: TriangleSurface) -> float:
    """Smallest distance of two surfaces (mm), negative as deep as a vertex of one is in another."""
    return float(
        min(signed_distances(one.points, other).min(), signed_distances(other.points, one).min())
    )


def _overlap(one: Field, other: Field) -> float:
    """Thickness of what two bodies both cover (mm): both depths together, at most."""
    both = (one < 0.0) & (other < 0.0)
    return float(-(one + other)[both].min()) if both.any() else 0.0


def _normals(surface: TriangleSurface) -> Points:
    a, b, c = (surface.points[surface.triangles[:, k]] for k in range(3))
    across = np.cross(b - a, c - a)
    return np.asarray(across / np.maximum(np.linalg.norm(across, axis=1), 1e-300)[:, None])
