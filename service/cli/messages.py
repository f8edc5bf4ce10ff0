"""`snp messages`: e-mail and SMS that did not go out."""

import typer

from service.cli.shared import in_database

app = typer.Typer(help="E-mail and SMS to doctors and patients.", no_args_is_help=True)


@app.command("retry")
def retry_messages() -> None:
    """Send what was given up, where it still says something true; a worker does it."""
    from service.messages import retry

    typer.echo(f"{in_database(retry)} messages are sent again.")
