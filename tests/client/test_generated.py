"""A client generated from openapi/openapi.json, in its own environment, does the whole flow."""

import asyncio
import os
import re
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from tests.client.conftest import clients_file
from tests.conftest import Clock
from tests.support import World, patient, soon

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-client" / "bin" / "python"

pytestmark = [pytest.mark.xdist_group("client"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate the client as integrators do; warnings of the generator are errors."""
    folder = tmp_path_factory.mktemp("generated") / "client"
    make = subprocess.run(
        ["make", "--silent", "client", f"CLIENT={folder}"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert make.returncode == 0, make.stdout + make.stderr
    return folder


async def test_the_generated_client_does_the_whole_flow(
    generated: Path, world: World, base_url: str, tmp_path: Path, clock: Clock
) -> None:
    await clock.shift(timedelta(hours=-1))
    doctor, regulator = await world.doctor(), await world.regulator()
    begun = await doctor.publish(soon(-0.5))
    made = await regulator.post("/v1/bookings", {"slot_id": begun["id"], "patient_file": patient()})
    assert made.status_code == 201, made.text
    await clock.shift(timedelta(0))
    process = await asyncio.create_subprocess_exec(
        PYTHON,
        ROOT / "examples" / "generated_client.py",
        clients_file(tmp_path, base_url, doctor, regulator),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "PYTHONPATH": str(generated),
            "PYTHONIOENCODING": "utf-8",
            "NO_PROXY": "*",
        },
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()

    said = out.decode().splitlines()
    assert said[1:] == [
        "rescheduled and cancelled",
        "call closed: medical_advice, slot_orientation",
        "reported fulfilled",
        "calls 1, oriented 1, share 1.0",
    ]
    bookings = (await doctor.get("/v1/bookings")).json()["items"]
    assert [booking["state"] for booking in bookings] == ["booked", "cancelled", "fulfilled"]


def test_generated_names_are_words(generated: Path) -> None:
    models = generated / "snp_broker_client" / "models"
    assert not [
        file.name
        for file in models.glob("*.py")
        if re.search(r"type_\d|body_|page_out|_input|_output|response_", file.name)
    ]
