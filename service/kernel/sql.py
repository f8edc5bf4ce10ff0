"""Small pieces of SQL that every room's statements use."""

from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BindParameter, ColumnElement, Uuid, bindparam, func
from sqlalchemy.types import Boolean, Integer, Text, TypeEngine

from service.kernel.tables import Instant


def snp_now() -> ColumnElement[datetime]:
    """The one clock for shared facts (tests replace the SQL function, not the callers)."""
    return func.snp_now(type_=Instant)


def bind(name: str, type_: "TypeEngine[Any] | type[TypeEngine[Any]]") -> BindParameter[Any]:
    """A typed parameter: statements are built once, so each parameter must carry its type."""
    return bindparam(name, type_=type_)


def uuids(name: str) -> BindParameter[Any]:
    """A parameter holding an array of UUIDs."""
    return bind(name, ARRAY(Uuid))


def integers(name: str) -> BindParameter[Any]:
    """A parameter holding an array of numbers."""
    return bind(name, ARRAY(Integer))


def texts(name: str) -> BindParameter[Any]:
    """A parameter holding an array of texts."""
    return bind(name, ARRAY(Text))


def flag(name: str) -> BindParameter[bool]:
    """A boolean parameter."""
    return bindparam(name, type_=Boolean)
