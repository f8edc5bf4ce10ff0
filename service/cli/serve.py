"""`snp serve`, `worker`, `demo`, `health`: what runs on this machine, and whether it lives."""

from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Annotated

import typer

from service.cli.shared import Refused
from service.kernel.settings import Settings

app = typer.Typer()
Port = Annotated[int | None, typer.Option(min=0, max=65535, help="Default: SNP_PORT.")]
Host = Annotated[str | None, typer.Option(help="Default: SNP_HOST.")]


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Server processes.")] = 1,
) -> None:
    """Serve the API until told to stop; requests under way are finished first (10 s at most)."""
    from service import serving

    settings = Settings()
    serving.run(
        settings,
        settings.host if host is None else host,
        settings.port if port is None else port,
        workers,
    )


@app.command()
def worker() -> None:
    """Tell the outside what happened, and do what is due, until told to stop. Any number may run.

    It does what no request waits for: webhooks, messages, reminders, what the clock brings.
    """
    from service import serving

    serving.work(Settings())


@app.command()
def demo(
    port: Port = None,
    data_dir: Annotated[Path, typer.Option(help="Where its data is kept.")] = Path("var/demo"),
) -> None:
    """Serve invented people on this machine: the Indre of 2022, and free slots for today.

    The database is embedded, unless SNP_DATABASE_URL names one. A restart keeps the data.
    """
    from service import serving
    from service.demo import run

    settings = Settings()
    number = settings.port if port is None else port
    with serving.until_told(), serving.listen("127.0.0.1", number) as listener:
        run.run(
            data_dir,
            serving.address(listener),
            settings,
            lambda ours, ready: serving.serve(ours, listener, ready),
        )


@app.command()
def health(host: Host = None, port: Port = None) -> None:
    """Ask the server on this machine whether it is alive: exit code 0 if so (for containers)."""
    settings = Settings()
    found = settings.host if host is None else host
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(found, found)  # noqa: S104  not listening
    connection = HTTPConnection(here, settings.port if port is None else port, timeout=3)
    try:
        connection.request("GET", "/health/live")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise Refused(f"No server answers on {here} port {connection.port} ({error}).") from error
    finally:
        connection.close()
    if status != 200:  # noqa: PLR2004  HTTP's OK
        raise Refused(f"The server on {here} port {connection.port} answers {status}.")
