"""Use cases: tokens for client software, and the life of clients and grants."""

import base64
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from service.identity import repository
from service.identity.authenticators import certificates
from service.identity.domain import (
    PUBLISHERS,
    REGULATION,
    Actor,
    CertificateRefused,
    ClientRevoked,
    ClientUnknown,
    GrantEnded,
    GrantInvalid,
    Principal,
    Role,
    SubjectTokenRefused,
)
from service.identity.people import (
    ASSERTED,
    THROUGH_SAS,
    Account,
    Exercise,
    Identifier,
    ProvenPerson,
    SubjectToken,
    choose,
    may_act_as,
    named,
)
from service.identity.repository import Grant, GrantEntry
from service.identity.tokens import Tokens
from service.kernel import events
from service.kernel.crypto import Vault
from service.kernel.db import UnitOfWork
from service.kernel.errors import DomainError, FieldError, Malformed
from service.kernel.events import OPERATOR, Origin
from service.kernel.ids import new_id

_GRACE_HOURS = 24


class ScopeRefused(Malformed):
    """The scope names no grant of this client or person, or several."""

    code = "invalid_scope"
    title = "The scope must name exactly one grant of this caller, such as role:regulator."


class PersonRefused(Malformed):
    """What the software asserts of the acting person cannot be kept."""

    code = "invalid_request"
    title = "The acting person cannot be named so."


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """An access token and what it stands for."""

    access_token: str = field(repr=False)
    expires_in: int
    scope: str


async def issue_token(
    uow: UnitOfWork,
    tokens: Tokens,
    software: Principal,
    *,
    scope: str,
    person: dict[str, str] | None,
) -> IssuedToken:
    """Give proven software a short token of one of its own grants.

    `scope` may pick among several grants: `role:<role>`, `organization:<id>` and, of delegates,
    `practitioner:<id>`, space separated.
    `person` is who the software says is acting: kept as asserted, not proven. Refusals:
    `invalid_scope`.
    """
    words = _words(scope, "role", "organization", "practitioner")
    grant = _pick(await repository.live_grants(uow, software.client_id), words)
    asserted = {"proof": ASSERTED, **person} if person else None
    return _issued(tokens, software, grant, asserted)


async def bring_person(
    uow: UnitOfWork,
    tokens: Tokens,
    software: Principal,
    person: Mapping[str, str],
    *,
    arrived_from: str,
    scope: str,
    origin: Origin,
    traced: bool,
) -> IssuedToken:
    """Give somebody who arrives from SAS a token of the right that SAS gave them.

    They are asserted by software that regulates itself, and work for its organization, in
    territories where both may; with that right of the software's, theirs ends. A person whom SAS
    does not know, or has withdrawn, gets none. `arrived_from` is the origin in its own words
    (`sas-preprod`), kept with the person. Refusals: `invalid_scope`, `invalid_request`.
    """
    if not {"system", "id"} <= person.keys():
        raise PersonRefused(detail="Say who arrives: user_system and user_id.")
    own = await repository.live_grants(uow, software.client_id)
    who = Identifier(person["system"], person["id"])
    received = [
        there
        for grant in await repository.live_grants_of_person(uow, who, THROUGH_SAS)
        if grant.origin == THROUGH_SAS
        for there in _beside(own, grant)
    ]
    if not received:
        raise ScopeRefused(
            detail="SAS gives this person no right where this software regulates, or withdrew it."
        )
    grant = _pick(received, _words(scope, "role", "organization"))
    arrived = {"proof": ASSERTED, **person, "origin": arrived_from}
    issued = _issued(tokens, software, grant, arrived)
    if traced:
        await _tell_signed_in(uow, tokens, software, grant, issued, origin)
    return issued


def _beside(own: Sequence[Grant], right: Grant) -> Iterator[Grant]:
    """Yield a right as it counts at each organization that software regulates for."""
    regulating = [one for one in own if one.role in REGULATION]
    for home in {one.organization_id: one for one in regulating}.values():
        theirs = [one for one in regulating if one.organization_id == home.organization_id]
        may = {territory for one in theirs for territory in one.territories}
        if not may.isdisjoint(right.territories):
            yield replace(
                right,
                organization_id=home.organization_id,
                organization_type=home.organization_type,
                cpts_ids=home.cpts_ids,
                territories=tuple(one for one in right.territories if one in may),
            )


async def exchange_token(
    uow: UnitOfWork,
    tokens: Tokens,
    software: Principal,
    subject: SubjectToken,
    *,
    scope: str,
    origin: Origin,
    traced: bool,
) -> IssuedToken:
    """Give a proven person a short token of one of their own grants, for use with this software.

    A profession grants nothing: without a grant of this territory there is no token, nor with one
    where the issuer is not believed. `scope` picks as above, and `exercise:<code>` among several
    professions. Each token of an issuer is worth one of ours. `origin` says from where they ask;
    `traced` is False in read-only times, when nothing is written. Refusals: `invalid_scope`,
    `invalid_request`.
    """
    person = subject.person
    words = _words(scope, "role", "organization", "practitioner", "exercise")
    grants = await repository.live_grants_of_person(uow, person.identifier)
    if not grants:
        raise ScopeRefused(
            detail="This person has no right here: a manager of the territory gives them."
        )
    grants = [g for g in grants if subject.is_believed(g.organization_id, g.territories)]
    if not grants:
        raise ScopeRefused(
            detail="The issuer is not believed for the territory or organization of this right."
        )
    exercise = _exercise(person, words.get("exercise"))
    fitting = [grant for grant in grants if may_act_as(grant.role, person, exercise)]
    if not fitting:
        raise ScopeRefused(
            detail="The proven profession is not the one that this person's right takes."
        )
    grant = _pick(fitting, words)
    spend = repository.spend if traced else repository.is_unspent
    if not await spend(uow, subject):
        raise SubjectTokenRefused(detail="It was exchanged already: bring another one.")
    issued = _issued(tokens, software, grant, named(person, exercise))
    if traced:
        await _tell_signed_in(uow, tokens, software, grant, issued, origin)
    return issued


async def _tell_signed_in(
    uow: UnitOfWork,
    tokens: Tokens,
    software: Principal,
    grant: Grant,
    issued: IssuedToken,
    origin: Origin,
) -> None:
    assert grant.account_id is not None  # noqa: S101  it is a person's
    actor = tokens.verify(issued.access_token)
    here = replace(actor, address=origin.address, correlation_id=origin.correlation_id)
    data = {"method": software.method}
    await _tell_each(
        uow, here.origin, "account.signed_in", grant.account_id, grant.territories, data
    )


async def tell_refused_exchange(
    uow: UnitOfWork,
    software: Principal,
    origin: Origin,
    person: ProvenPerson | None,
    refusal: DomainError,
) -> None:
    """Trace that software brought somebody's token in vain; and the person, if it proved one."""
    await events.record(
        uow,
        replace(origin, person=named(person, None) if person else None),
        "client.exchange_refused",
        software.client_id,
        territory=None,
        data={"reason": refusal.code},
    )


def _issued(
    tokens: Tokens, software: Principal, grant: Grant, person: dict[str, str] | None
) -> IssuedToken:
    token = tokens.issue(software, grant, person)
    return IssuedToken(token, tokens.seconds, f"role:{grant.role}")


def _words(scope: str, *known: str) -> dict[str, str]:
    """Read a scope: words of a known kind, each once."""
    words: dict[str, str] = {}
    for word in scope.split():
        kind, _, value = word.partition(":")
        if kind not in known or kind in words:
            told = ", ".join(f"{one}:<{_PICKED_BY[one]}>" for one in known)
            raise ScopeRefused(detail=f"Known scopes, each once: {told}.")
        words[kind] = value
    return words


_PICKED_BY = {"role": "role", "organization": "id", "practitioner": "id", "exercise": "code"}


def _exercise(person: ProvenPerson, wanted: str | None) -> Exercise | None:
    """Return the profession that a person acts in now; of several, they say which one."""
    if not person.exercises:
        return None
    found = choose(person.exercises, wanted)
    if len(found) != 1:
        codes = ", ".join(f"exercise:{one.code}" for one in dict.fromkeys(person.exercises))
        raise ScopeRefused(detail=f"The scope must name one profession of this person: {codes}.")
    return found[0]


def _pick(grants: Sequence[Grant], words: Mapping[str, str]) -> Grant:
    wanted = [
        grant
        for grant in grants
        if words.get("role", grant.role) == grant.role
        and words.get("organization", str(grant.organization_id)) == str(grant.organization_id)
        and words.get("practitioner") in {None, *map(str, grant.practitioner_ids)}
    ]
    if len(wanted) != 1:
        raise ScopeRefused(grants=[_scope(grant) for grant in grants])
    return wanted[0]


def _scope(grant: Grant) -> str:
    """Return what picks a grant among all of its holder."""
    acts_for = grant.practitioner_ids[:1] if grant.role is Role.DELEGATE else ()
    whom = "".join(f" practitioner:{one}" for one in acts_for)
    return f"role:{grant.role} organization:{grant.organization_id}{whom}"


async def certified(uow: UnitOfWork, software: Principal) -> Actor:
    """Return the caller that a certificate alone stands for: a client with one grant in force.

    Refusals: `certificate-refused`.
    """
    grants = await repository.live_grants(uow, software.client_id)
    if len(grants) != 1:
        raise CertificateRefused("Not one grant in force: choose with a token of /oauth/token.")
    (grant,) = grants
    return Actor(
        client_id=software.client_id,
        client_name=software.client_name,
        grant_id=grant.id,
        grant_revision=grant.revision,
        role=grant.role,
        organization_id=grant.organization_id,
        organization_type=grant.organization_type,
        territories=grant.territories,
        cpts_ids=grant.cpts_ids,
        practitioner_ids=grant.practitioner_ids,
        method=software.method,
    )


async def ensure_live(uow: UnitOfWork, actor: Actor) -> None:
    """Refuse a caller whose grant was changed, revoked or has ended since the token was made."""
    if not await repository.grant_is_unchanged(uow, actor):
        raise GrantEnded


async def are_live(uow: UnitOfWork, actors: Sequence[Actor]) -> list[bool]:
    """Tell of each of many callers whether `ensure_live` would let them on: one statement."""
    return await repository.grants_are_unchanged(uow, actors) if actors else []


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A client's id and secret; the secret is shown once and kept nowhere."""

    client_id: UUID
    client_secret: str = field(repr=False)


def _secret(vault: Vault) -> tuple[str, bytes]:
    secret = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
    return secret, vault.secret_digests(secret)[0]


async def create_client(uow: UnitOfWork, *, name: str) -> NewSecret:
    """Create client software with a new secret. It may do nothing until it has a grant."""
    client_id, (secret, digest) = new_id(), _secret(uow.vault)
    await repository.add_client(uow, client_id=client_id, name=name, digest=digest)
    await events.record(
        uow, OPERATOR, "client.created", client_id, territory=None, data={"name": name}
    )
    return NewSecret(client_id, secret)


async def open_account(
    uow: UnitOfWork,
    origin: Origin,
    *,
    identifier: Identifier,
    family_name: str | None,
    given_name: str | None,
    email: str | None,
) -> Account:
    """Return whoever has this identifier, or open an account for them, before they ever signed in.

    One identifier, never a second one: whoever could add one to somebody's account would sign in
    as them.
    """
    known = await repository.lock_account(uow, identifier)
    if known is not None:
        await repository.vouch(uow, identifier)
        return known
    names = {"family_name": family_name, "given_name": given_name, "email": email}
    account_id = await _open(uow, origin, names)
    await repository.add_identifier(uow, account_id, identifier)
    return Account(account_id, family_name, given_name, (identifier,))


async def _open(uow: UnitOfWork, origin: Origin, names: Mapping[str, str | None]) -> UUID:
    account_id = new_id()
    await repository.add_account(uow, account_id=account_id, **names)
    await events.record(uow, origin, "account.opened", account_id, territory=None, data={})
    return account_id


async def receive_account(
    uow: UnitOfWork,
    origin: Origin,
    account_id: UUID | None,
    *,
    said_by: str,
    identifiers: Sequence[Identifier],
    family_name: str,
    given_name: str,
    email: str,
) -> UUID:
    """Write who somebody is, all of it, as another origin says; return their account.

    Whoever is known here by one of the identifiers is that person; others keep the account that
    they had, or get one. What an origin calls somebody opens what that origin gave, nothing else:
    none of it can be used to become somebody who has rights of here.
    """
    for identifier in identifiers:
        await repository.take_back(uow, account_id, identifier, said_by)
    names = {"family_name": family_name, "given_name": given_name, "email": email}
    known = [await repository.lock_account(uow, identifier) for identifier in identifiers]
    account_id = next((found.id for found in known if found), account_id)
    if account_id is None:
        account_id = await _open(uow, origin, names)
    else:
        await repository.rename(uow, account_id, **names)
    for identifier, found in zip(identifiers, known, strict=True):
        if found is None:
            await repository.add_identifier(uow, account_id, identifier, said_by)
    return account_id


async def find_account(uow: UnitOfWork, identifier: Identifier) -> Account | None:
    """Return whoever has this identifier; giving them a right waits for the transaction's end."""
    return await repository.lock_account(uow, identifier)


async def lock_account(uow: UnitOfWork, account_id: UUID) -> None:
    """Let who gives this person a right wait for the transaction's end."""
    await repository.lock_account_by_id(uow, account_id)


async def give_grant(
    uow: UnitOfWork,
    origin: Origin = OPERATOR,
    *,
    client_id: UUID | None = None,
    account_id: UUID | None = None,
    role: Role,
    organization_id: UUID,
    organization_type: str,
    cpts_ids: Sequence[UUID] = (),
    territories: Sequence[str],
    practitioner_ids: Sequence[UUID] = (),
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
    said_by: str | None = None,
) -> UUID:
    """Give a client, or a person's account, one role for one organization.

    With `said_by` it counts only for who arrives from that origin. Who may do so is for the caller
    to know. Refusals: `grant-invalid`.
    """
    if (role is Role.DOCTOR) and len(practitioner_ids) != 1:
        raise GrantInvalid(
            FieldError("#/practitioner_ids", "doctor", "A doctor's grant names one practitioner.")
        )
    if practitioner_ids and role not in PUBLISHERS:
        raise GrantInvalid(
            FieldError("#/practitioner_ids", "role", "Only doctors and delegates publish.")
        )
    grant_id = new_id()
    await repository.add_grant(
        uow,
        grant_id=grant_id,
        client_id=client_id,
        account_id=account_id,
        role=role,
        organization_id=organization_id,
        organization_type=organization_type,
        cpts_ids=cpts_ids,
        territories=territories,
        practitioner_ids=practitioner_ids,
        valid_from=valid_from,
        valid_until=valid_until,
        origin=said_by,
    )
    data = {
        "client_id": client_id and str(client_id),
        "account_id": account_id and str(account_id),
        "role": role,
        "organization_id": str(organization_id),
        "territories": list(territories),
        "practitioner_ids": [str(one) for one in practitioner_ids],
        "valid_until": valid_until and valid_until.isoformat(),
        "origin": said_by,
    }
    await _tell_each(uow, origin, "grant.given", grant_id, territories, data)
    return grant_id


async def _tell_each(
    uow: UnitOfWork,
    origin: Origin,
    type_: str,
    subject_id: UUID,
    territories: Sequence[str],
    data: Mapping[str, Any],
) -> None:
    """Write one event for each territory of a grant: who looks after one of them finds it."""
    facts = [{"subject_id": subject_id, "territory": one, "data": data} for one in territories]
    await events.record_all(uow, origin, type_, facts)


async def find_grant(uow: UnitOfWork, grant_id: UUID) -> GrantEntry | None:
    """Return a grant, in force or not."""
    return await repository.find_grant(uow, grant_id)


async def list_grants(
    uow: UnitOfWork, wanted: Mapping[str, Any], *, limit: int
) -> list[GrantEntry]:
    """Return grants in force or to come, newest first.

    Filters: `mine` (some of these territories), `territory`, `role`, `organization`, `account`,
    `acting_for` (some of these practitioners, or the whole organization), `delegated_by` (people
    who act for some of these practitioners); `before` is the id where the last page ended.
    """
    return await repository.list_grants(uow, wanted, limit=limit)


async def revoke_grant(uow: UnitOfWork, origin: Origin, grant_id: UUID) -> None:
    """Revoke a grant, with effect on the next request; revoked already, it stays as it is.

    Who may do so is for the caller to know.
    """
    grant = await repository.find_grant(uow, grant_id)
    if grant is None or not await repository.revoke_grant(uow, grant_id):
        return
    data = {"role": grant.role, "territories": list(grant.territories)}
    await _tell_each(uow, origin, "grant.revoked", grant_id, grant.territories, data)


async def rotate_secret(
    uow: UnitOfWork, client_id: UUID, *, grace_hours: int = _GRACE_HOURS
) -> NewSecret:
    """Give a client a new secret; the old one works for `grace_hours` more."""
    secret, digest = _secret(uow.vault)
    if not await repository.rotate(uow, client_id, digest, grace_hours):
        raise await _not_in_force(uow, client_id)
    await events.record(uow, OPERATOR, "client.rotated", client_id, territory=None, data={})
    return NewSecret(client_id, secret)


async def _not_in_force(uow: UnitOfWork, client_id: UUID) -> DomainError:
    return ClientRevoked() if await repository.is_known(uow, client_id) else ClientUnknown()


async def certify_client(
    uow: UnitOfWork, client_id: UUID, subject: str | None, *, structure: bool = True
) -> None:
    """Let a client prove itself by its certificate, and no more by its secret; None: the reverse.

    `subject` is what the certificate's subject must hold at least (RFC 4514: `OU=...,O=...`);
    without `structure` a `CN` alone is enough. Tokens that it got before end with the next request.
    Refusals: `certificate-subject-invalid`, `certificate-subject-taken`, `client-unknown`,
    `client-revoked`.
    """
    parts = None if subject is None else certificates.subject_of(subject, structure=structure)
    if not await repository.certify(uow, client_id, parts):
        raise await _not_in_force(uow, client_id)
    await events.record(
        uow, OPERATOR, "client.certified", client_id, territory=None, data={"subject": parts}
    )


async def revoke_client(uow: UnitOfWork, client_id: UUID) -> None:
    """Revoke a client and its grants, with effect on the next request."""
    if not await repository.revoke(uow, client_id):
        raise await _not_in_force(uow, client_id)
    await events.record(uow, OPERATOR, "client.revoked", client_id, territory=None, data={})


async def remember_use(uow: UnitOfWork, client_id: UUID) -> None:
    """Remember that a client proved itself: who does not for long is revoked (retention)."""
    await repository.remember_use(uow, client_id)


async def unused_clients(uow: UnitOfWork, before: datetime) -> list[UUID]:
    """Return the clients in force that did not prove themselves since an instant."""
    return await repository.unused(uow, before)


async def unused_accounts(uow: UnitOfWork, before: datetime) -> list[UUID]:
    """Return the people who have rights, and have not signed in since an instant."""
    return await repository.unused_accounts(uow, before)


async def closed_accounts(uow: UnitOfWork, before: datetime) -> list[UUID]:
    """Return the people whose last right ended before an instant, and who are still named."""
    return await repository.closed_accounts(uow, before)


async def forget(uow: UnitOfWork, account_ids: Sequence[UUID], before: datetime) -> None:
    """Take away who these people are; their accounts and rights stay, as traces name them."""
    await repository.forget(uow, account_ids, before)


async def list_clients(uow: UnitOfWork) -> list[dict[str, Any]]:
    """List clients and their grants in force, for the operator."""
    return await repository.list_clients(uow)


async def follow_organization(
    uow: UnitOfWork, organization_id: UUID, organization_type: str, cpts_ids: Sequence[UUID]
) -> None:
    """Directory tells that an organization's type or communities changed: its grants follow."""
    await repository.follow_organization(uow, organization_id, organization_type, cpts_ids)
