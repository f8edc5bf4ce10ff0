"""Tell what is known against the libraries, and whether they are what was locked. No network.

    python scripts/audit.py [--advisories all.zip]

Without advisories it proves that each installed file is the one that its wheel brought, and that
each installed version is the locked one. Advisories are the OSV database's export for PyPI
(https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip), fetched wherever there is a
network: every locked version is looked up in it.
"""

import argparse
import base64
import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)")
_OURSELVES = {"snp-broker", "pip", "setuptools"}


def locked(lock: Path) -> dict[str, str]:
    """Return the versions of a lock by normal name; every pin must have a hash."""
    found: dict[str, str] = {}
    for block in re.split(r"\n(?=\S)", lock.read_text(encoding="utf-8")):
        pin = _PIN.match(block)
        if pin is None:
            continue
        if "--hash=sha256:" not in block:
            raise SystemExit(f"{lock.name}: {pin[1]} has no hash.")
        found[normal(pin[1])] = pin[2]
    return found


def normal(name: str) -> str:
    """Return a project's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def altered(distribution: Distribution) -> Iterator[str]:
    """Yield the installed files that are not what the distribution's record says."""
    for file in distribution.files or ():
        if file.hash is None or file.suffix == ".pyc":
            continue
        path = Path(str(distribution.locate_file(file)))
        if not path.is_file():
            yield f"{file} is missing"
            continue
        digest = hashlib.new(file.hash.mode, path.read_bytes()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != file.hash.value:
            yield f"{file} was altered"


def installed_otherwise(pins: Mapping[str, str]) -> Iterator[str]:
    """Yield what is installed in this environment and is not what was locked."""
    for distribution in distributions():
        name, version = normal(distribution.metadata["Name"]), distribution.version
        if name in _OURSELVES:
            continue
        if pins.get(name) != version:
            yield f"{name} {version} is installed, locked is {pins.get(name, 'none')}"
        yield from (f"{name}: {wrong}" for wrong in altered(distribution))


def advisories(archive: Path) -> Iterator[dict[str, Any]]:
    """Yield the advisories of an OSV export."""
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            if name.endswith(".json"):
                yield json.loads(file.read(name))


def against(pins: Mapping[str, str], advisory: Mapping[str, Any]) -> Iterator[str]:
    """Yield the locked versions that an advisory names."""
    if "withdrawn" in advisory:
        return
    for affected in advisory.get("affected", ()):
        name = normal(affected.get("package", {}).get("name", ""))
        if name in pins and pins[name] in affected.get("versions", ()):
            summary = advisory.get("summary") or advisory.get("details", "")[:100]
            yield f"{name} {pins[name]}: {advisory['id']} {summary}"


def main() -> int:
    """Look, tell, and end with 1 if there is anything to do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--advisories", type=Path)
    archive = parser.parse_args().advisories
    locks = {lock: locked(lock) for lock in sorted(ROOT.glob("requirements*.lock"))}
    wrong = list(installed_otherwise(locks[ROOT / "requirements-dev.lock"]))
    if archive is not None:
        known = list(advisories(archive))
        wrong += sorted({w for pins in locks.values() for a in known for w in against(pins, a)})
        print(f"{len(known)} advisories were looked through.")
    else:
        print("No advisories were given: ADVISORIES=all.zip, see scripts/audit.py.")
    print("\n".join(wrong) or "Nothing to tell: what is installed is what was locked.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
