"""Credentials as the demo writes them."""

import json
from pathlib import Path

from tests.support import Caller


def clients_file(folder: Path, base_url: str, *callers: Caller) -> Path:
    """Write credentials as `make demo` does."""
    file = folder / "demo-clients.json"
    clients = [
        {
            "name": f"{caller.role} of {caller.territory}",
            "role": str(caller.role),
            "territory": caller.territory,
            "client_id": str(caller.secret.client_id),
            "client_secret": caller.secret.client_secret,
            "organization_id": str(caller.organization_id),
            "practitioner_id": caller.practitioner_id and str(caller.practitioner_id),
        }
        for caller in callers
    ]
    file.write_text(json.dumps({"base_url": base_url, "clients": clients}), encoding="utf-8")
    return file
