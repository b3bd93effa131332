"""What the field writers write is what readers read, on any number of ranks."""

import numpy as np
import pytest
import pyvista as pv
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.export.fields import FieldWriter, field_writer
from organtwin.parallel import on_root

COMM = MPI.COMM_WORLD


@pytest.fixture
def folder(tmp_path_factory):
    return on_root(COMM, lambda: tmp_path_factory.mktemp("fields"))


@pytest.fixture(scope="module")
def box():
    return mesh.create_box(COMM, [[0, 0, 0], [3, 2, 1]], [4, 3, 2], mesh.CellType.tetrahedron)


def position(x):
    return x


def square(x):
    return x[0] ** 2 - x[1] * x[2]


def function(msh, element, values, name="u"):
    u = fem.Function(fem.functionspace(msh, element), name=name)
    u.interpolate(values)
    return u


def fields(msh, t):
    return {
        "displacement": function(msh, ("Lagrange", 2, (3,)), position),
        "transmembrane_potential": function(msh, ("Lagrange", 1), lambda x: x[0] + t),
        "pressure": function(msh, ("Lagrange", 2), square),
        "fibre": function(msh, ("DG", 0, (3,)), position),
        "region": function(msh, ("DG", 0), lambda x: 1.0 + (x[0] > 1.5)),
    }


@pytest.mark.parametrize("single", [True, False])
def test_quadratic_series_reads_back(folder, box, single):
    writer = FieldWriter(folder, "mechanics", box, degree=2, single=single)
    for t in (0.0, 2.5):
        writer.write(t, fields(box, t))
    atol = 1e-5 if single else 1e-12

    def check():
        reader = pv.get_reader(str(folder / "mechanics.pvd"))
        assert reader.time_values == [0.0, 2.5]
        reader.set_active_time_value(2.5)
        grid = reader.read()[0]
        assert grid.n_cells == box.topology.index_map(3).size_global, "ghosts are written once"
        assert set(grid.celltypes) == {pv.CellType.LAGRANGE_TETRAHEDRON}
        x = grid.points
        np.testing.assert_allclose(grid["displacement"], x, atol=atol)
        np.testing.assert_allclose(grid["pressure"], square(x.T), atol=atol)
        np.testing.assert_allclose(grid["transmembrane_potential"], x[:, 0] + 2.5, atol=atol)
        np.testing.assert_allclose(grid["fibre"], grid.cell_centers().points, atol=atol)
        assert set(np.unique(grid["region"])) == {1.0, 2.0}
        piece = pv.read(folder / "mechanics" / "mechanics_0001_0.vtu")
        info = piece.point_data.GetArray("displacement").GetInformation()
        assert info.Get(pv._vtk.vtkDataArray.UNITS_LABEL()) == "mm"
        linear = pv.UnstructuredGrid(
            {10: grid.cell_connectivity.reshape(-1, 10)[:, :4]}, grid.points
        )
        assert linear.compute_cell_sizes()["Volume"].sum() == pytest.approx(6.0, rel=1e-5)

    on_root(COMM, check)


def test_linear_series_has_linear_cells_and_opens_after_every_step(folder, box):
    writer = FieldWriter(folder, "electrophysiology", box)
    for step in range(3):
        v = function(box, ("Lagrange", 1), lambda x, t=step: x[1] * t)
        writer.write(10.0 * step, {"transmembrane_potential": v})

        def check(step=step):
            reader = pv.get_reader(str(writer.path))
            assert reader.time_values == [10.0 * i for i in range(step + 1)]
            reader.set_active_time_value(10.0 * step)
            grid = reader.read()[0]
            assert set(grid.celltypes) == {pv.CellType.TETRA}
            v = grid["transmembrane_potential"]
            np.testing.assert_allclose(v, grid.points[:, 1] * step, atol=1e-5)
            assert grid.compute_cell_sizes()["Volume"].sum() == pytest.approx(6.0, rel=1e-5)

        on_root(COMM, check)


def test_what_cannot_be_written_is_refused(folder, box):
    writer = FieldWriter(folder, "refused", box)
    with pytest.raises(InputError, match="field `u`"):
        writer.write(0.0, {"u": function(box, ("DG", 1), lambda x: x[0])})
    with pytest.raises(InputError, match="no format `xdmf`"):
        field_writer("xdmf", folder, "refused", box)


def test_vtx_and_vtkhdf_have_the_same_interface(folder, box):
    for kind in ("vtx", "vtkhdf"):
        writer = field_writer(kind, folder, kind, box, degree=1)
        for t in (0.0, 1.0):
            writer.write(t, fields(box, t) if kind == "vtkhdf" else {"v": fields(box, t)["region"]})
        COMM.Barrier()
    del writer

    def check():
        assert (folder / "vtx.bp").is_dir()
        grid = pv.read(folder / "vtkhdf_transmembrane_potential.vtkhdf")
        assert grid.n_cells == box.topology.index_map(3).size_global
        assert (folder / "vtkhdf_displacement.vtkhdf").is_file()

    on_root(COMM, check)
