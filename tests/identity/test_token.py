"""Tokens for client software, and what makes one worthless."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey
from sqlalchemy import update

from service.identity import (
    Role,
    Tokens,
    follow_organization,
    give_grant,
    revoke_client,
    rotate_secret,
)
from service.identity.domain import Method, Principal, TokenInvalid
from service.identity.repository import Grant
from service.identity.tables import grants
from service.kernel import clock, events
from service.kernel.crypto import Keys, Vault
from service.kernel.http import rate
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from tests.conftest import Clock, DatabaseUrls
from tests.kernel.serving import serving
from tests.support import Caller, World, problem

Body = dict[str, Any]
MakeSettings = Callable[..., Settings]


async def _ask(caller: Caller, **fields: str) -> httpx.Response:
    form = {
        "grant_type": "client_credentials",
        "client_id": str(caller.secret.client_id),
        "client_secret": caller.secret.client_secret,
        **fields,
    }
    return await caller.http.post("/oauth/token", data=form)


def _refused(answer: httpx.Response, status: int, error: str) -> Body:
    assert answer.status_code == status, answer.text
    body: Body = answer.json()
    assert body["error"] == error
    assert set(body) == {"error", "error_description"}
    assert answer.headers["Cache-Control"] == "no-store"
    return body


async def test_client_credentials_give_a_short_token(world: World) -> None:
    regulator = await world.regulator()
    answer = await _ask(regulator)
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == (
        "Bearer", 600, "role:regulator",
    )  # fmt: skip
    assert answer.headers["Cache-Control"] == "no-store"


async def test_basic_credentials_are_as_good_as_the_form(world: World) -> None:
    regulator = await world.regulator()
    answer = await world.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(str(regulator.secret.client_id), regulator.secret.client_secret),
    )
    assert answer.status_code == 200, answer.text
    regulator.token = answer.json()["access_token"]
    assert (await regulator.get("/v1/me")).status_code == 200


async def test_an_unknown_client_is_told_as_a_wrong_secret(world: World) -> None:
    regulator = await world.regulator()
    wrong = [
        {"client_secret": "wrong"},
        {"client_secret": ""},
        {"client_id": str(new_id())},
        {"client_id": "nobody"},
        {"client_id": ""},
        {"client_id": str(UUID(int=0)), "client_secret": ""},
        {"client_secret": regulator.secret.client_secret + "x"},
    ]
    answers = [await _ask(regulator, **fields) for fields in wrong]
    assert len({answer.text for answer in answers}) == 1
    for answer in answers:
        _refused(answer, 401, "invalid_client")
        assert answer.headers["WWW-Authenticate"] == "Basic"


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic /w==", "Basic eA==", "basic Og=="])
async def test_unreadable_basic_credentials_are_wrong_ones(world: World, header: str) -> None:
    answer = await world.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        headers={"Authorization": header},
    )
    _refused(answer, 401, "invalid_client")


async def test_what_is_no_token_request_is_told_as_oauth_tells_it(world: World) -> None:
    regulator = await world.regulator()
    _refused(await _ask(regulator, grant_type="password"), 400, "unsupported_grant_type")
    _refused(await _ask(regulator, grant_type=""), 400, "invalid_request")
    _refused(await world.http.post("/oauth/token"), 400, "invalid_request")
    as_json = await world.http.post("/oauth/token", json={"grant_type": "client_credentials"})
    _refused(as_json, 400, "invalid_request")
    _refused(await _ask(regulator, user_family_name="a\x00b"), 400, "invalid_request")


async def test_a_revoked_client_gets_no_token_and_its_old_one_ends(world: World) -> None:
    regulator = await world.regulator()
    async with world.database.unit_of_work() as uow:
        await revoke_client(uow, regulator.secret.client_id)
    _refused(await _ask(regulator), 401, "invalid_client")
    problem(await regulator.get("/v1/me"), 401, "grant-ended")


async def test_a_rotated_secret_works_beside_the_old_one_for_a_while(
    world: World, clock: Clock
) -> None:
    regulator = await world.regulator()
    old = regulator.secret
    async with world.database.unit_of_work() as uow:
        new = await rotate_secret(uow, old.client_id, grace_hours=24)
    assert new.client_secret != old.client_secret
    assert (await _ask(regulator, client_secret=new.client_secret)).status_code == 200
    await clock.shift(timedelta(hours=23))
    assert (await _ask(regulator)).status_code == 200
    await clock.shift(timedelta(hours=25))
    _refused(await _ask(regulator), 401, "invalid_client")
    assert (await _ask(regulator, client_secret=new.client_secret)).status_code == 200


async def test_a_secret_rotated_without_grace_ends_at_once(world: World) -> None:
    regulator = await world.regulator()
    async with world.database.unit_of_work() as uow:
        new = await rotate_secret(uow, regulator.secret.client_id, grace_hours=0)
    _refused(await _ask(regulator), 401, "invalid_client")
    assert (await _ask(regulator, client_secret=new.client_secret)).status_code == 200


# --- several grants -----------------------------------------------------------------------------


async def test_the_scope_picks_one_of_several_grants(world: World) -> None:
    caller = await world.regulator()
    pharmacy = await world.organization("pharmacy")
    async with world.database.unit_of_work() as uow:
        for role in (Role.OSNP, Role.PHARMACIST):
            await give_grant(
                uow,
                client_id=caller.secret.client_id,
                role=role,
                organization_id=caller.organization_id if role is Role.OSNP else pharmacy,
                organization_type="sas" if role is Role.OSNP else "pharmacy",
                territories=[world.territory],
            )

    async def role_of(scope: str) -> str:
        caller.token = (await _ask(caller, scope=scope)).json()["access_token"]
        return str((await caller.get("/v1/me")).json()["role"])

    assert await role_of("role:osnp") == "osnp"
    assert await role_of(f"organization:{pharmacy}") == "pharmacist"
    assert await role_of(f"organization:{caller.organization_id} role:regulator") == "regulator"
    ambiguous = _refused(await _ask(caller), 400, "invalid_scope")
    for choice in ("role:regulator", "role:osnp", "role:pharmacist", f"organization:{pharmacy}"):
        assert choice in ambiguous["error_description"]
    assert not set("[]'") & set(ambiguous["error_description"])  # a sentence, not Python
    sas = f"organization:{caller.organization_id}"
    for scope in (sas, "role:arm", f"role:osnp organization:{pharmacy}", "openid", "role"):
        _refused(await _ask(caller, scope=scope), 400, "invalid_scope")


async def test_a_client_without_a_grant_in_force_gets_no_token(world: World) -> None:
    regulator = await world.regulator()
    async with world.database.unit_of_work() as uow:
        await uow.execute(
            update(grants).where(grants.c.client_id == regulator.secret.client_id),
            {"valid_until": datetime.now(UTC) - timedelta(seconds=1)},
        )
    _refused(await _ask(regulator), 400, "invalid_scope")
    problem(await regulator.get("/v1/me"), 401, "grant-ended")


# --- who acts -----------------------------------------------------------------------------------


async def test_the_asserted_person_is_on_me_and_on_every_event(world: World) -> None:
    doctor = await world.doctor()
    await doctor.sign_in(
        user_id="drs-7", user_family_name="Épreuve", user_given_name="Camille",
        user_email="c@example.org", user_role="IDE de régulation",
    )  # fmt: skip
    person = {
        "proof": "asserted", "id": "drs-7", "family_name": "Épreuve", "given_name": "Camille",
        "email": "c@example.org", "role": "IDE de régulation",
    }  # fmt: skip
    assert (await doctor.get("/v1/me")).json()["person"] == person
    slot = await doctor.publish()
    path = f"/v1/slots/{slot['id']}"
    await doctor.patch(path, {"note": "x"}, if_match=1)
    held = await doctor.post(f"{path}/holds")
    await doctor.delete(f"/v1/holds/{held.json()['id']}")
    await doctor.delete(path, if_match="*")
    async with world.database.unit_of_work() as uow:
        told = await events.history(uow, UUID(slot["id"]))
    assert [event.type for event in told] == [
        "slot.published", "slot.amended", "hold.placed", "hold.released", "slot.withdrawn",
    ]  # fmt: skip
    assert [event.person for event in told] == [person] * 5


async def test_me_says_who_i_am_here(world: World) -> None:
    community = await world.organization("cpts")
    doctor = await world.doctor(cpts_ids=[community])
    assert (await doctor.get("/v1/me")).json() == {
        "client": f"doctor of {world.territory}",
        "client_id": str(doctor.secret.client_id),
        "role": "doctor",
        "organization": {"id": str(doctor.organization_id), "type": "practice"},
        "territories": [world.territory],
        "practitioner_id": str(doctor.practitioner_id),
        "practitioner_ids": [str(doctor.practitioner_id)],
        "cpts_ids": [str(community)],
        "person": None,
        "auth_method": "client_secret",
    }


# --- rights end with the next request -----------------------------------------------------------


async def _all_refused(caller: Caller) -> None:
    slot_id = new_id()
    for answer in (
        await caller.get("/v1/me"),
        await caller.get("/v1/slots"),
        await caller.get(f"/v1/slots/{slot_id}"),
        await caller.post(f"/v1/slots/{slot_id}/holds"),
        await caller.delete(f"/v1/holds/{slot_id}"),
    ):
        problem(answer, 401, "grant-ended")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_revoked_grant_ends_with_the_next_request(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    await doctor.publish()
    assert len((await regulator.get("/v1/slots")).json()["items"]) == 1
    async with world.database.unit_of_work() as uow:
        await uow.execute(
            update(grants).where(grants.c.client_id == regulator.secret.client_id),
            {"revoked_at": datetime.now(UTC)},
        )
    await _all_refused(regulator)


async def test_a_changed_grant_ends_its_tokens_and_a_new_one_says_the_change(world: World) -> None:
    community = await world.organization("cpts")
    pharmacist = await world.pharmacist()
    async with world.database.unit_of_work() as uow:
        await follow_organization(uow, pharmacist.organization_id, "pharmacy", [community])
    await _all_refused(pharmacist)
    await pharmacist.sign_in()
    assert (await pharmacist.get("/v1/me")).json()["cpts_ids"] == [str(community)]


async def test_a_grant_that_ends_ends_while_its_token_lives(world: World, clock: Clock) -> None:
    regulator = await world.regulator()
    async with world.database.unit_of_work() as uow:
        await uow.execute(
            update(grants).where(grants.c.client_id == regulator.secret.client_id),
            {"valid_until": datetime.now(UTC) + timedelta(hours=1)},
        )
    assert (await regulator.get("/v1/slots")).status_code == 200
    await clock.shift(timedelta(hours=2))
    await _all_refused(regulator)


# --- forged, old, foreign tokens ----------------------------------------------------------------


async def test_a_token_expires(
    world: World,
    shared_urls: DatabaseUrls,
    make_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    regulator = await world.regulator()
    async with serving(make_settings(shared_urls.app, token_seconds=60)) as (client, _):
        regulator.http = client
        assert (await _ask(regulator)).json()["expires_in"] == 60
        await regulator.sign_in()
        assert (await regulator.get("/v1/me")).status_code == 200
        later = clock.now() + timedelta(seconds=60)
        monkeypatch.setattr(clock, "now", lambda: later)
        for path in ("/v1/me", "/v1/slots"):
            problem(await regulator.get(path), 401, "token-invalid")


def _part(content: Body) -> str:
    return _part_of(json.dumps(content))


def _part_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def test_a_tampered_token_is_no_token(world: World) -> None:
    caller = await world.pharmacist()
    head, claims, signature = caller.token.split(".")
    read: Body = json.loads(base64.urlsafe_b64decode(claims + "=="))
    better = _part({**read, "role": "regulator"})
    none = _part({"alg": "none", "typ": "at+jwt"})
    other_key = OctKey.import_key(bytes(range(32)))
    deep = _part_of('{"alg":"HS256","x":' + "[" * 5000 + "]" * 5000 + "}")
    forged = [
        f"{head}.{better}.{signature}",
        f"{none}.{claims}.",
        f"{none}.{claims}",
        f"{none}.{better}.{signature}",
        f"{head}.{claims}.",
        f"{head}.{claims}.{signature[:-4]}",
        f"{head}.{claims}.{signature[:20]}A{signature[20:]}",
        f"{_part({'alg': 'HS512'})}.{claims}.{signature}",
        jwt.encode({"alg": "HS256"}, read, other_key),
        f"{deep}.{claims}.{signature}",
        "",
        "x",
        "..",
        "é.é.é",
    ]
    for token in forged:
        answer = await caller.request(
            "GET",
            "/v1/me",
            headers={"Authorization": f"Bearer {token}".encode()},  # type: ignore[dict-item]  # bytes travel as they are
        )
        problem(answer, 401, "token-invalid")
    assert (await caller.get("/v1/me")).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic {}", "Token {}", "{}"])
async def test_a_token_comes_as_bearer(world: World, header: str) -> None:
    caller = await world.pharmacist()
    answer = await world.http.get("/v1/me", headers={"Authorization": header.format(caller.token)})
    problem(answer, 401, "token-invalid")
    lower = await world.http.get("/v1/me", headers={"Authorization": f"bearer {caller.token}"})
    assert lower.status_code == 200


async def test_a_token_of_another_installation_is_no_token(
    world: World, shared_urls: DatabaseUrls, make_settings: MakeSettings
) -> None:
    caller = await world.pharmacist()
    settings = make_settings(shared_urls.app, keys=Keys.generate().model_dump_json())
    async with serving(settings) as (client, _):
        caller.http = client
        problem(await caller.get("/v1/me"), 401, "token-invalid")


GRANT = Grant(
    id=new_id(),
    account_id=None,
    role=Role.PHARMACIST,
    organization_id=new_id(),
    organization_type="pharmacy",
    cpts_ids=(new_id(),),
    territories=("36", "86"),
    practitioner_ids=(),
    revision=3,
)
SOFTWARE = Principal(new_id(), "LRM", 1, Method.SECRET)
TOKENS = Tokens(Vault(Keys.generate()).token_keys, 600)


def test_a_token_is_read_as_it_was_given() -> None:
    person = {"family_name": "Épreuve"}
    actor = TOKENS.verify(TOKENS.issue(SOFTWARE, GRANT, person))
    assert (actor.client_id, actor.grant_id, actor.grant_revision) == (
        SOFTWARE.client_id, GRANT.id, 3,
    )  # fmt: skip
    assert (actor.role, actor.territories, actor.cpts_ids) == (
        Role.PHARMACIST, ("36", "86"), GRANT.cpts_ids,
    )  # fmt: skip
    assert (actor.client_name, actor.person) == ("LRM", person)


@given(st.text() | st.tuples(st.text(), st.text(), st.text()).map(".".join))
def test_no_text_is_a_token(text: str) -> None:
    with pytest.raises(TokenInvalid):
        TOKENS.verify(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from(
        ["iss", "sub", "exp", "grant", "role", "organization", "territories", "cpts",
         "practitioners", "account", "method", "cnf", "client_revision"]
    ),
)  # fmt: skip
def test_a_claim_of_another_kind_is_refused_or_read_never_a_defect(value: Any, name: str) -> None:
    # Only whoever holds the key can sign these: an older version of this service, for one.
    key = OctKey.import_key(bytes(32))
    tokens = Tokens([bytes(32)], 600)
    claims: Body = jwt.decode(tokens.issue(SOFTWARE, GRANT, None), key).claims
    signed = jwt.encode({"alg": "HS256"}, {**claims, name: value}, key)
    try:
        actor = tokens.verify(signed)
    except TokenInvalid:
        return
    assert isinstance(actor.territories, tuple)


# --- too many tries -----------------------------------------------------------------------------


async def test_too_many_token_requests_are_told_when_to_try_again(
    world: World,
    shared_urls: DatabaseUrls,
    make_settings: MakeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The minute's whole allowance at once (desks sign in when the day begins), then evenly."""
    guessing, other = await world.regulator(), await world.pharmacist()
    now = 0.0
    monkeypatch.setattr(rate, "time", SimpleNamespace(monotonic=lambda: now))
    settings = make_settings(shared_urls.app, token_requests_per_minute=12)
    async with serving(settings) as (client, _):
        guessing.http = other.http = client
        answers = [await _ask(guessing, client_secret=f"{n}") for n in range(14)]
        assert [answer.status_code for answer in answers[:12]] == [401] * 12
        for answer in answers[12:]:
            problem(answer, 429, "too-many-requests")
        right = await _ask(guessing)  # even with the right secret
        problem(right, 429, "too-many-requests")
        assert (await _ask(other)).status_code == 200  # nobody else waits for it
        wait = int(right.headers["Retry-After"])
        assert 5 <= wait <= 6
        now += wait
        assert (await _ask(guessing)).status_code == 200
        problem(await _ask(guessing), 429, "too-many-requests")
        now += 60
        assert [(await _ask(guessing)).status_code for _ in range(13)] == [200] * 12 + [429]


# --- who acts, by a number ----------------------------------------------------------------------


async def test_an_asserted_number_is_kept_in_one_form_and_as_asserted(world: World) -> None:
    doctor = await world.doctor()
    for system, number in (("rpps", "10005681340"), ("idnps", "810005681340")):
        await doctor.sign_in(user_system=system, user_id=number)
        assert (await doctor.get("/v1/me")).json()["person"] == {
            "proof": "asserted", "system": "urn:oid:1.2.250.1.71.4.2.1", "id": "810005681340",
        }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"user_system": "rpps", "user_id": "1"},
        {"user_system": "rpps"},
        {"user_system": "nowhere", "user_id": "1"},
    ],
)
async def test_a_number_that_is_none_of_its_system_is_refused(
    world: World, fields: dict[str, str]
) -> None:
    told = _refused(await _ask(await world.regulator(), **fields), 400, "invalid_request")
    assert "user_" in told["error_description"]


async def test_who_is_asserted_cannot_be_said_to_be_proven(world: World) -> None:
    doctor = await world.doctor()
    await doctor.sign_in(user_id="drs-7", proof="psc", user_proof="psc")
    assert (await doctor.get("/v1/me")).json()["person"] == {"proof": "asserted", "id": "drs-7"}
