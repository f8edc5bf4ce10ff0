"""`snp grants` and `snp clients certify`: real processes on a real database."""

import re
from pathlib import Path
from uuid import UUID

import pytest

from service.identity import Identifier, find_grant
from service.identity.people import IDNPS
from service.kernel.crypto import Keys
from service.kernel.ids import new_id
from tests.conftest import DatabaseUrls
from tests.demo.processes import sentence, snp
from tests.support import World


class Operator:
    """An operator at the command line."""

    def __init__(self, folder: Path, urls: DatabaseUrls, keys: Keys) -> None:
        self.folder, self.number = folder, 0
        self.settings = {
            "SNP_DATABASE_URL": urls.app, "SNP_KEYS": keys.model_dump_json(),
        }  # fmt: skip

    def does(self, *arguments: str) -> str:
        """Run a command that must succeed; return what it prints."""
        self.number += 1
        with snp(self.folder / str(self.number), *arguments, **self.settings) as process:
            assert process.process.wait(60) == 0, process.errors
            return process.output

    def fails(self, *arguments: str) -> str:
        """Run a command that must fail; return its sentence."""
        self.number += 1
        code, told = sentence(self.folder / str(self.number), *arguments, **self.settings)
        assert code != 0
        return told


@pytest.fixture
def operator(tmp_path: Path, shared_urls: DatabaseUrls, keys: Keys) -> Operator:
    """The operator of the tests' shared database."""
    return Operator(tmp_path, shared_urls, keys)


async def test_the_operator_gives_lists_and_revokes(world: World, operator: Operator) -> None:
    sas = str(await world.organization("sas"))
    whose = ("--person", "rpps|10005681340", "--family-name", "Épreuve")
    told = operator.does("grants", "give", *whose, "--role", "manager", "--organization", sas)
    found = re.match(r"grant (\S+) until \S+", told)
    assert found is not None
    async with world.database.unit_of_work() as uow:
        grant = await find_grant(uow, UUID(found[1]))
    assert grant is not None
    assert grant.account is not None
    assert grant.account.identifiers == (Identifier(IDNPS, "810005681340"),)
    assert grant.territories == (world.territory,)
    (line,) = (
        line
        for line in operator.does("grants", "list", "--territory", world.territory).splitlines()
        if found[1] in line
    )
    assert "Épreuve" in line
    assert f"{IDNPS}|810005681340" in line
    operator.does("grants", "revoke", found[1])
    assert found[1] not in operator.does("grants", "list", "--territory", world.territory)


async def test_the_operator_gives_whoever_acts_for_doctors_and_stops_a_person(
    world: World, operator: Operator
) -> None:
    doctor = await world.doctor()
    assert doctor.location_id is not None
    second = await world.practitioner(doctor.location_id)
    whose, practice = f"https://sso.example|{new_id()}", str(doctor.organization_id)
    doctors = ("--practitioner", str(doctor.practitioner_id), "--practitioner", str(second))
    for role, more in (("delegate", doctors), ("professional", ())):
        operator.does(
            "grants", "give", "--person", whose, "--role", role, "--organization", practice, *more
        )
    assert operator.does("grants", "list", "--person", whose).count(whose) == 2
    assert operator.does("people", "close", whose) == "2 rights are revoked.\n"
    assert whose not in operator.does("grants", "list", "--person", whose)
    assert "has a right here" in operator.fails("people", "close", whose)
    nobody = operator.fails("people", "close", "https://sso.example|x")
    assert "Nobody here has this number" in nobody


async def test_the_operators_mistakes_are_told_in_a_sentence(
    world: World, operator: Operator
) -> None:
    sas = str(await world.organization("sas"))
    whose = ("--person", "rpps|10005681341", "--role", "osnp", "--organization", sas)
    mistyped = operator.fails("grants", "give", *whose)
    assert "a digit is mistyped" in mistyped
    assert "10005681341" not in mistyped
    assert "all or none" in operator.fails("clients", "create", "--name", "x", "--role", "osnp")


async def test_software_without_a_right_of_its_own_signs_in_with_a_certificate(
    operator: Operator,
) -> None:
    told = operator.does("clients", "create", "--name", "LRM")
    client_id = told.split()[1]
    assert "OU" in operator.fails("clients", "certify", client_id, "--subject", "C=FR")
    assert "OU" in operator.fails("clients", "certify", client_id, "--subject", "CN=lrm")
    subject = f"O=ANS,OU={client_id}"
    told = operator.does("clients", "certify", client_id, "--subject", subject)
    assert "its certificate" in told
    other = operator.does("clients", "create", "--name", "LRM 2").split()[1]
    assert "Another client" in operator.fails("clients", "certify", other, "--subject", subject)
    named = ("--subject", f"CN={other}", "--any-structure")
    assert "its certificate" in operator.does("clients", "certify", other, *named)
