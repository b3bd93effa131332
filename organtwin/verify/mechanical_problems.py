"""Verification problems of tissue mechanics; each imports what it needs when it is run."""

from __future__ import annotations

import math
from collections.abc import Callable

from mpi4py import MPI

from organtwin.verify.problem import Problem, shared_file
from organtwin.verify.record import Record, Sense

LAND = "Land et al. (2015), Proc. R. Soc. A 471:20150641"


def _solid_orders(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.mechanics import manufactured_solid

    n = 4 if quick else 6
    coarse, fine = manufactured_solid(comm, n), manufactured_solid(comm, 2 * n)
    orders = [math.log2(a / b) for a, b in zip(coarse, fine, strict=True)]
    names = ("displacement, L2", "displacement gradient, L2", "pressure, L2")
    source = "approximation order of Taylor-Hood elements"
    return [
        Record("manufactured_solid", f"order of the {name}", order, "1", ideal, 0.2, source,
               Sense.AT_LEAST)
        for name, order, ideal in zip(names, orders, (3.0, 2.0, 2.0), strict=True)
    ]  # fmt: skip


def _land_1(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.land import land_problem_1

    height = land_problem_1(comm, (12, 2, 2) if quick else (24, 4, 4))
    tolerance = 0.08 if quick else 0.03
    return [
        Record("land_problem_1", "deflected end of the beam", height, "mm", 4.17, tolerance, LAND)
    ]


def _land_2(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.ellipsoid import Grid
    from organtwin.verify.land import land_problem_2

    grid = Grid(size=3.0, apex=2.0, layers=1) if quick else Grid(size=3.0, apex=1.5, layers=3)
    found = land_problem_2(comm, grid)
    return _apex("land_problem_2", found, (-26.606, -28.273), 0.3 if quick else 0.08)


def _land_3(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.ellipsoid import Grid
    from organtwin.verify.land import land_problem_3

    grid = Grid(size=3.5, apex=0.6, layers=3) if quick else Grid(size=3.0, apex=0.4, layers=5)
    found = land_problem_3(comm, grid)
    return _apex("land_problem_3", found, (-12.4, -15.5), 0.15)


def _apex(
    name: str, found: dict[str, float], heights: tuple[float, float], tolerance: float
) -> list[Record]:
    source = f"{LAND}; axisymmetric Q2-P1 solution"
    return [
        Record(name, f"apex, {side}", found[side], "mm", reference, tolerance, source)
        for side, reference in zip(("endocardium", "epicardium"), heights, strict=True)
    ]


def _material_laws(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.material_laws import consistencies

    source = "P = dΨ/dF; tangent dP/dF by central differences; P(QF) = Q P(F)"
    return [
        Record("material_laws", f"{law}: off by at most", found.largest,
               "1", 0.0, 1e-7, source, Sense.AT_MOST)
        for law, found in consistencies().items()
    ]  # fmt: skip


def _artery_inflation(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify import material_laws as laws

    source = "closed form of the stress difference, adaptive quadrature"
    tubes = {"artery of two layers": (laws.CAROTID, laws.CAROTID_PRESSURES),
             "rubber tube": (laws.RUBBER_TUBE, laws.RUBBER_PRESSURES)}  # fmt: skip
    return [
        Record("artery_inflation", f"{tube}, inner radius {radius} mm, axial stretch {stretch}",
               pressure, "kPa", reference, 2e-6, source)
        for tube, (layers, table) in tubes.items()
        for radius, stretch, pressure, reference in laws.tube_errors(layers, table)
        if stretch == 1.5  # the tests have the others
    ]  # fmt: skip


def _unloaded_ventricle(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify import unloaded

    name, source = "unloaded_ventricle", "the shape that was inflated"
    with shared_file(comm, "ellipsoid.msh") as file:
        found = unloaded.recovered_ventricle(comm, file, size=5.0 if quick else 3.0)
    with shared_file(comm, "octant.msh") as file:
        shrunk = unloaded.shrunk_sphere(comm, file, size=8.0 if quick else 3.0)
    formula, tolerance = unloaded.shrinkage(), 1e-3 if quick else 1e-4
    return [
        Record(name, "displacement by the inverse problem, relative error", found.direct, "1",
               0.0, 1e-6, source, Sense.AT_MOST),
        Record(name, "displacement by the fixed point, relative error", found.fixed_point, "1",
               0.0, 1e-5, source, Sense.AT_MOST),
        Record(name, "distance to the image after loading again", found.resolved, "mm",
               0.0, 1e-6, "the image", Sense.AT_MOST),
        Record(name, "deformation carried by the prestressed image, relative error",
               found.prestressed, "1", 0.0, 0.07, f"{source}; not exact by its nature",
               Sense.AT_MOST),
        Record(name, "hollow sphere, inner face", shrunk, "mm", formula, tolerance,
               "incompressible sphere, by quadrature"),
        Record(name, "hollow sphere, inner face", shrunk, "mm", -0.84252, max(tolerance, 2e-4),
               "test solid_sphere_inverse of the code ambit, |u| of the node it checks"),
    ]  # fmt: skip


def _arostica(case: str) -> Callable[[MPI.Comm, bool], list[Record]]:
    def compute(comm: MPI.Comm, quick: bool) -> list[Record]:
        from organtwin.verify.arostica import verification

        with shared_file(comm, "heart.msh") as file:
            return verification(comm, file, case, quick=quick)

    return compute


def _viscoelasticity(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.inelastic import creep, relaxation

    name, source = "viscoelasticity", "closed form of the generalised Maxwell body"
    return [
        Record(name, "held stretch, largest error over the elastic tension", relaxation(comm), "1",
               0.0, 1e-8, source, Sense.AT_MOST),
        Record(name, "creep, largest error over the final strain", creep(comm), "1",
               0.0, 2e-4, source, Sense.AT_MOST),
    ]  # fmt: skip


def _nitinol_loop(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.inelastic import nitinol_records

    return nitinol_records(comm)


def _plastic_tube(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.inelastic import FRONTS, plastic_tube

    off = plastic_tube(comm, 4 if quick else 8)
    tolerance = 0.01 if quick else 0.0025
    return [
        Record("plastic_tube", f"outer displacement over the exact one, plastic to {c} mm",
               1 + float(error), "1", 1.0, tolerance, "Hill (1950), closed form, plane strain")
        for c, error in zip(FRONTS, off, strict=True)
    ]  # fmt: skip


def _cook_plastic(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.inelastic import cook_plastic

    top = cook_plastic(comm, 8 if quick else 16)
    source = "Simo & Armero (1992) 6.97, Abaqus with 36864 cells 6.90, both as in solids4foam"
    return [
        Record("cook_plastic", "upper corner moves up by", top, "mm", 6.935,
               0.2 if quick else 0.07, source)
    ]  # fmt: skip


def _growth(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.inelastic import growth_records

    return growth_records(comm, quick=quick)


def _patch_test(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.mechanics.formulation import FORMULATIONS
    from organtwin.verify.solids import patch_test

    names = ("P1-P1", "P1") if quick else tuple(FORMULATIONS)
    source = "a homogeneous deformation is in every space"
    return [
        Record("patch_test", f"{name}, largest relative error", error, "1", 0.0, 1e-11, source,
               Sense.AT_MOST)
        for name, error in ((name, patch_test(comm, FORMULATIONS[name])) for name in names)
    ]  # fmt: skip


def _formulation_orders(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.solids import formulation_orders

    fields = ("displacement, L2", "displacement gradient, L2", "pressure, L2")
    source = "approximation order of the elements"
    return [
        Record("formulation_orders", f"{name}, {field}", order, "1", ideal, 0.25, source,
               Sense.AT_LEAST)
        for name, orders, ideals in formulation_orders(comm, quick=quick)
        for field, order, ideal in zip(fields, orders, ideals, strict=True)
    ]  # fmt: skip


def _cook_membrane(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.solids import COOK, COOK_OGS, cook_like_opengeosys, cook_membrane

    name, source = "cook_membrane", "ours, Q2-DPC1 48x48"
    found = cook_membrane(comm, quick=quick)
    locked = found.pop("P1")
    tip = cook_like_opengeosys(comm, 8 if quick else 16)
    return [
        Record(name, "Q2-DPC1, Poisson's ratio 0.499: tip moves up by", tip, "mm", COOK_OGS, 0.05,
               "OpenGeoSys, its benchmark CooksMembrane: F-bar elements, 30 x 30"),
        *(
            Record(name, f"agreement between formulations, {elements}: tip moves up by", tip, "mm",
                   COOK, tolerance, source)
            for elements, (tip, tolerance) in found.items()
        ),
        Record(name, "P1 locks: tip moves up by", locked[0], "mm", COOK / 2, 0.0, source,
               Sense.AT_MOST),
    ]  # fmt: skip


def _sphere_inflation(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.solids import sphere_inflation

    stretches = (1.1, 1.2) if quick else (1.1, 1.2, 1.3)
    with shared_file(comm, "sphere.msh") as file:
        found = sphere_inflation(comm, file, stretches, size=4.0 if quick else 2.0)
    source = "closed form: pressure of a thick incompressible neo-Hookean sphere"
    return [
        Record("sphere_inflation", "inner stretch under its pressure", value, "1", stretch,
               0.002 if quick else 0.0004, source)
        for stretch, value in zip(stretches, found, strict=True)
    ]  # fmt: skip


def _motion(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.solids import SCHEMES, energy_drift, motion_orders

    name, energy = "motion", "conservation of energy"
    drift = energy_drift(comm, steps=1000)
    records = [
        Record(name, "Newmark, largest change of energy in 1000 steps", drift["newmark"], "1",
               0.0, 2e-4, energy, Sense.AT_MOST),
        Record(name, "generalised-alpha (0.8), energy gained in 1000 steps", drift["gained"], "1",
               0.0, 1e-9, energy, Sense.AT_MOST),
        Record(name, "generalised-alpha (0.8), energy lost in 1000 steps", drift["lost"], "1",
               0.0, 5e-4, energy, Sense.AT_MOST),
    ]  # fmt: skip
    source = "Chung & Hulbert (1993): second order"
    return records + [
        Record(name, f"order of {scheme}, {elements}", order, "1", 2.0, 0.1, source)
        for (scheme, elements), order in motion_orders(comm, SCHEMES, quick=quick).items()
    ]


def _hertz(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.contact import hertz_deformable_sphere, hertz_rigid_sphere

    tolerance = 0.05 if quick else 0.03
    spheres = (
        ("rigid sphere", hertz_rigid_sphere, 0.25, 0.15),
        ("deformable sphere", hertz_deformable_sphere, 0.125, 0.08),
    )
    records = []
    for name, solve, coarse, fine in spheres:
        with shared_file(comm, "hertz.msh") as file:
            found = solve(comm, file, coarse if quick else fine)
        for quantity, value in (("peak pressure", found.field), ("contact radius", found.radius)):
            records.append(
                Record("hertz_contact", f"{name}: {quantity} over Hertz's", value, "1", 1.0,
                       tolerance, "Hertz (1882), closed form for the computed force")
            )  # fmt: skip
    return records


def _contact_patch(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.contact import contact_patch

    name, source = "contact_patch", "uniform stress"
    cases = (
        ("contact, degree 4", {"degree": 4}, 0.02, 0.35),
        ("contact, degree 4, two passes", {"degree": 4, "two_pass": True}, 0.01, 0.35),
        ("contact, degree 12", {"degree": 12}, 3e-3, 0.1),
        ("tie", {"tied": True}, 1e-9, 1e-9),
    )
    records = []
    for case, options, limit, uneven in cases:
        with shared_file(comm, "blocks.msh") as file:
            found = contact_patch(comm, file, **options)
        records += [
            Record(name, f"{case}: error of the stress in L²", found.stress, "1", 0.0, limit,
                   source, Sense.AT_MOST),
            Record(name, f"{case}: force over load", found.force, "1", 1.0, 1e-6, "equilibrium"),
            Record(name, f"{case}: largest jump over load/ε", found.jump, "1", 1.0, uneven,
                   source),
        ]  # fmt: skip
    return records


def _curved_contact_patch(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.curved_contact import curved_patch

    name, source = "curved_contact_patch", "Lamé's tube"
    cases = [("edges of 1 mm, degree 4", 1.0, 4, 0.01, 5e-3, 0.15)]
    if not quick:
        cases.append(("edges of 0.5 mm, degree 12", 0.5, 12, 5e-3, 1e-3, 0.02))
    records = []
    for case, size, degree, limit, stress, uneven in cases:
        with shared_file(comm, "tubes.msh") as file:
            found = curved_patch(comm, file, size, degree=degree)
        records += [
            Record(name, f"{case}: mean pressure over Lamé's", found.pressure, "1", 1.0, limit,
                   source),
            Record(name, f"{case}: scatter of the pressure", found.scatter, "1", 0.0, uneven,
                   source, Sense.AT_MOST),
            Record(name, f"{case}: error of the stress in L²", found.stress, "1", 0.0, stress,
                   source, Sense.AT_MOST),
        ]  # fmt: skip
    return records


def _ironing(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.contact import ironing

    size, steps = (0.2, 8) if quick else (0.15, 16)
    records = []
    for friction in (0.0, 0.2):
        with shared_file(comm, "iron.msh") as file:
            found = ironing(comm, file, size=size, steps=steps, friction=friction)
        drag, kind = float((found.tangential / found.normal).max()), f"μ = {friction:g}"
        records += [
            Record("ironing", f"{kind}: normal force departs from a smooth curve by", found.ripple,
                   "1", 0.0, 0.01, "a long smooth block", Sense.AT_MOST),
            Record("ironing", f"{kind}: largest tangential over normal force", drag, "1", friction,
                   0.01, "Coulomb's law"),
        ]  # fmt: skip
    return records


def _friction(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.contact import roller, sliding_block

    name, source = "friction", "Coulomb's law"
    block = sliding_block(comm, n=2 if quick else 4)
    skids, rolls = (roller(comm, n=4, rolls=turns) for turns in (False, True))
    return [
        Record(name, "sliding block: T/μN", float(block.ratio[-1]), "1", 1.0, 1e-3, source),
        Record(name, "sticking block, first step: T/μN", float(block.ratio[0]), "1", 0.9, 0.0,
               "less than the limit", Sense.AT_MOST),
        Record(name, "skidding roller: T/μN", float(skids.ratio[-1]), "1", 1.0, 0.05, source),
        Record(name, "rolling roller: |T|/μN", float(abs(rolls.ratio[-1])), "1", 0.0, 0.15,
               "rolls without force but for its creep", Sense.AT_MOST),
        Record(name, "rolling roller: share that sticks", float(rolls.sticking[-1]), "1", 0.7, 0.0,
               "most of it", Sense.AT_LEAST),
    ]  # fmt: skip


def _press_fit(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.bone_mechanics import press_fit

    with shared_file(comm, "rings.msh") as file:
        found = press_fit(comm, file, 1.5 if quick else 1.0)
    source = "Lame's solution of two rings, plane strain"
    return [
        Record("press_fit", f"{name} over Lame's", value, "1", 1.0, 0.005, source)
        for name, value in (("pressure", found.pressure), ("hoop stress", found.hoop))
    ]


def _bolt_preload(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.verify.bone_mechanics import bolt_preload

    with shared_file(comm, "joint.msh") as file:
        found = bolt_preload(comm, file, 2.5 if quick else 1.5)
    source = "stiffnesses of bar and sleeve in series and in parallel"
    return [
        Record("bolt_preload", f"{name}, over the closed form", value, "1", 1.0, 0.005, source)
        for name, value in (
            ("clamping force", found.clamping), ("bolt's share of a pull", found.share)
        )
    ]  # fmt: skip


def _error_estimate(comm: MPI.Comm, quick: bool) -> list[Record]:
    from organtwin.mechanics.formulation import PENALTY, PENALTY_P1
    from organtwin.verify.bone_mechanics import error_estimate

    cases = ((PENALTY_P1, 6 if quick else 12, 0.1), (PENALTY, 4 if quick else 8, 0.05))
    return [
        Record("error_estimate", f"{elements.name}: estimated over true error",
               error_estimate(comm, n, elements), "1", 1.0, tolerance,
               "displacement that is known")
        for elements, n, tolerance in cases
    ]  # fmt: skip


MECHANICS = (
    Problem("manufactured_solid", "orders of the finite-strain solver", _solid_orders),
    Problem("land_problem_1", "bending beam under follower pressure", _land_1),
    Problem("land_problem_2", "inflation of an idealised ventricle to 10 kPa", _land_2),
    Problem("land_problem_3", "contraction of an idealised ventricle against 15 kPa", _land_3),
    Problem("material_laws", "consistency of every elastic law", _material_laws),
    Problem("artery_inflation", "pressure in a layered tube at a given radius", _artery_inflation),
    Problem("unloaded_ventricle", "shapes found again without their load", _unloaded_ventricle),
    Problem("arostica_lv_active", "a contracting ventricle over a beat", _arostica("0A")),
    Problem("arostica_lv_passive", "a ventricle under the pressure of a beat", _arostica("0B")),
    Problem("arostica_lv", "a contracting ventricle under pressure", _arostica("1")),
    Problem("arostica_biv", "two contracting ventricles under pressure", _arostica("biv")),
    Problem("viscoelasticity", "relaxation and creep against closed forms", _viscoelasticity),
    Problem("nitinol_loop", "superelastic loop and its plateau stresses", _nitinol_loop),
    Problem("plastic_tube", "thick tube of metal that yields from inside", _plastic_tube),
    Problem("cook_plastic", "Cook's membrane of hardening metal", _cook_plastic),
    Problem("growth", "cubes and multipliers of growing tissue", _growth),
    Problem("patch_test", "homogeneous deformation in every formulation", _patch_test),
    Problem("formulation_orders", "orders of every formulation", _formulation_orders),
    Problem("cook_membrane", "incompressible panel: no locking", _cook_membrane),
    Problem("sphere_inflation", "thick neo-Hookean sphere against its formula", _sphere_inflation),
    Problem("motion", "energy and order of the schemes in time", _motion),
    Problem("hertz_contact", "spheres in contact with a plane", _hertz),
    Problem("contact_patch", "uniform stress through meshes that do not match", _contact_patch),
    Problem(
        "curved_contact_patch", "tubes in each other, meshes do not match", _curved_contact_patch
    ),
    Problem("ironing", "a soft iron slides over a soft board", _ironing),
    Problem("friction", "Coulomb's limit of a block and of a roller", _friction),
    Problem("press_fit", "two rings with an interference, tied", _press_fit),
    Problem("bolt_preload", "clamping force and load share of a bolt", _bolt_preload),
    Problem("error_estimate", "estimated error in the energy norm", _error_estimate),
)
