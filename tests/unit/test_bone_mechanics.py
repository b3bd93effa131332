"""Linear elasticity of bone: one matrix, loose pieces by name, recovered stresses and errors."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.materials.bone import OrthotropicBone
from organtwin.materials.pointwise import cartesian
from organtwin.mechanics.adaptive import adapt, marked_cells
from organtwin.mechanics.derived import UNITS, cell_fields, von_mises
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.formulation import PENALTY_P1, TAYLOR_HOOD
from organtwin.mechanics.fragments import Pieces
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.small_strain import SmallStrain
from organtwin.mechanics.terms import FollowerPressure, Spring, Traction
from organtwin.mesh.domain import Domain, refine_cells
from organtwin.solve import elastic
from organtwin.verify.geometry import box

COMM = MPI.COMM_SELF


def modulus(domain, value=1000.0):
    field = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)))
    field.x.array[:] = value
    return field


def bone(domain, value=1000.0, nu=0.0):
    return SmallStrain(OrthotropicBone.isotropic(modulus(domain, value), nu), cartesian())


def pull(domain):
    return Traction(("z1",), ufl.as_vector([0.0, 0.0, fem.Constant(domain.mesh, 10.0)]))


def two_boxes():
    """A box of 1 mm and, apart from it, one of 0.5 mm."""
    parts = [box(COMM, (1.0, 1.0, 1.0), (2, 2, 2)), box(COMM, (0.5, 0.5, 0.5), (1, 1, 1))]
    shift = [np.zeros(3), np.array([3.0, 0.0, 0.0])]
    points = [part.mesh.geometry.x + by for part, by in zip(parts, shift, strict=True)]
    cells = [part.mesh.geometry.dofmaps[0] for part in parts]
    both = np.concatenate([cells[0], cells[1] + len(points[0])]).astype(np.int64)
    element = parts[0].mesh.ufl_domain()
    msh = mesh.create_mesh(COMM, both, element, np.concatenate(points))
    msh.topology.create_connectivity(2, 3)
    facets = mesh.exterior_facet_indices(msh.topology)
    middle = mesh.compute_midpoints(msh, 2, facets)
    here = (np.abs(middle[:, 2]) < 1e-9).astype(int) + 2 * (middle[:, 0] > 2)
    values = np.where(here == 1, 1, np.where(here == 3, 2, 3)).astype(np.int32)
    own = np.arange(msh.topology.index_map(3).size_local, dtype=np.int32)
    cell_tags = mesh.meshtags(msh, 3, own, np.ones_like(own))
    return Domain(
        msh, cell_tags, mesh.meshtags(msh, 2, facets, values), {"bone": 1},
        {"z0": 1, "other_z0": 2, "rest": 3},
    )  # fmt: skip


@pytest.fixture(scope="module")
def bar():
    """A bar of 1 × 1 × 4 mm whose lower end is held, pulled by 10 kPa, and its solution."""
    domain = box(COMM, (1.0, 1.0, 4.0), (2, 2, 8))
    problem = LinearElasticity(domain, [bone(domain), pull(domain)], dirichlet=[Dirichlet("z0")])
    return problem, problem.solve()


def test_a_bar_stretches_by_stress_over_modulus(bar):
    problem, solution = bar
    u = problem.u.x.array.reshape(-1, 3)
    assert u[:, 2].max() == pytest.approx(10.0 / 1000.0 * 4.0, rel=1e-10)
    assert problem.reaction("z0") == pytest.approx([0.0, 0.0, -10.0], abs=1e-9)
    assert problem.strain_energy() == pytest.approx(10.0**2 / 1000.0 / 2 * 4.0, rel=1e-10)
    assert solution.residual < 1e-10


def test_derived_fields_of_uniform_tension(bar):
    fields = cell_fields(bar[0])
    expected = {
        "von_mises_stress": 10.0, "largest_principal_stress": 10.0,
        "smallest_principal_stress": 0.0, "largest_principal_strain": 0.01,
        "smallest_principal_strain": 0.0, "strain_energy_density": 0.05,
    }  # fmt: skip
    assert set(fields) == set(UNITS) == set(expected)
    for name, value in expected.items():
        assert fields[name].x.array == pytest.approx(value, abs=1e-9), name


def test_von_mises_of_pure_shear_is_root_three_times_it():
    stress = np.array([0.0, 0.0, 0.0, 0.0, 0.0, np.sqrt(2.0) * 5.0])
    assert von_mises(stress) == pytest.approx(np.sqrt(3.0) * 5.0)


def test_multigrid_and_factors_agree_at_a_contrast_of_two_thousand(monkeypatch):
    domain = box(COMM, (1.0, 1.0, 2.0), (4, 4, 8))
    x = fem.functionspace(domain.mesh, ("DG", 0)).tabulate_dof_coordinates()
    values = 17e6 / 2000 ** np.modf(1e4 * np.abs(np.sin(x @ [12.9, 78.2, 37.7])))[0]
    found = []
    for few in (elastic.FEW, 0):
        monkeypatch.setattr(elastic, "FEW", few)
        problem = LinearElasticity(
            domain, [bone(domain, values), pull(domain)], dirichlet=[Dirichlet("z0")], rtol=1e-10
        )
        solution = problem.solve()
        found.append(problem.u.x.array.copy())
    assert 1 < solution.iterations < 40
    assert found[1] == pytest.approx(found[0], abs=1e-6 * np.abs(found[0]).max())


def test_a_loose_piece_is_named():
    domain = two_boxes()
    pieces = Pieces(domain, fem.functionspace(domain.mesh, ("P", 1, (3,))))
    assert len(pieces) == 2
    assert pieces.volumes == pytest.approx([1.0, 0.125])
    problem = LinearElasticity(domain, [bone(domain)], dirichlet=[Dirichlet("z0")])
    with pytest.raises(InputError) as caught:
        problem.solve()
    message = str(caught.value)
    assert "1 of 2 pieces" in message
    assert "6 cells of `bone` (0.125 mm³) around (3.2, 0.2, 0.2) mm" in message
    assert "shift in 3 directions and turn about 3 axes" in message


def test_springs_hold_a_piece():
    domain = two_boxes()
    held = [bone(domain), Spring(("other_z0",), fem.Constant(domain.mesh, 1e-3))]
    LinearElasticity(domain, held, dirichlet=[Dirichlet("z0")]).solve()


def test_supports_that_leave_a_rotation_are_refused():
    domain = box(COMM, (1.0, 1.0, 4.0), (2, 2, 8))
    rest = [Dirichlet("z0", component=2), Dirichlet("x0", component=0)]
    problem = LinearElasticity(domain, [bone(domain), pull(domain)], dirichlet=rest)
    with pytest.raises(InputError, match=r"can shift in 1 direction\."):
        problem.solve()


def test_what_is_not_linear_is_refused():
    domain = box(COMM, (1.0, 1.0, 1.0), (1, 1, 1))
    pressure = FollowerPressure(("z1",), fem.Constant(domain.mesh, 1.0))
    with pytest.raises(InputError, match="`FollowerPressure` is not linear"):
        LinearElasticity(domain, [bone(domain), pressure])
    with pytest.raises(InputError, match="no material"):
        LinearElasticity(domain, [pull(domain)])
    with pytest.raises(InputError, match="has a pressure"):
        LinearElasticity(domain, [bone(domain)], formulation=TAYLOR_HOOD)


def test_marked_cells_are_the_fewest_that_make_the_share():
    squares = np.array([5.0, 1.0, 3.0, 0.0, 1.0])
    assert marked_cells(COMM, squares, 0.5).tolist() == [0]
    assert marked_cells(COMM, squares, 0.6).tolist() == [0, 2]


def test_refining_some_cells_keeps_names_and_volumes():
    domain = box(COMM, (1.0, 1.0, 1.0), (2, 2, 2))
    step = refine_cells(domain, np.array([0, 7], dtype=np.int32))
    fine = step.fine
    assert 48 < fine.mesh.topology.index_map(3).size_local < 8 * 48
    assert fine.volume("box") == pytest.approx(1.0)
    assert all(fine.area(name) == pytest.approx(1.0) for name in fine.surfaces)
    middle = [mesh.compute_midpoints(d.mesh, 3, np.arange(len(step.parent) if d is fine else 48,
                                                          dtype=np.int32))
              for d in (domain, fine)]  # fmt: skip
    assert np.abs(middle[1] - middle[0][step.parent]).max() < 0.5


def test_adapting_lowers_the_error_to_the_target():
    domain = box(COMM, (1.0, 1.0, 2.0), (2, 2, 4))

    def make(where, parent):
        return LinearElasticity(
            where, [bone(where), pull(where)], formulation=PENALTY_P1,
            dirichlet=[Dirichlet("z0"), Dirichlet("x0", component=0)],
        )  # fmt: skip

    # With ν = 0 the solution is linear and needs no finer mesh.
    assert len(adapt(domain, make, target=0.01).stages) == 1

    def bent(where, parent):
        side = Traction(("z1",), ufl.as_vector([fem.Constant(where.mesh, 10.0), 0.0, 0.0]))
        return LinearElasticity(where, [bone(where), side], dirichlet=[Dirichlet("z0")])

    found = adapt(domain, bent, target=0.2, unknowns=40_000)
    errors = [stage.estimate.relative for stage in found.stages]
    assert found.reached
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] <= 0.2 < errors[-2]
    with pytest.raises(InputError, match="target = 2"):
        adapt(domain, make, target=2.0)
