"""Health professionals prove themselves by Pro Santé Connect.

Its token says that somebody signed in, and how; who they are and what they exercise it tells when
it is asked (userinfo), of tokens that are still good. Never `sub`: `SubjectNameID` is the national
identifier. What it tells is read tolerantly: unknown members are left out, an empty text is an
absent one.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from service.identity.authenticators.oidc import Issuer, text
from service.identity.domain import SubjectTokenRefused
from service.identity.people import (
    IDNPS,
    Exercise,
    IdentifierInvalid,
    ProvenPerson,
    identifier,
)

_CODE = re.compile(r"[0-9A-Za-z-]{1,10}")


class ProSanteConnect(Issuer):
    """Pro Santé Connect, or an issuer that passes on what it says."""

    async def person(self, token: str, claims: Mapping[str, Any]) -> ProvenPerson:
        """Return the professional whom a verified access token proves."""
        told = await self.userinfo(token, claims["sub"])
        return professional(told, proof=self.settings.name, acr=text(claims, "acr"))


def professional(told: Mapping[str, Any], *, proof: str, acr: str | None) -> ProvenPerson:
    """Read what Pro Santé Connect tells of somebody. Refuses who has no national identifier."""
    number = text(told, "SubjectNameID")
    if number is None:
        raise SubjectTokenRefused(detail="It names no SubjectNameID.")
    try:
        found = identifier(IDNPS, number, check_key=False)
    except IdentifierInvalid:
        raise SubjectTokenRefused(detail="Its SubjectNameID is no national identifier.") from None
    return ProvenPerson(
        found,
        proof=proof,
        family_name=text(told, "family_name"),
        given_name=text(told, "given_name"),
        email=text(told, "email"),
        acr=acr,
        exercises=tuple(_exercises(told.get("SubjectRefPro"))),
    )


def _exercises(professional_file: object) -> Iterator[Exercise]:
    listed = professional_file.get("exercices") if isinstance(professional_file, dict) else None
    for one in listed if isinstance(listed, list) else ():
        if not isinstance(one, dict):
            continue
        profession = _code(one, "codeProfession")
        if profession:
            category = _code(one, "codeCategorieProfessionnelle")
            yield Exercise(profession, category, _code(one, "codeSavoirFaire"))


def _code(told: Mapping[str, Any], name: str) -> str:
    code = text(told, name) or ""
    return code if _CODE.fullmatch(code) else ""
