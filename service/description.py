"""The API's description as a file: the same text from the same code, without database or keys."""

import json

from pydantic import SecretStr

from service.kernel.crypto import Keys
from service.kernel.settings import Settings
from service.main import create_app


def description() -> str:
    """Return the OpenAPI document, sorted and indented."""
    settings = Settings.model_validate(
        {
            "database_url": SecretStr("postgresql://nobody@127.0.0.1/nothing"),
            "keys": SecretStr(Keys.generate().model_dump_json()),
        }
    )
    document = create_app(settings).openapi()
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
