"""`snp retention`: what is past its limit, and the holds that keep it."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from service.cli.shared import DryRun, Refused, cell, in_database, show_table, with_database
from service.kernel.settings import Settings

if TYPE_CHECKING:
    from service.retention import Done

app = typer.Typer(help="How long what is kept; legal holds.", no_args_is_help=True)


@app.command("show")
def show_retention() -> None:
    """Show every limit, and how many rows are past it now; changes nothing."""
    from service.retention import due, rules

    limits = rules(Settings())
    _show_done("due", with_database(lambda database: due(database, limits)))


@app.command("run")
def run_retention(
    dry_run: DryRun = False,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of a transaction.")] = 500,
) -> None:
    """Erase what is past its limit, while servers serve. Once a day, by cron or a timer.

    May be cut off at any moment: the next run does the rest. What a legal hold covers stays.
    """
    from service.kernel.progress import bar
    from service.retention import rules
    from service.retention import run as erase

    if dry_run:
        show_retention()
        return
    limits = rules(Settings())
    with bar("rows") as told:
        done = with_database(lambda database: erase(database, limits, told, batch=batch))
    _show_done("done", done)


@app.command("hold")
def place_hold(
    reason: Annotated[str, typer.Option(help="Why; kept encrypted until it is lifted.")],
    patient_file: Annotated[UUID | None, typer.Option(help="Id of a patient file.")] = None,
    case: Annotated[str | None, typer.Option(help="Id of a case, whatever its territory.")] = None,
) -> None:
    """Keep everything of a patient file or a case from being erased, until the hold is lifted."""
    from service.retention import Target, place

    if (patient_file is None) == (case is None):
        raise Refused("Give --patient-file or --case.")
    target = Target(patient_file, case)
    held = in_database(lambda uow: place(uow, None, target, reason=reason))
    typer.echo(f"Held: {held.id}.")


@app.command("lift")
def lift_hold(hold_id: UUID) -> None:
    """Lift a hold: what is due goes with the next run."""
    from service.retention import lift

    in_database(lambda uow: lift(uow, None, hold_id))
    typer.echo(f"Hold {hold_id} is lifted.")


@app.command("holds")
def list_holds() -> None:
    """List the holds, newest first; a lifted one shows when."""
    from service.retention import holds

    names = ("id", "territory", "patient_file_id", "case_id", "reason", "created_at", "lifted_at")
    found = in_database(holds)
    show_table(names, [[cell(getattr(hold, name)) for name in names] for hold in found])


def _show_done(what: str, found: "list[Done]") -> None:
    rows = [(d.rule.kind, d.rule.kept, cell(d.before), str(d.rows), d.rule.told) for d in found]
    show_table(("rule", "kept", "before", what, ""), rows)
