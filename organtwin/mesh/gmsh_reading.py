"""Files that gmsh reads, as meshes and never as programs.

gmsh takes a file that begins like no mesh for a script, whatever its name is, and a script may run
commands (``SystemCall``). It also runs the file ``NAME.opt`` that lies beside. So a file has to
begin as meshes do, and gmsh sees it through a link in a folder where nothing else lies.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import gmsh

from organtwin.errors import InputError

#: Suffix → what a file begins with; of MSH the versions 1 to 4, of UNV the mark of a data set.
BEGINNINGS = {
    ".msh": re.compile(rb"\s*\$(MeshFormat|NOD|Comments)\s"),
    ".unv": re.compile(rb"\s*-1\s"),
}
#: Bytes that are looked at.
HEAD = 4096


def merge_mesh(file: Path) -> None:
    """Add a mesh to the current model of gmsh.

    Args:
        file: ``.msh`` or ``.unv`` file.

    Raises:
        InputError: it does not begin as such a file does, or gmsh can't read it.
    """
    suffix = file.suffix.lower()
    with file.open("rb") as stream:
        if not BEGINNINGS[suffix].match(stream.read(HEAD)):
            raise InputError(
                str(file), f"does not begin as {suffix} files do.", "Export the mesh again."
            )
    with TemporaryDirectory(prefix="organtwin-gmsh-") as folder:
        link = Path(folder) / f"mesh{suffix}"
        link.symlink_to(file.resolve())
        try:
            gmsh.merge(str(link))
        except Exception as error:  # gmsh raises bare Exceptions
            told = str(error).replace(str(link), file.name)
            raise InputError(str(file), f"gmsh can't read it ({told}).", "Export again.") from None
