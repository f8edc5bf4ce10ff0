"""Composition root of the command line: `snp COMMAND --help` says more about each.

Commands are thin: `snp NAME ...` is in the module NAME, what all of them share is in `shared`. What
goes wrong is told in one sentence on stderr: exit code 2 for a mistake in the command itself, 1 for
anything else. Each command imports what it needs when it runs: the health check of a container must
not load the whole service every few seconds.
"""

import sys

import typer
from typer.exceptions import TyperException

from service.cli import (
    audit,
    clients,
    deliveries,
    directory,
    events,
    grants,
    installation,
    keys,
    messages,
    patients,
    people,
    retention,
    sas,
    serve,
    sessions,
)
from service.cli.shared import Refused, say

app = typer.Typer(
    help="Broker of unscheduled-care slots. Settings are environment variables SNP_*.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# In the order of `snp --help`; those without a name are commands of `snp` itself.
app.add_typer(serve.app)
app.add_typer(installation.app)
app.add_typer(keys.app, name="keys")
app.add_typer(clients.app, name="clients")
app.add_typer(grants.app, name="grants")
app.add_typer(people.app, name="people")
app.add_typer(sessions.app, name="sessions")
app.add_typer(directory.app, name="directory")
app.add_typer(audit.app, name="audit")
app.add_typer(events.app, name="events")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(messages.app, name="messages")
app.add_typer(sas.app, name="sas")
app.add_typer(retention.app, name="retention")
app.add_typer(patients.app, name="patients")


def main() -> None:
    """Run `snp`."""
    try:
        code = app(prog_name="snp", standalone_mode=False)
    except TyperException as mistake:
        if mistake.format_message():  # else the help was shown
            say(f"{mistake.format_message()} See snp --help.")
        code = mistake.exit_code
    except Refused as refusal:
        say(str(refusal))
        code = 1
    except Exception as error:
        from service.sentences import sentence

        told = sentence(error)
        if told is None:
            raise
        say(told)
        code = 1
    sys.exit(code)
