"""Modules import from those before them in the order of docs/index.md, never from later ones."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "organtwin"
#: What comes first knows nothing of what follows.
ORDER = (
    "errors", "units", "tables", "permissions", "audit", "bill", "parallel",
    "index", "choice", "influence", "prerequisites",
    "image", "mesh", "segment", "landmarks", "aortic_root", "solve", "anatomy", "process",
    "materials", "bone", "implants", "surgery", "cells",
    "electrophysiology", "mechanics", "circulation", "coupling", "devices", "tavr",
    "orthopaedics", "run", "calibrate",
    "export", "verified", "credibility", "case", "verify", "doctor",
    "cli_outcome", "cli_options", "cli_audit", "cli_bom", "cli_calibrate", "cli_case",
    "cli_companion", "cli_deidentify", "cli_export", "cli_image", "cli_ionic", "cli_landmarks",
    "cli_rehearse", "cli_repeat", "cli_root", "cli_segment", "cli_surface", "cli_view", "cli",
    "__main__",
)  # fmt: skip
#: Reports are made from files: nothing that steps through time belongs in there.
EXPORT_IGNORES = {"cells", "electrophysiology", "mechanics", "circulation", "coupling", "run"}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part(dotted):
    """``organtwin.mesh.domain`` → ``mesh``; None for other packages and organtwin itself."""
    names = dotted.split(".")
    return names[1] if names[0] == "organtwin" and len(names) > 1 else None


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (part(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            dotted = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (
                part(node.module) if node.module != "organtwin" else part(name)
                for name in dotted
                if node.module
            )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_order(path):
    own = part(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert own in ORDER, f"{own} has no place in the order"
    for other in {name for name in imported(path) if (name and (PACKAGE / name).exists()) or
                  (name and (PACKAGE / f"{name}.py").exists())}:  # fmt: skip
        assert ORDER.index(other) <= ORDER.index(own), f"{own} imports {other}, which comes later"
        if own == "export":
            assert other not in EXPORT_IGNORES


def test_modules_have_subjects():
    assert not {path.stem for path in MODULES} & {"utils", "helpers", "common", "misc"}


@pytest.mark.parametrize("module", ["organtwin.doctor", "organtwin.prerequisites", "organtwin.cli"])
def test_light_modules_load_no_solvers(module):
    """So that the doctor can still speak where these are broken."""
    program = (
        f"import sys, {module};"
        "sys.exit(', '.join({'dolfinx', 'petsc4py', 'gmsh', 'vtk'} & set(sys.modules)) or 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
