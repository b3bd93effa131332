"""Activation sites on the synthetic heart."""

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.anatomy.coordinates import coordinates, facet_points
from organtwin.anatomy.landmarks import SITES, activation_sites
from organtwin.errors import InputError
from organtwin.verify.biventricle import LV_INNER, LV_OUTER, ROTATION, RV_INNER, biventricle


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    domain = biventricle(MPI.COMM_SELF, tmp_path_factory.mktemp("heart") / "heart.msh", size=7.0)
    return domain, coordinates(domain)


def test_sites_lie_where_anatomy_puts_them(heart):
    domain, at = heart
    sites = activation_sites(domain, at, list(SITES))
    local = {name: ROTATION.T @ point for name, point in sites.items()}
    for name in ("lv_septal", "lv_anterior", "lv_posterior"):
        assert LV_INNER.level(local[name][None])[0] == pytest.approx(1.0, abs=1e-4)
    assert LV_OUTER.level(local["rv_septal"][None])[0] == pytest.approx(1.0, abs=1e-4)
    assert RV_INNER.level(local["rv_lateral"][None])[0] == pytest.approx(1.0, abs=1e-4)
    # y of the synthetic heart points to the front, x points to the right ventricle.
    assert local["lv_septal"][0] > 15.0
    assert local["lv_anterior"][1] > 12.0
    assert local["lv_posterior"][1] < -12.0
    assert sites["lv_anterior"][1] < sites["lv_posterior"][1], "anterior lies in front (LPS)"
    assert local["rv_lateral"][0] > 45.0
    heights = {name: float(at.axis.height(point[None])[0]) for name, point in sites.items()}
    for name, site in SITES.items():
        assert heights[name] == pytest.approx(site.height, abs=0.06)


def test_a_site_is_a_vertex_of_its_surface(heart):
    domain, at = heart
    site = activation_sites(domain, at, ["rv_lateral"])["rv_lateral"]
    points = facet_points(domain, "rv_endo")
    assert np.min(np.linalg.norm(points - site, axis=1)) == 0.0


def test_an_unknown_site_lists_the_known_ones(heart):
    domain, at = heart
    with pytest.raises(InputError, match=r"no site `lv_septum`.*Did you mean `lv_septal`.*rv_"):
        activation_sites(domain, at, ["lv_septum"])
