"""The only reader of the environment: settings `SNP_*` with safe defaults."""

import ipaddress
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?")

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"
]  # fmt: skip


class IssuerSettings(BaseModel):
    """One OpenID Connect issuer whose people may sign in: a member of `SNP_ISSUERS`.

    docs/operations.md says what each member means.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,30}$")]
    issuer: str
    kind: Literal["oidc", "psc"] = "oidc"
    audience: Annotated[tuple[str, ...], Field(min_length=1)]
    audience_claim: Literal["aud", "azp"] = "aud"
    software: Annotated[
        dict[str, Annotated[tuple[UUID, ...], Field(min_length=1)]], Field(min_length=1)
    ]
    software_claim: Literal["azp", "client_id"] = "azp"
    territories: Annotated[tuple[str, ...], Field(min_length=1)]
    organizations: tuple[UUID, ...] = ()
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "PS256", "ES256")
    discovery_path: str = "/.well-known/openid-configuration"
    acr: tuple[str, ...] = ()
    identifier_claim: str = "sub"
    identifier_system: str | None = None
    leeway_seconds: Annotated[int, Field(ge=0, le=60)] = 30

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if not is_safe_url(self.issuer):
            raise ValueError("an issuer is an https:// URL (http:// on this machine only)")
        if self.name == "asserted":
            raise ValueError("no issuer is called asserted: so is called who was not proven")
        if self.kind == "psc" and not self.acr:
            raise ValueError('name the levels of authentication that count, such as ["eidas1"]')
        if "*" in self.territories and len(self.territories) > 1:
            raise ValueError('territories are codes, such as ["36"], or all of them, ["*"]')
        return self


def is_safe_url(url: str) -> bool:
    """Tell whether what an URL names is reached over TLS, or without leaving this machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    here = parts.hostname in {"127.0.0.1", "::1", "localhost"}
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and here))


class Settings(BaseSettings):
    """Settings of a process. Each field is the environment variable `SNP_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="SNP_", extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(
        None, description="PostgreSQL >= 15, as the application role. Demo: embedded if unset."
    )
    owner_database_url: SecretStr | None = Field(
        None, description="The same database as the owner role, for migrations only."
    )
    listen_database_url: SecretStr | None = Field(
        None,
        description="The same database, as the application role, past any pooler: one connection"
        " of each server process listens there. Default: `SNP_DATABASE_URL`.",
    )
    prepared_statements: bool = Field(
        True, description="Off behind a pooler in transaction mode that cannot keep them."
    )
    pool_size: Annotated[int, Field(ge=1, le=200)] = Field(
        10, description="Database connections of one server process."
    )
    pool_timeout_seconds: Annotated[float, Field(gt=0)] = Field(
        5, description="Longest wait for a pooled connection; then 503 with Retry-After."
    )
    database_answer_seconds: Annotated[float, Field(gt=0)] = Field(
        15,
        description="Longest silence of PostgreSQL, whose own limit for a statement is 10 s; then"
        " 503 with Retry-After, and that connection is given up.",
    )
    keys_file: Path | None = Field(
        None, description="JSON file of the secret keys (`snp keys generate`). Back it up."
    )
    keys: SecretStr | None = Field(None, description="The same JSON, inline; wins over the file.")
    token_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        600, description="Life of an access token."
    )
    rpps_check: Literal["luhn", "format"] = Field(
        "luhn", description="How strictly RPPS numbers are checked; `format` for test data."
    )
    issuers: tuple[IssuerSettings, ...] = Field(
        (),
        description="JSON list of the OpenID Connect issuers whose people may sign in, Pro Santé"
        " Connect among them: [operations.md](operations.md#people-who-sign-in-elsewhere).",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks of the reverse proxies, comma-separated: only from"
        " them are `X-Forwarded-For`, `X-Forwarded-Proto` and certificates believed. Empty: from"
        " nobody.",
    )
    certificate_header: str | None = Field(
        None,
        description="Header in which a trusted proxy gives the client's certificate, as PEM,"
        " URL-encoded (nginx: `$ssl_client_escaped_cert`). Certificates count only if it is set.",
    )
    sas_common_names: str = Field(
        "",
        description="`CN`s of the national SAS platform's certificates, comma-separated: `/fhir`"
        " answers no others (403). Empty: any. [sas.md](sas.md#certificates)",
    )
    sas_organizational_units: str = Field(
        "",
        description="`OU`s of the same certificates, comma-separated. With both settings empty"
        " `/fhir` asks for no certificate, as in the demo.",
    )
    max_body_bytes: int = Field(2 * 1024 * 1024, description="Larger request bodies answer 413.")
    token_requests_per_minute: int = Field(
        60,
        description="Per client and address, on /oauth/token: all of them at once if need be,"
        " then refilled evenly. 0 switches off this limit, and the growing waits of who guesses"
        " secrets (as in the demo).",
    )
    client_requests_per_minute: Annotated[int, Field(ge=0)] = Field(
        60_000,
        description="Per client, in each server process: a runaway loop is stopped, work never."
        " 0 switches the limit off (as in the demo).",
    )
    address_requests_per_minute: Annotated[int, Field(ge=0)] = Field(
        600,
        description="Per address (IPv6: /64), in each server process: requests whose token is"
        " missing or worth nothing. 0 switches the limit off (as in the demo).",
    )
    streams_max: Annotated[int, Field(ge=0)] = Field(
        1000, description="Open streams of one server process; more answer 503 with Retry-After."
    )
    streams_per_client: Annotated[int, Field(ge=0)] = Field(
        500,
        description="Of these, open streams of one client; more answer 429 with Retry-After."
        " 0 switches the limit off (as in the demo).",
    )
    cors_origins: str = Field(
        "",
        description="Origins (`https://console.example.fr`, comma-separated) whose pages may call"
        " the API from a browser. Empty: none.",
    )
    small_cell_min: Annotated[int, Field(ge=2)] = Field(
        11,
        description="Fewest people that a figure tells of to an `analyst`; below, and where the"
        " difference of figures would tell, counts are withheld. Staff reads exact figures.",
    )
    audit_seal_seconds: Annotated[float, Field(ge=0)] = Field(
        10,
        description="How often a server seals new traces. 0: never; run `snp audit seal --watch`.",
    )
    audit_head_file: Path | None = Field(
        None,
        description="File that the sealer writes the hash of its newest seal to, best on another"
        " machine: `snp audit verify --head FILE` compares.",
    )
    worker_inside: bool = Field(
        False,
        description="Let each server process work as `snp worker` does, as in the demo. Otherwise"
        " run at least one worker beside the servers.",
    )
    worker_nice: Annotated[int, Field(ge=0, le=19)] = Field(
        10,
        description="How far `snp worker` gives way where processors are short, as `nice` does:"
        " who books on the same machine comes first. Between containers, weigh those instead.",
    )
    read_only: bool = Field(
        False, description="Refuse every change with 503, during a migration or a restore."
    )
    identity_editable_hours: Annotated[int, Field(ge=0)] = Field(
        24, description="A patient file may be corrected so long after its last appointment."
    )
    retention_identity_months: Annotated[int, Field(ge=1)] = Field(
        3,
        description="Identities and free texts are erased so long after the last appointment or"
        " call (`snp retention run`).",
    )
    retention_reference_months: Annotated[int, Field(ge=1)] = Field(
        60,
        description="Case ids, persons, age, sex and commune are erased so long afterwards; of"
        " traces, persons, network addresses and case ids.",
    )
    retention_access_months: Annotated[int, Field(ge=6)] = Field(
        12, description="Traces of readings and refusals are deleted then (`snp audit prune`)."
    )
    retention_decision_months: Annotated[int, Field(ge=12)] = Field(
        120, description="Events (who sent whom where, without identity) are deleted then."
    )
    retention_unused_client_months: Annotated[int, Field(ge=1)] = Field(
        12,
        description="A client that neither asks for a token nor comes with its certificate for so"
        " long is revoked; so are the rights of people who do not sign in.",
    )
    retention_closed_account_months: Annotated[int, Field(ge=1)] = Field(
        12,
        description="Who people were is erased so long after their last right ended; what opened a"
        " calendar so long after it opened none.",
    )
    metrics_token: SecretStr | None = Field(
        None,
        description="Whoever sends it (`Authorization: Bearer …`) may read `/metrics`. Unset: only"
        " who asks from this machine, not through a proxy.",
    )
    webhook_loopback: bool = Field(
        False,
        description="Lets webhooks go to this machine, over plain http too: for tests and the"
        " demo, never beside other services.",
    )
    webhook_facts_per_second: Annotated[int, Field(ge=1, le=1000)] = Field(
        200,
        description="A worker looks no faster for whom a fact is: bookings come first. Raise it"
        " where many slots are published at once and webhooks must not wait some minutes for that.",
    )
    webhook_messages_per_second: Annotated[int, Field(ge=1)] = Field(
        10,
        description="An endpoint is sent no more: who comes back after days is not flooded, and"
        " bookings come first. The busiest hour of a national day has 0.14 bookings a second.",
    )
    webhook_secret_grace_hours: Annotated[int, Field(ge=0, le=720)] = Field(
        24, description="So long the secret before the newest signs webhooks, too."
    )
    webhook_delivery_days: Annotated[int, Field(ge=7)] = Field(
        30, description="Deliveries of webhooks can be listed and replayed so long."
    )
    smtp_url: SecretStr | None = Field(
        None,
        description="Server that takes e-mail: `smtps://user:password@host`, or `smtp://` with"
        " STARTTLS (on this machine without). Unset: nobody is told anything by e-mail.",
    )
    mail_from: str = Field(
        "", description="Sender of e-mail: `SNP Indre <ne-pas-repondre@example.fr>`."
    )
    public_url: str = Field(
        "",
        description="Where people reach this service: `https://snp.example.fr`, for the links to"
        " the report in e-mail. Empty: e-mail has no link.",
    )
    sms_url: SecretStr | None = Field(
        None,
        description="Where the gateway for SMS takes a message, by POST of JSON. Unset: no SMS.",
    )
    sms_token: SecretStr | None = Field(
        None,
        description="Bearer token of the gateway: that we send, and that it sends with replies"
        " (`POST /v1/sms-replies`).",
    )
    sms_body: dict[str, str] = Field(
        {"to": "{to}", "text": "{text}"},
        description="JSON object that the gateway takes; of its values `{to}`, `{text}` and"
        " `{reference}` (the message's id) are replaced.",
    )
    patient_reminder_hours: Annotated[float, Field(gt=0)] = Field(
        24, description="So long before an appointment its patient is reminded, where asked for."
    )
    report_reminder_hours: Annotated[float, Field(ge=0)] = Field(
        2, description="So long after its end, a doctor is reminded of an appointment's report."
    )
    sas_origins: str = Field(
        "sas",
        description="What the national SAS platform calls itself where it sends regulators to us,"
        " comma-separated (`sas-preprod`): `origin` at `/oauth/token`.",
    )
    sas_appointments_url: str = Field(
        "",
        description="Where the SAS platform takes appointments (FHIR base URL, without"
        " `/Appointment`). Empty: what its regulators book here waits.",
    )
    sas_system: str = Field(
        "",
        description="Identifier system of our appointments: our OID (`urn:oid:…`), or an URL of"
        " ours.",
    )
    sas_client_certificate: Path | None = Field(
        None, description="PEM file of the certificate that we show to the SAS platform."
    )
    sas_client_key: Path | None = Field(None, description="PEM file of its key.")
    sas_server_ca: Path | None = Field(
        None,
        description="PEM file of the authorities (IGC-Santé) that the SAS platform's own"
        " certificate may be of. Unset: those that this machine trusts.",
    )
    host: str = Field("127.0.0.1", description="Address that `snp serve` listens on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8000, description="Port of `snp serve`.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="JSON, one line an event; `console` is for reading on a terminal."
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str) -> str:
        for name in listed(value):
            ipaddress.ip_network(name)
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        if wrong := [origin for origin in listed(value) if not _ORIGIN.fullmatch(origin)]:
            raise ValueError(f"no origins such as https://console.example.fr: {wrong}")
        return value

    @field_validator("public_url")
    @classmethod
    def _reached_safely(cls, value: str) -> str:
        if value and not is_safe_url(value):
            raise ValueError("people are led to https:// only (http:// on this machine)")
        return value.rstrip("/")

    @field_validator("smtp_url")
    @classmethod
    def _takes_mail(cls, value: SecretStr | None) -> SecretStr | None:
        parts = urlsplit(value.get_secret_value()) if value else None
        if parts and (parts.scheme not in {"smtp", "smtps"} or not parts.hostname):
            raise ValueError("a server for e-mail is smtp://host or smtps://host")
        return value

    @field_validator("sms_url")
    @classmethod
    def _takes_texts(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not is_safe_url(value.get_secret_value()):
            raise ValueError("a gateway is an https:// URL (http:// on this machine only)")
        return value

    @model_validator(mode="after")
    def _to_sas(self) -> Self:
        if self.sas_appointments_url:
            if not is_safe_url(self.sas_appointments_url):
                raise ValueError("SAS is told by https:// only (http:// on this machine)")
            if not self.sas_system.startswith(("urn:oid:", "https://")):
                raise ValueError("SNP_SAS_APPOINTMENTS_URL needs SNP_SAS_SYSTEM: our OID, or URL")
        if (self.sas_client_certificate is None) != (self.sas_client_key is None):
            raise ValueError("SNP_SAS_CLIENT_CERTIFICATE and SNP_SAS_CLIENT_KEY go together")
        return self

    @model_validator(mode="after")
    def _from_whom(self) -> Self:
        if self.smtp_url and "@" not in self.mail_from:
            raise ValueError("SNP_SMTP_URL needs a sender: set SNP_MAIL_FROM too")
        return self

    @model_validator(mode="after")
    def _by_whom(self) -> Self:
        if self.certificate_header and not self.trusted_proxies:
            raise ValueError("SNP_CERTIFICATE_HEADER is believed of SNP_TRUSTED_PROXIES: set both")
        named = listed(f"{self.sas_common_names},{self.sas_organizational_units}")
        if named and not self.certificate_header:
            raise ValueError("SNP_SAS_COMMON_NAMES needs certificates: set SNP_CERTIFICATE_HEADER")
        if len({issuer.issuer for issuer in self.issuers}) < len(self.issuers):
            raise ValueError("SNP_ISSUERS names an issuer twice")
        return self


def listed(value: str) -> list[str]:
    """Return the items of a comma-separated setting."""
    return [item.strip() for item in value.split(",") if item.strip()]


@cache
def settings() -> Settings:
    """Return the settings of this process, read once."""
    return Settings()
