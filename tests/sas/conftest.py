"""A broker with a database of its own, beside a stand-in of the SAS platform."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest_asyncio

from service import sas, stream
from service.identity import IDNPS, SAS, Actor, Identifier, Role, Tokens
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from service.sas.clients import sender
from service.sas.usecases import appointments
from tests.conftest import Clock, DatabaseUrls
from tests.kernel.serving import serving
from tests.sas.standin import StandIn, platform
from tests.support import Caller, World, patient

Body = dict[str, Any]
OURS = "urn:oid:1.2.250.1.999.1"


@dataclass
class Centre:
    """A territory with a doctor, and a regulator who came through SAS."""

    settings: Settings
    database: Database
    clock: Clock
    world: World
    standin: StandIn
    software: Caller
    doctor: Caller
    regulator: Caller
    number: str
    technical: str

    async def slot(self, **members: Any) -> Body:
        """A hidden slot of the doctor's."""
        return await self.doctor.publish(**members)

    async def book(self, caller: Caller | None = None, **members: Any) -> Body:
        """Book a slot of the doctor's, as the regulator unless somebody else is named."""
        slot = await self.slot(**members)
        body = {
            "slot_id": slot["id"],
            "patient_file": patient(),
            "case_id": f"LRM-{slot['id'][-6:]}",
        }
        answer = await (caller or self.regulator).post("/v1/bookings", body)
        assert answer.status_code == 201, answer.text
        found: Body = answer.json()
        return found

    async def cancel(self, booking: Body) -> None:
        """Cancel a booking."""
        path = f"/v1/bookings/{booking['id']}/cancellation"
        answer = await self.regulator.post(path, {"by": "patient", "reason": "guéri"})
        assert answer.status_code == 200, answer.text

    async def withdraw(self) -> sas.Regulator:
        """Do as SAS does with a regulator who may regulate no more."""
        actor = await _platform(self.database, self.world)
        draft = _draft(self.number, self.technical, active=False)
        async with self.database.unit_of_work() as uow:
            withdrawn, _ = await sas.put(uow, actor, [sas.Sought(self.number, IDNPS)], draft)
        return withdrawn

    async def hear(self) -> None:
        """Do what a worker does with facts."""
        while await stream.give_positions(self.database):
            pass
        while await stream.consume(self.database, "sas", sas.consume):
            pass

    async def tell(self, settings: Settings | None = None) -> None:
        """Do what a worker does with facts, and then for SAS."""
        await self.hear()
        async with sender(settings or self.settings) as send:
            await appointments.tell(self.database, send, OURS, seconds=30, chance=lambda: 0.0)


async def _platform(database: Database, world: World) -> Actor:
    here = await world.caller(Role.SAS_PLATFORM, await world.organization("sas"), "sas")
    return Tokens(database.vault.token_keys, 600).verify(here.token)


def _draft(number: str, technical: str, *, active: bool) -> sas.RegulatorDraft:
    return sas.RegulatorDraft(
        identifiers=(Identifier(IDNPS, number), Identifier(SAS, technical)),
        active=active,
        family_name="Loridon",
        given_name="Sébastien",
        email="sebastien.loridon@example.fr",
    )


@pytest_asyncio.fixture
async def centre(
    database_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> AsyncIterator[Centre]:
    """A centre whose worker does not run."""
    async with platform() as standin:
        settings = make_settings(
            database_urls.app, sas_appointments_url=standin.url, sas_system=OURS
        )
        async with serving(settings) as (http, database):
            await stream.consume(database, "sas", sas.consume)  # from now on
            world = await World(database, http).begin()
            number, technical = "3456780581/11242343", str(new_id()).upper()
            actor = await _platform(database, world)
            async with database.unit_of_work() as uow:
                await sas.create(uow, actor, _draft(number, technical, active=True))
            software = await world.regulator()
            regulator = Caller(
                http, software.secret, Role.OSNP, software.organization_id, world.territory
            )
            await regulator.sign_in(
                user_system="sas",
                user_id=technical,
                user_family_name="Loridon",
                user_email="sebastien.loridon@example.fr",
                origin="sas",
            )
            yield Centre(
                settings, database, Clock(database_urls.owner), world, standin, software,
                await world.doctor(), regulator, number, technical,
            )  # fmt: skip
