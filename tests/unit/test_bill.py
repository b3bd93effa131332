"""Bill of materials: every package, its version, and a document that scanners take."""

import json
import re
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from organtwin import __version__
from organtwin.cli import app


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the command writes."""
    file = tmp_path_factory.mktemp("bill") / "bom.json"
    assert CliRunner().invoke(app, ["bom", "-o", str(file)]).exit_code == 0
    return json.loads(file.read_text())


def test_the_bill_has_what_is_installed(found):
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", found["serialNumber"])
    root = found["metadata"]["component"]
    assert (root["name"], root["version"]) == ("organtwin", __version__)
    components = {one["name"]: one for one in found["components"]}
    for name in ("numpy", "pydicom", "simpleitk"):
        assert components[name]["version"] == version(name)
        assert components[name]["purl"] == f"pkg:pypi/{name}@{version(name)}"
    assert "organtwin" not in components
    licensed = [one for one in found["components"] if "licenses" in one]
    assert len(licensed) > 0.8 * len(found["components"])


def test_references_are_unique_and_known(found):
    components = [one["bom-ref"] for one in found["components"]]
    known = {*components, found["metadata"]["component"]["bom-ref"]}
    assert len(known) == len(components) + 1
    needs = {one["ref"]: one["dependsOn"] for one in found["dependencies"]}
    assert set(needs) <= known
    assert all(set(others) <= known for others in needs.values())
    own = needs[found["metadata"]["component"]["bom-ref"]]
    assert any(name.startswith("pkg:pypi/pydicom@") for name in own)
