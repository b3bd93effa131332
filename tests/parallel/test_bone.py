"""Density, modulus and directions of bone on all ranks equal those on one."""

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.bone.fabric import orthotropic_bone
from organtwin.bone.laws import stiffness
from organtwin.bone.mapping import map_bone
from organtwin.bone.synthetic import Scanner, synthetic_ct
from organtwin.errors import InputError
from organtwin.verify.bone_density import TRUE, block_grid, density
from organtwin.verify.geometry import box

COMM = MPI.COMM_WORLD


def image():
    return synthetic_ct(density, block_grid(2.0), Scanner(TRUE, noise=20.0))


def by_place(domain, field):
    """Values with the places that they belong to: midpoints of cells, or nodes."""
    space = field.function_space
    if space.ufl_element().degree == 0:
        own = domain.mesh.topology.index_map(3).size_local
        nodes = domain.mesh.geometry.dofmaps[0][:own]
        places = domain.mesh.geometry.x[nodes].mean(axis=1)
    else:
        own = space.dofmap.index_map.size_local
        places = space.tabulate_dof_coordinates()[:own]
    values = field.x.array.reshape(-1, space.dofmap.bs)[:own]
    rows = np.concatenate(domain.comm.allgather(np.column_stack([places.round(6), values])))
    return rows[np.lexsort(rows[:, :3].T)]


@pytest.fixture(scope="module")
def mapped():
    def of(comm):
        domain = box(comm, (20.0,) * 3, (5,) * 3)
        scan = image() if comm.rank == 0 else None
        way = stiffness("keyak_1998")
        cells, smooth = (map_bone(domain, scan, TRUE, way, smooth=s) for s in (False, True))
        bone, axes = orthotropic_bone(domain, scan, cells.modulus, noise=20.0)
        fields = [cells.density, cells.modulus, smooth.density, smooth.modulus, bone.E_s, axes.f0]
        return domain, fields, (cells.report, smooth.report)

    return of(COMM), of(MPI.COMM_SELF)


def test_fields_do_not_depend_on_the_ranks(mapped):
    (domain, fields, _), (alone, of_one, _) = mapped
    for field, single in zip(fields, of_one, strict=True):
        rows, expected = by_place(domain, field), by_place(alone, single)
        np.testing.assert_allclose(rows, expected, rtol=1e-8, atol=1e-9, err_msg=field.name)


def test_reports_do_not_depend_on_the_ranks(mapped):
    (_, _, reports), (_, _, of_one) = mapped
    for report, single in zip(reports, of_one, strict=True):
        assert report.mineral == pytest.approx(single.mineral, rel=1e-12)
        np.testing.assert_allclose(report.moduli, single.moduli, rtol=1e-8)
        assert report.warnings == single.warnings


def test_a_cell_of_one_rank_that_leaves_the_image_stops_all():
    domain = box(COMM, (20.0, 20.0, 60.0), (2, 2, 6))
    scan = image() if COMM.rank == 0 else None
    with pytest.raises(InputError, match="leave the image"):
        map_bone(domain, scan, TRUE, stiffness("keyak_1998"))
