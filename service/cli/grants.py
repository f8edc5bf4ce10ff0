"""`snp grants`: the rights of people."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from service.cli.people import PERSON, account, identifier
from service.cli.shared import cell, in_database, instant, role_named, show_table

if TYPE_CHECKING:
    from service.identity import GrantEntry
    from service.kernel.db import UnitOfWork

app = typer.Typer(help="The rights of people: who may do what, where.", no_args_is_help=True)


@app.command("give")
def give_grant(
    person: Annotated[str, typer.Option(help=PERSON)],
    role: Annotated[str, typer.Option(help="regulator, osnp, doctor, manager, ...")],
    organization: Annotated[UUID, typer.Option(help="Id of the organization.")],
    family_name: Annotated[str | None, typer.Option(help="For lists and traces.")] = None,
    given_name: Annotated[str | None, typer.Option(help="For lists and traces.")] = None,
    territory: Annotated[
        list[str] | None, typer.Option(help="May be repeated. Default: the organization's.")
    ] = None,
    practitioner: Annotated[
        list[UUID] | None, typer.Option(help="Id of whom they act for; may be repeated.")
    ] = None,
    valid_from: Annotated[
        str | None, typer.Option(help="Such as 2026-12-01T00:00:00+01:00. Default: now.")
    ] = None,
    valid_until: Annotated[
        str | None, typer.Option(help="Such as 2027-12-01T00:00:00+01:00. Default: in a year.")
    ] = None,
) -> None:
    """Give a person who signs in elsewhere (SNP_ISSUERS) one role, for an organization."""
    from service import grants, identity

    granted = role_named(role)
    draft = grants.GrantDraft(
        person=grants.Named(identifier(person), family_name, given_name),
        role=granted,
        organization_id=organization,
        territories=tuple(territory or ()),
        practitioner_ids=tuple(practitioner or ()),
        valid_from=instant(valid_from),
        valid_until=instant(valid_until),
    )
    given = in_database(lambda uow: grants.give(uow, identity.OPERATOR, draft))
    typer.echo(f"grant {given.id} until {cell(given.valid_until)}")


@app.command("list")
def list_grants(
    territory: Annotated[str | None, typer.Option(help="Such as 36. Default: all.")] = None,
    role: Annotated[str | None, typer.Option(help="Such as regulator. Default: all.")] = None,
    person: Annotated[str | None, typer.Option(help=f"{PERSON} Default: all.")] = None,
) -> None:
    """List rights in force or to come, of people and of software, newest first."""
    from service import grants, identity
    from service.kernel.paging import MAX_LIMIT, PageRequest

    wanted: dict[str, object] = {
        "territory": territory,
        "role": None if role is None else role_named(role),
    }
    whose = None if person is None else identifier(person)

    async def work(uow: "UnitOfWork") -> "list[GrantEntry]":
        if whose is not None:
            wanted["account"] = (await account(uow, whose)).id
        found: list[GrantEntry] = []
        cursor = None
        while True:
            asked = PageRequest(MAX_LIMIT, cursor, wanted)
            page = await grants.list_all(uow, identity.OPERATOR, wanted, asked)
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                return found

    titles = ("id", "whose", "role", "territories", "organization", "from", "until")
    show_table(titles, map(_granted, in_database(work)))


@app.command("revoke")
def revoke_grant(grant_id: UUID) -> None:
    """Revoke a right, with effect on its holder's next request."""
    from service import grants, identity

    in_database(lambda uow: grants.revoke(uow, identity.OPERATOR, grant_id))
    typer.echo(f"Grant {grant_id} is revoked.")


def _granted(grant: "GrantEntry") -> tuple[str, ...]:
    if grant.account is None:
        whose = grant.client.name if grant.client else ""
    else:
        numbers = (f"{one.system}|{one.value}" for one in grant.account.identifiers)
        names = (grant.account.family_name, grant.account.given_name, *numbers)
        whose = " ".join(filter(None, names))
    return (
        str(grant.id),
        whose,
        grant.role,
        " ".join(grant.territories),
        str(grant.organization_id),
        cell(grant.valid_from),
        cell(grant.valid_until),
    )
