"""Faces of cuts in the borders that conforming meshes are made of, and in the meshes."""

import numpy as np
import pytest

from organtwin.errors import InputError, MeshError
from organtwin.landmarks.record import Plane
from organtwin.mesh.conforming.ladder import conform
from organtwin.mesh.conforming.route import MeshOptions
from organtwin.mesh.conforming.sizes import Sizes
from organtwin.surgery.cuts import osteotomy, remove
from organtwin.surgery.interfaces import apart, in_common
from organtwin.surgery.tools import Drill
from tests.bone_shapes import body, cylinder

R, LENGTH = 10.0, 30.0
MIDDLE = np.array([0.0, 0.0, 18.0])
NORMAL = np.array([0.3, 0.2, 0.93]) / np.linalg.norm([0.3, 0.2, 0.93])
DRILL = Drill(np.array([0.0, -15.0, 7.0]), np.array([0.0, 15.0, 7.0]), 6.0)


def sawn(kerf, voxel=1.0):
    """A rod sawn obliquely, with a hole across its lower part."""
    whole = body(cylinder(R, LENGTH), (-14, -14, -4), (14, 14, 34), voxel)
    cut = osteotomy(whole, "bone", Plane(MIDDLE, NORMAL), ("upper", "lower"), kerf=kerf)
    return remove(cut.bodies, DRILL, ("lower",)).bodies


def flatness(points, inner=R - 2.0):
    """Heights over the plane of the cut of what is near it and off its rim (mm)."""
    height = (points - MIDDLE) @ NORMAL
    return height[(np.abs(height) < 0.9) & (np.hypot(points[:, 0], points[:, 1]) < inner)]


def test_touching_parts_share_a_plane_face():
    bodies = sawn(0.0)
    made = in_common(bodies)
    used = np.unique(made.triangles[made.between("upper", "lower")])
    assert np.abs(flatness(made.points[used])).max() < 1e-3
    # Where it meets the outside the distances have an edge between voxels.
    assert np.abs((made.points[used] - MIDDLE) @ NORMAL).max() < 0.25
    assert made.area("upper", "lower") == pytest.approx(np.pi * R**2 / NORMAL[2], rel=0.02)
    for name in ("upper", "lower"):
        assert made.volume(name) == pytest.approx(bodies.volume(name), rel=0.02)
    # The hole is round: no vertex of it is off by more than the chord of its voxels' edges.
    wall = made.points[np.hypot(made.points[:, 0], made.points[:, 2] - 7.0) < 4.0]
    wall = wall[np.hypot(wall[:, 0], wall[:, 1]) < 6.0]
    assert np.hypot(wall[:, 0], wall[:, 2] - 7.0) == pytest.approx(3.0, abs=0.1)


def test_a_gap_below_a_voxel_is_not_closed_by_faces_in_common():
    with pytest.raises(InputError, match=r"gap of 0\.2 mm is between them, voxels have 1 mm"):
        in_common(sawn(0.2))


@pytest.mark.slow
def test_parts_with_a_gap_below_a_voxel_stay_apart():
    with pytest.raises(MeshError, match="touch"):
        apart(sawn(0.0))
    made = apart(sawn(0.2))
    heights = flatness(made.points)
    assert np.abs(np.abs(heights) - 0.1).max() < 2e-3
    assert set(np.sign(heights)) == {-1.0, 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("kerf", [0.0, 0.2])
def test_meshes_have_smooth_cuts_and_holes(kerf):
    bodies = sawn(kerf)
    source = apart(bodies) if kerf else in_common(bodies)
    mesh = conform(source, MeshOptions(Sizes(2.5), crease=40.0)).mesh
    assert np.abs(np.abs(flatness(mesh.points[np.unique(mesh.facets)])) - 0.5 * kerf).max() < 0.05
    # Chords of 2.5 mm in a hole of 6 mm and a rod of 20 mm.
    for name in ("upper", "lower"):
        assert mesh.volume(name) == pytest.approx(bodies.volume(name), rel=0.04)
    # Labels of the same voxels leave waves of parts of a voxel, and no gap of 0.2 mm.
    stairs = conform(bodies.labels(), MeshOptions(Sizes(2.5))).mesh
    assert np.abs(np.abs(flatness(stairs.points)) - 0.5 * kerf).max() > 0.1
