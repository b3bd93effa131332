"""What cells and conduction feel of the motion."""

from pathlib import Path

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.case.build import electrical_feedback, steps
from organtwin.case.load import load_case
from organtwin.coupling.feedback import Feedback, StretchActivatedCurrent, StretchDrive
from organtwin.coupling.steps import Steps
from organtwin.electrophysiology.diffusion import Diffusion, Membrane
from organtwin.errors import InputError
from organtwin.verify.geometry import box

CASE = Path(__file__).parents[2] / "demos/heartbeat/case.toml"
CURRENT = StretchActivatedCurrent(conductance=0.01, reversal_potential=-20.0, largest_stretch=1.1)


def test_the_current_flows_in_stretched_fibres_only():
    rate = CURRENT.rate(np.array([0.8, 1.0, 1.05, 1.1, 1.2]))
    assert rate == pytest.approx([0.0, 0.0, 0.005, 0.01, 0.02])


def test_a_step_of_the_current_is_exact_and_of_any_length():
    drive = StretchDrive(CURRENT, 3)
    drive.rate[:] = CURRENT.rate(np.array([0.9, 1.1, 1.3]))
    v = np.array([-85.0, -85.0, 30.0])
    once, often = v.copy(), v.copy()
    drive.apply(once, 0.0, 400.0)
    for n in range(8):
        drive.apply(often, 50.0 * n, 50.0)
    assert once == pytest.approx(often)
    assert once == pytest.approx([-85.0, -20.0 - 65.0 * np.exp(-4.0), -20.0 + 50.0 * np.exp(-12.0)])


@pytest.mark.parametrize(
    "wrong", [{"conductance": -1.0}, {"conductance": 0.01, "largest_stretch": 1.0}]
)
def test_a_current_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(InputError, match="stretch"):
        StretchActivatedCurrent(**wrong)


def test_nothing_is_felt_by_default():
    assert not Feedback().acts
    assert Feedback(CURRENT).acts
    assert Feedback(conduction=True).acts


def test_a_case_file_switches_it():
    case = load_case(CASE)
    assert not electrical_feedback(case).acts
    assert steps(case) is None
    section = "mechanics.feedback"
    told = load_case(CASE, [
        f"{section}.stretch_activated_current.conductance=0.002 / ms", f"{section}.conduction=true",
        "mechanics.steps=adaptive",
    ])  # fmt: skip
    assert electrical_feedback(told) == Feedback(StretchActivatedCurrent(0.002), conduction=True)
    step = told.mechanics.time_step
    assert (steps(told).shortest, steps(told).longest) == (step / 4, 4 * step)


def test_a_case_file_tells_their_tolerances():
    case = load_case(CASE, ["mechanics.steps=adaptive"])
    step = case.mechanics.time_step
    assert steps(case) == Steps(step / 4, 4 * step)  # the same defaults in both places
    assert electrical_feedback(case).tolerance == Feedback().tolerance
    error = "mechanics.step_error"
    told = load_case(CASE, [
        "mechanics.steps=adaptive", f"{error}.displacement=50 um", f"{error}.pressure=0.3 mmHg",
        "mechanics.feedback.conduction_tolerance=0.002",
    ])  # fmt: skip
    assert steps(told).displacement == pytest.approx(0.05)
    assert steps(told).pressure == pytest.approx(0.3 * 0.133322387415)
    assert electrical_feedback(told).tolerance == 0.002
    with pytest.raises(InputError, match="step_error has no effect"):
        load_case(CASE, [f"{error}.displacement=50 um"])


def spread(F):
    """Decay rates (1/ms) of cosines along x, y and z in a box that is deformed homogeneously."""
    V = fem.functionspace(box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (8, 8, 8)).mesh, ("P", 1))
    sigma = ufl.diag(ufl.as_vector([fem.Constant(V.mesh, s) for s in (2.0, 1.0, 0.5)]))
    diffusion = Diffusion(V, sigma, Membrane(chi=1.0, C_m=1.0))
    diffusion.follow_deformation()
    if F is not None:
        diffusion.deform(np.broadcast_to(F, diffusion.deformation.shape))
    x = V.tabulate_dof_coordinates()
    rates = []
    for i in range(3):
        v = diffusion.K.createVecRight()
        v.array[:] = np.cos(np.pi * x[:, i])
        Kv, Mv = diffusion.K * v, diffusion.M * v
        rates.append(v.dot(Kv) / v.dot(Mv))
    return np.array(rates), diffusion


def test_conduction_follows_the_deformation():
    """σ_i J/λ_i² where the box is stretched by λ_i."""
    stretches = np.array([1.25, 0.8, 1.1])
    rest, _ = spread(None)
    deformed, diffusion = spread(np.diag(stretches))
    assert rest == pytest.approx(np.array([2.0, 1.0, 0.5]) * np.pi**2, rel=0.03)
    assert deformed / rest == pytest.approx(stretches.prod() / stretches**2, rel=1e-9)
    assert diffusion.deformation[-1] == pytest.approx(np.diag(stretches))


def test_a_rotation_turns_the_conductivity_with_the_tissue():
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert spread(turn)[0] == pytest.approx(spread(None)[0], rel=1e-9)


def test_a_state_that_is_written_back_brings_its_matrix():
    _, diffusion = spread(np.diag([1.25, 0.8, 1.1]))
    kept = {name: values.copy() for name, values in diffusion.state.items()}
    before = diffusion.K.norm()
    diffusion.deform(np.broadcast_to(np.eye(3), diffusion.deformation.shape))
    assert abs(diffusion.K.norm() - before) > 1e-3 * before
    for name, values in diffusion.state.items():
        values[...] = kept[name]
    v = fem.Function(
        fem.functionspace(box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (8, 8, 8)).mesh, ("P", 1))
    )
    v.x.array[0] = 1.0
    assert diffusion.step(v, 0.01) >= 0
    assert diffusion.K.norm() == pytest.approx(before, rel=1e-12)


def test_a_body_at_rest_has_no_deformation_to_take():
    V = fem.functionspace(box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (1, 1, 1)).mesh, ("P", 1))
    diffusion = Diffusion(V, fem.Constant(V.mesh, 1.0), Membrane())
    with pytest.raises(InputError, match="follow_deformation"):
        diffusion.deform(np.eye(3)[None])


def test_steps_follow_their_error():
    control = Steps(shortest=0.5, longest=4.0, displacement=0.1, pressure=0.2, iterations=10)
    assert control.error(0.1, 0.0, 1.0, 1.0) == pytest.approx(0.5)
    assert control.error(0.0, 0.6, 1.0, 2.0) == pytest.approx(1.0)
    assert control.next(1.0, 1.0, 3) == pytest.approx(0.9)
    assert control.next(1.0, 1e-6, 3) == pytest.approx(2.0)
    assert control.next(1.0, 1e-6, 11) == pytest.approx(1.0)
    assert control.next(4.0, 1e-6, 3) == 4.0
    assert control.next(1.0, 100.0, 3) == 0.5
    assert control.refuses(5.0, 1.0)
    assert not control.refuses(5.0, 0.5)
    with pytest.raises(InputError, match="power of two"):
        Steps(shortest=0.5, longest=1.5)
