"""The stages of an organ's mesh, one after the other: source, mesh, anatomy, files, report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from organtwin.case.manifest import Manifest, recording
from organtwin.case.organ import OrganCase, Threshold
from organtwin.case.organ_anatomy import anatomise
from organtwin.case.organ_sizes import resolution_of, sizes_of
from organtwin.case.organ_source import (
    LABELS,
    Material,
    read_source,
    scan_of,
    source_of,
    write_source,
)
from organtwin.case.progress import Progress
from organtwin.case.records import read_record, write_record
from organtwin.case.reporting import report
from organtwin.case.stages import Stage, Work, files_in, run_stage
from organtwin.errors import InputError, suggestion
from organtwin.export.mesh_pictures import draw_mesh
from organtwin.export.mesh_report import write_mesh_report
from organtwin.mesh.conforming.from_surfaces import from_surfaces
from organtwin.mesh.conforming.islands import Dropped, without_islands
from organtwin.mesh.conforming.ladder import Conforming, conform
from organtwin.mesh.conforming.route import MeshOptions, labelled
from organtwin.mesh.conforming.wrapping import Wrapping
from organtwin.mesh.mesh_files import read_mesh, write_mesh
from organtwin.mesh.proof import Proof, Requirements, missed, prove, prove_interfaces, refuse
from organtwin.parallel import on_root
from organtwin.units import ML

#: Of formats that several files make up, the suffix that tells `write_mesh` which is meant.
SUFFIX = {"vtu": ".vtu", "xdmf": ".xdmf", "carp": ".pts", "inp": ".inp", "exo": ".exo"}
#: Smallest dihedral angle (degrees) that the mesher aims at; the threshold may ask for more.
GOOD_ANGLE = 10.0


def organ_stages(case: OrganCase) -> dict[str, Stage]:
    """The stages of an organ's mesh by name, each with what it depends on."""
    source = Stage(
        "source",
        settings=(case.source, case.labels),
        inputs=files_in(_sources(case)),
        code=(
            "organtwin.image",
            "organtwin.segment",
            "organtwin.mesh.repair",
            "organtwin.case.organ_source",
        ),
        outputs=("source.json",),
    )
    mesh = Stage(
        "mesh",
        settings=(case.mesh, case.labels.islands_below),
        inputs=tuple(_markups(case)),
        upstream=(source,),
        code=("organtwin.mesh", "organtwin.case.organ_sizes"),
        outputs=("mesh.json", "../../mesh.msh"),
    )
    known = {"source": source, "mesh": mesh}
    if case.anatomy:
        known["anatomy"] = Stage(
            "anatomy",
            settings=(case.anatomy, case.source),
            inputs=files_in(case.anatomy.files),
            upstream=(mesh,),
            code=(
                "organtwin.anatomy",
                "organtwin.case.organ_anatomy",
                "organtwin.case.organ_directions",
                "organtwin.case.organ_surfaces",
                "organtwin.solve",
            ),
            outputs=("anatomy.json", "../../fields/anatomy.vtu"),
        )  # fmt: skip
    known["files"] = Stage(
        "files",
        settings=(case.output.formats,),
        upstream=(known.get("anatomy", mesh),),
        outputs=tuple(f"../../mesh{SUFFIX[name]}" for name in case.output.formats),
    )
    return known


def inputs(case: OrganCase) -> tuple[Path, ...]:
    """Files that a case reads; of a folder all that lie in it."""
    further = case.anatomy.files if case.anatomy else ()
    return files_in([*_sources(case), *_markups(case), *further])


def _sources(case: OrganCase) -> list[Path]:
    given = [case.source.labels, case.source.image, *(case.source.surfaces or {}).values(),
             case.labels.corrected]  # fmt: skip
    return [place for place in given if place is not None]


def _markups(case: OrganCase) -> list[Path]:
    return [near.markup for near in case.mesh.near if near.markup is not None]


def mesh_organ(
    case: OrganCase,
    *,
    out: Path | None = None,
    fresh: bool = False,
    comm: MPI.Comm = MPI.COMM_WORLD,
) -> Path:
    """Do the stages of an organ's mesh that are not done yet; collective.

    Rank 0 meshes; all ranks work on directions and coordinates.

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
    record = known["mesh"].folder(directory) / "mesh.json"
    work: dict[str, Work] = {
        "source": lambda folder, progress: write_source(source_of(case), folder),
        "mesh": lambda folder, progress: _mesh(
            case, read_source(made_from), directory, folder, progress
        ),
        "anatomy": lambda folder, progress: anatomise(case, directory, folder, progress, comm),
        "files": lambda folder, progress: _files(case, directory),
    }
    with recording(directory, case, inputs(case), comm) as manifest:

        def do(stage: Stage) -> None:
            account = run_stage(
                stage, directory, work[stage.name], comm=comm, fresh=fresh,
                ranks="all" if stage.name == "anatomy" else "one",
            )  # fmt: skip
            manifest.add_stage(account)
            _note(manifest, stage.folder(directory), stage.name, comm)

        do(known["source"])
        do(known["mesh"])
        if on_root(comm, lambda: bool(read_record(record)["missed"])):
            # Nothing is built upon a mesh that is refused; it is written to be looked at.
            bare = case.model_copy(update={"anatomy": None})
            work["files"] = lambda folder, progress: _files(bare, directory)
            do(organ_stages(bare)["files"])
        else:
            for name in list(known)[2:]:
                do(known[name])
        labels = made_from / LABELS
        report(
            manifest, comm,
            lambda progress: draw_mesh(
                directory, labels if labels.is_file() else None, scan_of(case.source), progress
            ),
            lambda: write_mesh_report(directory),
        )  # fmt: skip
        on_root(comm, lambda: refuse(read_record(record)["missed"], "[mesh.threshold]"))
    return directory


def _mesh(
    case: OrganCase, material: Material, directory: Path, folder: Path, progress: Progress
) -> None:
    section = case.mesh
    _check_names(case, material.labels.names if material.labels else material.surfaces)
    options = MeshOptions(
        sizes=sizes_of(section),
        wrapping=Wrapping(
            islands_below=case.labels.islands_below,
            resolution=resolution_of(case, material.labels),
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
    reasons = missed(proof, _requirements(section.threshold))
    _write_record(made, proof, reasons, folder)


def _files(case: OrganCase, directory: Path) -> None:
    """Write the formats wanted, with fibres if there are any."""
    fields = directory / "fields" / "anatomy.vtu"
    if case.anatomy and fields.is_file():
        mesh = read_mesh(fields)
        # Single precision: the files are twice as large else.
        single: Any = {name: v.astype(np.float32) for name, v in mesh.fibres.items()}
        mesh = replace(mesh, cell_values={}, fibres=single)
    else:
        mesh = read_mesh(directory / "mesh.msh")
    for name in case.output.formats:
        write_mesh(mesh, directory / f"mesh{SUFFIX[name]}")


def _check_names(case: OrganCase, known: Iterable[str]) -> None:
    """Refuse regions that the source does not have, before anything is meshed."""
    for key, names in (
        ("[mesh] by_region", case.mesh.by_region),
        ("[[mesh.near]] region", [near.region for near in case.mesh.near if near.region]),
        *(case.anatomy.regions.items() if case.anatomy else ()),
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
    write_record(folder / "mesh.json", record)


def _note(manifest: Manifest, folder: Path, name: str, comm: MPI.Comm) -> None:
    """Take what a stage found over into ``run.json``."""
    if name == "files":
        return
    record = on_root(comm, lambda: read_record(folder / f"{name}.json"))
    manifest.add_decisions(record["decisions"])
    if name == "anatomy":
        manifest.add_results(
            {
                f"volume_{tissue['name']}_{part.replace(' ', '_')}": (volume, "mL")
                for tissue in record["tissues"]
                for part, volume in tissue["parts"]
            }
        )
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
