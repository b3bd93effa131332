"""Who may read what organtwin writes: its owner, unless a group is asked for.

Files that come from a patient's image are the patient's. So they get the modes 0600 and their
folders 0700, whatever the umask of the shell; `ORGANTWIN_FILES=group` makes that 0660 and 0770.
The one place that sets it is the process's umask, which Python, VTK, HDF5, gmsh, compilers and
child processes all obey; nothing has to be remembered where files are written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from organtwin.errors import InputError, suggestion

#: Environment variable, and what it takes from the modes 0666 and 0777.
SWITCH = "ORGANTWIN_FILES"
MASKS = {"owner": 0o077, "group": 0o007}


def mask() -> int:
    """The umask that the environment asks for.

    Raises:
        InputError: the variable has an unknown value.
    """
    wanted = os.environ.get(SWITCH, "owner")
    if wanted not in MASKS:
        raise InputError(SWITCH, f"unknown value `{wanted}`.", suggestion(wanted, MASKS))
    return MASKS[wanted]


def restrict() -> int:
    """Restrict all that this process writes from now on; the umask before.

    A stricter umask of the user stays.

    Raises:
        InputError: see `mask`.
    """
    wanted = mask()
    before = os.umask(wanted)
    os.umask(before | wanted)
    return before


@contextmanager
def restricted() -> Iterator[None]:
    """Restrict what is written while the block runs, for those who call organtwin from Python.

    Raises:
        InputError: see `mask`.
    """
    before = restrict()
    try:
        yield
    finally:
        os.umask(before)


def close_folder(folder: Path) -> None:
    """Take from a folder what the switch does not grant: old files inside may have wider modes.

    Folders of other owners are left as they are.

    Raises:
        InputError: see `mask`.
    """
    wanted = mask()
    status = folder.stat()
    if status.st_uid == os.geteuid() and status.st_mode & wanted:
        folder.chmod(status.st_mode & 0o7777 & ~wanted)
