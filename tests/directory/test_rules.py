"""The rules of directory entries, without a database."""

import re
from dataclasses import replace
from uuid import UUID, uuid4

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.directory import OrganizationDraft, grant_communities
from service.directory.domain import (
    ForeignOrganization,
    ForeignTerritory,
    Location,
    LocationDraft,
    Organization,
    check_keys,
    check_place,
    check_position,
    check_territory,
    finess_key_fits,
    finess_number,
    phone_number,
    placed,
    relocated,
    rpps_key_fits,
    rpps_number,
    siret_number,
    words,
)
from service.directory.reference import Commune, commune
from service.identity import Actor, Role
from service.kernel.events import Origin

ten_digits = st.text("0123456789", min_size=10, max_size=10)


def known(code: str) -> Commune:
    found = commune(code)
    assert found is not None
    return found


def caller(role: Role, *territories: str, organization_id: UUID | None = None) -> Actor:
    return Actor(uuid4(), "", uuid4(), 1, role, organization_id or uuid4(), "cpts", territories)


# --- RPPS ---------------------------------------------------------------------------------------


@given(ten_digits)
def test_every_stem_has_exactly_one_key(stem: str) -> None:
    assert sum(rpps_key_fits(f"{stem}{key}") for key in range(10)) == 1


@given(ten_digits, st.integers(0, 9), st.integers(1, 9))
def test_a_mistyped_digit_never_goes_unseen(stem: str, place: int, shift: int) -> None:
    rpps = next(f"{stem}{key}" for key in range(10) if rpps_key_fits(f"{stem}{key}"))
    mistyped = str((int(rpps[place]) + shift) % 10)
    assert not rpps_key_fits(rpps[:place] + mistyped + rpps[place + 1 :])


@given(st.text("0123456789", min_size=11, max_size=11))
def test_the_two_forms_of_an_rpps_are_one(rpps: str) -> None:
    assert rpps_number(rpps) == rpps_number(f"8{rpps}") == rpps_number(f" 8 {rpps} ") == rpps


@given(st.text())
def test_what_is_read_as_an_rpps_has_eleven_ascii_digits(text: str) -> None:
    read = rpps_number(text)
    assert read is None or re.fullmatch(r"[0-9]{11}", read)


@pytest.mark.parametrize(
    "text", ["", "1000568134", "100056813400", "1000568134A", "910005681340", "١٠٠٠٥٦٨١٣٤٠"]
)
def test_other_numbers_are_no_rpps(text: str) -> None:
    assert rpps_number(text) is None


def test_the_national_example_passes_and_the_fictitious_ones_fail() -> None:
    assert rpps_key_fits("10005681340")
    assert not rpps_key_fits("10002673899")
    assert [e.pointer for e in check_keys({"rpps": "10002673899"})] == ["#/rpps"]
    assert [*check_keys({"rpps": "10005681340", "finess": None})] == []


# --- FINESS, SIRET ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", ["010780914", "540002698", "590064036", "2A0000014", "2B0000020"]
)
def test_finess_keys(number: str) -> None:
    assert finess_key_fits(number)
    other = str((int(number[-1]) + 1) % 10)
    assert [e.code for e in check_keys({"finess": number[:-1] + other})] == ["wrong-key"]


def test_a_finess_number_is_read_without_spaces_and_case() -> None:
    assert finess_number(" 2a 000 0014 ") == "2A0000014"
    assert finess_number("36000005") is None
    assert finess_number("36000005X") is None


def test_a_siret_needs_its_keys() -> None:
    assert siret_number("341 737 484 00020") == "34173748400020"
    assert siret_number("34173748400021") is None
    assert siret_number("3417374840002") is None
    assert siret_number("٣٤١٧٣٧٤٨٤٠٠٠٢٠") is None


# --- phones -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("02 54 00 00 00", "+33254000000"),
        ("02.54.00.00.00", "+33254000000"),
        ("0033 2 54 00 00 00", "+33254000000"),
        ("+33254000000", "+33254000000"),
        ("0590 12 34 56", "+590590123456"),
        ("0696 12 34 56", "+596696123456"),
        ("0262 12 34 56", "+262262123456"),
        ("0639 12 34 56", "+262639123456"),
        ("+689 40 12 34 56", "+68940123456"),
    ],
)
def test_a_phone_is_kept_as_the_world_dials_it(written: str, kept: str) -> None:
    assert phone_number(written) == kept == phone_number(kept)


@pytest.mark.parametrize("text", ["", "15", "116117", "abc", "+1", "+", "0254"])
def test_what_no_phone_has(text: str) -> None:
    assert phone_number(text) is None


@given(st.from_regex(r"\+33[1-9][0-9]{8}", fullmatch=True, alphabet=st.characters(codec="ascii")))
def test_a_number_in_the_kept_form_is_what_the_library_would_keep(text: str) -> None:
    number = phonenumbers.parse(text, "FR")
    assert phonenumbers.is_possible_number(number)
    assert phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) == text
    assert phone_number(text) == text


# --- names, positions ---------------------------------------------------------------------------


def test_words_forget_accents_case_and_signs() -> None:
    assert words("  L'Épée-BŒUF, 2e (Châtillon) ") == ["l", "epee", "boeuf", "2e", "chatillon"]
    assert words("-’ …") == []


@given(st.text())
def test_words_hold_nothing_that_like_would_read(text: str) -> None:
    assert all(re.fullmatch(r"[a-z0-9]+", word) for word in words(text))
    assert words(" ".join(words(text))) == words(text)


CHATEAUROUX = known("36044")
PLACE = Location(
    id=uuid4(),
    organization_id=uuid4(),
    territory="36",
    version=1,
    name="Cabinet",
    commune="36044",
    latitude=46.8,
    longitude=1.7,
)


def test_a_place_without_coordinates_is_where_its_commune_is() -> None:
    draft = LocationDraft(organization_id=uuid4(), name="Cabinet", commune="36044")
    assert placed(draft, CHATEAUROUX) == (CHATEAUROUX.latitude, CHATEAUROUX.longitude)
    assert placed(replace(draft, latitude=46.8, longitude=1.7), CHATEAUROUX) == (46.8, 1.7)


def test_swapped_coordinates_are_noticed() -> None:
    assert [e.code for e in check_position((1.69, 46.81), CHATEAUROUX)] == ["far-from-commune"]
    assert [*check_position((46.81, 1.69), CHATEAUROUX)] == []


def test_moving_to_another_commune_forgets_the_position_unless_it_comes_along() -> None:
    assert relocated(PLACE, {"commune": "36088"}).latitude is None
    assert relocated(PLACE, {"commune": "36044"}).latitude == 46.8
    moved = {"commune": "36088", "latitude": 46.95, "longitude": 1.99}
    assert relocated(PLACE, moved).latitude == 46.95


# --- who may write, who is a member -------------------------------------------------------------


def test_the_operator_and_admins_write_everywhere_managers_at_home() -> None:
    check_territory(Origin(role="operator"), "36")
    check_territory(caller(Role.ADMIN, "75"), "36")
    check_territory(caller(Role.MANAGER, "36", "18"), "36", "18")
    with pytest.raises(ForeignTerritory):
        check_territory(caller(Role.MANAGER, "36"), "36", "18")


@pytest.mark.parametrize("role", sorted(set(Role) - {Role.ADMIN, Role.MANAGER}))
def test_no_other_role_writes_by_territory(role: Role) -> None:
    with pytest.raises(ForeignTerritory):
        check_territory(caller(role, "36"), "36")


@pytest.mark.parametrize("role", [Role.DOCTOR, Role.DELEGATE])
def test_a_doctors_side_keeps_to_its_own_organization(role: Role) -> None:
    own = uuid4()
    check_place(caller(role, "18", organization_id=own), own, "36")
    with pytest.raises(ForeignOrganization):
        check_place(caller(role, "36", organization_id=own), uuid4(), "36")


def test_managers_write_the_places_of_their_territories() -> None:
    check_place(caller(Role.MANAGER, "36"), uuid4(), "36")
    with pytest.raises(ForeignTerritory):
        check_place(caller(Role.MANAGER, "36"), uuid4(), "18")


def test_a_cpts_is_a_community_of_its_own_callers() -> None:
    mine, other = uuid4(), uuid4()
    draft = OrganizationDraft(territory="36", type="cpts", name="CPTS", cpts_ids=(other,))
    entry = Organization(
        id=mine, version=1, territory="36", type="cpts", name="CPTS", cpts_ids=draft.cpts_ids
    )
    assert grant_communities(entry) == [mine, other]
    assert grant_communities(replace(entry, type="msp")) == [other]
    assert grant_communities(replace(entry, cpts_ids=(mine,))) == [mine]
