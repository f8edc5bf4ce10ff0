"""Metrics: for who may read them, true, and without a word of a caller or a patient."""

import re
from collections.abc import AsyncIterator, Callable

import httpx
import pytest_asyncio
from pydantic import SecretStr

from service.kernel.settings import Settings
from service.main import create_app
from tests.conftest import DatabaseUrls
from tests.support import World, patient, problem, soon

Make = Callable[..., httpx.AsyncClient]


@pytest_asyncio.fixture
async def asking(
    shared_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> AsyncIterator[Make]:
    """Make clients of a server, at an address."""
    opened = []

    def make(address: str = "127.0.0.1", **settings: object) -> httpx.AsyncClient:
        app = create_app(make_settings(shared_urls.app, **settings))
        transport = httpx.ASGITransport(app=app, client=(address, 40_000))
        client = httpx.AsyncClient(transport=transport, base_url="http://test")
        opened.append((app, client))
        return client

    yield make
    for app, client in opened:
        await client.aclose()
        await app.state.database.dispose()


def value(text: str, name: str, **labels: str) -> float:
    """Return what a line of the text says."""
    wanted = ",".join(f'{label}="{said}"' for label, said in labels.items())
    found = re.search(
        rf"^{re.escape(f'{name}{{{wanted}}}' if wanted else name)} (\S+)$", text, re.MULTILINE
    )
    assert found, text
    return float(found[1])


async def test_requests_are_counted_by_their_template(asking: Make, world: World) -> None:
    client = asking()
    world = World(world.database, client, territory=world.territory)
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(soon(2))
    who = patient(phone="+33612345678", case_id="CASE-0001")
    for _ in range(2):
        await regulator.post("/v1/bookings", {"slot_id": slot["id"], "patient_file": who})
    for path in ("/v1/slots/x", "/nowhere/CASE-0001", "/v1/patient-files/CASE-0001"):
        await regulator.get(path)
    text = (await client.get("/metrics")).text
    for status, times in (("201", 1), ("409", 1)):
        labels = {"method": "POST", "route": "/v1/bookings", "status": status}
        assert value(text, "snp_request_seconds_count", **labels) == times
    labels = {"method": "any", "route": "(unmatched)", "status": "404"}
    assert value(text, "snp_request_seconds_count", **labels) == 1
    assert value(text, "snp_measured", what="database_up") == 1
    assert value(text, "snp_measured", what="audit_oldest_unsealed_seconds") >= 0
    assert value(text, "snp_measured", what="stream_oldest_waiting_seconds") >= 0
    for name in (who["family_name"], who["phone"], "CASE-0001", slot["id"], doctor.token):
        assert name not in text


async def test_only_this_machine_reads_them(asking: Make) -> None:
    assert (await asking("127.0.0.1").get("/metrics")).status_code == 200
    assert (await asking("::1").get("/metrics")).status_code == 200
    client = asking("192.0.2.7")
    metrics, nothing = [
        problem(await client.get(path), 404, "not-found") | {"request_id": ""}
        for path in ("/metrics", "/nowhere")
    ]
    assert metrics == nothing
    through_a_proxy_here = await asking().get("/metrics", headers={"X-Forwarded-For": "192.0.2.7"})
    problem(through_a_proxy_here, 404, "not-found")


async def test_with_a_token_only_who_has_it(asking: Make) -> None:
    settings = {"metrics_token": SecretStr("let-me-see")}
    elsewhere = asking("192.0.2.7", **settings)
    right, wrong = ({"Authorization": f"Bearer {word}"} for word in ("let-me-see", "let-me"))
    assert (await elsewhere.get("/metrics", headers=right)).status_code == 200
    problem(await elsewhere.get("/metrics", headers=wrong), 404, "not-found")
    problem(await asking("127.0.0.1", **settings).get("/metrics"), 404, "not-found")


async def test_without_the_database_the_rest_is_told(asking: Make) -> None:
    away = asking(database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none"))
    text = (await away.get("/metrics")).text
    assert value(text, "snp_measured", what="database_up") == 0
    assert value(text, "process_resident_memory_bytes") > 0
