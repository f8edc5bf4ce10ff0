"""`snp people`: who has rights, named by a number of theirs."""

from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.shared import Refused, in_database
from service.kernel.settings import Settings

if TYPE_CHECKING:
    from service.identity import Account, Identifier
    from service.kernel.db import UnitOfWork

app = typer.Typer(help="People who have rights.", no_args_is_help=True)
PERSON = "SYSTEM|NUMBER: rpps|10005681340, sas|UUID, https://issuer|sub."


@app.command("close")
def close_person(person: Annotated[str, typer.Argument(help=PERSON)]) -> None:
    """Stop a person at once: revoke all their rights, with effect on their next request."""
    from service import grants, identity

    whose = identifier(person)

    async def work(uow: "UnitOfWork") -> int:
        return await grants.stop(uow, identity.OPERATOR, (await account(uow, whose)).id)

    typer.echo(f"{in_database(work)} rights are revoked.")


def identifier(person: str) -> "Identifier":
    from service import identity

    system, _, value = person.partition("|")
    return identity.identifier(system, value, check_key=Settings().rpps_check == "luhn")


async def account(uow: "UnitOfWork", whose: "Identifier") -> "Account":
    from service import identity

    found = await identity.find_account(uow, whose)
    if found is None:
        raise Refused("Nobody here has this number: `snp grants list` shows who there is.")
    return found
