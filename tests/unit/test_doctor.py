"""The doctor finds what is there and names what brings what is not."""

import json
import sys

import pytest

from organtwin import doctor, prerequisites
from organtwin.doctor import CHECKS, Finding, examine
from organtwin.prerequisites import COMPILER, LIBRARIES, Prerequisite


def finding(name):
    check = next(check for check in CHECKS if check.name == name)
    return check.examine(name)


@pytest.mark.parametrize(
    "name", ["Python", "DOLFINx", "MPI", "JIT", "gmsh", "C compiler", "memory"]
)
def test_this_machine_is_fit(name):
    found = finding(name)
    assert found.ok, found
    assert found.remedy == ()


def test_missing_library_names_its_packages(monkeypatch):
    absent = Prerequisite("libnowhere.so.1", "nobody", ("libnowhere1",), ("nowhere",))
    monkeypatch.setattr(doctor, "LIBRARIES", (absent,))
    found = finding("shared libraries")
    assert not found.ok
    assert "libnowhere.so.1" in found.seen
    assert any("apt-get install -y --no-install-recommends libnowhere1" in r for r in found.remedy)
    assert any("conda install -c conda-forge nowhere" in r for r in found.remedy)


def test_missing_compiler_names_its_packages(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    found = finding("C compiler")
    assert not found.ok
    assert any("gcc libc6-dev" in line for line in found.remedy)


def test_compiler_that_fails_is_no_compiler(monkeypatch):
    monkeypatch.setenv("CC", "false")
    problem = prerequisites.compiler_problem()
    assert problem is not None
    assert problem.prerequisite is COMPILER


@pytest.mark.parametrize(
    ("program", "seen"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("import os; os.abort()", "signal 6"),
        ("import sys; sys.exit('broken')", "broken"),
    ],
)
def test_crash_in_a_child_is_a_finding(program, seen):
    found = doctor._child("x", [sys.executable, "-c", program], ("remedy",))
    assert not found.ok
    assert seen in found.seen
    assert found.remedy == ("remedy",)


def test_child_that_hangs_is_a_finding(monkeypatch):
    monkeypatch.setattr(doctor, "TIME_LIMIT", 0.2)
    found = doctor._child("x", [sys.executable, "-c", "import time; time.sleep(9)"], ())
    assert not found.ok


def test_launcher_of_another_mpi_is_found_out(monkeypatch, tmp_path):
    """A launcher whose ranks don't meet: each thinks it is alone."""
    launcher = tmp_path / "mpiexec"
    launcher.write_text('#!/bin/sh\nshift 2\n"$@"\nexec "$@"\n')
    launcher.chmod(0o755)
    monkeypatch.setattr(doctor, "mpiexec", lambda: launcher)
    found = finding("MPI")
    assert not found.ok
    assert "two runs of one rank" in found.seen


def test_cache_that_cannot_be_written_is_told(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ORGANTWIN_CACHE", str(tmp_path / "file" / "cache"))
    found = finding("cache")
    assert not found.ok
    assert any("ORGANTWIN_CACHE" in line for line in found.remedy)


def test_old_python_is_told(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 11, 2, "final", 0))
    found = finding("Python")
    assert not found.ok
    assert any("python3-venv" in line for line in found.remedy)


def test_prerequisites_alone_print_one_line_for_everything(monkeypatch, capsys):
    found = [prerequisites.Problem(item, "not there") for item in (COMPILER, *LIBRARIES)]
    monkeypatch.setattr(prerequisites, "problems", lambda: found)
    assert prerequisites.main([]) == 1
    error = capsys.readouterr().err
    assert (
        "sudo apt-get install -y --no-install-recommends gcc libc6-dev libgl1 libegl1 "
        "libglu1-mesa libxcursor1 libxft2 libxinerama1 libgomp1"
    ) in error
    assert "conda install -c conda-forge c-compiler" in error


def test_quick_examination_leaves_slow_checks_out(monkeypatch):
    checks = [doctor.Check(n, lambda n: Finding(n, True, ""), quick=n == "a") for n in "ab"]
    monkeypatch.setattr(doctor, "CHECKS", checks)
    assert [f.name for f in examine(quick=True)] == ["a"]
    assert len(json.loads(doctor.as_json(examine()))) == 2
