"""Drugs and diseases of single cells."""

from __future__ import annotations

import numpy as np
import pytest

from organtwin.cells import conditions, drugs
from organtwin.cells.catalogue import library
from organtwin.cells.conditions import Condition, applied
from organtwin.cells.drugs import Block, Dose, Drug, blocked
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import pace
from organtwin.errors import InputError

EPI = "ten_tusscher_2006_epi"


# --- block ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("hill", [0.6, 1.0, 2.5])
def test_half_of_the_current_is_left_at_the_ic50(hill):
    assert Block(ic50=7.0, hill=hill).factor(7.0) == 0.5


def test_no_drug_no_block():
    assert Block(ic50=7.0, hill=0.7).factor(0.0) == 1.0


def test_hill_coefficient_is_the_slope_of_the_odds():
    block = Block(ic50=20.0, hill=1.7)
    odds = [1 / block.factor(c) - 1 for c in (2.0, 200.0)]
    assert np.log10(odds[1] / odds[0]) == pytest.approx(2 * 1.7)


def test_blocked_model_differs_in_the_blocked_currents_only():
    model = CellModel.load(EPI)
    drug = Drug("x", {"IKr": Block(10.0, 1.0), "ICaL": Block(30.0, 1.0)})
    found = blocked(model, drug, 10.0)
    changed = {n: v / model.parameters[n] for n, v in found.parameters.items()}
    assert changed.pop("g_Kr") == 0.5
    assert changed.pop("g_CaL") == pytest.approx(0.75)
    assert set(changed.values()) == {1.0}
    assert found.definition == model.definition


@pytest.mark.parametrize("name", [EPI, "ohara_rudy_2011_endo"])
def test_ikr_block_prolongs_the_action_potential(name):
    model = CellModel.load(name)
    drug = Drug("pure", {"IKr": Block(5.0, 0.9)})
    before, half, more = (
        pace(compile_kernel(blocked(model, drug, c)), cycle_length=1000.0, beats=2, dt=0.05).apd90
        for c in (0.0, 5.0, 20.0)
    )
    assert before + 15.0 < half < more - 10.0


# --- what goes wrong ------------------------------------------------------------------------------


def test_current_that_the_model_lacks():
    with pytest.raises(InputError, match=r"no current `ICaLL`\. Did you mean `ICaL`\?"):
        blocked(CellModel.load(EPI), Drug("x", {"ICaLL": Block(1.0)}), 1.0)
    with pytest.raises(InputError, match="no current `INaL`"):
        blocked(CellModel.load(EPI), Drug.load("ranolazine"), 1.0)


def test_block_of_a_missing_current_can_be_left_out():
    drug = Drug.load("ranolazine").without("INaL")
    assert blocked(CellModel.load(EPI), drug, 8270.0).parameters["g_Kr"] == pytest.approx(0.0765)
    with pytest.raises(InputError, match=r"does not block `INAL`\. Did you mean `INaL`\?"):
        Drug.load("ranolazine").without("INAL")


def test_model_without_currents():
    with pytest.raises(InputError, match="names no currents at all"):
        blocked(CellModel.load("mitchell_schaeffer_2003"), Drug.load("sotalol"), 1.0)


@pytest.mark.parametrize(("ic50", "hill"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (np.nan, 1.0)])
def test_block_must_be_positive(ic50, hill):
    with pytest.raises(InputError, match=r"Both are > 0"):
        Block(ic50, hill)


def test_negative_concentration():
    with pytest.raises(InputError, match=r"concentration -1 nM"):
        blocked(CellModel.load(EPI), Drug.load("sotalol"), -1.0)


def test_misspelt_drug_and_condition():
    with pytest.raises(InputError, match=r"no `dofetilid`\. Did you mean `dofetilide`\?"):
        Drug.load("dofetilid")
    with pytest.raises(InputError, match=r"Did you mean `acute_ischaemia`\?"):
        Condition.load("acute_ischemia")


# --- library --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", drugs.library())
def test_drugs_of_the_library(name):
    drug = Drug.load(name)
    assert drug.source and drug.therapeutic > 0
    model = CellModel.load("ohara_rudy_2011_endo")
    found = blocked(model, drug, drug.therapeutic)
    assert found.parameters["g_Kr"] < model.parameters["g_Kr"]
    assert Dose(drug, drug.therapeutic).effect.factors == drug.factors(drug.therapeutic)


def test_dofetilide_blocks_ikr_most_and_verapamil_calcium():
    dofetilide, verapamil = (Drug.load(n) for n in ("dofetilide", "verapamil"))
    assert min(dofetilide.blocks, key=lambda n: dofetilide.blocks[n].ic50) == "IKr"
    assert min(verapamil.blocks, key=lambda n: verapamil.blocks[n].ic50) == "ICaL"


MODEL_OF = {
    "acute_border_zone_1": EPI,
    "acute_border_zone_2": EPI,
    "acute_ischaemia": EPI,
    "persistent_atrial_fibrillation": "courtemanche_1998",
}


@pytest.mark.parametrize("name", conditions.library())
def test_conditions_of_the_library(name):
    condition = Condition.load(name)
    model = CellModel.load(MODEL_OF[name])
    found = applied(model, condition)
    assert condition.source
    for current, factor in condition.factors.items():
        parameter = model.currents[current]
        assert found.parameters[parameter] == factor * model.parameters[parameter]
    for parameter, value in condition.parameters.items():
        assert found.parameters[parameter] == value != model.parameters[parameter]


def test_hyperkalaemia_depolarises():
    model = CellModel.load(EPI)
    ischaemic = applied(model, Condition.load("acute_ischaemia"))
    healthy, ill = (
        pace(compile_kernel(m), cycle_length=800.0, beats=2, dt=0.05) for m in (model, ischaemic)
    )
    assert ill.rest > healthy.rest + 3.0
    assert ill.apd90 < healthy.apd90 - 20.0
    assert ill.upstroke < 0.8 * healthy.upstroke


def test_remodelled_atrial_cells_have_short_action_potentials():
    model = CellModel.load("courtemanche_1998")
    remodelled = applied(model, Condition.load("persistent_atrial_fibrillation"))
    healthy, ill = (
        pace(compile_kernel(m), cycle_length=600.0, beats=2, dt=0.05) for m in (model, remodelled)
    )
    assert ill.apd90 < 0.75 * healthy.apd90


def test_negative_factor():
    with pytest.raises(InputError, match="INa: factor -1"):
        Condition("x", {"INa": -1.0})


def test_parameter_that_the_model_lacks():
    with pytest.raises(InputError, match=r"no parameter `K_0`\. Did you mean `K_o`\?"):
        applied(CellModel.load(EPI), Condition("x", parameters={"K_0": 8.0}))


@pytest.mark.parametrize("name", library())
def test_currents_scale_parameters_that_exist(name):
    model = CellModel.load(name)
    assert set(model.currents.values()) <= model.parameters.keys()
    for current in model.currents:
        scaled = model.with_currents_scaled({current: 0.0})
        assert scaled.parameters[model.currents[current]] == 0.0


def test_currents_of_a_file_of_ones_own(tmp_path):
    (tmp_path / "x.ode").write_text("states(V=-80)\nparameters(g=0.1)\ndV_dt = -g*(V + 80)\n")
    text = 'definition = "x.ode"\npotential = "V"\ncitation = "none"\n'
    (tmp_path / "x.toml").write_text(text + 'currents = { Ileak = "g" }\n')
    model = CellModel.load(str(tmp_path / "x.toml"))
    assert model.with_currents_scaled({"Ileak": 0.5}).parameters["g"] == 0.05
    (tmp_path / "x.toml").write_text(text + 'currents = { Ileak = "gl" }\n')
    with pytest.raises(InputError, match=r"no parameter `gl`"):
        CellModel.load(str(tmp_path / "x.toml"))
