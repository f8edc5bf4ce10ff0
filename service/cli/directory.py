"""`snp directory`: look into it, import."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.shared import DryRun, Refused, in_database, show_table

if TYPE_CHECKING:
    from service.directory import Organization
    from service.kernel.db import UnitOfWork

app = typer.Typer(help="The directory: look into it, import.", no_args_is_help=True)
File = Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Plain, gzip or zip.")]
Territories = Annotated[
    list[str] | None, typer.Option("--territory", help="Such as 36; may be repeated. Default: all.")
]
SourceDate = Annotated[
    str | None, typer.Option(help="Date of the data. Default: in the file's name, or its own.")
]
AcceptVanished = Annotated[
    bool, typer.Option("--accept-vanished", help="Though the file lacks a fifth of them, or all.")
]


@app.command("organizations")
def list_organizations(
    territory: Annotated[str, typer.Option(help="Such as 36.")],
    kind: Annotated[str | None, typer.Option("--type", help="Such as sas, pharmacy.")] = None,
) -> None:
    """List a territory's active organizations, with the ids that `snp clients create` wants."""
    from service import directory
    from service.kernel.paging import MAX_LIMIT, PageRequest

    kinds = directory.OrganizationType
    if kind is not None and kind not in set(kinds):
        raise Refused(f"No type is called {kind}: choose among {', '.join(kinds)}.")
    wanted = {"territory": territory, "type": kind, "active": True}

    async def work(uow: "UnitOfWork") -> "list[Organization]":
        await directory.territory(uow, territory)
        found: list[Organization] = []
        cursor = None
        while True:
            page = await directory.list_organizations(
                uow, wanted, PageRequest(MAX_LIMIT, cursor, wanted)
            )
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return sorted(found, key=lambda entry: (entry.type, entry.name))

    rows = ((str(entry.id), entry.type, entry.name) for entry in in_database(work))
    show_table(("id", "type", "name"), rows)


@app.command("import")
def import_extract(
    file: File,
    territory: Territories = None,
    profession: Annotated[list[str] | None, typer.Option(help="Such as 10,21.")] = None,
    specialty: Annotated[list[str] | None, typer.Option(help="Such as SM54,SM53,SM26.")] = None,
    source_date: SourceDate = None,
    dry_run: DryRun = False,
    accept_vanished: AcceptVanished = False,
    accept_older: Annotated[
        bool, typer.Option("--accept-older", help="Though the last import was of later data.")
    ] = False,
) -> None:
    """Import the free national extract (PS_LibreAcces_Personne_activite); goes on where it ended.

    What the file no longer names, among what imports made by the same filter, is deactivated.
    """
    from service.directory.tasks import command
    from service.directory.tasks.lines import ImportRefused

    try:
        command.extract(
            file,
            territories=territory or (),
            professions=profession or (),
            specialties=specialty or (),
            source_date=source_date,
            dry_run=dry_run,
            accept_vanished=accept_vanished,
            accept_older=accept_older,
        )
    except ImportRefused as refusal:
        raise Refused(str(refusal)) from None
    if not dry_run:
        _tell_left_behind()


@app.command("import-structures")
def import_structures(
    file: File,
    territory: Territories = None,
    source_date: SourceDate = None,
    dry_run: DryRun = False,
    accept_vanished: AcceptVanished = False,
) -> None:
    """Import a CSV of structures: the whole list of its territories, not an addition.

    What an earlier CSV named and this one lacks is DEACTIVATED, in each
    territory that this one names (or --territory). Try with --dry-run first.

    The first line names the columns, in any order, `;` or `,` between them:
    type, name; finess, siret or id (a lasting name of your own);
    commune or territory; phone; cpts (numbers of the CPTS it belongs to).
    `snp directory organizations` shows the ids.
    """
    from service.directory.tasks import command
    from service.directory.tasks.lines import ImportRefused

    try:
        command.structures(
            file,
            territories=territory or (),
            source_date=source_date,
            dry_run=dry_run,
            accept_vanished=accept_vanished,
        )
    except ImportRefused as refusal:
        raise Refused(str(refusal)) from None


def _tell_left_behind() -> None:
    """Name who practises no more and has slots to come: an extract may be wrong, a human judges."""
    from service import slots

    found = in_database(slots.left_behind)
    if not found:
        return
    typer.echo("Not active, and with slots to come (an import withdraws none of them):")
    for one in found:
        typer.echo(f"  RPPS {one.rpps}: {one.free} free, {one.booked} booked")
    typer.echo(
        "PATCH /v1/practitioners/ID with active=false withdraws the free ones, true keeps all."
    )
