import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.segments import NAMES, aha_segments
from organtwin.anatomy.ventricular_coordinates import INSERTION, ventricular_coordinates
from organtwin.verify.biventricle import BASE, LV_OUTER, ROTATION, biventricle


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    return biventricle(MPI.COMM_SELF, tmp_path_factory.mktemp("heart") / "heart.msh")


@pytest.fixture(scope="module")
def at(heart):
    return coordinates(heart)


@pytest.fixture(scope="module")
def found(heart, at):
    return ventricular_coordinates(heart, at=at)


def middles(heart):
    return heart.mesh.geometry.x[heart.mesh.geometry.dofmaps[0]].mean(axis=1)


def of_cells(field):
    return field.x.array[field.function_space.dofmap.list].mean(axis=1)


def test_transmural_is_0_inside_and_1_outside(heart, found):
    V = found.transmural.function_space
    facets = heart.facets("epi")
    outside = fem.assemble_scalar(fem.form(found.transmural * heart.ds("epi")))
    assert outside / heart.area("epi") == pytest.approx(1.0, abs=0.02)
    inside = fem.assemble_scalar(fem.form(found.transmural * heart.ds("lv_endo")))
    assert inside / heart.area("lv_endo") == pytest.approx(0.0, abs=0.02)
    assert len(facets) and V.element.basix_element.degree == 1


def test_apicobasal_runs_evenly_from_apex_to_base(heart, at, found):
    z = of_cells(found.apicobasal)
    assert z.min() >= 0.0
    assert z.max() <= 1.0
    # Along a meridian of the ellipsoid's outer surface the share of the arc is known.
    a, c = LV_OUTER.semi_axes[0], LV_OUTER.semi_axes[2]
    t = np.linspace(0.0, np.arccos(-BASE / c), 2000)  # from the apex
    arc = np.concatenate(
        [[0.0], np.cumsum(np.hypot(a * np.diff(np.sin(t)), c * np.diff(np.cos(t))))]
    )
    x = middles(heart) @ ROTATION
    free = (at.axis.angle(middles(heart)) > np.radians(150)) & (of_cells(found.transmural) > 0.6)
    height = -c * np.cos(t)
    expected = np.interp(x[free, 2], height, arc / arc[-1])
    assert free.sum() > 30
    assert np.abs(z[free] - expected).mean() < 0.05


def test_rotational_is_an_odd_function_of_the_side(heart, at, found):
    x = middles(heart)
    phi = of_cells(found.rotational)
    lv = found.transventricular.x.array < 0
    septum = lv & (np.abs(at.axis.angle(x)) < 0.1)
    assert np.abs(phi[septum]).max() < 0.2
    assert np.abs(phi[~lv]).max() < INSERTION + 0.5
    lateral = lv & (np.abs(at.axis.angle(x)) > 3.0)
    assert np.abs(phi[lateral]).min() > 2.6
    spread = np.ptp(found.rotational.x.array[found.rotational.function_space.dofmap.list], axis=1)
    high = found.apicobasal.x.array[found.apicobasal.function_space.dofmap.list].min(axis=1) > 0.3
    assert spread[high].max() < 1.5, "no jump within a cell"


def test_all_segments_are_there_and_lie_as_named(heart, at):
    segment = aha_segments(heart, at=at).x.array.astype(int)
    assert set(segment) == set(range(len(NAMES) + 1))
    x = middles(heart)
    height = at.axis.height(x)
    turn = np.exp(1j * at.axis.angle(x))
    centre = {
        name: (height[segment == k].mean(), np.angle(turn[segment == k].mean(), deg=True))
        for k, name in enumerate(NAMES, 1)
    }
    assert centre["basal anterior"][0] > centre["mid anterior"][0] > centre["apical anterior"][0]
    assert centre["apical inferior"][0] > centre["apex"][0]
    for level in ("basal", "mid"):
        order = [
            centre[f"{level} {name}"][1]
            for name in ("inferior", "inferoseptal", "anteroseptal", "anterior", "anterolateral")
        ]
        assert order == sorted(order)
        assert centre[f"{level} inferolateral"][1] < centre[f"{level} inferior"][1]
    assert abs(centre["apical septal"][1]) < 20.0
    assert abs(centre["apical lateral"][1]) > 160.0


def test_right_ventricle_has_no_segment(heart, at):
    segment = aha_segments(heart, at=at).x.array
    assert (segment[heart.cells("rv")] == 0).all()
