"""`snp sas`: what the national platform could not be told."""

import typer

from service.cli.shared import in_database

app = typer.Typer(help="Appointments that the SAS platform is told of.", no_args_is_help=True)


@app.command("retry")
def retry_appointments() -> None:
    """Begin anew with what failed or was given up; a worker tells it. Safe to do twice."""
    from service.sas import retry

    typer.echo(f"{in_database(retry)} appointments are told again.")
