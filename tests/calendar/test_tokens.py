"""Who opens a calendar: the secret of an address, as long as it is good for something."""

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import select, update

from service.calendar import usecases
from service.calendar.domain import TOKENS
from service.calendar.schemas import new_token_out
from service.calendar.tables import calendar_tokens
from service.directory.tables import practitioners
from service.identity import (
    OPERATOR,
    Actor,
    Identifier,
    Role,
    create_client,
    give_grant,
    open_account,
    revoke_client,
    revoke_grant,
)
from service.identity.tables import clients, grants
from service.kernel import events
from service.kernel.crypto import Keys, Vault
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from tests.calendar.support import booked, fetched, shared, tokens_of
from tests.conftest import Clock, DatabaseUrls
from tests.kernel.serving import serving
from tests.retention.support import place
from tests.support import Caller, World, problem, soon

_NOT_FOUND = "calendar-not-found"


async def _refused(http: httpx.AsyncClient, url: str) -> dict[str, Any]:
    body = problem(await http.get(url), 404, _NOT_FOUND)
    del body["request_id"]
    return body


async def _delegate(world: World, doctor: Caller) -> Caller:
    assert doctor.practitioner_id is not None
    delegate = await world.caller(
        Role.DELEGATE,
        doctor.organization_id,
        "practice",
        practitioner_ids=[doctor.practitioner_id],
    )
    delegate.practitioner_id = doctor.practitioner_id
    return delegate


# --- made, listed, revoked ------------------------------------------------------------------------


async def test_an_address_is_told_once_and_the_list_tells_none(world: World) -> None:
    doctor = await world.doctor()
    made = await shared(doctor, "Agenda du secrétariat", key="once")
    assert made["url"].startswith(f"/v1/practitioners/{doctor.practitioner_id}/calendar.ics?token=")
    secret = made["url"].partition("token=")[2]
    assert len(secret) >= 43
    listed = await doctor.get(tokens_of(doctor))
    assert secret not in listed.text
    assert listed.json()["items"] == [{name: made[name] for name in made if name != "url"}]
    again = await doctor.post(tokens_of(doctor), {"name": "Agenda du secrétariat"}, key="once")
    assert again.status_code == 201
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == {**made, "url": None}
    async with world.database.unit_of_work() as uow:
        row = (
            (await uow.execute(select(calendar_tokens).where(calendar_tokens.c.id == made["id"])))
            .mappings()
            .one()
        )
    assert row["digest"] == world.database.vault.secret_digests(secret)[0]
    assert secret not in str(dict(row))


async def test_the_whole_side_of_a_doctor_makes_sees_and_revokes(world: World) -> None:
    doctor = await world.doctor()
    delegate = await _delegate(world, doctor)
    made = await shared(delegate)
    assert [one["id"] for one in (await doctor.get(tokens_of(doctor))).json()["items"]] == [
        made["id"]
    ]
    gone = await doctor.delete(f"{tokens_of(doctor)}/{made['id']}")
    assert gone.status_code == 204, gone.text
    assert (await delegate.get(tokens_of(doctor))).json()["items"] == []


async def test_who_does_not_act_for_a_practitioner_has_nothing_to_say(world: World) -> None:
    doctor, other = await world.doctor(), await world.doctor()
    made = await shared(doctor)
    path = tokens_of(doctor)
    code = "not-my-practitioner"
    problem(await other.post(path, {"name": "x"}), 403, code)
    problem(await other.get(path), 403, code)
    problem(await other.delete(f"{path}/{made['id']}"), 403, code)
    problem(await other.delete(f"{tokens_of(other)}/{made['id']}"), 404, "calendar-token-not-found")
    await fetched(world.http, made)


async def test_a_revoked_address_ends_with_the_next_request(world: World) -> None:
    doctor = await world.doctor()
    kept, gone = await shared(doctor), await shared(doctor)
    first = await world.http.get(gone["url"])
    assert first.status_code == 200
    for _ in range(2):  # revoked already, it stays so
        revoked = await doctor.delete(f"{tokens_of(doctor)}/{gone['id']}")
        assert revoked.status_code == 204, revoked.text
    known = {"If-None-Match": first.headers["ETag"]}
    problem(await world.http.get(gone["url"], headers=known), 404, _NOT_FOUND)
    await fetched(world.http, kept)
    async with world.database.unit_of_work() as uow:
        told = await events.history(uow, gone["id"])
    assert [event.type for event in told] == ["calendar_token.created", "calendar_token.revoked"]
    assert told[0].data == {"practitioner_id": str(doctor.practitioner_id)}


async def test_whatever_opens_nothing_is_told_in_the_same_words(world: World) -> None:
    doctor, other = await world.doctor(), await world.doctor()
    mine, revoked = await shared(doctor), await shared(doctor)
    await doctor.delete(f"{tokens_of(doctor)}/{revoked['id']}")
    path, _, secret = mine["url"].partition("?token=")
    theirs = path.replace(str(doctor.practitioner_id), str(other.practitioner_id))
    nobodys = path.replace(str(doctor.practitioner_id), str(new_id()))
    told = [
        await _refused(world.http, url)
        for url in (
            revoked["url"],
            f"{theirs}?token={secret}",
            f"{nobodys}?token={secret}",
            f"{path}?token={secret}x",
            f"{path}?token={secret[:-1]}",
            f"{path}?token=",
            f"{path}?token=%00%ff",
        )
    ]
    assert all(body == told[0] for body in told)
    assert secret not in json.dumps(told)
    problem(await world.http.get(path), 422, "invalid")
    await fetched(world.http, mine)


async def test_no_more_than_anybody_looks_at(world: World) -> None:
    doctor = await world.doctor()
    answers = await asyncio.gather(
        *(doctor.post(tokens_of(doctor), {"name": f"n° {n}"}) for n in range(TOKENS + 5))
    )
    made = [answer.json() for answer in answers if answer.status_code == 201]
    assert len(made) == TOKENS
    for answer in answers:
        if answer.status_code != 201:
            problem(answer, 409, "too-many-calendar-tokens")
    assert (await doctor.delete(f"{tokens_of(doctor)}/{made[0]['id']}")).status_code == 204
    await shared(doctor)


# --- it ends with whoever made it -----------------------------------------------------------------


async def _grant_of(world: World, caller: Caller) -> Any:
    async with world.database.unit_of_work() as uow:
        asked = select(grants.c.id).where(grants.c.client_id == caller.secret.client_id)
        return (await uow.execute(asked)).scalar_one()


async def test_an_address_ends_with_its_makers_right(world: World, clock: Clock) -> None:
    doctor = await world.doctor()
    revoked, expired, software = [await _delegate(world, doctor) for _ in range(3)]
    delegates = (revoked, expired, software)
    mine, *theirs = [await shared(one) for one in (doctor, *delegates)]
    for token in (mine, *theirs):
        await fetched(world.http, token)
    grant, ending = await _grant_of(world, revoked), await _grant_of(world, expired)
    async with world.database.unit_of_work() as uow:
        await revoke_grant(uow, OPERATOR, grant)
        await uow.execute(update(grants).where(grants.c.id == ending).values(valid_until=soon(1)))
        await revoke_client(uow, software.secret.client_id)
    await clock.shift(timedelta(hours=2))
    for token in theirs:
        await _refused(world.http, token["url"])
    await fetched(world.http, mine)
    assert [one["id"] for one in (await doctor.get(tokens_of(doctor))).json()["items"]] == [
        mine["id"]
    ]


async def test_an_address_ends_when_its_maker_acts_for_somebody_else(world: World) -> None:
    doctor, other = await world.doctor(), await world.doctor()
    made = await shared(doctor)
    grant = await _grant_of(world, doctor)
    acting = update(grants).where(grants.c.id == grant)
    async with world.database.unit_of_work() as uow:
        await uow.execute(acting.values(practitioner_ids=[other.practitioner_id]))
    await _refused(world.http, made["url"])
    async with world.database.unit_of_work() as uow:
        here = [doctor.practitioner_id]
        await uow.execute(acting.values(practitioner_ids=here, role="pharmacist"))
    await _refused(world.http, made["url"])


async def test_what_else_is_changed_of_a_right_ends_no_address(world: World) -> None:
    doctor = await world.doctor()
    made = await shared(doctor)
    async with world.database.unit_of_work() as uow:
        this = clients.c.id == doctor.secret.client_id
        await uow.execute(update(clients).where(this).values(revision=clients.c.revision + 1))
        mine = grants.c.client_id == doctor.secret.client_id
        await uow.execute(update(grants).where(mine).values(revision=grants.c.revision + 1))
    problem(await doctor.get(tokens_of(doctor)), 401, "grant-ended")
    await fetched(world.http, made)


async def test_a_persons_address_ends_with_the_software_that_it_was_made_with(
    world: World,
) -> None:
    doctor = await world.doctor()
    assert doctor.practitioner_id is not None
    acting: dict[str, Any] = {
        "role": Role.DOCTOR,
        "organization_id": doctor.organization_id,
        "organization_type": "practice",
        "territories": (world.territory,),
        "practitioner_ids": (doctor.practitioner_id,),
    }
    made, software = [], []
    async with world.database.unit_of_work() as uow:
        account = await open_account(
            uow, OPERATOR, identifier=Identifier("urn:x", new_id().hex), family_name=None,
            given_name=None, email=None,
        )  # fmt: skip
        grant = await give_grant(uow, account_id=account.id, **acting)
        for name in ("kept", "doomed"):
            software.append((await create_client(uow, name=name)).client_id)
            actor = Actor(software[-1], name, grant, 1, **acting)
            made.append(await usecases.create(uow, actor, doctor.practitioner_id, name=name))
    kept, doomed = [{"url": new_token_out(token).url} for token in made]
    known_as = new_token_out(made[0], "https://snp.example.fr").url
    assert known_as == f"https://snp.example.fr{kept['url']}"
    await fetched(world.http, doomed)
    async with world.database.unit_of_work() as uow:
        await revoke_client(uow, software[-1])
    await _refused(world.http, str(doomed["url"]))
    await fetched(world.http, kept)


async def test_a_practitioner_who_practises_no_more_has_no_calendar(world: World) -> None:
    doctor, manager = await world.doctor(), await world.manager()
    made = await shared(doctor)
    path = f"/v1/practitioners/{doctor.practitioner_id}"
    left = await manager.patch(path, {"active": False}, if_match=1)
    assert left.status_code == 200, left.text
    await _refused(world.http, made["url"])
    problem(await doctor.post(tokens_of(doctor), {"name": "x"}), 409, "practitioner-inactive")
    other = await world.doctor()
    problem(await other.post(tokens_of(doctor), {"name": "x"}), 403, "not-my-practitioner")
    async with world.database.unit_of_work() as uow:
        active = await uow.execute(
            select(practitioners.c.active).where(practitioners.c.id == doctor.practitioner_id)
        )
    assert active.scalar_one() is False


# --- how it is answered ---------------------------------------------------------------------------


async def test_what_has_not_changed_is_not_sent_again(world: World) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    made, slot = await shared(doctor), await doctor.publish(soon(3))
    first = await world.http.get(made["url"])
    etag = first.headers["ETag"]
    for known in (etag, f"W/{etag}", f'"x", {etag}'):
        same = await world.http.get(made["url"], headers={"If-None-Match": known})
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", etag)
    again = await world.http.get(made["url"])
    assert (again.content, again.headers["ETag"]) == (first.content, etag)
    await booked(regulator, slot)
    changed = await world.http.get(made["url"], headers={"If-None-Match": etag})
    assert (changed.status_code, changed.headers["ETag"] == etag) == (200, False)


async def test_time_alone_changes_a_calendar(world: World, clock: Clock) -> None:
    """A seat that nobody took: its row is as it was, what the calendar says of it is not."""
    doctor = await world.doctor()
    made = await shared(doctor)
    await doctor.publish(soon(1))
    before = await world.http.get(made["url"])
    await clock.shift(timedelta(hours=2))
    known = {"If-None-Match": before.headers["ETag"]}
    after = await world.http.get(made["url"], headers=known)
    assert after.status_code == 200
    assert "non pourvu" in after.text


async def test_an_answer_is_kept_by_who_asked_and_leads_nobody_elsewhere(world: World) -> None:
    made = await shared(await world.doctor())
    for headers in ({}, {"If-None-Match": (await world.http.get(made["url"])).headers["ETag"]}):
        answer = await world.http.get(made["url"], headers=headers)
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    refused = await world.http.get(f"{made['url']}x")
    assert refused.headers["Cache-Control"] == "no-store"


async def test_the_last_use_is_kept_to_within_an_hour(world: World, clock: Clock) -> None:
    doctor = await world.doctor()
    made = await shared(doctor)

    async def last() -> Any:
        (one,) = (await doctor.get(tokens_of(doctor))).json()["items"]
        return one["last_used_at"] and datetime.fromisoformat(one["last_used_at"])

    assert await last() is None
    await fetched(world.http, made)
    first = await last()
    assert first is not None
    await clock.shift(timedelta(minutes=50))
    await fetched(world.http, made)
    assert await last() == first
    await clock.shift(timedelta(minutes=70))
    await fetched(world.http, made)
    assert await last() >= first + timedelta(hours=1)


async def test_a_read_only_server_shows_it_and_writes_nothing(
    world: World, shared_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> None:
    doctor = await world.doctor()
    made = await shared(doctor)
    async with serving(make_settings(shared_urls.app, read_only=True)) as (closed, _):
        await fetched(closed, made)
    (one,) = (await doctor.get(tokens_of(doctor))).json()["items"]
    assert one["last_used_at"] is None


async def test_who_guesses_is_counted_by_address_and_who_asks_by_calendar(
    world: World, shared_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> None:
    doctor = await world.doctor()
    made, other = await shared(doctor), await shared(doctor)
    limits = {"address_requests_per_minute": 2, "client_requests_per_minute": 3}
    async with serving(make_settings(shared_urls.app, **limits)) as (http, _):
        for token in (made, made, made, other):
            await fetched(http, token)
        problem(await http.get(made["url"]), 429, "too-many-requests")
        for _ in range(2):
            await _refused(http, f"{made['url']}x")
        problem(await http.get(f"{made['url']}x"), 429, "too-many-requests")
        problem(await http.get(other["url"]), 429, "too-many-requests")


async def test_an_address_outlives_the_key_of_the_servers(
    world: World, shared_urls: DatabaseUrls, make_settings: Callable[..., Settings], keys: Keys
) -> None:
    doctor = await world.doctor()
    used, unused = await shared(doctor), await shared(doctor)
    turned = keys.with_next("server").turned("server")
    new = turned.model_copy(update={"also": {}})

    def under(known: Keys) -> Settings:
        return make_settings(shared_urls.app, keys=known.model_dump_json())

    async with serving(under(turned)) as (http, _):
        await fetched(http, used)
        await fetched(http, used)
    async with serving(under(new)) as (http, _):
        await fetched(http, used)
        await _refused(http, unused["url"])  # nobody asked for it while both were known
    digests = Vault(new).secret_digests(used["url"].partition("token=")[2])
    async with world.database.unit_of_work() as uow:
        kept = select(calendar_tokens.c.digest).where(calendar_tokens.c.id == used["id"])
        assert [(await uow.execute(kept)).scalar_one()] == digests


# --- kept how long --------------------------------------------------------------------------------


async def test_what_opens_nothing_any_more_is_deleted_a_year_later(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> None:
    async with place(database_urls, make_settings) as here:
        doctor = await here.world.doctor()
        delegate, expired, software = [await _delegate(here.world, doctor) for _ in range(3)]
        makers = (doctor, doctor, delegate, expired, software)
        kept, revoked, *_ = [await shared(one) for one in makers]
        grant, ending = [await _grant_of(here.world, one) for one in (delegate, expired)]
        assert (await doctor.delete(f"{tokens_of(doctor)}/{revoked['id']}")).status_code == 204
        async with here.database.unit_of_work() as uow:
            await revoke_grant(uow, OPERATOR, grant)
            this = update(grants).where(grants.c.id == ending)
            await uow.execute(this.values(valid_until=soon(1)))
            await uow.execute(
                update(clients)
                .where(clients.c.id == software.secret.client_id)
                .values(revoked_at=soon(0))
            )
        await here.later(days=360)
        assert "calendars" not in await here.run()
        await here.later(days=367)
        assert (await here.due())["calendars"] == 4
        assert (await here.run(batch=1))["calendars"] == 4
        rows = await here.rows("SELECT id FROM calendar_tokens")
        assert [str(row["id"]) for row in rows] == [kept["id"]]
