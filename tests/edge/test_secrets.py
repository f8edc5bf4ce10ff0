"""Secrets stand in no representation: what is printed, logged or raised by mistake shows none."""

import dataclasses
import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, SecretStr

import service
from service.identity import NewSecret
from service.kernel.crypto import Keys
from service.kernel.ids import new_id
from service.kernel.settings import Settings

# Names of members that are secrets, wherever they stand.
_SECRET = re.compile(r"secret|password|(?<!i)token$|^(encryption|index|server)$|database_url$")
# Not secret, whatever its name.
_HARMLESS = {"secret_digest", "webhook_secret_grace_hours", "previous_secret_until"}


def _classes() -> Iterator[type[Any]]:
    for module in pkgutil.walk_packages(service.__path__, "service."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and value.__module__ == module.name:
                yield value


def _shown(of: type[Any]) -> set[str]:
    """Return the members that a representation shows as they are."""
    if issubclass(of, BaseModel):
        return {
            name
            for name, field in of.model_fields.items()
            if field.repr and "SecretStr" not in str(field.annotation)
        }
    if dataclasses.is_dataclass(of):
        return {field.name for field in dataclasses.fields(of) if field.repr}
    return set()


def test_no_class_shows_a_secret() -> None:
    looked_at = 0
    for of in _classes():
        shown = {name for name in _shown(of) - _HARMLESS if _SECRET.search(name)}
        looked_at += 1
        assert not shown, (of, shown)
    assert looked_at > 300


def test_what_holds_a_secret_does_not_print_it() -> None:
    keys = Keys.generate()
    plain = [keys.index, keys.token, keys.server, *keys.encryption.values(), "s3cret"]
    url = SecretStr("postgresql://snp:s3cret@db/snp")
    settings = Settings.model_validate(
        {"database_url": url, "owner_database_url": url, "keys": keys.model_dump_json()}
    )
    for value in (keys, settings, NewSecret(new_id(), "s3cret")):
        for text in (repr(value), str(value)):
            assert not [secret for secret in plain if secret in text]
