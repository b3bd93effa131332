"""Sections of struts and the metals of their fibres."""

import numpy as np
import pytest
from scipy.integrate import quad

from organtwin.devices.fibre_laws import (
    ElasticFibre,
    PlasticFibre,
    SuperelasticFibre,
    cobalt_chromium,
)
from organtwin.devices.section import Circle, FibreSection, Rectangle
from organtwin.errors import InputError
from organtwin.materials.nitinol import Nitinol, asymmetry
from organtwin.materials.plastic import J2Plasticity
from organtwin.verify import beams
from organtwin.verify.inelastic import nitinol_curve

STENT = Nitinol.stent()
ASYMMETRIC = Nitinol(52.65e6, 38.25e6, 0.33, 0.06, 385e3, 460e3, 200e3, 180e3, asymmetry(385, 500))
VOCE = PlasticFibre(
    J2Plasticity.from_engineering(
        200e6, 0.3, 300e3, hardening=1e6, saturation_stress=500e3, saturation_rate=20.0
    )
)
LAWS = {
    "elastic": ElasticFibre(1e6),
    "cobalt–chromium": cobalt_chromium(),
    "Voce": VOCE,
    "Nitinol": SuperelasticFibre(STENT),
    "Nitinol, asymmetric": SuperelasticFibre(ASYMMETRIC),
}
WAY = np.concatenate([
    np.linspace(0, 0.085, 18), np.linspace(0.08, -0.06, 29), np.linspace(-0.055, 0.045, 21),
    np.linspace(0.04, 0.02, 5), np.linspace(0.025, 0.06, 8),
])  # fmt: skip


@pytest.mark.parametrize("name", LAWS)
def test_tangent_is_the_derivative_of_the_step(name):
    law, h = LAWS[name], 1e-7
    history, checked = law.start((1,)), 0
    for strain in WAY:
        step = law.step(np.array([strain]), history)
        near = [law.step(np.array([strain + s * h]), history) for s in (1, -1)]
        slope = (near[0].stress - near[1].stress) / (2 * h)
        sides = [abs(n.tangent[0] / step.tangent[0] - 1) for n in near]
        if max(sides) < 1e-3:  # not at a corner of the law
            assert step.tangent[0] == pytest.approx(slope[0], rel=1e-4)
            checked += 1
        history = step.history
    assert checked > 0.9 * len(WAY)


@pytest.mark.parametrize("name", LAWS)
def test_work_is_stored_or_lost(name):
    """∫ P dε over a way through tension and compression, against the law's own account."""
    law = LAWS[name]
    history, work, before = law.start((1,)), 0.0, (0.0, 0.0)
    fine = np.interp(np.linspace(0, 1, 3001), np.linspace(0, 1, len(WAY)), WAY)
    lost = []
    for strain in fine:
        step = law.step(np.array([strain]), history)
        history = step.history
        work += 0.5 * (before[1] + step.stress[0]) * (strain - before[0])
        before = strain, step.stress[0]
        lost.append(law.energies(history)[1][0])
    elastic, other = law.energies(history)
    assert elastic[0] + other[0] == pytest.approx(work, rel=1e-3)
    if isinstance(law, PlasticFibre):
        assert np.diff(lost).min() >= 0


def test_nitinol_follows_the_law_of_solids():
    law, history = SuperelasticFibre(STENT), SuperelasticFibre(STENT).start((1,))
    for way, loading in ((np.linspace(0, 0.085, 9)[1:], True), (np.linspace(0.08, 0, 9), False)):
        for strain in way:
            step = law.step(np.array([strain]), history)
            history = step.history
            tau = step.stress * (1 + strain)
            closed = nitinol_curve(STENT, tau, loading=loading)
            assert closed[0] == pytest.approx(np.log1p(strain), abs=1e-12)
    assert history["martensite"][0] == 0


def test_nitinol_in_compression():
    """Start stress of 500 MPa, and a transformation strain smaller by the same factor."""
    law = SuperelasticFibre(ASYMMETRIC)
    assert law.asymmetry == pytest.approx(500 / 385)
    history = law.start((1,))
    stresses = []
    for strain in np.linspace(0, -0.08, 400)[1:]:
        step = law.step(np.array([strain]), history)
        history = step.history
        stresses.append((history["martensite"][0], history["stress"][0], history["strain"][0]))
    first = next(s for s in stresses if s[0] > 0)
    assert first[1] == pytest.approx(-500e3, rel=0.02)
    done = next(s for s in stresses if s[0] == 1.0)
    assert done[1] == pytest.approx(-460e3 * 500 / 385, rel=0.01)
    E = ASYMMETRIC.E_martensite
    assert done[2] - done[1] / E == pytest.approx(-0.06 * 385 / 500, rel=1e-9)


def test_steps_do_not_matter_where_the_way_is_straight():
    for law in LAWS.values():
        whole = law.step(np.array([0.05]), law.start((1,))).stress[0]
        history = law.start((1,))
        for strain in np.linspace(0, 0.05, 20)[1:]:
            step = law.step(np.array([strain]), history)
            history = step.history
        assert step.stress[0] == pytest.approx(whole, rel=1e-9)


@pytest.mark.parametrize("shape", [Rectangle(0.4, 0.3), Circle(0.35)])
def test_elastic_section_has_the_stiffness_of_its_shape(shape):
    E = 1e6
    C = FibreSection(shape, ElasticFibre(E, 0.25)).step(np.zeros((1, 6)), {}).tangent[0]
    if isinstance(shape, Rectangle):
        a, b = shape.thickness, shape.width
        inertia = (a * b**3 / 12, a**3 * b / 12)  # about the second, about the third axis
    else:
        inertia = (np.pi * shape.diameter**4 / 64,) * 2
    expected = [E * shape.area, *(k * E / 2.5 * shape.area for k in shape.shear_factors(0.25)),
                E / 2.5 * shape.torsion, E * inertia[0], E * inertia[1]]  # fmt: skip
    assert np.allclose(C, np.diag(expected), rtol=1e-10, atol=1e-6)


def test_torsion_of_rectangles():
    assert Rectangle(1, 1).torsion == pytest.approx(0.1406, abs=1e-4)  # Timoshenko, section 109
    assert Rectangle(1, 10).torsion / 10 == pytest.approx(0.312, abs=1e-3)


def test_plastic_hinge():
    """Ideal plasticity: M = M_p (1 − (y_e/h)²/3), y_e the elastic half depth (small strains)."""
    yield_stress, E, depth, width = 1.0, 1e4, 0.5, 0.2
    law = PlasticFibre(J2Plasticity.from_engineering(E, 0.3, yield_stress))
    plastic = yield_stress * width * depth**2 / 4
    for ratio, tolerance in ((1.5, 0.02), (4.0, 0.02), (20.0, 0.03)):
        curvature = np.zeros((1, 6))
        curvature[0, 5] = ratio * yield_stress / E / (depth / 2)
        for count in (8, 24):
            section = FibreSection(Rectangle(depth, width, count), law)
            moment = section.step(curvature, section.start(1)).resultants[0, 5]
            exact = plastic * (1 - 1 / (3 * ratio**2))
            assert moment == pytest.approx(exact, rel=tolerance * (8 / count))


def test_section_tangent_is_consistent():
    section = FibreSection(Rectangle(0.4, 0.3), SuperelasticFibre(STENT))
    strain = np.array([[0.004, 0.002, -0.001, 0.05, 0.15, -0.11]])
    step, h = section.step(strain, section.start(1)), 1e-8
    for i in range(6):
        d = h * np.eye(6)[i]
        ends = [section.step(strain + s * d, section.start(1)).resultants for s in (1, -1)]
        slope = (ends[0] - ends[1])[0] / (2 * h)
        assert np.allclose(slope, step.tangent[0, :, i], rtol=1e-3, atol=1e-3)


def test_strip_moment_is_what_quadrature_says_for_a_linear_law():
    """The reference of the strip problem, checked below the plateau."""
    found = beams.strip_moment(STENT, 0.3, 0.4, 2 * 0.005 / 0.3)
    E = STENT.E_austenite

    def stress(y):
        e = np.log1p(2 * 0.005 / 0.3 * y)
        return E * e / np.exp(e) * y

    assert found == pytest.approx(0.4 * quad(stress, -0.15, 0.15)[0], rel=1e-3)


@pytest.mark.slow
def test_metals_meet_their_references():
    missed = [r.quantity for r in beams.metal_records(quick=True) if not r.met]
    assert not missed


def test_shapes_refuse_nonsense():
    with pytest.raises(InputError, match="thickness"):
        Rectangle(0.0, 0.3)
    with pytest.raises(InputError, match="diameter"):
        Circle(-1.0)
