"""What the tests of the face share: the platform as a caller, and searches as it writes them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID
from zoneinfo import ZoneInfo

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
PARIS = ZoneInfo("Europe/Paris")
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
    return valid(answer.json())


def valid(resource: Resource) -> Resource:
    """Assert that a resource keeps both versions of the guide."""
    found = {v: [str(f) for f in findings(guide, resource)] for v, guide in GUIDES.items()}
    assert found == {version: [] for version in GUIDES}
    return resource


async def send(caller: Caller, target: str) -> httpx.Response:
    """GET exactly these bytes: no client's hand encodes anything."""
    path = target.partition("?")[0]
    return await caller.get(path, extensions={"target": target.encode()})


async def refused(caller: Caller, target: str, status: int) -> Resource:
    """The valid OperationOutcome that refuses a request."""
    answer = await send(caller, target)
    assert (answer.status_code, answer.headers["content-type"]) == (status, FHIR), answer.text
    body = valid(answer.json())
    assert body["resourceType"] == "OperationOutcome"
    return body


def spellings(at: datetime) -> dict[str, str]:
    """Ways in which the guide, its examples and the kit write one instant."""
    local, utc = at.astimezone(PARIS), f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}"
    wall = local.replace(tzinfo=None)
    return {
        "milliseconds and offset": quote(local.isoformat(timespec="milliseconds"), ":"),
        "a plus unencoded": local.isoformat(timespec="milliseconds"),
        "a plus that became a space": quote(local.isoformat().replace("+", " "), ":"),
        "seconds and offset": quote(local.isoformat(), ":"),
        "no offset": wall.isoformat(),
        "no offset, with milliseconds": wall.isoformat(timespec="milliseconds"),
        "Z": f"{utc}Z",
        "offset zero": f"{utc}.000+00:00",
        "offset zero that became a space": f"{utc}.000%2000:00",
    }


def profile(resource: Resource) -> str:
    """The one profile of a resource."""
    (found,) = resource["meta"]["profile"]
    return str(found)


def leaves(value: Any) -> Iterator[Any]:
    """Whatever has no members: values, and what is empty."""
    if isinstance(value, dict | list) and value:
        for member in value.values() if isinstance(value, dict) else value:
            yield from leaves(member)
    else:
        yield value


def names(value: Any) -> Iterator[str]:
    """The names of all members, at every depth."""
    if isinstance(value, dict):
        yield from value
    for member in value.values() if isinstance(value, dict) else value:
        if isinstance(member, dict | list):
            yield from names(member)


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
