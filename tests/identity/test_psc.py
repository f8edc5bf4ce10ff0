"""Pro Santé Connect: who somebody is comes from what it tells when asked, tolerantly read."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jwt

from service.identity import Identifier, Role
from service.identity.authenticators.psc import professional
from service.identity.domain import SubjectTokenRefused
from service.identity.people import IDNPS, Exercise
from service.kernel.ids import new_id
from tests.identity.people import Desk
from tests.identity.provider import USERINFO
from tests.identity.test_oidc import refused
from tests.support import problem

DOCTOR = {
    "codeProfession": "10", "codeCategorieProfessionnelle": "C", "codeTypeSavoirFaire": "S",
    "codeSavoirFaire": "SM54", "nomDexercice": "ÉPREUVE",
    "activities": [{"codeModeExercice": "L", "numeroFinessetablissementJuridique": ""}],
}  # fmt: skip
PHARMACIST = {"codeProfession": "21", "codeCategorieProfessionnelle": "C", "codeSavoirFaire": ""}
INTERN = {"codeProfession": "10", "codeCategorieProfessionnelle": "E"}


def idnps() -> str:
    """A national number of nobody else: test people of the ANS look so."""
    return f"ANS{new_id().hex}"


def told(number: str, *exercises: Any, sub: str = "f:1:2") -> dict[str, Any]:
    """What userinfo says, with the traps of the real one."""
    return {
        "sub": sub, "SubjectNameID": number, "preferred_username": number,
        "given_name": "CAMILLE", "family_name": "ÉPREUVE", "email_verified": False,
        "Secteur_Activite": "SA07^1.2.250.1.71.4.2.4", "SubjectOrganizationID": "",
        "SubjectRole": ["10^1.2.250.1.213.1.1.5.5"], "Acces_Regulation_Medicale": "FAUX",
        "otherIds": [{"identifiant": "x", "origine": "EDIT", "qualite": 1}],
        "SubjectRefPro": {"codeCivilite": "M", "exercices": list(exercises)},
    }  # fmt: skip


def signed_in(desk: Desk, number: str, *exercises: Any, **claims: Any) -> str:
    """The access token of somebody who signed in at Pro Santé Connect."""
    said = {"sub": "f:1:2", "aud": None, "acr": "eidas1", **claims}
    token = desk.provider.token(**said)
    desk.provider.tell(token, told(number, *exercises))
    return token


async def test_a_professional_gets_the_right_that_was_given_to_them_here(psc: Desk) -> None:
    number = idnps()
    token = signed_in(psc, number, DOCTOR)
    refused(await psc.exchange(token), "invalid_scope")  # a doctor, and nothing more
    await psc.grant(Identifier(IDNPS, number))
    caller = await psc.caller(token, Role.REGULATOR)
    me = (await caller.get("/v1/me")).json()
    assert me["role"] == "regulator"
    assert me["person"] == {
        "proof": "psc", "system": IDNPS, "id": number, "family_name": "ÉPREUVE",
        "given_name": "CAMILLE", "acr": "eidas1", "exercise": "10C/SM54",
    }  # fmt: skip


async def test_who_has_several_professions_says_which(psc: Desk) -> None:
    number = idnps()
    await psc.grant(Identifier(IDNPS, number), Role.PHARMACIST, "pharmacy")
    token = signed_in(psc, number, DOCTOR, PHARMACIST, INTERN)
    for scope in ("", "exercise:60C", "exercise:10"):
        sentence = refused(await psc.exchange(token, scope), "invalid_scope")
        for code in ("exercise:10C/SM54", "exercise:21C", "exercise:10E"):
            assert code in sentence
    refused(await psc.exchange(token, "exercise:10C"), "invalid_scope")  # no pharmacist
    caller = await psc.caller(token, Role.PHARMACIST, "exercise:21C role:pharmacist")
    assert (await caller.get("/v1/me")).json()["person"]["exercise"] == "21C"


async def test_the_same_profession_twice_is_one(psc: Desk) -> None:
    number = idnps()
    await psc.grant(Identifier(IDNPS, number))
    assert (await psc.exchange(signed_in(psc, number, DOCTOR, DOCTOR))).status_code == 200


@pytest.mark.parametrize(
    ("role", "exercises", "fits"),
    [
        (Role.REGULATOR, [DOCTOR], True),
        (Role.REGULATOR, [PHARMACIST], False),
        (Role.REGULATOR, [], False),
        (Role.PHARMACIST, [DOCTOR], False),
        (Role.EMERGENCY_NURSE, [{"codeProfession": "60"}], True),
        (Role.EMERGENCY_NURSE, [DOCTOR], False),
        (Role.OSNP, [], True),
        (Role.OSNP, [PHARMACIST], True),
        (Role.ARM, [], True),
    ],
)
async def test_a_role_that_takes_a_profession_takes_that_one(
    psc: Desk, role: Role, exercises: list[Any], fits: bool
) -> None:
    number = idnps()
    await psc.grant(Identifier(IDNPS, number), role)
    answer = await psc.exchange(signed_in(psc, number, *exercises))
    assert answer.status_code == (200 if fits else 400), answer.text


async def test_a_session_that_was_ended_or_is_too_weak_proves_nobody(psc: Desk) -> None:
    number = idnps()
    await psc.grant(Identifier(IDNPS, number))
    ended = signed_in(psc, number, DOCTOR)
    psc.provider.tell(ended, {}, status=401)
    refused(await psc.exchange(ended), "invalid_request")
    for claims in ({"acr": "password"}, {"acr": None}, {"azp": "other"}, {"azp": None}):
        refused(await psc.exchange(signed_in(psc, number, DOCTOR, **claims)), "invalid_request")
    nameless = signed_in(psc, "", DOCTOR)
    refused(await psc.exchange(nameless), "invalid_request")


async def test_what_it_tells_of_somebody_else_is_never_taken_for_this_one(psc: Desk) -> None:
    number = idnps()
    await psc.grant(Identifier(IDNPS, number))
    token = signed_in(psc, number, DOCTOR)
    psc.provider.tell(token, told(number, DOCTOR, sub="f:1:3"))
    problem(await psc.exchange(token), 503, "issuer-unavailable")
    for broken in ({"status": 500}, {"body": "<html>"}, {"body": [1]}):
        psc.provider.tell(token, {}, **broken)
        problem(await psc.exchange(token), 503, "issuer-unavailable")


async def test_what_it_tells_may_be_signed(psc: Desk) -> None:
    number = idnps()
    await psc.grant(Identifier(IDNPS, number))
    token = signed_in(psc, number, DOCTOR)
    key = psc.provider.key
    written = jwt.encode({"alg": "RS256", "kid": key.kid}, told(number, DOCTOR), key)
    psc.provider.tell(token, {}, body=written, type="application/jwt")
    assert (await psc.exchange(token)).status_code == 200
    head, claims, _ = written.split(".")
    psc.provider.tell(token, {}, body=f"{head}.{claims}.AAAA", type="application/jwt")
    refused(await psc.exchange(token), "invalid_request")


async def test_it_is_asked_at_each_sign_in_and_by_nobody_else(psc: Desk) -> None:
    number = idnps()
    await psc.grant(Identifier(IDNPS, number))
    token = signed_in(psc, number, DOCTOR)
    caller = await psc.caller(token, Role.REGULATOR)
    for _ in range(3):
        assert (await caller.get("/v1/me")).status_code == 200
    assert psc.provider.asked(USERINFO) == 1


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "kept"),
    [
        ("810005681340", "810005681340"),
        ("899700218896", "899700218896"),
        ("0369876543", "0369876543"),
        ("3620100057/70326SR", "3620100057/70326SR"),
        ("3456780581/11242343", "3456780581/11242343"),
        ("ANS20211115111111", "ANS20211115111111"),
    ],
)
def test_national_numbers_are_kept(number: str, kept: str) -> None:
    found = professional(told(number), proof="psc", acr=None)
    assert found.identifier == Identifier(IDNPS, kept)


@pytest.mark.parametrize("number", ["", "8", "81000568134", "8100056813400", "x y", "' OR 1", None])
def test_what_is_no_national_number_proves_nobody(number: Any) -> None:
    with pytest.raises(SubjectTokenRefused):
        professional({**told("810005681340"), "SubjectNameID": number}, proof="psc", acr=None)


def test_professions_are_read_and_the_rest_is_left_out() -> None:
    found = professional(
        told("810005681340", DOCTOR, "x", {}, {"codeProfession": ""}, {"codeProfession": 10},
             {"codeProfession": "9 9"}, PHARMACIST), proof="psc", acr="eidas1",
    )  # fmt: skip
    assert found.exercises == (Exercise("10", "C", "SM54"), Exercise("21", "C"))
    assert [one.code for one in found.exercises] == ["10C/SM54", "21C"]


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["exercices", "codeProfession", "codeSavoirFaire"]) | st.text(), inner
        )
    ),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(
            ["SubjectNameID", "SubjectRefPro", "given_name", "family_name", "email", "sub"]
        ),
        _ANY,
    )
)
def test_whatever_it_tells_is_read_or_refused_and_can_be_kept(said: dict[str, Any]) -> None:
    try:
        found = professional(said, proof="psc", acr=None)
    except SubjectTokenRefused:
        return
    for text in (found.family_name, found.given_name, found.email):
        assert text is None or (json.dumps(text) and "\x00" not in text and len(text) <= 200)
    assert all(" " not in one.code for one in found.exercises or ())
