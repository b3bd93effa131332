"""run.json tells what a run did and how it ended."""

import json

import pytest
from mpi4py import MPI

from organtwin import audit
from organtwin.case.load import load_case
from organtwin.case.manifest import git_commit, read_manifest, recording, versions
from organtwin.case.stages import StageAccount
from organtwin.errors import InputError, SolverError
from tests.unit.test_case import MINIMAL

ACCOUNT = StageAccount("mesh", "key", 1.5, 100.0, 100.0, 1)


@pytest.fixture
def case(tmp_path):
    (tmp_path / "heart.nrrd").write_text("image")
    (tmp_path / "case.toml").write_text(MINIMAL)
    return load_case(tmp_path / "case.toml")


@pytest.fixture
def record(tmp_path, case):
    return lambda: recording(tmp_path / "results", case, [case.image.file], MPI.COMM_SELF)


def test_complete_run(tmp_path, record, case):
    with record() as manifest:
        assert read_manifest(tmp_path / "results")["status"] == "running"
        manifest.add_stage(ACCOUNT)
        manifest.add_decisions(["The base was cut."])
        manifest.add_solver({"newton": 3})
        manifest.add_results({"lv_ejection_fraction": (55.0, "%"), "ecg": (float("nan"), "mV")})
    content = json.loads((tmp_path / "results/run.json").read_text())
    assert content["status"] == "complete"
    assert content["case"]["mesh"]["size"] == "5 mm"
    assert list(content["inputs"]) == [str(case.image.file)]
    assert content["stages"]["mesh"]["wall_time_s"] == 1.5
    assert content["results"]["lv_ejection_fraction"] == {"value": 55.0, "unit": "%"}
    assert content["results"]["ecg"]["value"] is None
    assert content["mpi_size"] == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "interrupted"), (SolverError("t", "p", "r"), "failed")],
)
def test_run_that_ends_early_stays_readable(tmp_path, record, error, status):
    with pytest.raises(type(error)), record() as manifest:
        manifest.add_stage(ACCOUNT)
        raise error
    content = read_manifest(tmp_path / "results")
    assert content["status"] == status
    assert "mesh" in content["stages"]


def test_refused_input_leaves_nothing(tmp_path, record):
    with pytest.raises(InputError), record():
        raise InputError("image", "no.", "")
    assert not (tmp_path / "results").exists()


def test_input_that_is_refused_late_keeps_what_was_done(tmp_path, record):
    out = tmp_path / "results"
    with pytest.raises(InputError), record() as manifest:
        manifest.add_stage(ACCOUNT)
        (out / "stages").mkdir()
        raise InputError("solve", "no such law.", "")
    content = read_manifest(out)
    assert content["status"] == "failed" and "no such law" in content["error"]
    assert audit.verify(out / audit.NAME).lines == 2


@pytest.mark.parametrize("damage", ["{", "[1]", None])
def test_the_audit_log_outlives_a_damaged_record(tmp_path, record, damage):
    out = tmp_path / "results"
    with record():
        pass
    if damage is None:
        (out / "run.json").unlink()
    else:
        (out / "run.json").write_text(damage)
    with pytest.raises(InputError), record():
        raise InputError("image", "no.", "")
    found = audit.verify(out / audit.NAME)
    assert (found.lines, found.broken) == (4, None)


def test_stages_run_one_by_one_add_up(tmp_path, record):
    with record() as manifest:
        manifest.add_stage(ACCOUNT)
    with record():
        pass
    assert "mesh" in read_manifest(tmp_path / "results")["stages"]


def test_another_case_starts_anew(tmp_path, record, case):
    with record() as manifest:
        manifest.add_stage(ACCOUNT)
    other = load_case(tmp_path / "case.toml", ["mesh.size=7 mm"])
    with recording(tmp_path / "results", other, [case.image.file], MPI.COMM_SELF) as manifest:
        assert manifest.content["stages"] == {}


def test_versions_name_what_decides_the_numbers():
    found = versions()
    assert {"organtwin", "python", "numpy", "petsc", "mpi"} <= set(found)
    assert git_commit() is None or len(git_commit()) >= 40


def test_unwritable_directory_is_refused(case, tmp_path):
    """A file stands where the directory should be."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="nothing can be written there"),
        recording(tmp_path / "file" / "result", case, [], MPI.COMM_SELF),
    ):
        pass


def test_refused_input_leaves_the_earlier_run_as_it_was(tmp_path, record):
    with record() as manifest:
        manifest.add_results({"ef": (50.0, "%")})
    before = (tmp_path / "results/run.json").read_text()
    with pytest.raises(InputError), record():
        raise InputError("mesh", "no.", "")
    assert (tmp_path / "results/run.json").read_text() == before
