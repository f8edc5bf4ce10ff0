"""HTTP: regulators, as the national platform creates and changes them (INT_R02)."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response

from service import sas
from service.audit.http import Traced
from service.fhir.codes import IDENTIFIER_TYPE, REGULATOR
from service.fhir.http import Documented, Exchanged, answer, interface_url, outcomes
from service.fhir.schemas import FhirResource
from service.identity import IDNPS, SAS, Identifier
from service.identity.http import CurrentActor
from service.kernel.db import UnitOfWork
from service.kernel.errors import DomainError, FieldError
from service.kernel.http.deps import Uow


class Told(Traced, Exchanged):
    """A route of the national interface whose refusals are traced, each of them."""

    refusals = (DomainError,)


router = APIRouter(
    prefix="/fhir", tags=["fhir"], route_class=Told, default_response_class=Documented
)

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A Practitioner of profile FrPractitionerRegul.",
        "content": {
            "application/fhir+json": {
                "schema": {"type": "object"},
                "example": {
                    "resourceType": "Practitioner",
                    "meta": {"source": SAS, "profile": [REGULATOR]},
                    "identifier": [
                        {
                            "type": {"coding": [{"system": IDENTIFIER_TYPE, "code": "INTRN"}]},
                            "system": SAS,
                            "value": "1ef1c748-01a3-6180-b098-73283ce4e5b1",
                        }
                    ],
                    "active": True,
                    "name": [{"family": "Loridon", "given": ["Sébastien"]}],
                    "telecom": [{"system": "email", "value": "sebastien.loridon@example.fr"}],
                },
            }
        },
    }
}
_SOUGHT: dict[str, Any] = {
    "parameters": [
        {
            "name": "identifier",
            "in": "query",
            "required": True,
            "description": "`system|value`; the bar may come as it is.",
            "schema": {"type": "string", "maxLength": 500},
            "example": f"{SAS}|1ef1c748-01a3-6180-b098-73283ce4e5b1",
        }
    ]
}
_REFUSALS = (sas.RegulatorUnreadable, sas.RegulatorInvalid, sas.RegulatorExists)


@router.post(
    "/Practitioner",
    operation_id="fhir.create_regulator",
    status_code=201,
    response_model=FhirResource,
    responses=outcomes(*_REFUSALS),
    openapi_extra=_BODY,
)
async def create(request: Request, uow: Uow, actor: CurrentActor) -> Response:
    """Create a regulator. An `id` in the body counts for nothing."""
    draft = read(await request.body())
    async with _let_go(uow):
        made = await sas.create(uow, actor, draft)
    return _told(request, made.id, draft, 201)


@router.put(
    "/Practitioner",
    operation_id="fhir.put_regulator",
    response_model=FhirResource,
    responses=outcomes(*_REFUSALS, sas.SeveralRegulators),
    openapi_extra={**_BODY, **_SOUGHT},
)
async def put(request: Request, uow: Uow, actor: CurrentActor) -> Response:
    """Write the regulator who has this identifier anew, or create them: 201.

    `active: false` takes the right to regulate, with effect on their next request. The body may
    name another identifier, such as a national one: from then on that is theirs.
    """
    sought, draft = _sought(request), read(await request.body())
    async with _let_go(uow):
        written, is_new = await sas.put(uow, actor, sought, draft)
    return _told(request, written.id, draft, 201 if is_new else 200)


@asynccontextmanager
async def _let_go(uow: UnitOfWork) -> AsyncIterator[None]:
    """Let others have their turn while a refusal is traced, in another transaction."""
    try:
        yield
    except DomainError:
        await uow.rollback()
        raise


def _told(request: Request, regulator_id: UUID, draft: sas.RegulatorDraft, status: int) -> Response:
    where = f"{interface_url(request)}/Practitioner/{regulator_id}"
    return answer(resource(regulator_id, draft), status, Location=where)


# --- the query ----------------------------------------------------------------------------------


def _sought(request: Request) -> list[sas.Sought]:
    """Read `identifier` of the query as it came: `|` may stand there raw, `/` and `+` stay."""
    pairs = (
        part.partition("=") for part in request.scope["query_string"].decode("latin-1").split("&")
    )
    given = [unquote(value) for name, _, value in pairs if unquote(name) == "identifier"]
    tokens = [token.strip() for token in given[0].split(",")] if len(given) == 1 else []
    sought = [sas.Sought.read(token) for token in tokens]
    if not sought or not all(one.value and "\x00" not in one.value for one in sought):
        raise _unreadable("identifier", "Once: system|value.")
    return sought


# --- FrPractitionerRegul --------------------------------------------------------------------------

_KINDS = {IDNPS: "IDNPS", SAS: "INTRN"}
_LONGEST = 200


def resource(regulator_id: UUID, draft: sas.RegulatorDraft) -> dict[str, Any]:
    """Write a regulator."""
    return {
        "resourceType": "Practitioner",
        "id": str(regulator_id),
        "meta": {"source": SAS, "profile": [REGULATOR]},
        "identifier": [
            {
                "type": {"coding": [{"system": IDENTIFIER_TYPE, "code": _KINDS[one.system]}]},
                "system": one.system,
                "value": one.value,
            }
            for one in draft.identifiers
        ],
        "active": draft.active,
        "name": [{"family": draft.family_name, "given": [draft.given_name]}],
        "telecom": [{"system": "email", "value": draft.email}],
    }


def read(content: bytes) -> sas.RegulatorDraft:
    """Read a regulator: identifier, name (family and given), e-mail and active, all of them.

    Refusals: `regulator-unreadable`, `regulator-invalid`; neither shows what was sent.
    """
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise _unreadable("#", "Not JSON.") from None
    if not isinstance(body, dict) or body.get("resourceType") != "Practitioner":
        raise _unreadable("#/resourceType", "A Practitioner is wanted.")
    active = body.get("active")
    if not isinstance(active, bool):
        raise _unreadable("#/active", "true or false is wanted.")
    family_name, given_name = _name(body)
    return sas.RegulatorDraft(
        identifiers=tuple(_identifiers(body)),
        active=active,
        family_name=family_name,
        given_name=given_name,
        email=_email(body),
    )


def _identifiers(body: Mapping[str, Any]) -> Iterator[Identifier]:
    """Yield their numbers; an identifier of another system, and other types, are not for us."""
    seen = set[str]()
    for n, one in enumerate(_objects(body, "identifier")):
        where = f"#/identifier/{n}"
        system, value = _text(one.get("system")), _text(one.get("value"))
        if system is not None and system not in _KINDS:
            continue
        coded = {(_text(c.get("system")), _text(c.get("code"))) for c in _codings(one)}
        if not (system and value and coded):
            raise _unreadable(where, "Type, system and value are wanted, none of them empty.")
        if (IDENTIFIER_TYPE, _KINDS[system]) not in coded:
            raise _invalid(where, f"The type must fit the system: {_FITTING}.")
        if system in seen:
            raise _invalid(where, "At most one identifier of each system.")
        if not value.isascii() or not value.isprintable() or " " in value or "|" in value:
            raise _invalid(f"{where}/value", "Visible ASCII characters without a bar.")
        seen.add(system)
        yield Identifier(system, value)
    if not seen:
        raise _unreadable("#/identifier", f"One identifier at least is wanted: {_FITTING}.")


_FITTING = ", ".join(f"{kind} with {system}" for system, kind in _KINDS.items())


def _codings(identifier: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    kind = identifier.get("type")
    return _objects(kind, "coding") if isinstance(kind, dict) else []


def _name(body: Mapping[str, Any]) -> tuple[str, str]:
    for one in _objects(body, "name"):
        given = one.get("given")
        given_names = [_text(part) for part in given] if isinstance(given, list) else []
        family_name = _text(one.get("family"))
        if family_name and given_names and all(given_names):
            return family_name, " ".join(filter(None, given_names))
    raise _unreadable("#/name", "A name with family and given is wanted, neither of them empty.")


def _email(body: Mapping[str, Any]) -> str:
    for one in _objects(body, "telecom"):
        value = _text(one.get("value"))
        if one.get("system") == "email" and value:
            return value
    raise _unreadable("#/telecom", "An e-mail address is wanted: system email, and a value.")


def _objects(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = holder.get(name)
    if not isinstance(found, list):
        return []
    if not all(isinstance(one, dict) for one in found):
        raise _unreadable(f"#/{name}", "Objects are wanted.")
    return found


def _text(value: object) -> str | None:
    """Return a text that can be kept; nothing where there is none, or a blank one."""
    if not isinstance(value, str) or not value.strip() or "\x00" in value:
        return None
    return value.strip() if len(value) <= _LONGEST else None


def _unreadable(pointer: str, sentence: str) -> sas.RegulatorUnreadable:
    return sas.RegulatorUnreadable(FieldError(pointer, "value", sentence))


def _invalid(pointer: str, sentence: str) -> sas.RegulatorInvalid:
    return sas.RegulatorInvalid(FieldError(pointer, "value", sentence))
