from __future__ import annotations

import numpy as np
import pytest
from dolfinx import mesh
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.mesh.domain import Domain
from organtwin.mesh.relabel import relabel


def cube() -> Domain:
    msh = mesh.create_unit_cube(MPI.COMM_WORLD, 4, 4, 4)
    n = msh.topology.index_map(3).size_local + msh.topology.index_map(3).num_ghosts
    cells = np.arange(n, dtype=np.int32)
    middles = mesh.compute_midpoints(msh, 3, cells)
    values = np.where(middles[:, 0] < 0.5, 3, 7).astype(np.int32)
    msh.topology.create_connectivity(2, 3)
    facets = mesh.exterior_facet_indices(msh.topology)
    return Domain(
        msh,
        mesh.meshtags(msh, 3, cells, values),
        mesh.meshtags(msh, 2, facets, np.ones(len(facets), dtype=np.int32)),
        {"left": 3, "right": 7},
        {"skin": 1},
    )


def test_a_part_takes_its_volume_from_the_regions_it_lies_in():
    found = relabel(cube(), {"scar": lambda x: np.abs(x[:, 0] - 0.5) < 0.25})
    volumes = {name: found.volume(name) for name in ("left", "scar", "right")}
    assert volumes == pytest.approx({"left": 0.25, "scar": 0.5, "right": 0.25}, abs=1e-12)


def test_the_last_part_wins():
    found = relabel(cube(), {"zone": lambda x: x[:, 2] > 0.5, "core": lambda x: x[:, 2] > 0.75})
    assert found.volume("zone") == pytest.approx(0.25, abs=1e-12)
    assert found.volume("core") == pytest.approx(0.25, abs=1e-12)


def test_known_names_keep_their_numbers_and_grow():
    found = relabel(cube(), {"right": lambda x: x[:, 0] > 0.25})
    assert found.regions == {"left": 3, "right": 7}
    assert found.volume("right") == pytest.approx(0.75, abs=1e-12)


def test_a_region_without_cells_is_gone():
    assert relabel(cube(), {"all": lambda x: x[:, 0] > -1.0}).regions == {"all": 8}


def test_the_domain_itself_and_its_surfaces_stay():
    domain = cube()
    found = relabel(domain, {"scar": lambda x: x[:, 1] > 0.5})
    assert domain.volume("left") == pytest.approx(0.5, abs=1e-12)
    assert found.area("skin") == pytest.approx(6.0, abs=1e-12)


def test_a_part_without_cells_is_refused():
    with pytest.raises(InputError, match="no cell's midpoint"):
        relabel(cube(), {"scar": lambda x: x[:, 0] > 2.0})
