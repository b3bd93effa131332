"""Infarcts, gel and leads are the same on any number of ranks."""

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.infarct import Segments, wall_point, zones
from organtwin.anatomy.injections import cell_volumes, gel_share, injection_sites
from organtwin.anatomy.leads import lead_site
from organtwin.case.infarcts import ill
from organtwin.case.schema import Mechanics
from organtwin.coupling.ventricles import Myocardium
from organtwin.mesh.domain import Domain
from organtwin.solve.assembly import integral
from tests.hearts import small_ventricles


def fingerprint(domain: Domain) -> np.ndarray:
    found = zones(domain, Segments((7, 13, 14, 17)), 8.0)
    sites = injection_sites(domain, found.border, 5)
    gel = gel_share(domain, sites, 60.0)
    share = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)))
    numbers = []
    for part in (found.scar, found.border):
        share.x.array[:] = part
        numbers.append(integral(share * domain.dx()))
    axis = coordinates(domain).axis
    scar = {"segments": [7, 13, 14, 17], "border_width": "8 mm"}
    section = Mechanics.model_validate({"infarct": [scar], "injection": {"sites": 3}})
    tissue = ill(Myocardium.human(), section, domain)
    numbers += [integral(part * domain.dx()) for part in tissue.passive.shares]
    numbers.append(domain.comm.allreduce(float(tissue.strength @ cell_volumes(domain))))
    places = [wall_point(domain, 0.6, 2.5), lead_site(domain, axis, "mid_anterolateral")]
    squares = integral(gel**2 * domain.dx())
    return np.concatenate([numbers, [squares], sites.ravel(), *places])


def test_the_same_on_all_ranks(shared_tmp_path):
    together = fingerprint(small_ventricles(MPI.COMM_WORLD, shared_tmp_path))
    alone = fingerprint(small_ventricles(MPI.COMM_SELF, shared_tmp_path))
    assert together == pytest.approx(alone, rel=1e-9, abs=1e-9)
