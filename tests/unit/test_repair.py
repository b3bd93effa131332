from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pyvista as pv

from organtwin.errors import InputError, MeshError
from organtwin.mesh.defects import inspect, winding
from organtwin.mesh.filling import flat_cap, least_area
from organtwin.mesh.patchwork import RepairOptions
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.repair import Repaired, repair
from organtwin.mesh.surface import Surface
from organtwin.mesh.surface_files import TriangleSurface, read_surface
from organtwin.mesh.tetrahedra import fill
from tests.bands import one_sided_band

DATA = Path(__file__).parents[3] / "shared/data"
RADIUS = 20.0


def plain(body: pv.PolyData) -> TriangleSurface:
    faces = body.triangulate().clean()
    return TriangleSurface(
        np.asarray(faces.points, np.float64), faces.regular_faces.astype(np.int64)
    )


def ball(radius: float = RADIUS, subdivisions: int = 3, centre=(0.0, 0.0, 0.0)) -> TriangleSurface:
    return plain(pv.Icosphere(radius=radius, nsub=subdivisions, center=centre))


def cube(size: float = 20.0, corner=(0.0, 0.0, 0.0)) -> TriangleSurface:
    box = pv.Cube(bounds=[x for c in corner for x in (c, c + size)])
    surface = plain(box)
    return surface if surface.volume > 0 else turned(surface)


def tube(radius: float = 10.0, length: float = 60.0, around: int = 24) -> TriangleSurface:
    turn = 2 * np.pi * np.arange(around) / around
    z = np.linspace(0.0, length, 22)
    points = np.stack(
        [radius * np.cos(turn) + 0 * z[:, None], radius * np.sin(turn) + 0 * z[:, None],
         z[:, None] + 0 * turn], axis=2
    ).reshape(-1, 3)  # fmt: skip
    k = np.arange(around)
    row = around * np.arange(len(z) - 1)[:, None]
    a, b = (row + k).ravel(), (row + (k + 1) % around).ravel()
    triangles = np.concatenate(
        [np.column_stack([a, b, b + around]), np.column_stack([a, b + around, a + around])]
    )
    return TriangleSurface(points, triangles)


def turned(surface: TriangleSurface) -> TriangleSurface:
    return replace(surface, triangles=np.ascontiguousarray(surface.triangles[:, ::-1]))


def joined(*surfaces: TriangleSurface) -> TriangleSurface:
    shift = np.cumsum([0, *(len(s.points) for s in surfaces[:-1])])
    return TriangleSurface(
        np.concatenate([s.points for s in surfaces]),
        np.concatenate([s.triangles + k for s, k in zip(surfaces, shift, strict=True)]),
    )


def exchanged(points: np.ndarray) -> np.ndarray:
    """Two vertices that are not quite neighbours change places, so that their fans cross."""
    one = int(np.argmax(points[:, 0]))
    two = int(np.argmin(np.linalg.norm(points - points[one] - [-0.5, 0.0, 4.5], axis=1)))
    result = points.copy()
    result[[one, two]] = points[[two, one]]
    return result


def some_turned(triangles: np.ndarray) -> np.ndarray:
    every_third = np.arange(len(triangles))[:, None] % 3 == 0
    return np.where(every_third, triangles[:, ::-1], triangles)


def soup(surface: TriangleSurface) -> TriangleSurface:
    corners = surface.points[surface.triangles].reshape(-1, 3)
    return TriangleSurface(corners, np.arange(len(corners)).reshape(-1, 3))


def real(name: str) -> TriangleSurface:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return read_surface(path, organ=False)


def told(result: Repaired) -> str:
    return " | ".join(str(change) for change in result.changes)


def meshed(result: Repaired) -> float:
    """Volume (mm³) of the tetrahedra that gmsh fills the surface with."""
    surface = result.surface
    net = Surface(surface.points, surface.triangles, surface.triangle_values["part"])
    filled, cells = fill(net)
    volumes = signed_volumes(filled.points, cells)
    assert (volumes > 0).all()
    return float(volumes.sum())


def test_sound_surface_stays_as_it_is():
    surface = ball()
    result = repair(surface)
    assert result.changes == ()
    assert result.hausdorff == 0.0
    np.testing.assert_array_equal(result.surface.points, surface.points)
    np.testing.assert_array_equal(result.surface.triangles, surface.triangles)
    assert meshed(result) == pytest.approx(surface.volume)


def test_loose_triangles_are_joined():
    result = repair(soup(ball()))
    assert len(result.surface.points) == len(ball().points)
    assert "vertices merged: 3198" in told(result)
    assert result.surface.volume == pytest.approx(ball().volume)
    assert result.hausdorff < 1e-9


@pytest.mark.parametrize(
    "spoil",
    [
        turned,
        lambda s: replace(s, points=s.points * [1.0, -1.0, 1.0]),
        lambda s: replace(s, triangles=some_turned(s.triangles)),
    ],
    ids=["inside-out", "mirrored", "mixed"],
)  # fmt: skip
def test_surface_faces_outwards(spoil):
    result = repair(spoil(ball()))
    assert result.surface.volume == pytest.approx(ball().volume)
    assert "turned" in told(result)
    assert result.hausdorff == 0.0


def test_wall_of_a_hollow_faces_inwards():
    result = repair(joined(turned(ball()), ball(10.0)))
    assert result.surface.volume == pytest.approx(ball().volume - ball(10.0).volume)
    assert "parts turned outwards: 2" in told(result)


def test_duplicates_go_and_a_doubled_surface_keeps_a_layer():
    surface = ball()
    twice = replace(surface, triangles=np.concatenate([surface.triangles, surface.triangles[:9]]))
    result = repair(twice)
    assert "duplicated triangles removed: 9" in told(result)
    assert len(result.surface.triangles) == 1280
    back_to_back = np.concatenate([surface.triangles, surface.triangles[:, ::-1]])
    result = repair(replace(surface, triangles=back_to_back))
    assert len(result.surface.triangles) == 1280
    assert result.surface.volume == pytest.approx(surface.volume)


def test_degenerate_triangles_leave_no_crack():
    surface = ball()
    a, b, c = surface.triangles[0]
    beside = np.flatnonzero(np.isin(surface.triangles, [a, b]).sum(axis=1) == 2)
    other = next(t for t in beside if t != 0)
    d = next(v for v in surface.triangles[other] if v not in (a, b))
    middle = len(surface.points)
    points = np.concatenate([surface.points, [0.5 * (surface.points[a] + surface.points[b])]])
    # One side of the edge a, b is cut in its middle, a triangle without height closes the crack.
    cut = np.delete(surface.triangles, [0, other], axis=0)
    extra = [[a, middle, c], [middle, b, c], [a, b, middle], [b, a, d]]
    result = repair(TriangleSurface(points, np.concatenate([cut, extra])))
    assert "degenerate triangles removed: 1" in told(result)
    assert result.surface.volume == pytest.approx(surface.volume)
    assert len(result.surface.triangles) == 1282
    assert result.hausdorff < 1e-9


def test_small_parts_are_dropped_with_their_volume():
    result = repair(joined(ball(), ball(0.5, 1, (40.0, 0.0, 0.0)), ball(0.7, 1, (0.0, 3.0, 0.0))))
    change = result.changes[0]
    assert change.what == "small parts dropped"
    assert change.count == 2
    np.testing.assert_allclose(np.abs(change.places).max(axis=0), [40.0, 3.0, 0.0], atol=0.1)
    assert "volumes 0.4" in change.detail or "volumes 0.3" in change.detail
    assert len(result.after.components) == 1
    assert result.hausdorff == 0.0


def test_holes_are_filled():
    surface = ball()
    torn = surface.triangles[~np.isin(surface.triangles, [5, 300, 301]).any(axis=1)]
    assert len(inspect(replace(surface, triangles=torn)).loops) >= 2
    result = repair(replace(surface, triangles=torn))
    assert "holes filled" in told(result)
    assert result.after.sound
    assert result.surface.volume == pytest.approx(surface.volume, rel=5e-3)
    assert result.hausdorff == 0.0
    assert set(result.surface.names) == {"wall"}


def test_open_ends_get_flat_caps_with_names():
    result = repair(tube(), caps={"outlet": (0, 0, 70), "inlet": (0, 0, 0)})
    surface = result.surface
    assert surface.names == {"wall": 0, "outlet": 1, "inlet": 2}
    for name, z in (("inlet", 0.0), ("outlet", 60.0)):
        cap = surface.points[surface.part(name)]
        np.testing.assert_allclose(cap[..., 2], z, atol=1e-9)
        area = (
            0.5
            * np.linalg.norm(np.cross(cap[:, 1] - cap[:, 0], cap[:, 2] - cap[:, 0]), axis=1).sum()
        )
        assert area == pytest.approx(12 * 100 * np.sin(np.pi / 12))
        assert len(cap) > 40
    assert surface.volume == pytest.approx(12 * 100 * np.sin(np.pi / 12) * 60)
    assert result.hausdorff == 0.0
    assert meshed(result) == pytest.approx(surface.volume)
    again = repair(tube(), caps=["valve"])
    assert list(again.surface.names) == ["wall", "valve", "cap0"]


def test_oblique_and_wavy_ends_are_capped():
    surface = tube()
    x, y, z = surface.points.T
    lift = z / 60 * (0.8 * x + 0.5 * np.sin(3 * np.arctan2(y, x)))
    bent = surface.points + lift[:, None] * [0.0, 0.0, 1.0]
    result = repair(replace(surface, points=bent))
    assert set(result.surface.names) == {"wall", "cap0", "cap1"}
    assert "off its plane" in told(result)
    assert meshed(result) == pytest.approx(result.surface.volume)


def test_caps_without_an_end_are_refused():
    with pytest.raises(InputError, match="3 caps are wanted, but it has 2 open ends"):
        repair(tube(), caps=["a", "b", "c"])
    with pytest.raises(
        InputError, match=r"no open end near cap `apex`; the nearest is 4\d\d mm away"
    ):
        repair(tube(), caps={"apex": (0, 0, 500)})


def merged(surface: TriangleSurface) -> TriangleSurface:
    points, number = np.unique(surface.points, axis=0, return_inverse=True)
    return TriangleSurface(points, number.ravel()[surface.triangles])


def test_wall_between_two_open_tubes_is_closed_by_rings():
    outer, inner = tube(), tube(8.0)
    result = repair(joined(outer, inner), caps={"inlet": (0, 0, 0), "outlet": (0, 0, 60)})
    assert result.surface.names == {"wall": 0, "inlet": 1, "outlet": 2}
    assert result.surface.volume == pytest.approx(12 * (100 - 64) * np.sin(np.pi / 12) * 60)
    assert len(result.after.components) == 1
    assert "2 rims, the longest" in told(result)
    assert meshed(result) == pytest.approx(result.surface.volume)


@pytest.mark.parametrize("shift", [(20.0, 20.0, 0.0), (20.0, 20.0, 20.0)], ids=["edge", "corner"])
def test_bodies_that_touch_are_taken_apart(shift):
    result = repair(merged(joined(cube(), cube(corner=shift))))
    assert "edges and vertices taken apart" in told(result)
    assert len(result.after.components) == 2
    assert 0 < result.hausdorff < 1.5
    assert result.surface.volume == pytest.approx(16000.0, rel=0.05)
    assert meshed(result) == pytest.approx(result.surface.volume)


def test_inner_wall_and_flap_are_dropped():
    box = pv.Box(bounds=(0, 20, 0, 20, 0, 20), level=3)
    body = plain(box)
    wall = plain(pv.Plane(center=(10, 10, 10), direction=(1, 0, 0), i_size=20, j_size=20,
                          i_resolution=4, j_resolution=4))  # fmt: skip
    result = repair(merged(joined(body, wall)))
    assert "inner walls and flaps dropped: 32" in told(result)
    assert result.surface.volume == pytest.approx(8000.0)
    body = merged(cube())
    number = [int(np.flatnonzero((body.points == [0, 0, z]).all(axis=1))[0]) for z in (0, 20)]
    flap = TriangleSurface(
        np.concatenate([body.points, [[-10.0, -10.0, 10.0]]]),
        np.concatenate([body.triangles, [[*number, 8]]]),
    )
    result = repair(flap)
    assert "inner walls and flaps dropped: 1 at (-3.3, -3.3, 10.0)" in told(result)
    assert result.surface.volume == pytest.approx(8000.0)


def test_glued_cubes_become_one_body():
    result = repair(merged(joined(cube(), turned(mirrored_at(cube(), 20.0)))))
    assert result.surface.volume == pytest.approx(16000.0)
    assert "duplicated triangles removed: 4" in told(result)
    assert len(result.after.components) == 1


def mirrored_at(surface: TriangleSurface, x: float) -> TriangleSurface:
    return replace(surface, points=surface.points * [-1.0, 1.0, 1.0] + [2 * x, 0.0, 0.0])


def test_fold_is_smoothed_out():
    surface = ball()
    points = exchanged(surface.points)
    assert len(inspect(replace(surface, points=points)).intersections) > 0
    result = repair(replace(surface, points=points))
    assert result.after.sound
    assert "folds smoothed out" in told(result)
    assert result.surface.volume == pytest.approx(surface.volume, rel=0.01)
    assert result.hausdorff < 6.5


def test_spike_through_the_other_side_is_removed():
    surface = ball()
    points = surface.points.copy()
    points[int(np.argmax(points[:, 0]))] = [-26.0, 1.0, 0.5]
    spoilt = replace(surface, points=points)
    assert len(inspect(spoilt).intersections) > 0
    result = repair(spoilt)
    assert result.after.sound
    assert result.surface.volume == pytest.approx(surface.volume, rel=0.03)
    assert meshed(result) == pytest.approx(result.surface.volume)


def test_small_body_that_cuts_itself_is_kept():
    small = ball(6.0, 2, (50.0, 0.0, 0.0))
    points = small.points.copy()
    points[int(np.argmax(points[:, 0]))] -= [14.0, 0.3, 0.2]
    result = repair(joined(ball(), replace(small, points=points)))
    assert len(result.after.components) == 2
    wanted = ball().volume + small.volume
    assert result.surface.volume == pytest.approx(wanted, rel=0.01)


def test_bodies_that_cut_each_other_are_united():
    centre = np.array([24.0, 0.3, 0.2])
    result = repair(joined(ball(), ball(centre=centre)))
    assert "bodies that cut each other united: 2" in told(result)
    distance = float(np.linalg.norm(centre))
    lens = np.pi * (4 * RADIUS + distance) * (2 * RADIUS - distance) ** 2 / 12
    assert result.hausdorff < 0.01
    exact = 2 * 4 / 3 * np.pi * RADIUS**3 - lens
    assert result.surface.volume == pytest.approx(exact, rel=0.03)
    assert len(result.after.components) == 1
    for x in ([0.0, 0.0, 0.0], [12.0, 0.0, 0.0], [24.0, 0.0, 0.0]):
        assert winding(result.surface.points, result.surface.triangles, np.array(x)) == (
            pytest.approx(1.0, abs=1e-6)
        )


def test_wall_without_thickness_is_refused_with_its_place():
    inner = ball(12.0, centre=(9.0, 0.0, 0.0))
    with pytest.raises(MeshError, match=r"has no thickness at \(1[89]\.\d.* where they cut each"):
        repair(joined(ball(), turned(inner)))


def test_everything_at_once():
    surface = ball()
    points = exchanged(surface.points)
    triangles = surface.triangles[~(surface.triangles == int(np.argmin(points[:, 0]))).any(axis=1)]
    triangles[::4] = triangles[::4][:, ::-1]
    spoilt = soup(TriangleSurface(points, np.concatenate([triangles, triangles[5:8]])))
    result = repair(joined(spoilt, ball(0.4, 1, (0.0, 50.0, 0.0))))
    assert result.after.sound
    assert len(result.changes) >= 5
    assert result.surface.volume == pytest.approx(surface.volume, rel=0.01)
    assert meshed(result) == pytest.approx(result.surface.volume)


def test_surfaces_that_enclose_nothing_are_refused():
    sheet = plain(pv.Plane(i_size=40, j_size=40))
    with pytest.raises(MeshError, match=r"a sheet that encloses nothing, at \(0\.0, 0\.0, 0\.0\)"):
        repair(sheet)
    both = repair(joined(ball(), replace(sheet, points=sheet.points + 60.0)))
    assert "sheets that enclose nothing dropped: 1 at (60.0, 60.0, 60.0)" in told(both)
    line = TriangleSurface(np.array([[0.0, 0, 0], [20, 0, 0], [40, 0, 0]]), np.array([[0, 1, 2]]))
    with pytest.raises(MeshError, match="nothing is left: degenerate triangles removed: 1"):
        repair(line)
    rng = np.random.default_rng(1)
    cracked = soup(ball())
    moved = cracked.points + 1e-3 * rng.random(cracked.points.shape)
    with pytest.raises(MeshError, match="merge vertices that lie farther apart"):
        repair(replace(cracked, points=moved))
    result = repair(replace(cracked, points=moved), options=RepairOptions(merge=0.01))
    assert result.after.sound
    assert 5e-4 < result.hausdorff < 2e-3


def test_one_sided_band_is_refused_with_its_place():
    with pytest.raises(MeshError, match=r"band\.stl: has one side only, like a Möbius band, at \("):
        repair(one_sided_band(), place="band.stl")


def test_rim_that_no_flat_cap_closes_is_refused():
    turn = 2 * np.pi * np.arange(40) / 40
    eight = np.column_stack([20 * np.cos(turn), 10 * np.sin(2 * turn), 3 * np.sin(turn)])
    with pytest.raises(MeshError, match=r"cap `valve` at \(.*its rim crosses itself in its plane"):
        flat_cap(eight, "valve")


def test_patch_of_least_area_over_a_saddle():
    turn = 2 * np.pi * np.arange(24) / 24
    circle = np.column_stack([10 * np.cos(turn), 10 * np.sin(turn), 0 * turn])
    patch = least_area(circle)
    assert patch.shape == (22, 3)
    x = circle[patch]
    areas = 0.5 * np.cross(x[:, 1] - x[:, 0], x[:, 2] - x[:, 0])[:, 2]
    assert (areas > 0).all()
    assert areas.sum() == pytest.approx(12 * 100 * np.sin(np.pi / 12))
    barred = ~np.eye(24, dtype=bool)
    with pytest.raises(MeshError, match="every patch would use an edge twice"):
        least_area(circle, barred)


def test_values_travel_with_vertices_and_triangles():
    surface = ball()
    marked = replace(
        surface,
        vertex_values={"class": np.arange(len(surface.points))},
        triangle_values={"label": np.arange(1, 1281)},
    )
    torn = marked.select(~(surface.triangles == 5).any(axis=1))
    result = repair(torn).surface
    place = {tuple(x): k for k, x in enumerate(surface.points)}
    assert [place[tuple(x)] for x in result.points] == result.vertex_values["class"].tolist()
    assert (result.triangle_values["label"] == 0).sum() == len(result.triangles) - len(
        torn.triangles
    )


def test_options_decide_what_is_a_hole():
    result = repair(tube(), options=RepairOptions(largest_hole=100.0))
    assert set(result.surface.names) == {"wall"}
    assert "holes filled: 2" in told(result)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("devices/ScrewModels/scaled_550x40.vtk", "inner walls and flaps dropped: 31"),
        ("devices/slicerheart/grasper.vtp", "vertices merged: 46"),
        ("knee-atlas/Model_31_anterior_cruciate_ligament.vtk", "vertices merged: 211"),
    ],
)
def test_real_surfaces_are_mended(name, what):
    result = repair(real(name))
    assert what in told(result)
    assert result.after.sound
    assert result.hausdorff < 0.3
    assert abs(result.surface.volume) == pytest.approx(abs(result.before.volume), rel=0.03)


def test_a_cap_over_a_rim_with_straight_runs_has_no_flat_triangles():
    tube = pv.Cylinder(radius=10, height=40, resolution=24, capping=False).triangulate()
    fine = tube.subdivide(2)
    made = repair(
        TriangleSurface(np.asarray(fine.points, float), np.asarray(fine.regular_faces, np.int64))
    )
    assert not made.after.defects()
    area = 24 / 2 * 100.0 * np.sin(2 * np.pi / 24)
    assert made.after.volume == pytest.approx(40.0 * area, rel=1e-4)


def test_a_vertex_that_is_no_number_is_refused_with_its_neighbours_places():
    ball = pv.Icosphere(radius=10.0, nsub=2)
    points = np.asarray(ball.points, float).copy()
    points[17, 1] = np.nan
    surface = TriangleSurface(points, np.asarray(ball.regular_faces, np.int64))
    with pytest.raises(InputError, match=r"1 vertices are not finite, .* 17, beside \("):
        repair(surface)
