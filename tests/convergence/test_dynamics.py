"""Schemes in time: order, energy, start, failure and restart."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.mechanics.cavity import Cavity
from organtwin.mechanics.dynamics import NEWMARK, GeneralisedAlpha, SolidDynamics
from organtwin.mechanics.formulation import P1_P1, PENALTY_P1, TAYLOR_HOOD
from organtwin.mechanics.problem import Mechanics
from organtwin.mechanics.terms import BodyForce, Inertia
from organtwin.solve.nonlinear import Tolerances
from organtwin.verify.geometry import box, truncated_ellipsoid
from organtwin.verify.solids import Rubber, Vibration, order_in_time

COMM = MPI.COMM_SELF
SCHEMES = {
    "newmark": NEWMARK,
    "rho 0.8": GeneralisedAlpha.from_radius(0.8),
    "arostica": GeneralisedAlpha(0.2, 0.4),
}


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_second_order(scheme):
    assert order_in_time(COMM, scheme, PENALTY_P1) == pytest.approx(2.0, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("formulation", [P1_P1, TAYLOR_HOOD], ids=lambda f: f.name)
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_second_order_of_nearly_incompressible_mixed_elements(scheme, formulation):
    assert order_in_time(COMM, scheme, formulation, kappa=1e6) == pytest.approx(2.0, abs=0.1)


def test_energy_over_a_thousand_steps():
    """Newmark keeps it within a thousandth, without a trend; generalised-α gains none."""
    newmark = Vibration(COMM, NEWMARK, PENALTY_P1).run(20.0, 1000)
    assert np.abs(newmark / newmark[0] - 1).max() < 1e-3
    halves = newmark[1:501].mean(), newmark[501:].mean()
    assert abs(halves[1] / halves[0] - 1) < 1e-4
    damped = Vibration(COMM, SCHEMES["rho 0.8"], PENALTY_P1).run(20.0, 1000)
    assert damped.max() <= damped[0] * (1 + 1e-9)
    assert 0.99 < damped[-1] / damped[0] < 1.0


def falling(scheme) -> tuple[SolidDynamics, fem.Constant]:
    """A free block under gravity along x, in the form of `Vibration`."""
    domain = box(COMM, (1.0, 1.0, 3.0), (1, 1, 1))
    g = fem.Constant(domain.mesh, np.array([0.01, 0.0, 0.0]))
    terms = Rubber.on(domain, 10.0, 50.0).terms()
    block = Mechanics(
        domain,
        [*terms, Inertia(fem.Constant(domain.mesh, 1.0)), BodyForce(g)],
        formulation=PENALTY_P1,
        scheme=scheme,
        tolerances=Tolerances(increment=1e-11),
    )
    return SolidDynamics(block), g


def test_a_guess_that_leads_astray_costs_no_step(monkeypatch):
    process, _ = falling(NEWMARK)
    process.advance(0.0, 1.0)
    astray = 5.0 * np.random.default_rng(0).normal(size=process.problem.u.x.array.shape)
    monkeypatch.setattr(process.problem.levels, "guess", lambda u_old: u_old + astray)
    step = process.advance(1.0, 2.0)
    assert step.converged
    assert process.problem.u.x.array.reshape(-1, 3)[:, 0] == pytest.approx(0.01 * 2.0**2 / 2)


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=SCHEMES)
def test_free_fall_is_exact(scheme):
    """u = g t²/2 from the first step on: the first acceleration is g/ρ."""
    process, _ = falling(scheme)
    for i in range(5):
        assert process.advance(0.5 * i, 0.5 * (i + 1)).converged
        t = 0.5 * (i + 1)
        u = process.problem.u.x.array.reshape(-1, 3)
        assert u[:, 0] == pytest.approx(0.005 * t**2, rel=1e-7)
        assert np.abs(u[:, 1:]).max() < 1e-9
    velocity = process.problem.levels.velocity.x.array.reshape(-1, 3)
    assert velocity[:, 0] == pytest.approx(0.025, rel=1e-7)


def test_failed_step_leaves_everything():
    process, g = falling(NEWMARK)
    assert process.advance(0.0, 0.5).converged
    before = {name: values.copy() for name, values in process.state.items()}
    g.value[:] = np.nan
    assert not process.advance(0.5, 1.0).converged
    for name, values in process.state.items():
        assert values == pytest.approx(before[name]), name
    g.value[:] = [0.01, 0.0, 0.0]
    assert process.advance(0.5, 1.0).converged


def test_restart_tells_the_same():
    """The state is all there is to go on from, the first acceleration included."""
    whole, first, second = (Vibration(COMM, SCHEMES["rho 0.8"], PENALTY_P1) for _ in range(3))
    whole.run(0.6, 6)
    first.run(0.3, 3)
    second.process.restore(first.process.state)
    for i in range(3, 6):
        assert second.process.advance(0.1 * i, 0.1 * (i + 1)).converged
    assert second.tip() == pytest.approx(whole.tip(), rel=1e-9)


def test_blood_does_the_work_that_the_wall_gains(tmp_path):
    """A free ventricle under a sudden constant pressure: energy − p (V − V₀) stays."""
    domain = truncated_ellipsoid(COMM, tmp_path / "lv.msh", size=6.0)
    rubber, pressure = Rubber.on(domain, 10.0, 50.0), 0.2
    density = fem.Constant(domain.mesh, 1.0)
    wall = Mechanics(
        domain,
        [*rubber.terms(), Inertia(density)],
        formulation=PENALTY_P1,
        cavities=[Cavity("lv", "lv_endo", "base")],
        scheme=GeneralisedAlpha.from_radius(1.0),
        tolerances=Tolerances(increment=1e-10),
    )
    process = SolidDynamics(wall, lambda t: np.array([pressure]))
    F = ufl.Identity(3) + ufl.grad(wall.displacement)
    J, v = ufl.det(F), wall.levels.velocity
    energy = rubber.law.strain_energy(F.T * F, None)
    energy += rubber.kappa / 4 * (J**2 - 1 - 2 * ufl.ln(J)) + density / 2 * ufl.dot(v, v)
    stored = fem.form(energy * domain.dx(degree=2))
    V0, balance, work = wall.volumes()[0], [], []
    for i in range(40):
        assert process.advance(0.1 * i, 0.1 * (i + 1)).converged
        work.append(pressure * (wall.volumes()[0] - V0))
        balance.append(fem.assemble_scalar(stored) - work[-1])
    assert np.abs(work).max() > 1.0
    assert np.abs(balance).max() < 0.01 * np.abs(work).max()


def test_radius_gives_the_published_parameters():
    """αm = (2ρ − 1)/(ρ + 1), αf = ρ/(ρ + 1); ρ = 1 damps nothing."""
    scheme = GeneralisedAlpha.from_radius(1.0)
    assert (scheme.alpha_m, scheme.alpha_f) == (0.5, 0.5)
    assert (scheme.beta, scheme.gamma) == (0.25, 0.5)
    assert GeneralisedAlpha.from_radius(0.0).alpha_m == -1.0


@pytest.mark.parametrize(
    "make",
    [
        lambda: GeneralisedAlpha.from_radius(1.2),
        lambda: GeneralisedAlpha(0.4, 0.2),
        lambda: GeneralisedAlpha.newmark(beta=0.1),
        lambda: GeneralisedAlpha.newmark(gamma=0.4),
    ],
)
def test_unstable_schemes_are_refused(make):
    with pytest.raises(InputError):
        make()
