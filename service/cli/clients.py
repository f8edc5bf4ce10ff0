"""`snp clients`: client software, its secrets and certificates."""

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from service.cli.shared import Refused, cell, in_database, instant, role_named, show_table

if TYPE_CHECKING:
    from service.kernel.db import UnitOfWork

app = typer.Typer(help="Client software, and what it may do.", no_args_is_help=True)


@app.command("create")
def create_client(
    name: Annotated[str, typer.Option(help="What the software is called.")],
    role: Annotated[
        str | None, typer.Option(help="regulator, osnp, doctor, pharmacist, ...")
    ] = None,
    organization: Annotated[UUID | None, typer.Option(help="Id of its organization.")] = None,
    territory: Annotated[
        list[str] | None, typer.Option(help="Such as 36; may be repeated.")
    ] = None,
    practitioner: Annotated[
        list[UUID] | None, typer.Option(help="Id of whom it acts for; may be repeated.")
    ] = None,
    valid_until: Annotated[
        str | None, typer.Option(help="Such as 2027-01-01T00:00:00+01:00. Default: no end.")
    ] = None,
) -> None:
    """Create client software with one grant; its secret is shown once.

    Without role, organization and territory it has no right of its own: people who sign in with
    an issuer work with it, each with their own rights (snp grants).
    """
    from service import directory, identity

    end = instant(valid_until)
    given = (role, organization, territory)
    if any(given) and not all(given):
        raise Refused("A grant is made of --role, --organization and --territory: all or none.")
    granted = None if role is None else role_named(role)

    async def work(uow: "UnitOfWork") -> identity.NewSecret:
        secret = await identity.create_client(uow, name=name)
        if granted is None or organization is None or territory is None:
            return secret
        found = await directory.organization(uow, organization)
        await identity.give_grant(
            uow,
            client_id=secret.client_id,
            role=granted,
            organization_id=organization,
            organization_type=found.type,
            cpts_ids=directory.grant_communities(found),
            territories=territory,
            practitioner_ids=practitioner or (),
            valid_until=end,
        )
        return secret

    _show_secret(in_database(work))


@app.command("list")
def list_clients() -> None:
    """List clients and their grants in force."""
    from service import identity

    titles = ("id", "name", "role", "territories", "organization", "until", "revoked")
    show_table(titles, map(_cells, in_database(identity.list_clients)))


@app.command("rotate")
def rotate_client(
    client_id: UUID,
    grace_hours: Annotated[int, typer.Option(min=0, help="How long the old one works.")] = 24,
) -> None:
    """Give a client a new secret, shown once; the old one works for some hours more."""
    from service import identity

    _show_secret(
        in_database(lambda uow: identity.rotate_secret(uow, client_id, grace_hours=grace_hours))
    )


@app.command("revoke")
def revoke_client(client_id: UUID) -> None:
    """Revoke a client and its grants, with effect on the next request."""
    from service import identity

    in_database(lambda uow: identity.revoke_client(uow, client_id))
    typer.echo(f"Client {client_id} is revoked.")


@app.command("certify")
def certify_client(
    client_id: UUID,
    subject: Annotated[
        str | None, typer.Option(help="What its subject must hold: OU=318751275100020,O=...")
    ] = None,
    any_structure: Annotated[
        bool, typer.Option("--any-structure", help="OU or CN is enough: no O and OU are asked.")
    ] = False,
    no_certificate: Annotated[
        bool, typer.Option("--none", help="Its secret counts again instead.")
    ] = False,
) -> None:
    """Let a client sign in with its certificate, and no more with its secret.

    See SNP_CERTIFICATE_HEADER. Parts of the subject that are not named here may be anything: so
    O and OU must be named, as national certificates have them. Tokens that it got before end.
    """
    from service import identity

    if (subject is None) is not no_certificate:
        raise Refused("Say --subject, or --none.")
    in_database(
        lambda uow: identity.certify_client(uow, client_id, subject, structure=not any_structure)
    )
    typer.echo(f"Client {client_id} signs in with {'its certificate' if subject else 'a secret'}.")


def _show_secret(made: Any) -> None:
    typer.echo(f"client_id      {made.client_id}")
    typer.echo(f"client_secret  {made.client_secret}")
    typer.echo("The secret is shown this once and kept nowhere.", err=True)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    names = ("id", "name", "role", "territories", "organization_id", "valid_until", "revoked_at")
    return tuple(cell(row[name]) for name in names)
