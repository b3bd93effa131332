"""Operators on phantoms with known answers; lengths in mm, anisotropic voxels where it matters."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from organtwin.errors import InputError
from organtwin.image.volume import Grid, Image
from organtwin.segment.centreline import along_skeleton, trace
from organtwin.segment.fronts import Contour, active_contour, arrival, edge_speed
from organtwin.segment.growing import confident, connected
from organtwin.segment.lobes import grow_together, lobes
from organtwin.segment.markers import pools, slope, walker, watershed
from organtwin.segment.morphology import (
    closed,
    filled,
    grown,
    largest,
    opened,
    shrunk,
    touching,
    without_islands,
)
from organtwin.segment.orientation import upright
from organtwin.segment.references import read_references
from organtwin.segment.thresholds import between, hysteresis, levels
from organtwin.segment.vessels import tubeness
from organtwin.segment.wall import Wall, outer_wall


def grid_of(shape, spacing=(1.0, 1.0, 1.0)):
    return Grid(shape, np.array(spacing), np.array([-10.0, 5.0, 30.0]), np.eye(3))


def places(grid):
    """Coordinates (mm) of all voxels from the first one, shape (i, j, k, 3)."""
    return np.moveaxis(np.indices(grid.shape), 0, -1) * grid.spacing


def ball(grid, centre, radius):
    return np.linalg.norm(places(grid) - centre, axis=-1) <= radius


def image_of(values, grid):
    return Image(values.astype(np.float32), grid, "HU")


def dice(one, other):
    return 2.0 * (one & other).sum() / (one.sum() + other.sum())


def test_radii_are_in_mm_on_anisotropic_voxels():
    grid = grid_of((41, 41, 11), (1.0, 1.0, 4.0))
    dot = np.zeros(grid.shape, bool)
    dot[20, 20, 5] = True
    assert (grown(dot, grid, 8.0) == ball(grid, (20, 20, 20), 8.0)).all()
    assert (shrunk(ball(grid, (20, 20, 20), 15.0), grid, 30.0) == 0).all()


def test_opening_cuts_a_bridge_and_closing_fills_a_crack():
    grid = grid_of((50, 24, 24))
    two = ball(grid, (12, 12, 12), 9) | ball(grid, (37, 12, 12), 9)
    bridged = two | (np.hypot(*(places(grid)[..., a] - 12 for a in (1, 2))) <= 1.5)
    assert np.unique(bridged[24]).size == 2
    assert not opened(bridged, grid, 4.0)[24].any()
    assert dice(opened(bridged, grid, 4.0), two) > 0.97
    cracked = ball(grid, (12, 12, 12), 9)
    cracked[12] = False
    assert closed(cracked, grid, 2.0)[12, 12, 12]


def test_closing_does_not_eat_what_touches_the_edge_of_the_image():
    grid = grid_of((12, 12, 12))
    half = np.zeros(grid.shape, bool)
    half[:6] = True
    assert (closed(half, grid, 4.0) == half).all()


def test_parts_are_chosen_by_size_volume_and_seed():
    grid = grid_of((40, 20, 20), (2.0, 1.0, 1.0))
    big, small = ball(grid, (20, 10, 10), 8), ball(grid, (60, 10, 10), 4)
    both = big | small
    assert (largest(both) == big).all()
    assert (largest(both, 2) == both).all()
    assert (without_islands(both, grid, 500.0) == big).all()
    seed = np.zeros_like(both)
    seed[30, 10, 10] = seed[0, 0, 0] = True
    assert (touching(both, seed) == small).all()
    assert not largest(np.zeros_like(both)).any()


def test_holes_are_filled_in_space_or_within_slices():
    grid = grid_of((20, 20, 8))
    radius = np.hypot(*(places(grid)[..., a] - 10 for a in (0, 1)))
    tube = (radius <= 8) & (radius >= 5)
    assert (filled(tube) == tube).all()
    assert (filled(tube, slices=2) == (radius <= 8)).all()


def test_hysteresis_keeps_weak_voxels_only_next_to_strong_ones():
    values = np.zeros((30, 5, 5))
    values[3:8], values[5, 2, 2], values[20:25] = 200.0, 400.0, 200.0
    image = image_of(values, grid_of(values.shape))
    found = hysteresis(image, 150.0, 300.0)
    assert found[3:8].all() and found.sum() == values[3:8].size
    assert not hysteresis(image, 150.0, 300.0, high=350.0).any()
    assert between(image, 150.0, 250.0).sum() == 250 - 1


def test_levels_lie_between_the_classes():
    values = np.concatenate([np.full(900, 50), np.full(300, 400), np.full(200, 900)]) + np.tile(
        [-5, 5], 700
    )
    low, high = levels(values, 3)
    assert 50 < low < 400 < high < 900


def noisy_ball(radius=9.0, spacing=(1.0, 1.0, 2.0), noise=25.0):
    grid = grid_of((32, 32, 16), spacing)
    truth = ball(grid, (16, 16, 16), radius)
    values = np.where(truth, 300.0, 50.0)
    return image_of(values + np.random.default_rng(5).normal(0, noise, values.shape), grid), truth


def seed_at(truth, index=(16, 16, 8)):
    seeds = np.zeros_like(truth)
    seeds[index] = True
    return seeds


def test_region_growing_stays_in_the_connected_range():
    image, truth = noisy_ball(noise=15.0)
    assert dice(connected(image, seed_at(truth), 175.0), truth) > 0.99
    assert not connected(image, seed_at(truth, (0, 0, 0)), 175.0).any()
    assert dice(confident(image, seed_at(truth), deviations=4.0), truth) > 0.95
    with pytest.raises(InputError, match="no seed"):
        confident(image, np.zeros_like(truth))


def test_front_arrives_after_distance_over_speed():
    grid = grid_of((41, 41, 21), (1.0, 1.0, 2.0))
    seeds = np.zeros(grid.shape, bool)
    seeds[20, 20, 10] = True
    fast = np.full(grid.shape, 2.0, np.float32)
    apart = np.linalg.norm(places(grid) - (20, 20, 20), axis=-1)
    error = arrival(fast, grid, seeds)[apart > 8] / (apart[apart > 8] / 2.0) - 1.0
    assert np.abs(error).max() < 0.18 and np.abs(error).mean() < 0.08  # first order, in voxels
    side = np.zeros_like(seeds)
    side[:, :, 0] = True
    assert arrival(fast, grid, side)[3, 3] == pytest.approx(np.arange(21) * 2.0 / 2.0)
    speed = np.ones(grid.shape, np.float32)
    speed[30] = 0.0
    blocked = arrival(speed, grid, seeds, until=100.0)
    assert np.isinf(blocked[30:]).all() and np.isfinite(blocked[:30]).all()


def test_active_contour_grows_to_the_edge():
    image, truth = noisy_ball()
    speed = edge_speed(image, sigma=1.0, slope=25.0)
    start = ball(image.grid, (16, 16, 16), 5.0)
    found = active_contour(start, speed, image.grid, Contour(inflation=1.0, steps=300))
    assert dice(found, truth) > 0.93
    assert dice(start, truth) < 0.5


def test_walker_and_watershed_meet_at_the_edge():
    image, truth = noisy_ball()
    markers = np.zeros(truth.shape, np.int32)
    markers[ball(image.grid, (16, 16, 16), 5.0)] = 1
    markers[0], markers[-1] = 2, 2
    assert dice(walker(image, markers) == 1, truth) > 0.97
    assert dice(watershed(slope(image, 1.0), markers) == 1, truth) > 0.9
    inside = ball(image.grid, (16, 16, 16), 14.0)
    assert not walker(image, markers, inside | (markers > 0))[~(inside | (markers > 0))].any()
    with pytest.raises(InputError, match="two markers"):
        walker(image, (markers == 1).astype(np.int32))
    with pytest.raises(InputError, match="no marker"):
        watershed(slope(image, 1.0), np.zeros_like(markers))


def test_touching_balls_are_parted_at_their_neck():
    grid = grid_of((46, 26, 13), (1.0, 1.0, 2.0))
    left, right = ball(grid, (13, 13, 13), 10), ball(grid, (31, 13, 13), 10)
    numbers = pools(left | right, grid, apart=8.0, least=4.0)
    assert numbers.max() == 2
    assert dice(numbers == numbers[13, 13, 6], left) > 0.96


def test_passages_tell_a_tube_from_a_neck_and_lobes_go_to_the_widest_way():
    grid = grid_of((90, 26, 26))
    where = places(grid)
    tube = (np.hypot(where[..., 1] - 13, where[..., 2] - 13) <= 9) & (where[..., 0] < 45)
    chamber = ball(grid, (60, 13, 13), 12) & (where[..., 0] > 45)
    neck = (np.hypot(where[..., 1] - 13, where[..., 2] - 13) <= 3) & (where[..., 0] < 60)
    mask = tube | chamber | neck
    found = lobes(mask, np.zeros(grid.shape), grid, apart=9.0, least=4.0)
    tubes = [n for n in range(1, len(found.deepest)) if found.centre[n, 0] < 35.0]
    room = int(found.numbers[60, 13, 13])
    assert set(found.widest(tubes[0], 0.65)) == set(tubes)
    assert room in found.widest(tubes[0], 0.2)
    groups = grow_together(
        found, {"tube": {tubes[0]}, "room": {room}}, range(1, len(found.deepest))
    )
    assert groups["tube"] >= set(tubes) and room in groups["room"]
    assert not groups["tube"] & groups["room"]


def test_tubeness_is_large_in_a_tube_and_small_in_a_plate_and_a_ball():
    grid = grid_of((40, 60, 24))
    where = places(grid)
    tube = np.hypot(where[..., 0] - 8, where[..., 1] - 10) <= 3
    plate = np.abs(where[..., 1] - 50) <= 3
    blob = ball(grid, (28, 28, 12), 3)
    image = image_of(np.where(tube | plate | blob, 400.0, 0.0), grid)
    found = tubeness(image, [2.0, 3.0])
    assert found[8, 10, 12] > 0.5
    assert found[20, 50, 12] < 0.1 * found[8, 10, 12]
    assert found[28, 28, 12] < 0.5 * found[8, 10, 12]


def bent_tube(radius=5.0, bend=25.0):
    """Half a torus in the plane of the first and third axis, its middle line and its grid."""
    grid = grid_of((70, 16, 28), (1.0, 1.0, 1.25))
    where = places(grid) - (35.0, 7.5, 0.0)
    along = np.hypot(where[..., 0], where[..., 2])
    return (
        np.hypot(along - bend, where[..., 1]) <= radius,
        grid,
        np.add(grid.origin, (35.0, 7.5, 0.0)),
    )


@pytest.mark.parametrize("automatic", [True, False])
def test_centreline_of_half_a_torus(automatic):
    mask, grid, middle = bent_tube()
    ends = middle + np.array([[-25.0, 0, 0], [25.0, 0, 0]])
    line = along_skeleton(mask, grid) if automatic else trace(mask, grid, *ends)
    inner = slice(8, -8)
    off = np.hypot(
        np.linalg.norm((line.points - middle)[inner][:, [0, 2]], axis=1) - 25.0,
        (line.points - middle)[inner][:, 1],
    )
    assert off.max() < 1.0
    lost = 2 * 5.0 if automatic else 0.0  # the skeleton's ends lie a radius inside
    assert line.length == pytest.approx(np.pi * 25.0 - lost, rel=0.05)
    assert line.radius[inner] == pytest.approx(5.0, abs=0.6)
    steps = np.diff(line.along)
    assert steps == pytest.approx(steps.mean(), rel=0.05)
    assert np.linalg.norm(line.tangents, axis=1) == pytest.approx(1.0)


def test_centreline_refuses_parts_that_are_not_connected():
    mask, grid, middle = bent_tube()
    mask[34:37] = False
    reach = np.array([25.0, 0, 0])
    with pytest.raises(InputError, match="aren't connected"):
        trace(mask, grid, middle - reach, middle + reach)
    with pytest.raises(InputError, match="empty"):
        trace(np.zeros_like(mask), grid, middle, middle)


def test_outer_wall_goes_round_a_dark_lumen_and_keeps_off_a_neighbour():
    grid = grid_of((60, 60, 10), (1.0, 1.0, 1.5))
    where = places(grid)
    truth = np.hypot(where[..., 0] - 30, where[..., 1] - 28) <= 14
    lumen = np.hypot(where[..., 0] - 30, where[..., 1] - 20) <= 5
    bone = where[..., 1] >= 46
    values = np.where(truth, 60.0, -100.0)
    values[lumen], values[bone] = 400.0, 500.0
    found = outer_wall(values.astype(np.float32), truth, lumen, bone, grid, Wall())
    assert dice(found, truth) > 0.95
    assert found[lumen].all() and not (found & bone).any()


def test_upright_turns_mirrored_and_swapped_axes_and_back():
    direction = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0]])
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    grid = Grid((2, 3, 4), np.array([3.0, 1.0, 2.0]), np.array([5.0, 6.0, 7.0]), direction)
    turned, turn = upright(Image(values, grid))
    assert turned.grid.direction == pytest.approx(np.eye(3))
    assert (turn.back(turned.values) == values).all()
    index = np.argwhere(values == 17)
    again = np.argwhere(turned.values == 17)
    assert turned.grid.points(again) == pytest.approx(grid.points(index))


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0])
def test_slopes_are_per_mm_whatever_the_voxels(sigma):
    grid = grid_of((30, 30, 9), (1.0, 1.0, 8.0))
    where = places(grid)
    for axis in (0, 1, 2):
        found = slope(image_of(10.0 * where[..., axis], grid), sigma)
        assert found[12:18, 12:18, 4] == pytest.approx(10.0, rel=1e-3)
        speed = edge_speed(image_of(10.0 * where[..., axis], grid), sigma=sigma, slope=10.0)
        assert speed[12:18, 12:18, 4] == pytest.approx(0.5, rel=1e-3)
    thin = grid_of((20, 20, 1))
    assert slope(image_of(places(thin)[..., 0], thin), 0.5)[5:15, 5:15] == pytest.approx(1.0)


def test_labels_beyond_a_byte_keep_their_names(tmp_path):
    values = np.zeros((6, 5, 4), np.int16)
    values[1], values[2] = 300, 44
    image = sitk.GetImageFromArray(values.transpose(2, 1, 0))
    sitk.WriteImage(image, str(tmp_path / "labels.nrrd"))
    grid = grid_of((6, 5, 4))
    grid = Grid(grid.shape, grid.spacing, np.zeros(3), np.eye(3))
    found = read_references([tmp_path / "labels.nrrd"], grid, names={300: "aorta", 44: "liver"})
    assert (found["aorta"] == (values == 300)).all()
    assert (found["liver"] == (values == 44)).all()
    single = np.where(values == 300, 256, 0).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(single.transpose(2, 1, 0)), str(tmp_path / "one.nrrd"))
    assert (read_references([tmp_path / "one.nrrd"], grid)["one"] == (values == 300)).all()


def test_the_recipe_of_the_documentation_finds_an_organ_and_its_vessel():
    page = (Path(__file__).parents[2] / "docs" / "segment.md").read_text(encoding="utf-8")
    code = page.split("## A recipe of your own")[1].split("```python")[1].split("```")[0]
    grid = grid_of((56, 40, 40))
    where = places(grid)
    organ = ball(grid, (17, 20, 20), 13)
    vessel = (np.hypot(*(where[..., a] - 20 for a in (1, 2))) <= 3) & (where[..., 0] > 17) & ~organ
    values = np.where(organ | vessel, 300.0, 40.0)
    values = gaussian_filter(values, 0.7) + np.random.default_rng(5).normal(0.0, 10.0, grid.shape)
    known = {"image": image_of(values, grid), "place": grid.points([[17, 20, 20]])[0]}
    exec(compile(code, "docs/segment.md", "exec"), known)
    found = known["labels"]
    assert dice(found.mask("organ"), organ) > 0.95
    assert dice(found.mask("vessel"), vessel) > 0.8
