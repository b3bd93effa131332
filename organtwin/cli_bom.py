"""The command `organtwin bom`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def bom(
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Instead of the terminal.")
    ] = None,
) -> None:
    """Bill of materials of this installation: CycloneDX 1.6 as JSON, without the network.

    organtwin bom -o bom.cdx.json
    """
    from organtwin.bill import bill

    text = json.dumps(bill(), indent=2, ensure_ascii=False)
    if out is None:
        typer.echo(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
