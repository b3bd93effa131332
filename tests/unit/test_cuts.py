"""Labels that the image's border cuts off get plane caps there."""

import numpy as np
import pytest

from organtwin.image.volume import LabelMap
from organtwin.mesh.conforming.wrapping import Wrapping, wrap
from organtwin.mesh.intersections import intersecting_pairs

TURNED = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])


def vessel(slope=0.25, length=16):
    """A wall around blood through the whole image, oblique to its border."""
    x, y, z = np.indices((28, 26, length)).astype(float)
    r = np.hypot(x - 13.3 - slope * (z - 0.5 * length), y - 12.7)
    values = np.where(r < 6.0, 2, np.where(r < 9.0, 1, 0)).astype(np.uint8)
    return LabelMap(values, {"wall": 1, "blood": 2}, np.ones(3), np.array([5.0, 7, -3]), TURNED)


@pytest.mark.parametrize(("resolution", "tolerance"), [(None, 0.04), (1.6, 0.15)])
def test_vessels_that_leave_the_image_end_in_its_border_plane(resolution, tolerance):
    labels = vessel()
    surfaces = wrap(labels, Wrapping(resolution=resolution))
    height = (surfaces.points - labels.origin) @ labels.direction[:, 2]
    assert height.min() == pytest.approx(-0.5, abs=1e-9)
    assert height.max() == pytest.approx(15.5, abs=1e-9)
    assert not len(intersecting_pairs(surfaces.points, surfaces.triangles))
    for name, code in labels.names.items():
        assert surfaces.volume(name) == pytest.approx(labels.mask(name).sum(), rel=1e-3)
        outer = surfaces.between(name, "outside")
        for end, place in ((0, -0.5), (-1, 15.5)):
            on = (np.abs(height - place) < 1e-9)[surfaces.triangles].all(axis=1)
            wanted = np.count_nonzero(labels.values[:, :, end] == code)
            assert surfaces.areas[outer & on].sum() == pytest.approx(wanted, rel=tolerance)


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
    assert surfaces.area("all", "outside") == pytest.approx(148.0)
