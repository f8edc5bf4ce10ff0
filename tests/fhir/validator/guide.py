"""A guide as read from `tests/fhir/data`: trees of elements, value sets, invariants, examples."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.fhir.validator.invariants import INVARIANTS, Invariant

Json = dict[str, Any]
DATA = Path(__file__).parent.parent / "data"
_HL7 = "http://hl7.org/fhir/ValueSet/"


@dataclass
class Element:
    """What a snapshot says of one element, with those inside it and the slices of it."""

    name: str
    rules: Json
    children: dict[str, "Element"] = field(default_factory=dict)
    slices: dict[str, "Element"] = field(default_factory=dict)

    @property
    def least(self) -> int:
        return int(self.rules["min"])

    @property
    def most(self) -> float:
        return float("inf") if self.rules["max"] == "*" else int(self.rules["max"])

    @property
    def repeats(self) -> bool:
        """Whether it is an array in JSON, however often a profile lets it come."""
        return bool(self.rules.get("repeats"))

    @property
    def types(self) -> list[Json]:
        return list(self.rules.get("type", ()))

    def rule(self, prefix: str) -> Any:
        """Return the value of fixed* or pattern*; None without one."""
        return next((v for k, v in self.rules.items() if k.startswith(prefix)), None)

    def at(self, path: str) -> "Element | None":
        """Follow a discriminator's path; None where this profile says nothing of it."""
        found: Element | None = self
        for name in path.split("."):
            found = found.children.get(name) if found else None
        return found


@dataclass(frozen=True)
class Profile:
    """A StructureDefinition."""

    url: str
    type: str
    root: Element


def _tree(elements: Iterable[Json]) -> Element:
    """Hang the elements of a snapshot where their ids say: `Slot.serviceType:x.coding`."""
    by_id: dict[str, Element] = {}
    for rules in elements:
        path, _, last = rules["id"].rpartition(".")
        name, _, slice_name = last.partition(":")
        by_id[rules["id"]] = element = Element(name, rules)
        if slice_name:
            by_id[rules["id"].removesuffix(f":{slice_name}")].slices[slice_name] = element
        elif path:
            by_id[path].children[name] = element
    for element in by_id.values():
        if "contentReference" in element.rules:
            element.children = by_id[element.rules["contentReference"].partition("#")[2]].children
    return next(iter(by_id.values()))


def _of_type(members: Mapping[str, str]) -> Element:
    """Read `"use": "code 0..1 identifier-use"`, as data/base.json writes the types of R4."""
    children = {}
    for name, words in members.items():
        code, card, *binding = words.split()
        least, most = card.split("..")
        rules: Json = {"min": int(least), "max": most, "repeats": most == "*"}
        rules["type"] = [{"code": code}]
        if binding:
            rules["binding"] = _HL7 + binding[0]
        children[name] = Element(name, rules)
    return Element("", {"min": 0, "max": "*"}, children)


class Guide:
    """One version of the guide "Service d'Accès aux Soins", on R4's own types and value sets."""

    def __init__(self, version: str) -> None:
        self.version = version
        base = json.loads((DATA / "base.json").read_text(encoding="utf-8"))
        read = self._read("profiles")
        self.types = {name: _of_type(members) for name, members in base["types"].items()}
        self.profiles = {
            p["url"]: Profile(p["url"], p["type"], _tree(p["elements"])) for p in read["profiles"]
        }
        self.value_sets: dict[str, set[tuple[str, str]]] = {
            url: {(system, code) for system, codes in systems.items() for code in codes.split()}
            for url, systems in base["valueSets"].items()
        }
        own = self._read("value-sets")["valueSets"]
        self.value_sets |= {url: {(s, c) for s, c in codes} for url, codes in own.items()}
        used = {k for p in read["profiles"] for e in p["elements"] for k in e.get("constraint", ())}
        # By expression, not by key: one that another version words anew is not known, and fails.
        self.invariants: dict[str, Invariant] = {k: INVARIANTS[read["invariants"][k]] for k in used}
        self.extensions = set(self._extensions(read["profiles"]))

    def _read(self, name: str) -> Any:
        return json.loads((DATA / self.version / f"{name}.json").read_text(encoding="utf-8"))

    @staticmethod
    def _extensions(profiles: list[Json]) -> Iterable[str]:
        for profile in profiles:
            for element in profile["elements"]:
                for type_ in element.get("type", ()):
                    if type_["code"] == "Extension":
                        yield from type_.get("profile", ())

    @cached_property
    def examples(self) -> dict[str, Json]:
        """The official examples by type and id, without their narratives."""
        return dict(self._read("examples")["examples"])


GUIDES = {version: Guide(version) for version in ("1.1.0", "1.2.0")}
