"""People who give rights, and rights as they are asked for."""

from typing import Any

from service.identity import Role
from service.kernel.ids import new_id
from tests.support import Caller, World

Body = dict[str, Any]


def person(**members: Any) -> Body:
    """Somebody whom nobody knows yet."""
    return {
        "system": "https://idp.example", "value": new_id().hex, "family_name": "Épreuve",
        "given_name": "Camille", **members,
    }  # fmt: skip


async def named(caller: Caller) -> Caller:
    """Sign software in with somebody who works with it."""
    return await caller.sign_in(user_system="https://idp.example", user_id=new_id().hex)


async def sas_manager(world: World, *territories: str) -> Caller:
    """A manager of the territory's SAS."""
    sas = await world.organization("sas")
    here = [world.territory, *territories]
    return await named(await world.caller(Role.MANAGER, sas, "sas", territories=here))


async def community_manager(world: World) -> Caller:
    """A manager of a CPTS of the territory."""
    return await named(await world.manager())


async def administration(world: World) -> Caller:
    """The administration, which sits somewhere else."""
    other = await World(world.database, world.http).begin()
    return await named(await other.caller(Role.ADMIN, await other.organization("sas"), "sas"))


def right(caller: Caller, role: str = "osnp", **members: Any) -> Body:
    """A right in the caller's own organization."""
    return {
        "person": person(), "role": role, "organization_id": str(caller.organization_id),
        **members,
    }  # fmt: skip


async def given(caller: Caller, body: Body) -> Body:
    """Give a right."""
    answer = await caller.post("/v1/grants", body)
    assert answer.status_code == 201, answer.text
    made: Body = answer.json()
    return made
