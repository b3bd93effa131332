"""Case files: what they say, and what is said about them when they are wrong."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from organtwin.case.build import passive_law
from organtwin.case.load import CaseError, load_case
from organtwin.case.quantities import Unit
from organtwin.case.reference import case_reference
from organtwin.case.schema import Case
from organtwin.case.schema_passive import Guccione, HolzapfelOgden
from organtwin.errors import InputError
from organtwin.materials import guccione as laws
from organtwin.materials.catalogue import LAWS
from organtwin.materials.holzapfel_ogden import HolzapfelOgden as HolzapfelOgdenLaw

ROOT = Path(__file__).parents[2]
MINIMAL = """
[image]
file = "heart.nrrd"
[image.labels]
lv_myocardium = 1
lv_blood = 2
rv_blood = 3
"""


@pytest.fixture
def write(tmp_path):
    """Write a case file beside an image."""
    (tmp_path / "heart.nrrd").touch()

    def to_file(text):
        file = tmp_path / "case.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return to_file


def complaint(file, *overrides):
    with pytest.raises(InputError) as caught:
        load_case(file, overrides)
    return str(caught.value)


def test_demo_case_says_what_the_defaults_say():
    case = load_case(ROOT / "demos/heartbeat/case.toml")
    assert case.mesh.size == 5.0
    assert case.circulation.cycle_length == pytest.approx(800.0)
    assert case.duration == pytest.approx(800.0)
    for section in ("geometry", "mesh", "fibres", "electrophysiology", "mechanics", "run"):
        given, default = getattr(case, section), Case.model_fields[section].default
        assert given.model_dump_json() == default.model_dump_json()
    assert isinstance(case.mechanics.passive, HolzapfelOgden)


def test_minimal_case_has_defaults_and_absolute_paths(write, tmp_path):
    case = load_case(write(MINIMAL))
    assert case.image.file == (tmp_path / "heart.nrrd").resolve()
    assert case.mechanics.active.reference_tension == 220.0


def test_units_are_converted(write):
    text = MINIMAL + '[mechanics.passive]\na = "0.59 mbar"\n[circulation]\nheart_rate = "1.5 Hz"\n'
    case = load_case(write(text))
    assert case.mechanics.passive.a == pytest.approx(0.059)
    assert case.circulation.cycle_length == pytest.approx(1000 / 1.5)


def test_law_chooses_the_section(write):
    case = load_case(write(MINIMAL), ['mechanics.passive={law = "guccione", b_f = 10.0}'])
    assert isinstance(case.mechanics.passive, Guccione)
    assert case.mechanics.passive.b_f == 10.0


@pytest.mark.parametrize(
    ("section", "law"),
    [
        ('law = "guccione"', laws.Guccione(2.0, 8.0, 2.0, 4.0)),
        ("kappa_f = 0.1", replace(HolzapfelOgdenLaw.holzapfel_ogden_2009(), kappa_f=0.1)),
        (
            (
                'law = "usyk", stiffness = "2 kPa", b_f = 8.0, b_s = 6.0, b_n = 3.0, b_fs = 12.0, '
                "b_fn = 3.0, b_sn = 3.0"
            ),
            LAWS["Usyk"],
        ),
        (
            (
                'law = "fung", stiffness = "5 kPa", a_ff = 3.0, a_ss = 2.0, a_nn = 1.0, '
                "a_fs = 0.5, a_fn = 0.2, a_sn = -0.1, b_fs = 1.0, b_fn = 0.8, b_sn = 0.6"
            ),
            LAWS["Fung"],
        ),
        ('law = "neo_hooke", mu = "2 kPa"', LAWS["neo-Hooke"]),
        ('law = "mooney_rivlin", c_1 = "1.5 kPa", c_2 = "0.5 kPa"', LAWS["Mooney-Rivlin"]),
    ],
)
def test_every_law_gets_its_numbers(write, section, law):
    case = load_case(write(MINIMAL), [f"mechanics.passive={{{section}}}"])
    assert passive_law(case.mechanics.passive) == law


def test_image_pressures_are_read_with_their_units(write):
    text = (
        '[mechanics]\nreference_state = "unloaded"\nunloading = "fixed_point"\n'
        '[mechanics.image_pressure]\nlv = "9 mmHg"\nrv = "0.5 kPa"\n'
    )
    pressures = load_case(write(MINIMAL + text)).mechanics.image_pressure
    assert pressures.lv == pytest.approx(9 * 0.133322387415)
    assert pressures.rv == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ('mesh.size="8 mm"', 8.0),
        ("mesh.size=8 mm", 8.0),
        ("mesh.size = 0.6 cm", 6.0),
    ],
)
def test_overrides_take_toml_and_bare_text(write, override, expected):
    assert load_case(write(MINIMAL), [override]).mesh.size == pytest.approx(expected)


def test_resolved_case_reads_back_as_itself(write):
    import tomli_w

    case = load_case(write(MINIMAL), ["circulation.systemic_resistance=1.1 mmHg*s/mL"])
    again = load_case(write(tomli_w.dumps(case.model_dump(mode="json", exclude_none=True))))
    assert again.model_dump_json() == case.model_dump_json()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            '[electrophysiology]\nionc_model = "x"',
            "case.toml, [electrophysiology]: unknown key `ionc_model`. Did you mean `ionic_model`?",
        ),
        ('[mesh]\nsize = "8 s"', 'case.toml, [mesh] size: "8 s" is in s, a length is needed.'),
        ("[mesh]\nsize = 5", 'case.toml, [mesh] size: 5 has no unit. Write for example "5 mm".'),
        ('[mesh]\nsize = "5"', "has no unit"),
        ('[mesh]\nsize = "5 milimetre"', "can't be read as a length"),
        ("[mesh]\nsize = true", "True is not a number with a unit"),
        (
            '[geometry]\nrv_wall_thickness = "-3 mm"',
            '"-3 mm" is not possible: it must be more than 0 mm.',
        ),
        ('[mesh]\nsize = "0 mm"', "must be at least 1.5 mm"),
        ('[mesh]\nsize = "nan mm"', "[mesh] size"),
        ('[fibres]\nalpha_endo = "190 deg"', "must be at most 90 deg"),
        ('[fibres]\nalpha_endo = "60"', "has no unit"),
        ('[fibres]\nrule = "bayr"', 'unknown value "bayr". Did you mean `bayer`?'),
        (
            '[electrophysiology]\nionic_model = "ten_tusscher_2006_end"',
            "no cell model `ten_tusscher_2006_end`. Did you mean `ten_tusscher_2006_endo`?",
        ),
        ("[run]\nbeats = 0", "[run] beats: 0 is not possible: it must be at least 1."),
        ("[run]\nbeats = 1.5", "1.5 is not a whole number"),
        ("[run]\nbeats = true", "True is not a whole number"),
        ("mesh = 3", "3 stands where a section with keys is needed"),
        (
            '[mechanics.passive]\nlaw = "holzapfel"',
            '[mechanics.passive]: unknown law "holzapfel". Did you mean `holzapfel_ogden`?',
        ),
        (
            '[electrophysiology.activation]\nsites = ["lv_septl"]',
            "[electrophysiology.activation] sites, entry 1: unknown value",
        ),
        ("[output]\nformats = []", "at least one value is needed"),
        ('[output]\nfield_interval = "5 ms"', "is no multiple of [mechanics] time_step (2 ms)"),
        (
            '[mechanics]\ntime_step="0.25 ms"\n[electrophysiology]\ntime_step="0.4 ms"',
            "is longer than [mechanics] time_step",
        ),
        ('[electrophysiology]\ntime_step = "0.45 ms"', "must be at most 0.4 ms"),
        ("[electrophysiology]\nsubsteps = 65", "must be at most 64"),
        (
            '[electrophysiology]\nmodel = "eikonal"\n[electrophysiology.layers]',
            'Take model = "reaction_eikonal"',
        ),
        (
            '[electrophysiology.purkinje]\nionic_model = "stewart_2008"',
            "no cell model `stewart_2008`. Did you mean `stewart_2009`?",
        ),
        ('[mechanics.active]\ncross_fibre_fraction = "0.3"', "is not a plain number"),
        ("[mechanics.passive]\nkappa_f = 0.4", "[mechanics.passive] kappa_f: 0.4 is not possible"),
        ('[mechanics.passive]\nlaw = "neo_hook"', "Did you mean `neo_hooke`?"),
        ('[mechanics.passive]\nlaw = "usyk"', "[mechanics.passive]: `stiffness` is missing."),
        (
            (
                '[mechanics.passive]\nlaw = "fung"\nstiffness = "1 kPa"\na_ff = 1.0\na_ss = 1.0\n'
                "a_nn = 1.0\nb_fs = 1.0\nb_fn = 1.0\nb_sn = 1.0\na_fs = -2.0"
            ),
            "is not positive definite",
        ),
        ('[mechanics]\nformulation = "P1"', "linear displacements alone lock"),
        ('[mechanics]\nformulation = "Q2-DPC1"', "the mesh of an image has tetrahedra"),
        ('[mechanics]\nformulation = "P3-P2"', 'unknown value "P3-P2"'),
        ('[mechanics]\nformulation = "P1-P1"', "needs shear_modulus"),
        ("[mechanics]\nshear_modulus = 10", '10 has no unit. Write for example "10 kPa".'),
        ('[mechanics]\nshear_modulus = "0 kPa"', "it must be more than 0 kPa"),
        ('[mechanics]\nreference_state = "unload"', "Did you mean `unloaded`?"),
        (
            '[mechanics.image_pressure]\nlv = "9 mmHg"\nrv = "4 mmHg"',
            'image_pressure has no effect while reference_state = "image"',
        ),
        (
            '[mechanics]\nreference_state = "unloaded"\n[mechanics.image_pressure]\nlv = "9 mmHg"',
            "[mechanics.image_pressure]: `rv` is missing.",
        ),
        (
            '[mechanics]\nreference_state = "prestressed"\nunloading = "fixed_point"',
            'unloading has no effect without reference_state = "unloaded"',
        ),
    ],
)
def test_mistakes_are_named_with_place_and_remedy(write, lines, message):
    # Keys of the top level must come before the first section.
    text = lines + MINIMAL if lines.startswith("mesh =") else MINIMAL + lines
    assert message in complaint(write(text))


def test_all_mistakes_are_told_at_once(write):
    file = write(MINIMAL + '[mesh]\nsize = "5 s"\n[run]\nbeets = 1\n[geometry]\nsmoothing = 1')
    with pytest.raises(CaseError) as caught:
        load_case(file)
    assert len(caught.value.problems) == 3
    assert str(caught.value).startswith("3 problems:")


def test_missing_image_and_labels_are_named(write):
    assert "`image` is missing" in complaint(write('title = "x"'))
    assert 'no such file "other.nrrd"' in complaint(write(MINIMAL.replace("heart", "other")))
    assert "no `rv_blood`" in complaint(write(MINIMAL.replace("rv_blood", "rv_blod")))
    assert "`lv_myocardium` and `lv_blood` are both 1" in complaint(
        write(MINIMAL.replace("lv_blood = 2", "lv_blood = 1"))
    )


def test_broken_toml_is_shown_with_its_line(write):
    message = complaint(write(MINIMAL + "\n[mesh\nsize = 3\n"))
    assert "not valid TOML" in message
    assert "[mesh" in message


def test_missing_case_file_suggests_its_neighbour(write):
    file = write(MINIMAL)
    assert "Did you mean `case.toml`?" in complaint(file.with_name("cas.toml"))
    assert "no such case file" in complaint(file.parent / "nowhere" / "case.toml")


def test_unreadable_case_file(write):
    file = write(MINIMAL)
    file.write_bytes(b"\xff\xfe\x00")
    assert "can't be read as text" in complaint(file)


@pytest.mark.parametrize("override", ["mesh", "=3", "mesh..size=3", "mesh.size.x.y=3"])
def test_malformed_overrides(write, override):
    assert f"--set {override}" in complaint(write(MINIMAL + '[mesh]\nsize = "5 mm"'), override)


def test_wrong_override_names_its_key(write):
    assert "[mechanics.active]: unknown key `refrence_tension`" in complaint(
        write(MINIMAL), "mechanics.active.refrence_tension=1 kPa"
    )


def test_errors_travel_between_ranks():
    error = CaseError(["a: b", "c: d"])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        (Unit("1/ms", "1/min"), 75 / 60000, "75 / min"),
        (Unit("mm/ms", "m/s"), 0.65, "0.65 m/s"),
        (Unit("kPa*ms/mm^3", "mmHg*s/mL"), 0.133322387415, "1 mmHg*s/mL"),
    ],
)
def test_values_are_written_in_the_units_people_use(unit, value, text):
    assert unit.text(value) == text
    assert unit.read(text) == pytest.approx(value)


def test_reference_page_is_up_to_date():
    page = (ROOT / "docs/case-file.md").read_text(encoding="utf-8")
    assert page == case_reference(), "docs/case-file.md is out of date: make docs"


def test_reference_shows_a_default_that_is_absent_as_none():
    assert "| `ionic_model` | none |" in case_reference()
