"""The stages of an organ's mesh, one after the other: source, mesh, report."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mpi4py import MPI

from organtwin.case.manifest import Manifest, recording
from organtwin.case.organ import OrganCase, OrganMesh, Threshold
from organtwin.case.organ_source import LABELS, Material, read_source, source_of, write_source
from organtwin.case.progress import Progress
from organtwin.case.reporting import report
from organtwin.case.stages import Stage, Work, run_stage
from organtwin.errors import InputError, suggestion
from organtwin.export.mesh_pictures import draw_mesh
from organtwin.export.mesh_report import write_mesh_report
from organtwin.image.volume import LabelMap
from organtwin.mesh.conforming.from_surfaces import from_surfaces
from organtwin.mesh.conforming.islands import Dropped, without_islands
from organtwin.mesh.conforming.ladder import Conforming, conform
from organtwin.mesh.conforming.route import MeshOptions, labelled
from organtwin.mesh.conforming.sizes import Near, Sizes
from organtwin.mesh.conforming.wrapping import Wrapping
from organtwin.mesh.mesh_files import write_mesh
from organtwin.mesh.proof import Proof, Requirements, missed, prove, prove_interfaces, refuse
from organtwin.parallel import on_root
from organtwin.units import ML

#: Of formats that several files make up, the suffix that tells `write_mesh` which is meant.
SUFFIX = {"vtu": ".vtu", "xdmf": ".xdmf", "carp": ".pts", "inp": ".inp", "exo": ".exo"}
#: Voxel edge worth keeping, in parts of the smallest edge length.
VOXELS_PER_EDGE = 1.0 / 3.0
#: The same in parts of the thickness of a grown wall.
VOXELS_PER_WALL = 1.0 / 3.0
#: Voxels are only coarsened if they become at least so many times longer.
COARSER = 1.5
#: Smallest dihedral angle (degrees) that the mesher aims at; the threshold may ask for more.
GOOD_ANGLE = 10.0


def organ_stages(case: OrganCase) -> dict[str, Stage]:
    """The stages of an organ's mesh by name, each with what it depends on."""
    source = Stage(
        "source",
        settings=(case.source, case.labels),
        inputs=tuple(inputs(case)),
        code=("organtwin.image", "organtwin.segment", "organtwin.mesh.repair"),
        outputs=("source.json",),
    )
    mesh = Stage(
        "mesh",
        settings=(case.mesh, case.labels.islands_below, case.output.formats),
        upstream=(source,),
        code=("organtwin.mesh",),
        outputs=("mesh.json", "../../mesh.msh"),
    )
    return {"source": source, "mesh": mesh}


def inputs(case: OrganCase) -> list[Path]:
    """Files that a case reads; of a folder all that lie in it."""
    given = [case.source.labels, case.source.image, *(case.source.surfaces or {}).values(),
             case.labels.corrected]  # fmt: skip
    places = [place for place in given if place is not None]
    return [
        file
        for place in places
        for file in (sorted(place.rglob("*")) if place.is_dir() else [place])
        if file.is_file()
    ]


def mesh_organ(
    case: OrganCase,
    *,
    out: Path | None = None,
    fresh: bool = False,
    comm: MPI.Comm = MPI.COMM_WORLD,
) -> Path:
    """Do the stages of an organ's mesh that are not done yet; collective, rank 0 works.

    Args:
        case: What to do.
        out: Result directory, instead of the case's own.
        fresh: Do finished stages anew.
        comm: Communicator.

    Returns:
        The result directory with ``mesh.msh``, ``report.html`` and, in ``stages/source``, the
        labels or surfaces it was made from.

    Raises:
        OrgantwinError: what went wrong; of a mesh below the threshold the report is there.
    """
    directory = out if out is not None else case.output.directory
    known = organ_stages(case)
    made_from = known["source"].folder(directory)
    work: dict[str, Work] = {
        "source": lambda folder, progress: write_source(source_of(case), folder),
        "mesh": lambda folder, progress: _mesh(
            case, read_source(made_from), directory, folder, progress
        ),
    }
    with recording(directory, case, inputs(case), comm) as manifest:
        for name in known:
            account = run_stage(known[name], directory, work[name], comm=comm, fresh=fresh)
            manifest.add_stage(account)
            _note(manifest, known[name].folder(directory), name, comm)
        labels = made_from / LABELS
        report(
            manifest, comm,
            lambda progress: draw_mesh(directory, labels if labels.is_file() else None, progress),
            lambda: write_mesh_report(directory),
        )  # fmt: skip
        record = known["mesh"].folder(directory) / "mesh.json"
        on_root(comm, lambda: refuse(_read(record)["missed"], "[mesh.threshold]"))
    return directory


def _mesh(
    case: OrganCase, material: Material, directory: Path, folder: Path, progress: Progress
) -> None:
    section = case.mesh
    _check_names(case, material.labels.names if material.labels else material.surfaces)
    options = MeshOptions(
        sizes=_sizes(section),
        wrapping=Wrapping(
            islands_below=case.labels.islands_below,
            resolution=_resolution(case, material.labels),
        ),
        crease=section.crease,
        polished=section.polished,
        # The threshold is proven after the mesh is made: aim a little higher.
        min_dihedral=max(GOOD_ANGLE, 1.05 * section.threshold.min_dihedral),
    )
    if material.labels is None:
        borders = from_surfaces(material.surfaces)
        made = conform(borders, options, "[source]")
        progress(0.8, "measuring")
        proof = prove_interfaces(made.mesh, borders)
    else:
        labels, dropped = without_islands(labelled(material.labels), case.labels.islands_below)
        made = conform(labels, options, "[source]")
        made = replace(made, decisions=(*_islands_in_words(dropped), *made.decisions))
        progress(0.8, "measuring")
        proof = prove(made.mesh, labels)
    write_mesh(made.mesh, directory / "mesh.msh")
    for name in case.output.formats:
        write_mesh(made.mesh, directory / f"mesh{SUFFIX[name]}")
    reasons = missed(proof, _requirements(section.threshold))
    _write_record(made, proof, reasons, folder)


def _resolution(case: OrganCase, labels: LabelMap | None) -> float | None:
    """Voxel edge (mm) that edge lengths and walls ask for; None for the labels as they are."""
    section = case.mesh
    if section.resolution or labels is None:
        return section.resolution
    lengths = [section.size, *section.by_region.values(), *(n.size for n in section.near)]
    lengths += [section.smallest] if section.smallest else []
    walls = [wall.thickness for wall in case.labels.walls.values()]
    edge = min([min(lengths) * VOXELS_PER_EDGE, *(VOXELS_PER_WALL * wall for wall in walls)])
    return edge if edge > COARSER * float(labels.spacing.min()) else None


def _check_names(case: OrganCase, known: Iterable[str]) -> None:
    """Refuse regions that the source does not have, before anything is meshed."""
    for key, names in (
        ("[mesh] by_region", case.mesh.by_region),
        ("[[mesh.near]] region", [near.region for near in case.mesh.near]),
    ):
        for name in names:
            if name not in known:
                raise InputError(key, f"no region `{name}`.", suggestion(name, known))


def _islands_in_words(dropped: Sequence[Dropped]) -> list[str]:
    """What was given away, a sentence for each label."""
    told = []
    for name in dict.fromkeys(piece.name for piece in dropped):
        own = [piece for piece in dropped if piece.name == name]
        x, y, z = own[0].place
        volume = sum(piece.volume for piece in own) / ML
        told.append(
            f"{len(own)} small pieces of `{name}`, {volume:.3g} mL in all, "
            f"were given to what surrounds them; the largest lay at ({x:.0f}, {y:.0f}, {z:.0f}) mm."
        )
    return told


def _pieces_in_words(proof: Proof) -> list[str]:
    """Regions of several pieces: loose ones make a problem singular."""
    return [
        f"`{name}` has {region.pieces} pieces that do not hang together; [labels] islands_below "
        "gives small ones to what surrounds them."
        for name, region in proof.regions.items()
        if region.pieces > 1
    ]


def _sizes(section: OrganMesh) -> Sizes:
    return Sizes(
        default=section.size,
        by_label=section.by_region,
        curvature=section.curvature,
        thickness=section.thickness,
        near=tuple(Near(near.region, near.size, near.distance) for near in section.near),
        smallest=section.smallest,
        gradation=section.gradation,
    )


def _requirements(section: Threshold) -> Requirements:
    return Requirements(
        min_dihedral=section.min_dihedral,
        volume_error=section.volume_error,
        over_ml=section.over / ML,
        hausdorff=section.hausdorff,
    )


def _write_record(made: Conforming, proof: Proof, reasons: list[str], folder: Path) -> None:
    record = {
        "missed": reasons,
        "proof": asdict(proof),
        "attempts": [asdict(attempt) for attempt in made.attempts],
        "decisions": [*made.decisions, *_pieces_in_words(proof)],
    }
    (folder / "mesh.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _note(manifest: Manifest, folder: Path, name: str, comm: MPI.Comm) -> None:
    """Take what a stage found over into ``run.json``."""
    file = folder / {"source": "source.json", "mesh": "mesh.json"}[name]
    record = on_root(comm, lambda: _read(file))
    manifest.add_decisions(record["decisions"])
    if name == "mesh":
        quality = record["proof"]["quality"]
        manifest.add_results(
            {
                "mesh_cells": (quality["cells"], "1"),
                "mesh_min_dihedral_angle": (quality["min_dihedral"], "degree"),
                **{
                    f"volume_{region}": (found["volume_ml"], "mL")
                    for region, found in record["proof"]["regions"].items()
                },
            }
        )


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
