from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from mpi4py import MPI

from organtwin.anatomy.measures import angle_to, helix_angle, local_axis, mean_line_angle
from organtwin.case.organ import OrganCase, Source
from organtwin.case.organ_directions import First, in_atrium, in_bone, in_ventricles, in_vessel
from organtwin.case.organ_tissues import Bone, LeftAtrium, Ventricles, Vessel
from organtwin.errors import InputError
from organtwin.mesh.tissue import borders_of

from tests.voxel_meshes import heart, tetrahedra_of, tube  # isort: skip

FIRST = First(MPI.COMM_SELF)


@pytest.mark.parametrize("angle", [0.0, 40.0])
def test_fibres_run_around_a_vessel(angle):
    mesh = tube()
    ends = {"inlet": [9.5, 9.5, 0], "outlets": [9.5, 9.5, 14]}
    section = Vessel(wall="wall", lumen="blood", angle=f"{angle} deg", **ends)
    found = in_vessel(FIRST, mesh, borders_of(mesh), "pipe", section, 1)
    middles = mesh.points[mesh.cells[found.cells]].mean(axis=1)
    inside = np.abs(middles[:, 2] - 6.5) < 4.0
    rise = np.degrees(np.arcsin(np.abs(found.f0[inside, 2])))
    assert rise.mean() == pytest.approx(angle, abs=4.0)
    mean = found.account.numbers[1][1].split()[0]
    assert float(mean) == pytest.approx(90.0 - angle, abs=8.0)
    along = found.scalars["along"]
    assert np.corrcoef(along, middles[:, 2])[0, 1] > 0.98
    radius = np.hypot(*(middles[:, :2] - 9.5).T)
    assert np.corrcoef(found.scalars["transmural"], radius)[0, 1] > 0.9
    assert {name: values.shape for name, values in found.scalars.items()} == dict.fromkeys(
        ("along", "transmural", "fibre_angle"), (len(found.cells),)
    )


@pytest.fixture(scope="module")
def ventricles():
    mesh = heart(5.0)
    section = Ventricles(
        muscle=["lv_myocardium", "rv_wall"], lv_blood="lv_blood", rv_blood="rv_blood"
    )
    case = OrganCase.model_construct(source=None)
    return mesh, in_ventricles(FIRST, mesh, borders_of(mesh), section, case, 1)


def test_helix_angle_falls_from_inside_to_outside(ventricles):
    _, found = ventricles
    told = {row[0]: row[1] for row in found.account.numbers}
    inside = float(told["Helix angle of the left free wall inside"])
    outside = float(told["Helix angle of the left free wall outside"])
    assert 25.0 < inside < 75.0
    assert -75.0 < outside < -25.0


def test_segments_and_sides_lie_where_they_are_named(ventricles):
    mesh, found = ventricles
    middles = mesh.points[mesh.cells[found.cells]].mean(axis=1)
    segment = found.scalars["aha_segment"]
    assert set(segment) == set(range(18))
    left = found.scalars["transventricular"] < 0.0
    assert middles[~left, 0].mean() < middles[left, 0].mean() - 20.0
    # In LPS the front is at smaller y.
    assert middles[segment == 1, 1].mean() < middles[segment == 4, 1].mean() - 10.0
    assert middles[segment == 17, 2].mean() < middles[segment == 1, 2].mean() - 30.0
    assert np.corrcoef(found.scalars["apicobasal"], middles[:, 2])[0, 1] > 0.9
    volumes = [volume for _, volume in found.account.parts]
    lv = mesh.volume("lv_myocardium") / 1000.0
    assert sum(volumes) == pytest.approx(lv, rel=0.15)


@pytest.mark.slow
def test_a_heart_the_wrong_way_round_is_told(ventricles):
    mesh, found = ventricles
    assert found.account.decisions == ()
    wrong = replace(mesh, points=mesh.points * [-1.0, -1.0, 1.0])
    section = Ventricles(
        muscle=["lv_myocardium", "rv_wall"], lv_blood="lv_blood", rv_blood="rv_blood"
    )
    case = OrganCase.model_construct(source=None)
    again = in_ventricles(FIRST, wrong, borders_of(wrong), section, case, 1)
    assert "Check the axes of the file" in again.account.decisions[0]


def atrium(edge=2.0):
    """A hollow ball with four veins and a valve, its blood running out through all of them."""
    n = int(64 / edge)
    x = (np.stack(np.indices((n, n, n)), axis=3) - 0.5 * (n - 1)) * edge
    radius = np.linalg.norm(x, axis=3)
    pipes = {
        "mitral": ((0.0, 0.0, -1.0), 11.0), "ls": ((1.0, 0.0, 0.7), 5.0),
        "li": ((1.0, 0.0, -0.2), 5.0), "rs": ((-1.0, 0.0, 0.7), 5.0),
        "ri": ((-1.0, 0.0, -0.2), 5.0),
    }  # fmt: skip
    values = np.select([radius < 20.0, radius < 25.0], [1, 2], 0)
    middles = {}
    for name, (direction, width) in pipes.items():
        d = np.array(direction) / np.linalg.norm(direction)
        beside = np.linalg.norm(np.cross(x, d), axis=3)
        values[(beside < width) & (x @ d > 0.0) & (radius < 25.0)] = 1
        middles[name] = (22.0 * d + (0.5 * (n - 1)) * edge).tolist()
    return tetrahedra_of(values, {"blood": 1, "wall": 2}, edge), middles


@pytest.mark.slow
def test_fibres_run_around_the_mitral_valve():
    mesh, at = atrium()
    section = LeftAtrium(
        wall="wall", blood="blood", mitral=[at["mitral"]], left_veins=[at["ls"], at["li"]],
        right_veins=[at["rs"], at["ri"]],
    )  # fmt: skip
    found = in_atrium(FIRST, mesh, borders_of(mesh), "left", section, 1)
    names = [name for name, _ in found.account.parts]
    assert names == ["mitral ring", "left veins", "right veins", "appendage", "body"]
    ring = found.scalars["bundle"] == 1
    assert ring.sum() > 200
    middles = mesh.points[mesh.cells[found.cells]].mean(axis=1)
    x = middles[ring] - np.array(at["mitral"])
    around = np.cross([0.0, 0.0, 1.0], x)
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    assert angle_to(found.f0[ring], around).mean() < 15.0
    assert middles[ring, 2].mean() < middles[:, 2].mean()


def test_trabeculae_follow_the_stripes_of_a_scan(tmp_path):
    values = np.zeros((20, 20, 20), np.uint8)
    values[4:16, 4:16, 4:16] = 1
    mesh = tetrahedra_of(values, {"bone": 1}, 1.0)
    grid = np.indices((24, 24, 24)) - 2.0
    stripes = np.cos(grid[0] * 2.0) * np.cos(grid[1] * 2.0)  # constant along z
    image = sitk.GetImageFromArray((1000 * stripes).transpose(2, 1, 0).astype(np.int16))
    image.SetOrigin((-2.0, -2.0, -2.0))
    sitk.WriteImage(image, str(tmp_path / "scan.nrrd"))
    section = Bone(regions="bone").model_copy(update={"image": tmp_path / "scan.nrrd"})
    source = Source.model_construct()
    found = in_bone(mesh, section, source)
    assert angle_to(found.f0, np.array([[0.0, 0.0, 1.0]])).max() < 5.0
    assert found.scalars["anisotropy"].min() > 0.9
    with pytest.raises(InputError, match="no scan"):
        in_bone(mesh, Bone(regions="bone"), source)


def test_angles_that_show_sense():
    middles = np.column_stack([np.zeros(200), np.zeros(200), np.linspace(0.0, 50.0, 200)])
    axes = local_axis(middles, np.ones(200), middles[:, 2] / 50.0)
    np.testing.assert_allclose(axes, [[0.0, 0.0, 1.0]] * 200, atol=1e-12)
    np.testing.assert_allclose(angle_to(np.array([[1.0, 0, 0], [0, 0, -1.0]]), axes[:2]), [90, 0])
    assert abs(mean_line_angle(np.array([85.0, -85.0]), np.ones(2))) == pytest.approx(90.0)
    assert np.isnan(mean_line_angle(np.empty(0), np.empty(0)))


def test_the_helix_angle_does_not_know_the_sense_of_a_fibre():
    class Axis:
        apex, direction = np.zeros(3), np.array([0.0, 0.0, 1.0])

    x = np.array([[10.0, 0.0, 5.0]] * 2)
    up = np.array([0.0, np.cos(np.pi / 3), np.sin(np.pi / 3)])
    np.testing.assert_allclose(helix_angle(np.array([up, -up]), x, Axis()), 60.0)
