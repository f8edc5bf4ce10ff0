"""What is asked about one territory is read of one territory, however large the country is.

The service answers real requests; every statement that it sends is kept with its arguments and
explained again, planned for its arguments and for any (prepared statements end up with the latter).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from sqlalchemy import event

from load_tests import country
from load_tests.scale import Operation, callers, operations
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from service.main import create_app
from tests.conftest import DatabaseUrls, Server
from tests.support import patient

pytestmark = pytest.mark.xdist_group("plans")

BIG = {"slots", "calls", "call_outcomes", "bookings", "events", "patient_files"}
PEOPLE = {"practitioners"}
SMALL, LARGE = 4, 16  # territories
# An index is a page higher, and a row may lie on a page more; never so much more.
MORE, SOME = 1.5, 25
# What counts booked seats reads the slots themselves, each maybe from a page of its own: an index
# that knows them would have to be written by every booking (docs/adr/0015).
SCATTERED = ("slot-usage", "unmet-needs")

_FIGURES = {
    "call-outcomes": {"ix_calls_figures"},
    "callbacks": {"ix_calls_figures"},
    "appointments": {"ix_bookings_figures"},
    "referrals": {"ix_bookings_referrals"},
    "slot-usage": {"ix_slots_figures"},
    "cpts-indicators": {
        *("ix_slots_figures", "ix_bookings_figures", "ix_calls_figures", "ix_bookings_call_id"),
    },
    "unmet-needs": {"ix_unmet_needs_territory_wanted_from"},
}
_OF_COMMUNITIES = {"ix_calls_figures": "ix_calls_cpts_figures"}
INDEXES: Mapping[str, set[str]] = {
    "search near, 30 km": {"ix_slots_search"},
    "search near, by distance": {"ix_slots_square_starts_at"},
    "search near, granted everywhere": {"ix_slots_square_starts_at"},
    "search near, as a member": {"ix_slots_square_starts_at"},
    "search a community's slots": {"ix_slots_cpts_ids"},
    "search a territory": {"ix_slots_search"},
    "search 25 practitioners, 3 days": {"ix_slots_practitioner_id_starts_at"},
    "the platform's search": {"ix_slots_practitioner_id_starts_at", "uq_practitioners_rpps"},
    "the platform's search for communities": {"ix_slots_practitioner_id_starts_at"},
    "the platform's search for consultation points": {
        *("ix_slots_location_id_starts_at", "uq_organizations_siret"),
    },
    "booking": {"pk_slots"},
    # Of a fourth of all bookings, those of its own are soon found from the newest on.
    "bookings of the centre": {"pk_bookings", "pk_slots"},
    "bookings of a doctor": {"ix_bookings_practitioner_id_id", "pk_bookings", "pk_slots"},
    "agenda of a doctor": {"ix_slots_practitioner_id_starts_at"},
    "call-back queue": {"ix_calls_queue"},
    "newest calls": {"ix_calls_organization_id_received_at"},
    "doctors by name, everywhere": {"ix_practitioners_folded_name"},
    "doctors by name, here": {"ix_practitioners_folded_name"},
}


def _expected(wanted: Operation) -> set[str]:
    if wanted.name in INDEXES:
        return INDEXES[wanted.name]
    indexes = _FIGURES[wanted.name.partition(",")[0]]
    return {_OF_COMMUNITIES.get(i, i) for i in indexes} if "cpts=" in wanted.paths[0] else indexes


@dataclass
class Land:
    """A generated country behind the application, which tells every statement that it sends."""

    urls: DatabaseUrls
    http: httpx.AsyncClient
    tokens: Mapping[str, str]
    slots: Iterator[str]
    sent: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    async def statements(self, wanted: Operation) -> list[tuple[str, tuple[Any, ...]]]:
        """Ask, and return what was sent for it."""
        self.sent.clear()
        headers = {"Authorization": f"Bearer {self.tokens[wanted.caller]}"}
        for path in wanted.paths[:2]:
            answer = await self.http.get(path, headers=headers)
            assert answer.status_code == 200, answer.text
        if wanted.books:
            headers["Idempotency-Key"] = str(new_id())
            body = {"slot_id": next(self.slots), "patient_file": patient()}
            answer = await self.http.post("/v1/bookings", headers=headers, json=body)
            assert answer.status_code == 201, answer.text
        await asyncio.sleep(0.01)  # the driver tells a little later
        connection = await asyncpg.connect(self.urls.superuser)
        await connection.execute("TRUNCATE access_log")  # each statement leaves its trace again
        await connection.close()
        return [
            (text, values)
            for text, values in self.sent
            if "FROM" in text and "pg_catalog" not in text  # the driver's own
        ]


async def _land(
    server: Server, make_settings: Callable[..., Settings], number: int, stacked: AsyncExitStack
) -> Land:
    name = f"snp_plans_{new_id().hex}"
    urls = await server.clone(name)
    stacked.push_async_callback(server.drop, name)
    codes = country.territories(number)
    size = country.Country(codes, open_slots=1_500, calls=2_000, doctors=100, others=500)
    await country.fill(server.urls_of(name).superuser, size)
    app = create_app(make_settings(urls.app))
    stacked.push_async_callback(app.state.database.dispose)
    secrets = await callers(app.state.database, codes)
    http = await stacked.enter_async_context(
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test")
    )
    tokens = {}
    for who, secret in secrets.items():
        form = {"client_id": str(secret.client_id), "client_secret": secret.client_secret}
        answer = await http.post("/oauth/token", data={"grant_type": "client_credentials", **form})
        tokens[who] = answer.json()["access_token"]
    connection = await asyncpg.connect(urls.superuser)
    rows = await connection.fetch(
        "SELECT id FROM slots WHERE territory = '36' AND booked = 0 AND starts_at > now()"
        " ORDER BY starts_at DESC LIMIT 20"
    )
    await connection.execute("VACUUM (ANALYZE) grants")
    await connection.close()
    land = Land(urls, http, tokens, iter([str(row["id"]) for row in rows]))
    await app.state.database.dispose()  # the connections that come will tell

    @event.listens_for(app.state.database.engine.sync_engine, "connect")
    def listen(connected: Any, _: Any) -> None:
        connected.driver_connection.add_query_logger(
            lambda told: land.sent.append((told.query, tuple(told.args or ())))
        )

    @event.listens_for(app.state.database.engine.sync_engine, "before_cursor_execute")
    def listen_again(_: Any, __: Any, text: str, values: tuple[Any, ...], *___: Any) -> None:
        land.sent.append((text, values))

    return land


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lands(
    server: Server, make_settings: Callable[..., Settings]
) -> AsyncIterator[tuple[Land, Land]]:
    """The same territory in a small and in a large country."""
    async with AsyncExitStack() as stacked:
        small = await _land(server, make_settings, SMALL, stacked)
        yield small, await _land(server, make_settings, LARGE, stacked)


async def _explain(
    land: Land, statements: list[tuple[str, tuple[Any, ...]]], mode: str, *options: str
) -> list[dict[str, Any]]:
    """Plan statements as the application does once they are prepared."""
    connection = await asyncpg.connect(land.urls.app)
    plans = []
    undone = connection.transaction()
    await undone.start()
    try:
        await connection.execute(f"SET plan_cache_mode = force_{mode}_plan")
        for text, values in statements:
            types = [t.name for t in (await connection.prepare(text)).get_parameters()]
            names = [f"{t[:-2]}[]" if t.endswith("[]") else t for t in types]
            asked = ", ".join(f"quote_nullable(${n}::{t})" for n, t in enumerate(names, 1))
            row: Any = await connection.fetchrow(f"SELECT {asked}", *values) if values else ()
            given = ", ".join(f"{v}::{t}" for v, t in zip(row, names, strict=True))
            await connection.execute(f"PREPARE told AS {text}")
            how = ", ".join([*options, "FORMAT JSON"])
            execute = f"EXECUTE told({given})" if given else "EXECUTE told"
            found = json.loads(await connection.fetchval(f"EXPLAIN ({how}) {execute}"))[0]["Plan"]
            await connection.execute("DEALLOCATE told")
            plans.append(found)
    finally:
        await undone.rollback()
        await connection.close()
    return plans


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _pages(plan: dict[str, Any]) -> int:
    """Count the pages that a plan reads of the big tables and their indexes."""
    of_parts = 0
    read = 0
    for part in plan.get("Plans", ()):
        of_parts += _touched(part)
        read += _pages(part)
    where = plan.get("Index Name") or plan.get("Relation Name") or ""
    big = any(where == table or where.partition("_")[2].startswith(table) for table in BIG)
    return read + (_touched(plan) - of_parts if big else 0)


def _touched(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _found(plan: dict[str, Any]) -> float:
    """Count the rows that are read of `slots`."""
    scans = (n for n in _nodes(plan) if n.get("Relation Name") == "slots")
    return float(
        sum(
            (n["Actual Rows"] + n.get("Rows Removed by Filter", 0)) * n["Actual Loops"]
            for n in scans
        )
    )


def _told(plans: list[dict[str, Any]]) -> str:
    return "; ".join(
        f"{n['Node Type']} {n.get('Index Name', n.get('Relation Name', ''))}"
        f" rows {n.get('Actual Rows')} loops {n.get('Actual Loops')}"
        f" pages {n.get('Shared Hit Blocks', 0) + n.get('Shared Read Blocks', 0)}"
        for plan in plans
        for n in _nodes(plan)
    )


def _indexes(plans: list[dict[str, Any]]) -> set[str]:
    return {n["Index Name"] for plan in plans for n in _nodes(plan) if "Index Name" in n}


def _scanned(plans: list[dict[str, Any]]) -> set[str]:
    nodes = (node for plan in plans for node in _nodes(plan))
    return {node["Relation Name"] for node in nodes if node["Node Type"].endswith("Seq Scan")}


_ALL = operations()
each = pytest.mark.parametrize("wanted", _ALL, ids=[wanted.name for wanted in _ALL])


@each
@pytest.mark.parametrize("mode", ["custom", "generic"])
async def test_big_tables_are_read_through_an_index(
    lands: tuple[Land, Land], wanted: Operation, mode: str
) -> None:
    _, land = lands
    statements = await land.statements(wanted)
    assert statements
    plans = await _explain(land, statements, mode)
    assert not _scanned(plans) & (BIG | (PEOPLE if "by name" in wanted.name else set()))
    assert _expected(wanted) <= _indexes(plans), _told(plans)


# A booking that was made is not made again; its plan is tested above.
_AGAIN = [wanted for wanted in _ALL if not wanted.books]


@pytest.mark.parametrize("wanted", _AGAIN, ids=[wanted.name for wanted in _AGAIN])
async def test_what_nobody_asks_for_is_not_read(
    lands: tuple[Land, Land], wanted: Operation
) -> None:
    touched, told, found = [], [], 0.0
    for land in lands:
        plans = await _explain(
            land, await land.statements(wanted), "generic", "ANALYZE", "BUFFERS", "TIMING off"
        )
        told.append(_told(plans))
        touched.append(sum(_pages(plan) for plan in plans))
        found = sum(_found(plan) for plan in plans)
    small, large = touched
    bound = MORE * small + SOME
    if wanted.name.startswith(SCATTERED):
        bound = MORE * found + SOME
    assert large <= bound, "\n".join([f"{small} and {large} pages", *told])
