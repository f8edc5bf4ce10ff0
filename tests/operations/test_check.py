"""`snp check` finds what is not as it must be."""

import asyncio
import socket
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from service.kernel.checks import Level, _clock, _role, check, ensure_fit
from service.kernel.crypto import Keys, KeysError, write_keys
from service.kernel.migrations import upgrade
from service.kernel.rights import rights
from service.kernel.settings import Settings
from service.schema import metadata
from tests.conftest import Server
from tests.demo.processes import snp
from tests.kernel.serving import serving
from tests.operations.support import IDLE, Installed, Look, MakeSettings, as_role, ask, errors
from tests.support import World, patient


async def test_a_good_installation_has_nothing_but_ok(
    look: Look, tmp_path: Path, keys: Keys
) -> None:
    file = tmp_path / "keys.json"
    write_keys(file, keys)
    found = await look(keys=None, keys_file=file)
    assert {finding.level for finding in found.values()} == {Level.OK}, found
    assert set(found) == {
        *(
            "settings",
            "mail",
            "keys file",
            "keys",
            "database",
            "role",
            "privileges",
            "clock",
            "pool",
        ),
        *("timeouts", "plans", "rights", "schema", "wall", "data"),
        *("identities", "fingerprints", "encryption"),
    }


async def test_a_wall_that_was_torn_down(look: Look, installed: Installed) -> None:
    await as_role(installed.owner, "ALTER TABLE patient_files DISABLE ROW LEVEL SECURITY")
    found = await look()
    assert errors(found) == {"wall"}
    await as_role(installed.owner, found["wall"].told.partition(": ")[2])
    assert not errors(await look())


async def test_a_wall_that_knows_no_key_or_another(
    look: Look, installed: Installed, make_settings: MakeSettings
) -> None:
    """Neither the check nor a server takes what it may not see for what is not there."""
    for torn in ("TRUNCATE wall_keys", "UPDATE wall_keys SET outer_pad = sha256(outer_pad)"):
        await as_role(installed.owner, torn)
        found = await look()
        assert errors(found) == {"wall"}
        assert "snp keys register" in found["wall"].told
        async with serving(make_settings(installed.app)) as (client, database):
            ready = await client.get("/health/ready")
            assert (ready.status_code, ready.json()["status"]) == (503, "fail")
            assert "does not believe" in ready.json()["checks"]["role"]
            if torn.startswith("TRUNCATE"):
                await ensure_fit(database)  # as every server does when it starts
                assert (await client.get("/health/ready")).status_code == 200
            else:
                with pytest.raises(KeysError, match="TRUNCATE wall_keys"):
                    await ensure_fit(database)
                assert (await client.get("/health/ready")).status_code == 503


async def test_a_role_that_is_superuser_or_owner(look: Look, installed: Installed) -> None:
    superuser, owner = await look(installed.superuser), await look(installed.owner)
    assert errors(superuser) == errors(owner) == {"role"}
    assert "superuser" in superuser["role"].told
    assert "owns" in owner["role"].told
    for found in (superuser, owner):  # what another role lacks or has is not to be mended
        assert found["role"].told.endswith(": use the application role snp_app.")
        assert not {"privileges", "timeouts"} & set(found)
        assert "snp_owner IN" not in str(found)


def test_powers_are_taken_away_by_what_is_told() -> None:
    row = SimpleNamespace(
        role="snp_app",
        superuser=False,
        owns_database=False,
        owns_tables=False,
        powers=["CREATEROLE", "CREATEDB"],
    )
    assert _role(row).told == (
        "snp_app has CREATEROLE CREATEDB: ALTER ROLE snp_app NOCREATEROLE NOCREATEDB;"
    )


async def test_a_role_that_can_make_tables(look: Look, installed: Installed) -> None:
    name = installed.name
    await as_role(installed.superuser, f"GRANT TEMPORARY ON DATABASE {name} TO PUBLIC")
    found = (await look())["privileges"]
    assert found.level is Level.WARNING
    assert "temporary tables" in found.told
    await as_role(installed.superuser, "GRANT CREATE ON SCHEMA public TO snp_app")
    found = (await look())["privileges"]
    assert found.level is Level.ERROR
    await as_role(installed.superuser, found.told.partition(": ")[2])
    found = (await look())["privileges"]
    assert found.level is Level.WARNING
    await as_role(installed.superuser, found.told.partition(": ")[2])
    assert (await look())["privileges"].level is Level.OK


async def test_a_missing_timeout_is_mended_by_what_is_told(
    look: Look, installed: Installed
) -> None:
    await as_role(
        installed.owner,
        f"ALTER ROLE snp_app IN DATABASE {installed.name} RESET lock_timeout",
        f"ALTER ROLE snp_app IN DATABASE {installed.name} RESET {IDLE}",
    )
    found = await look()
    assert errors(found) == {"timeouts"}
    assert "statement_timeout" not in found["timeouts"].told
    orders = found["timeouts"].told.partition(": ")[2]
    assert orders.count(";") == 2
    await as_role(installed.owner, orders)
    assert not errors(await look())


async def test_another_schema_and_none(look: Look, installed: Installed, server: Server) -> None:
    await as_role(installed.owner, "UPDATE alembic_version SET version_num = '0000'")
    found = await look()
    assert errors(found) == {"schema"}
    assert "At 0000" in found["schema"].told
    assert "snp migrate" in (await look(server.urls_of("postgres").app))["schema"].told


async def test_a_database_that_does_not_answer(look: Look) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        found = await look(f"postgresql://me:hidden@127.0.0.1:{closed.getsockname()[1]}/snp")
    assert errors(found) == {"database"}
    assert "schema" not in found
    for url in ("mysql://me:hidden@here/there", "nothing"):
        found = await look(url)
        assert errors(found) == {"database"}
        assert "hidden" not in found["database"].told


async def test_it_says_whether_there_is_mail() -> None:
    for settings, told in (
        ({}, "SNP_SMTP_URL is not set"),
        ({"smtp_url": "smtps://smtp.example", "mail_from": "a@snp.example"}, "SNP_PUBLIC_URL"),
    ):
        found = {f.item: f for f in await check(Settings.model_validate(settings), metadata)}
        assert (found["mail"].level, told in found["mail"].told) == (Level.OK, True)


async def test_no_database_and_no_keys() -> None:
    found = {f.item: f for f in await check(Settings.model_validate({}), metadata)}
    assert errors(found) == {"database", "keys"}
    assert "SNP_DATABASE_URL" in found["database"].told
    assert "snp keys generate" in found["keys"].told


async def test_the_pool_fits_into_the_server(look: Look, installed: Installed) -> None:
    await as_role(installed.superuser, f"ALTER DATABASE {installed.name} CONNECTION LIMIT 12")
    levels = [(await look(pool_size=size))["pool"].level for size in (6, 7, 13)]
    assert levels == [Level.OK, Level.WARNING, Level.ERROR]


@pytest.mark.parametrize(
    ("mode", "level"), [(0o600, Level.OK), (0o640, Level.WARNING), (0o604, Level.ERROR)]
)
async def test_the_keys_are_for_their_owner_only(
    look: Look, tmp_path: Path, mode: int, level: Level
) -> None:
    file = tmp_path / "keys.json"
    write_keys(file, Keys.generate())
    file.chmod(mode)
    found = await look(keys=None, keys_file=file)
    assert found["keys file"].level is level
    assert found["keys"].level is Level.OK


async def test_keys_of_another_installation(
    look: Look, installed: Installed, make_settings: MakeSettings, keys: Keys
) -> None:
    assert (await look())["identities"].told == "No patient yet."
    async with serving(make_settings(installed.app)) as (client, database):
        regulator = await (await World(database, client).begin()).regulator()
        opened = await regulator.post("/v1/patient-files", patient())
        assert opened.status_code == 201, opened.text
    assert (await look())["identities"].told == "The keys read and find them."
    others = Keys.generate()
    found = await look(keys=SecretStr(others.model_dump_json()))
    assert errors(found) == {"wall", "fingerprints"}
    assert "identities" not in found
    others = others.model_copy(update={"server": keys.server})
    found = await look(keys=SecretStr(others.model_dump_json()))
    assert errors(found) == {"identities", "fingerprints"}


async def test_a_copy_with_one_wrong_key(
    look: Look, installed: Installed, make_settings: MakeSettings, keys: Keys
) -> None:
    """Whichever it is, before there are patients and after."""
    wrong = {
        f"{name} is another one": keys.model_copy(update={name: getattr(Keys.generate(), name)})
        for name in ("index", "server", "token")
    }
    changed = {1: Keys.generate().encryption[1]}
    wrong["encryption 1 is another one"] = keys.model_copy(update={"encryption": changed})
    changed = {2: Keys.generate().encryption[1]}
    wrong["encryption 1 is missing"] = keys.model_copy(update={"encryption": changed})
    for told, copy in wrong.items():
        found = await look(keys=SecretStr(copy.model_dump_json()))
        assert errors(found) - {"wall"} == {"fingerprints"}
        assert ("wall" in errors(found)) is told.startswith("server")
        assert told in found["fingerprints"].told
        assert "snp keys register" in found["fingerprints"].told
    async with serving(make_settings(installed.app)) as (client, database):
        regulator = await (await World(database, client).begin()).regulator()
        assert (await regulator.post("/v1/patient-files", patient())).status_code == 201
    found = await look(keys=SecretStr(wrong["index is another one"].model_dump_json()))
    assert errors(found) == {"identities", "fingerprints"}
    assert "a search finds nobody" in found["identities"].told
    # An installation of before: what is in the rows is enough for that.
    await as_role(installed.owner, "UPDATE installation SET key_fingerprints = '{}'")
    found = await look(keys=SecretStr(wrong["index is another one"].model_dump_json()))
    assert errors(found) == {"identities"}
    assert found["fingerprints"].level is Level.WARNING


async def test_keys_are_registered(installed: Installed, keys: Keys, tmp_path: Path) -> None:
    """A new encryption key is told until it is registered; keys that read nobody are refused."""

    def run(used: Keys, *command: str) -> tuple[int, str]:
        settings = {"SNP_DATABASE_URL": installed.app, "SNP_KEYS": used.model_dump_json()}
        with snp(tmp_path, *command, **settings) as started:
            return started.process.wait(60), started.output + started.errors

    both = {**keys.encryption, 2: Keys.generate().encryption[1]}
    more = keys.model_copy(update={"encryption": both, "token": Keys.generate().token})
    code, told = run(more, "check")
    assert code == 1
    assert "token is another one" in told
    assert run(more, "keys", "register") == (
        0,
        "Registered: audit, encryption 1, encryption 2, index, server, token.\n",
    )
    assert run(more, "check")[0] == 0
    code, told = run(keys, "check")
    assert "encryption 2 is missing, token is another one" in told or (
        "token is another one, encryption 2 is missing" in told
    )
    assert await ask(installed.app, "SELECT key_fingerprints::text FROM installation") != "{}"


@pytest.mark.parametrize(
    ("revoked", "mended"),
    [
        ("INSERT, UPDATE ON bookings", "GRANT INSERT, UPDATE ON bookings TO snp_app"),
        ("DELETE ON idempotency_keys", "GRANT DELETE ON idempotency_keys TO snp_app"),
        ("UPDATE (position) ON events", "GRANT UPDATE (position) ON events TO snp_app"),
        ("ALL ON ALL TABLES IN SCHEMA public", "GRANT SELECT, INSERT, UPDATE, DELETE ON"),
        ("ALL ON alembic_version", "GRANT SELECT ON alembic_version TO snp_app"),
    ],
)
async def test_rights_that_are_missing_and_come_back(
    look: Look, installed: Installed, revoked: str, mended: str
) -> None:
    """By what is told, or by `snp migrate`."""
    for mend in ("told", "migrate"):
        await as_role(installed.owner, f"REVOKE {revoked} FROM snp_app")
        found = await look()
        assert errors(found) == {"rights"}
        assert mended in found["rights"].told
        if mend == "told":
            orders = found["rights"].told.partition(": ")[2].rstrip(".").split("; ")
            await as_role(installed.owner, *orders)
        else:
            await asyncio.to_thread(upgrade, installed.owner)
        assert not errors(await look())


async def test_the_rights_are_those_that_migrations_grant(installed: Installed) -> None:
    """Exactly: `snp migrate` gives again what was given, and nothing else."""
    found = await ask(
        installed.superuser,
        """SELECT array_agg(DISTINCT table_name || ' ' || privilege_type || ' ' || coalesce(c, ''))
           FROM (SELECT table_name, privilege_type, NULL AS c
                 FROM information_schema.table_privileges
                 WHERE grantee = 'snp_app'
                 UNION ALL
                 SELECT table_name, privilege_type, column_name
                 FROM information_schema.column_privileges AS c
                 WHERE grantee = 'snp_app' AND NOT EXISTS (
                   SELECT FROM information_schema.table_privileges AS t
                   WHERE (t.grantee, t.table_name, t.privilege_type)
                         = ('snp_app', c.table_name, c.privilege_type))) AS given""",
    )
    wanted = {f"{table} {what} {column or ''}" for table, what, column in rights(metadata)}
    assert set(found) == wanted


@pytest.mark.parametrize("scope", ["DATABASE {name}", "ROLE snp_app IN DATABASE {name}"])
async def test_a_database_that_writes_nothing(look: Look, installed: Installed, scope: str) -> None:
    where = scope.format(name=installed.name)
    order = f"ALTER {where} SET default_transaction_read_only = on"
    await as_role(installed.superuser, order)
    found = await look()
    assert errors(found) == {"writing"}
    mend = found["writing"].told.partition(": ")[2]
    assert mend == f"ALTER {where} RESET default_transaction_read_only;"
    await as_role(installed.superuser, "SET default_transaction_read_only = off", mend)
    assert not errors(await look())


async def test_invented_people_and_read_only_are_told(look: Look, installed: Installed) -> None:
    await as_role(installed.app, "UPDATE installation SET synthetic = true")
    found = await look(read_only=True)
    assert not errors(found)
    assert found["data"].level is Level.WARNING
    assert found["changes"].level is Level.WARNING


@pytest.mark.parametrize(
    ("ahead", "level"), [(0.4, Level.OK), (-3, Level.WARNING), (31, Level.ERROR)]
)
def test_clocks(ahead: float, level: Level) -> None:
    assert _clock(timedelta(seconds=ahead)).level is level


def test_the_command(installed: Installed, keys: Keys, tmp_path: Path) -> None:
    def run(**settings: str) -> tuple[int, list[str]]:
        with snp(tmp_path, "check", **settings) as started:
            code = started.process.wait(60)
            assert started.errors == ""
            return code, started.output.splitlines()

    good = {"SNP_DATABASE_URL": installed.app, "SNP_KEYS": keys.model_dump_json()}
    code, lines = run(**good)
    assert code == 0, lines
    assert {line.split()[0] for line in lines} == {"ok"}
    code, lines = run(**good, SNP_READ_ONLY="true", SNP_POOL_SIZE="many")
    assert (code, len(lines)) == (1, 1)
    assert lines[0].startswith("error    settings")
    assert "SNP_POOL_SIZE" in lines[0]
    code, lines = run()
    assert code == 1
    assert [line.split()[0] for line in lines] == ["ok", "ok", "error", "error"]
