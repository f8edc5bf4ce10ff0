"""What the demo says when it serves: its address, the credentials, three lines to paste."""

from collections.abc import Sequence
from pathlib import Path

from service.demo.files import Credential

_PICK = """python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"])'"""
_PRETTY = "python3 -m json.tool --no-ensure-ascii"
_BEARER = '-H "Authorization: Bearer $TOKEN"'
_NEAR_CHATEAUROUX = "near=46.81,1.69&radius_km=30&limit=3"
_YEAR = "from=2022-01-01&to=2023-01-01"


def curl_lines(base_url: str, regulator: Credential) -> tuple[str, str, str]:
    """Three commands for any shell: sign in, search near Châteauroux, the published figures."""
    form = (
        f"-d grant_type=client_credentials -d client_id={regulator.client_id} "
        f"-d client_secret={regulator.client_secret}"
    )
    figures = f"{base_url}/v1/analytics/call-outcomes?territory={regulator.territory}&{_YEAR}"
    return (
        f"TOKEN=$(curl -s {base_url}/oauth/token {form} | {_PICK})",
        f'curl -s {_BEARER} "{base_url}/v1/slots?{_NEAR_CHATEAUROUX}" | {_PRETTY}',
        f'curl -s {_BEARER} "{figures}" | {_PRETTY}',
    )


def text(base_url: str, file: Path, clients: Sequence[Credential]) -> str:
    """The whole welcome."""
    lines = [
        "",
        f"The demo serves on {base_url} (documentation: {base_url}/docs). Ctrl-C stops it.",
        f"Credentials, one client for each role: {file}",
    ]
    regulator = next((c for c in clients if c.role == "regulator" and c.territory == "36"), None)
    if regulator:
        lines += ["", "Sign in as the regulator of the Indre, find room, read the figures:", ""]
        lines += curl_lines(base_url, regulator)
    return "\n".join([*lines, ""])
