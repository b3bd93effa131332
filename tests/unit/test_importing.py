"""Import of cell models: small files in each format, against their equations written in Python."""

from __future__ import annotations

import runpy
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from organtwin.cells.accuracy import reference_beat, step_errors, stepped_beat
from organtwin.cells.foreign import read
from organtwin.cells.importing import Wanted, import_model, rates_error, translate
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.errors import InputError, SetupError

pytest.importorskip("myokit", reason="the extra `cellml` is not installed")

# --- CellML: a membrane with a leak, a gate and calcium, in seconds and volts ---------------------

NAMESPACE = {
    "1.0": "http://www.cellml.org/cellml/1.0#",
    "1.1": "http://www.cellml.org/cellml/1.1#",
    "2.0": "http://www.cellml.org/cellml/2.0#",
}
UNITS = {
    "second": "", "volt": "", "dimensionless": "",
    "millimolar": '<unit prefix="milli" units="mole"/><unit units="litre" exponent="-1"/>',
    "per_second": '<unit units="second" exponent="-1"/>',
    "volt_per_second": '<unit units="volt"/><unit units="second" exponent="-1"/>',
    "millimolar_per_second": '<unit units="millimolar"/><unit units="second" exponent="-1"/>',
}  # fmt: skip


def ci(name):
    return f"<ci>{name}</ci>"


def cn(value, unit="dimensionless"):
    return f'<cn cellml:units="{unit}">{value}</cn>'


def ap(operator, *arguments):
    return f"<apply><{operator}/>{''.join(arguments)}</apply>"


def rate(state, formula):
    return ap("eq", ap("diff", f"<bvar>{ci('time')}</bvar>", ci(state)), formula)


def choice(condition, yes, no):
    return f"<piecewise><piece>{yes}{condition}</piece><otherwise>{no}</otherwise></piecewise>"


#: Component → variables (name, unit, initial value, the component it comes from), equations.
COMPONENTS = {
    "environment": ([("time", "second", None, None)], []),
    "membrane": (
        [
            ("time", "second", None, "environment"), ("Vm", "volt", -0.08, None),
            ("g", "per_second", 40.0, None), ("rest", "volt", -0.085, None),
            ("w", "dimensionless", None, "gate"), ("i_leak", "volt_per_second", None, None),
            ("i_Stim", "volt_per_second", None, "protocol"),
        ],
        [
            ap("eq", ci("i_leak"), ap(
                "times", ci("g"), ci("w"), ap("minus", ci("Vm"), ci("rest")))),
            rate("Vm", ap("minus", ci("i_Stim"), ci("i_leak"))),
        ],
    ),
    "gate": (
        [
            ("time", "second", None, "environment"), ("Vm", "volt", None, "membrane"),
            ("w", "dimensionless", 0.4, None), ("g", "dimensionless", 0.9, None),
            ("lambda", "volt", 0.01, None), ("w_inf", "dimensionless", None, None),
            ("tau", "second", None, None), ("idle", "dimensionless", 3.0, None),
        ],
        [
            ap("eq", ci("w_inf"), ap("divide", ci("g"), ap("plus", cn(1), ap(
                "exp", ap("divide", ap("plus", ci("Vm"), cn(0.04, "volt")), ci("lambda")))))),
            ap("eq", ci("tau"), choice(
                ap("lt", ci("Vm"), cn(-0.04, "volt")), cn(0.05, "second"),
                choice(ap("geq", ci("Vm"), cn(0, "volt")), cn(0.2, "second"), cn(0.1, "second")))),
            rate("w", ap("divide", ap("minus", ci("w_inf"), ci("w")), ci("tau"))),
        ],
    ),
    "calcium": (
        [
            ("time", "second", None, "environment"), ("Cai", "millimolar", 1e-4, None),
            ("i_leak", "volt_per_second", None, "membrane"),
        ],
        [rate("Cai", ap("minus", ap("times", cn(0.001, "millimolar"), ci("i_leak")),
                        ap("times", cn(10, "per_second"), ci("Cai"))))],
    ),
    "protocol": (
        [("time", "second", None, "environment"), ("i_Stim", "volt_per_second", None, None)],
        [ap("eq", ci("i_Stim"), choice(
            ap("lt", ci("time"), cn(0.001, "second")), cn(20, "volt_per_second"),
            cn(0, "volt_per_second")))],
    ),
}  # fmt: skip


def cellml(version, units=None):
    """The model above; ``units`` replaces some of a variable's units."""
    new, units = version == "2.0", units or {}
    space = NAMESPACE[version]
    text = [f'<?xml version="1.0"?><model name="toy" xmlns="{space}" xmlns:cellml="{space}">']
    text += [f'<units name="{n}">{u}</units>' for n, u in UNITS.items() if u]
    joins = {}
    sources = {name: owner for owner, (variables, _) in COMPONENTS.items()
               for name, _, _, source in variables if source is None}  # fmt: skip
    for component, (variables, equations) in COMPONENTS.items():
        text.append(f'<component name="{component}">')
        for name, unit, value, source in variables:
            start = "" if value is None else f' initial_value="{value}"'
            shared = any(
                name == other and owner == component
                for rows, _ in COMPONENTS.values() for other, _, _, owner in rows
            )  # fmt: skip
            how = ' interface="public"' if new and (source or shared) else ""
            if not new and (source or shared):
                how = f' public_interface="{"in" if source else "out"}"'
            unit = units.get((component, name), unit)
            text.append(f'<variable name="{name}" units="{unit}"{start}{how}/>')
            if source:
                assert source in sources.values()
                joins.setdefault((source, component), []).append(name)
        math = "".join(equations)
        if math:
            text.append(f'<math xmlns="http://www.w3.org/1998/Math/MathML">{math}</math>')
        text.append("</component>")
    pairs = {}
    for (source, component), names in joins.items():
        pairs.setdefault(tuple(sorted((source, component))), []).extend(names)
    for (one, two), names in pairs.items():
        maps = "".join(f'<map_variables variable_1="{n}" variable_2="{n}"/>' for n in names)
        if new:
            text.append(f'<connection component_1="{one}" component_2="{two}">{maps}</connection>')
        else:
            ends = f'<map_components component_1="{one}" component_2="{two}"/>'
            text.append(f"<connection>{ends}{maps}</connection>")
    return "".join([*text, "</model>"])


def toy_rates(v, w, calcium):
    """Rates per ms of the potential (mV), the gate and calcium (mM)."""
    leak = 40.0 * w * (v / 1000.0 + 0.085)
    w_inf = 0.9 / (1.0 + np.exp((v / 1000.0 + 0.04) / 0.01))
    tau = np.where(v < -40.0, 0.05, np.where(v >= 0.0, 0.2, 0.1))
    return -leak, (w_inf - w) / tau / 1000.0, (0.001 * leak - 10.0 * calcium) / 1000.0


def written(tmp_path, text, name="toy.cellml"):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("version", NAMESPACE)
def test_cellml_gives_the_rates_of_its_equations(tmp_path, version):
    translation = translate(read(written(tmp_path, cellml(version))), "toy", Wanted())
    kernel = compile_kernel(translation.model)
    assert kernel.model.potential == "Vm"
    assert kernel.initial_potential == pytest.approx(-80.0)
    random = np.random.default_rng(0)
    v = random.uniform(-90.0, 40.0, 200)
    values = {"w": random.uniform(0.0, 1.0, 200), "Cai": random.uniform(0.0, 1e-3, 200)}
    dy, dv = kernel.rates(np.array([values[name] for name in kernel.states]), v)
    expected = toy_rates(v, values["w"], values["Cai"])
    np.testing.assert_allclose(dv, expected[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(dy[kernel.states.index("w")], expected[1], rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(dy[kernel.states.index("Cai")], expected[2], rtol=1e-11, atol=1e-16)
    assert rates_error(translation, kernel) < 1e-12


def test_names_are_short_unless_they_collide_or_are_reserved(tmp_path):
    model = translate(read(written(tmp_path, cellml("1.0"))), "toy", Wanted()).model
    assert set(model.parameters) == {"membrane_g", "rest", "gate_g", "gate_lambda"}
    assert set(model.states) == {"Vm", "w", "Cai"}


def test_stimulus_calcium_and_unused_are_found(tmp_path):
    translation = translate(read(written(tmp_path, cellml("1.0"))), "toy", Wanted())
    variables = translation.foreign.variables
    assert [variables[key].place for key in translation.stimulus] == ["protocol.i_Stim"]
    assert translation.model.calcium == "Cai"
    assert translation.model.to_micromolar == pytest.approx(1000.0)
    assert translation.to_ms == 1000.0 and translation.to_mv == 1000.0
    assert translation.unused == 1 and "idle" not in translation.model.definition


def test_wrong_or_missing_units_are_refused(tmp_path):
    metres = cellml("1.0", {(part, "Vm"): "metre" for part in ("membrane", "gate")})
    with pytest.raises(InputError, match=r"membrane.Vm.*not convertible to mV.*--potential-unit"):
        translate(read(written(tmp_path, metres)), "toy", Wanted(potential="Vm"))
    clock = {(part, "time"): "dimensionless" for part in COMPONENTS}
    path = written(tmp_path, cellml("1.0", clock))
    with pytest.raises(InputError, match=r"environment.time.*not convertible to ms.*--time-unit"):
        translate(read(path), "toy", Wanted())
    assert translate(read(path), "toy", Wanted(time_unit="s")).to_ms == 1000.0
    with pytest.raises(InputError, match="no unit"):
        translate(read(path), "toy", Wanted(time_unit="fortnite"))


def test_misspelt_calcium_is_suggested(tmp_path):
    with pytest.raises(InputError, match=r"no state `Ca_i`\. Did you mean `Cai`"):
        translate(read(written(tmp_path, cellml("2.0"))), "toy", Wanted(calcium="Ca_i"))
    with pytest.raises(InputError, match=r"`gate\.w` is no concentration"):
        translate(read(written(tmp_path, cellml("2.0"))), "toy", Wanted(calcium="w"))


def test_stimulus_of_another_name_has_to_be_told(tmp_path):
    path = written(tmp_path, cellml("1.0").replace("i_Stim", "shock"))
    with pytest.raises(InputError, match=r"protocol.shock depend\(s\) on time itself.*--stimulus"):
        translate(read(path), "toy", Wanted())
    model = translate(read(path), "toy", Wanted(stimulus=("shock",))).model
    assert set(model.states) == {"Vm", "w", "Cai"}


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("toy.cellml", "<model", "not readable as CellML"),
        ("toy.mmt", "[[model]]\n[a]\nx = ", "not readable as .mmt"),
        ("toy.ode", "states(V=", "not readable as gotran"),
        ("toy.ode", "states(V=1)\n", "no rate `dV_dt`"),
        ("toy.docx", "", "no format of cell models"),
    ],
)
def test_broken_files_are_refused(tmp_path, name, text, match):
    with pytest.raises(InputError, match=match):
        read(written(tmp_path, text, name))


def test_absent_file_and_absent_myokit(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "none.cellml")
    path = written(tmp_path, cellml("1.0"))
    monkeypatch.setitem(sys.modules, "myokit", None)
    with pytest.raises(SetupError, match=r"pip install 'organtwin\[cellml\]'"):
        read(path)


# --- the other formats ----------------------------------------------------------------------------

MMT = """
[[model]]
name: toy
membrane.E = -80
gate.I = 0.1
[engine]
time = 0 bind time
    in [ms]
pace = 0 bind pace
[membrane]
E_rest = -85
    in [mV]
use gate.I
dot(E) = engine.pace * 30 - 0.1 * (E - E_rest) * I
    in [mV]
[gate]
S = 5
    in [mV]
tau = piecewise(membrane.E < -60, 20, membrane.E > 0 and membrane.E < 20, 5, 10)
    in [ms]
dot(I) = (1 / (1 + exp(-membrane.E / S)) - I) / tau + 0.001 * dot(membrane.E) + floor(I)
"""


def test_myokit_file(tmp_path):
    translation = translate(read(written(tmp_path, MMT, "toy.mmt")), "toy", Wanted())
    model = translation.model
    # E and I are numbers of the computer algebra.
    assert model.potential == "V" and set(model.states) == {"V", "gate_I"}
    assert model.calcium is None
    v, gate = np.array([-70.0, -30.0, 10.0, 30.0]), np.array([0.2, 0.5, 1.5, -0.5])
    dy, dv = compile_kernel(model).rates(gate[None], v)
    expected = -0.1 * (v + 85.0) * gate
    tau = np.array([20.0, 10.0, 5.0, 10.0])
    np.testing.assert_allclose(dv, expected, rtol=1e-13)
    rate_of_gate = (1 / (1 + np.exp(-v / 5)) - gate) / tau + 0.001 * expected + np.floor(gate)
    np.testing.assert_allclose(dy[0], rate_of_gate, rtol=1e-12)
    assert rates_error(translation, compile_kernel(model)) < 1e-12


GOTRAN = """
# A toy.
parameters("Membrane", g_K1=ScalarParam(0.1, unit="mS*uF**-1"))
parameters("Membrane", V_rest=ScalarParam(-85.0, unit="mV"))
states("Membrane", V=ScalarParam(-80.0, unit="mV"), cai=ScalarParam(0.0001, unit="mM"))
expressions("Membrane")
i_K1 = g_K1*(V - V_rest)*y_inf  # uA*uF**-1
y_inf = Conditional(Lt(V, 0), pow(cai, 2)*1e8, abs(V))  # 1
i_Stim = Conditional(And(Gt(time, 1), Lt(time, 2)), 1, 0)
dV_dt = -i_K1 + i_Stim  # mV*ms**-1
dcai_dt = -ln(cai)*1e-6 + 0*dV_dt
"""


def test_gotran_file(tmp_path):
    translation = translate(read(written(tmp_path, GOTRAN, "toy.ode")), "toy", Wanted())
    model = translation.model
    assert translation.to_ms == 1.0 and translation.currents == {"IK1": "g_K1"}
    assert model.calcium == "cai" and model.to_micromolar == pytest.approx(1000.0)
    v, cai = np.array([-70.0, 30.0]), np.array([1e-4, 2e-4])
    dy, dv = compile_kernel(model).rates(cai[None], v)
    expected = -0.1 * (v + 85.0) * np.where(v < 0.0, cai**2 * 1e8, np.abs(v))
    np.testing.assert_allclose(dv, expected, rtol=1e-13)
    np.testing.assert_allclose(dy[0], -np.log(cai) * 1e-6, rtol=1e-12)
    assert rates_error(translation, compile_kernel(model)) < 1e-12


def test_steep_gates_do_not_overflow(tmp_path):
    """The computer algebra would split exp(-(V + 60)/0.02) into a factor of exp(-3000)."""
    text = "states(V=-80.0, g=0.5)\ndV_dt = 0*V\ndg_dt = 1/(1 + exp(-(V + 60)/0.02)) - g\n"
    wanted = Wanted(time_unit="ms", potential_unit="mV")
    model = translate(read(written(tmp_path, text, "steep.ode")), "steep", wanted).model
    dy, _ = compile_kernel(model).rates(np.full((1, 3), 0.5), np.array([-80.0, -60.0, -20.0]))
    np.testing.assert_allclose(dy[0], [-0.5, 0.0, 0.5], atol=1e-13)


def test_gotran_without_units_has_to_be_told(tmp_path):
    path = written(tmp_path, "states(V=-80.0)\ndV_dt = -0.1*(V + 85)\n", "toy.ode")
    with pytest.raises(InputError, match="`time` has no unit for ms"):
        translate(read(path), "toy", Wanted())
    with pytest.raises(InputError, match="`V` has no unit for mV"):
        translate(read(path), "toy", Wanted(time_unit="ms"))
    assert translate(read(path), "toy", Wanted(time_unit="ms", potential_unit="mV")).to_mv == 1.0


# --- what is written ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("import")
    path = written(folder, cellml("1.0"))
    return import_model(path, name="My toy", into=folder / "models"), folder / "models"


def test_import_writes_a_model_that_loads_by_its_path(imported):
    found, folder = imported
    assert sorted(path.name for path in folder.iterdir()) == [
        "my_toy.csv", "my_toy.ode", "my_toy.toml", "test_my_toy.py",
    ]  # fmt: skip
    model = CellModel.load(str(folder / "my_toy.toml"))
    assert model == found.translation.model
    assert found.rates_error < 1e-12 and found.trace_error < 1e-4


def test_trace_is_that_of_the_equations(imported):
    """The file's own trace, against the rates written out above."""
    found, _ = imported
    kernel = compile_kernel(found.translation.model)
    beat = reference_beat(
        kernel, length=600.0, strength=found.strength, times=found.trace.time
    )  # fmt: skip
    np.testing.assert_allclose(beat.potential, found.trace.potential, atol=1e-4)
    np.testing.assert_allclose(beat.calcium, found.trace.calcium, rtol=1e-4)
    v, w, calcium = -80.0, 0.4, 1e-4
    for k in range(20_000):
        slopes = toy_rates(v, w, calcium)
        v += 1e-3 * (slopes[0] + found.strength * (k < 1000))
        w, calcium = w + 1e-3 * slopes[1], calcium + 1e-3 * slopes[2]
    assert np.interp(20.0, found.trace.time, found.trace.potential) == pytest.approx(v, abs=0.02)


def test_written_test_passes_and_fails_for_other_equations(imported, tmp_path):
    _, folder = imported
    tests = runpy.run_path(str(folder / "test_my_toy.py"))
    kernel = compile_kernel(CellModel.from_file(folder / "my_toy.toml"))
    tests["test_equations_give_the_reference_trace"](kernel)
    other = compile_kernel(kernel.model.with_parameters({"rest": -0.086}))
    with pytest.raises(AssertionError):
        tests["test_equations_give_the_reference_trace"](other)


def test_files_are_not_overwritten_unless_asked(imported, tmp_path):
    _, folder = imported
    path = written(tmp_path, cellml("1.0"), "my_toy.cellml")
    with pytest.raises(InputError, match="is there already"):
        import_model(path, into=folder)
    import_model(path, into=folder, replace_files=True)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (("definition", "defnition"), "no key `defnition`. Did you mean `definition`"),
        (('potential = "Vm"', ""), "no `potential`"),
        (('potential = "Vm"', 'potential = "V"'), "no state `V`. Did you mean `Vm`"),
        (("my_toy.ode", "other.ode"), "no file `other.ode` beside it"),
        (("definition =", "definition"), "not readable as TOML"),
    ],
)
def test_wrong_entries_of_ones_own(imported, tmp_path, change, match):
    _, folder = imported
    (tmp_path / "my_toy.ode").write_text((folder / "my_toy.ode").read_text())
    path = written(tmp_path, (folder / "my_toy.toml").read_text().replace(*change), "my_toy.toml")
    with pytest.raises(InputError, match=match):
        CellModel.from_file(path)
    with pytest.raises(InputError, match="no such file"):
        CellModel.load(str(tmp_path / "none.toml"))


# --- errors of time steps -------------------------------------------------------------------------


def test_step_errors_shrink_with_the_step():
    kernel = compile_kernel(CellModel.load("ten_tusscher_2006_epi"))
    reference = reference_beat(kernel, length=400.0)
    # Of the table in organtwin.cells.kernel, which measures from the steepest rise.
    assert reference.apd90 == pytest.approx(290.2, abs=0.5)
    assert reference.calcium_peak == pytest.approx(0.96193, rel=1e-3)
    errors = step_errors(kernel, (0.05, 0.1, 0.2), reference=reference, length=400.0)
    assert all(error.stable for error in errors)
    assert abs(errors[0].apd90) < abs(errors[1].apd90) < abs(errors[2].apd90)
    assert abs(errors[0].calcium_relative) < abs(errors[2].calcium_relative) < 0.05


def test_unstable_steps_are_called_so(tmp_path):
    stiff = "states(V=-80.0)\ndV_dt = -10*(V + 80)\n"
    path = written(tmp_path, stiff, "stiff.ode")
    wanted = Wanted(time_unit="ms", potential_unit="mV")
    kernel = compile_kernel(translate(read(path), "stiff", wanted).model)
    small, large = step_errors(kernel, (0.02, 0.5), length=50.0)
    assert small.stable and not large.stable and not large.accurate


def test_stimulus_has_the_same_charge_at_all_steps(tmp_path):
    still = written(tmp_path, "states(V=-80.0)\ndV_dt = 0*V\n", "still.ode")
    wanted = Wanted(time_unit="ms", potential_unit="mV")
    kernel = compile_kernel(translate(read(still), "still", wanted).model)
    for dt in (0.3, 0.5, 0.01):
        beat = stepped_beat(kernel, dt, length=3.0, strength=10.0, duration=1.0)
        assert beat.potential[-1] == pytest.approx(-70.0)


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path, monkeypatch):
    from organtwin.cli import app

    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["ionic", *map(str, arguments)])


def test_command_imports_and_shows(command, tmp_path):
    result = command("import", written(tmp_path, cellml("2.0")))
    assert result.exit_code == 0, result.output
    for word in ("Vm, converted to mV", "protocol.i_Stim", "membrane_g", "of APD90", "licence"):
        assert word in result.output
    result = command("show", "ionic_models/toy.toml")
    assert result.exit_code == 0, result.output
    assert "gate_lambda" in result.output
    assert "Largest step with APD90 right within 1 %" in result.output


def test_command_lists_the_library(command):
    result = command("list")
    assert result.exit_code == 0, result.output
    assert "ten_tusscher_2006_epi" in result.output


def test_command_writes_nothing_on_wrong_input(command, tmp_path):
    path = written(tmp_path, cellml("1.0"))
    result = command("import", path, "--calcium", "Ca_i")
    assert result.exit_code == 2
    assert "Did you mean `Cai`" in result.output
    assert not (tmp_path / "ionic_models").exists()
    assert command("show", "ten_tuscher_2006_epi").exit_code == 2
