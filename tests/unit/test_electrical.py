"""What a case means to its cells: drugs, steps, beats, checkpoints. No mesh of a heart."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.case import electrical, pipeline
from organtwin.case.activity import continued, ecg_results, write_activity
from organtwin.case.last_beat import LastBeat
from organtwin.case.load import load_case
from organtwin.case.schema_electrical import LONGEST_STEP
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import pace
from organtwin.electrophysiology.beats import Beats
from organtwin.electrophysiology.purkinje import straight_tree
from organtwin.electrophysiology.reaction_diffusion import NOT_ACTIVATED, TimeSteps
from organtwin.errors import InputError
from organtwin.mesh.domain import cellwise_vectors
from organtwin.run import checkpoint
from organtwin.run.checkpoint import Checkpoint
from organtwin.run.result import Beat
from organtwin.verify.geometry import box

COMM = MPI.COMM_SELF
DRUG = (
    "electrophysiology.drug.name=dofetilide",
    "electrophysiology.drug.concentration=20 nM",
)


@pytest.fixture
def case(tmp_path):
    """Load a case with settings."""
    (tmp_path / "heart.nrrd").touch()
    file = tmp_path / "case.toml"
    file.write_text(
        '[image]\nfile = "heart.nrrd"\n[image.labels]\nlv_myocardium = 1\nlv_blood = 2\n'
        "rv_blood = 3\n[electrophysiology]\npacing_beats = 1\n"
    )
    return lambda *settings: load_case(file, settings)


@pytest.fixture(scope="module")
def domain():
    return box(COMM, (4.0, 2.0, 2.0), (4, 2, 2))


@pytest.fixture(scope="module")
def cell():
    return pace(compile_kernel(CellModel.load("ten_tusscher_2006_endo")), beats=1)


def test_longest_step_is_that_of_the_tissue():
    assert TimeSteps().longest == LONGEST_STEP


# --- drugs --------------------------------------------------------------------------------------


def test_trace_of_the_eikonal_model_is_of_a_drugged_cell(case, domain, cell):
    assert electrical._traced(case(), domain, cell) is cell
    drugged = electrical._traced(case(*DRUG), domain, cell)
    assert drugged.apd90 > 1.05 * cell.apd90


def test_drug_leaves_out_currents_that_a_model_lacks(case):
    section = case(*DRUG, "run.physics=electrophysiology").electrophysiology
    simple = CellModel.load("mitchell_schaeffer_2003")
    assert electrical.drugged(section, simple).parameters == simple.parameters
    model = CellModel.load("stewart_2009")
    assert electrical.drugged(section, model).parameters["g_Kr"] < 0.5 * model.parameters["g_Kr"]


@pytest.mark.parametrize("drug", [(), DRUG])
def test_tree_has_the_cells_and_the_drug_that_are_asked_for(case, domain, cell, monkeypatch, drug):
    asked = case(
        "electrophysiology.purkinje.ionic_model=ten_tusscher_2006_epi",
        "electrophysiology.substeps=4",
        *drug,
    )
    tuned_with = []

    def tune(kernel, *arguments, **options):
        tuned_with.append(kernel.model)
        return SimpleNamespace(sigma=1.0)

    monkeypatch.setattr(electrical, "tune_cable", tune)
    V = fem.functionspace(domain.mesh, ("P", 1))
    (drive,) = electrical._drives(asked, V, straight_tree(np.linspace(0.0, 4.0, 5)), cell)
    kernel, healthy = drive.network._kernel, CellModel.load("ten_tusscher_2006_epi")
    assert kernel.substeps == 4
    assert tuned_with[0].parameters == healthy.parameters
    assert (
        kernel.model.parameters == electrical.drugged(asked.electrophysiology, healthy).parameters
    )
    assert (kernel.model.parameters != healthy.parameters) == bool(drug)
    assert not np.array_equal(drive.network.states[:, 0], cell.states)


def test_tree_has_the_muscle_s_cells_by_default(case, domain, cell, monkeypatch):
    monkeypatch.setattr(electrical, "tune_cable", lambda *a, **k: SimpleNamespace(sigma=1.0))
    V = fem.functionspace(domain.mesh, ("P", 1))
    asked = case("electrophysiology.purkinje.seed=1")
    (drive,) = electrical._drives(asked, V, straight_tree(np.linspace(0.0, 4.0, 5)), cell)
    np.testing.assert_array_equal(drive.network.states[:, 0], cell.states)


# --- steps --------------------------------------------------------------------------------------


def test_further_models_are_layers_tree_and_what_a_drug_makes_of_them(case):
    assert electrical.further_models(case()) == []
    layered = case(
        "electrophysiology.layers.middle=ohara_rudy_2011_m",
        "electrophysiology.purkinje.ionic_model=stewart_2009",
        "electrophysiology.time_step=0.1 ms",
    )
    assert [(model.name, dt) for model, dt in electrical.further_models(layered)] == [
        ("ohara_rudy_2011_m", 0.1),
        ("ten_tusscher_2006_epi", 0.1),
        ("stewart_2009", 0.05),
    ]
    ((model, _),) = electrical.further_models(case(*DRUG))
    healthy = CellModel.load("ten_tusscher_2006_endo")
    assert model.parameters["g_Kr"] < 0.5 * healthy.parameters["g_Kr"]


def test_warning_about_a_layer_s_steps_names_both_remedies(case, caplog):
    settings = [
        "electrophysiology.layers.endocardium=ten_tusscher_2006_endo",
        "electrophysiology.layers.middle=ten_tusscher_2006_endo",
        "electrophysiology.layers.epicardium=ohara_rudy_2011_epi",
        "electrophysiology.time_step=0.4 ms",
    ]
    with caplog.at_level(logging.WARNING):
        (told,) = pipeline._further_steps(case(*settings))
    assert "`ohara_rudy_2011_epi`" in told
    assert "time_step" in caplog.text
    assert "substeps" in caplog.text


def test_substeps_reach_the_cells_of_the_muscle(case, domain, cell):
    V = fem.functionspace(domain.mesh, ("P", 1))
    asked = case("electrophysiology.substeps=8", *DRUG)
    cells = electrical._cells(asked, V, domain, cell)
    assert [population.kernel.substeps for population in cells.populations] == [8]


# --- beats --------------------------------------------------------------------------------------


def pulse(beat, node, t, n=3):
    """A node passes 0 mV in the middle of a step of 1 ms."""
    before, after = np.full(n, -80.0), np.full(n, -80.0)
    before[node], after[node] = -10.0, 10.0
    beat.record(t, 1.0, before, after)


def test_times_are_of_one_beat():
    beat = LastBeat(3, 100.0)
    for start in (0.0, 100.0):
        for node in range(3):
            pulse(beat, node, start + 10.0 * (node + 1))
        np.testing.assert_allclose(beat.activation, start + np.array([10.5, 20.5, 30.5]))
    # A further wave late in the same beat, which the run ends in the midst of.
    pulse(beat, 0, 195.0)
    assert np.ptp(beat.activation) == pytest.approx(20.0)


def test_node_that_the_last_beat_does_not_reach_is_not_activated():
    beat = LastBeat(3, 100.0)
    pulse(beat, 1, 10.0)
    pulse(beat, 2, 110.0)
    np.testing.assert_allclose(beat.activation, [NOT_ACTIVATED, NOT_ACTIVATED, 110.5])


def test_a_clock_that_began_later_makes_another_beat():
    first, later = LastBeat(3, 100.0), LastBeat(3, 80.0, begun=100.0)
    pulse(first, 0, 10.0)
    for name, values in first.state.items():
        later.state[name][...] = values
    pulse(later, 1, 10.0)
    np.testing.assert_allclose(later.activation, [NOT_ACTIVATED, 110.5, NOT_ACTIVATED])


def test_activity_that_is_written_is_of_one_beat(domain, tmp_path):
    V = fem.functionspace(domain.mesh, ("P", 1))
    x = V.tabulate_dof_coordinates()[:, 0]
    f0 = fem.Function(cellwise_vectors(domain))
    f0.interpolate(lambda x: np.outer([1.0, 0.0, 0.0], np.ones(x.shape[1])))
    beats, last = Beats(len(x), COMM), LastBeat(len(x), 100.0)
    # A wave at 1 mm/ms, and the beginning of another before the run ends.
    for t, reached in (*((t, np.isclose(x, t)) for t in range(5)), (95.0, x < 0.5)):
        before = np.where(reached, -10.0, -80.0)
        for recorder in (beats, last):
            recorder.record(t, 1.0, before, np.where(reached, 10.0, -80.0))
            recorder.record(t + 1.0, 1.0, np.where(reached, 10.0, -80.0), np.full(len(x), -80.0))
    heart = SimpleNamespace(
        ep=SimpleNamespace(v=fem.Function(V)), domain=domain, fibres=SimpleNamespace(f0=f0),
        beats=beats, last_beat=last,
    )  # fmt: skip
    assert np.ptp(beats.activation) > 90.0
    found = write_activity(tmp_path, heart)
    assert found["total_activation_time"][0] == pytest.approx(4.0)
    assert found["activated_fraction"][0] == 100.0


def test_corrected_qt_is_among_the_results(tmp_path):
    t = np.arange(0.0, 801.0, 2.0)
    wave = np.where((t > 50) & (t < 130), np.sin(np.pi * (t - 50) / 80) ** 2, 0.0)
    wave = wave + 0.3 * np.exp(-0.5 * ((t - 350) / 30) ** 2)
    rows = np.column_stack([t, wave, wave])
    np.savetxt(
        tmp_path / "scalars.csv", rows, delimiter=",",
        header="t [ms],ecg_I [mV],ecg_II [mV]", comments="",
    )  # fmt: skip
    found = ecg_results(tmp_path, Beat(0.0, 800.0))
    assert found["qtc_fridericia"][0] == pytest.approx(found["qt_interval"][0] / 0.8 ** (1 / 3))


# --- checkpoints --------------------------------------------------------------------------------


def test_checkpoint_of_another_number_of_ranks_is_told(tmp_path, caplog):
    process = SimpleNamespace(state={"v": np.zeros(3)})
    Checkpoint(COMM, tmp_path, process, 1.0, lambda: {"key": "mine"}).observe(40.0, None)
    assert continued(tmp_path, "mine", COMM) == (40.0, {"key": "mine"})
    assert continued(tmp_path, "other", COMM) is None
    assert not caplog.records
    file = tmp_path / "checkpoint.json"
    record = {**json.loads(file.read_text()), "mpi_size": 3}
    record.pop("sum")
    file.write_text(json.dumps({**record, "sum": checkpoint._sum(record)}))
    assert continued(tmp_path, "mine", COMM) is None
    assert "on 3 MPI ranks, this one has 1" in caplog.text
    caplog.clear()
    assert continued(tmp_path, "other", COMM) is None
    assert not caplog.records


def test_drug_is_told_in_words(case):
    (told,) = pipeline._drug_in_words(case(*DRUG))
    assert told.startswith("dofetilide at 20 nmol/L leaves ")
    assert "% of IKr" in told
    assert pipeline._drug_in_words(case()) == []


def test_models_that_can_not_do_what_is_asked_for_are_refused(case):
    simple = "electrophysiology.ionic_model=mitchell_schaeffer_2003"
    with pytest.raises(InputError, match=r"`mitchell_schaeffer_2003` has no calcium"):
        case(simple)
    electrical_only = "run.physics=electrophysiology"
    assert case(simple, electrical_only).electrophysiology.muscle == ("mitchell_schaeffer_2003",)
    with pytest.raises(InputError, match=r"`dofetilide` blocks .*no named currents"):
        case(simple, electrical_only, *DRUG)
