"""Electrical hearts from a case file: every model, layers, a drug, a tree, pacing."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from mpi4py import MPI

from organtwin.case.load import CaseError, load_case
from organtwin.case.pipeline import run_case
from organtwin.export.tables import read_table

CASE = Path(__file__).parents[2] / "demos" / "ecg_twelve_lead" / "case.toml"
COARSE = (
    "mesh.size=9 mm",
    "geometry.resolution=2 mm",
    "electrophysiology.refinements=1",
    "electrophysiology.pacing_beats=2",
    "output.field_interval=100 ms",
)
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


@pytest.fixture(scope="module")
def without_layers(tmp_path_factory):
    """The case with one kind of cells, which is all that the eikonal model can do."""
    content = tomllib.loads(CASE.read_text(encoding="utf-8"))
    del content["electrophysiology"]["layers"]
    content["image"]["file"] = str((CASE.parent / content["image"]["file"]).resolve())
    file = tmp_path_factory.mktemp("case") / "case.toml"
    file.write_text(tomli_w.dumps(content), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """One directory for all runs: image, mesh and tuning are done once."""
    return tmp_path_factory.mktemp("electrical")


def results(out, *settings, file=CASE):
    directory = run_case(load_case(file, [*COARSE, *settings]), out=out, comm=MPI.COMM_SELF)
    record = json.loads((directory / "run.json").read_text())
    return {key: entry["value"] for key, entry in record["results"].items()}


@pytest.mark.slow
def test_healthy_heart_and_bundle_branch_block(out):
    healthy = results(out)
    scalars = read_table(out / "scalars.csv")
    assert all(np.ptp(scalars[f"ecg_{lead} [mV]"]) > 0.01 for lead in LEADS)
    np.testing.assert_allclose(
        scalars["ecg_III [mV]"], scalars["ecg_II [mV]"] - scalars["ecg_I [mV]"], atol=1e-9
    )
    assert json.loads((out / "pictures" / "missing.json").read_text()) == {}
    assert (out / "pictures" / "ecg.svg").is_file()
    assert healthy["activated_fraction"] == 100.0
    assert 250 < healthy["apd90_median"] < 400
    blocked = results(out, "electrophysiology.purkinje.block=left")
    assert blocked["qrs_duration"] > 1.2 * healthy["qrs_duration"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["eikonal", "reaction_eikonal", "bidomain"])
def test_other_models_activate_the_same_heart(out, model, without_layers):
    file = without_layers if model == "eikonal" else CASE
    settings = (f"electrophysiology.model={model}", "circulation.heart_rate=150 / min")
    found = results(out, *settings, file=file)
    assert found["activated_fraction"] == 100.0
    assert 20 < found["total_activation_time"] < 250


@pytest.mark.slow
@pytest.mark.parametrize("model", ["eikonal", "reaction_eikonal"])
def test_a_drug_prolongs_the_action_potential(out, model, without_layers):
    settings = [f"electrophysiology.model={model}"]
    file = without_layers if model == "eikonal" else CASE
    before = results(out, *settings, file=file)
    drug = ["electrophysiology.drug.name=dofetilide", "electrophysiology.drug.concentration=20 nM"]
    after = results(out, *settings, *drug, file=file)
    assert after["apd90_median"] > 1.05 * before["apd90_median"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (["electrophysiology.drug.name=dofetilid", "electrophysiology.drug.concentration=1 nM"],
         "no drug `dofetilid`. Did you mean `dofetilide`"),
        (["electrophysiology.drug.name=dofetilide", "electrophysiology.drug.concentration=1 mm"],
         "nmol"),
        (["electrophysiology.model=monodomane"], "monodomain"),
        (["electrophysiology.model=eikonal"], "reaction_eikonal"),
        (["electrophysiology.layers.inner_border=0.9"], "inner_border must be below"),
        (["electrophysiology.layers.middle=ten_tusscher_2006"], "no cell model"),
        (["run.physics=electricity"], "electrophysiology"),
    ],
)  # fmt: skip
def test_wrong_settings_name_the_remedy(settings, problem):
    with pytest.raises(CaseError) as caught:
        load_case(CASE, settings)
    assert problem in str(caught.value)
