"""Infarcts, gel and leads on a mesh: where they are, and what they do to the tissue."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.infarct import Ball, Segments, midpoints, spread, wall_point, zones
from organtwin.anatomy.injections import cell_volumes, gel_share, injection_sites
from organtwin.anatomy.leads import LEAD_SITES, lead_site
from organtwin.anatomy.segments import aha_segments
from organtwin.case.infarcts import conduction, extents, ill, injected
from organtwin.case.schema import Mechanics
from organtwin.case.schema_infarct import LeadSite
from organtwin.coupling.muscle import Muscle
from organtwin.coupling.ventricles import Myocardium
from organtwin.electrophysiology.eikonal import uniform_slowness
from organtwin.errors import InputError
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.kinematics import first_piola
from organtwin.materials.mixture import Mixture
from organtwin.materials.pointwise import cartesian
from organtwin.mesh.domain import refine
from organtwin.solve.assembly import integral
from organtwin.verify.geometry import box
from tests.hearts import small_ventricles

ANTERIOR = Segments((7, 13, 14, 17))


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    return small_ventricles(MPI.COMM_SELF, tmp_path_factory.mktemp("heart"))


def section(**keys) -> Mechanics:
    scar = {"segments": [7, 13, 14, 17], "border_width": "6 mm"}
    return Mechanics.model_validate({"infarct": [scar], **keys})


def test_scar_and_border_zone_of_segments(heart):
    found = zones(heart, ANTERIOR, 6.0)
    number = aha_segments(heart).x.array.round()
    assert (found.scar == np.isin(number, (7, 13, 14, 17))).all()
    assert not (found.scar & found.border).any()
    beside = np.isin(number, (1, 8, 12, 15, 16))
    assert found.border[beside].sum() > 0.3 * beside.sum()
    assert not found.border[np.isin(number, (4, 5))].any()  # across the cavity


def test_a_finer_mesh_has_the_same_infarct(heart):
    fine = refine(heart).fine
    coarse, halved = (
        [cell_volumes(domain)[part].sum() for part in (found.scar, found.border)]
        for domain in (heart, fine)
        for found in [zones(domain, ANTERIOR, 10.0, at=coordinates(heart))]
    )
    assert halved[0] == pytest.approx(coarse[0], rel=0.25)
    assert halved[1] == pytest.approx(coarse[1], rel=0.35)


def test_a_ball_about_a_place_of_the_wall(heart):
    centre = wall_point(heart, 0.5, np.pi)
    axis = coordinates(heart).axis
    assert abs(axis.angle(centre[None])[0]) > 2.3
    found = zones(heart, Ball(centre, 8.0), 5.0)
    distance = np.linalg.norm(midpoints(heart) - centre, axis=1)
    assert (found.scar == (distance <= 8.0)).all()
    assert (found.border == ((distance > 8.0) & (distance <= 13.0))).all()
    with pytest.raises(InputError, match="no cell"):
        zones(heart, Ball(np.full(3, 1e3), 8.0), 5.0)


def test_gel_is_all_there_and_spread_over_the_border_zone(heart):
    border = zones(heart, ANTERIOR, 10.0).border
    sites = injection_sites(heart, border, 6)
    apart = np.linalg.norm(sites[:, None] - sites, axis=2) + 1e3 * np.eye(6)
    chance = np.random.default_rng(1).choice(midpoints(heart)[border], (200, 6))
    typical = [(np.linalg.norm(s[:, None] - s, axis=2) + 1e3 * np.eye(6)).min() for s in chance]
    assert apart.min() > np.quantile(typical, 0.95)
    share = gel_share(heart, sites, 80.0)
    assert integral(share * heart.dx()) == pytest.approx(480.0, rel=1e-12)
    assert share.x.array.min() >= 0.0
    assert share.x.array.max() <= 1.0
    with pytest.raises(InputError, match="more gel than tissue"):
        gel_share(heart, sites, 1e6)
    with pytest.raises(InputError, match="sites"):
        injection_sites(heart, border, 100_000)


def test_points_spread_by_distance():
    line = np.column_stack([np.arange(9.0), np.zeros(9), np.zeros(9)])
    assert spread(line, 3)[:, 0].tolist() == [0.0, 8.0, 4.0]


def test_leads_are_where_their_names_say(heart):
    axis = coordinates(heart).axis
    assert set(get_args(LeadSite)) == set(LEAD_SITES)
    number = aha_segments(heart).x.array.round()
    near = {}
    for name in LEAD_SITES[1:]:
        distance = np.linalg.norm(midpoints(heart) - lead_site(heart, axis, name), axis=1)
        near[name] = number[np.argsort(distance)[:6]]
    assert 11 in near["mid_inferolateral"]
    assert 6 in near["basal_anterolateral"]
    assert 13 in near["apical_anterior"]
    apex = axis.height(lead_site(heart, axis, "rv_apex")[None])[0]
    assert 0.0 < apex < 0.4
    with pytest.raises(InputError, match="Did you mean `rv_apex`"):
        lead_site(heart, axis, "rv_apx")


def test_fields_of_an_infarct(heart):
    tissue = ill(Myocardium.human(), section(contractility=0.5, passive_stiffness=2.0), heart)
    found = extents(section().infarct, heart)[0].zones
    healthy = ~(found.scar | found.border)
    stiffness = tissue.passive.shares[0].x.array
    assert np.unique(tissue.strength[found.scar]).tolist() == [0.0]
    assert np.unique(tissue.strength[found.border]) == pytest.approx([0.335])
    assert np.unique(tissue.strength[healthy]).tolist() == [0.5]
    assert np.unique(stiffness[found.scar]).tolist() == [20.0]
    assert np.unique(stiffness[healthy]).tolist() == [2.0]
    assert ill(Myocardium.human(), Mechanics(), heart) == Myocardium.human()


def test_gel_of_a_case(heart):
    gel = {"sites": 4, "volume": "0.05 mL", "shear_modulus": "10 kPa"}
    own = section(injection=gel)
    tissue = ill(Myocardium.human(), own, heart)
    share = injected(own, heart)
    assert integral(share * heart.dx()) == pytest.approx(200.0)
    assert tissue.passive.parts[1] == NeoHookean(mu=10.0)
    assert (tissue.passive.shares[1].x.array == share.x.array).all()
    assert not injected(section(), heart).x.array.any()


def test_conduction_of_a_case(heart):
    fine = refine(heart).fine
    factor = conduction(section(), fine, heart, coordinates(heart))
    assert set(np.unique(factor)) == {0.0, 0.5, 1.0}
    assert conduction(Mechanics(), fine, heart, coordinates(heart)) is None


def test_slowness_of_slowed_tissue():
    domain = box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1))
    travel = uniform_slowness(domain.mesh, 0.36 * np.eye(3))
    slowed = travel.slowed(np.array([1.0, 0.5, 0.0, 1.0, 1.0, 1.0]))
    time = np.sqrt(slowed.tensor[:, 0, 0])
    assert time[:2] == pytest.approx([1 / 0.6, 1 / 0.3])
    assert slowed.conducting.tolist() == [True, True, False, True, True, True]


# --- a cube with half a scar ----------------------------------------------------------------------


def test_half_a_scar_carries_ten_times_the_stress_and_pulls_nothing():
    cube = box(MPI.COMM_SELF, (2.0, 1.0, 1.0), (2, 1, 1))
    scar = cube.mesh.geometry.x[cube.mesh.geometry.dofmaps[0]].mean(axis=1)[:, 0] > 1.0
    stiffness = fem.Function(fem.functionspace(cube.mesh, ("DG", 0)))
    stiffness.x.array[:] = np.where(scar, 10.0, 1.0)
    law = Mixture((NeoHookean(mu=2.0),), (stiffness,))
    muscle = Muscle(
        cube, cartesian(), Myocardium.human().tension, degree=2,
        strength=np.where(scar, 0.0, 1.0),
    )  # fmt: skip
    muscle.prepare(np.full(muscle.states.shape[1], 0.8), 50.0)
    muscle.finish(np.ones(muscle.states.shape[1]), 50.0)
    tension = muscle.tension().reshape(len(scar), -1)
    assert tension[~scar].min() > 1.0
    assert not tension[scar].any()
    stretch = 1.1
    F = ufl.diag(ufl.as_vector([stretch, stretch**-0.5, stretch**-0.5]))
    passive = first_piola(law, F, cartesian())
    points = ufl.SpatialCoordinate(cube.mesh)
    axial = passive[0, 0] - passive[1, 1] * stretch**-1.5  # less what the pressure takes
    one = fem.Constant(cube.mesh, 1.0)
    in_scar = ufl.conditional(ufl.gt(points[0], 1.0), 1.0, 0.0)
    sick = integral(one * in_scar * axial * cube.dx(degree=2))
    whole = integral(one * axial * cube.dx(degree=2))
    uniaxial = 2.0 * (stretch - stretch**-2)  # of one neo-Hookean cube
    assert whole - sick == pytest.approx(uniaxial, rel=1e-6)
    assert sick == pytest.approx(10.0 * uniaxial, rel=1e-6)


def test_a_mixture_needs_a_share_for_each_part():
    with pytest.raises(InputError, match="2 shares"):
        Mixture((NeoHookean(mu=1.0),), (1.0, 2.0))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"infarct": [{"border_width": "5 mm"}]}, "either `segments`"),
        ({"infarct": [{"radius": "9 mm"}]}, "both `centre` and `radius`"),
        ({"injection": {}}, "needs an"),
    ],
)
def test_infarcts_that_are_nowhere_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        Mechanics.model_validate(keys)
