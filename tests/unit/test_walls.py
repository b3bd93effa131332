from dataclasses import replace

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.image.volume import LabelMap
from organtwin.image.walls import OpenEnd, grow_wall, grow_wall_around

BEND = 35.0


def arch(voxel: float, radius: float = 10.0) -> LabelMap:
    """Quarter of a ring of blood that ends at the faces x = 0 and z = 0 of the image."""
    n, ny = int(np.ceil(50 / voxel)), int(np.ceil(28 / voxel))
    i, j, k = np.indices((n, ny, n))
    x, y, z = (i + 0.5) * voxel, (j + 0.5 - ny / 2) * voxel + 0.3, (k + 0.5) * voxel
    r = np.hypot(np.hypot(x, z) - BEND, y)
    return LabelMap(
        (r < radius).astype(np.uint8), {"blood": 1}, np.full(3, voxel), np.zeros(3), np.eye(3)
    )


def ring_ml(inner: float, thickness: float) -> float:
    return np.pi * ((inner + thickness) ** 2 - inner**2) * 0.5 * np.pi * BEND / 1000


@pytest.mark.parametrize("radius", [8.0, 10.0])
@pytest.mark.parametrize("voxel", [1.5, pytest.param(2.0, marks=pytest.mark.slow)])
def test_wall_of_two_millimetres_keeps_its_volume_on_coarse_voxels(voxel, radius) -> None:
    blood = arch(voxel, radius)
    grown = grow_wall(blood, "blood", 2.0, "wall")
    assert grown.labels.spacing.max() <= 0.5
    assert grown.volume_ml == pytest.approx(ring_ml(radius, 2.0), rel=0.01)
    assert grown.labels.volume_ml("blood") == pytest.approx(blood.volume_ml("blood"), rel=1e-3)


def test_one_wall_around_two_labels_is_that_around_both_together() -> None:
    blood = arch(2.0, 8.0)
    values = blood.values.copy()
    values[15:][values[15:] == 1] = 2
    halves = replace(blood, values=values, names={"root": 1, "ascending": 2})
    grown = grow_wall_around(halves, ("root", "ascending"), 2.0, "wall")
    whole = grow_wall(blood, "blood", 2.0, "wall")
    wall = grown.labels.mask("wall")
    assert (wall == whole.labels.mask("wall")).all()
    both = grown.labels.mask("root") | grown.labels.mask("ascending")
    assert (both == whole.labels.mask("blood")).all()
    for name in ("root", "ascending"):
        assert grown.labels.volume_ml(name) == pytest.approx(halves.volume_ml(name), rel=0.02)


def test_two_walls_share_a_narrow_gap() -> None:
    values = np.zeros((48, 20, 20), np.uint8)
    values[4:22, 4:16, 4:16], values[26:44, 4:16, 4:16] = 1, 2  # 4 mm between them
    names = {"left": 1, "right": 2}
    chambers = LabelMap(values, names, np.ones(3), np.zeros(3), np.eye(3))
    left = grow_wall_around(chambers, ("left",), 3.0, "left_wall").labels
    alone = grow_wall_around(left, ("right",), 3.0, "right_wall")
    both = grow_wall_around(left, ("right",), 3.0, "right_wall", beside={"left_wall": ("left",)})
    line = both.labels.values[44:52, 20, 20].tolist()
    assert line == [1, 3, 3, 3, 4, 4, 4, 2]
    assert both.volume_ml == pytest.approx(both.labels.volume_ml("left_wall"), rel=0.1)
    assert alone.labels.values[44:52, 20, 20].tolist() == [1, 3, 3, 3, 3, 3, 3, 2]
    # Around the same blood, an outer wall leaves the inner one as it is.
    outer = grow_wall_around(
        left, ("left", "left_wall"), 2.0, "outer", beside={"left_wall": ("left",)}
    )
    assert (outer.labels.mask("left_wall") == left.mask("left_wall")).all()


def test_thick_wall_stays_on_the_grid_of_the_map() -> None:
    blood = arch(1.0)
    grown = grow_wall(blood, "blood", 4.0, "wall")
    assert grown.labels.values.shape == blood.values.shape
    assert grown.labels.grid.matches(blood.grid)
    assert grown.volume_ml == pytest.approx(ring_ml(10.0, 4.0), rel=0.03)


def test_finer_grid_lies_where_the_map_does() -> None:
    blood = replace(arch(2.0), origin=np.array([5.0, -3.0, 8.0]), direction=np.eye(3)[[2, 0, 1]])
    fine = grow_wall(blood, "blood", 1.0, "wall", resolution=1.0).labels
    assert fine.spacing == pytest.approx(1.0)
    centre = [
        labels.points(np.argwhere(labels.mask("blood"))).mean(axis=0) for labels in (blood, fine)
    ]
    assert centre[1] == pytest.approx(centre[0], abs=0.1)


def test_wall_never_takes_other_labels_unless_allowed() -> None:
    blood = arch(1.5)
    values = blood.values.copy()
    shell = np.zeros(values.shape, bool)
    shell[:, : values.shape[1] // 2] = True
    values[shell & (values == 0)] = 2
    thin = (values == 0) & (np.indices(values.shape)[1] == values.shape[1] - 1)
    values[thin] = 3
    labels = replace(blood, values=values, names={"blood": 1, "heart": 2, "plane": 3})
    kept = grow_wall(labels, "blood", 2.0, "wall")
    for name in ("heart", "plane"):
        assert kept.labels.volume_ml(name) == pytest.approx(labels.volume_ml(name), rel=0.01)
    taken = grow_wall(labels, "blood", 2.0, "wall", into=["heart"])
    lost = kept.labels.volume_ml("heart") - taken.labels.volume_ml("heart")
    assert taken.taken_ml["heart"] == pytest.approx(lost)
    assert taken.volume_ml == pytest.approx(ring_ml(10.0, 2.0), rel=0.03)


def test_flat_ends_stay_open() -> None:
    x = np.indices((40, 40, 40)) - 19.5
    values = ((np.hypot(x[0], x[1]) < 10) & (np.abs(x[2]) < 12)).astype(np.uint8)
    labels = LabelMap(values, {"blood": 1}, np.ones(3), np.full(3, -19.5), np.eye(3))
    ends = [OpenEnd((0, 0, 12), (0, 0, 1)), OpenEnd((0, 0, -12), (0, 0, -2))]
    closed = grow_wall(labels, "blood", 2.0, "wall")
    grown = grow_wall(labels, "blood", 2.0, "wall", ends=ends)
    heights = grown.labels.points(np.argwhere(grown.labels.mask("wall")))[:, 2]
    assert np.abs(heights).max() < 12.0
    assert grown.volume_ml == pytest.approx(np.pi * (12**2 - 10**2) * 24 / 1000, rel=0.04)
    assert closed.volume_ml > grown.volume_ml + 1.0


def test_a_wall_of_that_name_is_added_to() -> None:
    labels = grow_wall(arch(2.0), "blood", 2.0, "wall", resolution=1.0).labels
    again = grow_wall(labels, "blood", 3.0, "wall", resolution=1.0)
    assert again.labels.names == labels.names
    assert again.labels.volume_ml("wall") > 1.3 * labels.volume_ml("wall")


def test_impossible_walls_are_refused() -> None:
    blood = arch(2.0)
    with pytest.raises(InputError, match="no label `lumen`"):
        grow_wall(blood, "lumen", 2.0, "wall")
    with pytest.raises(InputError, match="thickness"):
        grow_wall(blood, "blood", 0.0, "wall")
    with pytest.raises(InputError, match="another name"):
        grow_wall(blood, "blood", 2.0, "blood")
    with pytest.raises(InputError, match="voxels"):
        grow_wall(blood, "blood", 2.0, "wall", resolution=0.05)
    with pytest.raises(InputError, match="no voxel"):
        grow_wall(replace(blood, values=0 * blood.values), "blood", 2.0, "wall")
