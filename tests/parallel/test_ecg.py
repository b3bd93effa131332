"""Lead fields, electrograms and electrodes on all ranks equal those on one."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.electrophysiology.ecg import given_electrodes, standing_adult
from organtwin.electrophysiology.electrograms import Electrograms
from organtwin.electrophysiology.lead_field import (
    HeartLeads,
    LeadField,
    VolumeConductor,
    at_electrodes,
)
from organtwin.errors import InputError
from organtwin.mesh.domain import Domain
from organtwin.verify.geometry import box

SIGMA_I = np.diag([0.17, 0.02, 0.02])
POINTS = {
    "outside": np.array([0.0, 3.1, 4.3]),
    "on a node": np.full(3, 5.0),
    "inside": np.array([4.9, 5.1, 5.3]),
}


def body(comm):
    domain = box(comm, (10.0, 10.0, 10.0), (10, 10, 10))
    middles = mesh.compute_midpoints(domain.mesh, 3, domain.cell_tags.indices)
    tags = np.where(np.abs(middles - 5.0).max(axis=1) < 2.0, 1, 2).astype(np.int32)
    cells = mesh.meshtags(domain.mesh, 3, domain.cell_tags.indices, tags)
    return Domain(domain.mesh, cells, domain.facet_tags, {"heart": 1, "torso": 2}, domain.surfaces)


def wave(V):
    v = fem.Function(V)
    v.interpolate(lambda x: -85 + 100 / (1 + np.exp((x[0] + 0.4 * x[1] - 6.1) / 0.5)))
    return v


def tensor():
    return ufl.as_matrix(SIGMA_I.tolist())


def by_lead_and_directly(comm):
    domain = body(comm)
    V = fem.functionspace(domain.mesh, ("P", 1))
    conductor = VolumeConductor(
        V, domain, {"heart": 3 * tensor(), "torso": 0.2}, {"heart": tensor()}, tolerance=1e-12
    )
    v = wave(V)
    leads = LeadField(conductor, POINTS)
    heart = mesh.create_box(comm, [[3.0] * 3, [7.0] * 3], [6, 6, 6])
    H = fem.functionspace(heart, ("P", 1))
    apart = HeartLeads(H, tensor(), leads)(wave(H))
    return leads(v), at_electrodes(conductor.potential(v), POINTS), apart


def test_potentials_do_not_depend_on_the_ranks():
    here, alone = (by_lead_and_directly(comm) for comm in (MPI.COMM_WORLD, MPI.COMM_SELF))
    highest = max(map(abs, alone[0].values()))
    for found, expected in zip(here, alone, strict=True):
        assert found == pytest.approx(expected, abs=1e-9 * highest)
    assert here[0] == pytest.approx(here[1], abs=1e-9 * highest)


@pytest.mark.parametrize("degree", [1, 2])
def test_electrograms_do_not_depend_on_the_ranks(degree):
    def computed(comm):
        V = fem.functionspace(box(comm, (10.0, 10.0, 10.0), (6, 6, 6)).mesh, ("P", degree))
        return Electrograms(V, tensor(), POINTS)(wave(V))

    assert computed(MPI.COMM_WORLD) == pytest.approx(computed(MPI.COMM_SELF), rel=1e-10)


def test_electrodes_do_not_depend_on_the_ranks():
    here, alone = (standing_adult(body(c), "heart") for c in (MPI.COMM_WORLD, MPI.COMM_SELF))
    for name, point in alone.items():
        np.testing.assert_allclose(here[name], point, rtol=1e-12)


def test_electrode_in_the_tissue_is_refused_on_every_rank():
    domain = body(MPI.COMM_WORLD)
    places = standing_adult(domain, "heart")
    given_electrodes(domain, {**places, "V1": [9.0, 9.0, 9.0]}, tissue=("heart",))
    with pytest.raises(InputError, match=r"electrode `V1`.*inside the tissue"):
        given_electrodes(domain, {**places, "V1": [5.2, 5.1, 4.9]}, tissue=("heart",))
    with pytest.raises(InputError, match="electrode `lost`"):
        at_electrodes(
            fem.Function(fem.functionspace(domain.mesh, ("P", 1))),
            {"lost": np.array([99.0, 0.0, 0.0])},
        )
