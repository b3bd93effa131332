"""A small frame in a small root by its case file: stopped and gone on with, on one rank and two."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.aortic_root.sizing import DeviceSize, oversizing
from organtwin.case.load import load_tavr_case
from organtwin.case.records import write_record
from organtwin.case.tavr_deploy import deploy_valve
from organtwin.case.tavr_root import Choice
from organtwin.devices.fibre_laws import cobalt_chromium
from organtwin.devices.implantation import filling
from organtwin.errors import SolverError
from organtwin.mesh.shapes import meshing
from organtwin.mesh.shapes.aortic_root import AorticRoot
from organtwin.parallel import on_root
from organtwin.tavr import rehearsal
from organtwin.tavr.deployed import Deployed
from organtwin.tavr.root_axis import RootAxis
from organtwin.tavr.root_record import RootRecord
from organtwin.verify.delivery import small_frame

pytestmark = pytest.mark.slow

CASE = """
[scan]
file = "ct.nii.gz"
[device]
name = "sapien3_like"
[tissue.wall]
law = "neo_hooke"
mu = "300 kPa"
[deployment]
depth = "5 mm"
elements = 2
spacing = "2 mm"
friction = 0.3
[output]
save_every = 2
"""


class KilledError(Exception):
    """Stands for the end of the process."""


def prepared(folder: Path) -> None:
    """A root folder of a stage `root`, and the case."""
    (folder / "root").mkdir(parents=True)
    shape = AorticRoot(annulus=14.0, sinus=18.0, junction=15.0, aorta=16.0, height=12.0,
                       commissures=10.0, below=8.0, above=8.0, wall=1.5, leaflet=0.0)  # fmt: skip
    meshing.mesh_shape(shape, 2.0, folder / "root" / "mesh.msh")
    axis = RootAxis.straight([0.0, 0.0, -8.0], [0.0, 0.0, 20.0], annulus=8.0)
    record = RootRecord(np.zeros(3), np.eye(3), 154.0, 44.0, 12.0)
    write_record(
        folder / "root" / "root.json",
        {"origin": [0.0] * 3, "axes": np.eye(3).tolist(), "axis": axis.to_dict(),
         "measured": record.as_record()},
    )  # fmt: skip
    (folder / "ct.nii.gz").touch()
    (folder / "case.toml").write_text(CASE)


def deployed(folder: Path, out: Path, comm: MPI.Comm, stop: int = 10_000) -> Deployed:
    """The deployed valve; after ``stop`` steps it is killed.

    Raises:
        KilledError: it was.
    """
    case = on_root(comm, lambda: load_tavr_case(folder / "case.toml"))
    device = replace(small_frame(cobalt_chromium(), 9.0), family="balloon-expandable",
                     name="small frame 16")  # fmt: skip
    size = DeviceSize(device.name, 16.0)
    choice = Choice("small", "16", device, oversizing(size, 3 * (154.0,), 3 * (44.0,)), ())
    steps = 0

    def progress(share: float, note: str = "") -> None:
        nonlocal steps
        steps += 1
        if steps > stop:
            raise KilledError

    on_root(comm, lambda: (out / "stage").mkdir(parents=True, exist_ok=True))
    deploy_valve(case, choice, folder / "root", out, out / "stage", "key", progress, comm)
    return Deployed.load(out / "deployed.npz")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder, and the valve that was deployed at once."""
    folder = tmp_path_factory.mktemp("tavr")
    prepared(folder)
    return folder, deployed(folder, folder / "whole", MPI.COMM_SELF)


def test_a_valve_is_deployed_and_its_fields_are_there(whole):
    folder, valve = whole
    record = json.loads((folder / "whole" / "stage" / "deploy.json").read_text())
    assert record["complete"]
    names = [state["name"] for state in record["states"]]
    assert names == ["crimped", "filling", "emptying", "letting go", "systole"]
    assert record["states"][0]["diameters_mm"][1] < 10.5
    assert 13.0 < record["states"][3]["diameters_mm"][0] < 16.0
    assert record["states"][3]["pressing_N"] > 0.1
    assert valve.stress is not None
    assert valve.stress_before is not None
    assert valve.stress.max() > valve.stress_before.max()
    assert 0.0 < valve.strain_amplitude.max() < 0.01
    fields = folder / "whole" / "fields"
    for name in ("tissue", "frame"):
        assert (fields / f"{name}.pvd").read_text().count("<DataSet") == 5


@pytest.mark.parametrize("stop", [30, 62])
def test_a_valve_that_was_stopped_goes_on_as_if_it_had_not_been(whole, stop):
    folder, valve = whole
    out = folder / f"stopped{stop}"
    with pytest.raises(KilledError):
        deployed(folder, out, MPI.COMM_SELF, stop)
    again = deployed(folder, out, MPI.COMM_SELF)
    record = json.loads((out / "stage" / "deploy.json").read_text())
    assert len(record["states"]) == 5
    assert (out / "fields" / "frame.pvd").read_text().count("<DataSet") == 5
    # Steps differ after it went on: plastic strains and friction feel that a little.
    assert np.abs(again.nodes - valve.nodes).max() < 0.05
    assert again.pressed.normal.sum() == pytest.approx(valve.pressed.normal.sum(), rel=0.02)


def bursting(balloon, volume):
    """A filling that no equilibrium is found with from 0.4 of its way on."""
    whole = filling(balloon, volume)

    def start():
        to = whole.start()
        return lambda factor: to(factor if factor < 0.4 else np.nan)

    return replace(whole, start=start)


def test_a_stage_that_fails_leaves_the_last_good_state(whole, monkeypatch):
    folder, _ = whole
    monkeypatch.setattr(rehearsal, "filling", bursting)
    out = folder / "failed"
    with pytest.raises(SolverError, match=r"`filling` ended at [34]\d % of its way"):
        deployed(folder, out, MPI.COMM_SELF)
    record = json.loads((out / "stage" / "deploy.json").read_text())
    assert not record["complete"]
    assert 0.3 < record["reached"] <= 0.4
    assert record["states"][-1]["name"] == "filling, unfinished"
    valve = Deployed.load(out / "deployed.npz")
    assert np.isfinite(valve.nodes).all()
    assert (out / "fields" / "tissue.pvd").is_file()


def test_two_ranks_deploy_the_same_valve(whole):
    folder, valve = whole
    mpiexec = Path(sys.executable).parent / "mpiexec"
    done = subprocess.run(
        [str(mpiexec), "-n", "2", sys.executable, __file__, str(folder), str(folder / "two")],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    two = Deployed.load(folder / "two" / "deployed.npz")
    assert np.abs(two.nodes - valve.nodes).max() < 1e-3
    assert two.pressed.normal.sum() == pytest.approx(valve.pressed.normal.sum(), rel=1e-3)
    assert np.abs(two.stress - valve.stress).max() < 0.01 * valve.stress.max()


if __name__ == "__main__":
    deployed(Path(sys.argv[1]), Path(sys.argv[2]), MPI.COMM_WORLD)
