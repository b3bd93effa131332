from dataclasses import replace

import numpy as np
import pytest
import pyvista as pv

from organtwin.case.organ import Source
from organtwin.case.organ_surfaces import ventricles_part, vessel_part
from organtwin.case.organ_tissues import Marks, Ventricles, Vessel
from organtwin.errors import InputError
from organtwin.mesh.tissue import borders_of, cut_out, wall_of

from tests.voxel_meshes import heart, tetrahedra_of, tube  # isort: skip

#: Not looked at without marks.
SOURCE = Source.model_construct()
ENDS = {"inlet": (0.0, 0.0, 0.0), "outlets": (0.0, 0.0, 0.0)}


def wall(mesh):
    return wall_of(mesh, borders_of(mesh), ["wall"], ["blood"], "[anatomy.vessels.x]")


@pytest.fixture(scope="module")
def pipe():
    return tube()


def test_borders_are_all_triangles_between_regions(pipe):
    found = borders_of(pipe)
    assert {tuple(pair) for pair in found.sides.tolist()} == {(1, 0), (2, 0), (2, 1)}
    x = pipe.points[found.triangles]
    area = 0.5 * np.linalg.norm(np.cross(x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]), axis=1)
    ends = area[(found.sides == [1, 0]).all(axis=1)].sum()
    assert ends * 14 / 2 == pytest.approx(pipe.volume("blood"))


def test_the_ring_around_an_opening_is_the_end_of_the_wall(pipe):
    found = wall(pipe)
    z = pipe.points[found.triangles][:, :, 2]
    at_ends = (np.ptp(z, axis=1) < 1e-9) & ((z[:, 0] < 0.0) | (z[:, 0] > 13.0))
    ring = found.end("blood-outside", "outlets")
    assert (ring[at_ends]).all()
    assert np.count_nonzero(ring & ~at_ends) < 0.3 * np.count_nonzero(at_ends)
    assert not (ring & found.inner).any()


def test_a_point_chooses_one_of_several_openings(pipe):
    found = wall(pipe)
    low, high = (found.end((9.5, 9.0, z), "inlet") for z in (1.0, 15.0))
    both = found.end("outside-blood", "inlet")
    assert not (low & high).any()
    np.testing.assert_array_equal(low | high, both)
    assert pipe.points[found.triangles[low]][:, :, 2].max() < 2.0


def test_a_region_stands_for_its_contact_and_for_the_opening_towards_it():
    mesh = tube(valve=True)
    found = wall(mesh)
    end = found.end("valve", "inlet")
    contact = found.beyond == mesh.region_names["valve"]
    assert contact.sum() > 50
    assert end[contact].all()
    np.testing.assert_array_equal(found.end("wall-valve", "inlet"), contact)


def test_a_region_that_is_named_like_a_facet_is_the_region():
    mesh = tube(valve=True)
    names = {("wall-outside" if name == "valve" else name): n
             for name, n in mesh.region_names.items()}  # fmt: skip
    named = wall(replace(mesh, region_names=names)).end("wall-outside", "inlet")
    np.testing.assert_array_equal(named, wall(mesh).end("valve", "inlet"))


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("valv", "nothing called `valv`. The wall touches outside; the lumen opens at blood-out"),
        ("outside", "`outside` is no end"),
        ("wall-blood", "the wall does not end at `wall-blood`"),
        ((9.5, 9.5, 60.0), "the nearest opening, at .* is 46.5 mm away"),
    ],
)
def test_ends_that_are_not_there_are_refused(pipe, place, message):
    with pytest.raises(InputError, match=message):
        wall(pipe).end(place, "inlet")


def test_pinholes_are_no_openings():
    values = np.zeros((12, 12, 12), np.uint8)
    values[2:10, 2:10, :10] = 2
    values[3:9, 3:9, :8] = 1
    values[6, 6, 8:10] = 1  # blood through the roof of the wall
    mesh = tetrahedra_of(values, {"blood": 1, "wall": 2}, 1.0)
    found = wall_of(mesh, borders_of(mesh), ["wall"], ["blood"], "x")
    ring = found.end("blood-outside", "inlet")
    assert mesh.points[found.triangles[ring]][:, :, 2].max() < 2.0


def test_only_the_largest_piece_is_cut_out():
    values = np.zeros((12, 6, 6), np.uint8)
    values[:6], values[9:] = 1, 1
    mesh = tetrahedra_of(values, {"body": 1}, 1.0)
    borders = borders_of(mesh)
    part, cells = cut_out(mesh, {"a": mesh.regions == 1}, {"skin": borders.triangles}, "x")
    assert part.volume("a") == pytest.approx(216.0)
    np.testing.assert_array_equal(
        part.points[part.cells].mean(axis=1), mesh.points[mesh.cells[cells]].mean(axis=1)
    )
    assert len(part.facets) == 6 * 36 * 2


def test_unknown_regions_are_refused(pipe):
    section = Vessel(wall="wal", lumen="blood", **ENDS)
    with pytest.raises(InputError, match=r"no region `wal` in the mesh\. Did you mean `wall`"):
        vessel_part(pipe, borders_of(pipe), section, "[anatomy.vessels.x]")


def test_ventricles_are_told_by_blood_or_by_their_flat_base():
    mesh = heart(4.0)
    by_blood = Ventricles(
        muscle=["lv_myocardium", "rv_wall"], rv_wall="rv_wall", lv_blood="lv_blood",
        rv_blood="rv_blood",
    )  # fmt: skip
    found = ventricles_part(mesh, borders_of(mesh), by_blood, SOURCE)
    assert set(found.mesh.region_names) == {"lv", "rv"}
    assert set(found.mesh.facet_names) == {"epi", "base", "rv_endo", "lv_endo"}
    assert found.decisions == ()

    muscle = np.isin(mesh.regions, [2, 4])
    alone = replace(
        mesh, cells=mesh.cells[muscle], regions=np.full(muscle.sum(), 1),
        region_names={"muscle": 1},
    )  # fmt: skip
    shape = ventricles_part(alone, borders_of(alone), Ventricles(muscle="muscle"), SOURCE)
    assert "told by shape" in shape.decisions[0]
    for name in found.mesh.facet_names:
        mine, theirs = (
            np.count_nonzero(part.mesh.facet_tags == part.mesh.facet_names[name])
            for part in (shape, found)
        )
        assert mine == pytest.approx(theirs, rel=0.05), name
    assert shape.mesh.volume("rv") == pytest.approx(found.mesh.volume("rv"), rel=0.25)


def test_ventricles_without_a_flat_base_are_refused(pipe):
    section = Ventricles(muscle="wall")
    closed = np.zeros((14, 14, 14), np.uint8)
    closed[2:12, 2:12, 2:12] = 1
    mesh = tetrahedra_of(closed, {"wall": 1}, 1.0)
    with pytest.raises(InputError, match="no flat base parts them"):
        ventricles_part(mesh, borders_of(mesh), section, SOURCE)


def test_blood_that_the_muscle_does_not_touch_is_refused():
    mesh = heart(6.0)
    section = Ventricles(muscle="rv_wall", lv_blood="lv_blood", rv_blood="rv_blood")
    with pytest.raises(InputError, match=r"lv_blood: the muscle does not touch `lv_blood`"):
        ventricles_part(mesh, borders_of(mesh), section, SOURCE)


def test_ventricles_are_told_by_marks(tmp_path):
    mesh = heart(6.0)
    borders = borders_of(mesh)
    muscle = ["lv_myocardium", "rv_wall"]
    by_blood = Ventricles(muscle=muscle, lv_blood="lv_blood", rv_blood="rv_blood")
    wanted = ventricles_part(mesh, borders, by_blood, SOURCE).mesh
    surface = pv.PolyData.from_regular_faces(wanted.points, wanted.facets)
    numbers = {"base": 1, "epi": 2, "lv_endo": 3, "rv_endo": 4}
    marks = {tag: numbers[name] for name, tag in wanted.facet_names.items()}
    surface.cell_data["class"] = np.array([marks[tag] for tag in wanted.facet_tags.tolist()])
    surface.save(tmp_path / "marks.vtp")

    def told(**keys):
        given = Marks(file=tmp_path / "marks.vtp", **keys)
        return ventricles_part(mesh, borders, Ventricles(muscle=muscle, marks=given), source)

    source = Source(labels=tmp_path / "marks.vtp")
    found = told().mesh
    assert found.facet_names.keys() == wanted.facet_names.keys()
    for name in wanted.facet_names:
        mine, theirs = (
            np.count_nonzero(part.facet_tags == part.facet_names[name]) for part in (found, wanted)
        )
        assert mine == theirs, name
    with pytest.raises(InputError, match=r"no integers `clas`\. Did you mean `class`"):
        told(array="clas")
    with pytest.raises(InputError, match=r"no triangle has 7 \(`epi`\).*There are 1, 2, 3, 4"):
        told(epi=7)
