"""What the tests of the face share: the platform as a caller, and searches as it writes them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
from sqlalchemy import select

from service.directory.tables import practitioners
from service.identity import Role
from tests.fhir.validator import GUIDES, findings
from tests.support import Caller, World, soon

IDNPS = "urn:oid:1.2.250.1.71.4.2.1"
FHIR = "application/fhir+json; charset=utf-8"
COMMUNITIES = (
    "&_include=Slot:service-type-reference&_include:iterate=HealthcareService:organization"
)
Resource = dict[str, Any]


async def platform(world: World, territories: Sequence[str] | None = None) -> Caller:
    """The national platform, for this territory or some."""
    organization = await world.organization("other")
    return await world.caller(Role.SAS_PLATFORM, organization, "other", territories=territories)


async def rpps_of(world: World, *practitioner_ids: UUID | None) -> list[str]:
    """The numbers of practitioners, in this order."""
    p = practitioners.c
    async with world.database.unit_of_work() as uow:
        rows = await uow.single(select(p.id, p.rpps).where(p.id.in_(practitioner_ids)))
    found = {row.id: row.rpps for row in rows}
    return [found[practitioner_id] for practitioner_id in practitioner_ids]


def query(rpps: Sequence[str], start: datetime | None = None, end: datetime | None = None) -> str:
    """The query of INT_R01, percent-encoded; by default from an hour ago, for three days."""
    who = ",".join(f"{IDNPS}|8{number}" for number in rpps)
    bounds = (start or soon(-1), end or soon(72))
    first, last = (at.isoformat(timespec="milliseconds") for at in bounds)
    return (
        "_include=Slot:schedule&_include:iterate=Schedule:actor"
        f"&start=ge{quote(first, ':')}&start=le{quote(last, ':')}"
        f"&schedule.actor:Practitioner.identifier={quote(who, ':,')}&status=free"
    )


async def search(
    caller: Caller, rpps: Sequence[str], *, communities: bool = False, **bounds: datetime
) -> Resource:
    """The Bundle that answers a search, valid against both versions of the guide."""
    answer = await caller.get(
        f"/fhir/Slot?{query(rpps, **bounds)}{COMMUNITIES if communities else ''}"
    )
    assert (answer.status_code, answer.headers["content-type"]) == (200, FHIR), answer.text
    bundle: Resource = answer.json()
    assert not [found for guide in GUIDES.values() for found in findings(guide, bundle)]
    return bundle


def of_type(bundle: Resource, kind: str) -> list[Resource]:
    """The resources of one type."""
    found = [entry["resource"] for entry in bundle.get("entry", ())]
    return [resource for resource in found if resource["resourceType"] == kind]


def labels(bundle: Resource) -> dict[str, list[str]]:
    """The labels of each slot."""
    return {
        slot["id"]: [coding["code"] for coding in slot["meta"]["security"]]
        for slot in of_type(bundle, "Slot")
    }


def outcome(answer: httpx.Response, status: int, issue: str, code: str) -> list[Resource]:
    """Assert that an answer is an OperationOutcome of this kind, and return its issues."""
    got = (answer.status_code, answer.headers["content-type"])
    assert got == (status, FHIR), answer.text
    body = answer.json()
    assert set(body) == {"resourceType", "issue"}
    assert body["resourceType"] == "OperationOutcome"
    first = body["issue"][0]
    assert first["code"] == issue, body
    assert first["details"]["coding"][0]["code"] == code, body
    issues: list[Resource] = body["issue"]
    return issues
