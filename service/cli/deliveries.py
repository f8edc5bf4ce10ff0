"""`snp deliveries`: what webhooks could not deliver."""

from typing import Annotated
from uuid import UUID

import typer

from service.cli.shared import instant, with_database

app = typer.Typer(help="Webhooks that did not arrive.", no_args_is_help=True)


@app.command("retry")
def retry_deliveries(
    endpoint: Annotated[UUID | None, typer.Option(help="Of this endpoint alone.")] = None,
    since: Annotated[str | None, typer.Option(help="What happened from this instant on.")] = None,
) -> None:
    """Begin anew with what failed or was given up; a worker sends it. Safe to do twice."""
    from service.webhooks.tasks import retry

    asked = instant(since)
    done = with_database(lambda database: retry(database, endpoint, asked))
    typer.echo(f"{done} deliveries are sent again.")
