import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI
from scipy.optimize import brentq

from organtwin.errors import InputError, SolverError
from organtwin.materials.kinematics import Directions
from organtwin.mechanics.cavity import Cavity
from organtwin.mechanics.configuration import carried, moved, pulled_back
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.prestress import prestress
from organtwin.mechanics.terms import FollowerPressure, Incompressibility, PassiveStress
from organtwin.mechanics.unloaded import FixedPoint, LoadedBody, unload, unload_by_fixed_point
from organtwin.verify.geometry import box
from organtwin.verify.unloaded import Rubber

MU = 20.0  # kPa
PRESSURE = 12.0  # kPa


@pytest.fixture(scope="module")
def cube():
    return box(MPI.COMM_WORLD, (2.0, 1.0, 1.0), (1, 1, 1))


def pressed(domain, pressure, c_1=MU / 2, c_2=0.0):
    """A block that an image shows under a pressure on its end, free to widen."""
    load = fem.Constant(domain.mesh, 0.0)
    law = Rubber(fem.Constant(domain.mesh, c_1), fem.Constant(domain.mesh, c_2))
    return LoadedBody(
        domain,
        [PassiveStress(law), Incompressibility(), FollowerPressure(("x1",), load)],
        dirichlet=[Dirichlet(f"{axis}0", component=i) for i, axis in enumerate("xyz")],
        scale=lambda share: setattr(load, "value", share * pressure),
    )


def stretch():
    """μ (λ² − 1/λ) = −p, the stretch of a block of neo-Hookean rubber under pressure."""
    return brentq(lambda x: MU * (x**2 - 1 / x) + PRESSURE, 0.2, 1.0)


def at_end(domain, U):
    """Displacement of the face x1 along x and of the corner across it."""
    x = U.function_space.tabulate_dof_coordinates()
    values = U.x.array.reshape(-1, 3)
    end = np.isclose(x[:, 0], 2.0) & np.isclose(x[:, 1], 1.0)
    return values[end][:, :2]


def test_a_pressed_block_is_longer_and_thinner_without_its_load(cube):
    state = unload(pressed(cube, PRESSURE))
    expected = [2 / stretch() - 2, np.sqrt(stretch()) - 1]
    assert at_end(cube, state.U) == pytest.approx(np.tile(expected, (3, 1)), abs=1e-8)
    assert state.residual < 1e-8
    assert "inverse elastostatic problem" in state.sentence()


def test_the_fixed_point_finds_the_same_block(cube):
    state = unload_by_fixed_point(pressed(cube, PRESSURE), FixedPoint(tolerance=1e-7))
    expected = [2 / stretch() - 2, np.sqrt(stretch()) - 1]
    assert at_end(cube, state.U) == pytest.approx(np.tile(expected, (3, 1)), abs=1e-6)
    assert state.residual < 1e-7


def test_prestress_is_the_stretch_that_the_block_carries(cube):
    state = prestress(pressed(cube, PRESSURE))
    F = state.F.x.array.reshape(-1, 3, 3)
    wanted = np.diag([stretch(), stretch() ** -0.5, stretch() ** -0.5])
    assert np.broadcast_to(wanted, F.shape) == pytest.approx(F, abs=1e-4)
    assert state.residual < 1e-4


def test_without_load_the_image_is_the_reference_state(cube):
    assert unload(pressed(cube, 0.0)).largest_displacement < 1e-12


def test_a_load_that_no_shape_carries_ends_in_an_error_that_tells_how_far_it_went(cube):
    # With c₂ < 0 the stress under compression has a maximum, here of 71.7 kPa.
    with pytest.raises(SolverError, match=r"beyond 7\d % of the load.*check thickness"):
        unload(pressed(cube, 100.0, c_1=60.0, c_2=-20.0))


def test_too_few_iterations_of_the_fixed_point_are_told(cube):
    with pytest.raises(SolverError, match="after 1 geometries"):
        unload_by_fixed_point(pressed(cube, PRESSURE), FixedPoint(iterations=1))


def test_every_cavity_needs_a_pressure(cube):
    with pytest.raises(InputError, match="0 pressures for 1 cavities"):
        LoadedBody(cube, [], cavities=[Cavity("lv", "x0", "x1")])


def test_surfaces_of_the_image_are_not_displaced(cube):
    value = ufl.as_vector([1.0, 0.0, 0.0])
    with pytest.raises(InputError, match="displaced by a given value"):
        LoadedBody(cube, [], dirichlet=[Dirichlet("x0", value)])


def test_terms_with_a_history_are_refused(cube):
    class Slip:
        state: dict[str, np.ndarray] = {}

        def form(self, domain, s):
            return ufl.Form([])

        def commit(self):
            pass

    with pytest.raises(InputError, match="`Slip` has a history"):
        LoadedBody(cube, [Slip()])


def test_a_moved_domain_keeps_cells_and_names_and_carries_fields(cube):
    V = fem.functionspace(cube.mesh, ("P", 2, (3,)))
    u = fem.Function(V)
    u.interpolate(lambda x: np.array([0.1 * x[0] ** 2, 0 * x[0], 0 * x[0]]))
    there = moved(cube, u)
    assert there.volume() == pytest.approx(2.4)  # the end moves by 0.4
    assert there.area("x1") == pytest.approx(cube.area("x1"))
    place = carried(u, there).function_space.tabulate_dof_coordinates()
    back = place - carried(u, there).x.array.reshape(-1, 3)
    assert sorted(map(tuple, back.round(9))) == sorted(
        map(tuple, V.tabulate_dof_coordinates().round(9))
    )


def test_directions_are_pulled_back_as_line_and_plane():
    F = np.array([[1.2, 0.3, 0.1], [0.0, 0.9, 0.2], [0.1, 0.0, 1.0]])
    seen = Directions(*(ufl.as_vector(np.eye(3)[i].tolist()) for i in range(3)))
    back = pulled_back(seen, ufl.as_matrix(F.tolist()))
    f0, s0, n0 = (np.array([float(d[i]) for i in range(3)]) for d in (back.f0, back.s0, back.n0))
    assert np.array([f0, s0, n0]) @ np.array([f0, s0, n0]).T == pytest.approx(np.eye(3))
    assert np.cross(F @ f0, [1, 0, 0]) == pytest.approx(np.zeros(3), abs=1e-12)
    assert (F @ s0)[2] == pytest.approx(0.0, abs=1e-12)
