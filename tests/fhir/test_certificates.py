"""Whose certificates the national interface answers, as the proxy hands them on."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from service.identity import Role, certify_client
from service.kernel.ids import new_id
from service.kernel.settings import Settings
from tests.conftest import DatabaseUrls
from tests.fhir.support import outcome, query
from tests.identity.authority import Authority
from tests.kernel.serving import serving
from tests.support import Caller, World

NAME, UNIT = "sas.example", "318751275100020"


@pytest_asyncio.fixture
async def platform(
    world: World, shared_urls: DatabaseUrls, make_settings: Callable[..., Settings]
) -> AsyncIterator[Caller]:
    """The platform, at a service that answers its certificates alone."""
    settings = make_settings(
        shared_urls.app,
        trusted_proxies="127.0.0.1",
        certificate_header="X-Client-Cert",
        sas_common_names=f"{NAME}, other.{NAME}",
        sas_organizational_units=UNIT,
    )
    organization = await world.organization("sas")
    made = await world.caller(Role.SAS_PLATFORM, organization, "sas")
    async with serving(settings) as (http, _):
        yield replace(made, http=http)


async def _search(
    platform: Caller, folder: Path, subject: str | None, **headers: str
) -> httpx.Response:
    if subject is not None:
        shown = Authority(folder).certificate("shown", subject).read_text()
        headers["X-Client-Cert"] = quote(shown)
    return await platform.http.get(f"/fhir/Slot?{query(['10100000011'])}", headers=headers)


@pytest.mark.parametrize(
    "subject",
    [
        None,
        f"CN=other.example,OU={UNIT}",
        f"CN={NAME}.example,OU={UNIT}",
        f"CN={NAME},OU=318751275100021",
        f"CN={NAME}",
        f"OU={UNIT}",
        f"CN={NAME},OU={UNIT},CN=other.example",
        f"CN={NAME},OU={UNIT},OU=other",
    ],
)
async def test_another_certificate_or_none_is_refused_whatever_the_token(
    platform: Caller, tmp_path: Path, subject: str | None
) -> None:
    bearer = {"Authorization": f"Bearer {platform.token}"}
    for headers in ({}, bearer):
        answer = await _search(platform, tmp_path, subject, **headers)
        outcome(answer, 403, "forbidden", "certificate-not-allowed")


@pytest.mark.parametrize("name", [NAME, f"other.{NAME}"])
async def test_the_certificate_of_the_platform_is_enough(
    world: World, platform: Caller, tmp_path: Path, name: str
) -> None:
    structure = f"O={new_id().hex}"
    async with world.database.unit_of_work() as uow:
        await certify_client(uow, platform.secret.client_id, f"OU={UNIT},{structure}")
    answer = await _search(platform, tmp_path, f"CN={name},OU={UNIT},{structure}")
    assert answer.status_code == 200, answer.text
    stranger = await _search(platform, tmp_path, f"CN={name},OU={UNIT},O=another")
    outcome(stranger, 401, "login", "certificate-refused")
