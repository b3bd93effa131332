"""Every torture gives a valid conforming mesh, or a refusal that names the defect and the place."""

import re

import numpy as np
import pytest

from organtwin.errors import InputError, MeshError
from organtwin.image.volume import LabelMap
from organtwin.mesh.conforming.from_surfaces import from_surfaces
from organtwin.mesh.conforming.ladder import conform
from organtwin.mesh.conforming.route import MeshOptions
from organtwin.mesh.conforming.sizes import Sizes
from organtwin.mesh.quality import dihedral_angles, signed_volumes
from organtwin.mesh.repair import repair
from tests.torture import TORTURES

#: Largest error of a region's volume, relative and, for the smallest ones, in voxels.
VOLUME, VOXELS = 0.02, 0.25
#: Smallest dihedral angle (degrees).
ANGLE = 5.0
#: Those that run each time; the others are slow.
TELLING = (
    "islands of one voxel",
    "blocks that touch by a corner",
    "tunnel of one voxel",
    "a needle of one voxel",
    "anisotropy 1:8",
    "no labelled voxel",
    "holes",
    "two surfaces that cut each other",
    "a vertex that is no number",
    "a tube through itself",
    "a strip of Moebius",
)


def borders(source):
    """What is meshed, and the volume (mm³) of each region with what it may be off by."""
    if isinstance(source, LabelMap):
        counts = {n: np.count_nonzero(source.values == c) for n, c in source.names.items()}
        one = source.voxel_volume
        return source, {n: (k * one, one * max(VOLUME * k, VOXELS)) for n, k in counts.items()}
    found = from_surfaces(
        {name: repair(surface, place=name).surface for name, surface in source.items()}
    )
    return found, {n: (found.volume(n), VOLUME * found.volume(n)) for n in found.names}


def meshed(torture):
    source, volumes = borders(torture.make())
    return conform(source, MeshOptions(sizes=Sizes(default=2.0)), torture.name), volumes


def faces_of(cells):
    return cells[:, [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]].reshape(-1, 3)


def assert_valid(made, volumes):
    mesh = made.mesh
    size = signed_volumes(mesh.points, mesh.cells)
    assert size.min() > 0.0
    assert dihedral_angles(mesh.points, mesh.cells).min() >= ANGLE
    assert set(mesh.region_names) == set(volumes)
    for name, (wanted, off) in volumes.items():
        found = size[mesh.regions == mesh.region_names[name]].sum()
        assert found == pytest.approx(wanted, abs=off), name
        assert made.interfaces.volume(name) == pytest.approx(found, rel=1e-9), name
    assert_conforming(mesh)


def assert_conforming(mesh):
    """No face has three cells, and the facets are the faces where the region changes."""
    assert set(np.unique(mesh.cells)) == set(range(len(mesh.points)))
    faces = faces_of(mesh.cells)
    found, which, number = np.unique(
        np.sort(faces, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    assert number.max() <= 2
    regions = np.repeat(mesh.regions, 4)
    high, low = np.zeros(len(found), int), np.full(len(found), regions.max())
    np.maximum.at(high, which.ravel(), regions)
    np.minimum.at(low, which.ravel(), regions)
    between = found[(number == 1) | (high != low)]
    facets, times = np.unique(np.sort(mesh.facets, axis=1), axis=0, return_counts=True)
    assert times.max() == 1
    np.testing.assert_array_equal(facets, between)


@pytest.mark.parametrize(
    "torture",
    [
        pytest.param(t, id=t.name, marks=() if t.name in TELLING else pytest.mark.slow)
        for t in TORTURES
    ],
)
def test_tortures_give_a_valid_mesh_or_a_refusal_that_names_defect_and_place(torture):
    if torture.refused:
        with pytest.raises((InputError, MeshError)) as refused:
            meshed(torture)
        said = str(refused.value)
        assert re.search(torture.refused, said)
        # A place; an image without labels has none.
        assert "no voxel is labelled" in said or re.search(r"\(-?\d+\.\d, -?\d+\.\d, ", said)
    else:
        assert_valid(*meshed(torture))
