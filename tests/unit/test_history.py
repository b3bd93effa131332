"""Terms that remember: what a step commits, what can be undone, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.materials.growth import PrescribedGrowth
from organtwin.materials.isotropic import NeoHookean
from organtwin.materials.nitinol import Nitinol
from organtwin.materials.plastic import J2Plasticity
from organtwin.materials.pointwise import cartesian
from organtwin.materials.viscoelastic import MaxwellBranch
from organtwin.mechanics.formulation import PENALTY_P1
from organtwin.mechanics.history import (
    GrowingTissue,
    Histories,
    PlasticStress,
    SuperelasticStress,
    ViscousOverstress,
)
from organtwin.mechanics.problem import Dirichlet, Mechanics
from organtwin.mechanics.terms import History, Incompressibility, Refreshed
from organtwin.parallel import total
from organtwin.solve.nonlinear import Tolerances
from organtwin.solve.outcome import Outcome
from organtwin.verify.geometry import box

DOMAIN = box(MPI.COMM_WORLD, (1.0, 1.0, 1.0), (2, 1, 1))
METAL = J2Plasticity(80.0, 0.45, hardening=0.13)


def mean(field):
    """Mean over the quadrature points of all ranks."""
    space = field.function_space
    values = field.x.array[: space.dofmap.index_map.size_local * space.dofmap.index_map_bs]
    return total(DOMAIN.comm, values.sum()) / total(DOMAIN.comm, len(values))


class Bar:
    """A metal cube that is stretched."""

    def __init__(self) -> None:
        self.metal = PlasticStress(DOMAIN, METAL, degree=2)
        self.end = fem.Constant(DOMAIN.mesh, 0.0)
        sides = [Dirichlet(f"{axis}0", component=i) for i, axis in enumerate("xyz")]
        self.problem = Mechanics(
            DOMAIN,
            [self.metal, Incompressibility(170.0)],
            formulation=PENALTY_P1,
            dirichlet=[*sides, Dirichlet("x1", self.end, component=0)],
            degree=2,
            tolerances=Tolerances(increment=1e-10),
        )

    def stretch(self, *ends: float) -> None:
        for end in ends:
            self.end.value = end
            assert self.problem.solve(fresh=True).outcome is Outcome.CONVERGED
            self.problem.commit()


@pytest.fixture(scope="module")
def made():
    return Bar()


@pytest.fixture
def bar(made):
    made.problem.w.x.array[:] = made.problem.w_old.x.array[:] = 0
    made.metal.state["metric"].reshape(-1, 9)[:] = np.eye(3).ravel()
    made.metal.state["alpha"][:] = 0
    return made


def test_solving_without_committing_leaves_the_history(bar):
    bar.end.value = 0.005
    bar.problem.solve(fresh=True)
    assert not bar.metal.state["alpha"].any()
    bar.problem.commit()
    assert (bar.metal.state["alpha"] > 0.002).all()


def test_plastic_strain_stays_after_the_load_is_gone(bar):
    bar.stretch(0.004, 0.008, 0.012)
    alpha = mean(bar.metal.plastic_strain)
    assert alpha == pytest.approx(np.log(1.012), rel=0.2)
    bar.stretch(0.0105)
    assert mean(bar.metal.plastic_strain) == pytest.approx(alpha, rel=1e-12)


def test_going_back_repeats_the_step(bar):
    bar.stretch(0.004)
    saved = {name: values.copy() for name, values in bar.problem.state.items()}
    bar.stretch(0.008)
    first = {name: values.copy() for name, values in bar.problem.state.items()}
    bar.problem.restore(saved)
    assert np.array_equal(bar.metal.state["alpha"], saved["term0.alpha"])
    bar.stretch(0.008)
    for name, values in bar.problem.state.items():
        assert values == pytest.approx(first[name], abs=1e-7)


def test_result_does_not_depend_on_the_ranks(bar):
    """The values of one rank; the cube is stretched uniformly."""
    bar.stretch(0.004, 0.008, 0.012)
    assert mean(bar.metal.plastic_strain) == pytest.approx(0.0097909643, abs=1e-9)


def test_fields_are_evaluated_before_any_is_replaced():
    pair = Histories(DOMAIN, 1, a=1.0, b=2.0)
    pair.follow(a=pair["b"], b=pair["a"])
    pair.commit()
    assert set(pair.state["a"]) == {2.0}
    assert set(pair.state["b"]) == {1.0}


def test_history_of_a_region_stays_in_it():
    cells = np.arange(DOMAIN.mesh.topology.index_map(3).size_local, dtype=np.int32)
    tagged = DOMAIN.cells("box")
    assert set(tagged) <= set(cells)
    field = Histories(DOMAIN, 1, ["box"], a=0.0)
    field._cells = field._cells[::2]
    field.follow(a=field["a"] + 1)
    field.commit()
    assert total(DOMAIN.comm, (field.state["a"] == 0).sum()) > 0
    with pytest.raises(InputError, match="no region `bx`"):
        Histories(DOMAIN, 1, ["bx"], a=0.0)


def terms():
    law = NeoHookean(1.0)
    return {
        "viscous": ViscousOverstress(DOMAIN, law, [MaxwellBranch(1.0, 10.0)]),
        "plastic": PlasticStress(DOMAIN, METAL),
        "superelastic": SuperelasticStress(DOMAIN, Nitinol.stent()),
        "growing": GrowingTissue(DOMAIN, law, PrescribedGrowth(), cartesian()),
    }


@pytest.mark.parametrize("name", terms())
def test_terms_follow_the_protocol(name):
    term = terms()[name]
    assert isinstance(term, History)
    assert all(isinstance(values, np.ndarray) for values in term.state.values())
    assert isinstance(term, Refreshed) == (name == "growing")


@pytest.mark.parametrize("name", terms())
def test_another_quadrature_is_refused(name):
    with pytest.raises(InputError, match="degree = 2"):
        Mechanics(DOMAIN, [terms()[name]], formulation=PENALTY_P1, degree=2)


def test_stress_with_its_own_pressure_is_refused_in_mixed_formulations():
    with pytest.raises(InputError, match="PENALTY"):
        Mechanics(DOMAIN, [SuperelasticStress(DOMAIN, Nitinol.stent())])
    with pytest.raises(InputError, match="PENALTY"):
        growing = GrowingTissue(
            DOMAIN, NeoHookean(1.0), PrescribedGrowth(), cartesian(), incompressible=False
        )
        Mechanics(DOMAIN, [growing])


def test_incompressible_growth_without_a_bulk_modulus_is_refused_in_a_penalty_formulation():
    growing = GrowingTissue(DOMAIN, NeoHookean(1.0), PrescribedGrowth(), cartesian())
    with pytest.raises(InputError, match="bulk_modulus"):
        Mechanics(DOMAIN, [growing], formulation=PENALTY_P1)


def test_branches_are_needed():
    with pytest.raises(InputError, match="no branches"):
        ViscousOverstress(DOMAIN, NeoHookean(1.0), [])


@pytest.mark.parametrize("mixed", [pytest.param(True, marks=pytest.mark.slow), False])
def test_free_incompressible_tissue_takes_the_shape_that_it_grows_to(mixed):
    """Without load nothing but growth moves it, and no stress is left."""
    law = PrescribedGrowth(*(fem.Constant(DOMAIN.mesh, x) for x in (1.2, 1.1, 0.95)))
    growing = GrowingTissue(
        DOMAIN, NeoHookean(2.0), law, cartesian(), bulk_modulus=None if mixed else 200.0, degree=2
    )
    cube = Mechanics(
        DOMAIN,
        [growing],
        degree=2,
        dirichlet=[Dirichlet(f"{axis}0", component=i) for i, axis in enumerate("xyz")],
        **({} if mixed else {"formulation": PENALTY_P1}),
    )
    assert cube.solve(fresh=True).outcome is Outcome.CONVERGED
    X = cube.V.tabulate_dof_coordinates()
    assert cube.u.x.array.reshape(-1, 3) == pytest.approx(X * [0.2, 0.1, -0.05], abs=1e-6)
