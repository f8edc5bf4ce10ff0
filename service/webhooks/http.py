"""What routes of the room need to know of the settings."""

from typing import Annotated

from fastapi import Depends, Request

from service.kernel.settings import Settings

__all__ = ["GraceHours", "Loopback"]


async def _loopback(request: Request) -> bool:
    settings: Settings = request.app.state.settings
    return settings.webhook_loopback


async def _grace_hours(request: Request) -> int:
    settings: Settings = request.app.state.settings
    return settings.webhook_secret_grace_hours


Loopback = Annotated[bool, Depends(_loopback)]
GraceHours = Annotated[int, Depends(_grace_hours)]
