"""A server process for nonsense, on a database of its own."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from service.identity import Role
from service.kernel.crypto import Keys
from service.kernel.settings import Settings
from service.main import create_app
from tests.access.house import House, Standing, build, proven_otherwise
from tests.conftest import Server, address
from tests.demo.processes import Snp, snp
from tests.identity.people import ACCESS_TOKEN, EXCHANGE
from tests.identity.proofs import proofs
from tests.support import Caller, World, soon


@dataclass
class Target:
    """A server process that believes an issuer and a proxy's certificates, and its description.

    With callers of every role and proof, ids of things that exist, and what else is needed to get
    somewhere: `texts` by the name of a member.
    """

    process: Snp
    url: httpx.URL
    document: dict[str, Any]
    standings: Sequence[Standing]
    things: dict[str, list[str]]
    texts: dict[str, list[str]]

    def token(self, role: Role) -> str:
        """Return a token of software in the territory that the things are of."""
        return next(s.caller.token for s in self.standings if s.caller.role is role)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def target(
    tmp_path_factory: pytest.TempPathFactory,
    server: Server,
    make_settings: Callable[..., Settings],
    keys: Keys,
) -> AsyncIterator[Target]:
    """A server on a database of its own, that tells its log everything."""
    database_urls = await server.clone(name := f"{server.template}_nonsense")
    app = create_app(make_settings(database_urls.app))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        world = await World(app.state.database, http).begin()
        house = await build(world)
        things: dict[str, list[str]] = {name: [thing] for name, thing in house.things.items()}
        for kind, over in (await _things_that_are_over(house)).items():
            things[kind].append(over)
    folder = tmp_path_factory.mktemp("nonsense")
    async with proofs(folder, app.state.database) as proving:
        settings = {
            "SNP_DATABASE_URL": database_urls.app,
            "SNP_KEYS": keys.model_dump_json(),
            "SNP_RPPS_CHECK": "format",
            "SNP_LOG_LEVEL": "DEBUG",
            "SNP_TOKEN_REQUESTS_PER_MINUTE": "0",
            "SNP_ADDRESS_REQUESTS_PER_MINUTE": "0",
            "SNP_CLIENT_REQUESTS_PER_MINUTE": "0",
            **proving.settings,
        }
        with snp(folder / "server", "serve", "--port", "0", **settings) as process:
            process.wait_until(lambda started: address(started) is not None)
            url = httpx.URL(str(address(process)))
            own = [standing for standing in house.standings if standing.distance == "own"]
            async with proving.at(url) as client:
                others = await proven_otherwise(own, proving, proving.desk(world, client))
            secret = own[0].caller.secret
            texts: dict[str, list[str]] = {
                "grant_type": ["client_credentials", EXCHANGE],
                "client_id": [str(secret.client_id)],
                "client_secret": [secret.client_secret],
                "subject_token": [
                    proving.provider.token(sub=sub, exp=soon(24).timestamp())
                    for sub in ("somebody", "\x00", "")
                ],
                "subject_token_type": [ACCESS_TOKEN],
            }
            standings = [*house.standings, *others]
            yield Target(process, url, app.openapi(), standings, things, texts)
    await app.state.database.dispose()
    await server.drop(name)


async def _things_that_are_over(house: House) -> dict[str, str]:
    """End a call, a booking, a slot: whoever changes them again is in conflict."""
    own = {s.caller.role: s.caller for s in house.standings if s.distance == "own"}
    regulator, doctor, pharmacist = own[Role.REGULATOR], own[Role.DOCTOR], own[Role.PHARMACIST]
    call = await _made(
        regulator, "/v1/calls", {"line": "116117", "received_at": soon(-1).isoformat()}
    )
    await _made(regulator, f"/v1/calls/{call}/outcomes", {"outcome": "medical_advice"})
    closed = await regulator.post(f"/v1/calls/{call}/closure", {})
    assert closed.status_code == 200, closed.text
    booked = {"slot_id": house.things["pro_slot"], "patient_file": {"age": 40}}
    booking = await _made(pharmacist, "/v1/bookings", booked)
    cancelled = await pharmacist.post(f"/v1/bookings/{booking}/cancellation", {"by": "patient"})
    assert cancelled.status_code == 200, cancelled.text
    slot = (await doctor.publish(soon(8)))["id"]
    withdrawn = await doctor.delete(f"/v1/slots/{slot}", if_match=1)
    assert withdrawn.status_code in {200, 204}, withdrawn.text
    over = {"call": call, "booking": booking, "slot": slot}
    return {**over, "hold": house.things["legal_hold"]}


async def _made(caller: Caller, path: str, body: object) -> str:
    answer = await caller.post(path, body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
