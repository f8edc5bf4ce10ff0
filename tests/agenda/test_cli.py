"""`snp sessions extend`, as an operator runs it."""

import asyncio
import os
import sys
from datetime import timedelta

from service.kernel.crypto import Keys
from tests.agenda.support import agenda, in_days, made, weekly
from tests.conftest import Clock, DatabaseUrls
from tests.support import World


async def test_the_command_extends_and_says_what_it_did(
    world: World, clock: Clock, shared_urls: DatabaseUrls, keys: Keys
) -> None:
    doctor = await world.doctor()
    await made(doctor, weekly(doctor, in_days(1)))
    await clock.shift(timedelta(weeks=1))
    settings = {"SNP_DATABASE_URL": shared_urls.app, "SNP_KEYS": keys.model_dump_json()}
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service.cli", "sessions", "extend",
        env={**os.environ, **settings}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    told, _ = await command.communicate()
    assert command.returncode == 0
    assert b"slots published" in told
    assert len(await agenda(doctor, "open", "past")) == 27
