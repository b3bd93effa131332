"""Make the meshes of the gallery and their pictures anew: make gallery, or names of its folders."""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

import sys
from pathlib import Path
from shutil import copyfile

from organtwin.case.load import load_organ_case
from organtwin.case.meshing import mesh_organ

ROOT = Path(__file__).parents[1]

if __name__ == "__main__":
    wanted = sys.argv[1:] or sorted(file.parent.name for file in ROOT.glob("meshes/*/case.toml"))
    for name in wanted:
        folder = ROOT / "meshes" / name
        result = mesh_organ(load_organ_case(folder / "case.toml"), out=ROOT / "results" / name)
        copyfile(result / "mesh.vtu", folder / "mesh.vtu")
        for picture in ("mesh", *(file.stem for file in result.glob("pictures/fibres*.png"))):
            copyfile(result / "pictures" / f"{picture}.png", folder / f"{picture}.png")
        print(f"{name}: {folder / 'mesh.vtu'}, report in {result}")
