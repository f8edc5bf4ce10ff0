"""`snp events`: what happened, as the outside is told of it."""

from typing import Annotated

import typer

from service.cli.shared import with_database

app = typer.Typer(help="What happened, in the order of the stream.", no_args_is_help=True)


@app.command("tail")
def tail_events(
    after: Annotated[
        int | None, typer.Option(min=0, help="Begin after this position. Default: the newest.")
    ] = None,
    follow: Annotated[bool, typer.Option(help="Wait for new ones, until Ctrl-C.")] = True,
) -> None:
    """Show events as they get their position: ids, states and times; never who a patient is."""
    from contextlib import suppress

    from service.kernel.db import Database
    from service.stream.tasks import tail

    async def show(database: Database) -> None:
        async for fact in tail(database, after=after, follow=follow):
            instant = fact.occurred_at.isoformat(timespec="milliseconds")
            words = (fact.position, instant, fact.territory or "-", fact.type, fact.subject_id)
            typer.echo(" ".join(map(str, words)))

    with suppress(KeyboardInterrupt):
        with_database(show)
