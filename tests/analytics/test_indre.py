"""The Indre of 2022: every figure agrees with the generator's own rows, which no database saw."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import httpx

from service import demo
from service.identity import Role, create_client, give_grant
from service.kernel.settings import Settings
from service.main import create_app
from tests.analytics import naive
from tests.analytics.naive import Row, added, additive, during, without_rates
from tests.conftest import DatabaseUrls
from tests.support import Caller

ZONE = "Europe/Paris"
YEAR = (date(2022, 1, 1), date(2023, 1, 1))
_SCOPE = {"territory", "cpts", "synthetic", "groups", "groups_overlap", "key", "name", "from", "to"}
_SCOPE |= {"wording", "definitions"}


def _counts(answer: Row) -> Row:
    found: Row = without_rates({n: v for n, v in answer.items() if n not in _SCOPE})
    return found


async def test_figures_of_the_indre(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> None:
    data = demo.dataset()
    app = create_app(make_settings(database_urls.app))
    database = app.state.database
    try:
        async with database.unit_of_work() as uow:
            await demo.load(uow, data)
        await demo.vacuum(database_urls.owner)
        (centre,) = (row for row in data.tables["organizations"] if row["type"] == "sas")
        async with database.unit_of_work() as uow:
            secret = await create_client(uow, name="manager")
            await give_grant(
                uow,
                client_id=secret.client_id,
                role=Role.MANAGER,
                organization_id=centre["id"],
                organization_type="sas",
                cpts_ids=[],
                territories=["36"],
                practitioner_ids=[],
            )
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            caller = Caller(http, secret, Role.MANAGER, centre["id"], "36")
            await _check(await caller.sign_in(), data.tables)
    finally:
        await database.dispose()


async def _check(caller: Caller, tables: Any) -> None:
    async def ask(name: str, **query: Any) -> Row:
        params = {"from": str(YEAR[0]), "to": str(YEAR[1]), **query}
        if "cpts" not in params:
            params["territory"] = "36"
        answer = await caller.get(f"/v1/analytics/{name}", params=params)
        assert answer.status_code == 200, answer.text
        body: Row = answer.json()
        assert body["synthetic"] is True
        return body

    now = datetime.now(UTC)
    slots = during(tables["slots"], "starts_at", *YEAR, ZONE)
    bookings = during(tables["bookings"], "starts_at", *YEAR, ZONE)
    made = during(tables["bookings"], "created_at", *YEAR, ZONE)
    calls = during(tables["calls"], "received_at", *YEAR, ZONE)

    usage = await ask("slot-usage", group_by="month")
    assert _counts(usage) == naive.slot_usage(slots, now)
    assert added(usage["groups"]) == additive(usage)
    seats = ("booked", "withdrawn", "expired", "open")
    assert usage["published"] == sum(usage[name] for name in seats)
    assert usage["open"] == 0

    given = await ask("appointments", group_by="practitioner_status")
    assert _counts(given) == naive.appointments(bookings, now)
    assert added(given["groups"]) == additive(given)
    assert given["booked"] - given["cancelled"] == usage["booked"]
    assert given["rates"]["within_48_hours"]["value"] == 1.0  # the rule of the SAS

    sent = await ask("referrals", group_by="role")
    assert _counts(sent) == naive.referrals(made, now)
    assert {r["organization_type"] for r in sent["requesters"]} == {"sas"}

    backs = await ask("callbacks", group_by="hour")
    assert _counts(backs) == naive.callbacks(calls, now)
    assert len(backs["groups"]) == 24
    assert added(backs["groups"]) == additive(backs)
    outcomes = await ask("call-outcomes")
    assert backs["delay_minutes"]["mean"] == outcomes["callback_minutes"]["mean"] <= 60

    physicians = {row["id"] for row in tables["practitioners"]}
    indicators = await ask("cpts-indicators", group_by="cpts")
    assert _counts(indicators) == {
        "doctors": naive.doctors(slots, bookings, physicians),
        "requests": naive.requests(calls, tables["bookings"]),
    }
    asked = indicators["requests"]
    assert (asked["calls"], asked["oriented"], asked["with_appointment"]) == (17_232, 6_438, 6_438)

    of = {row["id"]: row.get("cpts_ids") or [] for row in tables["organizations"]}
    for group in indicators["groups"]:
        if group["key"] is None:
            continue
        cpts = UUID(group["key"])
        theirs = [row for row in slots if cpts in of[row["organization_id"]]]
        seen = [row for row in bookings if cpts in of[row["practitioner_organization_id"]]]
        own = [row for row in calls if row["cpts_id"] == cpts]
        assert _counts(await ask("slot-usage", cpts=group["key"])) == naive.slot_usage(theirs, now)
        assert _counts(await ask("appointments", cpts=group["key"])) == naive.appointments(
            seen, now
        )
        assert _counts(await ask("callbacks", cpts=group["key"])) == naive.callbacks(own, now)
        assert _counts(group) == {
            "doctors": naive.doctors(theirs, seen, physicians),
            "requests": naive.requests(own, tables["bookings"]),
        }
