"""What an operator may write about issuers and proxies, and how a mistake is told."""

import json
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from service.kernel.settings import Settings
from service.sentences import sentence

HOSPITAL = {
    "name": "chu", "issuer": "https://sso.chu.example", "audience": ["snp-broker"],
    "software": {"lrm": ["019a0000-0000-7000-8000-000000000001"]}, "territories": ["36"],
}  # fmt: skip
PSC = {**HOSPITAL, "name": "psc", "kind": "psc", "issuer": "https://psc.example", "acr": ["eidas1"]}


def said(monkeypatch: pytest.MonkeyPatch, **settings: str) -> Settings:
    """Read settings as a process does."""
    for name, value in settings.items():
        monkeypatch.setenv(f"SNP_{name.upper()}", value)
    return Settings()


def told(monkeypatch: pytest.MonkeyPatch, **settings: str) -> str:
    """The sentence about settings that are wrong."""
    with pytest.raises((ValidationError, SettingsError)) as refused:
        said(monkeypatch, **settings)
    found = sentence(refused.value)
    assert found is not None
    return found


def test_issuers_are_a_json_list(monkeypatch: pytest.MonkeyPatch) -> None:
    hospital, psc = said(monkeypatch, issuers=json.dumps([HOSPITAL, PSC])).issuers
    assert (hospital.kind, hospital.audience, hospital.acr) == ("oidc", ("snp-broker",), ())
    assert (psc.kind, psc.acr, psc.leeway_seconds) == ("psc", ("eidas1",), 30)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"issuer": "http://sso.chu.example"}, "https://"),
        ({"issuer": "sso.chu.example"}, "https://"),
        ({"issuer": "https://[::1"}, "https://"),
        ({"audience": []}, "audience"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": []}, "algorithms"),
        ({"leeway_seconds": 61}, "leeway_seconds"),
        ({"name": "asserted"}, "asserted"),
        ({"kind": "psc"}, "eidas1"),
        ({"secret": "x"}, "secret"),
        ({"territories": []}, "territories"),
        ({"territories": None}, "territories"),
        ({"territories": ["*", "36"]}, "territories"),
        ({"organizations": ["chu"]}, "organizations"),
        ({"software": {}}, "software"),
        ({"software": None}, "software"),
        ({"software": {"lrm": []}}, "software"),
        ({"software": {"lrm": ["lrm"]}}, "software"),
    ],
)
def test_an_issuer_that_could_not_be_trusted_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], word: str
) -> None:
    kept = {name: value for name, value in {**HOSPITAL, **changed}.items() if value is not None}
    sentence = told(monkeypatch, issuers=json.dumps([kept]))
    assert sentence.startswith("Wrong settings: SNP_ISSUERS (0")
    assert word in sentence


def test_other_mistakes_are_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, issuers="[{") == "SNP_ISSUERS is not JSON."
    assert "twice" in told(monkeypatch, issuers=json.dumps([HOSPITAL, HOSPITAL]))
    assert "SNP_ISSUERS" in told(monkeypatch, issuers=json.dumps([HOSPITAL, HOSPITAL]))
    monkeypatch.delenv("SNP_ISSUERS")
    assert "set both" in told(monkeypatch, certificate_header="X-Client-Cert")
    for names in ({"sas_common_names": "sas"}, {"sas_organizational_units": "1"}):
        assert "SNP_CERTIFICATE_HEADER" in told(monkeypatch, **names)
        for name in names:
            monkeypatch.delenv(f"SNP_{name.upper()}")
    assert "SNP_TRUSTED_PROXIES" in told(monkeypatch, trusted_proxies="proxy.example")
    made = said(monkeypatch, trusted_proxies="10.0.0.0/24, ::1")
    assert made.certificate_header == "X-Client-Cert"
