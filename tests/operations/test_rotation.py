"""A key is rotated while a real server books and reads; cut off in the middle, and gone on with."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from pydantic import SecretStr

from service.audit import seal
from service.audit.tasks import verify
from service.kernel.checks import ensure_fit
from service.kernel.crypto import Keys, KeysError, load_keys, write_keys
from service.kernel.db import Database
from service.kernel.settings import Settings
from service.kernel.tables import sealed_columns
from service.schema import metadata
from tests.conftest import address
from tests.demo.processes import sentence, snp
from tests.kernel.serving import serving
from tests.operations.support import Installed, Look, MakeSettings, as_role, ask, errors
from tests.support import Caller, World, patient, soon

_FILES = 40
_STALE = " UNION ALL ".join(
    f"SELECT id FROM {table.name} WHERE get_byte({column.name}, 1) = 1"
    for table, columns in sealed_columns(metadata)
    for column in columns
)
_UNDER_THE_OLD_KEY = f"SELECT count(DISTINCT id) FROM ({_STALE}) AS stale"


@contextmanager
def _server(folder: Path, installed: Installed, keys: Path) -> Iterator[str]:
    settings = {"SNP_DATABASE_URL": installed.app, "SNP_KEYS_FILE": str(keys)}
    with snp(folder, "serve", "--port", "0", **settings) as process:
        process.wait_until(lambda started: address(started) is not None)
        found = address(process)
        assert found is not None
        yield found


@asynccontextmanager
async def _through(base_url: str, *callers: Caller) -> AsyncIterator[list[Caller]]:
    async with httpx.AsyncClient(base_url=base_url, timeout=30) as http:
        yield [replace(caller, http=http) for caller in callers]


async def _publish(doctor: Caller, count: int, day: int) -> list[str]:
    made = [doctor.slot(soon(24 * day) + n * timedelta(minutes=20)) for n in range(count)]
    answer = await doctor.post("/v1/slots", {"slots": made})
    assert answer.status_code == 201, answer.text
    return [slot["id"] for slot in answer.json()["slots"]]


async def _book(regulator: Caller, slot_id: str) -> str:
    reason = {"text": "fièvre depuis deux jours"}
    answer = await regulator.post(
        "/v1/bookings", {"slot_id": slot_id, "patient_file": patient(), "reason": reason}
    )
    assert answer.status_code == 201, answer.text
    made: str = answer.json()["id"]
    return made


async def _read(regulator: Caller, booking_id: str) -> dict[str, Any]:
    answer = await regulator.get(f"/v1/bookings/{booking_id}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def _work(regulator: Caller, slot_ids: list[str], known: dict[str, Any]) -> None:
    """Book, read what was booked before, correct it and find it again, until cancelled."""
    booked = list(known)
    for n, slot_id in enumerate(slot_ids):
        made = await _book(regulator, slot_id)
        known[made] = await _read(regulator, made)
        before = known[booked[n % len(booked)]]
        file_id, who = before["patient_file_id"], before["patient"]
        assert (await _read(regulator, before["id"]))["patient"] == who
        amended = await regulator.patch(f"/v1/patient-files/{file_id}", {"email": f"a{n}@b.fr"})
        assert amended.status_code == 200, amended.text
        who["email"] = f"a{n}@b.fr"
        found = await regulator.post(
            "/v1/patient-files/search",
            {
                "family_name": who["family_name"],
                "birth_date": who["birth_date"],
                "purpose": "care",
            },
        )
        assert [one["id"] for one in found.json()["items"]] == [file_id]


async def _wait_until(url: str, seen: Callable[[int], bool]) -> None:
    for _ in range(5_000):
        if seen(await ask(url, _UNDER_THE_OLD_KEY)):
            return
        await asyncio.sleep(0.005)
    pytest.fail("The rotation does not begin.")


async def test_a_key_is_rotated_while_the_service_serves(
    installed: Installed, make_settings: MakeSettings, keys: Keys, tmp_path: Path
) -> None:
    old, both, new = tmp_path / "old.json", tmp_path / "both.json", tmp_path / "new.json"
    write_keys(old, keys)
    code, told = sentence(tmp_path / "add", "keys", "add", str(old), str(both))
    assert code == 0, told
    two = load_keys(Settings(keys_file=both, keys=None))
    assert (sorted(two.encryption), two.writes_with) == ([1, 2], 1)
    write_keys(new, two.model_copy(update={"writes_with": None}))
    settings = {"SNP_DATABASE_URL": installed.app, "SNP_KEYS_FILE": str(new)}

    # What was there before, and what a server still writes while the new key is handed round.
    known: dict[str, Any] = {}
    handed_round = make_settings(installed.app, keys=SecretStr(two.model_dump_json()))
    async with serving(handed_round) as (http, database):
        world = await World(database, http).begin()
        regulator, doctor = await world.regulator(), await world.doctor()
        for slot_id in await _publish(doctor, _FILES, 1):
            made = await _book(regulator, slot_id)
            known[made] = await _read(regulator, made)
        more = await _publish(doctor, 500, 2)
    assert await ask(installed.superuser, _UNDER_THE_OLD_KEY) == 2 * _FILES

    with _server(tmp_path / "server", installed, new) as base_url:
        async with _through(base_url, regulator) as (regulating,):
            work = asyncio.create_task(_work(regulating, more, known))
            with snp(tmp_path / "cut", "keys", "rotate", "--batch", "1", **settings) as cut:
                await _wait_until(installed.superuser, lambda left: left < 1.8 * _FILES)
                cut.end(signal.SIGKILL)
            left = await ask(installed.superuser, _UNDER_THE_OLD_KEY)
            assert left > 0, "it was cut off too late to prove anything"
            done = await asyncio.to_thread(_rotate, tmp_path / "again", settings)
            assert "everything is under key 2" in done
            assert not work.done(), work.exception()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
    assert len(known) > _FILES
    assert await ask(installed.superuser, _UNDER_THE_OLD_KEY) == 0
    assert "0 rows encrypted anew" in _rotate(tmp_path / "idle", settings)

    # Without the old key everything still reads, and the checks are content.
    only = two.model_copy(update={"encryption": {2: two.encryption[2]}, "writes_with": None})
    alone = tmp_path / "alone.json"
    write_keys(alone, only)
    with _server(tmp_path / "alone", installed, alone) as base_url:
        async with _through(base_url, regulator) as (regulating,):
            for booking_id, before in known.items():
                read = await _read(regulating, booking_id)
                assert read["reason_text"] == before["reason_text"]
                for name in ("family_name", "given_name", "birth_date", "phone"):
                    assert read["patient"][name] == before["patient"][name]


def _rotate(folder: Path, settings: dict[str, str]) -> str:
    with snp(folder, "keys", "rotate", "--batch", "7", **settings) as run:
        assert run.process.wait(60) == 0, run.errors
        return run.output


@pytest.mark.parametrize("wrong", ["another", "index", "none", "unreadable"])
async def test_a_server_does_not_start_with_wrong_keys(
    installed: Installed, make_settings: MakeSettings, keys: Keys, tmp_path: Path, wrong: str
) -> None:
    async with serving(make_settings(installed.app)) as (http, database):
        regulator = await (await World(database, http).begin()).regulator()
        assert (await regulator.post("/v1/patient-files", patient())).status_code == 201
    file = tmp_path / "keys.json"
    other = Keys.generate()
    if wrong == "another":
        write_keys(file, other)
    elif wrong == "index":
        write_keys(file, keys.model_copy(update={"index": other.index}))
    elif wrong == "unreadable":
        file.write_text("{}")
    given = {} if wrong == "none" else {"SNP_KEYS_FILE": str(file)}
    code, told = sentence(
        tmp_path / "run", "serve", "--port", "0", SNP_DATABASE_URL=installed.app, **given
    )
    assert code == 1
    assert told.startswith("snp: ")
    assert told.count("\n") == 1
    for secret in (other.token, keys.token, installed.app):
        assert secret not in told


async def test_a_value_under_a_missing_key_is_found_wherever_it_is(
    installed: Installed, make_settings: MakeSettings, look: Look, keys: Keys
) -> None:
    """Neither the oldest nor the newest: an old server wrote it after the rotation."""
    two = keys.with_another().model_copy(update={"writes_with": None})
    only = two.model_copy(update={"encryption": {2: two.encryption[2]}})
    for used in (two, keys, two):
        async with serving(make_settings(installed.app, keys=_secret(used))) as (http, database):
            regulator = await (await World(database, http).begin()).regulator()
            assert (await regulator.post("/v1/patient-files", patient())).status_code == 201
    await as_role(installed.owner, "UPDATE installation SET key_fingerprints = '{}'")
    found = await look(keys=_secret(only))
    assert errors(found) == {"encryption"}
    assert "need the encryption keys 1" in found["encryption"].told
    assert "snp keys rotate" in (await look(keys=_secret(two)))["encryption"].told


@dataclass(frozen=True)
class Steps:
    """The keys files of a rotation: of before, known everywhere, turned, and the new key alone."""

    old: Keys
    both: Keys
    turned: Keys
    new: Keys

    @classmethod
    def of(cls, folder: Path, kind: str, old: Keys) -> Self:
        """Make them as the operator does."""
        names = ("old", "both", "turned")
        files = [folder / f"{name}.json" for name in names]
        write_keys(files[0], old)
        for command, (before, after) in zip(("add", "turn"), pairwise(files), strict=True):
            told = sentence(
                folder / command, "keys", command, str(before), str(after), "--kind", kind
            )
            assert told[0] == 0, told
        both, turned = [load_keys(Settings(keys_file=file, keys=None)) for file in files[1:]]
        return cls(old, both, turned, turned.model_copy(update={"also": {}}))


@pytest.fixture
def begun(installed: Installed, make_settings: MakeSettings) -> Callable[[Keys], Any]:
    """Serve with some keys, as `snp serve` begins."""

    @asynccontextmanager
    async def serve(used: Keys) -> AsyncIterator[tuple[httpx.AsyncClient, Database]]:
        async with serving(make_settings(installed.app, keys=_secret(used))) as (http, database):
            await ensure_fit(database)
            yield http, database

    return serve


def _register(folder: Path, installed: Installed, used: Keys) -> None:
    settings = {"SNP_DATABASE_URL": installed.app, "SNP_KEYS": used.model_dump_json()}
    code, told = sentence(folder, "keys", "register", **settings)
    assert code == 0, told
    assert sentence(folder, "check", **settings)[0] == 0


async def test_tokens_of_both_keys_are_good_while_it_changes(
    begun: Callable[[Keys], Any], installed: Installed, keys: Keys, tmp_path: Path
) -> None:
    steps = Steps.of(tmp_path, "token", keys)
    async with begun(steps.old) as (http, database):
        caller = await (await World(database, http).begin()).regulator()
    tokens = {"old": caller.token}
    # One after the other is restarted: at no moment is a token of one server nothing to another.
    for here, there in pairwise((steps.old, steps.both, steps.turned, steps.new)):
        async with begun(here) as (one, _), begun(there) as (two, _):
            for signs, reads in ((one, two), (two, one)):
                caller.http = signs
                await caller.sign_in()
                if (here, signs) == (steps.turned, one):
                    tokens["new"] = caller.token
                caller.http = reads
                assert (await caller.get("/v1/me")).status_code == 200
        if there is steps.turned:
            _register(tmp_path / "registered", installed, there)
    async with begun(steps.new) as (http, _):
        for token, status in (("old", 401), ("new", 200)):
            caller.http, caller.token = http, tokens[token]
            assert (await caller.get("/v1/me")).status_code == status


async def test_secrets_and_identities_outlive_the_key_of_the_servers(
    begun: Callable[[Keys], Any], installed: Installed, keys: Keys, tmp_path: Path
) -> None:
    steps = Steps.of(tmp_path, "server", keys)
    async with begun(steps.old) as (http, database):
        world = await World(database, http).begin()
        regulator, away = await world.regulator(), await world.regulator()
        body = patient()
        opened = await regulator.post("/v1/patient-files", body, key="once")
        assert opened.status_code == 201, opened.text
    path = f"/v1/patient-files/{opened.json()['id']}"
    for here, there in pairwise((steps.old, steps.both, steps.turned, steps.new)):
        async with begun(here) as (one, _), begun(there) as (two, _):
            for http in (one, two):
                regulator.http = http
                await regulator.sign_in()
                assert (await regulator.get(path)).status_code == 200
                again = await regulator.post("/v1/patient-files", body, key="once")
                assert again.json()["id"] == opened.json()["id"], again.text
        if there is steps.turned:
            _register(tmp_path / "registered", installed, there)
    _register(tmp_path / "new", installed, steps.new)
    async with begun(steps.new) as (http, _):
        away.http = http
        with pytest.raises(AssertionError):  # it did not sign in while both were known
            await away.sign_in()
    # Who has the old key proves nothing any more.
    with pytest.raises(KeysError, match="TRUNCATE wall_keys"):
        async with begun(steps.old):
            pass
    assert await ask(installed.superuser, "SELECT count(*) FROM wall_keys") == 1


async def test_seals_of_both_keys_are_known(
    begun: Callable[[Keys], Any],
    installed: Installed,
    make_settings: MakeSettings,
    keys: Keys,
    tmp_path: Path,
) -> None:
    steps = Steps.of(tmp_path, "audit", keys)
    async with begun(steps.old) as (http, database):
        await (await World(database, http).begin()).regulator()
        before = await seal(database)
    for used in (steps.both, steps.turned):
        async with begun(used) as (http, database):
            await (await World(database, http).begin()).regulator()
            assert (await seal(database)).seals
            assert (await verify(database, bytes.fromhex(before.head))).findings == []
    _register(tmp_path / "registered", installed, steps.turned)
    for used in (steps.old, steps.new):
        async with serving(make_settings(installed.app, keys=_secret(used))) as (_, database):
            found = (await verify(database)).findings
        assert found
        assert all("not made with this installation's key" in finding.told for finding in found)


def test_a_key_is_added_before_it_is_turned(keys: Keys, tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    write_keys(old, keys)
    for command in ("turn", "add"):
        code, told = sentence(
            tmp_path / command, "keys", command, str(old), str(new), "--kind", "token"
        )
        assert (code == 0) is (command == "add"), told
    code, told = sentence(
        tmp_path / "more", "keys", "add", str(new), str(old) + "2", "--kind", "token"
    )
    assert (code, "already" in told) == (1, True)


def _secret(keys: Keys) -> SecretStr:
    return SecretStr(keys.model_dump_json())
