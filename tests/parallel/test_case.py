"""Stages and the record of a run on all ranks."""

from pathlib import Path

import pytest
from mpi4py import MPI

from organtwin.case.load import load_case
from organtwin.case.manifest import read_manifest, recording
from organtwin.case.stages import Stage, run_stage
from organtwin.errors import MeshError

COMM = MPI.COMM_WORLD
ROOT = Path(__file__).parents[2]


def test_one_rank_works_and_all_know(shared_tmp_path):
    done = []
    stage = Stage("mesh", settings=(5.0,), outputs=("out.txt",))

    def work(folder, progress):
        done.append(COMM.rank)
        (folder / "out.txt").write_text("x")

    accounts = [run_stage(stage, shared_tmp_path, work, comm=COMM) for _ in range(2)]
    assert [account.reused for account in accounts] == [False, True]
    assert accounts[0].mpi_size == COMM.size
    assert COMM.allgather(done) == [[0], *[[]] * (COMM.size - 1)]


def test_all_ranks_work_and_memory_adds_up(shared_tmp_path):
    stage = Stage("solve")
    account = run_stage(
        stage, shared_tmp_path, lambda folder, progress: COMM.barrier(), comm=COMM, ranks="all"
    )
    assert account.peak_memory_mib >= account.peak_memory_rank_mib
    assert COMM.allreduce(account.peak_memory_mib) == pytest.approx(
        COMM.size * account.peak_memory_mib
    )


def test_error_of_the_working_rank_is_raised_on_all(shared_tmp_path):
    def fail(folder, progress):
        raise MeshError("mesh", "no.", "")

    with pytest.raises(MeshError):
        run_stage(Stage("mesh"), shared_tmp_path, fail, comm=COMM)


def test_one_manifest_for_all_ranks(shared_tmp_path):
    case = load_case(ROOT / "demos/heartbeat/case.toml")
    with recording(shared_tmp_path, case, [case.image.file], COMM) as manifest:
        manifest.add_results({"volume": (1.0, "mL")})
    COMM.barrier()
    content = read_manifest(shared_tmp_path)
    assert content["mpi_size"] == COMM.size
    assert content["status"] == "complete"
