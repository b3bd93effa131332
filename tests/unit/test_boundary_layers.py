"""Layers inside regions: exact volumes, conforming, of the heights asked for."""

from itertools import pairwise

import numpy as np
import pytest
import pyvista as pv

from organtwin.errors import InputError, MeshError
from organtwin.image.volume import LabelMap
from organtwin.mesh.boundary_layers import BoundaryLayers, lined
from organtwin.mesh.conforming.from_surfaces import from_surfaces
from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.conforming.wrapping import wrap
from organtwin.mesh.layers import Growth
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.regions import faces
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.walled import walled

LAYERS = BoundaryLayers(first=0.4, layers=3, ratio=1.3)


def ball(radius: float) -> TriangleSurface:
    found = pv.Icosphere(radius=radius, nsub=3)
    return TriangleSurface(
        np.asarray(found.points, np.float64), np.asarray(found.regular_faces, np.int64)
    )


def tube(walled: bool) -> Interfaces:
    """Blood of 5 mm radius and 16 mm length, in a wall of 2 mm if wanted; flat ends."""
    around = 24
    a = 2 * np.pi / around * np.arange(around)
    circle = np.stack([np.cos(a), np.sin(a)], axis=1)
    radii = [1.25, 2.5, 3.75, 5.0] + [7.0] * walled
    heights = np.linspace(0.0, 16.0, 13)
    points, triangles, sides = [], [], []

    def row(radius, z):
        points.append(np.column_stack([radius * circle, np.full(around, z)]))
        return len(points) - 1

    def square(low, high, side, turned):
        """Squares between two circles."""
        i = np.arange(around)
        j = np.roll(i, -1)
        p, q, r, s = low * around + i, low * around + j, high * around + j, high * around + i
        found = np.concatenate([np.stack([p, q, r], axis=1), np.stack([p, r, s], axis=1)])
        triangles.append(found[:, ::-1] if turned else found)
        sides.extend([side] * len(found))

    mantles = {radius: [row(radius, z) for z in heights] for radius in radii[3:]}
    for radius, rows in mantles.items():
        side = (2, 1) if walled and radius == 5.0 else (1 if walled else 2, 0)
        for low, high in pairwise(rows):
            square(low, high, side, False)
    for z, turned, end in ((0.0, True, 0), (16.0, False, -1)):
        rows = [row(radius, z) for radius in radii[:3]] + [rows[end] for rows in mantles.values()]
        for k in range(len(rows) - 1):
            square(rows[k + 1], rows[k], (2, 0) if k < 3 else (1, 0), turned)
    count = len(points) * around
    for k, z in enumerate((0.0, 16.0)):
        first = around * next(n for n, p in enumerate(points) if (p[0] == (1.25, 0, z)).all())
        i, j = first + np.arange(around), first + np.roll(np.arange(around), -1)
        fan = np.stack([np.full(around, count + k), i, j], axis=1)
        triangles.append(fan[:, ::-1] if z == 0 else fan)
        sides.extend([(2, 0)] * around)
    x = np.concatenate([*points, [[0, 0, 0.0], [0, 0, 16.0]]])
    names = {"wall": 1, "blood": 2} if walled else {"other": 1, "blood": 2}
    made = Interfaces(x, np.concatenate(triangles), np.array(sides), names)
    if walled:
        return made
    return Interfaces(x, made.triangles, np.where(made.sides == 2, 1, 0), {"blood": 1})


def assert_sound(result, interfaces) -> None:
    mesh = result.mesh
    assert (signed_volumes(mesh.points, mesh.cells) > 0).all()
    assert np.unique(faces(mesh.cells), axis=0, return_counts=True)[1].max() == 2
    assert len(np.unique(mesh.cells)) == len(mesh.points)
    for name in interfaces.names:
        assert mesh.volume(name) == pytest.approx(interfaces.volume(name), rel=1e-9)
    names = {f"{a}-{b}" for a, b in interfaces.pairs}
    assert set(mesh.facet_names) == names
    for a, b in interfaces.pairs:
        x = mesh.points[mesh.facets[mesh.facet_tags == mesh.facet_names[f"{a}-{b}"]]]
        area = 0.5 * np.linalg.norm(np.cross(x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]), axis=1)
        assert area.sum() == pytest.approx(interfaces.area(a, b), rel=1e-9)


def first_edges(result) -> np.ndarray:
    """From each vertex of the border to the one above it, (k, 3)."""
    points, below = result.mesh.points, result.vertices
    above = np.setdiff1d(result.mesh.cells[result.in_layers], below)[: len(below)]
    return points[above] - points[below]


def beyond(interfaces: Interfaces) -> Interfaces:
    """The tube in a wall with another region, a cone, in front of the blood's upper end."""
    end = interfaces.between("blood", "outside") & (interfaces.corners[..., 2] > 15.9).all(axis=1)
    rim = interfaces.between("wall", "blood")
    top = interfaces.patch("wall", "blood")
    edges = np.concatenate([top[:, [0, 1]], top[:, [1, 2]], top[:, [2, 0]]])
    edges = edges[(interfaces.points[edges, 2] > 15.9).all(axis=1)]
    assert rim.any() and len(edges) == 24
    apex = len(interfaces.points)
    out = np.column_stack([edges, np.full(len(edges), apex)])
    x = np.concatenate([interfaces.points, [[0.0, 0.0, 22.0]]])
    height = np.cross(x[out[:, 1]] - x[out[:, 0]], x[apex] - x[out[:, 0]])
    out = out if (height[:, :2] * x[out[:, 0], :2]).sum() > 0 else out[:, ::-1]
    triangles, sides = interfaces.triangles.copy(), interfaces.sides.copy()
    triangles[end], sides[end] = triangles[end][:, ::-1], (3, 2)
    return Interfaces(
        x, np.concatenate([triangles, out]), np.concatenate([sides, [[3, 0]] * len(out)]),
        {**interfaces.names, "beyond": 3},
    )  # fmt: skip


def test_layers_in_a_ball_stand_upright_and_have_their_heights() -> None:
    interfaces = from_surfaces({"blood": ball(10.0)})
    result = lined(interfaces, "blood", ["blood-outside"], LAYERS)
    assert_sound(result, interfaces)
    edges = first_edges(result)
    length = np.linalg.norm(edges, axis=1)
    assert length == pytest.approx(np.full(len(length), 0.4), rel=0.05)
    normals = -result.mesh.points[result.vertices] / 10.0
    assert (np.einsum("ij,ij->i", edges, normals) / length).min() > 0.995
    assert result.limited == 0
    r = np.linalg.norm(result.mesh.points[np.unique(result.mesh.cells[result.in_layers])], axis=1)
    assert np.unique(np.round(r, 1)) == pytest.approx([8.4, 9.1, 9.6, 10.0], abs=0.02)
    assert result.core_dihedral > 10.0


@pytest.mark.parametrize("further", [False, True])
def test_layers_in_a_tube_end_on_its_flat_ends(further) -> None:
    interfaces = beyond(tube(True)) if further else tube(True)
    result = lined(interfaces, "blood", ["blood-wall"], LAYERS)
    assert_sound(result, interfaces)
    edges = first_edges(result)
    assert np.linalg.norm(edges, axis=1) == pytest.approx(np.full(len(edges), 0.4), rel=0.05)
    out = result.mesh.points[result.vertices] * [1, 1, 0] / 5.0
    assert np.einsum("ij,ij->i", -edges, out) == pytest.approx(np.full(len(edges), 0.4), rel=0.05)
    ends = np.isin(result.mesh.points[result.vertices, 2], [0.0, 16.0])
    assert np.count_nonzero(ends) == 48
    assert np.abs(edges[ends, 2]).max() < 1e-9
    assert result.core_dihedral > 8.0


def test_all_of_a_tube_with_sharp_rims_can_be_lined() -> None:
    interfaces = tube(False)
    result = lined(interfaces, "blood", ["blood-outside"], LAYERS)
    assert_sound(result, interfaces)
    with pytest.raises(InputError, match="no border `blood-wall`"):
        lined(interfaces, "blood", ["blood-wall"], LAYERS)
    with pytest.raises(InputError, match="no border was named"):
        lined(interfaces, "blood", [], LAYERS)


def test_layers_in_a_wall_move_its_rings_and_leave_half_the_room() -> None:
    interfaces = tube(True)
    result = lined(interfaces, "wall", ["blood-wall"], BoundaryLayers(0.15, 2, 1.5))
    assert_sound(result, interfaces)
    assert result.thickness == pytest.approx(np.full(len(result.vertices), 0.375), rel=1e-6)
    thick = lined(interfaces, "wall", ["blood-wall"], BoundaryLayers(1.0, 3, 1.0, room=0.4))
    assert_sound(thick, interfaces)
    assert thick.limited == len(thick.vertices)
    # The room reaches to the middle of the 2 mm.
    assert thick.thickness == pytest.approx(np.full(len(thick.vertices), 0.4), rel=0.1)


def test_layers_slide_along_a_rounded_end() -> None:
    interfaces = tube(True)
    x = interfaces.points.copy()
    low = (x[:, 2] == 0.0) & (np.linalg.norm(x, axis=1) < 4.9)
    x[low, 2] -= 0.05 * (25.0 - (x[low] ** 2).sum(axis=1))
    domed = Interfaces(x, interfaces.triangles, interfaces.sides, interfaces.names)
    result = lined(domed, "blood", ["blood-wall"], LAYERS)
    mesh = result.mesh
    assert (signed_volumes(mesh.points, mesh.cells) > 0).all()
    assert np.unique(faces(mesh.cells), axis=0, return_counts=True)[1].max() == 2
    assert mesh.volume("wall") == pytest.approx(domed.volume("wall"), rel=1e-9)
    assert mesh.volume("blood") == pytest.approx(domed.volume("blood"), rel=2e-3)
    edges = first_edges(result)
    ends = result.mesh.points[result.vertices, 2] == 0.0
    # Along the chords of the dome, a paraboloid whose slope is 0.5 at the rim.
    slope = -edges[ends, 2] / np.linalg.norm(edges[ends, :2], axis=1)
    assert ((slope > 0.35) & (slope < 0.55)).all()


def test_a_vessel_that_the_image_cuts_gets_layers() -> None:
    x = np.indices((22, 22, 14))
    r = np.hypot(x[0] - 10.6, x[1] - 10.6 + 2 * np.sin(x[2] / 6))
    values = np.where(r < 5.5, 2, np.where(r < 8.0, 1, 0)).astype(np.uint8)
    names = {"wall": 1, "blood": 2}
    interfaces = wrap(LabelMap(values, names, np.ones(3), np.zeros(3), np.eye(3)))
    result = lined(interfaces, "blood", ["blood-wall"], BoundaryLayers(0.4, 3, 1.2))
    mesh = result.mesh
    assert (signed_volumes(mesh.points, mesh.cells) > 0).all()
    assert np.unique(faces(mesh.cells), axis=0, return_counts=True)[1].max() == 2
    assert mesh.volume("wall") == pytest.approx(interfaces.volume("wall"), rel=1e-9)
    assert mesh.volume("blood") == pytest.approx(interfaces.volume("blood"), rel=0.005)
    # Thinner at the rounded ends, as asked for along most of the vessel.
    assert np.median(result.thickness) == pytest.approx(0.4 * 3.64, rel=1e-6)
    assert result.thickness.min() > 0.3


def test_layers_that_end_on_several_borders_are_refused() -> None:
    interfaces = tube(True)
    half = interfaces.between("blood", "outside")
    half &= (interfaces.corners[..., 2] == 0).all(axis=1) & (interfaces.corners[:, 0, 0] > 0)
    sides = np.where(half[:, None], [3, 2], interfaces.sides)
    names = {**interfaces.names, "beyond": 3}
    with pytest.raises(MeshError, match="several borders near"):
        lined(
            Interfaces(interfaces.points, interfaces.triangles, sides, names), "blood",
            ["blood-wall"], LAYERS,
        )  # fmt: skip


def surface_of(interfaces: Interfaces) -> TriangleSurface:
    """Its outside with the ends as parts."""
    z = interfaces.corners[..., 2]
    part = np.where((z < 1e-9).all(axis=1), 1, np.where((z > 16 - 1e-9).all(axis=1), 2, 0))
    return TriangleSurface(
        interfaces.points, interfaces.triangles, triangle_values={"part": part},
        names={"side": 0, "inlet": 1, "outlet": 2},
    )  # fmt: skip


def test_a_wall_and_its_blood_share_the_triangles_of_the_lumen() -> None:
    surface = surface_of(tube(False))
    result = walled(surface, Growth(1.5, layers=2), caps=("inlet", "outlet"))
    mesh = result.mesh
    assert (signed_volumes(mesh.points, mesh.cells) > 0).all()
    assert np.unique(faces(mesh.cells), axis=0, return_counts=True)[1].max() == 2
    assert mesh.volume("blood") == pytest.approx(tube(False).volume("blood"), rel=1e-9)
    assert mesh.volume("wall") == pytest.approx(np.pi * (6.5**2 - 5**2) * 16, rel=0.02)
    assert set(mesh.facet_names) == {
        "blood-wall", "wall-outside", "inlet", "outlet", "wall-inlet", "wall-outlet",
    }  # fmt: skip
    lumen = np.sort(mesh.facets[mesh.facet_tags == mesh.facet_names["blood-wall"]], axis=1)
    given = np.sort(surface.triangles[surface.triangle_values["part"] == 0], axis=1)
    assert {tuple(t) for t in lumen.tolist()} == {tuple(t) for t in given.tolist()}
    assert np.array_equal(mesh.points[: len(surface.points)], surface.points)
    for name, z in (("inlet", 0.0), ("wall-inlet", 0.0), ("outlet", 16.0), ("wall-outlet", 16.0)):
        ring = mesh.points[mesh.facets[mesh.facet_tags == mesh.facet_names[name]]]
        assert ring[..., 2] == pytest.approx(z)
    assert result.min_dihedral > 8.0


def test_open_or_inward_lumens_get_no_wall() -> None:
    surface = ball(10.0)
    assert set(walled(surface, Growth(2.0)).mesh.facet_names) == {"blood-wall", "wall-outside"}
    with pytest.raises(InputError, match="open"):
        walled(surface.select(surface.points[surface.triangles[:, 0], 2] < 0), Growth(2.0))
    with pytest.raises(InputError, match="grow inwards"):
        walled(surface, Growth(2.0, inward=True))
    with pytest.raises(InputError, match="called as"):
        walled(surface, Growth(2.0), name="wall")
