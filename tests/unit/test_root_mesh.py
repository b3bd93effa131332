"""Meshes of aortic roots: parametric ones with unequal sinuses, and roots measured on scans."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy.interpolate import CubicSpline, make_interp_spline

from organtwin.aortic_root.anatomy import RootModel, root_anatomy
from organtwin.aortic_root.calcium import Blood, Calcium, Score
from organtwin.aortic_root.measured_wall import Axis, MeasuredWall
from organtwin.aortic_root.measurements import measure_root
from organtwin.aortic_root.phantom import labels, scan
from organtwin.aortic_root.root_tags import told, with_calcium
from organtwin.aortic_root.synthetic import ROOTS
from organtwin.aortic_root.wall_of_scan import measured_wall
from organtwin.errors import InputError, MeshError
from organtwin.export.root_mesh_picture import root_mesh_picture
from organtwin.image.readers import read_image, read_labels
from organtwin.image.volume import Grid
from organtwin.landmarks.record import Landmark, Point
from organtwin.mesh.quality import dihedral_angles, signed_volumes
from organtwin.mesh.regions import faces
from organtwin.mesh.shapes.aortic_root import AorticRoot
from organtwin.mesh.shapes.root_form import RootForm, Valve, hang
from organtwin.mesh.shapes.root_mesh import mesh_root
from organtwin.mesh.shapes.root_wall import RootWall
from organtwin.mesh.volume_mesh import outer_facets
from tests.labelled_block import SHARED, real

#: Three unequal sinuses on an ellipse.
UNEQUAL = RootWall(
    (28.0, 23.0), depths=(4.0, 5.5, 6.0), commissures=(-40.0, 65.0, 215.0), junction=30.0
)
VALVE = Valve(0.8, (1.5, 1.5, 1.5), 9.0, 2.0)
INNER = ("inner", "ostium_right", "ostium_left", "membranous_septum")


def form(wall=UNEQUAL, valve=VALVE):
    leaflets = hang(wall.wall, ("right", "left", "non"), *wall.posts(), valve)
    return RootForm(wall.wall, -10.0, 40.0, 2.0, leaflets)


def facets(mesh, *names):
    chosen = [mesh.facet_names[name] for name in names if name in mesh.facet_names]
    return mesh.points[mesh.facets[np.isin(mesh.facet_tags, chosen)]]


def normals(triangles):
    """Normals as long as the areas."""
    a, b, c = triangles.transpose(1, 0, 2)
    return 0.5 * np.cross(b - a, c - a)


def area(mesh, name):
    return float(np.linalg.norm(normals(facets(mesh, name)), axis=1).sum())


def lumen(mesh):
    """Volume inside, by the flux of (x, y, 0) through all but the ends, which are level."""
    wall = [name for name in mesh.facet_names if name == "inner" or name.endswith("-wall")]
    triangles = facets(mesh, *wall)
    out, middle = normals(triangles), triangles.mean(axis=1)
    # Strips under leaflets are cut as the leaflets are, so either way round.
    out *= np.sign(np.einsum("ij,ij->i", out, middle * [1.0, 1.0, 0.0]))[:, None]
    return 0.5 * float(np.einsum("ij,ij->", out[:, :2], middle[:, :2]))


# ---------------------------------------------------------------------------------------- leaflets


def test_leaflets_hang_from_hinge_points_and_leave_their_orifice():
    for leaflet, (turn, height) in zip(form().leaflets, UNEQUAL.posts()[0], strict=True):
        foot = leaflet.foot(np.array([-1.0, 0.0, 1.0]))
        hinge = UNEQUAL.wall(np.array([turn]), np.array([height]))[0]
        assert foot[1] == pytest.approx(hinge)
        assert foot[[0, 2], 2] == pytest.approx([UNEQUAL.commissure_height] * 2)
        edge = leaflet.free_edge(np.linspace(-1.0, 1.0, 201))
        assert edge[[0, -1]] == pytest.approx(foot[[0, 2]])
        away = edge - leaflet.centre
        far = np.linalg.norm(away - (away @ leaflet.up)[:, None] * leaflet.up, axis=1)
        assert far[100] == pytest.approx(1.5)
        # Across the attachment in the wall, to scale and at right angles.
        u, way = np.linspace(-0.9, 0.9, 19), 0.2
        step = UNEQUAL.wall(*leaflet.across(u, way)) - leaflet.foot(u)
        along = leaflet.foot(u + 1e-4) - leaflet.foot(u)
        cosine = np.einsum("ij,ij->i", step, along)
        cosine /= np.linalg.norm(step, axis=1) * np.linalg.norm(along, axis=1)
        smooth = np.abs(u) > 0.35  # the sinus begins with a bend, which is sharpest at the hinge
        assert np.linalg.norm(step, axis=1)[smooth] == pytest.approx(way, rel=0.1)
        assert np.abs(cosine[smooth]).max() < 0.15


def test_neighbouring_leaflets_stay_on_their_sides():
    leaflets = form(valve=replace(VALVE, orifices=(1.0, 1.0, 1.0), belly=0.0)).leaflets
    u = np.linspace(-1.0, 1.0, 81)
    for one, other in zip(leaflets, leaflets[1:] + leaflets[:1], strict=True):
        edges = one.free_edge(u), other.free_edge(u)
        apart = np.linalg.norm(edges[0][:, None] - edges[1][None], axis=2)
        assert apart.min() > 0.8


def test_what_no_leaflet_hangs_from_is_refused():
    hinges, ends = UNEQUAL.posts()
    beside = [(hinges[0][0] + 0.6, 0.0), *hinges[1:]]
    with pytest.raises(InputError, match="`right` lies 34° off the middle"):
        hang(UNEQUAL.wall, ("right", "left", "non"), beside, ends, VALVE)
    above = [(hinges[0][0], 17.0), *hinges[1:]]
    with pytest.raises(InputError, match=r"-1\.0 mm below"):
        hang(UNEQUAL.wall, ("right", "left", "non"), above, ends, VALVE)
    leaflets = form().leaflets
    moved = replace(leaflets[0], centre=leaflets[0].centre - [0.0, -6.0, 0.0])
    with pytest.raises(MeshError, match="cross each other"):
        mesh_root(replace(form(), leaflets=(moved, *leaflets[1:])), 4.0)


# ------------------------------------------------------------------------------------------ meshes


def test_unequal_sinuses_are_meshed_conformingly():
    mesh = mesh_root(form(), 2.0)
    assert list(mesh.region_names) == ["wall", "leaflet_right", "leaflet_left", "leaflet_non"]
    assert (signed_volumes(mesh.points, mesh.cells) > 0).all()
    assert dihedral_angles(mesh.points, mesh.cells).min() > 12.0
    assert np.unique(faces(mesh.cells), axis=0, return_counts=True)[1].max() == 2
    assert len(np.unique(mesh.cells)) == len(mesh.points)
    known = {tuple(f) for f in np.sort(mesh.facets, axis=1).tolist()}
    assert {tuple(f) for f in outer_facets(mesh.cells).tolist()} <= known
    volumes = [mesh.volume(f"leaflet_{name}") for name in ("right", "left", "non")]
    assert volumes[2] > 1.2 * max(volumes[:2]), "the widest cusp has the largest leaflet"


def test_a_synthetic_root_is_meshed_in_the_patient():
    root = replace(ROOTS["circular"][0], leaflets="open")
    mesh = mesh_root(root.form(above=10.0), 3.0)
    x, y, z = root.to_root(mesh.points).T
    assert (z.min(), z.max()) == pytest.approx((-10.0, root.junction_height + 10.0))
    leaflet = mesh.cells[mesh.regions > 1]
    assert np.hypot(x, y)[leaflet].min() > 0.6 * 12.0
    with pytest.raises(InputError, match="fused"):
        ROOTS["bicuspid-like"][0].form()


def test_lumen_and_surface_converge_to_the_formula():
    turn = 2 * np.pi / 720 * (np.arange(720) + 0.5)
    height = np.linspace(-10.0, 40.0, 1001)
    r = UNEQUAL.radius(turn[:, None], height)
    volume = np.trapezoid(0.5 * (r**2).mean(axis=0) * 2 * np.pi, height)
    rise = np.gradient(r, height, axis=1)
    swell = (np.roll(r, -1, axis=0) - np.roll(r, 1, axis=0)) / (2 * turn[1] - 2 * turn[0])
    skin = np.sqrt(r**2 * (1 + rise**2) + swell**2).mean(axis=0) * 2 * np.pi
    surface = np.trapezoid(skin, height)
    off = {}
    for size in (4.0, 2.0):
        mesh = mesh_root(replace(form(), leaflets=()), size)
        off[size] = lumen(mesh) / volume - 1, area(mesh, "inner") / surface - 1
    assert np.abs(off[2.0]) == pytest.approx([0.0, 0.0], abs=0.005)
    assert (np.abs(off[2.0]) < 0.35 * np.abs(off[4.0])).all()
    assert lumen(mesh_root(form(), 3.0)) == pytest.approx(volume, rel=0.01), "with leaflets"


# ----------------------------------------------------------------------------------- measured wall


def bent():
    """A wall with three lobes about an arc of 60 mm radius."""
    way = np.linspace(-12.0, 45.0, 120)
    arc = np.stack([60.0 * (1 - np.cos(way / 60)), np.zeros(120), 60.0 * np.sin(way / 60)], axis=1)
    across = np.tile([0.0, 1.0, 0.0], (120, 1))
    series = np.zeros((120, 15))
    series[:, 0], series[:, 5] = 13.0, 1.5 * np.exp(-(((way - 10.0) / 8.0) ** 2))
    axis = Axis(CubicSpline(way, arc), CubicSpline(way, across))
    return MeasuredWall(axis, make_interp_spline(way, series, k=3), -10.0, 40.0)


def test_a_bent_wall_has_its_thickness_and_places_are_found_again():
    wall = bent()
    rng = np.random.default_rng(1)
    turn, way = rng.uniform(-3.0, 3.0, 200), rng.uniform(-9.0, 39.0, 200)
    at = wall.place(turn, way)
    found = wall.locate(at)
    for one, true in zip(found, (turn, way, wall.radius(turn, way)), strict=True):
        assert one == pytest.approx(true, abs=0.01)
    assert np.isnan(wall.locate(np.array([[0.0, 0.0, -30.0]]))[0]).all()
    # A tenth of a millimetre into the wall is that far from its tangent plane.
    step = 1e-4
    by_angle = wall.place(turn + step, way) - wall.place(turn - step, way)
    by_way = wall.place(turn, way + step) - wall.place(turn, way - step)
    normal = np.cross(by_angle, by_way)
    normal /= np.linalg.norm(normal, axis=1)[:, None]
    deep = np.einsum("ij,ij->i", wall.place(turn, way, 0.1) - at, normal)
    assert deep == pytest.approx(0.1, rel=0.06)
    mesh = mesh_root(RootForm(wall.place, wall.low, wall.high, 2.0), 3.0)
    assert dihedral_angles(mesh.points, mesh.cells).min() > 15.0


def test_calcium_keeps_its_volume_in_cells_beside_it():
    root = replace(AorticRoot(), leaflet=0.0)
    mesh = mesh_root(root, 1.5)
    grid = Grid((60, 60, 20), np.full(3, 0.8), np.array([-24.0, -24.0, 0.0]), np.eye(3))
    index = np.argwhere(np.ones(grid.shape, bool))
    places = grid.points(index)
    mask = np.zeros(grid.shape, bool)
    balls = {2.0: np.array([14.8, 0.0, 9.0]), 1.5: np.array([0.0, -12.5, 5.0])}
    for radius, at in balls.items():
        here = np.linalg.norm(places - at, axis=1) < radius
        mask[tuple(index[here].T)] = True
    whole = float(mask.sum()) * grid.voxel_volume
    score = Score(whole, 0.7 * whole, 0.0, 0.0, 0.0)
    lime = Calcium(500.0, "adaptive", Blood(400.0, 10.0), {("right", "valve"): score}, 2, mask)
    limed, lesions = with_calcium(mesh, lime, grid)
    assert limed.volume("calcium") == pytest.approx(0.7 * whole, rel=0.03)
    assert limed.volume("wall") + limed.volume("calcium") == pytest.approx(mesh.volume("wall"))
    assert told(lesions) == ()
    stone = limed.regions == limed.region_names["calcium"]
    middles = limed.points[limed.cells[stone]].mean(axis=1)
    for lesion, (radius, at) in zip(lesions, balls.items(), strict=True):
        assert lesion.centre == pytest.approx(at, abs=0.4)
        assert lesion.meshed == pytest.approx(lesion.measured, rel=0.06)
        near = np.linalg.norm(middles - at, axis=1) < radius + 1.0
        volumes = signed_volumes(limed.points, limed.cells[stone][near])
        assert volumes.sum() == pytest.approx(lesion.meshed), "all of it lies there"
    assert with_calcium(mesh, replace(lime, mask=np.zeros_like(mask)), grid) == (mesh, ())
    away = np.linalg.norm(places - [19.0, 19.0, 9.0], axis=1) < 2.0
    lost = with_calcium(mesh, replace(lime, mask=away.reshape(grid.shape)), grid)[1]
    assert lost[0].meshed == 0.0
    assert "0 mm³ are meshed" in told(lost)[0]


@pytest.mark.parametrize(
    "change",
    [{"leaflets": "ajar"}, {"size": 0.0}, {"below": 40.0}, {"commissures": 1.2}, {"wall": -1.0}],
)
def test_models_that_make_no_sense_are_refused(change):
    with pytest.raises(InputError):
        RootModel(**change)


# ------------------------------------------------------------------------------------------- scans


def distances_to(root, mesh):
    """Signed distance along the radius of the inner vertices from the true wall (mm)."""
    chosen = [mesh.facet_names[name] for name in INNER if name in mesh.facet_names]
    vertices = np.unique(mesh.facets[np.isin(mesh.facet_tags, chosen)])
    x, y, z = root.to_root(mesh.points[vertices]).T
    return np.hypot(x, y) - root.radius(np.arctan2(y, x), z)


@pytest.fixture(scope="module")
def scanned():
    root, scanner = ROOTS["calcium on one cusp"]
    image, map_ = scan(root, scanner), labels(root, scanner)
    return root, image, map_, measure_root(image, map_)


@pytest.mark.slow
def test_a_scanned_root_is_meshed_where_it_is(scanned, tmp_path):
    root, image, map_, found = scanned
    made = root_anatomy(found, image, map_)
    mesh, quality = made.mesh, made.quality
    off = distances_to(root, mesh)
    assert np.abs(off).mean() < 0.1
    assert np.abs(off).max() < 1.0
    assert made.annulus_area == pytest.approx(root.truth()["annulus_area"], rel=0.03)
    assert made.annulus_area == pytest.approx(found.outlines["annulus"].area, rel=0.03)
    assert made.notes == ()
    assert quality.inverted == 0
    assert quality.min_dihedral > 10.0
    assert quality.first_percentile_dihedral > 18.0
    assert set(mesh.region_names) == {
        "wall", "leaflet_right", "leaflet_left", "leaflet_non", "calcium"
    }  # fmt: skip
    assert abs(quality.volume_error["calcium"]) < 0.05
    true = sum(root.calcium_volumes().values())
    assert mesh.volume("calcium") == pytest.approx(true, rel=0.35)
    for coronary in root.coronaries:
        patch = facets(mesh, f"ostium_{coronary.cusp}")
        disc = 0.25 * np.pi * coronary.diameter**2
        assert np.linalg.norm(normals(patch), axis=1).sum() == pytest.approx(disc, rel=0.35)
        assert np.linalg.norm(patch.mean(axis=(0, 1)) - root.ostium(coronary)) < 1.0
    assert area(mesh, "membranous_septum") == pytest.approx(6.6 * 10.2, rel=0.25)
    for name, leaflet in zip(("right", "left", "non"), made.form.leaflets, strict=True):
        assert leaflet.name == name
    hinges = np.array([one.foot(np.zeros(1))[0] for one in made.form.leaflets])
    assert np.linalg.norm(hinges - root.hinges(), axis=1).max() < 2.5
    picture = np.asarray(Image.open(root_mesh_picture(made, tmp_path / "root.png")))
    red, green, blue = picture[..., :3].astype(int).transpose(2, 0, 1)
    assert np.count_nonzero((red > 150) & (green < 80) & (blue < 80)) > 100, "an ostium is seen"


@pytest.mark.slow
def test_labels_alone_are_meshed():
    root, scanner = ROOTS["usual"]
    map_ = labels(root, scanner)
    found = measure_root(None, map_)
    made = root_anatomy(found, None, map_)
    assert np.abs(distances_to(root, made.mesh)).mean() < 0.3
    assert made.quality.min_dihedral > 8.0


@pytest.mark.slow
def test_the_wall_is_drawn_to_a_hinge_point_that_a_leaflet_hides(scanned):
    root, image, map_, found = scanned
    rest = tuple(one for one in found.landmarks if one.name != "hinge_left")
    inwards = root.to_patient(0.75 * root.to_root(root.hinges()[1]))
    hidden = replace(found, landmarks=(*rest, Landmark("hinge_left", Point(inwards))))
    wall = measured_wall(hidden, image, map_, 10.0, 25.0)
    turn, way, far = wall.locate(inwards[None])
    assert far - wall.radius(turn, way) == pytest.approx(0.0, abs=1.0)
    assert "inwards to `hinge_left`" in wall.notes[0]
    other = measured_wall(found, image, map_, 10.0, 25.0)
    high = np.array([way[0] + 12.0])
    assert wall.radius(turn, high) == pytest.approx(other.radius(turn, high), abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["elliptic", "bicuspid-like", "small", "open leaflets"])
def test_roots_of_all_kinds_are_meshed_open_and_closed(name):
    root, scanner = ROOTS[name]
    image, map_ = scan(root, scanner), labels(root, scanner)
    found = measure_root(image, map_)
    for leaflets in ("closed", "open"):
        made = root_anatomy(found, image, map_, RootModel(leaflets=leaflets, size=1.8))
        assert np.abs(distances_to(root, made.mesh)).mean() < 0.15
        assert made.quality.min_dihedral > 8.0


@pytest.mark.slow
def test_what_cannot_be_meshed_is_told(scanned):
    _, image, map_, found = scanned
    with pytest.raises(InputError, match=r"mm of the ascending aorta are seen: the field of view"):
        measured_wall(found, image, map_, 10.0, 60.0)
    rest = tuple(one for one in found.landmarks if one.name != "hinge_left")
    with pytest.raises(InputError, match=r"no hinge points \['hinge_left'\]"):
        root_anatomy(replace(found, landmarks=rest), image, map_)
    for at, message in ((found.frame.origin, "off the wall"), (found.frame.origin + 200.0, "ends")):
        moved = (*rest, Landmark("hinge_left", Point(at)))
        with pytest.raises(InputError, match=f"`hinge_left`: lies .*{message}"):
            root_anatomy(replace(found, landmarks=moved), image, map_)
    alone = root_anatomy(
        replace(found, landmarks=rest, calcium=None), image, map_, RootModel(leaflets="none")
    )
    assert list(alone.mesh.region_names) == ["wall"]


@pytest.mark.slow
@real
def test_a_real_root_is_meshed():
    image = read_image(SHARED / "aorta-ct/ct_cropped.nii.gz")
    map_ = read_labels(SHARED / "aorta-ct/aorta.nii.gz", {"aorta": 1})
    found = measure_root(image, map_)
    made = root_anatomy(found, image, map_)
    assert made.quality.inverted == 0
    assert made.quality.min_dihedral > 8.0
    assert made.wall.high - made.wall.low > 45.0
    # Half-way from the axis to the wall is blood, half-way again beyond the wall mostly not.
    turn, way = np.meshgrid(np.linspace(0.0, 6.0, 25), np.arange(14.0, made.wall.high, 2.0))
    radius = made.wall.radius(turn.ravel(), way.ravel())
    wall = made.wall.place(turn.ravel(), way.ravel())
    out = (wall - made.wall.axis.at(way.ravel())) / radius[:, None]
    aorta = map_.mask("aorta")

    def labelled(points):
        index = np.round(map_.grid.index(points)).astype(int)
        return float(np.mean(aorta[tuple(index.T)]))

    assert labelled(wall - 3.0 * out) > 0.97
    assert labelled(wall + 3.0 * out) < 0.1
