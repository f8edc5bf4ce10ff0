"""Walks a resource along its profiles, and notes what does not keep them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.fhir.validator.guide import Element, Guide, Json, Profile
from tests.fhir.validator.primitives import PRIMITIVES

_ABSOLUTE = re.compile(r"(https?://|urn:)")


@dataclass(frozen=True, order=True)
class Finding:
    """What does not keep a rule: where, which rule, and what was seen."""

    path: str
    rule: str
    seen: str

    def __str__(self) -> str:
        return f"{self.path}: {self.rule}: {self.seen}"


def findings(guide: Guide, resource: Json, profile: str | None = None) -> list[Finding]:
    """Say what a resource breaks of a profile (else: of those that it claims); none is well."""
    walk = _Walk(guide)
    scope = _Scope(resource, resource)
    if resource.get("resourceType") == "Bundle":
        scope = replace(scope, bundle=walk.index(resource))
    path = str(resource.get("resourceType"))
    walk.resource(resource, [profile] if profile else [], path, scope)
    return sorted(set(walk.found))


@dataclass(frozen=True)
class _Scope:
    """Where an element stands: its resource, what contains that, and what references may reach."""

    resource: Json
    container: Json
    bundle: Mapping[str, Json] | None = None
    base: str = ""


def _is_subset(pattern: Any, value: Any) -> bool:
    """Whether a value has all that a pattern has."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            key in value and _is_subset(wanted, value[key]) for key, wanted in pattern.items()
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(
            any(_is_subset(wanted, item) for item in value) for wanted in pattern
        )
    return bool(pattern == value)


def _reached(value: Any, path: str) -> list[Any]:
    """Follow a discriminator's path through a value, through every item of arrays."""
    found = [value]
    for name in path.split("."):
        inner = [item.get(name) for item in found if isinstance(item, dict)]
        found = [i for v in inner if v is not None for i in (v if isinstance(v, list) else [v])]
    return found


def _type_of(resource: Any) -> str | None:
    return str(resource.get("resourceType")) if isinstance(resource, dict) else None


def _entries(bundle: Json) -> list[Json]:
    entries = bundle.get("entry", [])
    return [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []


def _contained(resource: Json) -> list[Json]:
    inner = resource.get("contained", [])
    return [c for c in inner if isinstance(c, dict)] if isinstance(inner, list) else []


def _claims(resource: Any) -> list[str]:
    meta = resource.get("meta", {}) if isinstance(resource, dict) else {}
    claimed = meta.get("profile", []) if isinstance(meta, dict) else []
    return [url for url in claimed if isinstance(url, str)] if isinstance(claimed, list) else []


class _Walk:
    def __init__(self, guide: Guide) -> None:
        self.guide = guide
        self.found: list[Finding] = []

    def note(self, path: str, rule: str, seen: object) -> None:
        self.found.append(Finding(path, rule, str(seen)))

    # --- resources --------------------------------------------------------------------------------

    def resource(self, value: Any, profiles: list[str], path: str, scope: _Scope) -> None:
        """Check a resource against profiles, and against all that it claims itself."""
        if not isinstance(value, dict):
            self.note(path, "type", f"{value!r} is not a resource")
            return
        every = dict.fromkeys([*profiles, *_claims(value)])
        if not every:
            self.unprofiled(value, path, scope)
        for url in every:
            profile = self.guide.profiles.get(url)
            if profile is None:
                self.note(path, "profile", f"{url} is not of guide {self.guide.version}")
            else:
                self.against(profile, value, path, scope)

    def unprofiled(self, value: Json, path: str, scope: _Scope) -> None:
        """Check what claims nothing against R4 itself, where data/base.json knows the type."""
        known = self.guide.types.get(str(_type_of(value)))
        if known is None:
            self.note(path, "profile", f"{_type_of(value)} claims none")
        else:
            self.members(known, value, path, scope, resource=True)

    def against(self, profile: Profile, value: Json, path: str, scope: _Scope) -> None:
        if _type_of(value) != profile.type:
            self.note(path, "type", f"{_type_of(value)} is not a {profile.type}")
            return
        identifier = value.get("id", "none")
        if not PRIMITIVES["id"](identifier):
            self.note(f"{path}.id", "type", f"{identifier!r} is no id")
        self.members(profile.root, value, path, scope, resource=True)
        self.invariants(profile.root, value, path, scope)
        if profile.type == "Bundle":
            self.entries(value, path)

    def index(self, bundle: Json) -> dict[str, Json]:
        return {
            e["fullUrl"]: e["resource"]
            for e in _entries(bundle)
            if isinstance(e.get("fullUrl"), str) and isinstance(e.get("resource"), dict)
        }

    def entries(self, bundle: Json, path: str) -> None:
        """Check that each fullUrl is absolute, and the address of what is beside it."""
        for number, entry in enumerate(_entries(bundle)):
            url, resource = entry.get("fullUrl", ""), entry.get("resource", {})
            if not url or not isinstance(url, str) or not isinstance(resource, dict):
                continue
            here = f"{path}.entry[{number}].fullUrl"
            if not _ABSOLUTE.match(url):
                self.note(here, "fullUrl", f"{url} is not absolute")
            address = f"/{_type_of(resource)}/{resource.get('id')}"
            if not url.startswith("urn:") and not url.endswith(address):
                self.note(here, "fullUrl", f"{url} does not end with {address}")

    # --- elements ---------------------------------------------------------------------------------

    def members(
        self, element: Element, value: Json, path: str, scope: _Scope, *, resource: bool = False
    ) -> None:
        """Check what is inside an object: each known member, and that there is no other."""
        known = {"resourceType"} if resource else set()
        for name, child in element.children.items():
            keys = list(self.keys(child, value)) if name.endswith("[x]") else [name]
            known |= {*keys, *(f"_{key}" for key in keys if self.is_primitive(child))}
            present = [key for key in keys if key in value]
            self.count(child, len(present), f"{path}.{name}", 0 if present else None)
            for key in present:
                self.member(child, key, value[key], f"{path}.{key}", scope)
        for key in value.keys() - known:
            self.note(f"{path}.{key}", "unknown element", key)

    def keys(self, child: Element, value: Json) -> Iterator[str]:
        """Yield how a choice of types is spelled in an object: `value[x]` as valueString."""
        stem = child.name.removesuffix("[x]")
        types = {t["code"] for t in child.types}
        for key in value:
            named = key.removeprefix(stem)
            if key.startswith(stem) and named[:1].isupper():
                spelled = named[0].lower() + named[1:] if child.name else named
                if types & {named, spelled, "*"}:
                    yield key

    def is_primitive(self, child: Element) -> bool:
        return any(t["code"] in PRIMITIVES or t["code"] == "*" for t in child.types)

    def count(self, element: Element, number: int, path: str, least: int | None = None) -> None:
        if number < (element.least if least is None else least):
            self.note(path, "min", f"{number} of at least {element.least}")
        if number > element.most:
            self.note(path, "max", f"{number} of at most {element.rules['max']}")

    def member(self, child: Element, key: str, value: Any, path: str, scope: _Scope) -> None:
        """Check the one value or all values of a member, and sort them into slices."""
        if isinstance(value, list) != child.repeats:
            self.note(path, "array", "is one" if isinstance(value, list) else "is none")
            return
        values = value if child.repeats else [value]
        if child.repeats:
            self.count(child, len(values), path)
            if not values:
                self.note(path, "empty", "no item")
        places = [f"{path}[{n}]" if child.repeats else path for n in range(len(values))]
        for item, place in zip(values, places, strict=True):
            self.value(child, key, item, place, scope)
        if child.slices:
            self.slices(child, key, list(zip(values, places, strict=True)), path, scope)

    def value(self, element: Element, key: str, value: Any, path: str, scope: _Scope) -> None:
        if value in (None, {}, []) or (isinstance(value, str) and not value.strip()):
            self.note(path, "empty", repr(value))
            return
        self.constants(element, value, path)
        self.bound(element, value, path)
        type_ = self.actual_type(element, key)
        if type_ in PRIMITIVES:
            self.primitive(element, type_, value, path)
        elif not isinstance(value, dict):
            self.note(path, "type", f"{value!r} is not of {type_}")
        else:
            self.compound(element, type_, value, path, scope)

    def actual_type(self, element: Element, key: str) -> str:
        """Return the type of a value; of a choice, the one that the key says."""
        codes = [str(t["code"]) for t in element.types] or ["BackboneElement"]
        if not element.name.endswith("[x]"):
            return codes[0]
        said = key.removeprefix(element.name.removesuffix("[x]"))
        return (
            said
            if said not in PRIMITIVES and said in self.guide.types
            else said[:1].lower() + (said[1:])
        )

    def constants(self, element: Element, value: Any, path: str) -> None:
        fixed, pattern = element.rule("fixed"), element.rule("pattern")
        if fixed is not None and value != fixed:
            self.note(path, "fixed", f"{value!r} is not {fixed!r}")
        if pattern is not None and not _is_subset(pattern, value):
            self.note(path, "pattern", f"{value!r} has not all of {pattern!r}")

    def bound(self, element: Element, value: Any, path: str) -> None:
        url = element.rules.get("binding")
        if url is None:
            return
        if url not in self.guide.value_sets:
            self.note(path, "binding", f"{url} is not here to be checked against")
        elif not self.is_in(url, value):
            self.note(path, "binding", f"{value!r} is not of {url}")

    def is_in(self, url: str, value: Any) -> bool:
        """Whether a code, a Coding or one coding of a CodeableConcept is of a value set."""
        allowed = self.guide.value_sets.get(url, set())
        if isinstance(value, str):
            return value in {code for _, code in allowed}
        if not isinstance(value, dict):
            return False
        codings = [value] if "code" in value else _reached(value, "coding")
        said = [(str(c.get("system")), str(c.get("code"))) for c in codings if isinstance(c, dict)]
        return any(coding in allowed for coding in said)

    def primitive(self, element: Element, type_: str, value: Any, path: str) -> None:
        if not PRIMITIVES[type_](value):
            self.note(path, "type", f"{value!r} is no {type_}")
        elif len(str(value)) > element.rules.get("maxLength", float("inf")):
            self.note(path, "maxLength", f"{value!r} is longer than {element.rules['maxLength']}")

    def compound(self, element: Element, type_: str, value: Json, path: str, scope: _Scope) -> None:
        """Check an object: as a resource, by what a profile says of its inside, or by its type."""
        profiles = [url for t in element.types for url in t.get("profile", ())]
        if "resourceType" in value:
            self.inner_resource(profiles, value, path, scope)
            return
        inside = element if element.children else self.guide.types.get(type_)
        if inside is None:
            self.note(path, "type", f"{type_} is not here to be checked against")
        else:
            self.members(inside, value, path, scope)
        self.invariants(element, value, path, scope)
        if type_ == "Extension":
            self.extension(profiles, value, path, scope)
        if type_ == "Reference":
            self.reference(element, value, path, scope)

    def inner_resource(self, profiles: list[str], value: Json, path: str, scope: _Scope) -> None:
        """Enter a contained resource, or the resource of an entry."""
        if path.rpartition(".")[2].startswith("contained"):
            inner = replace(scope, resource=value)
        else:
            urls = scope.bundle or {}
            url = next((u for u, resource in urls.items() if resource is value), "")
            base = url.removesuffix(f"{_type_of(value)}/{value.get('id')}")
            inner = _Scope(value, value, scope.bundle, base)
        self.resource(value, profiles, path, inner)

    # --- what is asked of more than one element ---------------------------------------------------

    def slices(
        self, element: Element, key: str, placed: list[tuple[Any, str]], path: str, scope: _Scope
    ) -> None:
        """Check each slice: how many values fall into it, and these against its own rules."""
        taken: set[str] = set()
        for name, one in element.slices.items():
            mine = [(v, place) for v, place in placed if self.falls_into(element, one, key, v)]
            self.count(one, len(mine), f"{path}:{name}")
            taken |= {place for _, place in mine}
            for value, place in mine:
                self.value(one, key, value, place, scope)
        if element.rules["slicing"]["rules"] == "closed":
            for value, place in placed:
                if place not in taken:
                    self.note(place, "slicing", f"{value!r} is of no slice")

    def falls_into(self, element: Element, one: Element, key: str, value: Any) -> bool:
        return all(
            self.discriminates(d["type"], d["path"], one, key, value)
            for d in element.rules["slicing"]["discriminator"]
        )

    def discriminates(self, kind: str, path: str, one: Element, key: str, value: Any) -> bool:
        aimed = one if path == "$this" else one.at(path)
        reached = [value] if path == "$this" else _reached(value, path)
        types = aimed.types if aimed else []
        if kind == "type":
            codes = {t["code"] for t in types}
            return any(_type_of(item) in codes for item in reached) or (
                one.name.endswith("[x]") and self.actual_type(one, key) in codes
            )
        if kind == "profile":
            wanted = {url for t in types for url in t.get("profile", ())}
            return any(wanted & set(_claims(item)) for item in reached)
        return self.is_meant(one, aimed, reached)

    def is_meant(self, one: Element, aimed: Element | None, reached: list[Any]) -> bool:
        """Whether a value has what tells a slice apart: a constant, a code, its profile."""
        constant = (aimed.rule("fixed") or aimed.rule("pattern")) if aimed else None
        if constant is not None:
            return any(_is_subset(constant, item) for item in reached)
        if aimed is not None and "binding" in aimed.rules:
            return any(self.is_in(aimed.rules["binding"], item) for item in reached)
        return any(item in t.get("profile", ()) for t in one.types for item in reached)

    def invariants(self, element: Element, value: Json, path: str, scope: _Scope) -> None:
        for key in element.rules.get("constraint", ()):
            # Contained resources are looked for in what contains them (%rootResource).
            resource = scope.container if key == "ref-1" else scope.resource
            try:
                held = self.guide.invariants[key](value, resource)
            except (AttributeError, KeyError, TypeError, ValueError):
                held = False
            if not held:
                self.note(path, key, "does not hold")

    def extension(self, profiles: list[str], value: Json, path: str, scope: _Scope) -> None:
        url = value.get("url")
        has_value = any(key.startswith("value") for key in value)
        if has_value == ("extension" in value):
            self.note(path, "ext-1", "must have a value or extensions")
        if not isinstance(url, str) or url not in self.guide.extensions | set(self.guide.profiles):
            self.note(path, "unknown extension", url)
        for profile in (self.guide.profiles[p] for p in profiles if p in self.guide.profiles):
            self.members(profile.root, value, path, scope)
            self.invariants(profile.root, value, path, scope)

    def reference(self, element: Element, value: Json, path: str, scope: _Scope) -> None:
        """Check where a reference points: contained or not, to be found, of an allowed profile."""
        said = value.get("reference")
        if not isinstance(said, str):
            return
        self.aggregation(element, said, path)
        if said.startswith("#"):
            inner = _contained(scope.container)
            target = next((c for c in inner if f"#{c.get('id')}" == said), None)
        elif scope.bundle is None:
            return
        else:
            absolute = said if _ABSOLUTE.match(said) else scope.base + said
            target = scope.bundle.get(absolute)
        if target is None:
            self.note(path, "reference", f"{said} is nowhere")
        else:
            self.target(element, target, path)

    def aggregation(self, element: Element, said: str, path: str) -> None:
        allowed = {a for t in element.types for a in t.get("aggregation", ())}
        contained = said.startswith("#")
        if allowed and contained != (allowed == {"contained"}):
            self.note(path, "aggregation", f"{said} is not {' or '.join(sorted(allowed))}")

    def target(self, element: Element, target: Json, path: str) -> None:
        """Check what a reference points to: its type; and its profile, where the guide has it."""
        urls = [url for t in element.types for url in t.get("targetProfile", ())]
        own = {url for url in urls if url in self.guide.profiles}
        types = {self.guide.profiles[url].type for url in own}
        # Profiles of other guides are known by name: .../FrPractitioner is of a Practitioner.
        types |= {url.rpartition("/")[2].removeprefix("Fr") for url in urls if url not in own}
        if urls and "Resource" not in types and _type_of(target) not in types:
            self.note(path, "target", f"{_type_of(target)} is not of {sorted(types)}")
        elif own and own == set(urls) and not own & set(_claims(target)):
            self.note(path, "target", f"{_claims(target)} is not of {sorted(own)}")
