import numpy as np
import pytest
import pyvista as pv
from typer.testing import CliRunner

from organtwin.cli import app
from organtwin.errors import InputError, MeshError
from organtwin.image.slicer import read_slicer
from organtwin.mesh.surface_files import TriangleSurface, write_surface
from organtwin.mesh.voxelising import MARGIN, MOST_VOXELS, shared, voxelised

SIDES = np.array([
    [0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
    [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3],
])  # fmt: skip
TURN = pv.transformations.axis_angle_rotation((1, 2, 3), 37.0)[:3, :3]


def box(low, high):
    choice = np.indices((2, 2, 2)).reshape(3, -1).T
    return TriangleSurface(np.where(choice, np.array(high, float), np.array(low, float)), SIDES)


def ball(radius, centre):
    made = pv.Icosphere(radius=radius, nsub=3, center=centre)
    return TriangleSurface(np.asarray(made.points, float), np.asarray(made.regular_faces, np.int64))


def test_volume_of_a_ball_converges_with_second_order():
    # The error of one grid scatters, as that of counting lattice points does: take many balls.
    rng = np.random.default_rng(1)
    sizes, errors = np.array([4.0, 2.0, 1.0]), []
    for size in sizes:
        found = []
        for _ in range(12):
            surface = ball(rng.uniform(20.0, 21.0), rng.uniform(-50.0, 50.0, 3))
            counted = voxelised({"ball": surface}, size).volume_ml("ball")
            found.append(counted * 1e3 / surface.volume)
        errors.append(np.sqrt(np.mean((np.array(found) - 1.0) ** 2)))
    assert np.polyfit(np.log(sizes), np.log(errors), 1)[0] > 1.7
    assert errors[-1] < 2e-3


def test_an_oblique_box_holds_the_voxels_whose_centres_it_holds():
    upright = box((0, 0, 0), (20, 16, 12))
    turned = TriangleSurface(upright.points @ TURN.T, SIDES)
    labels = voxelised({"box": turned}, 0.7)
    index = np.indices(labels.values.shape).reshape(3, -1).T
    local = labels.points(index) @ TURN
    wanted = ((local > 0) & (local < (20, 16, 12))).all(axis=1)
    assert np.array_equal(labels.values.ravel() == 1, wanted)


def test_the_later_of_two_surfaces_has_what_they_share():
    surfaces = {"one": box((0, 0, 0), (20, 10, 10)), "two": box((15, 0, 0), (30, 10, 10))}
    labels = voxelised(surfaces, 0.5)
    assert labels.volume_ml("one") == pytest.approx(1.5)
    assert labels.volume_ml("two") == pytest.approx(1.5)
    assert shared(surfaces, labels) == {("one", "two"): pytest.approx(0.5)}
    back = dict(reversed(surfaces.items()))
    assert voxelised(back, 0.5).volume_ml("one") == pytest.approx(2.0)


def test_nested_surfaces_are_given_from_the_outside_inwards():
    outer, inner = box((0, 0, 0), (20, 20, 20)), box((5, 5, 5), (15, 15, 15))
    labels = voxelised({"outer": outer, "inner": inner}, 1.0)
    assert labels.volume_ml("inner") == pytest.approx(1.0)
    assert labels.volume_ml("outer") == pytest.approx(7.0)
    with pytest.raises(InputError, match="Give it after the surfaces that it lies in"):
        voxelised({"inner": inner, "outer": outer}, 1.0)


def test_a_hollow_is_outside():
    outer, inner = box((0, 0, 0), (20, 20, 20)), box((5, 5, 5), (15, 15, 15))
    both = TriangleSurface(
        np.concatenate([outer.points, inner.points]),
        np.concatenate([SIDES, SIDES[:, ::-1] + 8]),
    )
    assert voxelised({"shell": both}, 1.0).volume_ml("shell") == pytest.approx(7.0)


def test_surfaces_that_share_a_wall_leave_no_gap():
    pair = {"left": box((0, 0, 0), (11, 10, 10)), "right": box((11, 0, 0), (20, 10, 10))}
    labels = voxelised(pair, 0.75)
    whole = voxelised({"whole": box((0, 0, 0), (20, 10, 10))}, 0.75)
    assert np.array_equal(labels.values > 0, whole.values > 0)
    assert shared(pair, labels) == {}


def test_open_surfaces_and_impossible_voxels_are_refused():
    whole = box((0, 0, 0), (20, 10, 10))
    with pytest.raises(MeshError, match=r"hole with a rim.*organtwin surface FILE --repair OUT"):
        voxelised({"open": TriangleSurface(whole.points, SIDES[2:])}, 1.0)
    for size, message in ((0.0, "does not fit"), (30.0, "does not fit"), (0.001, "million")):
        with pytest.raises(InputError, match=message):
            voxelised({"whole": whole}, size)
    with pytest.raises(InputError) as refused:
        voxelised({"whole": whole}, 0.001)
    asked = float(refused.value.remedy.split()[1])
    shape = np.ceil(np.array([20, 10, 10]) / asked) + 2 * MARGIN
    assert np.prod(shape) <= MOST_VOXELS


def run(*arguments):
    return CliRunner().invoke(app, ["surface", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path):
    write_surface(box((0, 0, 0), (20, 10, 10)), tmp_path / "one.stl")
    write_surface(box((15, 0, 0), (30, 10, 10)), tmp_path / "two.vtp")
    return tmp_path


def test_surfaces_become_a_segmentation_of_slicer(folder):
    out = folder / "both.seg.nrrd"
    result = run(folder / "one.stl", folder / "two.vtp", "--labels", out, "--voxel", 0.5)
    assert result.exit_code == 0, result.output
    assert " 0.5 mL lie in `one` and in `two`" in result.output
    labels = read_slicer(out).labels
    assert labels.names == {"one": 1, "two": 2}
    assert labels.volume_ml("two") == pytest.approx(1.5)
    low, high = labels.points(np.argwhere(labels.values)[[0, -1]])
    assert np.allclose([low, high], [(0.25,) * 3, (29.75, 9.75, 9.75)])


def test_unit_and_axes_count_for_all_files(folder):
    out = folder / "both.seg.nrrd"
    command = (folder / "one.stl", folder / "two.vtp", "--labels", out, "--voxel", 2)
    assert run(*command, "--unit", "cm", "--space", "RAS").exit_code == 0
    labels = read_slicer(out).labels
    assert labels.volume_ml("two") == pytest.approx(1500.0)
    assert np.allclose(labels.points(np.argwhere(labels.values)).min(axis=0), (-299, -99, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "x.seg.nrrd"], "`--voxel MM` is missing"),
        (["--voxel", 1], "`--labels OUT` is missing"),
        (["--labels", "x.nii.gz", "--voxel", 1], "Change the file name"),
        (["--labels", "x.seg.nrrd", "--voxel", 1, "--repair", "y.vtp"], "does not go with"),
        (["--repair", "y.vtp"], "does not go with several surfaces"),
    ],
)
def test_options_that_do_not_go_together_are_refused(folder, arguments, message):
    result = run(folder / "one.stl", folder / "two.vtp", *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_files_of_the_same_name_are_refused(folder):
    result = run(folder / "one.stl", folder / "one.stl", "--labels", "x.seg.nrrd", "--voxel", 1)
    assert result.exit_code == 2
    assert "Rename one of them" in result.output


def test_several_surfaces_are_told_one_by_one(folder):
    result = run(folder / "one.stl", folder / "two.vtp")
    assert result.exit_code == 0
    assert result.output.count("No defects") == 2
