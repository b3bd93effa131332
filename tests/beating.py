"""A small beating heart with cells at its nodes that feel the motion, in steps of any length."""

from __future__ import annotations

from dolfinx import fem

from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.population import Cells
from organtwin.cells.tension import Land2017
from organtwin.circulation.network import ClosedLoop
from organtwin.coupling.electromechanics import Electromechanics
from organtwin.coupling.feedback import Feedback, StretchActivatedCurrent
from organtwin.coupling.reference import Unloaded
from organtwin.coupling.steps import Steps
from organtwin.coupling.ventricles import Myocardium, Support, contracting_ventricles
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import COARSE, TimeSteps, local_nodes
from organtwin.electrophysiology.stimulus import Region, Stimulus
from organtwin.materials.isotropic import NeoHookean
from organtwin.mechanics.formulation import P1_P1
from organtwin.mesh.domain import Domain, refine
from organtwin.solve.nonlinear import Tolerances
from tests.hearts import PRESSURES, rule

FEEDBACK = Feedback(StretchActivatedCurrent(0.005), conduction=True, tolerance=1e-4)


def beating_heart(
    domain: Domain,
    *,
    feedback: Feedback = FEEDBACK,
    steps: Steps | None = None,
    filled: bool = True,
) -> Electromechanics:
    """Ventricles free of load in the image, filled; the left one is stimulated; collective."""
    refinement = refine(domain)
    V = fem.functionspace(refinement.fine.mesh, ("P", 1))
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_endo"), domain.comm)
    cells = Cells.uniform(kernel, kernel.initial_states(), kernel.initial_potential, local_nodes(V))
    stimulus = Stimulus(Region(refinement.fine, ("lv",)), strength=50.0, period=400.0)
    ep = monodomain(
        V, cells, fem.Constant(V.mesh, 0.2), [stimulus],
        scheme=COARSE, steps=TimeSteps(shortest=0.1),
    )  # fmt: skip
    tissue = Myocardium(
        passive=NeoHookean(mu=6.0), tension=Land2017(T_ref=220.0, ca50=0.5),
        cross_fibre_fraction=0.4, bulk_modulus=1000.0, viscosity=100.0,
        pericardium=Support(0.1, 5.0), base=Support(0.5, 5.0), shear_modulus=10.0,
    )  # fmt: skip
    mechanics, muscle, _ = contracting_ventricles(
        domain, rule(domain), tissue, formulation=P1_P1,
        reference=Unloaded.sought(domain, P1_P1, loaded_fibres=True),
        tolerances=Tolerances(increment=1e-10),
    )  # fmt: skip
    loop = ClosedLoop.regazzoni_2022(400.0)
    heart = Electromechanics(
        ep, mechanics, muscle, loop, loop.rest(),
        refinement=refinement, feedback=feedback, steps=steps,
    )  # fmt: skip
    if filled:
        heart.fill(PRESSURES)
    heart.fit_loop(loop.rest())
    return heart
