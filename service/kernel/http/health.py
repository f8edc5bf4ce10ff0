"""Health: alive, and ready to serve."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlalchemy import text

from service.kernel.db import UnitOfWork
from service.kernel.errors import DomainError
from service.kernel.migrations import head
from service.kernel.wall import READS_AS, seeking

# What a room says of itself: whether it can serve, and how it is.
RoomCheck = Callable[[UnitOfWork], Awaitable[tuple[bool, str]]]

router = APIRouter(prefix="/health", tags=["operations"])

_HEAD = head()
_CHECK = text(
    """SELECT (SELECT version_num FROM alembic_version) AS revision,
              (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
              row_security_active('patient_files') AS walled,
              pg_is_in_recovery() AS replica"""
)
# Who says it and who believes it: the server's key and clock, and the database's.
_BELIEVED = text("SELECT snp_proven('sought') IS NOT NULL")


class Health(BaseModel):
    """`pass`, or `fail` with the checks that say why. `audit`: how far traces are sealed.

    `webhooks`: for how long due deliveries wait, and how many were given up; no reason to fail.
    `messages`: how e-mail and SMS go out.
    """

    status: Literal["pass", "fail"]
    checks: dict[str, str] = {}


@router.get("/live", operation_id="health.live")
async def live() -> Health:
    """Tell that the process answers."""
    return Health(status="pass")


@router.get(
    "/ready",
    operation_id="health.ready",
    responses={503: {"model": Health, "description": "Not ready; `checks` says why."}},
)
async def ready(request: Request, response: Response) -> Health:
    """Tell whether requests can be served: database, schema, and a role that protects it."""
    failed, checks = await _checks(request)
    if failed:
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    if request.app.state.settings.read_only:  # wanted: the load balancer keeps sending readers
        checks["changes"] = "read_only"
    return Health(status="fail" if failed else "pass", checks=checks)


async def _checks(request: Request) -> tuple[bool, dict[str, str]]:
    try:
        async with asyncio.timeout(6), request.app.state.database.unit_of_work() as uow:
            return await _ask(uow, request.app.state.room_checks)
    except TimeoutError:
        return True, {"database": "no answer within 6 seconds"}
    except DomainError as refusal:
        return True, {"database": str(refusal)}
    except Exception as defect:  # noqa: BLE001  readiness reports whatever is wrong
        return True, {"database": type(defect).__name__}


async def _ask(uow: UnitOfWork, rooms: Mapping[str, RoomCheck]) -> tuple[bool, dict[str, str]]:
    row = (await uow.single(_CHECK)).one()
    checks = {
        "database": "pass" if not row.replica else "read-only replica",
        "schema": "pass" if row.revision == _HEAD else f"at {row.revision}, code wants {_HEAD}",
        "role": _role(superuser=row.superuser, walled=row.walled),
    }
    if row.revision == _HEAD:
        await uow.execute(READS_AS, seeking(uow.vault, "nobody"))
        if not (await uow.execute(_BELIEVED)).scalar_one():
            checks["role"] = "the database does not believe who reads: snp check, wall and clock"
    failed = any(check != "pass" for check in checks.values())
    if row.revision == _HEAD:
        for name, check in rooms.items():
            well, checks[name] = await check(uow)
            failed = failed or not well
    return failed, checks


def _role(*, superuser: bool, walled: bool) -> str:
    if superuser:
        return "superuser: use the role snp_app"
    return "pass" if walled else "row-level security does not hold it: use the role snp_app"
