"""`snp events tail`, `snp deliveries retry`: what an operator sees and sets right."""

import asyncio
from pathlib import Path

from service import stream
from service.kernel.crypto import Keys
from tests.conftest import DatabaseUrls
from tests.demo.processes import snp
from tests.support import World, soon


async def test_what_happened_is_shown_a_line_each(
    world: World, shared_urls: DatabaseUrls, keys: Keys, tmp_path: Path
) -> None:
    async with world.database.unit_of_work() as uow:
        last = await stream.last_position(uow)
    slot = await (await world.doctor()).publish(soon(2))
    while await stream.give_positions(world.database):
        pass
    settings = {"SNP_DATABASE_URL": shared_urls.app, "SNP_KEYS": keys.model_dump_json()}
    asked = ("events", "tail", "--after", str(last), "--no-follow")
    with snp(tmp_path / "tail", *asked, **settings) as tail:
        assert await asyncio.to_thread(tail.process.wait, 60) == 0
        lines = [line.split() for line in tail.output.splitlines()]
    [published] = [line for line in lines if line[4] == slot["id"]]
    assert published[2:4] == [world.territory, "slot.published"]
    positions = [int(line[0]) for line in lines]
    assert positions == sorted(positions)
    assert min(positions) > last


async def test_nothing_failed_nothing_is_sent_again(
    shared_urls: DatabaseUrls, keys: Keys, tmp_path: Path
) -> None:
    settings = {"SNP_DATABASE_URL": shared_urls.app, "SNP_KEYS": keys.model_dump_json()}
    for name in ("deliveries", "messages"):
        with snp(tmp_path / name, name, "retry", **settings) as retry:
            assert await asyncio.to_thread(retry.process.wait, 60) == 0, retry.errors
            assert "are sent again." in retry.output
