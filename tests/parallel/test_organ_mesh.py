"""An organ's mesh is made on rank 0 and read on all."""

import numpy as np
import pytest
import ufl
from mpi4py import MPI

from organtwin.case.load import load_organ_case
from organtwin.case.meshing import mesh_organ
from organtwin.image.slicer import write_slicer
from organtwin.image.volume import LabelMap
from organtwin.mesh.domain import read_domain
from organtwin.parallel import on_root
from organtwin.solve.assembly import integral


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    def write():
        path = tmp_path_factory.mktemp("organ")
        x = np.stack(np.indices((20, 20, 20)), axis=3) - 9.5
        values = (np.linalg.norm(x, axis=3) < 8).astype(np.uint8)
        values[(values > 0) & (x[..., 0] > 0)] = 2
        values = values[:14]  # cuts b off
        labels = LabelMap(values, {"a": 1, "b": 2}, np.full(3, 2.0), np.zeros(3), np.eye(3))
        write_slicer(labels, path / "labels.seg.nrrd")
        text = '[source]\nlabels = "labels.seg.nrrd"\n[mesh]\nsize = "6 mm"\n'
        (path / "case.toml").write_text(text)
        return path

    comm = MPI.COMM_WORLD
    folder = on_root(comm, write)
    return mesh_organ(load_organ_case(folder / "case.toml"), out=folder / "out", comm=comm)


def test_volumes_and_interfaces_do_not_depend_on_the_ranks(result):
    def measured(comm):
        domain = read_domain(result / "mesh.msh", comm)
        volumes = [integral(1.0 * domain.dx(name)) for name in ("a", "b")]
        x = ufl.SpatialCoordinate(domain.mesh)
        n = ufl.FacetNormal(domain.mesh)
        names = ("a-outside", "b-outside", "b-a", "b-cut")
        fluxes = [integral(ufl.inner(x, n) * domain.ds(name)) for name in names]
        assert fluxes[1] + fluxes[2] + fluxes[3] == pytest.approx(3.0 * volumes[1])
        assert fluxes[0] - fluxes[2] == pytest.approx(3.0 * volumes[0])
        # The last slice lies 3.5 of 8 voxels off the middle and ends at x = 27 mm.
        cut = domain.area("b-cut")
        assert cut == pytest.approx(np.pi * 4.0 * (8.0**2 - 3.5**2), rel=0.05)
        assert fluxes[3] == pytest.approx(27.0 * cut, rel=1e-6)
        return [*volumes, *fluxes, *(domain.area(name) for name in names)]

    np.testing.assert_allclose(measured(MPI.COMM_WORLD), measured(MPI.COMM_SELF), rtol=1e-10)
