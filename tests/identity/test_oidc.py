"""People who sign in with an OpenID Connect issuer: a real one, up and down, honest and not."""

import asyncio
import base64
import csv
import io
import json
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey
from sqlalchemy import insert, select, update

from service.identity import (
    OPERATOR,
    Identifier,
    Role,
    certify_client,
    create_client,
    find_grant,
    revoke_client,
    revoke_grant,
)
from service.identity.authenticators import oidc
from service.identity.tables import account_identifiers, clients, grants, spent_tokens
from service.kernel import events
from service.kernel.ids import new_id
from tests.conftest import DatabaseUrls
from tests.identity.people import Desk, MakeSettings, desk, somebody
from tests.identity.provider import DISCOVERY, KEYS, SOFTWARE, Provider
from tests.support import Caller, World, patient, problem

Body = dict[str, Any]


def refused(answer: httpx.Response, error: str) -> str:
    """Assert an OAuth refusal with 400, and return its sentence."""
    assert answer.status_code == 400, answer.text
    body: Body = answer.json()
    assert set(body) == {"error", "error_description"}
    assert body["error"] == error
    return str(body["error_description"])


def _digest(token: str) -> bytes:
    return sha256(token.rpartition(".")[0].encode()).digest()


class Clock:
    """The process's clock for what an issuer said, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.monotonic()
        monkeypatch.setattr(oidc, "time", SimpleNamespace(monotonic=lambda: self.now))


# --- a person's own rights ----------------------------------------------------------------------


async def test_a_person_gets_their_own_right_with_software_that_has_none(hospital: Desk) -> None:
    person = somebody(hospital.provider)
    await hospital.grant(person)
    token = hospital.provider.token(
        sub=person.value, given_name="Camille", family_name="Épreuve", acr="eidas2"
    )
    answer = (await hospital.exchange(token)).json()
    assert set(answer) == {
        "access_token", "token_type", "expires_in", "scope", "issued_token_type",
    }  # fmt: skip
    assert answer["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    caller = Caller(
        hospital.http, hospital.software, Role.REGULATOR, new_id(), hospital.world.territory
    )
    caller.token = answer["access_token"]
    me = (await caller.get("/v1/me")).json()
    assert (me["role"], me["territories"]) == ("regulator", [hospital.world.territory])
    assert (me["client"], me["auth_method"]) == ("LRM", "client_secret")
    assert me["person"] == {
        "proof": "hospital", "system": person.system, "id": person.value,
        "family_name": "Épreuve", "given_name": "Camille", "acr": "eidas2",
    }  # fmt: skip


async def test_what_a_person_does_is_told_with_who_proved_them(hospital: Desk) -> None:
    person = somebody(hospital.provider)
    await hospital.grant(person)
    caller = await hospital.caller(hospital.provider.token(sub=person.value), Role.REGULATOR)
    slot = await (await hospital.world.doctor()).publish()
    booked = await caller.post("/v1/bookings", {"slot_id": slot["id"], "patient_file": patient()})
    assert booked.status_code == 201, booked.text
    async with hospital.database.unit_of_work() as uow:
        (told,) = await events.history(uow, UUID(booked.json()["id"]))
    assert told.person is not None
    assert (told.person["proof"], told.person["id"]) == ("hospital", person.value)


async def test_a_patient_is_told_that_a_person_was_proven(hospital: Desk) -> None:
    person = somebody(hospital.provider)
    await hospital.grant(person)
    token = hospital.provider.token(sub=person.value, given_name="Camille", family_name="Épreuve")
    caller = await hospital.caller(token, Role.REGULATOR)
    file = (await caller.post("/v1/patient-files", patient())).json()
    await caller.get(f"/v1/patient-files/{file['id']}")
    path = f"/v1/patient-files/{file['id']}/accesses"
    sheet = await caller.get(path, headers={"Accept": "text/csv"})
    rows = list(csv.reader(io.StringIO(sheet.text.removeprefix("\ufeff")), delimiter=";"))
    assert rows[0][5:7] == ["Personne", "Identité"]
    assert [row[5:7] for row in rows[1:]] == [["Camille Épreuve", "authentifiée"]] * 3


async def test_signing_in_is_traced(hospital: Desk) -> None:
    person = somebody(hospital.provider)
    grant_id = await hospital.grant(person)
    await hospital.caller(hospital.provider.token(sub=person.value), Role.REGULATOR)
    async with hospital.database.unit_of_work() as uow:
        grant = await find_grant(uow, grant_id)
        assert grant is not None
        assert grant.account is not None
        told = await events.history(uow, grant.account.id)
    assert [event.type for event in told] == ["account.opened", "account.signed_in"]
    assert told[1].person is not None
    assert told[1].person["proof"] == "hospital"
    assert await _traced(hospital, "account.signed_in", grant.account.id) == [
        (hospital.world.territory, "127.0.0.1", {"method": "client_secret"})
    ]


async def _traced(hospital: Desk, type_: str, subject_id: UUID) -> list[tuple[Any, ...]]:
    """Return territory, address and data of some events."""
    told = events.events.c
    found = select(told.territory, told.address, told.data).where(
        told.type == type_, told.subject_id == subject_id
    )
    async with hospital.database.unit_of_work() as uow:
        return [tuple(row) for row in await uow.single(found)]


async def test_what_a_right_of_several_territories_does_is_told_in_each(
    world: World, issuer: Provider, make_settings: MakeSettings, shared_urls: DatabaseUrls
) -> None:
    homes = [world, await World(world.database, world.http).begin()]
    person = somebody(issuer)
    async with desk(world, issuer, make_settings, shared_urls, territories=["*"]) as hospital:
        grant_id = await hospital.grant(person, territories=[one.territory for one in homes])
        await hospital.caller(issuer.token(sub=person.value), Role.REGULATOR)
    async with world.database.unit_of_work() as uow:
        await revoke_grant(uow, OPERATOR, grant_id)
        grant = await find_grant(uow, grant_id)
    assert grant is not None
    assert grant.account is not None
    of_it = ([str(grant_id)], [str(grant.account.id)])
    for here in homes:
        listed = await (await here.manager()).get("/v1/audit-events")
        told = [item for item in listed.json()["items"] if item["subject_ids"] in of_it]
        assert [(item["operation"], item["territories"]) for item in told] == [
            (operation, [here.territory])
            for operation in ("grant.revoked", "account.signed_in", "grant.given")
        ]


async def test_who_is_refused_a_token_is_traced(hospital: Desk) -> None:
    person, stranger = somebody(hospital.provider), somebody(hospital.provider)
    await hospital.grant(person)
    refused(await hospital.exchange("no token at all"), "invalid_request")
    for one, scope in ((stranger, ""), (person, "role:manager")):
        token = hospital.provider.token(sub=one.value)
        refused(await hospital.exchange(token, scope), "invalid_scope")
    async with hospital.database.unit_of_work() as uow:
        told = await events.history(uow, hospital.software.client_id)
    named = [
        (event.type, event.data["reason"], (event.person or {}).get("id")) for event in told[1:]
    ]
    assert named == [
        ("client.exchange_refused", "invalid_request", None),
        ("client.exchange_refused", "invalid_scope", stranger.value),
        ("client.exchange_refused", "invalid_scope", person.value),
    ]


async def test_who_is_proven_and_has_no_right_here_gets_nothing(hospital: Desk) -> None:
    token = hospital.provider.token(sub=somebody(hospital.provider).value)
    assert "no right here" in refused(await hospital.exchange(token), "invalid_scope")
    assert "no right here" in refused(
        await hospital.exchange(token, "role:regulator"), "invalid_scope"
    )


async def test_the_scope_picks_among_a_persons_rights_and_never_the_softwares(
    hospital: Desk,
) -> None:
    person = somebody(hospital.provider)
    await hospital.grant(person)
    await hospital.grant(person, Role.PHARMACIST, "pharmacy")
    token = hospital.provider.token(sub=person.value)
    told = refused(await hospital.exchange(token), "invalid_scope")
    assert "role:regulator" in told
    assert "role:pharmacist" in told
    caller = await hospital.caller(token, Role.PHARMACIST, "role:pharmacist")
    assert (await caller.get("/v1/me")).json()["role"] == "pharmacist"
    refused(await hospital.exchange(token, "role:manager"), "invalid_scope")


async def _all_ended(caller: Any) -> None:
    for path in ("/v1/me", "/v1/slots"):
        problem(await caller.get(path), 401, "grant-ended")
    booking = {"slot_id": str(UUID(int=1)), "patient_file": patient()}
    problem(await caller.post("/v1/bookings", booking), 401, "grant-ended")


async def test_a_revoked_right_of_a_person_ends_with_the_next_request(hospital: Desk) -> None:
    person = somebody(hospital.provider)
    grant_id = await hospital.grant(person)
    token = hospital.provider.token(sub=person.value)
    caller = await hospital.caller(token, Role.REGULATOR)
    assert (await caller.get("/v1/slots")).status_code == 200
    async with hospital.database.unit_of_work() as uow:
        await revoke_grant(uow, OPERATOR, grant_id)
    await _all_ended(caller)
    refused(await hospital.exchange(token), "invalid_scope")


async def test_people_lose_their_tokens_with_software_that_is_revoked(hospital: Desk) -> None:
    person = somebody(hospital.provider)
    await hospital.grant(person)
    token = hospital.provider.token(sub=person.value)
    caller = await hospital.caller(token, Role.REGULATOR)
    async with hospital.database.unit_of_work() as uow:
        await revoke_client(uow, hospital.software.client_id)
    await _all_ended(caller)
    assert (await hospital.exchange(token)).status_code == 401


async def test_people_lose_their_tokens_when_their_software_proves_itself_otherwise(
    hospital: Desk,
) -> None:
    person = somebody(hospital.provider)
    await hospital.grant(person)
    caller = await hospital.caller(hospital.provider.token(sub=person.value), Role.REGULATOR)
    assert (await caller.get("/v1/slots")).status_code == 200
    async with hospital.database.unit_of_work() as uow:
        await certify_client(uow, hospital.software.client_id, f"OU={new_id().hex},O=CHU")
    await _all_ended(caller)


async def test_an_issuers_token_is_no_token_of_ours(hospital: Desk) -> None:
    person = somebody(hospital.provider)
    await hospital.grant(person)
    token = hospital.provider.token(sub=person.value)
    answer = await hospital.http.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    problem(answer, 401, "token-invalid")


async def test_only_software_of_ours_may_bring_somebodys_token(hospital: Desk) -> None:
    person = somebody(hospital.provider)
    await hospital.grant(person)
    hospital.software = type(hospital.software)(hospital.software.client_id, "wrong")
    answer = await hospital.exchange(hospital.provider.token(sub=person.value))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert hospital.provider.asked(KEYS) == 0


async def test_nobody_is_asserted_beside_who_is_proven(hospital: Desk) -> None:
    person = somebody(hospital.provider)
    await hospital.grant(person)
    token = hospital.provider.token(sub=person.value)
    for fields in ({"user_id": "x"}, {"subject_token_type": "saml2"}, {"subject_token": ""}):
        refused(await hospital.exchange(token, **fields), "invalid_request")


# --- where an issuer is believed, of whom it is, and once ---------------------------------------


async def test_an_issuer_is_believed_where_the_settings_say_and_nowhere_else(
    world: World, issuer: Provider, make_settings: MakeSettings, shared_urls: DatabaseUrls
) -> None:
    person = somebody(issuer)

    async def answer(**said: Any) -> httpx.Response:
        async with desk(world, issuer, make_settings, shared_urls, **said) as made:
            return await made.exchange(issuer.token(sub=person.value))

    async with desk(world, issuer, make_settings, shared_urls) as made:
        grant_id = await made.grant(person)
        async with made.database.unit_of_work() as uow:
            grant = await find_grant(uow, grant_id)
    assert grant is not None
    mine, elsewhere = world.territory, str(new_id())
    refused_ = "not believed"
    for said in ({"territories": ["36"]}, {"organizations": [elsewhere]}):
        assert refused_ in refused(await answer(**said), "invalid_scope")
    for said in (
        {"territories": ["*"]},
        {"territories": ["36", mine]},
        {"organizations": [elsewhere, str(grant.organization_id)]},
    ):
        assert (await answer(**said)).status_code == 200, said


async def test_a_right_of_several_territories_needs_an_issuer_that_is_believed_in_all(
    hospital: Desk,
) -> None:
    person = somebody(hospital.provider)
    grant_id = await hospital.grant(person)
    async with hospital.database.unit_of_work() as uow:
        both = [hospital.world.territory, "36"]
        await uow.execute(update(grants).where(grants.c.id == grant_id), {"territories": both})
    token = hospital.provider.token(sub=person.value)
    assert "not believed" in refused(await hospital.exchange(token), "invalid_scope")
    await hospital.grant(person)  # one that it is believed for is picked, not hidden by the other
    assert (await hospital.exchange(token)).status_code == 200


@pytest.mark.parametrize("azp", ["other", None, "", ["lrm"], 7, "third"])
async def test_a_token_is_brought_by_the_software_that_it_was_given_to(
    world: World, issuer: Provider, make_settings: MakeSettings, shared_urls: DatabaseUrls, azp: Any
) -> None:
    person = somebody(issuer)
    async with desk(world, issuer, make_settings, shared_urls) as made:
        await made.grant(person)
        token = issuer.token(sub=person.value, azp=azp)
        assert "other software" in refused(await made.exchange(token), "invalid_request")
        assert (await made.exchange(issuer.token(sub=person.value))).status_code == 200
        # Software of ours that the issuer gave nothing to.
        async with made.database.unit_of_work() as uow:
            made.software = await create_client(uow, name="another")
        token = issuer.token(sub=person.value)
        assert "other software" in refused(await made.exchange(token), "invalid_request")


async def test_another_claim_may_name_the_software(
    world: World, issuer: Provider, make_settings: MakeSettings, shared_urls: DatabaseUrls
) -> None:
    person = somebody(issuer)
    async with desk(
        world, issuer, make_settings, shared_urls, software_claim="client_id"
    ) as made:  # RFC 9068
        await made.grant(person)
        refused(await made.exchange(issuer.token(sub=person.value)), "invalid_request")
        token = issuer.token(sub=person.value, azp=None, client_id="lrm")
        assert (await made.exchange(token)).status_code == 200


async def test_a_token_is_exchanged_once_by_whichever_process(
    world: World, issuer: Provider, make_settings: MakeSettings, shared_urls: DatabaseUrls
) -> None:
    person = somebody(issuer)
    async with desk(world, issuer, make_settings, shared_urls) as one:
        await one.grant(person)
        said = {SOFTWARE: [one.software.client_id]}
        async with desk(world, issuer, make_settings, shared_urls, software=said) as two:
            two.software = one.software
            token = issuer.token(sub=person.value)
            refused(await one.exchange(token, "role:manager"), "invalid_scope")  # not used by that
            answers = await asyncio.gather(
                *(desk_.exchange(token) for desk_ in (one, two) for _ in range(5))
            )
            assert sorted(answer.status_code for answer in answers) == [200] + [400] * 9
            for desk_ in (one, two):
                told = refused(await desk_.exchange(token), "invalid_request")
                assert "exchanged already" in told
            head, claims, signature = token.split(".")
            refused(await one.exchange(f"{head}.{claims}.{signature}="), "invalid_request")
            nameless = issuer.token(sub=person.value, jti=None, iat=int(time.time()) - 1)
            assert (await two.exchange(nameless)).status_code == 200
            refused(await one.exchange(nameless), "invalid_request")


async def test_what_expired_long_ago_is_not_kept(hospital: Desk) -> None:
    person = somebody(hospital.provider)
    await hospital.grant(person)
    now = datetime.now(UTC)
    old = [(new_id().bytes, now - timedelta(hours=2)), (new_id().bytes, now - timedelta(minutes=5))]
    async with hospital.database.unit_of_work() as uow:
        for digest, ends_at in old:
            await uow.execute(insert(spent_tokens), {"digest": digest, "ends_at": ends_at})
    token = hospital.provider.token(sub=person.value)
    assert (await hospital.exchange(token)).status_code == 200
    async with hospital.database.unit_of_work() as uow:
        kept = set((await uow.execute(select(spent_tokens.c.digest))).scalars())
    assert {digest for digest, _ in old} & kept == {old[1][0]}
    assert _digest(token) in kept


async def test_a_sign_in_on_a_read_only_server_writes_nothing(
    world: World, issuer: Provider, make_settings: MakeSettings, shared_urls: DatabaseUrls
) -> None:
    person = somebody(issuer)
    async with desk(world, issuer, make_settings, shared_urls) as open_:
        await open_.grant(person)
        spent = issuer.token(sub=person.value)
        assert (await open_.exchange(spent)).status_code == 200
    async with desk(world, issuer, make_settings, shared_urls, {"read_only": True}) as closed:
        assert "already" in refused(await closed.exchange(spent), "invalid_request")
        fresh = issuer.token(sub=person.value)
        assert (await closed.exchange(fresh)).status_code == 200
    async with world.database.unit_of_work() as uow:
        named = account_identifiers.c
        account = select(named.account_id).where(named.value == person.value)
        told = await events.history(uow, (await uow.execute(account)).scalar_one())
        assert [event.type for event in told] == ["account.opened", "account.signed_in"]
        used = select(clients.c.last_used_at).where(clients.c.id == closed.software.client_id)
        assert (await uow.execute(used)).scalar_one() is None
        noted = select(spent_tokens.c.digest).where(spent_tokens.c.digest == _digest(fresh))
        assert (await uow.execute(noted)).first() is None


# --- tokens that prove nobody -------------------------------------------------------------------


def _part(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def _forged(provider: Provider, subject: str) -> dict[str, str]:
    now = int(time.time())
    good = provider.token(sub=subject)
    head, claims, signature = good.split(".")
    other = RSAKey.generate_key(2048, {"kid": str(provider.key.kid)})
    public = provider.key.as_dict(private=False)
    confused = OctKey.import_key({"kty": "oct", "k": str(public["n"])})
    elliptic = ECKey.generate_key("P-256", {"kid": str(provider.key.kid)})
    read = json.loads(base64.urlsafe_b64decode(claims + "=="))
    return {
        "expired": provider.token(sub=subject, exp=now - 120),
        "without end": provider.token(sub=subject, exp=None),
        "an end that is none": provider.token(sub=subject, exp="tomorrow"),
        "an end that never comes": provider.token(sub=subject, exp=10**15),
        "not yet": provider.token(sub=subject, nbf=now + 120),
        "made in the future": provider.token(sub=subject, iat=now + 120),
        "another audience": provider.token(sub=subject, aud="account"),
        "no audience": provider.token(sub=subject, aud=None),
        "audiences of a strange kind": provider.token(sub=subject, aud={"snp-broker": 1}),
        "another issuer": provider.token(sub=subject, iss="https://elsewhere.example"),
        "an issuer that is no text": provider.token(sub=subject, iss=[provider.issuer]),
        "no subject": provider.token(sub=None),
        "a subject that is no text": provider.token(sub=7),
        "an empty subject": provider.token(sub=" "),
        "another's key": provider.token(sub=subject, key=other),
        "no signature": f"{_part({'alg': 'none'})}.{claims}.",
        "no signature, old one kept": f"{_part({'alg': 'none'})}.{claims}.{signature}",
        "the public key as a secret": provider.token(
            sub=subject, key=confused, header={"alg": "HS256"}
        ),
        "an algorithm that is not listed": provider.token(sub=subject, header={"alg": "RS512"}),
        "an algorithm of other keys": provider.token(
            sub=subject, key=elliptic, header={"alg": "ES256"}
        ),
        "somebody else written in": f"{head}.{_part({**read, 'sub': 'x'})}.{signature}",
        "a token to log out": provider.token(sub=subject, header={"typ": "logout+jwt"}),
        "half of one": f"{head}.{claims}",
        "five parts": f"{good}.{head}.{claims}",
        "nonsense": "a.b.c",
        "a deep well": f"{_part({'alg': 'RS256'})}.{_part(read)}.{'e30' * 100}",
        "a header that goes deep": f"{_deep()}.{claims}.{signature}",
    }


def _deep() -> str:
    text = '{"alg":"RS256","x":' + "[" * 5000 + "]" * 5000 + "}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def test_what_is_not_a_token_of_the_issuer_for_us_and_now_proves_nobody(
    hospital: Desk,
) -> None:
    person = somebody(hospital.provider)
    await hospital.grant(person)
    forged = _forged(hospital.provider, person.value)
    answers = {kind: await hospital.exchange(token) for kind, token in forged.items()}
    assert {kind for kind, answer in answers.items() if answer.status_code != 400} == set()
    for answer in answers.values():
        assert person.value not in refused(answer, "invalid_request")
    assert (await hospital.exchange(hospital.provider.token(sub=person.value))).status_code == 200


async def test_clocks_may_differ_a_little(hospital: Desk) -> None:
    person = somebody(hospital.provider)
    await hospital.grant(person)
    now = int(time.time())
    late = hospital.provider.token(sub=person.value, exp=now - 5, nbf=now + 10)
    assert (await hospital.exchange(late)).status_code == 200


async def test_a_level_of_authentication_that_is_too_low_proves_nobody(
    world: World, issuer: Provider, make_settings: MakeSettings, shared_urls: DatabaseUrls
) -> None:
    person = somebody(issuer)
    async with desk(world, issuer, make_settings, shared_urls, acr=["eidas2", "eidas3"]) as made:
        await made.grant(person)
        for acr in (None, "eidas1", ["eidas2"], 2):
            refused(await made.exchange(issuer.token(sub=person.value, acr=acr)), "invalid_request")
        fit = issuer.token(sub=person.value, acr="eidas3", aud=["account", "snp-broker"])
        assert (await made.exchange(fit)).status_code == 200


async def test_another_claim_may_hold_the_national_number(
    world: World, issuer: Provider, make_settings: MakeSettings, shared_urls: DatabaseUrls
) -> None:
    rpps = f"1{int(time.time() * 1e6) % 10**10:010d}"
    more: dict[str, Any] = {"identifier_claim": "rpps", "identifier_system": "rpps"}
    async with desk(world, issuer, make_settings, shared_urls, **more) as made:
        await made.grant(Identifier.of_rpps(rpps))
        for written in (rpps, f"8{rpps}", f" {rpps} "):
            answer = await made.exchange(issuer.token(rpps=written))
            assert answer.status_code == 200, answer.text
        refused(await made.exchange(issuer.token(rpps="1")), "invalid_request")
        refused(await made.exchange(issuer.token()), "invalid_request")


# --- keys ---------------------------------------------------------------------------------------


async def test_keys_are_asked_for_once_however_many_come_first(hospital: Desk) -> None:
    person = somebody(hospital.provider)
    await hospital.grant(person)
    tokens = [hospital.provider.token(sub=person.value) for _ in range(20)]
    answers = await asyncio.gather(*map(hospital.exchange, tokens))
    assert {answer.status_code for answer in answers} == {200}
    assert (hospital.provider.asked(DISCOVERY), hospital.provider.asked(KEYS)) == (1, 1)


async def test_a_new_key_is_found_and_an_invented_one_is_asked_for_once(
    hospital: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, provider = Clock(monkeypatch), hospital.provider
    person = somebody(provider)
    await hospital.grant(person)
    old = provider.token(sub=person.value)
    assert (await hospital.exchange(old)).status_code == 200
    clock.now += 31
    provider.rotate()
    assert (await hospital.exchange(provider.token(sub=person.value))).status_code == 200
    assert provider.asked(KEYS) == 2
    refused(await hospital.exchange(old), "invalid_request")  # its key was withdrawn
    clock.now += 31
    for number in range(20):
        invented = provider.token(sub=person.value, header={"kid": f"invented-{number}"})
        refused(await hospital.exchange(invented), "invalid_request")
    assert provider.asked(KEYS) == 3
    assert (await hospital.exchange(provider.token(sub=person.value))).status_code == 200
    assert provider.asked(KEYS) == 3


async def test_a_token_need_not_name_the_only_key(
    hospital: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    person = somebody(hospital.provider)
    await hospital.grant(person)
    nameless = hospital.provider.token(sub=person.value, header={"kid": None})
    assert (await hospital.exchange(nameless)).status_code == 200
    keys = [hospital.provider.key.as_dict(private=False)]
    hospital.provider.rotate()
    keys.append(hospital.provider.key.as_dict(private=False))
    hospital.provider.say(keys={"body": {"keys": keys}})
    clock.now += 3601
    refused(await hospital.exchange(nameless), "invalid_request")


async def test_keys_that_cannot_be_used_do_not_hide_those_that_can(hospital: Desk) -> None:
    provider, person = hospital.provider, somebody(hospital.provider)
    await hospital.grant(person)
    good = provider.key.as_dict(private=False)
    provider.say(
        keys={
            "body": {
                "keys": [
                    "x", {"kty": "RSA"}, {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "broken"},
                    {"kty": "OKP", "crv": "X25519", "x": "AAAA", "kid": "other"},
                    {"kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "HS256"},
                    {**good, "kid": "encrypts", "use": "enc"}, good,
                ]
            }
        }
    )  # fmt: skip
    assert (await hospital.exchange(provider.token(sub=person.value))).status_code == 200
    encrypting = provider.token(sub=person.value, header={"kid": "encrypts"})
    refused(await hospital.exchange(encrypting), "invalid_request")


# --- an issuer in trouble -----------------------------------------------------------------------


def _later(answer: httpx.Response) -> None:
    problem(answer, 503, "issuer-unavailable")
    assert answer.headers["Retry-After"] == "5"


async def test_an_issuer_that_is_down_is_told_as_such_and_found_again(
    hospital: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, provider = Clock(monkeypatch), hospital.provider
    person = somebody(provider)
    await hospital.grant(person)
    token = provider.token(sub=person.value)
    provider.stop()
    _later(await hospital.exchange(token))
    provider.start()
    asked = provider.asked(DISCOVERY)
    _later(await hospital.exchange(token))  # not asked at every request
    assert provider.asked(DISCOVERY) == asked
    clock.now += 6
    assert (await hospital.exchange(token)).status_code == 200


async def test_known_keys_outlast_an_issuer_that_is_down_for_a_day(
    hospital: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, provider = Clock(monkeypatch), hospital.provider
    person = somebody(provider)
    await hospital.grant(person)
    tokens = [provider.token(sub=person.value) for _ in range(3)]
    assert (await hospital.exchange(tokens[0])).status_code == 200
    provider.stop()
    clock.now += 23 * 3600
    assert (await hospital.exchange(tokens[1])).status_code == 200
    clock.now += 2 * 3600
    _later(await hospital.exchange(tokens[2]))


async def test_a_new_key_of_an_issuer_that_is_down_is_asked_for_later(
    hospital: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, provider = Clock(monkeypatch), hospital.provider
    person = somebody(provider)
    await hospital.grant(person)
    assert (await hospital.exchange(provider.token(sub=person.value))).status_code == 200
    clock.now += 31
    provider.rotate()
    provider.stop()
    _later(await hospital.exchange(provider.token(sub=person.value)))
    _later(await hospital.exchange(provider.token(sub=person.value)))
    provider.start()
    clock.now += 6
    assert (await hospital.exchange(provider.token(sub=person.value))).status_code == 200


async def test_an_issuer_that_is_slow_holds_nobody_up(
    hospital: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "_PATIENCE_SECONDS", 0.2)
    hospital.provider.say(keys={"body": {"keys": []}, "delay": 20})
    _later(await hospital.exchange(hospital.provider.token()))


@pytest.mark.parametrize(
    "lie",
    [
        {"discovery": {"status": 500}},
        {"discovery": {"body": "<html>"}},
        {"discovery": {"body": []}},
        {"discovery": {"body": {}}},
        {"discovery": {"body": {"issuer": "https://elsewhere.example", "jwks_uri": "x"}}},
        {"discovery": {"status": 302, "headers": {"Location": "/keys"}}},
        {"keys": {"body": {"keys": []}}},
        {"keys": {"body": {"keys": "none"}}},
        {"keys": {"body": {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "1"}]}}},
        {"keys": {"body": "x" * 1_100_000}},
        {"keys": {"status": 404}},
    ],
    ids=lambda lie: str(lie)[:60],
)
async def test_an_issuer_that_answers_nonsense_is_as_good_as_down(
    hospital: Desk, lie: dict[str, Any]
) -> None:
    hospital.provider.say(**lie)
    _later(await hospital.exchange(hospital.provider.token()))


async def test_an_issuer_cannot_send_us_elsewhere_without_tls(
    hospital: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, provider = Clock(monkeypatch), hospital.provider
    for address in ("http://10.0.0.1/keys", "file:///etc/passwd", "//", "https://[::1", 7):
        told = {"issuer": provider.issuer, "jwks_uri": address}
        provider.say(discovery={"body": told})
        clock.now += 31
        asked = provider.asked(DISCOVERY)
        _later(await hospital.exchange(provider.token()))
        assert provider.asked(DISCOVERY) == asked + 1
