from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from organtwin.errors import MeshError
from organtwin.image.volume import LabelMap
from organtwin.mesh.conforming import ladder, route
from organtwin.mesh.conforming.chambers import chambers
from organtwin.mesh.conforming.classification import classify
from organtwin.mesh.conforming.delaunay import DELAUNAY, HXT
from organtwin.mesh.conforming.improvement import Improved
from organtwin.mesh.conforming.interfaces import Interfaces
from organtwin.mesh.conforming.ladder import conform
from organtwin.mesh.conforming.places import places_in
from organtwin.mesh.conforming.route import MeshOptions
from organtwin.mesh.conforming.sizes import SizeField
from organtwin.mesh.conforming.tetrahedra import fill
from organtwin.mesh.conforming.wrapping import wrap
from organtwin.mesh.quality import dihedral_angles, mean_ratio, signed_volumes


def nested() -> LabelMap:
    """A wall around blood with a clot in it, a hollow in the wall, and an island apart."""
    x, y, z = np.indices((20, 16, 16)) - 7.5
    radius = np.sqrt(x**2 + y**2 + z**2)
    values = np.select([radius < 2.2, radius < 4.7, radius < 7], [3, 2, 1], 0).astype(np.uint8)
    values[7:9, 7:9, 1:3] = 0
    values[16:19, 6:9, 6:9] = 2
    names = {"wall": 1, "blood": 2, "clot": 3}
    return LabelMap(
        values, names, np.array([1.0, 1.0, 1.5]), np.array([3.0, -9.0, 50.0]), np.eye(3)
    )


@pytest.fixture(scope="module")
def borders() -> Interfaces:
    return wrap(nested())


def test_chambers_are_the_connected_parts_of_regions(borders: Interfaces) -> None:
    rooms = chambers(borders)
    assert sorted(rooms.regions.tolist()) == [0, 1, 2, 2, 3]
    for name, number in borders.names.items():
        assert rooms.volumes[rooms.regions == number].sum() == pytest.approx(borders.volume(name))
    np.testing.assert_array_equal(rooms.regions[np.maximum(rooms.sides, 0)], borders.sides)


def test_chambers_that_share_an_edge_only_are_apart() -> None:
    values = np.zeros((4, 4, 3), np.uint8)
    values[1, 1, 1] = values[2, 2, 1] = 1
    labels = LabelMap(values, {"a": 1}, np.ones(3), np.zeros(3), np.eye(3))
    smoothing = replace(route.Wrapping().smoothing, reach=0.0)
    rooms = chambers(wrap(labels, route.Wrapping(smoothing=smoothing)))
    np.testing.assert_allclose(rooms.volumes, [0.0, 1.0, 1.0])


def test_open_and_turned_interfaces_are_refused_with_the_place(borders: Interfaces) -> None:
    lost = borders.points[borders.triangles[100]]
    opened = replace(
        borders,
        triangles=np.delete(borders.triangles, 100, axis=0),
        sides=np.delete(borders.sides, 100, axis=0),
    )
    with pytest.raises(MeshError, match="at 3 edges") as refusal:
        chambers(opened)
    named = places_in(str(refusal.value))
    assert np.linalg.norm(named[:, None] - lost, axis=2).min(axis=1).max() < 1.0
    turned = borders.triangles.copy()
    turned[100] = turned[100][::-1]
    with pytest.raises(MeshError, match="turned the wrong way at 3 edges"):
        chambers(replace(borders, triangles=turned))


def test_regions_that_enclose_nothing_are_named(borders: Interfaces) -> None:
    with pytest.raises(MeshError, match="`ghost` encloses no volume"):
        fill(replace(borders, names={**borders.names, "ghost": 9}))


def test_fill_keeps_triangles_points_and_volumes(borders: Interfaces) -> None:
    points, cells, regions = fill(borders, SizeField.constant(2.0))
    np.testing.assert_array_equal(points[: len(borders.points)], borders.points)
    volumes = signed_volumes(points, cells)
    assert volumes.min() > 0.0
    for name, number in borders.names.items():
        assert volumes[regions == number].sum() == pytest.approx(borders.volume(name))
    np.testing.assert_array_equal(classify(borders, points, cells), regions)


def test_classification_finds_lost_triangles_and_contradictions(borders: Interfaces) -> None:
    points, cells, _ = fill(borders)
    with pytest.raises(MeshError, match="1 of 3012 triangles are not faces"):
        on_blood = np.isin(cells, borders.triangles[:1]).sum(axis=1) == 3
        classify(borders, points, cells[~on_blood])
    sides = borders.sides.copy()
    sides[(sides == [2, 1]).all(axis=1)] = [3, 1]
    with pytest.raises(MeshError, match=r"two regions run into each other, near \("):
        classify(replace(borders, sides=sides), points, cells)


def test_meshes_are_the_same_each_time(borders: Interfaces) -> None:
    one, two = fill(borders), fill(borders)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("algorithm", [HXT, DELAUNAY])
def test_crossing_triangles_are_named_with_places(borders: Interfaces, algorithm: int) -> None:
    points = borders.points.copy()
    moved = borders.patch("clot", "blood")[0, 0]
    points[moved] += 4.0 * (
        points[moved] - borders.corners[borders.between("clot", "blood")].mean((0, 1))
    )
    with pytest.raises(
        MeshError, match=r"pairs of triangles around `blood`, `clot`.* cross, near"
    ) as e:
        fill(replace(borders, points=points), algorithm=algorithm)
    named = places_in(str(e.value))
    assert np.linalg.norm(named - points[moved], axis=1).min() < 12.0


def test_polishing_keeps_interfaces_and_makes_cells_rounder(borders: Interfaces) -> None:
    plain, polished = (fill(borders, SizeField.constant(1.5), polished=k) for k in (False, True))
    np.testing.assert_array_equal(polished[0][: len(borders.points)], borders.points)
    np.testing.assert_array_equal(classify(borders, *polished[:2]), polished[2])
    assert mean_ratio(*polished[:2]).mean() > mean_ratio(*plain[:2]).mean()


def test_conform_names_regions_and_facets() -> None:
    labels = nested()
    result = conform(labels, MeshOptions(SizeField.constant(2.0)), "phantom")
    mesh = result.mesh
    assert result.attempts[-1].outcome == "good"
    assert dihedral_angles(mesh.points, mesh.cells).min() >= 9.8
    assert {"wall-outside", "blood-wall", "clot-blood", "blood-outside"} == set(mesh.facet_names)
    for name in labels.names:
        assert mesh.volume(name) / 1000 == pytest.approx(labels.volume_ml(name), rel=0.01)
        assert result.interfaces.volume(name) == pytest.approx(mesh.volume(name))
    assert len(mesh.facets) == len(result.interfaces.triangles)


def test_ladder_tells_all_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[route.Way] = []

    def failing(self: route.Route, way: route.Way) -> route.Filled:
        tried.append(way)
        near = " at (1.0, 2.0, 3.0) mm" if len(tried) < 2 else ""
        raise MeshError("gmsh", f"no mesh{near}.")

    monkeypatch.setattr(route.Route, "run", failing)
    options = MeshOptions(SizeField.constant(2.0), attempts=20)
    with pytest.raises(MeshError, match=r"no valid mesh in \d+ attempts. \(1\) as ask") as refusal:
        conform(nested(), options, "phantom")
    assert refusal.value.place == "phantom"
    np.testing.assert_allclose(tried[1].finer[0], [[1.0, 2.0, 3.0]])
    assert tried[2].algorithm == DELAUNAY
    assert [way.reach for way in tried[3:7:2]] == list(ladder.TIGHTER)
    assert any(not way.remeshed and way.reach == 0.0 for way in tried)
    assert all(way.library == "gmsh" or not way.remeshed for way in tried)
    tried.clear()
    with pytest.raises(MeshError, match="in 2 attempts"):
        conform(nested(), replace(options, attempts=2), "phantom")


def test_the_best_mesh_is_kept_where_no_way_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    def idle(points: np.ndarray, cells: np.ndarray, regions: np.ndarray, **_: object) -> Improved:
        return Improved(points, cells, regions, 0.0, (0, 0), (0, 0), {}, {}, cells[:0], {})

    monkeypatch.setattr(route, "improve", idle)
    options = MeshOptions(SizeField.constant(2.5), min_dihedral=40.0, attempts=2)
    result = conform(nested(), options)
    assert [attempt.cells > 0 for attempt in result.attempts] == [True, True]
    best = max(attempt.min_dihedral for attempt in result.attempts)
    mesh = result.mesh
    assert dihedral_angles(mesh.points, mesh.cells).min() == pytest.approx(best)
    assert any("No way gave dihedral angles of 40 degrees" in said for said in result.decisions)


@pytest.mark.slow
def test_ftetwild_follows_crossing_borders() -> None:
    pytest.importorskip("pytetwild")
    labels = nested()
    found = route.Route(labels, MeshOptions(SizeField.constant(2.0))).run(
        route.Way("with fTetWild", library="tetwild")
    )
    volumes = signed_volumes(found.points, found.cells)
    assert volumes.min() > 0.0
    for name, number in labels.names.items():
        assert volumes[found.regions == number].sum() / 1000 == pytest.approx(
            labels.volume_ml(name), rel=0.1
        )
