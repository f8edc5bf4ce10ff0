"""How the container runs, as far as its files say it; and that the service writes no file."""

import re
from pathlib import Path

import pytest

from tests.edge.conftest import Serving

ROOT = Path(__file__).parents[2]


def test_the_service_runs_without_rights_on_a_read_only_file_system() -> None:
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    shared = compose.partition("x-snp: &snp")[2].partition("\nservices:")[0]
    for line in ("read_only: true", "cap_drop: [ALL]", '"no-new-privileges:true"'):
        assert line in shared
    services = compose.partition("\nservices:")[2].partition("\nsecrets:")[0]
    ours = re.findall(r"(?m)^  (\w+):.*\n((?:    .*\n|\n)+)", services)
    assert {name for name, text in ours if "<<: *snp" in text} == {"migrate", "service", "worker"}
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"(?m)^USER \d+$", dockerfile)
    assert "--read-only" in dockerfile


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_a_server_has_no_file_open_for_writing(alone: Serving) -> None:
    """Nothing but its own output, which is a terminal, a pipe or the log's file."""
    descriptors = Path(f"/proc/{alone.process.process.pid}/fd")
    opened = {each.readlink() for each in descriptors.iterdir()}
    files = {path for path in opened if path.is_file()}
    assert files == {alone.folder / "out.txt", alone.folder / "err.txt"}
