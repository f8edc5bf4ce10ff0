"""`make audit`: what was changed or is known to be unsafe is found, without a network."""

import base64
import hashlib
import json
import runpy
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_AUDIT = runpy.run_path(str(ROOT / "scripts/audit.py"))
advisories, against, altered, locked = (
    _AUDIT[name] for name in ("advisories", "against", "altered", "locked")
)


def _installed(folder: Path, content: bytes) -> Distribution:
    """Install a library of one file."""
    information = folder / "lib-1.0.dist-info"
    information.mkdir()
    (folder / "lib.py").write_bytes(content)
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: lib\nVersion: 1.0\n")
    (information / "RECORD").write_text(f"lib.py,sha256={digest},{len(content)}\n")
    return Distribution.at(information)


def test_a_changed_file_is_found(tmp_path: Path) -> None:
    library = _installed(tmp_path, b"print(1)")
    assert not list(altered(library))
    (tmp_path / "lib.py").write_bytes(b"print(2)")
    assert list(altered(library)) == ["lib.py was altered"]
    (tmp_path / "lib.py").unlink()
    assert list(altered(library)) == ["lib.py is missing"]


def test_a_version_that_an_advisory_names_is_found(tmp_path: Path) -> None:
    told = {
        "id": "PYSEC-2026-1",
        "summary": "It opens the door.",
        "affected": [{"package": {"name": "Some_Lib"}, "versions": ["1.0", "1.1"]}],
    }
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("PYSEC-2026-1.json", json.dumps(told))
    (read,) = advisories(archive)
    assert list(against({"some-lib": "1.1"}, read)) == [
        "some-lib 1.1: PYSEC-2026-1 It opens the door."
    ]
    assert not list(against({"some-lib": "1.2", "other": "1.1"}, read))
    assert not list(against({"some-lib": "1.1"}, {**read, "withdrawn": "2026-01-01"}))


def test_a_pin_without_a_hash_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("lib==1.0 \\\n    --hash=sha256:00\nother==2.0\n")
    with pytest.raises(SystemExit, match="other"):
        locked(lock)


def test_every_lock_has_hashes_and_this_environment_is_the_locked_one() -> None:
    locks = sorted(ROOT.glob("requirements*.lock"))
    assert all(locked(lock) for lock in locks)
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/audit.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
