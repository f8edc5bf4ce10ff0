"""What `examples/` shows works, against a real server: the scripts run as they stand."""

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tests.client.conftest import clients_file
from tests.conftest import Clock
from tests.support import World, patient, soon

EXAMPLES = Path(__file__).parents[2] / "examples"

REGULATION = """\
call closed: medical_advice, slot_orientation
booking cancelled by the patient
"""


async def run(script: str, clients: Path) -> str:
    """Run an example to its end, and return what it says."""
    program = [sys.executable] if script.endswith(".py") else ["bash"]
    process = await asyncio.create_subprocess_exec(
        *program,
        EXAMPLES / script,
        clients,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "no_proxy": "*", "NO_PROXY": "*"},
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.parametrize("script", ["regulation.sh", "regulation.py"])
async def test_regulation_regulates_a_call(
    world: World, base_url: str, tmp_path: Path, script: str
) -> None:
    doctor, regulator = await world.doctor(), await world.regulator()
    await doctor.publish(soon(1), walk_in=True)  # listed first, and passed over
    slot = await doctor.publish(soon(2))

    said = await run(script, clients_file(tmp_path, base_url, regulator))

    assert said.endswith(REGULATION), said
    bookings = (await doctor.get("/v1/bookings")).json()["items"]
    assert [(b["slot"]["id"], b["state"]) for b in bookings] == [(slot["id"], "cancelled")]


@pytest.mark.parametrize("script", ["practice.sh", "practice.py"])
async def test_a_practice_keeps_its_agenda(
    world: World, base_url: str, tmp_path: Path, script: str
) -> None:
    doctor = await world.doctor()
    said = await run(script, clients_file(tmp_path, base_url, doctor))

    assert "412 version-mismatch" in said
    assert "in the agenda: open" in said
    assert "withdrawn" in said


@pytest.mark.parametrize("script", ["practice.sh", "practice.py"])
async def test_a_practice_reports(
    world: World, base_url: str, tmp_path: Path, clock: Clock, script: str
) -> None:
    await clock.shift(timedelta(hours=-1))
    doctor, regulator = await world.doctor(), await world.regulator()
    slot = await doctor.publish(soon(-0.5))
    booked = await regulator.post(
        "/v1/bookings", {"slot_id": slot["id"], "patient_file": patient()}
    )
    assert booked.status_code == 201, booked.text
    await clock.shift(timedelta(0))

    said = await run(script, clients_file(tmp_path, base_url, doctor))

    assert said.endswith("reported: fulfilled\n"), said
    read = await regulator.get(f"/v1/bookings/{booked.json()['id']}")
    assert read.json()["state"] == "fulfilled"
