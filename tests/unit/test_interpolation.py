"""Where the currents of interpolated states are integrated."""

from __future__ import annotations

import numpy as np
import pytest
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.population import Cells
from organtwin.electrophysiology.diffusion import Mass
from organtwin.electrophysiology.interpolation import StateInterpolation
from organtwin.electrophysiology.reaction_diffusion import local_nodes
from organtwin.errors import InputError
from organtwin.mesh.relabel import relabel
from organtwin.verify.geometry import box


def uniform_cells(V):
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"))
    return Cells.uniform(kernel, kernel.initial_states()[:, 0], -85.0, local_nodes(V))


def test_only_the_tissue_has_currents():
    """A scar of one layer of elements, whose nodes all have cells, adds nothing."""
    whole = box(MPI.COMM_SELF, (4.0, 4.0, 4.0), (4, 4, 4))
    domain = relabel(whole, {"scar": lambda x: (x[:, 0] > 1) & (x[:, 0] < 2)})
    V = fem.functionspace(domain.mesh, ("P", 1))
    cells = uniform_cells(V)
    v = -85.0 + 100.0 * (V.tabulate_dof_coordinates()[:, 0] < 1.5)
    loads = {}
    for name, regions in (("box", ("box",)), ("scar", ("scar",)), ("all", ())):
        currents = StateInterpolation(V, cells, Mass.LUMPED, 1.0, domain.dx(*regions))
        loads[name] = currents.load(v, 0.05).array.copy()
    np.testing.assert_allclose(loads["box"] + loads["scar"], loads["all"], atol=1e-12)
    assert np.abs(loads["scar"]).max() > 0
    assert np.abs(loads["box"]).max() == 0  # the front lies in the scar


def test_other_cells_than_simplices_are_refused():
    cubes = mesh.create_unit_cube(MPI.COMM_SELF, 2, 2, 2, mesh.CellType.hexahedron)
    V = fem.functionspace(cubes, ("P", 1))
    with pytest.raises(InputError, match=r"cells are hexahedrons.*Use simplices"):
        StateInterpolation(V, uniform_cells(V), Mass.CONSISTENT, 1.0)
