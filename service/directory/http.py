"""What routes that write into the directory need to know of the settings."""

from typing import Annotated

from fastapi import Depends, Request

from service.directory.schemas import TerritoryCode
from service.kernel.settings import Settings

__all__ = ["CheckKeys", "TerritoryCode"]


async def _keys(request: Request) -> bool:
    settings: Settings = request.app.state.settings
    return settings.rpps_check == "luhn"


CheckKeys = Annotated[bool, Depends(_keys)]
