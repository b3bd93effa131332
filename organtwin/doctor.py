"""Is this machine fit for organtwin? Every check runs by itself, most in a process of their own.

A broken library may end the process that loads it, so what could crash is tried in a child.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from organtwin import prerequisites
from organtwin.prerequisites import COMPILER, HEADERS, LIBRARIES
from organtwin.solve.options import cache_directory

#: Longest that one check may take (s); a first compilation on a busy machine needs its time.
TIME_LIMIT = 120


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        name: What was checked.
        ok: Whether organtwin can use it.
        seen: Version or problem.
        remedy: Lines that mend it; empty when ok.
    """

    name: str
    ok: bool
    seen: str
    remedy: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """A check by name; ``quick`` ones are also made by set-up."""

    name: str
    examine: Callable[[str], Finding]
    quick: bool = True


def examine(*, quick: bool = False) -> list[Finding]:
    """Make all checks, or the quick ones."""
    return [check.examine(check.name) for check in CHECKS if check.quick or not quick]


# --- the system ---------------------------------------------------------------------------------


def _python(name: str) -> Finding:
    problem = prerequisites.python_problem()
    return _system(name, problem, f"{platform.python_version()}, {sys.executable}")


def _libraries(name: str) -> Finding:
    found = [p for p in map(prerequisites.library_problem, LIBRARIES) if p]
    if not found:
        return Finding(name, True, "libGL, libEGL, libGLU, libX*, libgomp")
    lines = prerequisites.remedy([problem.prerequisite for problem in found])
    return Finding(name, False, "; ".join(map(str, found)), tuple(lines))


def _compiler(name: str) -> Finding:
    return _system(name, prerequisites.compiler_problem(), _compiler_version())


def _system(name: str, problem: prerequisites.Problem | None, seen: str) -> Finding:
    if problem is None:
        return Finding(name, True, seen)
    return Finding(name, False, str(problem), tuple(prerequisites.remedy([problem.prerequisite])))


def _compiler_version() -> str:
    program = os.environ.get("CC", "").split() or ["cc"]
    path = shutil.which(program[0]) or shutil.which("gcc")
    if path is None:
        return "works"
    result = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return (result.stdout.splitlines() or ["works"])[0]


def _memory(name: str) -> Finding:
    # From the standard library: psutil itself may be what is missing.
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    seen = f"{memory:.1f} GiB, {cores} core{'s' * (cores != 1)}"
    if memory >= 4:
        return Finding(name, True, seen)
    return Finding(
        name, False, seen, ("  The heartbeat demo needs 4 GiB; take a larger mesh size.",)
    )


def _cache(name: str) -> Finding:
    folder = cache_directory()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            return Finding(name, True, str(folder))
    except OSError as error:
        remedy = "  Name a folder that can be written: export ORGANTWIN_CACHE=/path/to/folder"
        return Finding(name, False, str(error), (remedy,))


# --- libraries, each in a process of its own ----------------------------------------------------


def _dolfinx(name: str) -> Finding:
    program = (
        "import organtwin, dolfinx, basix, ufl; from petsc4py import PETSc;"
        "print('DOLFINx', dolfinx.__version__, '· PETSc',"
        "      '.'.join(map(str, PETSc.Sys.getVersion())), PETSc.ScalarType.__name__,"
        "      '· MUMPS' if PETSc.Sys.hasExternalPackage('mumps') else '· no MUMPS')"
    )
    remedy = (
        "  pip:    pip install dolfinx-solver-real",
        "  conda:  conda install -c conda-forge fenics-dolfinx",
    )
    finding = _child(name, [sys.executable, "-c", program], remedy)
    if finding.ok and ("complex" in finding.seen or "no MUMPS" in finding.seen):
        return Finding(name, False, f"{finding.seen}: real numbers and MUMPS are needed", remedy)
    return finding


def _mpi(name: str) -> Finding:
    """Two ranks that find each other: the launcher belongs to the library of mpi4py."""
    launcher = mpiexec()
    remedy = (
        "  The launcher and mpi4py must be of the same MPI. Use the one beside this Python:",
        f"  {Path(sys.executable).parent / 'mpiexec'} -n 2 organtwin run case.toml",
        "  pip:    pip install --force-reinstall mpi4py mpich",
        "  conda:  conda install -c conda-forge mpich mpi4py",
    )
    if launcher is None:
        return Finding(name, False, "no mpiexec beside this Python or on PATH", remedy)
    program = (
        "from mpi4py import MPI; comm = MPI.COMM_WORLD;"
        "comm.rank or print(comm.size, MPI.Get_library_version().splitlines()[0])"
    )
    finding = _child(name, [str(launcher), "-n", "2", sys.executable, "-c", program], remedy)
    if not finding.ok:
        return finding
    size, _, library = finding.seen.partition(" ")
    if size != "2":
        return Finding(name, False, f"{launcher} starts two runs of one rank ({library})", remedy)
    beside = launcher.parent == Path(sys.executable).parent
    on_path = shutil.which("mpirun") or shutil.which("mpiexec")
    other = on_path and Path(on_path).resolve().parent != launcher.resolve().parent
    note = f"; not {on_path}, which is on PATH" if beside and other else ""
    return Finding(name, True, f"{' '.join(library.split())}, started by {launcher}{note}")


def mpiexec() -> Path | None:
    """The launcher beside this Python, else the one on PATH."""
    beside = Path(sys.executable).parent / "mpiexec"
    if beside.is_file():
        return beside
    found = shutil.which("mpiexec") or shutil.which("mpirun")
    return Path(found) if found else None


_JIT = """
import organtwin, dolfinx, ufl
from dolfinx import fem, mesh
from mpi4py import MPI
import sys
box = mesh.create_unit_cube(MPI.COMM_SELF, 1, 1, 1)
one = fem.Constant(box, 1.0)
volume = fem.assemble_scalar(fem.form(one * ufl.dx, jit_options={"cache_dir": sys.argv[1]}))
assert abs(volume - 1) < 1e-12, volume
print("a form was compiled and integrated")
"""
_GMSH = """
import gmsh
gmsh.initialize()
gmsh.option.setNumber("General.Terminal", 0)
gmsh.model.occ.addBox(0, 0, 0, 1, 1, 1)
gmsh.model.occ.synchronize()
gmsh.model.mesh.generate(3)
assert len(gmsh.model.mesh.getElementsByType(4)[0]) > 0
print(gmsh.GMSH_API_VERSION, "meshed a box")
gmsh.finalize()
"""
_RENDER = """
import numpy, pyvista
plotter = pyvista.Plotter(off_screen=True, window_size=(64, 64))
plotter.set_background("white")
plotter.add_mesh(pyvista.Sphere(), color="red")
picture = plotter.screenshot(return_img=True)
assert numpy.ptp(picture) > 100, "the picture is empty"
window = plotter.render_window.GetClassName()
print("VTK", pyvista.vtk_version_info, "rendered a sphere off screen,", window)
"""
_FILM = """
import imageio_ffmpeg
print(imageio_ffmpeg.get_ffmpeg_version())
"""


def _jit(name: str) -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        remedy = tuple(prerequisites.remedy([COMPILER, HEADERS]))
        return _child(name, [sys.executable, "-c", _JIT, folder], remedy)


def _gmsh(name: str) -> Finding:
    return _child(name, [sys.executable, "-c", _GMSH], _of_libraries("pip install gmsh"))


def _rendering(name: str) -> Finding:
    return _child(name, [sys.executable, "-c", _RENDER], _of_libraries("pip install pyvista vtk"))


def _film(name: str) -> Finding:
    remedy = ("  pip:    pip install imageio-ffmpeg",)
    return _child(name, [sys.executable, "-c", _FILM], remedy)


def _packages(name: str) -> Finding:
    modules = (
        "SimpleITK",
        "pydicom",
        "highdicom",
        "dicomanonymizer",
        "meshio",
        "mmgpy",
        "sympy",
        "h5py",
        "jinja2",
        "matplotlib",
        "pydantic",
    )
    missing = [m for m in modules if not _child(m, [sys.executable, "-c", f"import {m}"], ()).ok]
    if not missing:
        return Finding(name, True, ", ".join(modules))
    return Finding(
        name,
        False,
        f"can't import {', '.join(missing)}",
        (f"  pip:    pip install {' '.join(missing)}",),
    )


def _of_libraries(pip_line: str) -> tuple[str, ...]:
    return (*prerequisites.remedy(list(LIBRARIES)), f"  pip:             {pip_line}")


def _child(name: str, command: list[str], remedy: tuple[str, ...]) -> Finding:
    """Run a program that prints what it found; a crash, an error or silence is a problem."""
    # A child of an MPI run must not take itself for one of its ranks.
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PMI", "PMIX", "OMPI_", "HYDI_", "HYDRA_", "MPIR_"))
    }
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIME_LIMIT, env=inherited
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(name, False, str(error), remedy)
    lines = [line for line in (result.stdout or "").splitlines() if line.strip()]
    if result.returncode == 0:
        return Finding(name, True, lines[-1].strip() if lines else "ok")
    problem = [line for line in result.stderr.splitlines() if line.strip()]
    signal = f" (signal {-result.returncode})" if result.returncode < 0 else ""
    return Finding(name, False, (problem[-1].strip() if problem else "crashed") + signal, remedy)


CHECKS = (
    Check("Python", _python),
    Check("shared libraries", _libraries),
    Check("C compiler", _compiler),
    Check("DOLFINx", _dolfinx),
    Check("MPI", _mpi),
    Check("JIT", _jit),
    Check("gmsh", _gmsh),
    Check("rendering", _rendering),
    Check("film", _film, quick=False),
    Check("packages", _packages, quick=False),
    Check("memory", _memory),
    Check("cache", _cache),
)


def as_json(findings: list[Finding]) -> str:
    """Findings for a program to read."""
    return json.dumps([finding.__dict__ for finding in findings], indent=2)
