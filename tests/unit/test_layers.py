from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from mpi4py import MPI
from scipy.spatial import cKDTree

from organtwin.errors import InputError, MeshError
from organtwin.mesh.balls import touching_balls
from organtwin.mesh.domain import read_domain
from organtwin.mesh.layers import Growth, grow
from organtwin.mesh.mesh_files import write_mesh
from organtwin.mesh.prisms import split_prisms, split_squares
from organtwin.mesh.quality import dihedral_angles, signed_volumes
from organtwin.mesh.regions import faces
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.mesh.volume_mesh import outer_facets


def tube(size: float, bend: float = 0.0, radius: float = 10.0, length: float = 60.0):
    """Open lumen of a vessel; a bent one follows a circle."""
    around, along = round(2 * np.pi * radius / size), round(length / size) + 1
    a, z = np.meshgrid(2 * np.pi / around * np.arange(around), np.linspace(0.0, length, along))
    x = radius * np.cos(a)
    if bend:
        centre = length / np.radians(bend)
        x, z = centre - (centre - x) * np.cos(z / centre), (centre - x) * np.sin(z / centre)
    points = np.stack([x, radius * np.sin(a), z], axis=-1).reshape(-1, 3)
    low = np.arange(around * along).reshape(along, around)
    right = np.roll(low, -1, axis=1)
    p, q, r, s = (k.ravel() for k in (low[:-1], right[:-1], right[1:], low[1:]))
    triangles = np.concatenate([np.stack([p, q, r], axis=1), np.stack([p, r, s], axis=1)])
    return TriangleSurface(points, triangles)


def exact(thickness: float, radius: float = 10.0, length: float = 60.0) -> float:
    return np.pi * ((radius + thickness) ** 2 - radius**2) * length


def is_sound(mesh) -> bool:
    count = np.unique(faces(mesh.cells), axis=0, return_counts=True)[1]
    known = {tuple(f) for f in np.sort(mesh.facets, axis=1).tolist()}
    return (
        bool((signed_volumes(mesh.points, mesh.cells) > 0).all())
        and count.max() == 2
        and {tuple(f) for f in outer_facets(mesh.cells).tolist()} == known
    )


def test_prisms_are_split_alike_on_shared_sides() -> None:
    rng = np.random.default_rng(1)
    lower = np.array([rng.permutation(6)[:3] for _ in range(50)])
    for base in lower:
        cells = split_prisms(base[None], base[None] + 6)
        assert len(cells) == 3
        sides = split_squares(base[[0, 1]][None], base[[0, 1]][None] + 6)
        found = {tuple(f) for f in faces(cells).tolist()}
        assert {tuple(sorted(f)) for f in sides.tolist()} <= found


@pytest.mark.parametrize("bend", [0.0, 150.0])
def test_wall_of_two_millimetres_has_its_volume_within_a_percent(bend) -> None:
    errors = []
    for size in (3.0, 1.5):
        grown = grow(tube(size, bend), Growth(2.0))
        assert is_sound(grown.mesh)
        assert grown.thinnest == pytest.approx(2.0)
        errors.append(abs(grown.mesh.volume("wall") / exact(2.0) - 1))
    assert errors[1] < 0.002
    assert np.log2(errors[0] / errors[1]) > 1.7


def test_first_vertices_are_the_surface_and_ends_stay_flat() -> None:
    lumen = tube(2.0)
    grown = grow(lumen, Growth(3.0, layers=3))
    mesh = grown.mesh
    assert np.array_equal(mesh.points[: len(lumen.points)], lumen.points)
    assert set(mesh.facet_names) == {"inner", "outer", "end0", "end1"}
    for name, height in (("end0", 0.0), ("end1", 60.0)):
        ring = np.unique(mesh.facets[mesh.facet_tags == mesh.facet_names[name]])
        assert mesh.points[ring, 2] == pytest.approx(height, abs=1e-9)
    assert dihedral_angles(mesh.points, mesh.cells).min() > 10.0


def test_oblique_ends_stay_in_their_planes() -> None:
    lumen = tube(2.0)
    tilted = lumen.points.copy()
    tilted[:, 2] += 0.4 * tilted[:, 0]
    grown = grow(replace(lumen, points=tilted), Growth(2.0))
    mesh = grown.mesh
    ring = np.unique(mesh.facets[mesh.facet_tags == mesh.facet_names["end0"]])
    assert mesh.points[ring, 2] == pytest.approx(0.4 * mesh.points[ring, 0], abs=1e-9)
    assert is_sound(mesh)
    assert mesh.volume("wall") == pytest.approx(exact(2.0), rel=0.02)


def test_layers_grow_by_their_ratio() -> None:
    growth = Growth(2.1, layers=3, ratio=2.0)
    assert growth.levels == pytest.approx([0.0, 1 / 7, 3 / 7, 1.0])
    mesh = grow(tube(2.0), growth).mesh
    r = np.unique(np.round(np.hypot(mesh.points[:, 0], mesh.points[:, 1]), 1))
    assert r == pytest.approx([10.0, 10.3, 10.9, 12.1], abs=0.02)


@pytest.mark.parametrize("thickness", [4.0, 14.0])
def test_inward_wall_stops_before_the_axis(thickness) -> None:
    grown = grow(tube(2.0), Growth(thickness, inward=True, name="lining"))
    assert is_sound(grown.mesh)
    assert grown.thinnest == pytest.approx(min(thickness, 9.0), rel=0.02)
    assert (grown.limited > 0) == (thickness > 9.0)
    assert set(grown.mesh.facet_names) == {"inner", "outer", "end0", "end1"}
    assert grown.mesh.region_names == {"lining": 1}


def test_opposite_walls_share_the_room_between_them() -> None:
    first = tube(2.0)
    second = first.points + np.array([23.0, 0.0, 0.0])
    both = TriangleSurface(
        np.concatenate([first.points, second]),
        np.concatenate([first.triangles, first.triangles + len(second)]),
    )
    grown = grow(both, Growth(4.0))
    assert is_sound(grown.mesh)
    assert 1.0 < grown.thinnest < 1.55
    assert abs(grown.place[0] - 11.5) < 2.0
    assert grown.thickness.max() == pytest.approx(4.0)


def test_caps_are_left_out_and_name_the_rings() -> None:
    lumen = tube(3.0)
    around = int(np.count_nonzero(lumen.points[:, 2] == 0.0))
    centre = len(lumen.points)
    rim = np.arange(around)
    lid = np.stack([np.roll(rim, -1), rim, np.full(around, centre)], axis=1)
    closed = TriangleSurface(
        np.concatenate([lumen.points, [[0.0, 0.0, 0.0]]]),
        np.concatenate([lumen.triangles, lid]),
        triangle_values={"part": np.repeat([0, 7], [len(lumen.triangles), around])},
        names={"wall": 0, "aortic": 7},
    )
    grown = grow(closed, Growth(2.0), caps=("aortic",))
    assert set(grown.mesh.facet_names) == {"inner", "outer", "aortic", "end0"}
    assert is_sound(grown.mesh)
    assert len(grown.vertices) == len(lumen.points)
    assert len(np.unique(grown.mesh.cells)) == len(grown.mesh.points)
    with pytest.raises(InputError, match="no part `mitral`"):
        grow(closed, Growth(2.0), caps=("mitral",))


def test_noisy_surface_still_gives_a_sound_wall() -> None:
    lumen = tube(1.5)
    noise = np.random.default_rng(3).normal(0.0, 0.12, lumen.points.shape)
    noise[np.isin(lumen.points[:, 2], [0.0, 60.0]), 2] = 0.0
    grown = grow(replace(lumen, points=lumen.points + noise), Growth(2.0, layers=3))
    assert is_sound(grown.mesh)
    assert grown.mesh.volume("wall") == pytest.approx(exact(2.0), rel=0.25)


def test_balls_have_the_radius_of_a_hollow_sphere() -> None:
    points = np.random.default_rng(0).normal(size=(2000, 3))
    points *= 5.0 / np.linalg.norm(points, axis=1, keepdims=True)
    tree = cKDTree(points)
    inside = touching_balls(tree, points, -points / 5.0, 20.0)
    assert inside == pytest.approx(np.full(2000, 5.0), rel=2e-3)
    assert touching_balls(tree, points, points / 5.0, 20.0) == pytest.approx(np.full(2000, 20.0))


def ball(radius: float) -> TriangleSurface:
    found = pv.Icosphere(radius=radius, nsub=3)
    return TriangleSurface(
        np.asarray(found.points, np.float64), np.asarray(found.regular_faces, np.int64)
    )


def cup() -> TriangleSurface:
    whole = ball(10.0)
    low = (whole.points[whole.triangles][:, :, 2] < 2.0).all(axis=1)
    return whole.select(low)


@pytest.mark.parametrize("surface", [ball(10.0), tube(2.0), cup()], ids=["ball", "tube", "cup"])
@pytest.mark.parametrize("inward", [False, True])
def test_surfaces_that_face_inwards_are_refused(surface, inward) -> None:
    growth = Growth(2.0, inward=inward)
    mesh = grow(surface, growth).mesh
    far = mesh.points[mesh.facets[mesh.facet_tags == mesh.facet_names["inner"]]]
    r = np.linalg.norm(far[..., :2] if surface.points[:, 2].max() > 20 else far, axis=-1)
    assert np.median(r) == pytest.approx(8.0 if inward else 10.0, abs=0.1)
    turned = replace(surface, triangles=surface.triangles[:, ::-1])
    with pytest.raises(MeshError, match="1 parts of the surface face inwards"):
        grow(turned, growth)


def test_hollows_and_flat_sheets_may_face_where_they_do() -> None:
    outer, inner = ball(20.0), ball(10.0)
    shell = TriangleSurface(
        np.concatenate([outer.points, inner.points]),
        np.concatenate([outer.triangles, inner.triangles[:, ::-1] + len(outer.points)]),
    )
    wall = 4 / 3 * np.pi * (22**3 - 20**3 + 10**3 - 8**3)
    assert grow(shell, Growth(2.0)).mesh.volume("wall") == pytest.approx(wall, rel=0.02)
    side = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.1]], float)
    sheet = TriangleSurface(side, np.array([[0, 1, 2], [0, 2, 3]]))
    for triangles in (sheet.triangles, sheet.triangles[:, ::-1]):
        mesh = grow(replace(sheet, triangles=triangles), Growth(0.1, layers=1)).mesh
        assert mesh.volume("wall") == pytest.approx(0.1, rel=0.05)


def test_file_is_read_as_a_domain(tmp_path: Path) -> None:
    grown = grow(tube(3.0), Growth(2.0))
    write_mesh(grown.mesh, tmp_path / "wall.msh")
    domain = read_domain(tmp_path / "wall.msh", MPI.COMM_SELF)
    assert set(domain.surfaces) == {"inner", "outer", "end0", "end1"}
    assert len(domain.cells("wall")) == len(grown.mesh.cells)


def test_impossible_walls_are_refused() -> None:
    for change in ({"thickness": 0.0}, {"layers": 0}, {"ratio": -1.0}):
        with pytest.raises(InputError):
            Growth(**{"thickness": 1.0, **change})
    three = TriangleSurface(
        np.eye(5, 3), np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4]])
    )  # fmt: skip
    with pytest.raises(InputError, match="more than two triangles"):
        grow(three, Growth(0.1))
