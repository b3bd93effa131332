"""What pip can't bring: shared libraries, a C compiler, Python's headers.

Uses the standard library alone and runs as a file too, so that set-up can ask before anything is
installed: ``python organtwin/prerequisites.py``.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

OLDEST_PYTHON = (3, 12)
NEWEST_PYTHON = (3, 14)
#: The binary wheels are built against this glibc (Debian 12, Ubuntu 22.04 and later have it).
OLDEST_GLIBC = (2, 34)


@dataclass(frozen=True)
class Prerequisite:
    """Something of the system, and the packages that bring it.

    Attributes:
        name: What is needed.
        needed_by: Who needs it.
        debian: Packages of Debian and Ubuntu.
        conda: Packages of conda-forge.
    """

    name: str
    needed_by: str
    debian: tuple[str, ...]
    conda: tuple[str, ...]


LIBRARIES = (
    Prerequisite("libGL.so.1", "pictures and gmsh", ("libgl1",), ("libgl",)),
    Prerequisite("libEGL.so.1", "pictures without a screen", ("libegl1",), ("libegl",)),
    Prerequisite("libGLU.so.1", "gmsh", ("libglu1-mesa",), ("libglu",)),
    Prerequisite("libXcursor.so.1", "gmsh", ("libxcursor1",), ("xorg-libxcursor",)),
    Prerequisite("libXft.so.2", "gmsh", ("libxft2",), ("xorg-libxft",)),
    Prerequisite("libXinerama.so.1", "gmsh", ("libxinerama1",), ("xorg-libxinerama",)),
    Prerequisite("libgomp.so.1", "gmsh", ("libgomp1",), ("libgomp",)),
)
COMPILER = Prerequisite(
    "C compiler", "the kernels that DOLFINx generates", ("gcc", "libc6-dev"), ("c-compiler",)
)
HEADERS = Prerequisite("Python.h", "the kernels that DOLFINx generates", ("python3-dev",), ())
PREREQUISITES = (COMPILER, HEADERS, *LIBRARIES)


@dataclass(frozen=True)
class Problem:
    """A prerequisite that is not met, and what was seen."""

    prerequisite: Prerequisite
    seen: str

    def __str__(self) -> str:
        return f"{self.prerequisite.name}: {self.seen} (needed by {self.prerequisite.needed_by})."


def problems() -> list[Problem]:
    """All that the system lacks for organtwin to be installed and run."""
    found = [library_problem(library) for library in LIBRARIES]
    return [p for p in (python_problem(), glibc_problem(), compiler_problem(), *found) if p]


def library_problem(library: Prerequisite) -> Problem | None:
    """Whether the loader finds a shared library."""
    try:
        ctypes.CDLL(library.name)
    except OSError as error:
        return Problem(library, str(error).removeprefix(f"{library.name}: "))
    return None


def compiler_problem() -> Problem | None:
    """Whether C code that includes ``Python.h`` compiles and links to a module."""
    # The commands that cffi, and with it DOLFINx, will use.
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if shutil.which(command[0]) is None:
        return Problem(COMPILER, f"`{command[0]}` is not on PATH")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "try.c"
        source.write_text("#include <math.h>\ndouble f(double x) { return exp(x); }\n")
        compile_it = [*command, "-shared", "-fPIC", str(source), "-o", f"{folder}/try.so"]
        result = subprocess.run(compile_it, capture_output=True, text=True, check=False)
        if result.returncode:
            return Problem(COMPILER, _last_line(result.stderr, "a one-line program fails"))
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return Problem(HEADERS, f"not in {sysconfig.get_path('include')}")
    return None


def python_problem() -> Problem | None:
    """Whether this Python is of a version that organtwin supports."""
    if OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        return None
    return Problem(
        Prerequisite(
            "Python 3.12, 3.13 or 3.14",
            "organtwin",
            ("python3", "python3-venv", "python3-dev"),
            ("python=3.12",),
        ),
        f"this is {platform.python_version()}",
    )


def glibc_problem() -> Problem | None:
    """Whether the C library is new enough for the binary wheels."""
    kind, version = platform.libc_ver()
    if kind != "glibc" or tuple(int(part) for part in version.split(".")[:2]) >= OLDEST_GLIBC:
        return None
    return Problem(
        Prerequisite("glibc 2.34", "the DOLFINx wheel", (), ("fenics-dolfinx",)),
        f"this is {version}; use Debian 12, Ubuntu 22.04 or later, conda or the container",
    )


def debian_line(packages: list[str]) -> str:
    """The line that installs packages on Debian and Ubuntu."""
    return f"apt-get install -y --no-install-recommends {' '.join(packages)}"


def conda_line(packages: list[str]) -> str:
    """The line that installs packages with conda."""
    return f"conda install -c conda-forge {' '.join(packages)}"


def remedy(missing: list[Prerequisite]) -> list[str]:
    """Lines that install everything missing: one for Debian and Ubuntu, one for conda."""
    debian = list(dict.fromkeys(package for item in missing for package in item.debian))
    conda = list(dict.fromkeys(package for item in missing for package in item.conda))
    lines = []
    if debian:
        lines.append(f"  Debian, Ubuntu:  sudo {debian_line(debian)}")
    if conda:
        lines.append(f"  conda:           {conda_line(conda)}")
    return lines


def _last_line(text: str, default: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else default


def main(arguments: list[str]) -> int:
    """Print what is missing and what installs it; 1 if something is.

    Args:
        arguments: ``--debian`` prints the names of all Debian packages instead.
    """
    if arguments == ["--debian"]:
        every = [package for item in PREREQUISITES for package in item.debian]
        sys.stdout.write(" ".join(every) + "\n")
        return 0
    found = problems()
    if not found:
        return 0
    report = ["organtwin needs something that pip can't bring:"]
    report += [f"  {problem}" for problem in found]
    report += ["Install it with one of:", *remedy([p.prerequisite for p in found])]
    sys.stderr.write("\n".join(report) + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
