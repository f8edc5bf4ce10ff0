"""`snp patients`: what is held about a patient."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from service.cli.shared import Refused, in_database

app = typer.Typer(help="What is held about a patient.", no_args_is_help=True)


@app.command("export")
def export_patient(
    file_id: UUID,
    output: Annotated[Path, typer.Option(help="A new file, its owner's alone.")],
) -> None:
    """Write all that is held about a patient (JSON, French labels); the trace keeps it."""
    import json
    import os

    from service.retention import everything_about

    told = in_database(lambda uow: everything_about(uow, None, file_id))
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Refused(f"{output} exists already.") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(told, file, ensure_ascii=False, indent=2)
    typer.echo(f"{output} holds everything about this patient.")
