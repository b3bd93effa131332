"""The verification problems of electrophysiology; each imports what it needs when it is run."""

from __future__ import annotations

import math
from dataclasses import replace

from mpi4py import MPI

from organtwin.parallel import on_root
from organtwin.verify.problem import Problem, shared_file
from organtwin.verify.record import Record, Sense

PATHMANATHAN = "Pathmanathan & Gray (2014), Int. J. Numer. Meth. Biomed. Eng. 30:525-544"
NIEDERER = "problem of Niederer et al. (2011), limit of docs/choose-a-tissue-model.md"
#: Activation of P8 in the limit of fine meshes and short steps (ms), to 0.3 ms.
P8 = 42.6


def _action_potential(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.cells import REFERENCES, paced

    records = []
    for name, reference in REFERENCES.items():
        if quick and name != "ten_tusscher_2006_endo":
            continue
        # On one rank: the kernel is compiled there, and a cell can't be shared.
        cell = on_root(comm, lambda name=name: paced(name, 5 if quick else None))  # type: ignore[misc]
        quantities = (
            ("resting potential", cell.rest, "mV", reference.rest),
            ("peak", cell.peak, "mV", reference.peak),
            ("steepest rise", cell.upstroke, "mV/ms", reference.upstroke),
            ("APD90", cell.apd90, "ms", reference.apd90),
        )
        records += [
            Record("action_potential", f"{what}, {name}", value, unit, known,
                   (0.03 if quick else 0.01) * abs(known), reference.source)
            for what, value, unit, known in quantities
            if known is not None
        ]  # fmt: skip
    return records


def _monodomain_order(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.electrophysiology.diffusion import Mass
    from organtwin.electrophysiology.reaction_diffusion import Splitting
    from organtwin.verify.electrophysiology import NODAL, manufactured

    n = 8 if quick else 16
    name, records = "manufactured_monodomain", []
    for mass in Mass:
        scheme = replace(NODAL, mass=mass)
        coarse, fine = (manufactured(comm, m, scheme=scheme)[0] for m in (n, 2 * n))
        quantity = f"order in space of v, L2, {mass} mass"
        records.append(
            Record(name, quantity, math.log2(coarse / fine), "1", 2.0, 0.1, PATHMANATHAN,
                   Sense.AT_LEAST)
        )  # fmt: skip
    quadratic = replace(NODAL, mass=Mass.CONSISTENT)
    coarse, fine = (manufactured(comm, m, degree=2, scheme=quadratic, steps=400)[0] for m in (4, 8))
    quantity = "order in space of v, L2, quadratic elements"
    records.append(
        Record(name, quantity, math.log2(coarse / fine), "1", 3.0, 0.2, PATHMANATHAN,
               Sense.AT_LEAST)
    )  # fmt: skip
    for splitting, theta, order in ((Splitting.GODUNOV, 1.0, 1.0), (Splitting.STRANG, 0.5, 2.0)):
        scheme = replace(quadratic, splitting=splitting, theta=theta)
        slow, fast = (
            manufactured(comm, 32, dim=1, degree=2, scheme=scheme, steps=steps, t_end=1.0)[0]
            for steps in (4, 8)
        )
        quantity = f"order in time of v, {splitting} splitting, theta {theta:g}"
        records.append(
            Record(name, quantity, math.log2(slow / fast), "1", order, 0.15, PATHMANATHAN)
        )
    return records


def _bidomain_order(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.electrophysiology import Equations, manufactured

    n = 8 if quick else 16
    records = []
    for equations, dim in ((Equations.BIDOMAIN, 2), (Equations.BATH, 1)):
        coarse, fine = (manufactured(comm, m, dim=dim, equations=equations) for m in (n, 2 * n))
        records += [
            Record("manufactured_bidomain", f"order in space of {potential}, L2, {equations}",
                   math.log2(a / b), "1", 2.0, 0.1, PATHMANATHAN, Sense.AT_LEAST)
            for potential, a, b in zip(("v", "phi_e"), coarse, fine, strict=True)
        ]  # fmt: skip
    return records


def _plane_wave(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.electrophysiology.diffusion import Mass
    from organtwin.verify.electrophysiology import plane_wave

    h = 0.16 if quick else 0.08
    tolerance = 0.03 if quick else 0.01
    source = "one-dimensional central differences, h = 0.025 mm"
    return [
        Record("conduction_velocity", f"velocity of a plane wave, {mass} mass",
               plane_wave(comm, h, mass=mass), "mm/ms", 0.612, tolerance, source)
        for mass in (Mass.CONSISTENT, Mass.LUMPED)
    ]  # fmt: skip


def _anisotropic_velocity(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.electrophysiology.reaction_diffusion import COARSE, Discretisation
    from organtwin.verify.anisotropy import ACROSS, ALONG, Velocities, tuned, untuned

    name, h = "anisotropic_velocity", 0.25
    wanted = Velocities(0.6, 0.3)
    # Two Delaunay meshes of one size differ by some per cent across the fibres.
    meshes = (("this mesh", 0.03), ("another mesh of its size", 0.06))
    records = [
        Record(name, f"{where} on {bar}, tuned, {h:g} mm", value, "mm/ms", target,
               tolerance * target, "wanted velocity")
        for found, (bar, tolerance) in zip(
            tuned(comm, h, wanted, Discretisation()), meshes, strict=True
        )
        for where, value, target in (
            ("along the fibres", found.along, wanted.along),
            ("across the fibres", found.across, wanted.across),
        )
    ]  # fmt: skip
    # Bounds are what the schemes measured with a margin: these say what to expect without tuning.
    bounds = {"default": (Discretisation(), 0.10, 0.30)}
    if not quick:
        bounds["coarse"] = (COARSE, 0.06, 0.60)
    for scheme, (discretisation, along, across) in bounds.items():
        found = untuned(comm, h, discretisation)
        records += [
            Record(name, f"error {where}, untuned, {scheme} scheme, {h:g} mm",
                   abs(value / limit - 1), "1", 0.0, bound, "one-dimensional limit", Sense.AT_MOST)
            for where, value, limit, bound in (
                ("along the fibres", found.along, ALONG, along),
                ("across the fibres", found.across, ACROSS, across),
            )
        ]  # fmt: skip
    return records


def _niederer(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.niederer import BY_NAME, DEFAULT, activation, extrapolated

    def p8(name: str, h: float) -> float:
        return float(activation(comm, h, BY_NAME[name], 0.05)[7])

    name = "niederer_2011"
    coarse = p8(DEFAULT.name, 0.5)
    quantity = "P8, default scheme, h = 0.5 mm"
    records = [Record(name, quantity, coarse, "ms", P8, 0.10 * P8, NIEDERER)]
    if quick:
        return records
    fine = p8(DEFAULT.name, 0.2)
    quantity = "P8, default scheme, h = 0.2 mm"
    records.append(Record(name, quantity, fine, "ms", P8, 0.03 * P8, NIEDERER))
    above, below = (
        extrapolated(p8(scheme, 0.1), p8(scheme, 0.2))
        for scheme in ("P1 lumped, ICI", "P1 consistent, SVI")
    )
    quantity = "P8 for h -> 0, lumped ICI from above against consistent SVI from below"
    records.append(Record(name, quantity, above, "ms", below, 0.01 * below, "each other"))
    # Steps of 0.05 ms make both late.
    quantity = "P8 for h -> 0, lumped ICI, steps of 0.05 ms"
    records.append(Record(name, quantity, above, "ms", P8, 0.03 * P8, NIEDERER))
    return records


def _rank_invariance(comm: MPI.Comm, quick: bool) -> list[Record]:
    import numpy as np

    from organtwin.verify.niederer import DEFAULT, activation

    h = 0.5 if quick else 0.25
    together, alone = (activation(c, h, DEFAULT, 0.05) for c in (comm, MPI.COMM_SELF))
    quantity = "activation of the slab on all ranks against one, largest difference"
    source = "one rank" if comm.size > 1 else "itself: start it with mpirun to learn more"
    difference = float(np.abs(together - alone).max())
    return [Record("rank_invariance", quantity, difference, "ms", 0.0, 1e-4, source, Sense.AT_MOST)]


def _spiral(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.reentry import Slab, run, spiral

    name, slab, end = "spiral_wave", Slab(h=1.0) if quick else Slab(), 600.0 if quick else 2000.0
    activity = run(spiral(comm, slab, end), end)
    low, high = activity.cycle_length_range
    # What it takes is our own: published ones are of other slabs.
    source = "a spiral that goes on"
    return [
        Record(name, f"last activation in {end:g} ms", activity.last_activation, "ms", end, 10.0,
               source),
        Record(name, "filaments at the end", float(activity.rotors[-1]), "1", 1.0, 0.0, source),
        Record(name, "spread of the cycle length, 5 to 95 %, over its median",
               (high - low) / activity.cycle_length, "1", 0.0, 0.5, source, Sense.AT_MOST),
    ]  # fmt: skip


def _eikonal(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify import eikonal

    name, n = "eikonal", 8 if quick else 16
    plane = eikonal.plane_wave(comm, n)
    coarse, fine = (eikonal.point_source(comm, m, radius=4.0) for m in (n, 2 * n))
    return [
        Record(name, "plane wave in irregular anisotropic cells, largest error", plane.largest,
               "ms", 0.0, 1e-9, "T = k x", Sense.AT_MOST),
        Record(name, "order of the mean error, point source", math.log2(coarse.mean / fine.mean),
               "1", 1.0, 0.1, "t = sqrt(d D^-1 d)", Sense.AT_LEAST),
    ]  # fmt: skip


def _electrocardiogram(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify import ecg

    name, n = "electrocardiogram", 8 if quick else 16
    coarse, fine = (ecg.pseudo_ecg(comm, m) for m in (n, 2 * n))
    records = [
        Record(name, "order of the pseudo-ECG", math.log2(coarse / fine), "1", 2.0, 0.15,
               "Gauss quadrature of order 96", Sense.AT_LEAST)
    ]  # fmt: skip
    size = 10.0 if quick else 5.0
    for what, direction in (("radial", (1.0, 0.0, 0.0)), ("tangential", (0.0, 1.0, 0.0))):
        with shared_file(comm, "sphere.msh") as file:
            found = ecg.sphere(comm, file, size=size, direction=direction)
        records += [
            Record(name, f"{what} dipole in a sphere, error on the surface, L2", found.surface,
                   "1", 0.0, 0.05 if quick else 0.01, "closed form", Sense.AT_MOST),
            Record(name, f"lead field against direct solution, {what} dipole", found.reciprocity,
                   "1", 0.0, 1e-8, "reciprocity", Sense.AT_MOST),
        ]  # fmt: skip
    return records


def _fidelities(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.case.build import mean_edge
    from organtwin.cells.kernel import compile_kernel
    from organtwin.cells.model import CellModel
    from organtwin.cells.pacing import pace
    from organtwin.electrophysiology.eikonal import Velocity
    from organtwin.electrophysiology.reaction_diffusion import Discretisation, TimeSteps
    from organtwin.electrophysiology.stimulus import Balls, Stimulus
    from organtwin.electrophysiology.tissue import Model
    from organtwin.verify.biventricle import ventricles
    from organtwin.verify.fidelities import compare, heart, tuned

    # Small hearts, of a rat and of a mouse: their meshes are fine enough for the monodomain.
    refinements, scale = (1, 0.12) if quick else (2, 0.25)
    with shared_file(comm, "heart.msh") as file:
        found = ventricles(comm, file, size=7.0, refinements=refinements, scale=scale)
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_endo"), comm)
    cell = on_root(comm, lambda: pace(kernel, cycle_length=800.0, beats=5))
    velocity, scheme = Velocity(0.6, 0.3, 0.3, 1.0), Discretisation()
    h = mean_edge(found.domain)
    sigma = tuned(kernel, cell, velocity, h, scheme=scheme, dt=0.1, comm=comm)
    early = Stimulus(Balls(found.sites, radius=1.5))
    tissue = heart(found.domain, found.directions, kernel, cell, [early], velocity, sigma)
    compared = compare(tissue, scheme=scheme, steps=TimeSteps(shortest=0.1))
    # Bounds are what the models measured with a margin: none has a published one.
    errors = dict.fromkeys(Model, 2.0) | {Model.MONODOMAIN: 0.5, Model.PSEUDO_BIDOMAIN: 0.5}
    costs = {
        Model.EIKONAL: 0.2, Model.REACTION_EIKONAL: 2.0, Model.REACTION_EIKONAL_DIFFUSION: 4.0,
        Model.PSEUDO_BIDOMAIN: 4.0, Model.BIDOMAIN: 40.0,
    }  # fmt: skip
    return [
        Record("fidelities", f"{f.model}: {what}", value, unit, 0.0, bound,
               f"{other} on the same mesh", Sense.AT_MOST)
        for f in compared
        for what, value, unit, bound, other in (
            ("activation sequence, RMS error", f.spread, "ms", errors[f.model], Model.BIDOMAIN),
            ("CPU time", f.ratio, "s/s", costs.get(f.model, 1.0), Model.MONODOMAIN),
        )
        if f.model is not other
    ]  # fmt: skip


def _scar(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.biventricle import ventricles
    from organtwin.verify.scar import Protocol, stimulated

    with shared_file(comm, "heart.msh") as file:
        heart = ventricles(comm, file, size=7.0, refinements=2)
    early = Protocol(followed=600.0 if quick else 2000.0)
    late = replace(early, s2=340.0)
    end = early.s2 + early.followed
    induced = stimulated(heart, protocol=early)
    low, high = induced.cycle_length_range
    name, source = "scar_reentry", "a wave that goes on"
    records = [
        Record(name, f"last activation in {end:g} ms, S2 at {early.s2:g} ms",
               induced.last_activation, "ms", end, 10.0, source),
        Record(name, "spread of the cycle length, 5 to 95 %, over its median",
               (high - low) / induced.cycle_length, "1", 0.0, 0.5, source, Sense.AT_MOST),
    ]  # fmt: skip
    for what, protocol, ablated in (
        (f"S2 at {late.s2:g} ms", late, False),
        (f"S2 at {early.s2:g} ms, isthmus ablated", early, True),
    ):
        died = stimulated(heart, protocol=protocol, ablated=ablated)
        # What a wave that dies out takes at most.
        records.append(
            Record(name, f"last activation, {what}", died.last_activation, "ms",
                   protocol.s2, 450.0, "a wave that dies out", Sense.AT_MOST)
        )  # fmt: skip
    return records


ELECTROPHYSIOLOGY = (
    Problem("action_potential", "ionic models at 1 Hz", _action_potential),
    Problem("manufactured_monodomain", "orders of the monodomain solver in space and time",
            _monodomain_order),
    Problem("manufactured_bidomain", "order of the bidomain solver, and with a bath",
            _bidomain_order),
    Problem("conduction_velocity", "plane wave in human myocardium", _plane_wave),
    Problem("anisotropic_velocity", "plane waves along and across fibres on a Delaunay mesh",
            _anisotropic_velocity),
    Problem("niederer_2011", "activation of a slab, converged from both sides", _niederer),
    Problem("rank_invariance", "one wave on all ranks and on one", _rank_invariance),
    Problem("spiral_wave", "reentry on a slab for two seconds", _spiral),
    Problem("eikonal", "arrival times against exact ones", _eikonal),
    Problem("fidelities", "activation of both ventricles by each tissue model", _fidelities),
    Problem("scar_reentry", "tachycardia of scarred ventricles for two seconds, and its ablation",
            _scar),
    Problem("electrocardiogram", "pseudo-ECG, dipole in a sphere, lead fields", _electrocardiogram),
)  # fmt: skip
