"""Software that signs in with a certificate: through a proxy that ends TLS, or forging one."""

import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import update

from service.identity import (
    NewSecret,
    Role,
    certify_client,
    create_client,
    give_grant,
    revoke_client,
    unused_clients,
)
from service.identity.authenticators import certificates
from service.identity.authenticators.certificates import SubjectInvalid
from service.identity.domain import CertificateRefused, SubjectTaken
from service.identity.tables import clients
from service.kernel.crypto import Keys
from service.kernel.db import Database
from service.kernel.ids import new_id
from service.main import create_app
from tests.conftest import DatabaseUrls, address
from tests.demo.processes import snp
from tests.identity import tls_proxy
from tests.identity.authority import Authority
from tests.identity.people import MakeSettings
from tests.support import World, patient, problem

OU = "318751275100020"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that the proxy trusts."""
    made = Authority(tmp_path_factory.mktemp("certificates"))
    made.certificate("proxy", "CN=proxy")
    return made


@pytest.fixture(scope="module")
def served(
    shared_urls: DatabaseUrls,
    keys: Keys,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """A server process that trusts the proxy's address, and no other."""
    with snp(
        tmp_path_factory.mktemp("behind-a-proxy"),
        *("serve", "--port", "0"),
        SNP_DATABASE_URL=shared_urls.app,
        SNP_KEYS=keys.model_dump_json(),
        SNP_TOKEN_REQUESTS_PER_MINUTE="0",
        SNP_TRUSTED_PROXIES=tls_proxy.ADDRESS,
        SNP_CERTIFICATE_HEADER=tls_proxy.HEADER,
    ) as process:
        process.wait_until(lambda started: address(started) is not None)
        found = address(process)
        assert found is not None
        yield found


@pytest.fixture(scope="module")
def proxy(authority: Authority, served: str) -> Iterator[str]:
    """A proxy process before it, that ends TLS."""
    command = [sys.executable, tls_proxy.__file__, authority.folder, served.rpartition(":")[2]]
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield f"https://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


@dataclass
class Software:
    """Client software, and the structure whose certificates it shows."""

    secret: NewSecret
    subject: str
    world: World


@pytest_asyncio.fixture
async def software(world: World) -> Software:
    """Software that signs in with any certificate of its structure, whatever the CN."""
    return await _software(world, Role.SAS_PLATFORM)


async def _software(world: World, role: Role) -> Software:
    async with world.database.unit_of_work() as uow:
        secret = await create_client(uow, name="SAS")
        await give_grant(
            uow,
            client_id=secret.client_id,
            role=role,
            organization_id=await world.organization("sas"),
            organization_type="sas",
            territories=[world.territory],
        )
        subject = f"OU={new_id().hex},O=ANS,C=FR"
        await certify_client(uow, secret.client_id, subject.removesuffix(",C=FR"))
    return Software(secret, subject, world)


def client(authority: Authority, url: str, certificate: Path | None = None) -> httpx.AsyncClient:
    """A TLS client with a certificate, or none."""
    context = ssl.create_default_context(cafile=str(authority.folder / "authority.pem"))
    if certificate is not None:
        context.load_cert_chain(certificate)
    return httpx.AsyncClient(base_url=url, verify=context)


async def ask(http: httpx.AsyncClient, **fields: str) -> httpx.Response:
    """Ask for a token without a secret."""
    return await http.post("/oauth/token", data={"grant_type": "client_credentials", **fields})


# --- through the proxy --------------------------------------------------------------------------


async def test_the_right_certificate_signs_in_and_its_token_is_bound_to_it(
    authority: Authority, proxy: str, served: str, software: Software
) -> None:
    first = authority.certificate("first", f"CN=one,{software.subject}")
    second = authority.certificate("second", f"CN=two,{software.subject}")
    async with client(authority, proxy, first) as http:
        answer = await ask(http)
        assert answer.status_code == 200, answer.text
        bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        me = (await http.get("/v1/me", headers=bearer)).json()
        assert (me["role"], me["auth_method"]) == ("sas_platform", "client_certificate")
        assert me["client_id"] == str(software.secret.client_id)
    async with client(authority, proxy, second) as thief:
        problem(await thief.get("/v1/me", headers=bearer), 401, "token-invalid")
    async with client(authority, proxy) as thief:
        problem(await thief.get("/v1/me", headers=bearer), 401, "token-invalid")
    async with httpx.AsyncClient(base_url=served) as thief:
        problem(await thief.get("/v1/me", headers=bearer), 401, "token-invalid")


async def test_a_certificate_alone_is_enough_where_the_client_has_one_right(
    authority: Authority, proxy: str, software: Software
) -> None:
    shown = authority.certificate("alone", f"CN=one,{software.subject}")
    async with client(authority, proxy, shown) as http:
        assert (await http.get("/v1/me")).json()["role"] == "sas_platform"
        problem(await http.get("/v1/slots"), 403, "role-lacks-operation")
        async with software.world.database.unit_of_work() as uow:
            await revoke_client(uow, software.secret.client_id)
        problem(await http.get("/v1/me"), 401, "certificate-refused")
        assert (await ask(http)).json()["error"] == "invalid_client"


@pytest.mark.parametrize(
    "subject",
    ["CN=one,OU=1,O=ANS", "CN={ou},O=ANS", "OU={ou}x,O=ANS", "CN=one", "O={ou}", "OU={ou}",
     "OU={ou},O=ANS2"],
)  # fmt: skip
async def test_a_certificate_of_somebody_else_signs_nobody_in(
    authority: Authority, proxy: str, software: Software, subject: str
) -> None:
    ou = software.subject.partition(",")[0].removeprefix("OU=")
    other = authority.certificate("other", subject.format(ou=ou))
    async with client(authority, proxy, other) as http:
        answer = await ask(http)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        problem(await http.get("/v1/me"), 401, "certificate-refused")


async def test_without_a_certificate_nobody_signs_in(
    authority: Authority, proxy: str, software: Software
) -> None:
    async with client(authority, proxy) as http:
        answer = await ask(http, client_id=str(software.secret.client_id))
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        problem(await http.get("/v1/me"), 401, "token-invalid")


async def test_a_secret_does_not_replace_the_certificate(
    authority: Authority, proxy: str, software: Software
) -> None:
    secret = {
        "client_id": str(software.secret.client_id),
        "client_secret": software.secret.client_secret,
    }
    async with client(authority, proxy) as http:
        answer = await ask(http, **secret)
        assert answer.status_code == 401
        assert "certificate" in answer.json()["error_description"]
        async with software.world.database.unit_of_work() as uow:
            await certify_client(uow, software.secret.client_id, None)
        assert (await ask(http, **secret)).status_code == 200


async def test_an_expired_or_foreign_certificate_does_not_pass_the_proxy(
    authority: Authority, proxy: str, software: Software, tmp_path: Path
) -> None:
    subject = f"CN=one,{software.subject}"
    expired = authority.certificate("expired", subject, lasts=-timedelta(days=1))
    foreign = Authority(tmp_path).certificate("foreign", subject)
    for shown in (expired, foreign):
        with pytest.raises(httpx.HTTPError):
            async with client(authority, proxy, shown) as http:
                await ask(http)


async def test_a_callers_own_header_does_not_pass_the_proxy(
    authority: Authority, proxy: str, software: Software
) -> None:
    shown = authority.certificate("forged", f"CN=one,{software.subject}")
    async with client(authority, proxy) as http:
        answer = await http.get("/v1/me", headers={tls_proxy.HEADER: quote(shown.read_text())})
        problem(answer, 401, "token-invalid")


# --- to the server itself -----------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"X-Forwarded-For": tls_proxy.ADDRESS}])
async def test_a_header_from_anybody_but_the_proxy_is_nothing(
    authority: Authority, served: str, software: Software, more: dict[str, str]
) -> None:
    shown = authority.certificate("forged", f"CN=one,{software.subject}")
    headers = {tls_proxy.HEADER: quote(shown.read_text()), **more}
    async with httpx.AsyncClient(base_url=served, headers=headers) as http:
        assert (await ask(http)).status_code == 401
        problem(await http.get("/v1/me"), 401, "token-invalid")


# --- what the server judges by itself -----------------------------------------------------------


@dataclass
class Behind:
    """The application, as a trusted proxy reaches it."""

    http: httpx.AsyncClient
    database: Database


@asynccontextmanager
async def _behind(
    urls: DatabaseUrls, make_settings: MakeSettings, **more: Any
) -> AsyncIterator[Behind]:
    proxied = {"trusted_proxies": "10.0.0.0/24, ::1", "certificate_header": "X-Client-Cert"}
    app = create_app(make_settings(urls.app, **proxied, **more))
    transport = httpx.ASGITransport(app=app, client=("10.0.0.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        yield Behind(http, app.state.database)
    await app.state.database.dispose()


@pytest_asyncio.fixture
async def behind(shared_urls: DatabaseUrls, make_settings: MakeSettings) -> AsyncIterator[Behind]:
    """The application behind a proxy that looks at nothing."""
    async with _behind(shared_urls, make_settings) as made:
        yield made


def showing(authority: Authority, subject: str) -> dict[str, str]:
    """The header in which the proxy gives on a certificate with this subject."""
    return {"X-Client-Cert": quote(authority.certificate("shown", subject).read_text())}


async def test_dates_count_though_the_proxy_did_not_look(
    authority: Authority, behind: Behind, software: Software
) -> None:
    subject = f"CN=one,{software.subject}"
    for lasts in (-timedelta(seconds=5), timedelta(days=60)):  # over, and not begun
        shown = authority.certificate("dated", subject, lasts=lasts)
        headers = {"X-Client-Cert": quote(shown.read_text())}
        assert (await behind.http.post("/oauth/token", headers=headers, data={
            "grant_type": "client_credentials"})).status_code == 401  # fmt: skip
        answer = await behind.http.get("/v1/me", headers=headers)
        problem(answer, 401, "certificate-refused")


@pytest.mark.parametrize("header", ["x", "%zz", "-----BEGIN CERTIFICATE-----", "é", "%00"])
async def test_what_is_no_certificate_is_refused(behind: Behind, header: str) -> None:
    answer = await behind.http.get("/v1/me", headers=[(b"X-Client-Cert", header.encode())])
    problem(answer, 401, "certificate-refused")


async def test_two_certificates_are_none(
    authority: Authority, behind: Behind, software: Software
) -> None:
    shown = quote(authority.certificate("twice", f"CN=one,{software.subject}").read_text())
    once = await behind.http.get("/v1/me", headers=[("X-Client-Cert", shown)])
    assert once.status_code == 200, once.text
    twice = await behind.http.get("/v1/me", headers=[("X-Client-Cert", shown)] * 2)
    problem(twice, 401, "token-invalid")


async def test_of_two_clients_that_fit_the_one_of_which_more_is_asked(
    authority: Authority, behind: Behind, software: Software
) -> None:
    structure = software.subject.removesuffix(",C=FR")

    async def another(subject: str) -> UUID:
        async with behind.database.unit_of_work() as uow:
            made = await create_client(uow, name="other")
            await give_grant(
                uow,
                client_id=made.client_id,
                role=Role.ANALYST,
                organization_id=new_id(),
                organization_type="other",
                territories=["36"],
            )
            await certify_client(uow, made.client_id, subject)
        return made.client_id

    async def who(common_name: str) -> httpx.Response:
        path = authority.certificate("fits", f"CN={common_name},{software.subject}")
        return await behind.http.get("/v1/me", headers={"X-Client-Cert": quote(path.read_text())})

    narrow = await another(f"CN=two,{structure}")
    assert (await who("one")).json()["client_id"] == str(software.secret.client_id)
    assert (await who("two")).json()["client_id"] == str(narrow)
    await another(f"C=FR,{structure}")
    assert (await who("one")).json()["role"] == "analyst"
    problem(await who("two"), 401, "certificate-refused")


async def test_a_certificate_alone_does_not_choose_among_rights(
    authority: Authority, behind: Behind, software: Software
) -> None:
    shown = quote(authority.certificate("several", f"CN=x,{software.subject}").read_text())
    async with behind.database.unit_of_work() as uow:
        await give_grant(
            uow,
            client_id=software.secret.client_id,
            role=Role.ANALYST,
            organization_id=new_id(),
            organization_type="other",
            territories=["36"],
        )
    headers = {"X-Client-Cert": shown}
    problem(await behind.http.get("/v1/me", headers=headers), 401, "certificate-refused")
    form = {"grant_type": "client_credentials", "scope": "role:analyst"}
    assert (await behind.http.post("/oauth/token", data=form, headers=headers)).status_code == 200


# --- retention, limits, guesses -----------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/me", "/oauth/token"])
async def test_who_only_shows_a_certificate_is_not_unused(
    authority: Authority, behind: Behind, software: Software, path: str
) -> None:
    client_id = software.secret.client_id
    long_ago = datetime.now(UTC) - timedelta(days=400)
    async with behind.database.unit_of_work() as uow:
        await uow.execute(
            update(clients).where(clients.c.id == client_id), {"created_at": long_ago}
        )
        assert client_id in await unused_clients(uow, long_ago + timedelta(days=1))
    headers = showing(authority, f"CN=one,{software.subject}")
    form = {"grant_type": "client_credentials"}
    answer = (
        await behind.http.get(path, headers=headers)
        if path == "/v1/me"
        else await behind.http.post(path, headers=headers, data=form)
    )
    assert answer.status_code == 200, answer.text
    async with behind.database.unit_of_work() as uow:
        assert client_id not in await unused_clients(uow, long_ago + timedelta(days=1))


async def test_who_only_shows_a_certificate_may_send_idempotency_keys(
    authority: Authority, behind: Behind, world: World
) -> None:
    software = await _software(world, Role.REGULATOR)
    headers = showing(authority, f"CN=one,{software.subject}") | {"Idempotency-Key": "once"}
    body = patient()
    made = [
        await behind.http.post("/v1/patient-files", headers=headers, json=body) for _ in range(2)
    ]
    assert [answer.status_code for answer in made] == [201, 201], made[0].text
    assert made[0].json()["id"] == made[1].json()["id"]


async def test_a_limit_is_looked_at_before_a_certificate_is_looked_up(
    authority: Authority, software: Software, shared_urls: DatabaseUrls, make_settings: MakeSettings
) -> None:
    known = showing(authority, f"CN=one,{software.subject}")
    unknown = showing(authority, f"OU={new_id().hex},O=ANS")
    limits = {"address_requests_per_minute": 2, "client_requests_per_minute": 3}
    async with _behind(shared_urls, make_settings, **limits) as behind:
        served = [await behind.http.get("/v1/me", headers=known) for _ in range(4)]
        assert [answer.status_code for answer in served] == [200, 200, 200, 429]
        assert served[0].headers["RateLimit-Policy"] == '"client";q=3;w=60'
        async with behind.database.unit_of_work() as uow:
            await revoke_client(uow, software.secret.client_id)
        # Looked up, it would be told that it was revoked.
        problem(await behind.http.get("/v1/me", headers=known), 429, "too-many-requests")
        # Nobody else at that address waits for it, nor for somebody that is nobody.
        refused = [await behind.http.get("/v1/me", headers=unknown) for _ in range(3)]
        assert [answer.status_code for answer in refused] == [401, 401, 429]
        other = showing(authority, f"OU={new_id().hex},O=ANS")
        problem(await behind.http.get("/v1/me", headers=other), 401, "certificate-refused")
        problem(await behind.http.get("/v1/me"), 401, "token-invalid")


async def test_a_certificate_is_looked_up_no_more_once_its_address_failed_often(
    authority: Authority, software: Software, shared_urls: DatabaseUrls, make_settings: MakeSettings
) -> None:
    ou = f"OU={new_id().hex}"
    shown = showing(authority, f"CN=one,{ou},O=ANS")
    async with _behind(shared_urls, make_settings, address_requests_per_minute=1) as behind:
        problem(await behind.http.get("/v1/me", headers=shown), 401, "certificate-refused")
        async with behind.database.unit_of_work() as uow:
            await certify_client(uow, software.secret.client_id, f"{ou},O=ANS")
        problem(await behind.http.get("/v1/me", headers=shown), 429, "too-many-requests")


async def test_a_certificate_does_not_speak_for_another_client(
    authority: Authority, behind: Behind, software: Software
) -> None:
    headers = showing(authority, f"CN=one,{software.subject}")
    form = {"grant_type": "client_credentials"}
    for name in (str(new_id()), str((await software.world.regulator()).secret.client_id), "x"):
        answer = await behind.http.post(
            "/oauth/token", data={**form, "client_id": name}, headers=headers
        )
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    for name in (str(software.secret.client_id), str(software.secret.client_id).upper(), ""):
        answer = await behind.http.post(
            "/oauth/token", data={**form, "client_id": name}, headers=headers
        )
        assert answer.status_code == 200, answer.text


async def test_certificates_of_nobody_make_no_client_wait(
    authority: Authority, software: Software, shared_urls: DatabaseUrls, make_settings: MakeSettings
) -> None:
    known = showing(authority, f"CN=one,{software.subject}")
    unknown = showing(authority, f"OU={new_id().hex},O=ANS")
    victim = (await software.world.regulator()).secret
    form = {"grant_type": "client_credentials"}
    named = {**form, "client_id": str(victim.client_id)}
    settings = {"token_requests_per_minute": 1000}
    async with _behind(shared_urls, make_settings, **settings) as behind:
        for data in (form, named) * 60:
            answer = await behind.http.post("/oauth/token", data=data, headers=unknown)
            assert answer.status_code in {401, 429}
        answer = await behind.http.post("/oauth/token", data=form, headers=known)
        assert answer.status_code == 200, answer.text
        with_secret = {**named, "client_secret": victim.client_secret}
        answer = await behind.http.post("/oauth/token", data=with_secret)
        assert answer.status_code == 200, answer.text


def test_what_a_subject_must_hold_names_a_structure() -> None:
    assert certificates.subject_of("CN=lrm,OU=1,O=ANS") == ["CN=lrm", "O=ANS", "OU=1"]
    for text in ("", "C=FR", "O=ANS,C=FR", "nonsense", "OU", "CN=lrm", "OU=1", "CN=lrm,O=ANS"):
        with pytest.raises(SubjectInvalid):
            certificates.subject_of(text)


def test_an_authority_that_names_no_structure_names_somebody() -> None:
    assert certificates.subject_of("CN=lrm", structure=False) == ["CN=lrm"]
    for text in ("", "C=FR", "O=ANS,C=FR", "nonsense"):
        with pytest.raises(SubjectInvalid):
            certificates.subject_of(text, structure=False)


async def test_a_subject_is_one_clients(
    authority: Authority, behind: Behind, software: Software
) -> None:
    subject = software.subject.removesuffix(",C=FR")
    reordered = ",".join(reversed(subject.split(",")))
    async with behind.database.unit_of_work() as uow:
        other = (await create_client(uow, name="other")).client_id
    for text in (subject, reordered):
        with pytest.raises(SubjectTaken):
            async with behind.database.unit_of_work() as uow:
                await certify_client(uow, other, text)
    shown = showing(authority, f"CN=one,{subject}")
    me = (await behind.http.get("/v1/me", headers=shown)).json()
    assert me["client_id"] == str(software.secret.client_id)
    async with behind.database.unit_of_work() as uow:
        await certify_client(uow, software.secret.client_id, subject)  # again, its own
        await revoke_client(uow, software.secret.client_id)
        await certify_client(uow, other, subject)


async def test_another_way_of_proving_itself_ends_a_clients_tokens(
    authority: Authority, behind: Behind, software: Software
) -> None:
    caller = await software.world.regulator()
    caller.http = behind.http
    assert (await caller.get("/v1/slots")).status_code == 200
    subject = f"OU={new_id().hex},O=ANS"
    async with behind.database.unit_of_work() as uow:
        await certify_client(uow, caller.secret.client_id, subject)
    for path in ("/v1/me", "/v1/slots"):
        problem(await caller.get(path), 401, "grant-ended")
    shown = showing(authority, f"CN=one,{subject}")
    form = {"grant_type": "client_credentials"}
    answer = await behind.http.post("/oauth/token", data=form, headers=shown)
    bound = shown | {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert (await behind.http.get("/v1/me", headers=bound)).status_code == 200
    async with behind.database.unit_of_work() as uow:
        await certify_client(uow, caller.secret.client_id, None)
    problem(await behind.http.get("/v1/me", headers=bound), 401, "grant-ended")


def test_what_cannot_be_read_is_no_certificate() -> None:
    with pytest.raises(CertificateRefused):
        certificates.read("-----BEGIN%20CERTIFICATE-----%0A")
