"""Health: alive, and ready to serve."""

import asyncio
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from sqlalchemy import text

from service.kernel.errors import DomainError
from service.kernel.migrations import head

router = APIRouter(prefix="/health", tags=["operations"])

_HEAD = head()
_CHECK = text(
    """SELECT (SELECT version_num FROM alembic_version) AS revision,
              (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
              pg_is_in_recovery() AS replica"""
)


class Health(BaseModel):
    """`pass`, or `fail` with the checks that say why."""

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
    checks = await _checks(request)
    failed = any(check != "pass" for check in checks.values())
    if failed:
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    if request.app.state.settings.read_only:  # wanted: the load balancer keeps sending readers
        checks["changes"] = "read_only"
    return Health(status="fail" if failed else "pass", checks=checks)


async def _checks(request: Request) -> dict[str, str]:
    try:
        async with asyncio.timeout(6), request.app.state.database.unit_of_work() as uow:
            row = (await uow.single(_CHECK)).one()
    except TimeoutError:
        return {"database": "no answer within 6 seconds"}
    except DomainError as refusal:
        return {"database": str(refusal)}
    except Exception as defect:  # noqa: BLE001  readiness reports whatever is wrong
        return {"database": type(defect).__name__}
    return {
        "database": "pass" if not row.replica else "read-only replica",
        "schema": "pass" if row.revision == _HEAD else f"at {row.revision}, code wants {_HEAD}",
        "role": "pass" if not row.superuser else "superuser: use the role snp_app",
    }
