"""Traces past their limit go, and who did it; what is left is proven, and what went is told."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from service import audit, retention
from service.audit import NotAsSealed, seal
from service.audit.tasks import verify
from service.kernel.crypto import Keys, Vault
from service.kernel.db import Database, UnitOfWork
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from tests.audit.support import as_role
from tests.conftest import Clock, DatabaseUrls
from tests.demo.processes import Snp
from tests.retention.support import book, place

MakeSettings = Callable[..., Settings]


async def _nothing_held(_: UnitOfWork) -> Sequence[UUID]:
    return ()


@dataclass(frozen=True)
class Old:
    """A database of the test's own, whose clock runs ahead."""

    urls: DatabaseUrls
    settings: Settings
    database: Database

    async def later(self, months: int) -> None:
        await Clock(self.urls.owner).shift(timedelta(days=months * 31))

    async def rows(self, question: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.urls.superuser)
        try:
            return await connection.fetch(question)
        finally:
            await connection.close()

    async def count(self, table: str) -> int:
        (row,) = await self.rows(f"SELECT count(*) AS n FROM {table}")
        return int(row["n"])

    async def written(self, lines: int = 2) -> None:
        """Seal some lines of both tables that name somebody."""
        named = '\'{"id": "810000000001", "family_name": "Zzyzx"}\', \'192.0.2.7\''
        await as_role(
            self.urls.app,
            *(
                "INSERT INTO access_log"
                " (id, operation, result, subject_ids, territories, person, address)"
                f" VALUES ('{new_id()}', 'patients.read', 'shown', '{{}}', '{{36}}', {named})"
                for _ in range(lines)
            ),
            *(
                "INSERT INTO events (id, type, subject_id, person, address, data) VALUES"
                f" ('{new_id()}', 'booking.created', '{new_id()}', {named},"
                ' \'{"case_id": "K-1", "state": "booked"}\')'
                for _ in range(lines)
            ),
        )
        await seal(self.database)

    async def prune(self, **how: Any) -> dict[str, int]:
        """Prune as the owner; how many lines of what."""
        owner = Database(self.urls.owner, self.settings, self.database.vault)
        how = {"held": _nothing_held, "why": "past its limit", **how}
        try:
            done = await audit.prune(owner, audit.limits(self.settings), **how)
        finally:
            await owner.dispose()
        return {f"{one.limit.gone} {one.limit.source}": one.rows for one in done if one.rows}

    async def found(self) -> list[str]:
        return [str(finding) for finding in (await verify(self.database)).findings]

    async def tamper(self, *statements: str) -> None:
        await as_role(self.urls.superuser, *statements)


@pytest_asyncio.fixture
async def old(
    database_urls: DatabaseUrls, make_settings: MakeSettings, keys: Keys
) -> AsyncIterator[Old]:
    """An empty database."""
    settings = make_settings(database_urls.app)
    made = Old(database_urls, settings, Database(database_urls.app, settings, Vault(keys)))
    yield made
    await made.database.dispose()


async def test_readings_go_after_a_year_and_the_rest_is_proven(old: Old) -> None:
    await old.written()
    await old.later(13)
    await old.written(3)
    head = (await verify(old.database)).chain.head
    assert await old.prune() == {"pruned access_log": 2}
    assert (await old.count("access_log"), await old.count("events")) == (3, 5)
    seen = await verify(old.database, head)
    assert (seen.findings, seen.rows) == ([], 8)
    (tombstone,) = seen.chain.tombstones
    assert {name: tombstone[name] for name in ("gone", "source", "rows", "by", "why")} == {
        "gone": "pruned",
        "source": "access_log",
        "rows": 2,
        "by": (await _role(old.urls.owner)),
        "why": "past its limit",
    }
    stub = await old.rows("SELECT * FROM audit_seals WHERE row_ids IS NULL")
    assert [row["position"] for row in stub] == tombstone["seals"]
    assert tombstone["hash_before"] == stub[0]["previous"].hex()
    assert tombstone["hash_after"] == stub[0]["hash"].hex()
    # Nothing is due any more; sealing goes on behind the tombstone.
    assert await old.prune() == {}
    await old.written()
    assert await old.found() == []


async def _role(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval("SELECT session_user::text"))
    finally:
        await connection.close()


async def test_who_did_it_is_erased_after_five_years_and_what_was_done_is_proven(old: Old) -> None:
    await old.written()
    await old.later(61)
    await old.written()
    assert await old.prune() == {"pruned access_log": 2, "erased events": 2}
    told = await old.rows("SELECT e::text AS line FROM events e ORDER BY xid")
    assert [("Zzyzx" in r["line"], "192.0.2.7" in r["line"], "K-1" in r["line"]) for r in told] == [
        *[(False, False, False)] * 2,
        *[(True, True, True)] * 2,
    ]
    states = await old.rows("SELECT data->>'state' AS state FROM events")
    assert [row["state"] for row in states] == ["booked"] * 4
    assert await old.found() == []
    # A hash that stays is of nothing that could be guessed.
    salts = await old.rows("SELECT named_salt FROM audit_seals WHERE named_digests IS NULL")
    assert [row["named_salt"] for row in salts] == [None, None]
    oldest = (await old.rows("SELECT id FROM events ORDER BY xid LIMIT 1"))[0]["id"]
    for change, back in (
        ("person = '{}'", "person = NULL"),
        ('data = data || \'{"case_id": "K-2"}\'', "data = data - 'case_id'"),
        ("role = 'doctor'", "role = NULL"),
    ):
        await old.tamper(f"UPDATE events SET {change} WHERE id = '{oldest}'")
        (finding,) = await old.found()
        assert finding.startswith(f"events {oldest} (seal ")
        assert finding.endswith("): changed")
        await old.tamper(f"UPDATE events SET {back} WHERE id = '{oldest}'")
    assert await old.found() == []
    await old.later(190)
    done = await old.prune()
    assert done == {"erased events": 2, "pruned access_log": 2, "pruned events": 4}
    assert (await old.count("events"), await old.found()) == (0, [])


_STRAY = "00000000-0000-4000-8000-000000000000"
_NO_LINES = "row_ids = NULL, row_digests = NULL, named_salt = NULL, named_digests = NULL"
# What is told, and what was done: {free} is the seal of readings that are not due.
_TRICKS: Mapping[str, Sequence[str]] = {
    "seal {free}: pruned, and no tombstone says so": (
        f"UPDATE audit_seals SET {_NO_LINES} WHERE position = {{free}}",
        "DELETE FROM access_log",
    ),
    "seal {free}: erased, and no tombstone says so": (
        "UPDATE audit_seals SET named_salt = NULL, named_digests = NULL WHERE position = {free}",
        "UPDATE access_log SET person = NULL, address = NULL",
    ),
    "seal {last}: changed: it is not what its hash says": (
        "UPDATE audit_seals SET tombstone = tombstone || '{{\"rows\": 1}}'",
    ),
    "seal 2: pruned, and no tombstone says so": (
        "DELETE FROM audit_seals WHERE tombstone IS NOT NULL",
    ),
    f"access_log {_STRAY} (seal 2): inserted after it was sealed": (
        (
            f"INSERT INTO access_log SELECT '{_STRAY}', from_xid::text::xid8, now(), 'x', 'shown',"
            " '{{}}', '{{}}' FROM audit_seals WHERE position = 2"
        ),
    ),
}


@pytest.mark.parametrize("told", _TRICKS)
async def test_what_went_without_a_tombstone_or_came_back_is_found(old: Old, told: str) -> None:
    await old.written()
    await old.later(13)
    await old.written()
    await old.prune()
    assert await old.found() == []
    seals = await old.rows("SELECT position, source FROM audit_seals ORDER BY position")
    free = max(row["position"] for row in seals if row["source"] == "access_log")
    places = {"free": free, "last": seals[-1]["position"]}
    await old.tamper(*(statement.format(**places) for statement in _TRICKS[told]))
    assert told.format(**places) in await old.found()


async def test_a_tombstone_is_not_made_without_the_key(old: Old, keys: Keys) -> None:
    await old.written()
    await old.later(13)
    without = Vault(keys.model_copy(update={"audit": None}))
    stranger = Old(old.urls, old.settings, Database(old.urls.app, old.settings, without))
    assert await stranger.prune() == {"pruned access_log": 2}
    await stranger.database.dispose()
    (finding,) = await old.found()
    assert finding.endswith("made without the key, after seals that were made with it")


async def test_what_is_not_as_it_was_sealed_is_evidence_and_stays(old: Old) -> None:
    await old.written()
    await old.tamper("UPDATE access_log SET role = 'nobody'")
    before = await old.found()
    await old.later(13)
    with pytest.raises(NotAsSealed, match="changed"):
        await old.prune()
    assert await old.count("access_log") == 2
    assert await old.found() == before != []


async def test_pruning_that_was_cut_off_goes_on(old: Old) -> None:
    for _ in range(5):
        await old.written()
    await old.later(61)

    def cut_off(done: int, _: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await old.prune(told=cut_off, batch=2)
    named = await old.rows("SELECT id FROM events WHERE person IS NOT NULL")
    assert (len(named), await old.found()) == (6, [])
    shown: list[tuple[int, int]] = []
    done = await old.prune(told=lambda *how: shown.append(how), batch=2)
    assert done == {"erased events": 6, "pruned access_log": 10}
    assert shown[-1] == (16, 16)
    assert (await old.count("access_log"), await old.found()) == (0, [])


async def test_what_a_legal_hold_covers_stays_with_its_range(
    database_urls: DatabaseUrls, make_settings: MakeSettings
) -> None:
    async with place(database_urls, make_settings) as here:
        old = Old(database_urls, here.settings, here.database)
        regulator, doctor = await here.world.regulator(), await here.world.doctor()
        held, free = (
            await book(regulator, doctor, 2, case_id="K-1"),
            await book(regulator, doctor, 4),
        )
        for booking in (held, free):
            assert (await doctor.get(f"/v1/bookings/{booking['id']}")).status_code == 200
            await seal(here.database)
        manager = await here.world.manager()
        target = {"case_id": "K-1", "reason": "plainte"}
        hold = (await manager.post("/v1/legal-holds", target)).json()
        await old.later(13)
        subjects = "SELECT subject_ids[1]::text AS id FROM access_log WHERE result = 'shown'"
        assert await old.prune(held=retention.held_subjects) == {"pruned access_log": 1}
        assert [row["id"] for row in await old.rows(subjects)] == [held["id"]]
        await manager.sign_in()
        lifted = await manager.delete(f"/v1/legal-holds/{hold['id']}")
        assert lifted.is_success, lifted.text
        assert (await old.prune(held=retention.held_subjects))["pruned access_log"] == 1
        assert await old.rows(subjects) == []
        assert await old.found() == []


async def test_the_commands_tell_what_is_due_and_what_went(
    old: Old, keys: Keys, tmp_path: Path
) -> None:
    await old.written()
    await old.later(13)
    ours = {
        "SNP_OWNER_DATABASE_URL": old.urls.owner,
        "SNP_DATABASE_URL": old.urls.app,
        "SNP_KEYS": keys.model_dump_json(),
    }

    def run(name: str, *arguments: str) -> str:
        (tmp_path / name).mkdir()
        started = Snp(tmp_path / name, "audit", *arguments, **ours)
        assert (started.process.wait(60), started.errors) == (0, "")
        return started.output

    assert "access_log   pruned   12 months" in run("dry", "prune", "--dry-run")
    assert await old.count("access_log") == 2
    assert "access_log   pruned   12 months" in run("prune", "prune", "--why", "CNIL, 12 mois")
    assert await old.count("access_log") == 0
    told = run("verify", "verify")
    assert told.startswith("pruned: 2 lines of access_log from before ")
    assert ": CNIL, 12 mois\n" in told
    assert "3 seals, 2 traces, 0 findings. " in told
