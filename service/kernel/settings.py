"""The only reader of the environment: settings `SNP_*` with safe defaults."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Settings of a process. Each field is the environment variable `SNP_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="SNP_", extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(
        None, description="PostgreSQL >= 15, as the application role. Demo: embedded if unset."
    )
    owner_database_url: SecretStr | None = Field(
        None, description="The same database as the owner role, for migrations only."
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
    max_body_bytes: int = Field(2 * 1024 * 1024, description="Larger request bodies answer 413.")
    token_requests_per_minute: int = Field(
        60,
        description="Per client and address, on /oauth/token: all of them at once if need be,"
        " then refilled evenly. 0 switches the limit off (as in the demo).",
    )
    read_only: bool = Field(
        False, description="Refuse every change with 503, during a migration or a restore."
    )
    host: str = Field("127.0.0.1", description="Address that `snp serve` listens on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8000, description="Port of `snp serve`.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="JSON, one line an event; `console` is for reading on a terminal."
    )


@cache
def settings() -> Settings:
    """Return the settings of this process, read once."""
    return Settings()
