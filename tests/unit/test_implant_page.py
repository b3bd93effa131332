"""What stands in the report of an implant beside pictures: its scene and a script for ParaView."""

import json

import numpy as np
import pytest
import pyvista as pv

from organtwin.export.implant_report import opening, write_implant_report
from organtwin.export.result import open_result
from tests import implanted_block

STEPS = ("press fit", "walking", "unloaded after walking")


@pytest.fixture
def run(tmp_path):
    """A result directory as a run leaves it, with fields that are made up."""
    made, operation = implanted_block.assembly(), implanted_block.operation()
    mesh = made.operated(separated=False).mesh
    for name, steps in (("intact", ("walking",)), ("operated", STEPS)):
        lines = ['<VTKFile type="Collection"><Collection>']
        for k, _ in enumerate(steps):
            grid = pv.UnstructuredGrid({pv.CellType.TETRA: mesh.cells}, mesh.points)
            grid.cell_data["region"] = mesh.regions.astype(float)
            grid.cell_data["von_mises_stress"] = (1.0 + k) * mesh.points[mesh.cells][:, 0, 2]
            grid.point_data["displacement"] = 0.001 * k * mesh.points
            file = tmp_path / "fields" / name / f"{name}_{k}.vtu"
            file.parent.mkdir(parents=True, exist_ok=True)
            grid.save(file)
            lines.append(f'<DataSet timestep="{k}" file="{name}/{file.name}"/>')
        text = "\n".join([*lines, "</Collection></VTKFile>"])
        (tmp_path / "fields" / f"{name}.pvd").write_text(text)
    for stage, record in {
        "plan": {"operation": operation.record(), "assembly": made.record()},
        "solve": {"complete": True, "steps": []},
    }.items():
        folder = tmp_path / "stages" / stage
        folder.mkdir(parents=True)
        (folder / f"{stage}.json").write_text(json.dumps(record))
    steps = [{"name": name, "newton": 1, "increments": 1, "seconds": 1.0, "seats": {}}
             for name in STEPS]  # fmt: skip
    (tmp_path / "stages/solve/solve.json").write_text(
        json.dumps({"complete": True, "steps": steps})
    )
    (tmp_path / "run.json").write_text(json.dumps({
        "title": "Block", "status": "complete", "started": "2026-01-01T00:00:00+0000",
        "versions": {"organtwin": "1"}, "stages": {}, "case": {}, "results": {}, "decisions": [],
    }))  # fmt: skip
    return tmp_path


def test_the_operated_bone_is_shown_first_by_its_steps(run):
    found = open_result(run)
    assert [part.name for part in found.parts] == ["operated", "intact"]
    assert found.part("operated").moments == STEPS
    assert found.part("intact").moments == ("walking",)


def test_the_report_has_a_scene_and_a_script(run):
    page = write_implant_report(run).read_text(encoding="utf-8")
    assert page.count('class="scene3d"') == 1
    content = json.loads(page.split('<script type="application/json">')[1].split("</script>")[0])
    assert [state["name"] for state in content["states"]] == list(STEPS)
    assert content["opening"]["moment"] == "walking"
    assert any(field["title"] == content["opening"]["field"] for field in content["fields"])
    script = (run / "fields" / "show.py").read_text(encoding="utf-8")
    compile(script, "show.py", "exec")
    assert "'operated.pvd'" in script and "ViewTime = 1.0" in script
    assert "show.py" in page
    # Written again it is the same, and it names no place of this machine.
    assert write_implant_report(run).read_text(encoding="utf-8") == page
    assert str(run) not in page and str(run) not in script


def test_without_fields_it_does_without(run):
    for file in (run / "fields").glob("*.pvd"):
        file.unlink()
    page = write_implant_report(run).read_text(encoding="utf-8")
    assert "scene3d" not in page and "show.py" not in page


def test_scenes_begin_where_a_load_acts():
    record = implanted_block.operation().record()
    assert opening(record).moment == "walking"
    stages = {**record, "healing": [{"name": "1 week"}, {"name": "6 weeks"}]}
    assert opening(stages).moment == "walking, 1 week"
    assert opening({**record, "kind": "pedicle_screw"}).side == "top"
    assert np.isfinite(opening({}).depth)
