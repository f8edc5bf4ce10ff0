"""Regulators as the national platform tells of them, and how they arrive here."""

from typing import Any
from urllib.parse import quote

import httpx

from service.identity import IDNPS, SAS, Role
from service.kernel.ids import new_id
from tests.fhir.validator import GUIDES, findings
from tests.support import Caller

TYPE = "http://interopsante.org/fhir/CodeSystem/fr-v2-0203"
PROFILE = "https://interop.esante.gouv.fr/ig/fhir/sas/StructureDefinition/FrPractitionerRegul"
KINDS = {IDNPS: "IDNPS", SAS: "INTRN"}
FHIR = {"Content-Type": "application/json+fhir", "Accept": "application/json+fhir"}
Body = dict[str, Any]


def technical() -> str:
    """A number that SAS gives nobody else."""
    return str(new_id())


def national() -> str:
    """A number of a structure's, as those have who are in no register: with a stroke."""
    return f"3456780581/{new_id().int % 10**8:08d}"


def named(system: str, value: str, code: str | None = None) -> Body:
    """An identifier of FHIR."""
    kind = {"coding": [{"system": TYPE, "code": code or KINDS[system]}]}
    return {"type": kind, "system": system, "value": value}


def regulator(*identifiers: Body, **members: Any) -> Body:
    """A body of FrPractitionerRegul."""
    return {
        "resourceType": "Practitioner",
        "meta": {"source": SAS, "profile": [PROFILE]},
        "identifier": list(identifiers),
        "active": True,
        "name": [{"family": "Loridon", "given": ["Sébastien"]}],
        "telecom": [{"system": "email", "value": "sebastien.loridon@example.fr"}],
        **members,
    }


async def create(sas: Caller, body: Body) -> httpx.Response:
    """POST a regulator, in the guide's own media type."""
    return await sas.post("/fhir/Practitioner", body, headers=FHIR)


async def put(sas: Caller, system: str | None, value: str, body: Body) -> httpx.Response:
    """PUT a regulator; `|` and `/` come as they are."""
    sought = quote(value if system is None else f"{system}|{value}", safe="|/:")
    return await sas.put(f"/fhir/Practitioner?identifier={sought}", body, headers=FHIR)


def refused(answer: httpx.Response, status: int, code: str) -> Body:
    """Assert that an answer is an OperationOutcome with our code; returns the issue."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome"
    issue: Body = body["issue"][0]
    assert issue["details"]["coding"][0]["code"] == code
    return issue


def kept(answer: httpx.Response, status: int) -> str:
    """Assert that a regulator was written; returns their id."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"
    found: str = answer.json()["id"]
    assert not [fault for guide in GUIDES.values() for fault in findings(guide, answer.json())]
    assert answer.headers["Location"].endswith(f"/fhir/Practitioner/{found}")
    return found


async def arrive(
    software: Caller, system: str, value: str, origin: str = "sas", **more: str
) -> httpx.Response:
    """Ask for a token for a regulator who arrives from somewhere."""
    form = {
        "grant_type": "client_credentials",
        "client_id": str(software.secret.client_id),
        "client_secret": software.secret.client_secret,
        "user_system": system,
        "user_id": value,
        **({"origin": origin} if origin else {}),
        **more,
    }
    return await software.http.post("/oauth/token", data=form)


async def arrived(software: Caller, system: str, value: str, origin: str = "sas") -> Caller:
    """Sign in a regulator who arrives through SAS."""
    answer = await arrive(software, system, value, origin)
    assert answer.status_code == 200, answer.text
    caller = Caller(
        software.http, software.secret, Role.OSNP, software.organization_id, software.territory
    )
    caller.token = answer.json()["access_token"]
    return caller
