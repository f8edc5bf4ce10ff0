"""`snp deliveries`: what webhooks and messages could not deliver."""

from typing import Annotated
from uuid import UUID

import typer

from service.cli.shared import in_database, instant, with_database

app = typer.Typer(help="Webhooks and messages that did not arrive.", no_args_is_help=True)


@app.command("retry")
def retry_deliveries(
    endpoint: Annotated[UUID | None, typer.Option(help="Webhooks of this endpoint alone.")] = None,
    since: Annotated[str | None, typer.Option(help="What happened from this instant on.")] = None,
    messages: Annotated[
        bool, typer.Option("--messages", help="E-mails and SMS instead of webhooks.")
    ] = False,
) -> None:
    """Begin anew with what failed or was given up; a worker sends it. Safe to do twice."""
    if messages:
        from service.messages import retry as retry_messages

        typer.echo(f"{in_database(retry_messages)} messages are sent again.")
        return
    from service.webhooks.tasks import retry

    asked = instant(since)
    done = with_database(lambda database: retry(database, endpoint, asked))
    typer.echo(f"{done} deliveries are sent again.")
