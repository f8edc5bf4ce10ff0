"""`snp check`, `migrate`, `openapi`: is it set up, its schema, the description of its API."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from service.cli.shared import Refused, owner_url
from service.kernel.settings import Settings

app = typer.Typer()


@app.command()
def check() -> None:
    """Tell whether this installation is set up as it must be: one line an item, 1 on an error."""
    from pydantic import ValidationError

    from service.kernel import checks
    from service.schema import metadata
    from service.sentences import sentence

    try:
        found = asyncio.run(checks.check(Settings(), metadata))
    except ValidationError as error:
        told = sentence(error) or "Not readable."
        found = [checks.Finding("settings", checks.Level.ERROR, told)]
    for finding in found:
        typer.echo(f"{finding.level:<8} {finding.item:<12} {finding.told}")
    if any(finding.level is checks.Level.ERROR for finding in found):
        raise typer.Exit(1)


@app.command()
def migrate() -> None:
    """Bring the database's schema to the newest revision, as its owner (SNP_OWNER_DATABASE_URL)."""
    from service.kernel.migrations import head, upgrade

    upgrade(owner_url())
    typer.echo(f"The schema is at revision {head()}.")


@app.command()
def openapi(
    output: Annotated[Path | None, typer.Option(help="A file, instead of standard output.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell whether the file is up to date.")
    ] = False,
) -> None:
    """Write the API's description (OpenAPI 3.1); needs no database and no keys."""
    from service.description import description

    text = description()
    if output is None:
        typer.echo(text, nl=False)
    elif not check:
        output.write_text(text, encoding="utf-8")
    elif not output.is_file() or output.read_text(encoding="utf-8") != text:
        raise Refused(f"{output} is not what the code says: run make openapi.")
