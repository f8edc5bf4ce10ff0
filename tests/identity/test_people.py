"""Identifiers of people: one form each, whichever way they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.identity import Identifier, IdentifierInvalid, identifier
from service.identity.people import IDNPS, SAS

RPPS = "10005681340"  # its key fits


@pytest.mark.parametrize(
    ("system", "value", "kept"),
    [
        ("rpps", RPPS, f"8{RPPS}"),
        ("rpps", f"8{RPPS}", f"8{RPPS}"),
        ("rpps", "1000 5681 340", f"8{RPPS}"),
        ("https://rpps.esante.gouv.fr", RPPS, f"8{RPPS}"),
        ("idnps", f"8{RPPS}", f"8{RPPS}"),
        (IDNPS, f" 8{RPPS} ", f"8{RPPS}"),
        ("adeli", "369876543", "0369876543"),
        ("adeli", "0369876543", "0369876543"),
        ("adeli", "012345678", "0012345678"),
        (IDNPS, "3620100057/70326SR", "3620100057/70326SR"),
    ],
)
def test_numbers_of_the_national_registers_have_one_form(
    system: str, value: str, kept: str
) -> None:
    assert identifier(system, value, check_key=True) == Identifier(IDNPS, kept)


@given(st.integers(0, 10**10 - 1).map(lambda n: f"1{n:010d}"))
def test_an_rpps_is_the_same_person_in_each_of_its_forms(rpps: str) -> None:
    written = [("rpps", rpps), ("rpps", f"8{rpps}"), ("idnps", f"8{rpps}"), (IDNPS, f"8{rpps}")]
    assert {identifier(*one, check_key=False) for one in written} == {Identifier.of_rpps(rpps)}


@pytest.mark.parametrize("number", ["0190A000-0000-7000-8000-00000000000F", "Regulator-4711"])
def test_a_sas_number_is_a_uuid_or_what_sas_likes(number: str) -> None:
    assert identifier("sas", number, check_key=True) == Identifier(SAS, number.lower())


def test_any_other_system_keeps_what_it_says() -> None:
    here = identifier("https://idp.example/realm", "Jeanne d'Arc", check_key=True)
    assert here == Identifier("https://idp.example/realm", "Jeanne d'Arc")


@pytest.mark.parametrize(
    ("system", "value"),
    [
        ("rpps", "10005681341"),  # its key does not fit
        ("idnps", "810005681341"),
        ("rpps", "1000568134"),
        ("rpps", ""),
        ("adeli", "12"),
        ("idnps", "9"),
        ("idnps", "3" * 65),
        ("idnps", "30000000000/" + "x" * 30),
        ("sas", "47 11"),
        ("sas", "4" * 65),
        ("somewhere", "x"),
        ("", "x"),
        ("ftp://x", "x"),
        ("https://idp.example/ realm", "x"),
        ("https://idp.example", ""),
        ("https://idp.example", "a\x00b"),
        ("https://idp.example", "x" * 201),
    ],
)
def test_what_is_no_identifier_is_refused_and_not_shown(system: str, value: str) -> None:
    with pytest.raises(IdentifierInvalid) as refusal:
        identifier(system, value, check_key=True)
    assert [error.pointer for error in refusal.value.errors] in (["system"], ["value"])
    assert not value or value not in str(refusal.value)


@given(st.sampled_from(["rpps", "adeli", "idnps", "sas", "urn:x"]), st.text())
def test_any_text_is_an_identifier_or_none(system: str, text: str) -> None:
    try:
        found = identifier(system, text, check_key=False)
    except IdentifierInvalid:
        return
    assert identifier(found.system, found.value, check_key=False) == found
