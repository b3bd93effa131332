"""Stages are reused exactly as long as what they were made from stays the same."""

import json

import pytest
from mpi4py import MPI

from organtwin.case.stages import Stage, finished, memory_peak, run_stage
from organtwin.errors import InputError, MeshError

COMM = MPI.COMM_SELF


@pytest.fixture
def counted(tmp_path):
    """Run a stage in a result directory and count how often its work is done."""
    done = []

    def run(stage, **options):
        def work(folder, progress):
            progress(0.5)
            done.append(stage.name)
            (folder / "out.txt").write_text("result")

        return run_stage(stage, tmp_path / "results", work, comm=COMM, **options)

    run.done = done
    return run


def make(tmp_path, **changes):
    file = tmp_path / "input.txt"
    if not file.exists():
        file.write_text("input")
    content = {
        "name": "mesh",
        "settings": ({"size": 5.0},),
        "inputs": (file,),
        "outputs": ("out.txt",),
    }
    return Stage(**{**content, **changes})


def test_finished_stage_is_reused(tmp_path, counted):
    first = counted(make(tmp_path))
    second = counted(make(tmp_path))
    assert (first.reused, second.reused) == (False, True)
    assert second.wall_time_s == first.wall_time_s
    assert counted.done == ["mesh"]


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": ({"size": 6.0},)},
        {"upstream": (Stage("image"),)},
        {"code": ("organtwin.errors",)},
    ],
)
def test_change_of_settings_upstream_or_code_repeats_it(tmp_path, counted, changes):
    counted(make(tmp_path))
    assert not counted(make(tmp_path, **changes)).reused


def test_change_of_an_input_file_repeats_it(tmp_path, counted):
    counted(make(tmp_path))
    (tmp_path / "input.txt").write_text("other")
    assert not counted(make(tmp_path)).reused


def test_place_of_the_input_file_does_not_matter(tmp_path):
    stage = make(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "input.txt").write_text("input")
    assert make(tmp_path, inputs=(elsewhere / "input.txt",)).key == stage.key


def test_fresh_repeats_it(tmp_path, counted):
    counted(make(tmp_path))
    assert not counted(make(tmp_path), fresh=True).reused


@pytest.mark.parametrize("damage", ["delete", "cut", "flip", "no record", "half a record"])
def test_damaged_results_are_made_anew(tmp_path, counted, damage):
    stage = make(tmp_path)
    counted(stage)
    folder = stage.folder(tmp_path / "results")
    match damage:
        case "delete":
            (folder / "out.txt").unlink()
        case "cut":
            (folder / "out.txt").write_text("res")
        case "flip":
            (folder / "out.txt").write_text("rezult")
        case "no record":
            (folder / "stage.json").unlink()
        case "half a record":
            (folder / "stage.json").write_text('{"account": {"key"')
    assert finished(stage, tmp_path / "results") is None
    assert not counted(stage).reused


def test_failed_stage_leaves_no_record(tmp_path, counted):
    stage = make(tmp_path)
    counted(stage)

    def fail(folder, progress):
        raise MeshError("mesh", "no.", "")

    with pytest.raises(MeshError):
        run_stage(stage, tmp_path / "results", fail, comm=COMM, fresh=True)
    assert not (stage.folder(tmp_path / "results") / "stage.json").exists()


def test_refused_input_leaves_no_folder(tmp_path):
    def refuse(folder, progress):
        raise InputError("image", "no.", "")

    with pytest.raises(InputError):
        run_stage(make(tmp_path), tmp_path / "results", refuse, comm=COMM)
    assert not (tmp_path / "results").exists()


def test_account_has_time_and_memory(tmp_path, counted):
    account = counted(make(tmp_path))
    assert account.wall_time_s >= 0
    assert account.peak_memory_mib > 10
    record = json.loads((tmp_path / "results/stages/mesh/stage.json").read_text())
    assert record["account"]["key"] == account.key


def test_memory_peak_is_that_of_the_stage(tmp_path):
    def greedy(folder, progress):
        block = bytearray(200 * 2**20)
        block[::4096] = b"x" * len(block[::4096])

    def modest(folder, progress):
        pass

    much = run_stage(Stage("much"), tmp_path, greedy, comm=COMM).peak_memory_mib
    little = run_stage(Stage("little"), tmp_path, modest, comm=COMM).peak_memory_mib
    assert much - little > 150
    assert memory_peak() > 0
