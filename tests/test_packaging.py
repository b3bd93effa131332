"""What is written in several places says the same everywhere."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from organtwin import __version__
from organtwin.prerequisites import PREREQUISITES

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
#: Pages that `make site` writes are held to their links by Sphinx.
WRITTEN = {"api", "tutorials", "site"}
PAGES = [
    *ROOT.glob("*.md"),
    *(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name not in WRITTEN),
    *(ROOT / "docker").glob("*.md"),
]


def bare(requirement):
    """Name of a requirement, as pip compares names."""
    return re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def test_lock_holds_exact_versions_and_no_address():
    lines = [line for line in LOCK.splitlines() if line and not line.startswith("#")]
    assert all(re.match(r"[a-z0-9._-]+==[0-9][^ ]*( ; .+)?$", line) for line in lines)
    assert "//" not in LOCK


def test_lock_covers_all_dependencies():
    locked = {bare(line) for line in LOCK.splitlines()}
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["wheel"], *extras["docs"], *extras["dev"]]
    assert {bare(requirement) for requirement in wanted} <= locked | {PROJECT["name"]}


def test_conda_covers_all_dependencies():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    listed = {bare(line) for line in re.findall(r"^ +- ([^\s#]+)", text, flags=re.MULTILINE)}
    renamed = {"gmsh": "python-gmsh", "vtk": "pyvista"}
    wanted = {renamed.get(bare(r), bare(r)) for r in PROJECT["dependencies"]}
    assert wanted <= listed


@pytest.mark.parametrize("file", ["docker/Dockerfile", "docs/install.md"])
def test_system_packages_are_those_that_the_doctor_asks_for(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    for prerequisite in PREREQUISITES:
        for package in prerequisite.debian:
            assert re.search(rf"[ \n]{re.escape(package)}[ \n\\]", text), f"{package} not in {file}"


def test_versions_agree():
    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_the_documentation_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_case_in_the_readme_is_complete(tmp_path):
    from organtwin.case.load import load_case

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    example = re.search(r"```toml\n(.*?)```", text, flags=re.DOTALL)[1]
    (tmp_path / "patient.nii.gz").touch()
    (tmp_path / "patient.toml").write_text(example)
    assert load_case(tmp_path / "patient.toml").image.labels["lv_blood"] == 3


@pytest.mark.parametrize("script", ["scripts/setup.sh", ".ci/run"])
def test_scripts_parse(script):
    subprocess.run(["bash", "-n", ROOT / script], check=True)
