"""Transport: a real nginx ends TLS as `deploy/nginx/snp.conf` says, before a real service.

[KIT] TLS below 1.2, a wrong CN, a wrong OU, a revoked certificate or none end in a TLS failure or
in 403 with an OperationOutcome.
"""

import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from service.identity import Role, certify_client, create_client, give_grant
from service.kernel.crypto import Keys
from service.kernel.ids import new_id
from tests.conftest import DatabaseUrls, address
from tests.demo.processes import snp
from tests.fhir.nginx import HEADER, PUBLIC, SAS, Nginx, nginx
from tests.identity.authority import Authority
from tests.support import World, problem

# A fresh machine has Python and make only: who wants this test says so, and must have nginx.
WANTED = "SNP_TEST_NGINX" in os.environ
pytestmark = pytest.mark.skipif(not WANTED, reason="make test-nginx")

COMMON_NAME, OTHER_NAME = "sas.sante.example", "recette.sas.sante.example"
UNIT, OTHER_UNIT = "318751275100020", "318751275100038"
SUBJECT = f"CN={COMMON_NAME},OU={UNIT}"


@pytest.fixture(scope="module")
def served(
    shared_urls: DatabaseUrls, keys: Keys, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A server process that believes a proxy on this machine, and names the platform."""
    with snp(
        tmp_path_factory.mktemp("served"),
        *("serve", "--port", "0"),
        SNP_DATABASE_URL=shared_urls.app,
        SNP_KEYS=keys.model_dump_json(),
        SNP_TRUSTED_PROXIES="127.0.0.1",
        SNP_CERTIFICATE_HEADER=HEADER,
        SNP_PUBLIC_URL=f"https://{PUBLIC}",
        SNP_SAS_COMMON_NAMES=f"{COMMON_NAME}, {OTHER_NAME}",
        SNP_SAS_ORGANIZATIONAL_UNITS=UNIT,
    ) as process:
        process.wait_until(lambda started: address(started) is not None)
        yield str(address(process)).removeprefix("http://")


@pytest.fixture(scope="module")
def edge(served: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """The proxy before it."""
    with nginx(tmp_path_factory.mktemp("edge") / "nginx", served) as running:
        yield running


@dataclass(frozen=True)
class Platform:
    """The SAS platform as a client: it comes with certificates alone."""

    edge: Nginx
    organization: str

    def certificate(self, subject: str = SUBJECT, **more: Any) -> Path:
        """Return a certificate of the organization, by the authority that counts."""
        whole = f"{subject},O={self.organization},C=FR"
        return self.edge.authority.certificate(new_id().hex, whole, **more)

    def search(self, certificate: Path | None = None, **more: Any) -> httpx.Response:
        """Search for slots of a practitioner nobody knows: an answer is an empty Bundle."""
        query = (
            "_include=Slot:schedule&_include:iterate=Schedule:actor&status=free"
            "&start=ge2030-01-15T08:00:00.000%2B01:00&start=le2030-01-17T23:59:59.000%2B01:00"
            "&schedule.actor:Practitioner.identifier=urn:oid:1.2.250.1.71.4.2.1%7C810100000011"
        )
        return self.get(f"/fhir/Slot?{query}", certificate, **more)

    def get(
        self,
        path: str,
        certificate: Path | None = None,
        *,
        name: str = SAS,
        context: ssl.SSLContext | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Ask one of the proxy's two servers, on a new connection."""
        tls = context or ssl.create_default_context()
        tls.load_verify_locations(self.edge.folder / "root.pem")
        if certificate is not None:
            tls.load_cert_chain(certificate)
        with httpx.Client(base_url=self.edge.url, verify=tls, trust_env=False) as http:
            sent = {"Host": name, "Accept": "application/json+fhir", **(headers or {})}
            return http.get(path, headers=sent, extensions={"sni_hostname": name})


@pytest_asyncio.fixture
async def platform(edge: Nginx, world: World) -> Platform:
    """The platform, whose client signs in with any certificate of its structures."""
    organization = f"ANS {new_id().hex}"
    async with world.database.unit_of_work() as uow:
        client_id = (await create_client(uow, name="SAS")).client_id
        await give_grant(
            uow,
            client_id=client_id,
            role=Role.SAS_PLATFORM,
            organization_id=await world.organization("sas"),
            organization_type="sas",
            territories=[world.territory],
        )
        await certify_client(uow, client_id, f"OU={UNIT},O={organization}")
    return Platform(edge, organization)


def refused(answer: httpx.Response, status: int = 403) -> str:
    """Check that an answer is an OperationOutcome; returns what it says."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome"
    [issue] = outcome["issue"]
    assert issue["severity"] == "error"
    return str(issue["details"]["text"])


def test_the_right_certificate_is_answered(platform: Platform) -> None:
    for name in (COMMON_NAME, OTHER_NAME):
        answer = platform.search(platform.certificate(SUBJECT.replace(COMMON_NAME, name)))
        assert answer.status_code == 200, answer.text
        bundle = answer.json()
        assert (bundle["resourceType"], bundle["total"]) == ("Bundle", 0)
        assert bundle["link"][0]["url"].startswith(f"https://{SAS}/fhir/Slot?")


@pytest.mark.parametrize(
    "subject",
    [
        f"CN=other.example,OU={UNIT}",
        f"CN={COMMON_NAME}.example,OU={UNIT}",
        f"OU={UNIT}",
        f"{SUBJECT},CN=other.example",
    ],
)
def test_a_wrong_cn_is_refused(platform: Platform, subject: str) -> None:
    assert "platform" in refused(platform.search(platform.certificate(subject)))


@pytest.mark.parametrize(
    "subject",
    [
        f"CN={COMMON_NAME},OU={OTHER_UNIT}",
        f"CN={COMMON_NAME}",
        f"{SUBJECT},OU={OTHER_UNIT}",
    ],
)
def test_a_wrong_ou_is_refused(platform: Platform, subject: str) -> None:
    assert "platform" in refused(platform.search(platform.certificate(subject)))


def test_without_a_certificate_nobody_is_answered(platform: Platform) -> None:
    assert "certificate" in refused(platform.search())


def test_a_certificate_of_another_authority_is_refused(platform: Platform, tmp_path: Path) -> None:
    namesake = Authority(tmp_path, platform.edge.authority.name)
    foreign = namesake.certificate("foreign", f"{SUBJECT},O={platform.organization},C=FR")
    assert "certificate" in refused(platform.search(foreign))


def test_an_expired_certificate_is_refused(platform: Platform) -> None:
    expired = platform.certificate(lasts=-timedelta(minutes=1))
    assert "certificate" in refused(platform.search(expired))


def test_a_revoked_certificate_is_refused_from_the_next_list_on(platform: Platform) -> None:
    stolen, kept = platform.certificate(), platform.certificate()
    assert platform.search(stolen).status_code == 200
    platform.edge.revoke(stolen)
    try:
        assert "certificate" in refused(platform.search(stolen))
        assert platform.search(kept).status_code == 200
    finally:
        platform.edge.revoke()


def test_an_outdated_list_admits_nobody(platform: Platform) -> None:
    platform.edge.revoke(lasts=-timedelta(minutes=1))
    try:
        assert "certificate" in refused(platform.search(platform.certificate()))
    finally:
        platform.edge.revoke()


@pytest.mark.parametrize("name", [PUBLIC, SAS])
def test_tls_1_1_is_refused(platform: Platform, name: str) -> None:
    certificate = platform.certificate()
    context = ssl.create_default_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # or OpenSSL itself would not try
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.ConnectError, match="PROTOCOL_VERSION"):
        platform.search(certificate, name=name, context=context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert platform.search(certificate, context=context).status_code == 200


def test_nothing_but_the_interface_is_served_to_the_platform(platform: Platform) -> None:
    for path in ("/", "/v1/me", "/fhirx", "/fhir/../v1/me", "/metrics"):
        assert "/fhir" in refused(platform.get(path, platform.certificate()), 404)
    assert "certificate" not in refused(platform.get("/fhir/nothing", platform.certificate()), 404)


def test_nobody_reaches_the_interface_through_the_other_server(platform: Platform) -> None:
    shown = platform.certificate()
    forged = {HEADER: quote(shown.read_text())}
    for path in ("/fhir/Slot", "/fhir", "/%66hir/Slot", "//fhir/Slot", "/v1/../fhir/Slot"):
        answer = platform.get(path, shown, name=PUBLIC, headers=forged)
        assert (answer.status_code, "OperationOutcome" in answer.text) == (404, False)
    problem(platform.get("/v1/me", shown, name=PUBLIC, headers=forged), 401, "token-invalid")
    # Nor by asking for it on a connection that was made to the other.
    answer = platform.get("/fhir/Slot", shown, name=PUBLIC, headers={"Host": SAS})
    assert answer.status_code == 421


def test_the_service_itself_asks_for_a_certificate(served: str) -> None:
    for path in ("Slot", "Slot/", "metadata", "Practitioner/x"):
        answer = httpx.get(f"http://{served}/fhir/{path}", trust_env=False)
        assert "platform" in refused(answer)


def test_a_service_that_is_away_is_told_in_the_words_of_fhir(
    platform: Platform, tmp_path: Path
) -> None:
    with nginx(tmp_path / "nginx", "127.0.0.1:1") as alone:
        away = Platform(alone, platform.organization)
        answer = away.search(away.certificate())
    assert "Try again" in refused(answer, 503)
    assert answer.headers["retry-after"] == "2"


def test_what_is_asked_for_is_not_logged(platform: Platform) -> None:
    assert platform.search(platform.certificate()).status_code == 200
    logged = (platform.edge.folder / "snp.log").read_text()
    assert f"CN={COMMON_NAME}" in logged
    assert "810100000011" not in logged
