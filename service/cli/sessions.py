"""`snp sessions`: weekly slots of doctors."""

import typer

from service.cli.shared import with_database

app = typer.Typer(help="Sessions: weekly slots of doctors.", no_args_is_help=True)


@app.command("extend")
def extend_sessions() -> None:
    """Publish what sessions lack within eight weeks; `snp serve` does so every hour by itself."""
    from service import agenda

    done = with_database(agenda.extend)
    typer.echo(
        f"{done.sessions} sessions looked at, {done.slots} slots published, "
        f"{done.skipped} left out, {done.failed} sessions failed."
    )
    if done.failed:
        raise typer.Exit(1)
