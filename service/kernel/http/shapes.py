"""Types of the JSON bodies: strict about instants, unknown members and length of texts."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

T = TypeVar("T")

_YEARS = range(1900, 2201)
_RFC3339 = re.compile(
    r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}(:\d{2}(\.\d+)?)?( ?[+-]\d{2}:\d{2}| \d{2}:\d{2}|[Zz])?$"
)


def _instant(value: Any) -> Any:
    """Read an RFC 3339 instant; a `+` that a URL turned into a space is repaired."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _RFC3339.match(value):
        raise PydanticCustomError(
            "instant_format", "An instant is written 2026-12-01T14:00:00+01:00 (RFC 3339)."
        )
    return re.sub(r" (\d{2}:\d{2})$", r"+\1", value)


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise PydanticCustomError(
            "instant_naive", "An instant needs its offset: 2026-12-01T14:00:00+01:00."
        )
    if value.year not in _YEARS:  # further out, arithmetic on instants overflows
        raise PydanticCustomError("instant_range", "An instant lies between 1900 and 2200.")
    return value


Instant = Annotated[datetime, BeforeValidator(_instant), AfterValidator(_aware)]


class Body(BaseModel):
    """Base of request bodies: unknown members are refused, texts are stripped."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _storable(cls, value: Any) -> Any:
        """Refuse the one character that PostgreSQL cannot store."""
        if isinstance(value, str) and "\x00" in value:
            raise PydanticCustomError("character_nul", "A text holds no NUL character.")
        return value


class Parameters(BaseModel):
    """Base of the query parameters of an operation, read by `Asked`."""

    model_config = ConfigDict(frozen=True)


class Answer(BaseModel):
    """Base of answers, built from the frozen dataclasses of the rooms."""

    model_config = ConfigDict(from_attributes=True)


class PageOut(BaseModel, Generic[T]):
    """A keyset page: ask again with `cursor=next_cursor` until it is null."""

    items: list[T]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last one.")


def local_data(data: Mapping[str, Any], zone: str) -> dict[str, Any]:
    """Return what an event tells, its instants (`starts_at`) in a territory's zone."""
    return {
        name: local(datetime.fromisoformat(value), zone).isoformat()
        if name.endswith("_at") and value is not None
        else value
        for name, value in data.items()
    }


def local(value: datetime, zone: str) -> datetime:
    """Return the instant in a territory's zone: times are echoed as people there read them."""
    return value.astimezone(ZoneInfo(zone))
