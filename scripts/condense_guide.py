"""Make tests/fhir/data/<version>/ of an unpacked FHIR package: what a validator needs, no more.

    python scripts/condense_guide.py package tests/fhir/data/1.2.0

Of each StructureDefinition stay the rules of its snapshot, one element a line; of each ValueSet its
codes; of each example everything except the generated narrative. The same inputs give the same
bytes.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]
_NOT_EXAMPLES = {
    "CapabilityStatement", "CodeSystem", "ImplementationGuide", "SearchParameter",
    "StructureDefinition", "ValueSet",
}  # fmt: skip
_KEPT = ("id", "min", "max", "sliceName", "contentReference", "maxLength")
_FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
# Said once by the walker for everything, not a thousand times by the snapshots.
_EVERYWHERE = {"ele-1", "ext-1"}


def _type(entry: Json) -> Json:
    """Return a type; the snapshot writes System.String for ids and tells the truth beside it."""
    true_names = [e["valueUrl"] for e in entry.get("extension", ()) if e["url"] == _FHIR_TYPE]
    kept: Json = {k: entry[k] for k in ("profile", "targetProfile", "aggregation") if k in entry}
    return {"code": (true_names or [entry["code"]])[0], **kept}


def _element(element: Json) -> Json:
    kept = {key: element[key] for key in _KEPT if key in element}
    kept |= {k: v for k, v in element.items() if k.startswith(("fixed", "pattern"))}
    kept["repeats"] = element["base"]["max"] not in {"0", "1"}
    kept["type"] = [_type(entry) for entry in element.get("type", ())]
    binding = element.get("binding", {})
    if binding.get("strength") == "required":
        kept["binding"] = binding["valueSet"].partition("|")[0]
    if "slicing" in element:
        slicing = element["slicing"]
        kept["slicing"] = {k: slicing[k] for k in ("discriminator", "rules")}
    constraints = [c for c in element.get("constraint", ()) if c["severity"] == "error"]
    kept["constraint"] = [c["key"] for c in constraints if c["key"] not in _EVERYWHERE]
    return {k: v for k, v in kept.items() if v is not False and v != []}


def _invariants(profiles: list[Json]) -> dict[str, str]:
    """Return the expression of each invariant by its key: the same key never means two things."""
    found: dict[str, str] = {}
    for profile in profiles:
        for element in profile["snapshot"]["element"]:
            for constraint in element.get("constraint", ()):
                key, expression = constraint["key"], constraint["expression"]
                if found.setdefault(key, expression) != expression:
                    raise SystemExit(f"{key} has two expressions.")
    return dict(sorted(found.items()))


def _codes(value_set: Json) -> Iterator[list[str]]:
    for listed in value_set.get("expansion", {}).get("contains", ()):
        yield [listed["system"], listed["code"]]
    for include in value_set.get("compose", {}).get("include", ()):
        yield from ([include["system"], c["code"]] for c in include.get("concept", ()))


def _lines(name: str, items: dict[str, Any]) -> str:
    """Write an object with one member a line."""
    body = ",\n".join(f"  {json.dumps(k)}: {_line(v)}" for k, v in sorted(items.items()))
    return f"{json.dumps(name)}: {{\n{body}\n}}"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _profile(profile: Json) -> str:
    elements = ",\n".join(f"  {_line(_element(e))}" for e in profile["snapshot"]["element"])
    url, type_ = json.dumps(profile["url"]), json.dumps(profile["type"])
    return f'{{"url": {url}, "type": {type_}, "elements": [\n{elements}\n]}}'


def condense(package: Path, target: Path) -> None:
    """Read every JSON file of a package, wherever it lies in it, and write the condensed ones."""
    texts = sorted(package.rglob("*.json"))
    resources = [json.loads(path.read_text(encoding="utf-8")) for path in texts]
    by_type: dict[str, list[Json]] = {}
    for resource in resources:
        by_type.setdefault(resource.get("resourceType", ""), []).append(resource)
    profiles = sorted(by_type["StructureDefinition"], key=lambda p: str(p["url"]))
    codes = {v["url"]: sorted(_codes(v)) for v in by_type["ValueSet"]}
    examples = {
        f"{type_}-{resource['id']}": _without_narrative(resource)
        for type_, found in by_type.items()
        if type_ and type_ not in _NOT_EXAMPLES
        for resource in found
        if "profile" in resource.get("meta", {})
    }
    target.mkdir(parents=True, exist_ok=True)
    written = ",\n".join(map(_profile, profiles))
    invariants = _lines("invariants", dict(_invariants(profiles)))
    (target / "profiles.json").write_text(
        f'{{{invariants},\n"profiles": [\n{written}\n]}}\n', encoding="utf-8"
    )
    (target / "value-sets.json").write_text(f"{{{_lines('valueSets', codes)}}}\n", encoding="utf-8")
    (target / "examples.json").write_text(f"{{{_lines('examples', examples)}}}\n", encoding="utf-8")


def _without_narrative(resource: Json) -> Json:
    kept = {key: value for key, value in resource.items() if key != "text"}
    for key in ("entry", "contained"):
        if key in kept:
            kept[key] = [_without_narrative(item) for item in kept[key]]
    if "resource" in kept:
        kept["resource"] = _without_narrative(kept["resource"])
    return kept


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("package", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    condense(arguments.package, arguments.target)
