"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CaseFile = Annotated[Path, typer.Argument(help="Case file (TOML).", metavar="CASE.toml")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help='Replace a setting, e.g. `mesh.size="8 mm"`; repeatable.'
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Result directory instead of the case's own.")
]
Workers = Annotated[int, typer.Option("--workers", help="Processes of this machine.")]
Cluster = Annotated[str | None, typer.Option("--cluster", help="Address of a Dask scheduler.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
