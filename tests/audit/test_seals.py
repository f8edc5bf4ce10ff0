"""The seals: no row is missed, and what somebody did to a row or a seal is named."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from service.audit import NumbersWentBack, seal
from service.audit.tasks import verify
from service.kernel.crypto import Keys, Vault
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.kernel.migrations import upgrade
from service.kernel.settings import Settings
from service.main import create_app
from tests.audit.support import as_role
from tests.conftest import DatabaseUrls, Server
from tests.demo.processes import Snp
from tests.kernel.serving import serving

pytestmark = pytest.mark.xdist_group("seals")

MakeSettings = Callable[..., Settings]
SOURCES = ("events", "access_log")


def _event(event_id: UUID, more: str = "", values: str = "") -> str:
    return (
        f"INSERT INTO events (id, type, subject_id, data{more}) "
        f"VALUES ('{event_id}', 'patient_file.opened', '{event_id}', '{{}}'{values})"
    )


def _access(event_id: UUID, more: str = "", values: str = "") -> str:
    return (
        f"INSERT INTO access_log (id, operation, result, subject_ids, territories{more}) "
        f"VALUES ('{event_id}', 'patients.read', 'shown', '{{}}', '{{}}'{values})"
    )


@dataclass(frozen=True)
class Chained:
    """A database of its own."""

    urls: DatabaseUrls
    database: Database

    async def write(self, *statements: str) -> None:
        """Write as the application."""
        await as_role(self.urls.app, *statements)

    async def tamper(self, *statements: str) -> None:
        """Do as somebody does who has every right on the database."""
        await as_role(self.urls.superuser, *statements)

    async def found(self, expect: str | None = None) -> list[str]:
        """What verifying finds."""
        anchor = None if expect is None else bytes.fromhex(expect)
        return [str(f) for f in (await verify(self.database, anchor)).findings]


async def _chained(urls: DatabaseUrls, settings: Settings, keys: Keys) -> Chained:
    return Chained(urls, Database(urls.app, settings, Vault(keys)))


@pytest_asyncio.fixture(loop_scope="session")
async def chained(
    database_urls: DatabaseUrls, make_settings: MakeSettings, keys: Keys
) -> AsyncIterator[Chained]:
    """An empty database."""
    made = await _chained(database_urls, make_settings(database_urls.app), keys)
    yield made
    await made.database.dispose()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def full(server: Server, make_settings: MakeSettings, keys: Keys) -> AsyncIterator[Chained]:
    """A database whose traces are sealed in several seals."""
    name = f"snp_sealed_{new_id().hex}"
    urls = await server.clone(name)
    made = await _chained(urls, make_settings(urls.app), keys)
    for _ in range(3):
        await made.write(*(write(new_id()) for write in (_event, _access) for _ in range(5)))
        await seal(made.database, batch=4)
    yield made
    await made.database.dispose()
    await server.drop(name)


@pytest_asyncio.fixture(loop_scope="session")
async def sealed(full: Chained) -> AsyncIterator[Chained]:
    """The same, and as it was when the test is over: verifying then finds nothing again."""
    tables = (*SOURCES, "audit_seals")
    assert await full.found() == []
    await full.tamper(*(f"CREATE TABLE kept_{table} AS TABLE {table}" for table in tables))
    yield full
    for table in tables:
        await full.tamper(
            f"TRUNCATE {table}",
            f"INSERT INTO {table} SELECT * FROM kept_{table}",
            f"DROP TABLE kept_{table}",
        )
    assert await full.found() == []


async def _rows(chained: Chained, question: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(chained.urls.superuser)
    try:
        return await connection.fetch(question)
    finally:
        await connection.close()


async def _middle(chained: Chained, table: str) -> UUID:
    rows = await _rows(chained, f"SELECT id FROM {table} ORDER BY xid, id")
    found: UUID = rows[len(rows) // 2]["id"]
    return found


async def _of(chained: Chained, row_id: UUID) -> int:
    asked = f"SELECT position FROM audit_seals WHERE '{row_id}' = ANY (row_ids)"
    return int((await _rows(chained, asked))[0]["position"])


# --- what was done to a line ----------------------------------------------------------------------

_CHANGES = {
    "events": (
        "subject_id = gen_random_uuid()",
        "role = 'doctor'",
        'data = \'{"state": "x"}\'',
        "occurred_at = occurred_at - interval '1 microsecond'",
        "person = '{}'",
        "purpose = 'care'",
        "territory = ''",
        "address = '192.0.2.1'",
        'data = \'{"case_id": "x"}\'',
    ),
    "access_log": (
        "subject_ids = ARRAY[gen_random_uuid()]",
        "result = 'patient-file-not-found'",
        "break_glass = 'vital_emergency'",
        "territories = '{36}'",
        "address = '192.0.2.1'",
        "correlation_id = ''",
        "organization_id = gen_random_uuid()",
        "times = 2",
        "person = '{}'",
    ),
}


@pytest.mark.parametrize(
    ("table", "change"), [(table, change) for table in SOURCES for change in _CHANGES[table]]
)
async def test_a_changed_line_is_named(sealed: Chained, table: str, change: str) -> None:
    row_id = await _middle(sealed, table)
    await sealed.tamper(f"UPDATE {table} SET {change} WHERE id = '{row_id}'")
    position = await _of(sealed, row_id)
    assert await sealed.found() == [f"{table} {row_id} (seal {position}): changed"]


@pytest.mark.parametrize("table", SOURCES)
async def test_a_removed_line_is_named(sealed: Chained, table: str) -> None:
    row_id = await _middle(sealed, table)
    await sealed.tamper(f"DELETE FROM {table} WHERE id = '{row_id}'")
    position = await _of(sealed, row_id)
    assert await sealed.found() == [f"{table} {row_id} (seal {position}): removed"]


@pytest.mark.parametrize("table", SOURCES)
async def test_an_inserted_line_is_named(sealed: Chained, table: str) -> None:
    near, new = await _middle(sealed, table), new_id()
    write = _event if table == "events" else _access
    xid = f", (SELECT xid FROM {table} WHERE id = '{near}')"
    await sealed.tamper(write(new, ", xid", xid))
    position = await _of(sealed, near)
    told = f"{table} {new} (seal {position}): inserted after it was sealed"
    assert await sealed.found() == [told]


@pytest.mark.parametrize("table", SOURCES)
async def test_a_line_that_claims_to_be_older_than_it_is_is_named(
    sealed: Chained, table: str
) -> None:
    new = new_id()
    write = _event if table == "events" else _access
    past = write(new, ", occurred_at", ", now() - interval '3 hours'")
    await sealed.tamper(past)
    await seal(sealed.database)
    (told,) = await sealed.found()
    assert told.startswith(f"{table} {new} (seal {await _of(sealed, new)}): inserted: ")


@pytest.mark.parametrize("table", SOURCES)
async def test_a_line_of_a_transaction_to_come_is_named(sealed: Chained, table: str) -> None:
    new = new_id()
    write = _event if table == "events" else _access
    await sealed.tamper(write(new, ", xid", ", '9000000000'"))
    assert await sealed.found() == [f"{table} {new}: inserted: its transaction has not begun yet"]


async def test_the_position_of_an_event_in_the_feed_is_not_sealed(sealed: Chained) -> None:
    await sealed.write(
        "UPDATE events SET position = 1000 WHERE id = (SELECT min(id::text)::uuid FROM events)"
    )
    assert await sealed.found() == []


# --- what was done to a seal ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "sealed_at = sealed_at + interval '1 microsecond'",
        "complete = NOT complete",
        "to_xid = to_xid - 1",
        "row_ids = row_ids[2:]",
        "row_digests = sha256(row_digests)",
        "rows = rows + 1",
        "named_salt = sha256(named_salt)",
        "named_digests = sha256(named_digests)",
        'tombstone = \'{"gone": "pruned", "seals": [2]}\'',
    ],
)
async def test_a_changed_seal_is_named(sealed: Chained, change: str) -> None:
    await sealed.tamper(f"UPDATE audit_seals SET {change} WHERE position = 3")
    assert "seal 3: changed: it is not what its hash says" in await sealed.found()


async def test_a_seal_of_a_form_to_come_is_not_taken_for_a_forged_one(sealed: Chained) -> None:
    await sealed.tamper("UPDATE audit_seals SET form = 2 WHERE position = 3")
    assert "seal 3: of a form that this version cannot verify: 2" in await sealed.found()


@pytest.mark.parametrize("column", ["hash", "mac", "previous"])
async def test_a_forged_hash_is_named(sealed: Chained, column: str) -> None:
    await sealed.tamper(f"UPDATE audit_seals SET {column} = sha256('') WHERE position = 3")
    assert any(told.startswith(("seal 3:", "seal 4:")) for told in await sealed.found())


async def test_a_removed_seal_is_named(sealed: Chained) -> None:
    await sealed.tamper("DELETE FROM audit_seals WHERE position = 3")
    found = await sealed.found()
    assert found[0] == "seal 4: removed: the seals after 2, before this one"


async def test_an_inserted_seal_is_named(sealed: Chained) -> None:
    await sealed.tamper(
        "CREATE TEMPORARY TABLE forged AS SELECT * FROM audit_seals WHERE position = 3;"
        "UPDATE forged SET position = (SELECT max(position) + 1 FROM audit_seals);"
        "INSERT INTO audit_seals SELECT * FROM forged"
    )
    last = (await _rows(sealed, "SELECT max(position) AS n FROM audit_seals"))[0]["n"]
    assert f"seal {last}: it does not continue the seal before it" in await sealed.found()


async def test_a_chain_made_anew_is_noticed_by_its_key_and_by_a_noted_hash(
    sealed: Chained, make_settings: MakeSettings, keys: Keys
) -> None:
    noted = (await verify(sealed.database)).chain.head.hex()
    assert await sealed.found(noted) == []
    row_id = await _middle(sealed, "access_log")
    await sealed.tamper(
        f"UPDATE access_log SET role = 'nobody' WHERE id = '{row_id}'",
        "TRUNCATE audit_seals",
    )
    without = keys.model_copy(update={"audit": None})
    for others in (Keys.generate(), without):
        forger = await _chained(sealed.urls, make_settings(sealed.urls.app), others)
        await seal(forger.database)
        assert await forger.found() == []
        await forger.database.dispose()
        seen = await verify(sealed.database, bytes.fromhex(noted))
        told = [str(finding) for finding in seen.findings]
        assert told[-1] == "chain: the expected hash is not in it"
        if others is without:
            assert seen.without_key == seen.chain.position
        else:
            assert told[0] == "seal 1: not made with this installation's key `audit`"
        await sealed.tamper("TRUNCATE audit_seals")


async def test_a_shortened_chain_is_noticed_by_a_noted_hash(sealed: Chained) -> None:
    noted = (await verify(sealed.database)).chain.head.hex()
    await sealed.tamper(
        "DELETE FROM audit_seals WHERE position = (SELECT max(position) FROM audit_seals)"
    )
    await sealed.write(_access(new_id()))
    await seal(sealed.database)
    assert await sealed.found() == []
    assert await sealed.found(noted) == ["chain: the expected hash is not in it"]


async def test_after_seals_with_the_key_none_is_made_without(
    sealed: Chained, make_settings: MakeSettings, keys: Keys
) -> None:
    without = keys.model_copy(update={"audit": None})
    other = await _chained(sealed.urls, make_settings(sealed.urls.app), without)
    await sealed.write(_access(new_id()))
    done = await seal(other.database)
    await other.database.dispose()
    assert done.seals == 1
    (told,) = await sealed.found()
    assert told.endswith("made without the key, after seals that were made with it")


# --- no row is missed -----------------------------------------------------------------------------


async def test_a_transaction_that_ends_late_is_not_skipped(chained: Chained) -> None:
    late, soon, later = new_id(), new_id(), new_id()
    slow = await asyncpg.connect(chained.urls.app, statement_cache_size=0)
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute(_access(late))
    await chained.write(_access(soon))
    assert (await seal(chained.database)).rows == 0
    await transaction.commit()
    await slow.close()
    await chained.write(_access(later))
    assert (await seal(chained.database)).rows == 3
    assert await chained.found() == []


async def test_whoever_writes_while_it_is_sealed_is_sealed_once(chained: Chained) -> None:
    draw = random.Random(5)
    written: list[UUID] = []
    pauses = [(draw.random() / 20, draw.random() / 20, draw.random() < 0.2) for _ in range(120)]

    async def write(number: int) -> None:
        connection = await asyncpg.connect(chained.urls.app, statement_cache_size=0)
        for before, after, undone in pauses[number * 20 : number * 20 + 20]:
            row_ids = [new_id(), new_id()]
            transaction = connection.transaction()
            await transaction.start()
            await asyncio.sleep(before)
            await connection.execute(_access(row_ids[0]))
            await asyncio.sleep(after)
            await connection.execute(_event(row_ids[1]))
            await (transaction.rollback() if undone else transaction.commit())
            written.extend([] if undone else row_ids)
        await connection.close()

    writers = asyncio.gather(*(write(number) for number in range(6)))
    runs = 0
    while not writers.done():
        await asyncio.gather(seal(chained.database, batch=7), seal(chained.database, batch=7))
        runs += 1
    await writers
    await seal(chained.database)
    rows = await _rows(chained, "SELECT unnest(row_ids) AS id FROM audit_seals")
    assert runs > 5
    assert sorted(row["id"] for row in rows) == sorted(written)
    assert await chained.found() == []


async def test_the_rows_of_one_transaction_stay_together(chained: Chained) -> None:
    await chained.write(
        f"BEGIN; {'; '.join(_access(new_id()) for _ in range(9))}; COMMIT",
        *(_access(new_id()) for _ in range(3)),
    )
    done = await seal(chained.database, batch=4)
    assert (done.seals, done.rows) == (2, 12)
    seals = await _rows(chained, "SELECT cardinality(row_ids) AS n, complete FROM audit_seals")
    assert [(row["n"], row["complete"]) for row in seals] == [(9, False), (3, True)]
    assert (await seal(chained.database)).seals == 0
    assert await chained.found() == []


# --- a restore on another server ------------------------------------------------------------------


async def test_numbers_that_begin_anew_are_noticed_and_go_on_after_migrate(
    chained: Chained, make_settings: MakeSettings
) -> None:
    """As after a restore: rows carry higher numbers than the server's transactions."""
    offset = "CREATE OR REPLACE FUNCTION snp_xact_offset() RETURNS bigint LANGUAGE sql STABLE AS"
    await as_role(chained.urls.owner, f"{offset} 'SELECT 5000000000::bigint'")
    await chained.write(*(_access(new_id()) for _ in range(3)))
    await seal(chained.database)
    await chained.write(_access(new_id()))  # not sealed when the dump was made
    await as_role(chained.urls.owner, f"{offset} 'SELECT 0::bigint'")
    async with serving(make_settings(chained.urls.app)) as (client, _):
        with pytest.raises(NumbersWentBack, match="snp migrate"):
            await seal(chained.database)
        ready = await client.get("/health/ready")
        assert ready.status_code == 503
        assert "snp migrate" in ready.json()["checks"]["audit"]
        await asyncio.to_thread(upgrade, chained.urls.owner)
        assert (await client.get("/health/ready")).status_code == 200
    await chained.write(_access(new_id()))
    assert (await seal(chained.database)).rows == 2
    assert await chained.found() == []


# --- who seals ------------------------------------------------------------------------------------


async def test_a_server_seals_by_itself_and_says_how_far_it_is(
    chained: Chained, make_settings: MakeSettings
) -> None:
    await chained.write(_access(new_id(), ", occurred_at", ", now() - interval '90 seconds'"))
    async with serving(make_settings(chained.urls.app)) as (client, _):
        told = (await client.get("/health/ready")).json()["checks"]["audit"]
        assert int(told.removeprefix("oldest unsealed trace: ").removesuffix(" s")) >= 90
        app = create_app(make_settings(chained.urls.app, audit_seal_seconds=0.05))
        async with app.router.lifespan_context(app):
            for _ in range(1000):
                if await _rows(chained, "SELECT 1 FROM audit_seals"):
                    break
                await asyncio.sleep(0.05)
        ready = (await client.get("/health/ready")).json()
        assert ready["checks"]["audit"] == "oldest unsealed trace: 0 s"
    assert await chained.found() == []


async def test_newest_lines_removed_with_their_seals_are_noticed_by_the_sealers_file(
    chained: Chained, make_settings: MakeSettings, keys: Keys, tmp_path: Path
) -> None:
    head = tmp_path / "head"
    ours = {"SNP_DATABASE_URL": chained.urls.app, "SNP_KEYS": keys.model_dump_json()}

    def verified(name: str) -> tuple[int, str]:
        (tmp_path / name).mkdir()
        run = Snp(tmp_path / name, "audit", "verify", "--head", str(head), **ours)
        return run.process.wait(60), run.output

    for more in (1, 2):
        await chained.write(_access(new_id()))
        (tmp_path / f"seal-{more}").mkdir()
        if more == 1:
            files = {**ours, "SNP_AUDIT_HEAD_FILE": str(head)}
            assert Snp(tmp_path / "seal-1", "audit", "seal", **files).process.wait(60) == 0
        else:
            app = create_app(
                make_settings(chained.urls.app, audit_seal_seconds=0.05, audit_head_file=head)
            )
            before = head.read_text(encoding="ascii")
            async with app.router.lifespan_context(app):
                for _ in range(1000):
                    if head.read_text(encoding="ascii") != before:
                        break
                    await asyncio.sleep(0.05)
        newest = await _rows(chained, "SELECT hash FROM audit_seals ORDER BY position DESC LIMIT 1")
        assert head.read_text(encoding="ascii") == f"{newest[0]['hash'].hex()}\n"
        assert verified(f"verify-{more}")[0] == 0
    await chained.tamper(
        "DELETE FROM audit_seals WHERE position = 2",
        "DELETE FROM access_log WHERE id = (SELECT id FROM access_log ORDER BY xid DESC LIMIT 1)",
    )
    code, told = verified("cut")
    assert code == 1
    assert told.startswith("chain: the expected hash is not in it\n")
    assert await chained.found() == []  # without it nobody would know


def test_the_command_line_seals_and_verifies(full: Chained, keys: Keys, tmp_path: Path) -> None:
    ours = {"SNP_DATABASE_URL": full.urls.app, "SNP_KEYS": keys.model_dump_json()}

    def run(name: str, *arguments: str) -> Snp:
        (tmp_path / name).mkdir()
        return Snp(tmp_path / name, "audit", *arguments, **ours)

    sealing = run("seal", "seal")
    assert (sealing.process.wait(60), sealing.output) == (0, "0 seals over 0 traces.\n")
    verifying, expecting = run("verify", "verify"), run("other", "verify", "--expect", "00" * 32)
    assert (verifying.process.wait(60), verifying.errors) == (0, "")
    assert " seals, 30 traces, 0 findings. " in verifying.output
    assert expecting.process.wait(60) == 1
    assert expecting.output.startswith("chain: the expected hash is not in it\n")


def test_new_keys_have_one_for_the_seals() -> None:
    one, other = Vault(Keys.generate()), Vault(Keys.generate())
    assert one.mac(b"x") == one.mac(b"x") != other.mac(b"x")
    assert "audit" in one.fingerprints
