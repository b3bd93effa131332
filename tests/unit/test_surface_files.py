from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvista as pv
from scipy.optimize import linprog

from organtwin.errors import InputError
from organtwin.mesh.defects import inspect
from organtwin.mesh.intersections import box_pairs, intersecting_pairs, orientation_3d
from organtwin.mesh.surface_files import TriangleSurface, read_surface, write_surface
from tests.bands import one_sided_band

DATA = Path(__file__).parents[3] / "shared/data"


def ball(radius: float = 20.0, subdivisions: int = 2, centre=(0.0, 0.0, 0.0)) -> TriangleSurface:
    body = pv.Icosphere(radius=radius, nsub=subdivisions, center=centre)
    return TriangleSurface(np.asarray(body.points, np.float64), body.regular_faces.astype(np.int64))


def joined(*surfaces: TriangleSurface) -> TriangleSurface:
    shift = np.cumsum([0, *(len(s.points) for s in surfaces[:-1])])
    return TriangleSurface(
        np.concatenate([s.points for s in surfaces]),
        np.concatenate([s.triangles + k for s, k in zip(surfaces, shift, strict=True)]),
    )


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return path


@pytest.mark.parametrize("suffix", [".stl", ".ply", ".vtp", ".obj", ".vtk"])
def test_formats_keep_shape_and_orientation(tmp_path, suffix):
    surface = ball(centre=(10.0, -30.0, 5.0))
    write_surface(surface, tmp_path / f"s{suffix}")
    again = read_surface(tmp_path / f"s{suffix}")
    assert again.triangles.shape == surface.triangles.shape
    assert len(again.points) == len(surface.points)
    assert again.volume == pytest.approx(surface.volume, rel=1e-5)
    np.testing.assert_allclose(again.points.mean(axis=0), [10.0, -30.0, 5.0], atol=1e-3)
    assert inspect(again).sound


def test_vtp_keeps_values_and_names(tmp_path):
    surface = ball()
    marked = TriangleSurface(
        surface.points,
        surface.triangles,
        {"class": np.arange(len(surface.points))},
        {"part": (surface.points[surface.triangles].mean(axis=1)[:, 2] > 0).astype(np.int64)},
        {"below": 0, "upper half": 1},
    )
    write_surface(marked, tmp_path / "m.vtp")
    again = read_surface(tmp_path / "m.vtp")
    np.testing.assert_array_equal(again.vertex_values["class"], marked.vertex_values["class"])
    assert again.names == marked.names
    assert len(again.part("upper half")) == len(marked.part("upper half")) > 0
    with pytest.raises(InputError, match=r"no part `uper half`. Did you mean `upper half`"):
        again.part("uper half")


def write_text_stl(path: Path, solids: dict[str, TriangleSurface], header: str = "") -> None:
    lines = []
    for name, surface in solids.items():
        lines.append(f"solid {name}{header}")
        for corners in surface.points[surface.triangles]:
            lines += ["facet normal 0 0 0", "outer loop"]
            lines += [f"vertex {x:.7e} {y:.7e} {z:.7e}" for x, y, z in corners]
            lines += ["endloop", "endfacet"]
        lines.append(f"endsolid {name}")
    path.write_text("\n".join(lines) + "\n")


def test_text_stl_names_its_solids(tmp_path):
    solids = {"aorta": ball(), "left atrium": ball(centre=(60.0, 0, 0))}
    write_text_stl(tmp_path / "two.stl", solids)
    surface = read_surface(tmp_path / "two.stl")
    assert surface.names == {"aorta": 1, "left atrium": 2}
    middle = surface.points[np.unique(surface.part("left atrium"))].mean(axis=0)
    np.testing.assert_allclose(middle, [60.0, 0.0, 0.0], atol=1e-3)
    assert len(inspect(surface, intersections=False).components) == 2


def test_axes_of_slicer_are_turned(tmp_path):
    surface = ball(centre=(10.0, -30.0, 5.0))
    write_text_stl(tmp_path / "r.stl", {"Slicer": surface}, " output. SPACE=RAS")
    turned = read_surface(tmp_path / "r.stl")
    np.testing.assert_allclose(turned.points.mean(axis=0), [-10.0, 30.0, 5.0], atol=1e-3)
    assert turned.volume == pytest.approx(surface.volume, rel=1e-5)
    assert turned.notes[0] == "Coordinates are RAS (the file says), in mm."
    as_it_is = read_surface(tmp_path / "r.stl", space="LPS")
    np.testing.assert_allclose(as_it_is.points.mean(axis=0), [10.0, -30.0, 5.0], atol=1e-3)


@pytest.mark.parametrize(
    ("radius", "guess", "unit"), [(0.02, "metres", "m"), (20000.0, "micrometres", "um")]
)
def test_wrong_unit_is_asked_for(tmp_path, radius, guess, unit):
    write_surface(ball(radius), tmp_path / "x.stl")
    with pytest.raises(InputError, match=f"the surface measures .* mm; is the file in {guess}"):
        read_surface(tmp_path / "x.stl")
    assert read_surface(tmp_path / "x.stl", unit=unit).extent.max() == pytest.approx(40.0, rel=0.05)
    assert read_surface(tmp_path / "x.stl", organ=False).extent.max() < 50000.0


def test_damaged_files_are_refused(tmp_path):
    write_surface(ball(), tmp_path / "x.stl")
    data = (tmp_path / "x.stl").read_bytes()
    (tmp_path / "cut.stl").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"ends after 1\d\d of 320 triangles"):
        read_surface(tmp_path / "cut.stl")
    write_text_stl(tmp_path / "t.stl", {"a": ball()})
    text = (tmp_path / "t.stl").read_text()
    (tmp_path / "t.stl").write_text(text[: text.index("vertex", 5000) + 30])
    with pytest.raises(InputError, match="damaged or incomplete"):
        read_surface(tmp_path / "t.stl")
    (tmp_path / "p.ply").write_text("ply\nformat ascii 1.0\nend_header\n")
    with pytest.raises(InputError, match=r"holds no faces|can't be read"):
        read_surface(tmp_path / "p.ply")
    (tmp_path / "e.vtp").write_text("<VTKFile")
    with pytest.raises(InputError, match=r"holds no faces|can't be read"):
        read_surface(tmp_path / "e.vtp")
    with pytest.raises(InputError, match="no such surface file"):
        read_surface(tmp_path / "missing.stl")
    with pytest.raises(InputError, match="is no surface format"):
        read_surface(tmp_path / "x.step")
    with pytest.raises(InputError, match=r"no unit `mmm`. Did you mean `mm`"):
        read_surface(tmp_path / "x.stl", unit="mmm")


def test_numbers_that_are_none_are_refused(tmp_path):
    surface = ball()
    surface.points[3, 1] = np.nan
    write_surface(surface, tmp_path / "nan.stl")
    with pytest.raises(InputError, match="vertices have coordinates that are no numbers"):
        read_surface(tmp_path / "nan.stl")


def test_strips_and_polygons_become_triangles(tmp_path):
    pv.PolyData(ball().points, pv.Icosphere(radius=20, nsub=2).faces).strip().save(
        tmp_path / "s.vtk"
    )
    assert inspect(read_surface(tmp_path / "s.vtk")).sound
    pv.Cube(x_length=30, y_length=30, z_length=30).clean().save(tmp_path / "c.vtp")
    cube = read_surface(tmp_path / "c.vtp")
    assert len(cube.triangles) == 12
    assert abs(cube.volume) == pytest.approx(27000.0)
    assert any("cut into 12 triangles" in note for note in cube.notes)


def test_sound_surface_has_no_defects():
    report = inspect(ball())
    assert report.defects() == ()
    assert report.sound
    assert report.closed
    assert len(report.components) == 1
    assert report.volume == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.05)


def test_holes_are_found_with_place_and_length():
    surface = ball(subdivisions=3)
    middle = surface.points[surface.triangles].mean(axis=1)
    report = inspect(surface.select(np.abs(middle[:, 2]) < 18.0))
    assert len(report.loops) == 2
    rim = 2 * np.pi * np.sqrt(20**2 - 18**2)
    for loop in report.loops:
        assert abs(loop.place[2]) == pytest.approx(17.8, abs=0.7)
        assert loop.length == pytest.approx(rim, rel=0.2)
        assert loop.closed
    assert not report.components[0].closed
    assert sum("hole with a rim of" in text for text in report.defects()) == 2


def test_flipped_triangles_are_those_against_the_rest():
    surface = ball()
    turned = [3, 77, 201]
    surface.triangles[turned] = surface.triangles[turned][:, ::-1]
    report = inspect(surface)
    middle = surface.points[surface.triangles[turned]].mean(axis=1)
    np.testing.assert_allclose(report.flipped_triangles, middle)
    assert report.defects() == (
        "3 flipped triangles at "
        + ", ".join(f"({x:.1f}, {y:.1f}, {z:.1f})" for x, y, z in middle)
        + ".",
    )


def test_inside_out_and_mirrored_surfaces_are_told_from_hollows():
    surface = ball()
    inside_out = TriangleSurface(surface.points, surface.triangles[:, ::-1])
    mirrored = TriangleSurface(surface.points * [-1.0, 1.0, 1.0], surface.triangles)
    for wrong in (inside_out, mirrored):
        assert "1 parts inside out" in inspect(wrong).defects()[0]
    inner = ball(10.0)
    hollow = joined(surface, TriangleSurface(inner.points, inner.triangles[:, ::-1]))
    assert inspect(hollow).sound
    assert "parts inside out at (0.0" in inspect(joined(surface, inner)).defects()[0]


def test_duplicates_and_degenerate_triangles_are_counted():
    surface = ball()
    points = np.concatenate([surface.points, surface.points[:5]])
    a, b, c = surface.triangles[0]
    extra = [surface.triangles[7], surface.triangles[9][::-1], [a, a, b], [a, b, c]]
    report = inspect(TriangleSurface(points, np.concatenate([surface.triangles, extra])))
    assert report.duplicated_vertices == 5
    assert len(report.duplicated_triangles) == 3
    assert len(report.degenerate_triangles) == 1


def test_places_where_it_is_no_manifold_are_found():
    cube = np.array([[x, y, z] for x in (0, 20) for y in (0, 20) for z in (0, 20)], float)
    faces = pv.Cube(x_length=20, y_length=20, z_length=20).triangulate().clean()
    one = TriangleSurface(
        np.asarray(faces.points, np.float64) + 10.0, faces.regular_faces.astype(np.int64)
    )
    assert set(map(tuple, one.points)) == set(map(tuple, cube))
    edge = merged(joined(one, TriangleSurface(one.points + np.array([20.0, 20, 0]), one.triangles)))
    report = inspect(edge)
    np.testing.assert_allclose(report.nonmanifold_edges, [[20.0, 20.0, 10.0]])
    corner = merged(joined(one, TriangleSurface(one.points + 20.0, one.triangles)))
    np.testing.assert_allclose(inspect(corner).nonmanifold_vertices, [[20.0, 20.0, 20.0]])


def merged(surface: TriangleSurface) -> TriangleSurface:
    points, number = np.unique(surface.points, axis=0, return_inverse=True)
    return TriangleSurface(points, number.ravel()[surface.triangles])


def test_band_with_one_side_is_recognised():
    report = inspect(one_sided_band())
    assert not report.components[0].orientable
    assert len(report.loops) == 1
    assert any("parts with one side only" in text for text in report.defects())


def feasible(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether some mean of the corners of one triangle is one of the other's."""
    equal = np.zeros((5, 6))
    equal[:3, :3], equal[:3, 3:] = one.T, -two.T
    equal[3, :3] = equal[4, 3:] = 1.0
    found = linprog(np.zeros(6), A_eq=equal, b_eq=[0, 0, 0, 1, 1], bounds=(0, 1))
    return found.status == 0


def test_intersections_are_those_of_linear_programming():
    rng = np.random.default_rng(1)
    points = (rng.random((40, 1, 3)) + 0.9 * rng.random((40, 3, 3))).reshape(-1, 3)
    triangles = np.arange(120).reshape(-1, 3)
    found = {tuple(pair) for pair in intersecting_pairs(points, triangles).tolist()}
    x = points.reshape(-1, 3, 3)
    boxes = {tuple(sorted(p)) for p in box_pairs(x.min(axis=1), x.max(axis=1)).tolist()}
    expected = {pair for pair in boxes if feasible(x[pair[0]], x[pair[1]])}
    assert found == expected
    assert 5 < len(found) < len(boxes)


def test_boxes_that_overlap_are_all_found():
    rng = np.random.default_rng(2)
    low = rng.random((300, 3))
    high = low + 0.1 * rng.random((300, 3))
    apart = (low[:, None] > high) | (low > high[:, None])
    one, two = np.nonzero(~apart.any(axis=2))
    found = {tuple(sorted(p)) for p in box_pairs(low, high).tolist()}
    assert found == {(a, b) for a, b in zip(one.tolist(), two.tolist(), strict=True) if a < b}


def test_orientation_survives_rounding():
    # A point off a plane by the last bit, where the rounded determinant is mostly noise.
    a, b, c = (np.array([x]) for x in ([0.1, 0.1, 0.1], [12.1, 0.7, 24.3], [24.2, 1.3, 48.7]))
    d = 0.3 * a + 0.3 * b + 0.4 * c
    assert orientation_3d(a, b, c, a)[0] == 0
    step = np.array([0.0, 2.0**-44, 0.0])
    signs = {int(orientation_3d(a, b, c, d + sign * step)[0]) for sign in (-1, 1)}
    assert signs == {-1, 1}
    swapped = orientation_3d(a, c, b, d)
    np.testing.assert_array_equal(orientation_3d(a, b, c, d), -swapped)


def test_touching_and_overlapping_triangles_count_but_neighbours_do_not():
    points = np.array(
        [[0, 0, 0], [30, 0, 0], [0, 30, 0], [30, 30, 0], [5, 5, 0], [5, 5, 9], [9, 5, 9],
         [2, 2, 0], [12, 2, 0], [2, 12, 0]], float
    )  # fmt: skip
    flat = np.array([[0, 1, 2], [1, 3, 2]])
    assert len(intersecting_pairs(points, flat)) == 0
    touching = np.concatenate([flat, [[4, 5, 6]]])
    np.testing.assert_array_equal(intersecting_pairs(points, touching), [[0, 2]])
    overlapping = np.concatenate([flat, [[7, 8, 9]]])
    np.testing.assert_array_equal(intersecting_pairs(points, overlapping), [[0, 2]])
    folded = np.array([[0, 1, 2], [1, 0, 7]])
    np.testing.assert_array_equal(intersecting_pairs(points, folded), [[0, 1]])
    through = np.array([[0, 1, 2], [0, 5, 6]])
    assert len(intersecting_pairs(points, through)) == 0


def test_balls_that_cut_each_other_cross_along_a_circle():
    report = inspect(joined(ball(subdivisions=3), ball(subdivisions=3, centre=(24.0, 0.3, 0.2))))
    assert 60 < len(report.intersections) < 300
    r = np.hypot(report.intersection_places[:, 1], report.intersection_places[:, 2])
    np.testing.assert_allclose(report.intersection_places[:, 0], 12.0, atol=2.5)
    np.testing.assert_allclose(r, 16.0, atol=2.5)


@pytest.mark.parametrize(
    ("name", "triangles", "millilitres"),
    [("femur/m4_lfemur_mm.stl", 72868, 213.4), ("biv-surfaces/geo1/heart.vtp", 49978, 144.8)],
)
def test_real_closed_surfaces_are_sound(name, triangles, millilitres):
    report = inspect(read_surface(real(name)))
    assert report.triangles == triangles
    assert report.volume / 1000.0 == pytest.approx(millilitres, abs=0.1)
    assert report.defects() == ()


def test_real_device_in_ras_and_its_defects():
    surface = read_surface(real("devices/ScrewModels/scaled_550x40.vtk"), organ=False)
    assert surface.notes[0].startswith("Coordinates are RAS (the file says)")
    report = inspect(surface)
    assert len(report.nonmanifold_edges) == 21
    assert len(report.loops) == 1
    with pytest.raises(InputError, match="in metres"):
        read_surface(real("devices/slicerheart/tip.vtp"))
    heart = read_surface(real("biv-surfaces/geo1/heart.vtp"))
    assert set(np.unique(heart.vertex_values["class"])) <= set(range(10))
