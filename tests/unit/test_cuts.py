"""Labels that the image's border cuts off get plane caps there, with names of their own."""

from dataclasses import replace

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap
from organtwin.mesh.boundary_layers import BoundaryLayers, lined
from organtwin.mesh.conforming.cuts import FLAT, Cuts
from organtwin.mesh.conforming.from_surfaces import from_surfaces
from organtwin.mesh.conforming.ladder import conform
from organtwin.mesh.conforming.route import MeshOptions
from organtwin.mesh.conforming.sizes import Sizes
from organtwin.mesh.conforming.tetrahedra import fill
from organtwin.mesh.conforming.wrapping import Wrapping, wrap
from organtwin.mesh.intersections import intersecting_pairs
from organtwin.mesh.proof import prove
from organtwin.mesh.tissue import borders_of, wall_of

TURNED = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
INNER, OUTER = 36.0 * np.pi, 45.0 * np.pi  # areas of blood and wall across the vessel


def vessel(slope=0.25, length=16):
    """A wall around blood through the whole image, oblique to its border."""
    x, y, z = np.indices((28, 26, length)).astype(float)
    r = np.hypot(x - 13.3 - slope * (z - 0.5 * length), y - 12.7)
    values = np.where(r < 6.0, 2, np.where(r < 9.0, 1, 0)).astype(np.uint8)
    return LabelMap(values, {"wall": 1, "blood": 2}, np.ones(3), np.array([5.0, 7, -3]), TURNED)


def ball(places, radius):
    """A ball by the fields of view of voxels of 1 mm; its centre is the origin."""
    x = np.stack(np.meshgrid(*places, indexing="ij"), axis=3)
    values = (np.linalg.norm(x, axis=3) < radius).astype(np.uint8)
    return LabelMap(values, {"ball": 1}, np.ones(3), np.array([p[0] for p in places]), np.eye(3))


@pytest.fixture(scope="module")
def oblique():
    return conform(vessel(), MeshOptions(Sizes(3.0)))


def facets(mesh, name):
    return mesh.facets[mesh.facet_tags == mesh.facet_names[name]]


def area(mesh, name):
    a, b, c = (mesh.points[facets(mesh, name)[:, k]] for k in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()


@pytest.mark.parametrize(("resolution", "tolerance"), [(None, 0.04), (1.6, 0.15)])
def test_vessels_that_leave_the_image_end_in_its_border_plane(resolution, tolerance):
    labels = vessel()
    surfaces = wrap(labels, Wrapping(resolution=resolution))
    height = (surfaces.points - labels.origin) @ labels.direction[:, 2]
    assert height.min() == pytest.approx(-0.5, abs=1e-9)
    assert height.max() == pytest.approx(15.5, abs=1e-9)
    assert not len(intersecting_pairs(surfaces.points, surfaces.triangles))
    assert set(surfaces.pairs) == {
        ("wall", "cut"), ("wall", "outside"), ("blood", "cut"), ("blood", "wall")
    }  # fmt: skip
    for name, code in labels.names.items():
        assert surfaces.volume(name) == pytest.approx(labels.mask(name).sum(), rel=1e-3)
        cut = surfaces.between(name, "cut")
        for end, place in ((0, -0.5), (-1, 15.5)):
            on = (np.abs(height - place) < 1e-9)[surfaces.triangles].all(axis=1)
            wanted = np.count_nonzero(labels.values[:, :, end] == code)
            assert surfaces.areas[cut & on].sum() == pytest.approx(wanted, rel=tolerance)
            assert not (surfaces.between(name, "outside") & on).any()
    assert surfaces.area("blood", "cut") == surfaces.areas[surfaces.between("cut", "blood")].sum()


def test_cuts_do_not_flare():
    labels = vessel(slope=0.0)
    surfaces = wrap(labels)
    local = (surfaces.points - labels.origin) @ labels.direction
    r = np.hypot(local[:, 0] - 13.3, local[:, 1] - 12.7)
    rim = (np.abs(local[:, 2] + 0.5) < 1e-9) & (r > 8.0)
    middle = (np.abs(local[:, 2] - 7.5) < 2.0) & (r > 8.0)
    assert abs(r[rim].max() - r[middle].max()) < 0.2


def test_corners_of_the_image_stay_sharp():
    labels = LabelMap(np.ones((4, 5, 6), np.uint8), {"all": 1}, np.ones(3), np.zeros(3), np.eye(3))
    surfaces = wrap(labels)
    assert surfaces.volume("all") == pytest.approx(120.0)
    assert surfaces.area("all", "cut") == pytest.approx(148.0)
    assert surfaces.pairs == (("all", "cut"),)


@pytest.mark.parametrize("coarse", [False, True])
def test_cuts_of_nested_labels_are_facets_of_the_mesh_in_the_planes(oblique, coarse):
    labels, made = vessel(), oblique
    if coarse:
        made = conform(labels, MeshOptions(Sizes(3.0), Wrapping(resolution=1.6)))
    mesh = made.mesh
    assert set(mesh.facet_names) == {"wall-cut", "wall-outside", "blood-cut", "blood-wall"}
    local = (mesh.points - labels.origin) @ labels.direction
    away = np.minimum(np.abs(local[:, 2] + 0.5), np.abs(local[:, 2] - 15.5))
    # Cuts have the shape of the first and last slice, whose middles lie half a voxel inside.
    axis = 13.3 + 0.25 * (local[:, 2].clip(0.0, 15.0) - 8.0)
    r = np.hypot(local[:, 0] - axis, local[:, 1] - 12.7)
    blood, wall = (np.unique(facets(mesh, f"{name}-cut")) for name in ("blood", "wall"))
    side = np.unique(facets(mesh, "wall-outside"))
    assert away[np.concatenate([blood, wall])].max() < FLAT
    assert not (away[facets(mesh, "wall-outside")] < FLAT).all(axis=1).any()
    assert np.abs(r[np.intersect1d(blood, wall)] - 6.0).max() < 0.6
    assert np.abs(r[np.intersect1d(side, wall)] - 9.0).max() < 0.5
    assert area(mesh, "blood-cut") == pytest.approx(2.0 * INNER, rel=0.05)
    assert area(mesh, "wall-cut") == pytest.approx(2.0 * OUTER, rel=0.06)
    assert made.interfaces.area("wall", "cut") == pytest.approx(area(mesh, "wall-cut"))
    proof = prove(mesh, labels)
    assert proof.quality.min_dihedral > 10.0
    assert not proof.torn
    assert max(abs(r.volume_error) for r in proof.regions.values()) < 0.005


def test_walls_of_vessels_end_at_cuts(oblique):
    labels, mesh = vessel(), oblique.mesh
    wall = wall_of(mesh, borders_of(mesh), ["wall"], ["blood"], "x")
    cut = wall.end("wall-cut", "inlet")
    found = {tuple(sorted(t)) for t in wall.triangles[cut].tolist()}
    assert found == {tuple(sorted(t)) for t in facets(mesh, "wall-cut").tolist()}
    ring = wall.end("blood-cut", "inlet")
    assert ring[cut].all()
    assert np.count_nonzero(ring & ~cut) < 0.3 * np.count_nonzero(cut)
    for same in ("blood-outside", "cut"):
        np.testing.assert_array_equal(wall.end(same, "inlet"), ring)
    first = wall.end(tuple(labels.points(np.array([[11.3, 12.7, -0.5]]))[0]), "inlet")
    assert np.count_nonzero(first & cut) < 0.7 * np.count_nonzero(cut)
    with pytest.raises(InputError, match="touches cut, outside; the lumen opens at blood-cut"):
        wall.end("valve", "inlet")


def test_a_ball_in_one_border_has_a_flat_cap_with_a_sharp_rim():
    made = conform(ball([np.arange(-11, 12.0), np.arange(-11, 12.0), np.arange(3.5, 12)], 9.0),
                   MeshOptions(Sizes(2.5)))  # fmt: skip
    mesh = made.mesh
    cap, side = facets(mesh, "ball-cut"), facets(mesh, "ball-outside")
    assert np.abs(mesh.points[cap][:, :, 2] - 3.0).max() < FLAT
    rim = mesh.points[np.intersect1d(cap, side)]
    square = 9.0**2 - 3.5**2  # of the first slice
    np.testing.assert_allclose(np.hypot(*rim[:, :2].T), np.sqrt(square), atol=0.3)
    assert area(mesh, "ball-cut") == pytest.approx(square * np.pi, rel=0.03)
    assert area(mesh, "ball-outside") == pytest.approx(2.0 * np.pi * 9.0 * 6.0, rel=0.03)


def test_all_borders_that_cut_a_label_have_one_name_and_meet_in_sharp_edges():
    low = np.arange(0.5, 12)
    mesh = conform(ball([low, low, low], 9.0), MeshOptions(Sizes(2.0))).mesh
    cap = np.unique(facets(mesh, "ball-cut"))
    assert (np.abs(mesh.points[cap]).min(axis=1) < FLAT).all()
    assert np.abs(mesh.points[cap]).max(axis=1).min() < FLAT  # the corner
    assert area(mesh, "ball-cut") == pytest.approx(3.0 * 81.0 * np.pi / 4.0, rel=0.03)
    assert mesh.volume("ball") == pytest.approx(np.pi * 729.0 / 6.0, rel=0.02)
    flat = unit_normals(mesh, "ball-cut")
    np.testing.assert_allclose(flat.min(axis=1), -1.0, atol=1e-6)


def unit_normals(mesh, name):
    a, b, c = (mesh.points[facets(mesh, name)[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def test_triangles_in_a_plane_are_told_from_others_there():
    surfaces = wrap(ball([np.arange(0.5, 8), np.arange(-7, 8.0), np.arange(-7, 8.0)], 5.0))
    cuts = Cuts.of(surfaces)
    np.testing.assert_allclose(cuts.normals, [[-1.0, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(cuts.distances, 0.0, atol=1e-12)
    points = np.array([[0.0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [2e-5, 0, 0]])
    triangles = np.array([[0, 1, 2], [0, 2, 1], [0, 1, 3], [4, 1, 2]])
    number = int(cuts.numbers[0])
    assert cuts.numbers_at(points, triangles).tolist() == [number, 0, 0, 0]
    assert replace(cuts, slack=1e-3).numbers_at(points, triangles)[3] == number


def test_layers_along_a_wall_end_on_cuts():
    surfaces = wrap(vessel(slope=0.0, length=6))
    found = lined(surfaces, "blood", ["blood-wall"], BoundaryLayers(0.2, layers=2))
    assert {"blood-cut", "wall-cut"} <= set(found.mesh.facet_names)
    assert "blood-outside" not in found.mesh.facet_names
    assert area(found.mesh, "blood-cut") == pytest.approx(surfaces.area("blood", "cut"), rel=1e-6)


def test_interfaces_with_cuts_can_be_filled():
    surfaces = wrap(ball([np.arange(0.5, 8), np.arange(-7, 8.0), np.arange(-7, 8.0)], 5.0))
    assert set(np.unique(fill(surfaces)[2])) == {1}


@pytest.mark.parametrize("name", ["cut", "outside"])
def test_labels_must_not_be_called_like_what_is_around_them(name):
    labels = replace(vessel(), names={"wall": 1, name: 2})
    with pytest.raises(InputError, match=f"label map: a region `{name}`.*Rename it"):
        wrap(labels)
    assert wrap(labels, Wrapping(labels=["wall"])).names == {"wall": 1}
    with pytest.raises(InputError, match=f"surfaces: a region `{name}`"):
        from_surfaces({name: None})
