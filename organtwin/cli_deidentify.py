"""The command `organtwin deidentify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from organtwin.errors import InputError, OrgantwinError


def deidentify(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder of images, or one file.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder.")],
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Secret (16 bytes or more): runs with the same one agree. Else a random one.",
        ),
    ] = None,
    dates: Annotated[
        str, typer.Option(help="`shift` (one number of days per patient) or `remove`.")
    ] = "shift",
    keep_patient: Annotated[
        bool, typer.Option("--keep-patient", help="Keep sex, age (at most 89), size and weight.")
    ] = False,
    keep_descriptions: Annotated[
        bool,
        typer.Option("--keep-descriptions", help="Keep descriptions of study, series, protocol."),
    ] = False,
    keep_private: Annotated[
        list[str] | None,
        typer.Option(metavar="CREATOR:GGGG,EE", help="Keep this private element; repeatable."),
    ] = None,
) -> None:
    """Write a copy of images without what identifies the patient (DICOM PS3.15, basic profile).

    Burned-in text and faces are warned of, not removed:

        organtwin deidentify scans cleaned --keep-descriptions
    """
    try:
        from organtwin.image.deidentify import REPORT
        from organtwin.image.deidentify import deidentify as run
        from organtwin.image.deidentify_rules import Options, PrivateTag

        private = frozenset(PrivateTag.parse(text) for text in keep_private or [])
        options = Options(dates, keep_patient, keep_descriptions, private)
        report = run(source, target, options, _secret(key))
    except OrgantwinError as error:
        typer.echo(f"organtwin: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, InputError) else 1) from None
    typer.echo(f"{report.written.total()} files written to {target}")
    for word, counts in (("Refused", report.refused), ("Left out", report.left_out)):
        for reason, count in sorted(counts.items()):
            typer.echo(f"{word}: {count} x {reason}")
    for concern, count in sorted(report.warnings.items()):
        typer.echo(f"Warning: {concern} ({count} files)", err=True)
    typer.echo(f"Report: {target / REPORT}.txt and .json. Look at the images before sharing.")
    if report.damaged:
        typer.echo(f"organtwin: {report.damaged} damaged files were left out.", err=True)
        raise typer.Exit(1)


def _secret(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        return file.read_bytes().strip()
    except OSError:
        raise InputError(
            "--key",
            f"`{file}` can't be read.",
            "Make a key, for example with `openssl rand -hex 32 > FILE`.",
        ) from None
