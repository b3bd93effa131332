"""Carry out a Dockerfile's steps in a plain Debian root, where no container can be built.

    debootstrap --variant=minbase trixie /tmp/root
    python docker/rehearse.py docker/Dockerfile /tmp/root

It knows the instructions that our Dockerfile uses and stops at any other. Needs root. Steps that
download may need files and variables of this machine (certificates of a proxy, say): ``--lend``
copies a file to the same place in the root and ``--env`` passes a variable on; both only for
``RUN``.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from string import Template

MOUNTS = """
mount -t proc proc "$0/proc"
mount -t sysfs sysfs "$0/sys"
mount --bind /dev "$0/dev"
mount -t tmpfs -o mode=1777 tmpfs "$0/dev/shm"
exec "$@"
"""


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Instructions in order, continued lines joined, comments gone."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


class Root:
    """A Debian root and the state that a Dockerfile's instructions change."""

    def __init__(self, root: Path, context: Path, lent: dict[str, str]) -> None:
        self.root = root
        self.context = context
        self.variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        self.lent = lent
        self.folder = "/"
        self.user = "root"

    def copy(self, rest: str) -> None:
        *sources, target = rest.split()
        for source in sources:
            place = self.root / target.lstrip("/")
            if (self.context / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(self.context / source, place, dirs_exist_ok=True, ignore=ignored)
            else:
                place = place / source if target.endswith("/") else place
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.context / source, place)

    def run(self, command: str) -> None:
        home = "/root" if self.user == "root" else f"/home/{self.user}"
        variables = {
            **self.lent,
            **self.variables,
            "HOME": home,
            "DEBIAN_FRONTEND": "noninteractive",
        }
        assignments = [f"{name}={value}" for name, value in variables.items()]
        chroot = ["chroot", f"--userspec={self.user}:{self.user}", str(self.root)]
        shell = [
            "/usr/bin/env",
            "-i",
            *assignments,
            "/bin/sh",
            "-c",
            f"cd {self.folder} && {command}",
        ]
        # The file systems of the kernel, as a container has them, in a mount namespace of our own.
        mounts = ["unshare", "--mount", "sh", "-ec", MOUNTS, str(self.root)]
        subprocess.run([*mounts, *chroot, *shell], check=True)

    def obey(self, instruction: str, rest: str) -> None:
        match instruction:
            case "RUN":
                self.run(rest)
            case "COPY":
                self.copy(rest)
            case "ENV":
                pairs = Template(rest).substitute(self.variables).split()
                self.variables.update(pair.split("=", 1) for pair in pairs)
            case "WORKDIR":
                self.folder = rest
            case "USER":
                self.user = rest
            case "FROM" | "CMD":
                pass
            case _:
                raise SystemExit(f"rehearse: {instruction} is not known")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dockerfile", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("--lend", action="append", default=[], type=Path, metavar="FILE")
    parser.add_argument("--env", action="append", default=[], metavar="NAME")
    arguments = parser.parse_args()
    for file in arguments.lend:
        place = arguments.root / str(file).lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, place)
    lent = {name: os.environ[name] for name in arguments.env if name in os.environ}
    context = arguments.dockerfile.resolve().parents[1]
    root = Root(arguments.root, context, lent)
    for instruction, rest in instructions(arguments.dockerfile):
        sys.stdout.write(f"=== {instruction} {rest}\n")
        sys.stdout.flush()
        root.obey(instruction, rest)


if __name__ == "__main__":
    main()
