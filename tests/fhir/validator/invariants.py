"""The guides' invariants in Python, each beside the FHIRPath expression that it stands for."""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

# Given the element's value, and the resource it is in (%resource).
Invariant = Callable[[Any, dict[str, Any]], bool]


def strings(value: Any, key: str) -> Iterator[str]:
    """Find the values of a key, however deep."""
    if isinstance(value, dict):
        if isinstance(value.get(key), str):
            yield value[key]
        for member in value.values():
            yield from strings(member, key)
    elif isinstance(value, list):
        for member in value:
            yield from strings(member, key)


def _unless(type_: str) -> Invariant:
    """Hold for what is not such a Bundle: no other Bundle is of use here."""
    return lambda value, _: bool(value.get("type") != type_)


def _distinct_urls(value: dict[str, Any], _: Any) -> bool:
    found = [
        (entry["fullUrl"], entry.get("resource", {}).get("meta", {}).get("versionId"))
        for entry in value.get("entry", ())
        if "fullUrl" in entry
    ]
    return len(found) == len(set(found))


def _requests(key: str, *types: str) -> Invariant:
    return lambda value, resource: all(
        (key in entry) == (resource.get("type") in types) for entry in value.get("entry", ())
    )


def _contained(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (c for c in value.get("contained", ()) if isinstance(c, dict))


def _all_referenced(value: dict[str, Any], _: Any) -> bool:
    referenced = set(strings(value, "reference"))
    return all(
        f"#{inner.get('id')}" in referenced or "#" in set(strings(inner, "reference"))
        for inner in _contained(value)
    )


def _no_metadata(value: dict[str, Any], _: Any) -> bool:
    metadata = [inner.get("meta", {}) for inner in _contained(value)]
    return not any({"versionId", "lastUpdated"} & set(meta) for meta in metadata)


def _ordered(value: dict[str, Any], _: Any) -> bool:
    if "start" not in value or "end" not in value:
        return True
    return datetime.fromisoformat(value["start"]) <= datetime.fromisoformat(value["end"])


def _matches(pattern: str) -> Invariant:
    return lambda value, _: re.search(pattern, str(value.get("value", ""))) is not None


INVARIANTS: dict[str, Invariant] = {
    "value.matches('^1[0-9]{9}$')": _matches(r"\A1[0-9]{9}\Z"),
    "value.matches('^3[0-9]{14}$')": _matches(r"\A3[0-9]{14}\Z"),
    "type.exists() or actor.exists()": lambda v, _: "type" in v or "actor" in v,
    "start.exists() = end.exists()": lambda v, _: ("start" in v) == ("end" in v),
    "(start.exists() and end.exists()) or (status in ('proposed' | 'cancelled' | 'waitlist'))": (
        lambda v, _: (
            ("start" in v and "end" in v)
            or v.get("status") in {"proposed", "cancelled", "waitlist"}
        )
    ),
    "Appointment.cancelationReason.exists() implies (Appointment.status='no-show' or "
    "Appointment.status='cancelled')": lambda v, _: (
        "cancelationReason" not in v or v.get("status") in {"no-show", "cancelled"}
    ),
    "data.empty() or contentType.exists()": lambda v, _: "data" not in v or "contentType" in v,
    "total.empty() or (type = 'searchset') or (type = 'history')": lambda v, _: (
        "total" not in v or v.get("type") in {"searchset", "history"}
    ),
    "type = 'document' implies (timestamp.hasValue())": _unless("document"),
    "type = 'document' implies entry.first().resource.is(Composition)": _unless("document"),
    "type = 'message' implies entry.first().resource.is(MessageHeader)": _unless("message"),
    "type = 'document' implies (identifier.system.exists() and identifier.value.exists())": (
        _unless("document")
    ),
    "entry.search.empty() or (type = 'searchset')": lambda v, _: (
        v.get("type") == "searchset" or not any("search" in e for e in v.get("entry", ()))
    ),
    "entry.all(request.exists() = (%resource.type = 'batch' or %resource.type = 'transaction' or "
    "%resource.type = 'history'))": _requests("request", "batch", "transaction", "history"),
    "entry.all(response.exists() = (%resource.type = 'batch-response' or %resource.type = "
    "'transaction-response' or %resource.type = 'history'))": _requests(
        "response", "batch-response", "transaction-response", "history"
    ),
    "resource.exists() or request.exists() or response.exists()": lambda v, _: bool(
        {"resource", "request", "response"} & set(v)
    ),
    "(type = 'history') or entry.where(fullUrl.exists()).select(fullUrl&resource.meta.versionId)"
    ".isDistinct()": _distinct_urls,
    "fullUrl.contains('/_history/').not()": lambda v, _: "/_history/" not in v.get("fullUrl", ""),
    "value.empty() or system.exists()": lambda v, _: "value" not in v or "system" in v,
    "contained.contained.empty()": lambda v, _: not any("contained" in c for c in _contained(v)),
    "contained.meta.versionId.empty() and contained.meta.lastUpdated.empty()": _no_metadata,
    "contained.meta.security.empty()": lambda v, _: (
        not any("security" in c.get("meta", {}) for c in _contained(v))
    ),
    "contained.where((('#'+id in (%resource.descendants().reference | "
    "%resource.descendants().as(canonical) | %resource.descendants().as(uri) | "
    "%resource.descendants().as(url))) or descendants().where(reference = '#').exists() or "
    "descendants().where(as(canonical) = '#').exists() or "
    "descendants().where(as(canonical) = '#').exists()).not()).trace('unmatched', id).empty()": (
        _all_referenced
    ),
    "(identifier.count() + name.count()) > 0": lambda v, _: "identifier" in v or "name" in v,
    "where(use = 'home').empty()": lambda v, _: v.get("use") != "home",
    "start.hasValue().not() or end.hasValue().not() or (start <= end)": _ordered,
    "reference.startsWith('#').not() or (reference.substring(1).trace('url') in "
    "%rootResource.contained.id.trace('ids'))": lambda v, resource: (
        not v.get("reference", "").startswith("#")
        or v["reference"] == "#"
        or v["reference"][1:] in {inner.get("id") for inner in _contained(resource)}
    ),
}
